"""fastText's models: their files and their arithmetic. See :mod:`textcls.fasttext`."""
