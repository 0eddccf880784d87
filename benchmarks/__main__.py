"""Run benchmarks by name, or all: ``python -m benchmarks loop_cost startup``; one with options: ``... ring --seeds 0``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

ALL = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def main(argv: list[str]) -> int:
    """Run each; returns the exit status. What follows a single name and begins with a dash is for that benchmark."""
    first = next((i for i, word in enumerate(argv) if word.startswith("-")), len(argv))
    names, options = argv[:first], argv[first:]
    if options and len(names) != 1:
        asks = options[0] in {"-h", "--help"} and not names
        text = f"python -m benchmarks [NAME ...], or NAME --help for its options; NAME is one of {', '.join(ALL)}"
        print(text, file=sys.stdout if asks else sys.stderr)
        return 0 if asks else 2
    for name in names:
        if name not in ALL:
            print(f"no benchmark called {name!r}; there are {', '.join(ALL)}", file=sys.stderr)
            return 2
    for name in names or ALL:
        print(f"== {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main(options)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
