"""Samplers: functions over one-line protocols, named after the paper's algorithm."""
