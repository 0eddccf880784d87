"""The tasks of ``bottega users``: a file for each, found by its name, as verbs are."""
