"""Bottega: one workshop for every kind of generative model.

Bring a folder, file or table of your own; Bottega trains the right model, says honestly how good it is, makes new
pieces and marks them as machine-made, offline, on the machine you have.

Nothing heavy is imported until a name is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from bottega.workshop.run import Run, compare, load, train

__all__ = ["Run", "__version__", "compare", "load", "train"]


def __getattr__(name: str) -> Any:
    """Import the Python surface (``train``, ``load``, ``compare``, ``Run``) on first use."""
    if name in __all__:
        from bottega.workshop import run

        return getattr(run, name)
    raise AttributeError(f"module 'bottega' has no attribute {name!r}")
