"""Two tiny runs that the command line itself trained: what most verbs need."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bottega.cli import main
from recipes import RING, write_recipe


@dataclass
class Told:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """Run ``bottega`` in this process."""

    def run(*args: str | Path) -> Told:
        capfd.readouterr()
        status = main([str(arg) for arg in args])
        return Told(status, *capfd.readouterr())

    return run


def _recipe(folder: Path, family: str, name: str = "") -> Path:
    judge = {"n": 60, "iwae": 2, "only": "precision_recall"}
    return write_recipe(folder, family, name=name, data=RING | {"n": 600}, judge=judge, steps=30, checks=2, ema=0.0)


@pytest.fixture(scope="session")
def recipe() -> Callable[..., Path]:
    """Write a recipe file: ``(folder, family, name)``."""
    return _recipe


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A VAE and a GAN on the same ring, trained and judged."""
    folder = tmp_path_factory.mktemp("runs")
    before = Path.cwd()
    os.chdir(folder)
    try:
        for family in ("vae", "gan"):
            assert main(["train", str(_recipe(folder, family)), "--quiet"]) == 0
    finally:
        os.chdir(before)
    return {family: folder / "runs" / family for family in ("vae", "gan")}
