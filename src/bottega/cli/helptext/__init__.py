"""The reference page of the command line, written from the help texts themselves so that it cannot drift."""

from __future__ import annotations

from pathlib import Path

from bottega.cli import help_text

__all__ = ["check", "page", "write"]


def page(place: Path) -> Path:
    """The page itself: ``cli.md`` when a folder is named."""
    return place if place.suffix == ".md" else place / "cli.md"


def write(place: Path) -> Path:
    """Write the page and return its path."""
    path = page(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(help_text(), encoding="utf-8")
    return path


def check(place: Path) -> str:
    """Empty when the page says what the help texts say; otherwise what is wrong and the mend."""
    path = page(place)
    if not path.is_file():
        return f"{path} is missing; write it by python -m bottega.cli.helptext --write {place}"
    if path.read_text(encoding="utf-8") != help_text():
        return f"{path} is out of date; write it again by python -m bottega.cli.helptext --write {place}"
    return ""
