"""``bottega edit --to``: a picture said in another class."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from bottega.cli import main
from bottega.core import Spec
from bottega.workshop.run import _with

TINY = ["--no-judge", "--quiet", "--steps", "3", "--set", "train.batch=8", "--set", "train.ema=0"]


def test_a_picture_is_said_in_another_class(tmp_path, capsys):
    """``--to``: another class of a family that translates; a plain line where there is none."""
    run, toml = tmp_path / "run", tmp_path / "swap.toml"
    toml.write_text(
        'about = "For tests."\n[codec]\nname = "image"\nsize = 8\n[family]\nname = "cyclegan"\nsize = 8\n[train]\nsteps = 3\nbatch = 8\n'
    )
    data = tmp_path / "two"
    rng = np.random.default_rng(0)
    for kind, low in (("dark", 0), ("light", 128)):
        (data / kind).mkdir(parents=True)
        for i in range(8):
            pixels = low + rng.integers(0, 128, (8, 8, 3), np.uint8)
            Image.fromarray(pixels.astype(np.uint8)).save(data / kind / f"{i}.png")
    assert main(["train", str(toml), "--data", str(data), "--out", str(run), *TINY]) == 0
    capsys.readouterr()
    source = str(data / "dark" / "3.png")
    assert main(["edit", str(run), source, "--to", "light", "--out", str(tmp_path / "out"), "--json"]) == 0
    (path,) = json.loads(capsys.readouterr().out)["files"]
    with Image.open(path) as picture:
        assert picture.size == (8, 8)
    assert main(["edit", str(run), source, "--to", "green"]) == 2
    assert "unknown class 'green'" in capsys.readouterr().err
    assert main(["edit", str(run), source, "--to", "light", "--mask", source]) == 2
    assert "--to changes the whole piece" in capsys.readouterr().err
    assert _with("translate", Spec((3, 8, 8))) == "cyclegan", "a hint that names one family"
