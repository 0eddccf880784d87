"""Sweep: a stronger beta buys a lower rate, and one that is far too strong is called a collapse."""

import json

import pytest
from PIL import Image

from bottega.cli import main
from bottega.core import BottegaError, RecipeError
from bottega.crafts import sweep as craft
from recipes import write_recipe


@pytest.mark.slow
def test_beta_moves_along_the_curve_and_a_planted_collapse_is_named(tmp_path, capfd):
    """Row B11."""
    recipe = write_recipe(
        tmp_path,
        "vae",
        data={"name": "digits"},
        codec={"name": "image", "size": 0, "levels": 17},
        steps=120,
        batch=64,
        ema=0.9,
    )
    asked = ["sweep", str(recipe), "family.beta", "0.1,2,1000", "--out", str(tmp_path / "runs"), "--json"]
    assert main(asked) == 0
    told = capfd.readouterr()
    points = json.loads(told.out)["points"]
    rates, left = ([p[k] for p in points] for k in ("rate_nats", "distortion_nats"))
    assert rates[0] > rates[1] > rates[2]
    assert left[0] < left[1] < left[2]
    assert [bool(p["collapsed"]) for p in points] == [False, False, True]
    assert "family.beta = 1000: posterior collapse: 0 of 8 code numbers are in use" in told.err
    assert Image.open(json.loads(told.out)["picture"]).width > 400


def test_what_it_refuses(digits, tmp_path):
    with pytest.raises(RecipeError, match="at least two values of family.beta"):
        craft.sweep("digits-vae", "family.beta", ["1"])
    with pytest.raises(RecipeError, match="did you mean 'beta'"):
        craft.sweep("digits-vae", "family.betta", ["1", "2"], out=tmp_path)
    with pytest.raises(BottegaError, match="has no rate and distortion"):
        craft.measured(digits["gan"], 1)
