"""Preparing a corpus that is larger than memory: read, count, encode, in shards on the disk."""
