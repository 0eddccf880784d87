"""The tasks of ``bottega mix``: a file for each, found by its name, as verbs are."""
