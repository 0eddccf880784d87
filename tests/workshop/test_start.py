"""A training that begins with the weights of another run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import bottega
from bottega.core import CheckpointError, RecipeError
from recipes import write_recipe

STILL = {"optim.lr": 1e-12, "optim.weight_decay": 0.0}  # weights stay where they begin
DIGITS = {"name": "digits", "limit": 200}
IMAGE = {"name": "image", "size": 0}


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    bottega.train(
        write_recipe(folder, data={"name": "ring", "n": 400, "labels": True}), out=folder / "ring", judge=False
    )
    return folder


def begun(here: Path, out: Path, set=None, name="vae", **tables):
    recipe = write_recipe(out.parent, name, **tables)
    return bottega.train(recipe, out=out, judge=False, set={"train.start": str(here / "ring"), **(set or {})})


def weights(run):
    return dict(run.model.named_parameters())


def test_it_begins_with_those_weights_and_says_so(here, tmp_path):
    run = begun(here, tmp_path / "more", STILL, data={"name": "ring", "n": 400, "labels": True, "seed": 1}, steps=1)
    theirs = weights(bottega.load(here / "ring"))
    for key, p in weights(run).items():
        torch.testing.assert_close(p, theirs[key], rtol=0, atol=1e-6)
    assert run.header["notes"][0] == f"began with the weights of {here / 'ring'}"
    assert run.codec.state() == bottega.load(here / "ring").codec.state()


def test_what_numbers_mean_is_kept_where_the_data_would_say_otherwise(here, tmp_path):
    wide = {"name": "ring", "n": 400, "labels": True, "radius": 5.0}
    kept = begun(here, tmp_path / "kept", data=wide)
    fresh = bottega.train(write_recipe(tmp_path, data=wide), out=tmp_path / "fresh", judge=False)
    assert kept.codec.state() == bottega.load(here / "ring").codec.state() != fresh.codec.state()


def test_it_goes_on_without_the_run_it_began_with(here, tmp_path, monkeypatch):
    shutil.copytree(here / "ring", tmp_path / "first")
    data = {"name": "ring", "n": 400, "labels": True, "radius": 2.0}
    recipe, start = write_recipe(tmp_path, data=data), {"train.start": str(tmp_path / "first")}
    whole = bottega.train(recipe, out=tmp_path / "whole", set=start, judge=False)
    stopped = []

    def stop(progress):
        if progress.step >= 5 and not stopped:
            stopped.append(progress.step)
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        bottega.train(
            recipe, out=tmp_path / "half", set={**start, "train.save_seconds": 0.0}, judge=False, progress=stop
        )
    shutil.rmtree(tmp_path / "first")
    gone_on = bottega.train(recipe, out=tmp_path / "half", set={**start, "train.save_seconds": 0.0}, judge=False)
    assert gone_on.weights_hash == whole.weights_hash
    with pytest.raises(CheckpointError, match="no run at"):
        bottega.train(recipe, out=tmp_path / "new", set=start, judge=False)


def test_new_classes_begin_anew_and_the_rest_is_kept(tmp_path):
    plain = {"codec": IMAGE, "family": "stylegan", "steps": 2}
    ten = bottega.train(write_recipe(tmp_path, name="ten", data=DIGITS, **plain), out=tmp_path / "ten", judge=False)
    start = {"train.start": str(ten.path), **STILL, "codec.labels": "none"}
    run = bottega.train(
        write_recipe(tmp_path, name="one", data=DIGITS, **plain | {"steps": 1}),
        out=tmp_path / "one",
        set=start,
        judge=False,
    )
    assert "tensors begin anew" in run.header["notes"][0]
    assert run.spec.cond is None
    for key, p in weights(run).items():
        torch.testing.assert_close(p, weights(ten)[key], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("set", "name", "says"),
    [
        ({"family.size": 4}, "vae", r"where .* is \(.*\) and here \(.*\); set \[family\] as there"),
        ({}, "autoencoder", "of family VAE and not Autoencoder"),
        ({"codec.name": "image", "codec.size": 8, "data.name": "digits"}, "vae", "set .codec. as there"),
    ],
)
def test_what_does_not_fit_is_one_line(here, tmp_path, set, name, says):
    data = {"name": "digits"} if "codec.name" in set else {"name": "ring", "n": 400, "labels": True}
    with pytest.raises(RecipeError, match=says) as told:
        begun(here, tmp_path / "x", set, name, data=data)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "x" / "model.safetensors").exists()


def test_another_codec_of_numbers_is_refused(here, tmp_path):
    with pytest.raises(RecipeError, match="whose .codec. is .*; set it as there"):
        begun(here, tmp_path / "x", {"codec.scale": 2.0}, data={"name": "ring", "n": 400, "labels": True})
