"""Pretrained vectors of words: found, read, and brought to the tokens of a vocabulary."""
