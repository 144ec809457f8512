"""fastText's supervised models, read and put to use without fastText."""
