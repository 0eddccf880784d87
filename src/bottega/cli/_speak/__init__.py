"""The tasks of ``bottega speak``: a file for each, found by its name, as verbs are."""
