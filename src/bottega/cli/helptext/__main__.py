"""``python -m bottega.cli.helptext [--check] [PAGE]`` writes or checks the page; without PAGE it prints it."""

from __future__ import annotations

import sys
from pathlib import Path

from bottega.cli import help_text
from bottega.cli.helptext import check, write


def main(args: list[str]) -> int:
    """Returns the exit status: 2 when ``--check`` finds the page out of date."""
    pages = [Path(arg) for arg in args if arg != "--check"]
    if not pages:
        print(help_text())
        return 0
    if "--check" not in args:
        write(pages[0])
        return 0
    wrong = check(pages[0])
    if wrong:
        print(f"bottega: {wrong}", file=sys.stderr)
    return 2 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
