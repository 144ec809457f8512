"""Bags and a model in, a trained model and its record out."""
