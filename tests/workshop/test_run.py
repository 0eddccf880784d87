"""A run from recipe to pieces: resumable, reproducible, judged; a weights file alone is enough."""

import inspect
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import bottega
from bottega.core import BottegaError, CheckpointError, DataError, DivergedError, RecipeError, lookup, names
from bottega.training import checkpoint
from bottega.workshop.evidence import Evidence
from recipes import write_recipe

TEXT = {"data": {"name": "grammar", "n": 200}, "codec": {"name": "text", "tokenizer": "char", "length": 16}, "size": 1}

recipe = partial(write_recipe, save_seconds=0.0)  # saved at every step


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return bottega.train(recipe(folder), out=folder / "run")


def test_a_run_has_its_files(trained):
    there = {p.name for p in trained.path.iterdir()}
    assert there >= {
        "recipe.toml",
        "model.safetensors",
        "log.jsonl",
        "evidence.json",
        "report.html",
        "card.md",
        "samples",
    }
    rows = [json.loads(line) for line in (trained.path / "log.jsonl").read_text().splitlines()]
    assert {row["step"] for row in rows} == set(range(1, 13))
    evidence = Evidence.read(trained.path / "evidence.json")
    assert evidence.data.rows == 400
    assert len(evidence.data.fingerprint) == 64
    assert evidence.run.weights == trained.weights_hash
    assert evidence.measures
    assert all(m.n > 0 for m in evidence.measures)


def test_a_sample_belongs_to_its_seed(trained):
    many = trained.sample(5, seeds=[3, 1, 4, 1, 5]).x
    assert torch.allclose(many[1], many[3])
    assert not torch.allclose(many[0], many[1])
    assert torch.allclose(trained.sample(1, seeds=[4]).x[0], many[2], atol=1e-6)
    assert torch.allclose(trained.sample(3, seed=3).x[1], many[2], atol=1e-6)


def test_a_weights_file_alone_is_enough(trained, tmp_path):
    shutil.copy(trained.path / "model.safetensors", tmp_path / "alone.safetensors")
    alone = bottega.load(tmp_path / "alone.safetensors")
    assert alone.weights_hash == trained.weights_hash
    assert torch.equal(alone.sample(2).x, trained.sample(2).x)
    assert alone.evidence.data.rows == 400


def test_pieces_are_saved_with_a_manifest(trained, tmp_path):
    paths = trained.sample(3, seed=7).save(tmp_path / "pieces")
    manifest = json.loads((tmp_path / "pieces" / "pieces.json").read_text())
    assert manifest["seeds"] == [7, 8, 9]
    assert manifest["weights"] == trained.weights_hash
    assert {p["file"] for p in manifest["pieces"]} == {p.name for p in paths}
    assert (tmp_path / "pieces" / "sheet.png").exists()


def test_wrong_knobs_and_conditions_name_the_mend(trained):
    with pytest.raises(RecipeError, match="did you mean 'temperature'"):
        trained.sample(1, temprature=2.0)
    with pytest.raises(RecipeError, match="trained without conditions"):
        trained.sample(1, cond="7")
    with pytest.raises(BottegaError, match="points of the codec points cannot be edited"):
        trained.edit("x")


def test_guidance_is_refused_where_there_is_nothing_to_be_guided_to(tmp_path):
    recipe = write_recipe(tmp_path, "diffusion", ema=0.0)
    run = bottega.train(recipe, out=tmp_path / "run", judge=False)
    assert run.spec.cond is None
    with pytest.raises(RecipeError, match="guidance is 3, but .* was trained without conditions"):
        run.sample(1, guidance=3)
    assert len(run.sample(1, guidance=1, steps=2)) == 1


def test_a_finished_run_is_left_as_it_is(trained):
    before = (trained.path / "model.safetensors").stat().st_mtime_ns
    again = bottega.train(trained.path.parent / "vae.toml", out=trained.path)
    assert again.weights_hash == trained.weights_hash
    assert (trained.path / "model.safetensors").stat().st_mtime_ns == before


def test_another_recipe_in_the_same_place_is_refused(trained):
    with pytest.raises(RecipeError, match="family.size is 16 now and was 8"):
        bottega.train(trained.path.parent / "vae.toml", out=trained.path, set={"family.size": 16})
    with pytest.raises(RecipeError, match="was trained on --data"):
        bottega.train(trained.path.parent / "vae.toml", out=trained.path, data="moons")


