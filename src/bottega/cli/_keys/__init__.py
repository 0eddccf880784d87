"""The tasks of ``bottega keys``: a file for each, found by its name, as verbs are."""
