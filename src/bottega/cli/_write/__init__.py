"""The tasks of ``bottega write``: a file for each, found by its name, as verbs are."""
