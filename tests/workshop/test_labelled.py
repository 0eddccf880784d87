"""Few labels: which pieces keep theirs, how often those are seen, and what a model that names classes says of files."""

import json

import pytest
import torch

import bottega
from bottega.cli import main
from bottega.core import BottegaError, DataError
from bottega.data import builtin
from bottega.workshop.recipe import load_recipe
from bottega.workshop.training import Training
from recipes import write_recipe

DIGITS = {"name": "digits", "limit": 400, "labelled": 4}
PICTURES = {"name": "image", "size": 0}


def prepared(folder, family, **data):
    recipe = write_recipe(folder, family, data=DIGITS | data, codec=PICTURES, steps=2, batch=32, monitor=False)
    training = Training(load_recipe(recipe), None, folder / "run", torch.device("cpu"), lambda _: None)
    training.prepare()
    return training


@pytest.mark.parametrize(("family", "share"), [("vae", 40 / 360), ("ssgan", 1 / 3)])
def test_so_many_of_each_class_say_it_and_come_as_often_as_the_family_asks(tmp_path, family, share):
    training = prepared(tmp_path, family)
    known = [item.cond for item in training.parts.train if item.cond is not None]
    assert sorted(known) == sorted(str(k) for k in range(10) for _ in range(4))
    assert all(item.cond is not None for item in training.parts.held), "judges need the truth"
    rows = training.stream.source
    cond = rows.take(torch.arange(len(rows))).cond
    assert (cond >= 0).float().mean().item() == pytest.approx(share, abs=0.03)
    assert cond[cond >= 0].bincount().unique().numel() == 1


def test_files_are_named_and_the_judge_counts(tmp_path, capfd):
    recipe = write_recipe(tmp_path, "ssgan", data=DIGITS, codec=PICTURES, steps=2, batch=32)
    run = bottega.train(recipe, out=tmp_path / "run", judge=False)
    items = builtin.load("digits").items[:3]
    files = [run.codec.write(item, tmp_path / f"digit-{item.cond}") for item in items]
    assert main(["score", str(run.path), *map(str, files), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)["scores"]
    assert [row["name"] for row in told] == [f.name for f in files]
    logs = run.model.classify(run.codec.encode(items))
    assert [row["class"] for row in told] == [run.codec.classes[k] for k in logs.argmax(1).tolist()]
    assert [row["probability"] for row in told] == pytest.approx(logs.exp().max(1).values.tolist(), abs=1e-5)
    (found,) = run.judge(only=["classify"], n=40).measures
    assert found.name == "class_accuracy"
    vae = bottega.train(write_recipe(tmp_path, steps=1), out=tmp_path / "vae", judge=False)
    with pytest.raises(BottegaError, match="tells no classes apart; use naive_bayes or ssgan"):
        vae.classify([files[0]])


def test_what_it_refuses(tmp_path):
    with pytest.raises(DataError, match="data.labelled is 0"):
        prepared(tmp_path, "vae", labelled=0)
    recipe = write_recipe(tmp_path, "vae", data={"name": "ring", "n": 100, "labelled": 3}, steps=1)
    with pytest.raises(DataError, match="must have classes"):
        bottega.train(recipe, out=tmp_path / "points", judge=False)
