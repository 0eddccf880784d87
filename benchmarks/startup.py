"""How long ``bottega --help`` takes beside an empty Python, and whether it imports torch."""

from __future__ import annotations

import subprocess
import sys

from benchmarks._common import keep, pairs


def main() -> None:
    """Measure and keep."""
    code = "import sys; from bottega.cli import main; sys.argv = ['bottega', '--help']; main()"
    ours = lambda: subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)  # noqa: E731
    empty = lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)  # noqa: E731
    trace = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True
    ).stderr
    keep(
        "startup", {**pairs(ours, empty), "imports_torch": any(line.endswith(" torch") for line in trace.splitlines())}
    )
