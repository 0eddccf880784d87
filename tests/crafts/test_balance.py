"""Balance: a generator that knows the truth helps the rare class, one that copies is refused, and what is written says so."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import bottega
from bottega.cli import main
from bottega.core import BottegaError, DataError, Item
from bottega.crafts import balance as craft
from bottega.trust.mark import read
from recipes import write_recipe

PATTERN = np.random.default_rng(9).choice([-1.0, 1.0], (8, 8, 1))


def picture(k, rng):
    """Class 0 is a faint pattern in strong noise, class 1 the same pattern reversed."""
    return (128 + 18 * (1 - 2 * k) * PATTERN + 70 * rng.normal(size=(8, 8, 1))).clip(0, 255).astype(np.uint8)


def row(k, rng):
    """Six numbers whose means differ a little between the classes."""
    kind = "rare" if k else "common"
    return {f"n{i}": round(float(v), 4) for i, v in enumerate(rng.normal(size=6) + 0.9 * k)} | {"kind": kind}


def world(kind, folder, counts, seed=0):
    """A file of so many pieces of each class."""
    rng, labels = np.random.default_rng(seed), [k for k, n in enumerate(counts) for _ in range(n)]
    if kind == "image":
        path = folder / f"pictures-{seed}.npz"
        np.savez(path, x=np.stack([picture(k, rng) for k in labels]), y=np.array(labels))
        return path
    path, rows = folder / f"rows-{seed}.csv", [row(k, rng) for k in labels]
    path.write_text("\n".join([",".join(rows[0]), *(",".join(map(str, r.values())) for r in rows)]) + "\n")
    return path


@pytest.fixture(scope="module", params=[pytest.param("image", marks=pytest.mark.slow), "table"])
def run(request, tmp_path_factory):
    """An untrained model of 200 and 10 pieces, and 150 and 50 others to test on; tests put a generator in its place."""
    here, kind = tmp_path_factory.mktemp(request.param), request.param
    codec = {"image": {"name": "image", "size": 0}, "table": {"name": "table", "cond": "kind", "form": "mixed"}}[kind]
    recipe = write_recipe(here, "vae", name=kind, codec=codec, data={"held": 0.0}, steps=1, batch=16, monitor=False)
    made = bottega.train(recipe, world(kind, here, (200, 10)), here / "run", judge=False)
    made.tested = world(kind, here, (150, 50), seed=1)
    return made


def knows_the_truth(run, monkeypatch):
    rng = np.random.default_rng(5)

    def sample(n, draws, cond):
        items = [
            Item(picture(int(k), rng)) if run.codec.medium == "image" else Item(row(int(k), rng)) for k in cond.tolist()
        ]
        return run.codec.encode(items).x

    assert run.header["conditions"] in (["0", "1"], ["common", "rare"])
    monkeypatch.setattr(run.model, "sample", sample)


def test_true_pieces_of_the_rare_class_help(run, tmp_path, monkeypatch):
    """Row C15: its F1 rises, by more than chance, and not by leaking."""
    knows_the_truth(run, monkeypatch)
    monkeypatch.setattr(craft, "_LEARNERS", 2)
    done = craft.balance(run, test=run.tested, out=tmp_path)
    common, rare = done.classes
    assert done.rare == [rare.name]
    assert common.made == 0
    assert rare.real + rare.made == common.real
    assert rare.copies_of_train == rare.copies_of_held == 0
    real, weighted, balanced = done.ways
    assert [way.name for way in done.ways] == ["real", "weighted", "balanced"]
    assert done.gain == pytest.approx(balanced.f1 - real.f1)
    assert done.gain_low > 0, done
    assert balanced.f1 > weighted.f1, done
    assert all(way.low <= way.f1 <= way.high for way in done.ways)
    if run.codec.medium == "image":
        assert len(done.files) == rare.made
        assert {path.parent.name for path in done.files} == {rare.name}, (
            "a folder that `bottega train` reads as a class"
        )
    assert read(done.files[0])["machine_made"] == "true"
    told = json.loads((tmp_path / "balance.json").read_text())
    assert told["classes"][1]["made"] == rare.made


@pytest.mark.parametrize("part", ["train", "held"])
def test_copies_are_refused_and_counted(run, tmp_path, monkeypatch, part):
    """A planted leak: the generator gives out what it learned from, or what it is tested on."""
    path = {"train": run.header["data_argument"], "held": run.tested}[part]
    real = run.codec.encode(run.codec.read(path))
    real = real.take(real.cond == 1)
    monkeypatch.setattr(run.model, "sample", lambda n, rng, cond: real.x[torch.arange(n) % len(real)])
    monkeypatch.setattr(craft, "_LEARNERS", 1)
    rare = craft.balance(run, test=run.tested, out=tmp_path).classes[1]
    assert rare.copies_of_held > 0 if part == "held" else rare.copies_of_train > 0
    assert rare.made == 0
    assert not list(tmp_path.glob("1/*-1.png"))


def test_the_command(run, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(craft, "_LEARNERS", 1)
    asked = ["balance", str(run.path), "--test", str(run.tested), "--out", str(tmp_path)]
    assert main([*asked, "--json"]) == 0
    told = capfd.readouterr()
    found = json.loads(told.out)
    assert [way["name"] for way in found["ways"]] == ["real", "weighted", "balanced"]
    assert "made pieces change their F1 by" in told.err


def test_what_it_refuses(run, digits, tmp_path):
    with pytest.raises(BottegaError, match="by class"):
        craft.balance(digits["vae"])
    only = world(run.codec.medium, tmp_path, (20, 0), seed=2)
    with pytest.raises(DataError, match="no piece to test class"):
        craft.balance(run, test=only)
