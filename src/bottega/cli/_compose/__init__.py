"""The tasks of `bottega compose`, each a file."""
