"""Text in, bags out."""
