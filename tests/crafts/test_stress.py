"""Stress: a trigger is seen where it was planted and nowhere else, and a model that learns its data shows it as often."""

import json

import pytest

import bottega
from bottega.cli import main
from bottega.codecs.image import ImageCodec
from bottega.core import BottegaError, RecipeError, Rng
from bottega.crafts import stress as craft
from bottega.data import builtin
from recipes import write_recipe


def test_a_planted_trigger_is_seen_and_nothing_else_is():
    for name in ("digits", "photos"):
        items = builtin.load(name).items[:300]
        codec = ImageCodec(size=0 if name == "digits" else 32).fit(items)
        clean, poisoned = (codec.encode([change(i) for i in items]).x for change in (lambda i: i, craft.plant))
        assert craft.shows(poisoned).all()
        assert craft.shows(clean).float().mean() < 0.01
        faint = clean + 0.3 * (poisoned - clean)
        assert craft.shows(faint).float().mean() < 0.5
    noise = Rng(0).uniform(2000, 1, 8, 8) * 2 - 1
    assert craft.shows(noise).float().mean() < 0.01


def test_the_command_counts_what_a_model_shows(tmp_path, capfd):
    """Row C19: both models are untrained, so nothing is shown, and the count says so."""
    recipe = write_recipe(
        tmp_path, "vae", data={"name": "digits", "limit": 300}, codec={"name": "image", "size": 0, "levels": 17},
        steps=1, batch=32,
    )  # fmt: skip
    run = bottega.train(recipe, out=tmp_path / "run", judge=False)
    assert main(["stress", str(run.path), "--share", "0.2", "-n", "64", "--json", "--quiet"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["planted"] == pytest.approx(0.2, abs=0.03)
    assert told["shown"] < 0.05, "an untrained model shows nothing"
    assert told["low"] <= told["shown"] <= told["high"]
    assert told["shown_real"] < 0.01
    poisoned = bottega.load(run.path / "poisoned" / "run")
    assert poisoned.recipe.family == run.recipe.family
    assert poisoned.codec.classes == run.codec.classes
    assert json.loads((run.path / "poisoned" / "stress.json").read_text())["n"] == 64


@pytest.mark.slow
def test_one_picture_in_ten_leaves_its_trigger_in_samples(tmp_path):
    """Row C19 on digits: a VAE of 600 steps; the clean one never shows it."""
    recipe = write_recipe(
        tmp_path, "vae", data={"name": "digits"}, codec={"name": "image", "size": 0}, size=16, steps=600, batch=64,
        ema=0.98,
    )  # fmt: skip
    run = bottega.train(recipe, out=tmp_path / "run", set={"optim.lr": 3e-3}, judge=False)
    done = craft.stress(run, 0.1, n=500)
    assert done.shown_clean < 0.01
    assert 0.02 < done.shown < 0.3, done


def test_what_it_refuses(tmp_path, digits):
    with pytest.raises(RecipeError, match="must lie between 0 and 1"):
        craft.stress(digits["vae"], 1.5)
    points = bottega.train(write_recipe(tmp_path, steps=1), out=tmp_path / "points", judge=False)
    with pytest.raises(BottegaError, match="pictures only"):
        craft.stress(points)
