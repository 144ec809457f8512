"""Files in, labelled texts out: formats, columns, labels, splits."""
