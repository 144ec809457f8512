"""textcls beside its peers, each in a fresh process: ``python -m benchmarks``."""
