"""Codecs: one file for each modality."""
