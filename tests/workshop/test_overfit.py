"""The alarm for what is learned by heart: it rings where that was planted, names the mend, and is silent in health."""

import json

import bottega
from recipes import write_recipe

DIGITS = {"name": "image", "size": 0}


def notes(folder, name, steps, **data):
    recipe = write_recipe(
        folder,
        "autoencoder",
        name=name,
        size=16,
        data={"name": "digits", **data},
        codec=DIGITS,
        steps=steps,
        batch=16,
        checks=12,
    )
    return bottega.train(recipe, out=folder / name, set={"optim.lr": 5e-3}, judge=False).header["notes"]


def test_a_planted_overfit_rings_and_names_the_mend(tmp_path):
    """Row B8: thirty digits and hundreds of steps."""
    (said,) = notes(tmp_path, "heart", 240, limit=30)
    assert "the held-out loss has not improved for 4 checks" in said
    assert "train less (train.steps), give more data, or set train.patience" in said


def test_a_healthy_run_is_silent(tmp_path):
    assert notes(tmp_path, "health", 48) == []


def test_a_prior_that_follows_the_codes_is_no_overfit(tmp_path):
    """Its loss rises while codes spread out, early in a healthy run; it is learned beside the rest, from detached codes."""
    run = bottega.train("digits-autoencoder", out=tmp_path, set={"train.steps": 20}, judge=False)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    held = [row for row in rows if "held/prior" in row]
    sums = [row["held/rec"] + row["held/prior"] for row in held]
    assert max(b - a for a, b in zip(sums, sums[1:], strict=False)) > 0, "the sum rises"
    assert held[-1]["held/rec"] == min(row["held/rec"] for row in held)
    assert run.header["notes"] == []
