"""Drift: silent where there is none, told where it was planted; in features, in texts, and of a run."""

from __future__ import annotations

import math

import pytest
import torch

import bottega
from bottega.core import BottegaError, Item
from bottega.serve.drift import Drift, Sentinel, Watch, psi
from bottega.serve.metrics import Metrics
from recipes import write_recipe

D = 24


def _world(n, seed, change=None):
    """Features of a mixture of three modes in 24 directions, of which 18 vary."""
    generator = torch.Generator().manual_seed(seed)
    modes = torch.randn(3, D, generator=torch.Generator().manual_seed(99), dtype=torch.float64) * 2
    which = torch.randint(3, (n,), generator=generator)
    if change == "mode":
        which = which.clamp_max(1)
    x = modes[which] + torch.randn(n, D, generator=generator, dtype=torch.float64) * (0.6 if change == "narrow" else 1)
    x[:, 18:] = 0.01 * x[:, 18:]
    if change == "mean":
        x[:, 3] += 1.0
    if change == "beside":
        x[:, 20] += 0.3
    return x


def _items(x):
    return [Item(row) for row in x]


def _drift():
    return Drift(
        "m", "points", _world(800, 1), None, lambda items: (torch.stack([i.value for i in items]), None), window=200
    )


def _check(drift, x):
    drift.served(_items(x))
    return {r.measure: r for r in drift.check()}


def test_psi_is_by_hand():
    p, q = [0.2, 0.3, 0.5], [0.25, 0.25, 0.5]
    by_hand = sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))
    counts = [torch.tensor([x * 1e9 for x in shares]) for shares in (p, q)]
    assert psi(*counts) == pytest.approx(by_hand, rel=1e-6)


def test_no_drift_is_silent_over_many_windows():
    drift = _drift()
    readings = [_check(drift, _world(200, seed))["frechet"] for seed in range(100, 250)]
    assert not any(r.drifted for r in readings)
    assert all(r.n == 200 for r in readings)


@pytest.mark.parametrize("change", ["mode", "mean", "narrow", "beside"])
def test_planted_drift_is_told_each_time(change):
    drift = _drift()
    assert all(_check(drift, _world(200, seed, change))["frechet"].drifted for seed in range(100, 110))


def test_a_window_that_is_not_full_says_nothing_and_slides():
    drift = _drift()
    assert not _check(drift, _world(199, 5, "mean"))["frechet"].drifted
    assert _check(drift, _world(1, 6, "mean"))["frechet"].drifted
    for seed in range(7, 11):  # what was bad leaves the window again
        last = _check(drift, _world(50, seed))["frechet"]
    assert not last.drifted


def test_a_reference_must_be_large_enough():
    with pytest.raises(ValueError, match="too small"):
        Sentinel(torch.zeros(10, 2), lambda a, b: 0.0, 6)


def _texts(n, seed, mean=20.0, favourite=0.0):
    generator = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(n):
        length = max(1, int(mean + 4 * torch.randn(1, generator=generator)))
        tokens = (torch.rand(length, generator=generator) ** 2 * 60).long()
        tokens[torch.rand(length, generator=generator) < favourite] = 7
        out.append(tokens)
    return out


def _text_drift():
    def look(items):
        return torch.randn(len(items), 4, generator=torch.Generator().manual_seed(len(items)), dtype=torch.float64), [i.value for i in items]  # fmt: skip

    texts = _texts(800, 1)
    return Drift("m", "text", look(_items(texts))[0], texts, look, window=200)


def test_lengths_and_tokens_of_texts():
    drift = _text_drift()
    for seed in range(10, 40):
        assert not any(r.drifted for r in _check(drift, _texts(200, seed)).values())
    short = _check(drift, _texts(200, 50, mean=15.0))
    assert (short["length"].drifted, short["tokens"].drifted) == (True, False)
    repeats = _check(drift, _texts(200, 51, favourite=0.3))
    assert (repeats["length"].drifted, repeats["tokens"].drifted) == (False, True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    here = tmp_path_factory.mktemp("drift")
    return bottega.train(
        write_recipe(here, "vae", data={"name": "ring", "n": 1000}, steps=60), out=here / "ring", judge=False
    )


def test_a_run_that_serves_as_it_was_judged_is_silent_and_one_whose_weights_broke_is_told(run):
    drift = Drift.of(run, window=150, n=600)
    watch, metrics = Watch(), Metrics()
    watch.add(drift)
    metrics.watch_drift(watch.readings)
    for seed in (5000, 6000, 7000):
        watch.served("ring", run.sample(150, seed=seed).items)
        assert not any(r.drifted for r in watch.check())
    labels = {"model": "ring", "medium": "points", "measure": "frechet"}
    assert metrics.registry.get_sample_value("bottega_drifted", labels) == 0
    watch.served("other", run.sample(1).items)  # nobody watches it
    with torch.no_grad():
        for p in run.model.parameters():
            p.mul_(1.3)
    watch.served("ring", run.sample(150, seed=5000).items)
    watch.check()
    assert metrics.registry.get_sample_value("bottega_drifted", labels) == 1
    value, limit = (metrics.registry.get_sample_value(f"bottega_drift{end}", labels) for end in ("", "_limit"))
    assert value > limit > 0


def test_texts_of_a_run(tmp_path):
    data = tmp_path / "lines.txt"
    data.write_text("\n".join(f"the {a} {b} the {c}" for a in ("cat", "dog", "bird") for b in ("sees", "likes", "hears") for c in ("sun", "sea", "tree", "moon")) * 4)  # fmt: skip
    recipe = write_recipe(tmp_path, "ngram", data={"name": "lines", "path": str(data)}, codec={"name": "text", "unit": "item", "length": 12}, steps=40)  # fmt: skip
    run = bottega.train(recipe, str(data), tmp_path / "run", judge=False)
    drift = Drift.of(run, window=60, n=300)
    assert drift.medium == "text"
    drift.served(run.sample(60, seed=900).items)
    assert not any(r.drifted for r in drift.check())
    drift.served([Item("sun sun sun sun")] * 60)
    assert {r.measure for r in drift.check() if r.drifted} >= {"frechet", "tokens"}


def test_missing_data_are_told(run, monkeypatch):
    monkeypatch.setitem(run.header, "data_argument", "/nowhere/at/all")
    with pytest.raises(BottegaError):
        Drift.of(run)
