"""The learning curve of a corpus: how scores grow with the rows that are learned from."""
