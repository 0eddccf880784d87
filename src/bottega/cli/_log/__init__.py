"""The tasks of ``bottega log``: a file for each, found by its name, as verbs are."""
