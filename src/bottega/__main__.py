"""``python -m bottega`` is ``bottega``."""

from __future__ import annotations

import sys

from bottega.cli import main

if __name__ == "__main__":
    sys.exit(main())
