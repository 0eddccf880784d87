"""The table of steps, and a run that learns from another run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import bottega
from bottega.cli import main
from bottega.core import BottegaError, CheckpointError, RecipeError
from bottega.workshop.steps import steps_table
from recipes import write_recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny diffusion run on a ring."""
    here = tmp_path_factory.mktemp("steps")
    recipe = write_recipe(here, "diffusion", ema=0.0)
    bottega.train(recipe, out=here / "teacher", judge=False)
    return here


def test_a_row_for_each_sampler_and_number_of_steps(trained: Path, capsys: pytest.CaptureFixture[str]):
    words = ["steps", trained / "teacher", "--samplers", "ddim,unipc", "--counts", "1,3", "-n", "24", "--json", "-q"]
    assert main([str(word) for word in words]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["sampler"], row["steps"]) for row in rows] == [("ddim", 1), ("ddim", 3), ("unipc", 1), ("unipc", 3)]
    assert all(row["sample_ms"] > 0 for row in rows)
    found = [{m["name"]: m["value"] for m in row["measures"]} for row in rows]
    assert all("frechet_distance" in measures for measures in found)
    assert found[0]["frechet_distance"] == pytest.approx(found[2]["frechet_distance"])  # one step is one step
    assert found[0]["frechet_distance"] != found[1]["frechet_distance"]


def test_what_has_no_steps_or_samplers_says_so(trained: Path, tmp_path: Path):
    at_once = bottega.train(write_recipe(tmp_path, "vae", ema=0.0), out=tmp_path / "vae", judge=False)
    with pytest.raises(BottegaError, match="at once"):
        steps_table(at_once)
    told = []
    for counts, samplers, words in (([2], ["ddim", "unipcc"], "unknown sampler"), ([2, 0], ["ddim"], "steps is 0")):
        with pytest.raises(RecipeError, match=words):
            steps_table(bottega.load(trained / "teacher"), counts, samplers, n=8, progress=told.append)
    assert not any("steps" in at.note.split() and at.steps for at in told), "before the first row"


def test_counts_that_are_none_are_named_as_counts(trained: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["steps", str(trained / "teacher"), "--counts", "abc"]) == 2
    said = capsys.readouterr().err
    assert "--counts: 'abc' is no number of steps" in said
    assert "--seeds" not in said


def _student(here: Path, teacher: Path, size: int = 8) -> Path:
    path = write_recipe(here, "consistency", size=size, ema=0.0)
    path.write_text(path.read_text().replace(f"size = {size}", f'size = {size}\nteacher = "{teacher}"\nhalve = 4'))
    return path


def test_a_student_starts_from_its_teacher_and_stands_alone_afterwards(trained: Path, tmp_path: Path):
    teacher = tmp_path / "teacher"
    shutil.copytree(trained / "teacher", teacher)
    run = bottega.train(_student(tmp_path, teacher), out=tmp_path / "student", judge=False)
    assert run.model.stage.item() == 3  # twelve steps, halved every four
    samples = run.sample(3, steps=2).x
    shutil.rmtree(teacher)
    assert bottega.load(tmp_path / "student").sample(3, steps=2).x.equal(samples)


def test_a_teacher_that_is_not_there_or_does_not_fit_is_told_in_one_line(trained: Path, tmp_path: Path):
    with pytest.raises(CheckpointError, match="no run at"):
        bottega.train(_student(tmp_path, tmp_path / "nobody"), out=tmp_path / "a", judge=False)
    with pytest.raises(RecipeError, match="another size"):
        bottega.train(_student(tmp_path, trained / "teacher", size=12), out=tmp_path / "b", judge=False)
