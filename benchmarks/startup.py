"""How long ``bottega --help`` takes beside an empty Python, and whether it imports torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from benchmarks._common import keep, options, pairs


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("startup", __doc__, "", "--rounds 5")
    parser.add_argument("--rounds", type=int, default=11, help="measured pairs")
    args = parser.parse_args(argv)
    code = "import sys; from bottega.cli import main; sys.argv = ['bottega', '--help']; main()"
    trace = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True
    ).stderr

    def ours() -> None:
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

    def empty() -> None:
        subprocess.run([sys.executable, "-c", "pass"], check=True)

    imports_torch = any(line.rpartition("|")[2].strip() == "torch" for line in trace.splitlines())
    keep("startup", {**pairs(ours, empty, args.rounds), "imports_torch": imports_torch}, args)
