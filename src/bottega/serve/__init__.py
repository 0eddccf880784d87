"""The counter: engine, API, studio."""
