"""Data: what ships inside installed packages, made worlds, folders, splits, and the stream that training reads."""
