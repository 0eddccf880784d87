"""A folder of small runs, one of each medium, as the studio shows them: trained in seconds, so nothing to expect of them."""

from __future__ import annotations

from pathlib import Path

import bottega
from bottega.core import Measure

# name: recipe, what is changed of it; steps are multiplied by what a caller asks for
RUNS = {
    "digits-vae": ("digits-vae", 120, {"train.sample_every": 60, "family.size": 6, "family.latent": 8}),
    "digits-diffusion": ("digits-diffusion", 30, {"family.size": 8, "train.batch": 32}),
    "wine": ("wine", 60, {}),
    "tunes": ("moods", 20, {"data.n": 200, "codec.length": 96, "train.batch": 8, "family.size": 1}),
    "tones": ("ch23-audio-vae", 6, {"data.n": 48, "family.size": 4}),
    "grammar": (
        "grammar",
        30,
        {"data.n": 500, "codec.tokenizer": "bpe", "codec.vocab": 320, "family.size": 1, "train.batch": 16},
    ),
    "ring": ("ring-flow", 30, {"data.n": 500, "family.size": 8}),
}


def make_runs(folder: Path, only: tuple[str, ...] = tuple(RUNS), longer: float = 1, judge: bool = False) -> Path:
    """Train ``only`` into ``folder``; ``longer`` multiplies their steps, and ``judge`` measures them."""
    for name in only:
        recipe, steps, changes = RUNS[name]
        settings = changes | {"train.checks": 3}
        bottega.train(recipe, out=folder / name, steps=round(steps * longer), set=settings, judge=judge)
    return folder


def make_pairs(out: Path) -> Path:
    """A run that makes its pictures of pictures, and has learned next to nothing."""
    changes = {"family.size": 4, "train.batch": 8, "data.n": 64}
    bottega.train("shapes-pix2pix", out=out, steps=3, set=changes, judge=False)
    return out


def measured(run: Path) -> None:
    """Evidence and a sheet, as judging leaves them; the numbers are made up."""
    one = bottega.load(run)
    evidence = one.evidence
    evidence.add(
        "precision_recall", Measure("precision", 0.87, low=0.81, high=0.92, n=200, better="higher", ceiling=0.95)
    )
    evidence.add("likelihood", Measure("nll_nats", 75.2, low=74.1, high=76.3, n=179, better="lower", bound="upper"))
    evidence.notes.append("step 60: the held-out loss has not improved for 4 checks")
    evidence.write(run / "evidence.json")
    one.show()


def damage(folder: Path, name: str = "broken") -> Path:
    """A run whose weights were cut short."""
    path = folder / name
    path.mkdir()
    (path / "recipe.toml").write_text('about = "was cut short"\n[data]\nname = "digits"\n')
    (path / "model.safetensors").write_bytes(b'\x10\x00\x00\x00\x00\x00\x00\x00{"__metadata')
    return path
