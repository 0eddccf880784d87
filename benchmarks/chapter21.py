"""The page of the book's chapter 21, run: every command as it stands, in an empty folder, and what it printed under it.

Nothing is measured: the page's outputs are made here, so that they are true. Commands that ask an endpoint are left out.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks._common import options

PAGE = Path(__file__).parents[1] / "docs" / "text-generator.md"
_BLOCK = re.compile(r"```(sh|python)\n(.*?)```\n(?:\n```text\n.*?```\n)?", re.DOTALL)


def commands(block: str) -> Iterator[str]:
    """The commands of a block of shell, those with a text between ``<<'END'`` and ``END`` as one."""
    lines = iter(block.splitlines())
    for line in lines:
        whole = [line]
        while "<<'END'" in whole[0] and whole[-1] != "END":
            whole.append(next(lines))
        yield "\n".join(whole)


def printed(command: str, folder: Path) -> str:
    """What a command says on standard output; raises SystemExit where it fails."""
    words = command if not command.startswith("bottega ") else None
    line = [sys.executable, "-m", "bottega", *shlex.split(command)[1:]]
    env = os.environ | {"COLUMNS": "100"}
    done = subprocess.run(words or line, shell=words is not None, cwd=folder, env=env, capture_output=True, text=True)
    print(f"$ {command}\n{done.stdout}{done.stderr}", flush=True)
    if done.returncode:
        raise SystemExit(f"{command!r} ended with status {done.returncode}: {done.stderr}")
    return done.stdout.rstrip("\n")


def main(argv: Sequence[str] = ()) -> None:
    """Run the page, and write its outputs into it."""
    parser = options("chapter21", __doc__, "", "--folder /tmp/chapter21")
    parser.add_argument("--folder", type=Path, help="where it runs; a folder of its own by default")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as made:
        folder = args.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)

        def filled(found: re.Match[str]) -> str:
            kind, block = found.groups()
            head = f"```{kind}\n{block}```\n"
            if kind == "python":
                subprocess.run([sys.executable, "-c", block], cwd=folder, check=True)
                return head
            if "http://" in block:
                return head
            said = [text for text in (printed(command, folder) for command in commands(block)) if text]
            return head + ("\n```text\n" + "\n\n".join(said) + "\n```\n" if said else "")

        text = _BLOCK.sub(filled, PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")
