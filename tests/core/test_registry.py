"""Names come from file names and entry points, and nothing is imported before it is asked for."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import bottega
from bottega.core import Family, RecipeError, lookup, names, registry

ROOMS = ["families", "codecs", "judge"]


@pytest.mark.parametrize("room", ROOMS)
def test_the_names_of_a_room_are_its_files(room):
    files = {p.stem for p in (Path(bottega.__file__).parent / room).glob("*.py") if not p.stem.startswith("_")}
    assert files <= set(names(room))
    assert names(room) == sorted(names(room))


def test_every_family_is_a_family_called_as_its_file():
    for name in names("families"):
        family = lookup("families", name)
        assert issubclass(family, Family)
        assert family.__name__.lower() == name.replace("_", "")


def test_an_unknown_name_is_met_with_the_nearest():
    with pytest.raises(RecipeError, match=r"unknown name 'difusion' in families; did you mean 'diffusion'\?"):
        lookup("families", "difusion")


def test_names_import_neither_torch_nor_any_member():
    code = (
        "import sys; from bottega.core.registry import names; names('families'), names('codecs'), names('judge')\n"
        "print(sorted(m for m in sys.modules if m == 'torch' or m.startswith('bottega.families.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def entry_points(monkeypatch):
    def offer(**points):
        monkeypatch.setattr(
            registry,
            "entry_points",
            lambda group: [EntryPoint(n, v, group) for n, v in points.items() if group == "bottega.families"],
        )
        registry._found.cache_clear()

    yield offer
    monkeypatch.undo()
    registry._found.cache_clear()


def test_other_packages_add_names_by_entry_points(entry_points):
    entry_points(toyvae="toys:ToyVAE", module="toys")
    assert "toyvae" in names("families")
    assert "toyvae" not in names("codecs")
    assert lookup("families", "toyvae").__name__ == "ToyVAE"


def test_an_entry_point_does_not_replace_what_is_in_the_house(entry_points):
    entry_points(diffusion="toys:ToyVAE")
    assert lookup("families", "diffusion").__module__ == "bottega.families.diffusion"
