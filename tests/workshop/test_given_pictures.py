"""A run that makes pictures of pictures: trained, sampled by file, judged on what it never saw, and shown beside it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from bottega.cli import main
from bottega.core import RecipeError, registry
from bottega.workshop.report import BESIDE
from bottega.workshop.run import load, train
from recipes import write_recipe


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16] / 16
    for k in range(100):
        value = np.stack([np.sin(6 * (rng.uniform() * x + rng.uniform() * y + rng.uniform())) for _ in range(3)], -1)
        Image.fromarray((value * 100 + 128).astype(np.uint8)).save(folder / f"{k:02}.png")
    return folder


@pytest.fixture(scope="module")
def restorer():
    """A family that reads pictures, as another's package would bring it."""
    found = registry._found("families")
    found["toy_restorer"] = "entry:toys:ToyRestorer"
    yield "toy_restorer"
    del found["toy_restorer"]


@pytest.fixture(scope="module")
def run(photos, restorer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    codec = {"name": "image", "size": 16, "degrade": "half"}
    recipe = write_recipe(folder, restorer, codec=codec, steps=150, batch=16, augment="flip", data={"name": str(photos)},
                          judge={"n": 16, "only": "restoration,memorisation,speed"})  # fmt: skip
    return train(recipe, out=folder / "run")


def test_it_is_judged_on_pictures_it_never_saw_and_the_page_shows_all_three(run):
    measures = {m.name: m.value for m in run.evidence.measures}
    assert measures["restored_psnr_db"] > 25  # a gain of one half gives 12
    assert abs(measures["restored_gain_db"]) < 3
    assert measures["memorised_share"] == 0
    page = (run.path / "report.html").read_text()
    assert BESIDE in page
    with Image.open(run.path / "samples" / "beside.png") as sheet:
        assert sheet.width > 500


def test_it_is_sampled_by_file_by_its_own_examples_and_from_the_weights_alone(run, photos, tmp_path):
    alone = load(run.path / "model.safetensors")
    assert all(value.startswith("data:image/png") for value in alone.header["conditions"])
    pieces = alone.sample(3)
    assert [item.cond.shape for item in pieces.items] == [(8, 8, 3)] * 3
    assert not np.array_equal(pieces.items[0].value, pieces.items[1].value)
    with Image.open(photos / "03.png") as picture:
        picture.resize((8, 8), Image.Resampling.BICUBIC).save(tmp_path / "small.png")
    (made,) = alone.sample(1, cond=tmp_path / "small.png").items
    with Image.open(photos / "03.png") as picture:
        assert np.abs(made.value.astype(int) - np.asarray(picture)).mean() < 12
    with pytest.raises(RecipeError, match="picture file"):
        alone.sample(1, cond="cat")


def test_the_command_takes_a_picture_file(run, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        main(["sample", str(run.path), "-n", "2", "--cond", str(photos / "00.png"), "--out", str(out), "--json", "-q"])
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert len(told["files"]) == 2
    assert (out / "sheet.png").exists()
    assert main(["sample", str(run.path), "--cond", str(tmp_path / "absent.png")]) == 2
    assert "absent.png" in capsys.readouterr().err
    assert main(["show", str(run.path), "--json", "-q"]) == 0


def test_pairs_in_two_folders_train_too_and_others_are_told(photos, restorer, tmp_path, capsys):
    for path in sorted(photos.iterdir())[:20]:
        for side in ("input", "target"):
            (tmp_path / "pairs" / side).mkdir(parents=True, exist_ok=True)
            with Image.open(path) as picture:
                (picture.convert("L") if side == "input" else picture).save(tmp_path / "pairs" / side / path.name)
    codec = {"name": "image", "size": 16, "cond": "picture"}
    recipe = write_recipe(tmp_path, restorer, codec=codec, steps=4, batch=8)
    run = train(recipe, data=tmp_path / "pairs", out=tmp_path / "run", judge=False)
    assert run.spec.cond.shape == (1, 16, 16)
    assert run.sample(2).items[0].cond.shape == (16, 16, 1)
    vae = write_recipe(tmp_path, "vae", codec=codec, steps=4, batch=8)
    assert main(["train", str(vae), "--data", str(tmp_path / "pairs"), "--out", str(tmp_path / "no")]) == 2
    assert "reads no picture" in capsys.readouterr().err
