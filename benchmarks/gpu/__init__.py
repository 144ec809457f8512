"""Training on a GPU, measured: ``python -m benchmarks.gpu``."""
