"""Applications, each built from the rooms below."""
