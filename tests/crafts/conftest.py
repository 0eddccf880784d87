"""Small runs on the built-in digits, which several crafts are tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

import bottega
from bottega import Run
from recipes import write_recipe


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A conditional VAE of 17 levels, an autoencoder of the same code size, and a GAN, which has no codes."""
    here = tmp_path_factory.mktemp("digits")
    made = {}
    for family, levels, steps in (("vae", 17, 250), ("autoencoder", 0, 250), ("gan", 0, 2)):
        codec = {"name": "image", "size": 0, "levels": levels}
        recipe: Path = write_recipe(
            here, family, size=16, data={"name": "digits", "held": 0.3}, codec=codec, steps=steps, batch=64, ema=0.98
        )
        made[family] = bottega.train(recipe, out=here / family, set={"optim.lr": 3e-3}, judge=False)
    return made
