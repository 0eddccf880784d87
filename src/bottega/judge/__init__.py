"""Judges: one file for each measure; none needs a downloaded network."""

from bottega.judge._case import Case
from bottega.judge._run import run_all

__all__ = ["Case", "run_all"]
