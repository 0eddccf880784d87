"""Anomalies: the rate of false alarms is kept, planted ones are found, and the heat lies where they were planted."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from bottega.cli import main
from bottega.core import Batch, BottegaError, DataError, Item, RecipeError, Rng, Spec
from bottega.crafts import anomalies as craft
from bottega.crafts._rows import held_items


def marred(items, seed=0):
    """Each picture with a bright or dark block of 3 x 3 somewhere it does not belong, and where."""
    rng = np.random.default_rng(seed)
    out, at = [], []
    for item in items:
        value, (top, left) = item.value.copy(), rng.integers(0, 6, 2)
        block = value[top : top + 3, left : left + 3]
        block[:] = 255 if block.mean() < 128 else 0
        out.append(Item(value, None, item.name))
        at.append((top + 1, left + 1))
    return out, at


def test_the_rate_of_false_alarms_is_kept_whatever_the_scores_are():
    rng, rates = Rng(0), []
    for _ in range(400):
        scores = rng.normal(120).exp()  # skewed, on purpose
        rates.append((scores[99:] > craft.threshold(scores[:99], 0.1)).double().mean().item())
    error = np.std(rates) / 20
    assert np.mean(rates) == pytest.approx(0.1, abs=4 * error)
    assert error < 0.005


class Blank(torch.nn.Module):
    """Its code holds nothing, so the error of a piece is its square."""

    latent = Spec((1,))

    def encode(self, batch):
        return torch.zeros(len(batch), 1)

    def decode(self, z, cond=None):
        return torch.zeros(len(z), 16)


@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_the_rate_is_kept_by_error_too_in_every_division_of_exchangeable_pieces(rate):
    """What is usual must not be learnt from the pieces that give the threshold: with 40 that doubles the alarms."""
    encode = lambda items: Batch(torch.stack([item.value for item in items]))  # noqa: E731
    run = SimpleNamespace(
        model=Blank(), spec=Spec((16,)), device="cpu", codec=SimpleNamespace(encode=encode),
        recipe=SimpleNamespace(family={"name": "blank"}),
    )  # fmt: skip
    items = [Item(x) for x in Rng(0).normal(400, 16).exp()]
    rates = []
    for k in range(200):
        order = Rng(k + 1).permutation(400).tolist()
        found = craft.Detector(run, [items[i] for i in order[:40]], rate, by="error")
        assert len(found.scores) == 20
        rates.append(np.mean([f.anomaly for f in found.look([items[i] for i in order[40:]])]))
    error = np.std(rates) / np.sqrt(len(rates))
    assert np.mean(rates) <= rate + 3 * error
    assert error < 0.01


def test_p_values_of_ordinary_pieces_are_uniform_and_others_are_noticed():
    ordinary, fresh = Rng(0).normal(2000), Rng(1).normal(2000)
    assert craft.calibration_error(craft.p_values(fresh, ordinary)) < 0.02
    assert craft.calibration_error(craft.p_values(fresh + 1, ordinary)) > 0.15, "a planted shift shows"
    assert craft.ranking(ordinary, fresh + 10) == 1


def test_planted_outliers_are_found_by_both_and_better_by_the_likelihood(digits):
    """Rows B4 and B16: AUC at least 0.9, the VAE's no worse than the autoencoder's, and p-values calibrated."""
    areas = {}
    for family in ("vae", "autoencoder"):
        held = held_items(digits[family], None, 500)
        found = craft.Detector(digits[family], held[:300], 0.05)
        assert found.by == {"vae": "likelihood", "autoencoder": "error"}[family]
        strange, _ = marred(held[300:])
        plain = torch.tensor([f.score for f in found.look(held[300:])])
        odd = found.look(strange)
        areas[family] = craft.ranking(plain, torch.tensor([f.score for f in odd]))
        assert (plain > found.threshold).double().mean() < 0.12
        assert sum(f.anomaly for f in odd) > 0.5 * len(odd)
        assert all(f.anomaly == (f.p <= 0.05 + 1e-9) for f in odd)
        assert found.calibration() < 0.08
    assert areas["autoencoder"] >= 0.9
    assert areas["vae"] >= areas["autoencoder"]


def test_small_faults_are_found_by_their_place_at_the_same_rate(digits):
    for family in ("vae", "autoencoder"):
        held = held_items(digits[family], None, 500)
        found = craft.Detector(digits[family], held[:300], 0.05, by="place")
        assert len(found.scores) == 150, "the other half says what is usual"
        strange, _ = marred(held[300:])
        plain, odd = (torch.tensor([f.score for f in found.look(items)]) for items in (held[300:], strange))
        assert torch.equal(odd.float(), found.heat(strange).flatten(1).amax(1))
        assert craft.ranking(plain, odd) >= 0.9
        assert (plain > found.threshold).double().mean() < 0.12


def test_the_heat_lies_where_the_fault_was_planted(digits):
    for family in ("vae", "autoencoder"):
        held = held_items(digits[family], None, 400)
        found = craft.Detector(digits[family], held[:300])
        strange, at = marred(held[300:])
        heat = found.heat(strange)
        assert heat.shape == (100, 8, 8)
        top, left = heat.flatten(1).argmax(1) // 8, heat.flatten(1).argmax(1) % 8
        near = [(t - y) ** 2 + (u - x) ** 2 <= 4 for (y, x), t, u in zip(at, top.tolist(), left.tolist(), strict=True)]
        assert np.mean(near) > 0.6, family
        assert heat.flatten(1).max(1).values.median() > 2 * found.heat(held[:100]).flatten(1).max(1).values.median()


def test_the_heat_is_laid_over_the_picture():
    item = Item(np.full((8, 8, 1), 100, np.uint8))
    heat = torch.zeros(8, 8)
    heat[2, 3] = 20
    shown = craft.heat_item(item, heat).value
    assert shown.shape == (8, 8, 3)
    assert shown[2, 3].tolist() == [214, 40, 20]
    assert shown[7, 7].tolist() == [100, 100, 100]


def test_the_score_of_a_random_bound_says_its_doubt(digits):
    held = held_items(digits["vae"], None, 60)
    found = craft.Detector(digits["vae"], held, 0.1)
    assert all(0 < f.doubt < 3 for f in found.look(held[:5]))
    exactly = craft.Detector(digits["vae"], held, 0.1, by="error")
    assert all(f.doubt == 0 for f in exactly.look(held[:5]))


def test_what_it_refuses(digits):
    held = held_items(digits["vae"], None, 18)
    with pytest.raises(DataError, match="18 ordinary pieces are too few for a false-alarm rate of 0.05: 19 are needed"):
        craft.Detector(digits["vae"], held)
    with pytest.raises(DataError, match="18 ordinary pieces are too few for a false-alarm rate of 0.1: 19 are needed"):
        craft.Detector(digits["vae"], held, 0.1, by="error")
    with pytest.raises(RecipeError, match="false_alarms is 1.5"):
        craft.Detector(digits["vae"], held, 1.5)
    with pytest.raises(BottegaError, match="has no codes"):
        craft.Detector(digits["gan"], held, 0.5)
    rows = SimpleNamespace(model=Blank(), spec=Spec((16,)), recipe=SimpleNamespace(family={"name": "blank"}))
    with pytest.raises(BottegaError, match="a blank has no places to judge by"):
        craft.Detector(rows, held, by="place")
    with pytest.raises(DataError, match="name the data .* with --data"):
        held_items(digits["vae"], "gone/away", 5)


def test_the_verb_names_anomalies_and_draws_where(digits, tmp_path: Path, capfd):
    held = held_items(digits["vae"], None, 6)
    strange, _ = marred(held)
    for kind, items in (("plain", held[:3]), ("odd", strange[3:])):
        for i, item in enumerate(items):
            Image.fromarray(item.value[..., 0]).save(tmp_path / f"{kind}-{i}.png")
    told = [
        "anomalies",
        str(digits["vae"].path),
        str(tmp_path),
        "--false-alarms",
        "0.1",
        "--out",
        str(tmp_path / "heat"),
    ]
    assert main([*told, "--json", "-q"]) == 0
    import json

    result = json.loads(capfd.readouterr().out)
    flagged = {Path(f["name"]).stem for f in result["findings"] if f["anomaly"]}
    assert len([name for name in flagged if name.startswith("odd")]) >= 2
    assert len(result["heat_maps"]) == len(flagged)
    assert all(Image.open(path).size == (8, 8) for path in result["heat_maps"])
    assert main(told[:2] + ["gone.png"]) == 2
    assert capfd.readouterr().err.count("\n") == 1
