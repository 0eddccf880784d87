"""Judges: one file for each measure; none needs a downloaded network."""

from bottega.judge._case import Case

__all__ = ["Case"]
