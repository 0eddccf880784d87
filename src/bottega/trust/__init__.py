"""Trust: marks, audits, privacy, provenance."""
