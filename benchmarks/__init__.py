"""Measured claims; ``python -m benchmarks [NAME ...]`` runs them."""
