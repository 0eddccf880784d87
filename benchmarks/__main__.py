"""Run benchmarks by name, or all: ``python -m benchmarks loop_cost shakespeare``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

ALL = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def main(names: list[str]) -> int:
    """Run each; returns the exit status."""
    for name in names or ALL:
        if name not in ALL:
            print(f"no benchmark called {name!r}; there are {', '.join(ALL)}", file=sys.stderr)
            return 2
        print(f"== {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
