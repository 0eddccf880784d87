"""The command line: one file for each verb, found by its name; nothing heavy is imported until a verb runs."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["help_text", "main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run ``bottega`` with ``args`` (by default the process's own); returns the exit status.

    0 done; 1 a fault of ours; 2 a mistake of the user or bad input; 130 interrupted.
    """
    from bottega.cli._app import run

    return run(args)


def help_text(width: int = 100) -> str:
    """The help of ``bottega`` and of every verb as Markdown, for the reference manual."""
    from bottega.cli._app import help_text

    return help_text(width)
