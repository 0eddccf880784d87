"""One family of exceptions. A message names the thing, its value and the mend, in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BottegaError(Exception):
    """A mistake of the user or bad input: the command line prints it as one line and exits with status 2."""


class SpecError(BottegaError):
    """A family was given examples of a shape or kind that it cannot model."""


class RecipeError(BottegaError):
    """A recipe names something unknown, or gives a value that a constructor refuses."""


class DataError(BottegaError):
    """A file, folder or table cannot be read as the data it was said to be."""


class CheckpointError(BottegaError):
    """A weights file is truncated, foreign, newer than this version, or not safetensors."""


class DivergedError(BottegaError):
    """A loss stopped being a number; the last good weights are kept."""


class OutputError(BottegaError):
    """A result cannot be written: no permission, no space, or something stands in its place."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a mistyped name: ``"; did you mean 'diffusion'?"``, or a list of what there is.

    >>> nearest("difusion", ["vae", "diffusion"])
    "; did you mean 'diffusion'?"
    >>> nearest("zzz", ["vae", "gan"])
    '; known: gan, vae'
    """
    options = sorted(known)
    close = difflib.get_close_matches(word, options, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(options)}"
