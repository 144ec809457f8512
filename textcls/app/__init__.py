"""Training from the command line: its arguments, Hydra's configuration, its error messages."""
