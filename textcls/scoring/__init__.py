"""Labels for very many texts: in tables of other programs, and in files by several processes."""
