"""What a run made, on its way to files."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from bottega.core import Item, OutputError, Sound
from bottega.core.files import write_atomically
from bottega.trust.watermark import watermarked

if TYPE_CHECKING:
    from bottega.workshop.run import Run

__all__ = ["Pieces", "speaks", "watermarked_piece"]


@dataclass(frozen=True)
class Pieces:
    """What a run made: pieces with the seeds they belong to, and for an edit what was given, which the sheet shows first."""

    run: Run
    items: list[Item]
    seeds: list[int]
    x: Tensor
    given: list[Item] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.items)

    def save(self, folder: str | Path, name: str = "") -> list[Path]:
        """Write every piece, marked, a sheet to look at and ``pieces.json``; returns the paths of the pieces.

        Tables become one file for all rows. A seed that comes again (with another condition, say) is numbered, so that
        no piece is written over another. Raises OutputError when the folder cannot be written.
        """
        folder = Path(folder)
        stem = name or self.run.recipe.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_all = getattr(self.run.codec, "write_all", None)
            if write_all is not None:
                paths = [write_all(self.items, folder / stem, self.run.mark(self.seeds[0] if self.seeds else 0))]
            else:
                paths = [
                    self.run.codec.write(
                        watermarked_piece(self.run, item), folder / f"{stem}-{seed}{again}", self.run.mark(seed)
                    )
                    for item, seed, again in zip(self.items, self.seeds, _again(self.seeds), strict=True)
                ]
            self.show(folder / "sheet")
        except OSError as error:
            raise OutputError(
                f"cannot write to {folder}: {error.strerror}; choose another folder with --out"
            ) from error
        manifest = {
            **self.run.mark(0),
            "seed": None,
            "pieces": [
                {"file": path.name, "sha256": _sha256(path), "seed": seed}
                for path, seed in zip(
                    paths, self.seeds if len(paths) == len(self.seeds) else [None] * len(paths), strict=True
                )
            ],
            "seeds": self.seeds,
        }
        write_atomically(folder / "pieces.json", json.dumps(manifest, indent=1))
        return paths

    def show(self, path: str | Path) -> Path:
        """Write the picture people look at; returns its path."""
        return self.run.codec.show([*self.given, *self.items], Path(path))

    def text(self) -> str:
        """The pieces as text: texts a blank line apart, rows as JSON and points as numbers, one on each line.

        Raises:
            OutputError: pictures and sounds, which have none.
        """
        if self.run.codec.medium in {"image", "audio"}:
            what = "pictures" if self.run.codec.medium == "image" else "sounds"
            raise OutputError(f"{what} cannot be printed; leave out --show, and look at the files that are written")
        if self.run.codec.medium == "points":
            return "\n".join(", ".join(f"{v:.6g}" for v in item.value.tolist()) for item in self.items)
        if self.run.codec.medium == "table":
            return "\n".join(json.dumps(item.value, ensure_ascii=False, default=str) for item in self.items)
        words = (i.value if isinstance(i.value, str) else json.dumps(i.value, default=str) for i in self.items)
        return "\n\n".join(words)  # other people's media as JSON


def speaks(run: Run) -> bool:
    """Whether it makes speech, which has a watermark in the sound: its codec knows what of a piece is which sound."""
    return hasattr(run.codec, "layout")


def watermarked_piece(run: Run, item: Item) -> Item:
    """A piece on its way to a file: of a run of speech with the watermark in its sound, all others as they are."""
    if not speaks(run) or not isinstance(item.value, Sound):
        return item
    return replace(item, value=watermarked(item.value))


def _again(seeds: Sequence[int]) -> list[str]:
    """What is added to the name of each piece: nothing for the first of its seed, then ``-2``, ``-3`` ...

    >>> _again([3, 5, 3, 3])
    ['', '', '-2', '-3']
    """
    seen: Counter[int] = Counter()
    out = []
    for seed in seeds:
        seen[seed] += 1
        out.append(f"-{seen[seed]}" if seen[seed] > 1 else "")
    return out


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
