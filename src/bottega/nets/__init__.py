"""Bodies: networks that know shapes and not losses."""
