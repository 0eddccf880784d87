"""Alembic's folder: how the tables of a state came to be; run by ``bottega.serve.state.migrate``."""
