"""What a label is: one of several classes, or any number of them."""
