"""Judges: one file for each measure; none needs a downloaded network."""
