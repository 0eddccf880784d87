"""Small runs on the built-in digits, which several crafts are tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

import bottega
from bottega import Run
from recipes import write_recipe


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A VAE, an autoencoder, one with two code numbers, and a GAN, which has no codes; none is told the classes."""
    here = tmp_path_factory.mktemp("digits")
    made = {}
    for name, family, steps, latent in (("vae", "vae", 250, 8), ("autoencoder", "autoencoder", 250, 8),
                                        ("map", "autoencoder", 400, 2), ("gan", "gan", 2, 8)):  # fmt: skip
        codec = {"name": "image", "size": 0, "labels": "none"}
        recipe: Path = write_recipe(
            here,
            family,
            name=name,
            size=16,
            data={"name": "digits", "held": 0.3},
            codec=codec,
            steps=steps,
            batch=64,
            ema=0.98,
        )
        changes = {"optim.lr": 3e-3} | ({} if family == "gan" else {"family.latent": latent})
        made[name] = bottega.train(recipe, out=here / name, set=changes, judge=False)
    return made
