"""Shrink: prune, quantise, distil, export."""
