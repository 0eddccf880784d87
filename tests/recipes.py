"""A recipe of seconds, written to a file: what a test trains that is not about the recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RING = {"name": "ring", "n": 400}
POINTS = {"name": "points"}
JUDGE = {"n": 32}


def write_recipe(
    folder: Path,
    family: str = "vae",
    *,
    name: str = "",
    size: int = 8,
    data: dict[str, Any] = RING,
    codec: dict[str, Any] = POINTS,
    judge: dict[str, Any] = JUDGE,
    **train: Any,
) -> Path:
    """Write ``name``.toml (the family's name where none is given); points of a ring, but for the tables that are given."""
    tables = {
        "data": data,
        "codec": codec,
        "family": {"name": family, "size": size},
        "train": {"steps": 12, "batch": 32} | train,
        "judge": judge,
    }
    lines = ["# seconds; nothing to expect of it", 'about = "For tests."']
    for table, settings in tables.items():
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())]
    path = folder / f"{name or family}.toml"
    path.write_text("\n".join(lines) + "\n")
    return path
