"""Bags in, class scores out; and the folder in which a model lives."""
