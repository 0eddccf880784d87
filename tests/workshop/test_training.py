"""Two processes train one run, and hold together when one of them is interrupted."""

import os
import socket
import subprocess
import sys

import pytest
from PIL import Image

import bottega
from bottega.core import RecipeError
from recipes import write_recipe

RANKS = """
import sys
import bottega
from bottega.workshop.training import Training

toml, out, stop = sys.argv[1:]
whole = Training._watch

def watch(self, step, played):
    if self.rank == 1 and step + 1 == int(stop):
        self.interrupted.set()  # a signal that only one process gets
    whole(self, step, played)

Training._watch = watch
try:
    print(bottega.train(toml, out=out, judge=False, device="cpu").weights_hash)
except KeyboardInterrupt as stopped:
    print(stopped)
"""


def ranks(toml, out, stop=0):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        env = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(s.getsockname()[1])}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RANKS, toml, out, str(stop)], env={**env, "RANK": str(r), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for r in range(2)
    ]  # fmt: skip
    done = [p.communicate(timeout=200) for p in started]
    assert all(p.returncode == 0 for p in started), [error[-2000:] for _, error in done]
    return [said.strip() for said, _ in done]


@pytest.mark.slow
def test_two_processes_stop_together_and_go_on_as_if_they_had_not(tmp_path):
    toml = write_recipe(tmp_path, steps=8, save_seconds=1000.0)
    whole = ranks(toml, tmp_path / "whole")
    assert whole[0] == whole[1]
    assert ranks(toml, tmp_path / "broken", stop=3) == ["stopped at step 3"] * 2
    assert ranks(toml, tmp_path / "broken") == whole


@pytest.mark.parametrize("column", ["job", "count", "paid"])
def test_a_table_is_asked_for_by_a_column(tmp_path, column):
    rows = "".join(f"{i * 0.37:.2f},{'ab'[i % 2]},{i % 3},{('true', 'false', '')[i % 3]}\n" for i in range(80))
    (tmp_path / "t.csv").write_text("size,job,count,paid\n" + rows)
    run = bottega.train(
        "table", tmp_path / "t.csv", tmp_path / "run", judge=False, device="cpu",
        set={"codec.cond": column, "train.steps": 2, "train.batch": 8, "family.size": 1},
    )  # fmt: skip
    known = {"job": ["a", "b"], "count": ["0", "1", "2"], "paid": ["false", "true"]}[column]
    assert run.header["conditions"] == known
    made = run.sample(4)  # each in turn
    assert [run.codec.columns[run.codec.header.index(column)].text(i.value[column]) for i in made.items] == [
        known[k % len(known)] for k in range(4)
    ]
    assert {i.value[column] for i in run.sample(3, cond=known[1]).items} == {made.items[1].value[column]}


def test_the_codes_of_a_table_are_asked_for_by_its_column(tmp_path):
    rows = "".join(f"{i * 0.37:.2f},{'ab'[i % 2]},{i % 3}\n" for i in range(80))
    (tmp_path / "t.csv").write_text("size,job,count\n" + rows)
    quick = {"train.steps": 2, "train.batch": 8, "family.size": 4}
    shared = {"judge": False, "device": "cpu"}
    inner = tmp_path / "vae.toml"
    inner.write_text('[codec]\nname = "table"\nform = "mixed"\ncond = "job"\n[family]\nname = "vae"\n')
    bottega.train(inner, tmp_path / "t.csv", tmp_path / "inner", set=quick, **shared)
    toml = tmp_path / "codes.toml"
    toml.write_text(f'[codec]\nname = "latent"\nrun = "{tmp_path / "inner"}"\n[family]\nname = "diffusion"\n')
    run = bottega.train(toml, tmp_path / "t.csv", tmp_path / "outer", set=quick, **shared)
    assert [i.value["job"] for i in run.sample(4).items] == ["a", "b", "a", "b"]


def test_other_data_and_mistaken_seeds_are_told(tmp_path):
    toml = write_recipe(tmp_path, steps=8)
    run = bottega.train(toml, out=tmp_path / "run", judge=False, device="cpu", set={"judge.n": 20})
    for _ in range(2):
        notes = run.judge("moons", only=["memorisation"]).notes
        assert ["other data than it was trained on, moons" in note for note in notes].count(True) == 1
    assert not any("other data" in note for note in run.judge(only=["memorisation"]).notes)
    for wrong in ({"n": 1}, {"seed": -1}, {"seed": 2**40}):
        with pytest.raises(RecipeError, match=f"judge.{next(iter(wrong))} is"):
            run.judge(only=["memorisation"], **wrong)
    with pytest.raises(RecipeError, match="does not fit in 64 bits"):
        run.sample(1, seed=2**70)


def test_a_sheet_of_samples_is_written_every_so_many_steps(tmp_path):
    """Row C2; a recipe that says nothing of it leaves no sheets in training."""
    digits = {"data": {"name": "digits"}, "codec": {"name": "image", "size": 0}}
    sheets = {}
    for every in (2, 0):
        toml = write_recipe(tmp_path, "gan", name=f"every{every}", **digits, steps=4, sample_every=every)
        run = bottega.train(toml, out=tmp_path / f"run{every}", judge=False, device="cpu")
        sheets[every] = sorted((run.path / "samples").glob("step-*"))
    assert [path.name for path in sheets[2]] == ["step-0000002.png", "step-0000004.png"]
    assert sheets[0] == []
    for path in sheets[2]:
        with Image.open(path) as sheet:
            assert min(sheet.size) >= 4 * 8  # sixteen digits of 8 x 8, four by four or wider
    assert sheets[2][0].read_bytes() != sheets[2][1].read_bytes()
