"""The range test: what a curve says, a rate that breaks every training, and players without a common loss."""

import json
import math

import pytest
from PIL import Image

from bottega.cli import main
from bottega.core import RecipeError
from bottega.crafts import rates as craft
from recipes import write_recipe


def test_what_a_curve_says():
    """Flat, then down by a decade of rates to 1e-2, then up again: lost by half at the first rate whose value is above."""
    rates = [10 ** (-5 + i / 20) for i in range(100)]
    values = [
        4.0 if r < 1e-3 else 4 + 3 * math.log10(1e-3 / r) if r < 1e-2 else 1 + 6 * math.log10(r / 1e-2) for r in rates
    ]
    found = craft.read(rates, values, "distance")
    assert found.best == pytest.approx(1e-2, rel=0.3)
    assert found.suggested == found.best / 4
    assert found.diverged == pytest.approx(1e-2 * 10**0.25, rel=0.3)
    quiet = craft.read(rates[:60], values[:60], "distance")
    assert quiet.diverged is None
    assert quiet.best == rates[59]


def test_where_it_broke_down_is_part_of_the_curve():
    found = craft.read([1e-3, 1e-2, 1e-1], [3.0, 2.0, 1.0], "loss", broke=0.5)
    assert found.diverged == 0.5
    assert (found.rates[-1], found.values[-1]) == (0.5, math.inf)
    assert found.best == 1e-1


@pytest.mark.parametrize(
    ("family", "measure", "span", "least"),
    [("vae", "loss", "1e-5..1e12", 1e-4), ("gan", "distance", "1e-4..1e3", 1e-5)],
)
def test_a_rising_rate_ends_in_a_result_for_one_player_and_for_several(tmp_path, capfd, family, measure, span, least):
    """Row N5: divergence is scored, and the suggestion lies well below it."""
    recipe = write_recipe(tmp_path, family, data={"name": "ring", "n": 1000}, size=8, batch=64)
    asked = ["sweep", str(recipe), "optim.lr", span, "--steps", "120", "--out", str(tmp_path / "lr"), "--json"]
    assert main(asked) == 0
    told = capfd.readouterr()
    found = json.loads(told.out)
    assert found["measure"] == measure
    assert found["diverged"] is not None
    assert least < found["suggested"] < found["best"] < found["diverged"] < 1e3
    assert Image.open(found["picture"]).width > 400
    assert "--set optim.lr=" in told.err
    assert not list((tmp_path / "lr").glob("*.safetensors")), "nothing is kept but the drawing"


def test_what_it_refuses(tmp_path, capfd):
    for text in ("1..1", "1e-1..1e-5", "0..1", "a..b", "1e-5.."):
        with pytest.raises(RecipeError, match="no range of learning rates"):
            craft.range_of(text)
    with pytest.raises(RecipeError, match="says nothing"):
        craft.rate_range("digits-vae", steps=5)
    assert main(["sweep", "digits-vae", "family.beta", "1e-3..1"]) == 2
    assert "with commas between" in capfd.readouterr().err