def test_global_random_state_is_not_touched(tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    run = bottega.train(recipe(tmp_path, steps=2), out=tmp_path / "run", judge=False)
    run.sample(2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "bottega", *map(str, arguments)]


def hash_of(run: Path) -> str:
    tensors, header = checkpoint.load(run / "model.safetensors")
    assert header["stopped"]
    return checkpoint.weights_hash(tensors)


@pytest.mark.parametrize(
    "family", ["vae", *(pytest.param(f, marks=pytest.mark.slow) for f in ("gan", "diffusion", "gpt"))]
)
def test_killed_at_any_step_a_run_resumes_bit_for_bit(tmp_path, family):
    """``kill -9`` twice at moments nobody chose, then to the end; every tensor equals the uninterrupted run's."""
    toml = recipe(tmp_path, family, steps=60, **(TEXT if family == "gpt" else {}))
    bottega.train(toml, out=tmp_path / "whole", judge=False)
    rng = random.Random(family)
    kills = 0
    for _ in range(2):
        log = tmp_path / "killed" / "log.jsonl"
        wait_for = rng.randint(1, 25) + (len(log.read_text().splitlines()) if log.exists() else 0)
        process = subprocess.Popen(command("train", toml, "--out", tmp_path / "killed", "--no-judge", "--quiet"))
        while process.poll() is None and (not log.exists() or len(log.read_bytes().splitlines()) < wait_for):
            time.sleep(0.002)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert kills
    bottega.train(toml, out=tmp_path / "killed", judge=False)
    assert hash_of(tmp_path / "killed") == hash_of(tmp_path / "whole")
    steps = [json.loads(line)["step"] for line in (tmp_path / "killed" / "log.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == list(range(1, 61))
    assert steps == sorted(steps)


def test_nothing_kept_back_is_told_before_training(tmp_path):
    with pytest.raises(RecipeError, match=r"data\.held is 0, so nothing is kept back"):
        bottega.train(recipe(tmp_path), out=tmp_path / "run", set={"data.held": 0})
    assert not (tmp_path / "run").exists()


def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path):
    toml = recipe(tmp_path, steps=4000)
    process = subprocess.Popen(
        command("train", toml, "--out", tmp_path / "run", "--no-judge", "--set", "train.save_seconds=1000"),
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and not (tmp_path / "run" / "log.jsonl").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode == 130
    assert "run the same command again" in said
    assert "Traceback" not in said
    _, header = checkpoint.load(tmp_path / "run" / "model.safetensors")
    assert 0 < header["step"] < 4000
    assert not header["stopped"]


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_weights(tmp_path):
    toml = recipe(tmp_path, steps=300)
    with pytest.raises(
        DivergedError, match=r"^step \d+: term '\w+' .* is not finite; lower optim.lr; .*step \d+ are kept"
    ):
        bottega.train(toml, out=tmp_path / "run", set={"optim.lr": 1e30, "optim.warmup": 0, "train.clip": 0})
    tensors, header = checkpoint.load(tmp_path / "run" / "model.safetensors")
    assert header["step"] < 300
    assert all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point())


def test_early_stopping_goes_back_to_the_best(tmp_path):
    toml = recipe(tmp_path, "gpt", steps=400, **TEXT)
    changes = {
        "data.n": 12,
        "data.held": 0.4,
        "train.batch": 4,
        "train.patience": 3,
        "train.checks": 40,
        "optim.lr": 0.01,
    }
    run = bottega.train(toml, out=tmp_path / "run", set=changes | {"family.size": 2}, judge=False)
    assert run.step < 400
    assert any("stopped early" in note for note in run.header["notes"])
    best, _ = checkpoint.load(tmp_path / "run" / "best.safetensors", prefix="model.")
    final, _ = checkpoint.load(tmp_path / "run" / "model.safetensors", prefix="model.")
    assert checkpoint.weights_hash(best) == checkpoint.weights_hash(final)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    held = [row["held/nll"] for row in rows if "held/nll" in row]
    assert min(held) < held[-1]


def test_data_that_changed_is_noticed(tmp_path):
    table = tmp_path / "points.csv"
    table.write_text("a,b\n" + "\n".join(f"{i % 7},{i % 5}" for i in range(60)))
    toml = recipe(tmp_path, steps=2)
    run = bottega.train(toml, table, tmp_path / "run", judge=False, set={"train.batch": 8})
    table.write_text("a,b\n" + "\n".join(f"{i % 7},{i % 3}" for i in range(60)))
    with pytest.raises(DataError, match="changed since"):
        run.judge()


def test_a_model_of_codes_is_one_file(tmp_path):
    """Latent diffusion: a family on another run's codes, with no line in either; the file carries the other model."""
    quick = {"data": {"name": "digits"}, "steps": 3}
    toml = recipe(tmp_path, "autoencoder", codec={"name": "image", "size": 0}, **quick)
    inner = bottega.train(toml, out=tmp_path / "inner", judge=False)
    toml = recipe(tmp_path, "diffusion", codec={"name": "latent", "run": str(inner.path)}, **quick)
    run = bottega.train(toml, out=tmp_path / "outer", judge=False)
    made = run.sample(2)
    assert made.items[0].value.shape == inner.sample(1).items[0].value.shape
    shutil.rmtree(tmp_path / "inner")
    assert torch.equal(bottega.load(tmp_path / "outer").sample(2).x, made.x)


def test_missing_and_foreign_runs_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="no run at"):
        bottega.load(tmp_path)
    torch.save({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="is a pickle"):
        bottega.load(tmp_path)


def test_unknown_data_and_wrong_medium_name_the_mend(tmp_path):
    toml = recipe(tmp_path)
    with pytest.raises(DataError, match="did you mean 'moons'"):
        bottega.train(toml, "moon", tmp_path / "run")
    with pytest.raises(DataError, match="holds text data"):
        bottega.train(toml, "grammar", tmp_path / "run")
    with pytest.raises(RecipeError, match="unknown key data.radios; did you mean 'radius'"):
        bottega.train(toml, out=tmp_path / "run", set={"data.radios": 2})
    with pytest.raises(RecipeError, match="unknown name 'vea' in families; did you mean 'vae'"):
        bottega.train(toml, out=tmp_path / "run", set={"family.name": "vea"})
    with pytest.raises(RecipeError, match="optim.generator"):
        bottega.train(toml, out=tmp_path / "run", set={"optim.generator.lr": 0.1})
    with pytest.raises(DataError, match="fewer than the batch"):
        bottega.train(toml, out=tmp_path / "run", set={"train.batch": 5000})
    assert not (tmp_path / "run").exists(), "nothing is half-written"


@pytest.mark.skipif(os.name != "posix", reason="torchrun on POSIX")
@pytest.mark.slow
def test_two_processes_train_one_run(tmp_path):
    toml = recipe(tmp_path, steps=4)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29517",
         "-m", "bottega", "train", toml, "--out", tmp_path / "run", "--no-judge", "--quiet"],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert bottega.load(tmp_path / "run").header["rows_seen"] == 4 * 32 * 2


@pytest.mark.parametrize("family", names("families"))
def test_every_knob_of_a_family_has_a_name_and_a_default(family):
    for verb in ("sample", "edit"):
        method = getattr(lookup("families", family), verb, None)
        if method is None:
            continue
        parameters = list(inspect.signature(method).parameters.values())[4:]  # self and the three that Bottega fills
        assert not [p.name for p in parameters if p.kind in {p.VAR_KEYWORD, p.VAR_POSITIONAL}], "--set cannot reach it"
        assert not [p.name for p in parameters if p.default is p.empty]


def test_a_language_model_of_a_pictures_codes_is_trained_sampled_and_judged(tmp_path):
    """A VQ-VAE and a GPT over its codes, as digits-vqvae and digits-codes-gpt; judges of pictures meet rows of whole numbers."""
    digits = {"name": "digits", "limit": 120}
    picture = {"name": "image", "size": 0, "levels": 17}
    first = write_recipe(tmp_path, "vqvae", data=digits, codec=picture, steps=3)
    bottega.train(first, out=tmp_path / "codes", judge=False, device="cpu")
    second = write_recipe(
        tmp_path, "gpt", size=1, data=digits, codec={"name": "latent", "run": str(tmp_path / "codes")}, steps=3
    )
    run = bottega.train(second, out=tmp_path / "gpt", device="cpu")
    assert run.spec.shape == (16,)
    assert {item.value.shape for item in run.sample(4).items} == {(8, 8, 1)}
    found = {m.name for m in run.evidence.measures}
    assert {"nll_nats", "frechet_distance"} <= found
    assert "natural_share" not in found
