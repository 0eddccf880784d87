"""The tasks of ``bottega chat``."""
