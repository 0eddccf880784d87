"""Families: one file each, loss and sample, nothing else."""
