"""``python -m bottega.cli.helptext [--check | --write] [FOLDER]``; without FOLDER it prints the help texts."""

from __future__ import annotations

import sys
from pathlib import Path

from bottega.cli import help_text
from bottega.cli.helptext import check, write


def main(args: list[str]) -> int:
    """Returns the exit status: 2 when ``--check`` finds a page out of date, or the arguments make no sense."""
    match args:
        case []:
            print(help_text())
            wrong = ""
        case ["--write", place]:
            write(Path(place))
            wrong = ""
        case ["--check", place]:
            wrong = check(Path(place))
        case _:
            wrong = f"cannot read {' '.join(args)!r}; give --check FOLDER or --write FOLDER"
    if wrong:
        print(f"bottega: {wrong}", file=sys.stderr)
    return 2 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
