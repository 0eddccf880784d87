"""Train, look, sample, edit, score, judge and compare through the command line, on runs that it made itself."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from bottega.trust.mark import read
from bottega.workshop.card import check_card
from bottega.workshop.evidence import Evidence
from bottega.workshop.figures import figure

BOTTEGA = [sys.executable, "-m", "bottega"]


# Training ------------------------------------------------------------------------------------------------------------


def test_train_leaves_a_whole_run(runs: dict[str, Path]):
    for run in runs.values():
        assert {p.name for p in run.iterdir()} >= {
            "recipe.toml", "model.safetensors", "log.jsonl", "evidence.json", "report.html", "card.md", "samples",
        }  # fmt: skip
        evidence = Evidence.read(run / "evidence.json")
        assert evidence.find("precision") is not None
        assert check_card(run) == []
        assert figure(evidence.find("precision").value) in (run / "report.html").read_text()


def test_train_again_finds_it_done_and_says_so_in_json(runs, call, monkeypatch):
    run = runs["vae"]
    monkeypatch.chdir(run.parent.parent)
    before = (run / "model.safetensors").read_bytes()
    told = call("train", "vae.toml", "--json")
    assert told.status == 0
    assert told.out.count("\n") == 1
    assert (told.json["run"], told.json["step"], told.json["recipe"]) == ("runs/vae", 30, "vae")
    assert {m["name"] for m in told.json["measures"]} >= {"precision", "recall"}
    assert "already trained" in told.err
    assert (run / "model.safetensors").read_bytes() == before


def test_quiet_says_only_the_result(runs, call, monkeypatch):
    monkeypatch.chdir(runs["vae"].parent.parent)
    told = call("train", "vae.toml", "--quiet")
    assert told.err == ""
    assert "precision" in told.out


@pytest.mark.parametrize(
    ("change", "key"),
    [(["--set", "family.size=9"], "family.size"), (["--steps", "31"], "train.steps"), (["--seed", "5"], "train.seed")],
)
def test_train_refuses_another_recipe_in_the_same_folder_and_names_the_key(runs, call, change, key, monkeypatch):
    monkeypatch.chdir(runs["vae"].parent.parent)
    told = call("train", "vae.toml", *change)
    assert (told.status, told.out) == (2, "")
    assert key in told.err.splitlines()[-1]
    assert "--out" in told.err


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ('"vae"', '"vaee"', "did you mean 'vae'?"),
        ('"points"', '"point"', "did you mean 'points'?"),
        ("size = 8", "sise = 8", "unknown key family.sise; did you mean 'size'?"),
        ("batch = 32", "bach = 32", "unknown key train.bach; did you mean 'batch'?"),
        ("[family]", "[famly]", "did you mean 'family'?"),
        ("steps = 30", 'steps = "many"', "train.steps is 'many'; it must be a whole number"),
        ('"ring"\nn = 600', '"rign"', "did you mean 'ring'?"),
        ('"points"', '"image"', "points data"),
        ("size = 8", "size = ", "cannot read the recipe"),
        ("n = 600", "n = 20", "fewer than the batch"),
    ],
)
def test_a_slip_in_a_recipe_is_one_line_with_the_nearest_match(
    recipe, tmp_path: Path, call, monkeypatch, old, new, hint
):
    monkeypatch.chdir(tmp_path)
    path = recipe(tmp_path, "vae", "mine")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    told = call("train", path, "--quiet")
    assert (told.status, told.out) == (2, "")
    assert told.err.count("\n") == 1
    assert hint in told.err
    assert not (tmp_path / "runs").exists(), "nothing is half made"


def test_an_unknown_recipe_is_named_with_what_there_is(call):
    told = call("train", "digits-difusion")
    assert told.status == 2
    assert told.err.startswith("bottega: no recipe, file or folder called 'digits-difusion'; did you mean 'digits-diff")
    assert "give a file or folder that is there" in call("train", "my/pictures").err


def test_a_place_that_cannot_be_written_is_one_line(recipe, tmp_path: Path, call):
    (tmp_path / "file").write_text("in the way")
    told = call("train", recipe(tmp_path, "vae"), "--out", tmp_path / "file" / "run", "--quiet")
    assert (told.status, told.out) == (2, "")
    assert told.err.count("\n") == 1
    assert "cannot write" in told.err
    assert "--out" in told.err


def test_a_folder_without_permission_is_one_line(recipe, tmp_path: Path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "locked").mkdir(mode=0o500)
    done = subprocess.run([*BOTTEGA, "train", str(recipe(tmp_path, "vae")), "--out", str(tmp_path / "locked" / "run"), "-q"],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 2
    assert "ermission" in done.stderr
    assert done.stderr.count("\n") == 1


def test_ctrl_c_keeps_a_checkpoint_and_the_same_command_goes_on_under_a_bar(recipe, tmp_path: Path):
    path = recipe(tmp_path, "vae")
    path.write_text(path.read_text().replace("steps = 30", "steps = 400"))
    command = [*BOTTEGA, "train", path.name, "--no-judge"]
    ours = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs are deaf to Ctrl-C
    )  # fmt: skip
    for line in ours.stderr:
        if line.startswith("train ") and not line.startswith("train 0/"):
            ours.send_signal(signal.SIGINT)
            break
    err = ours.stderr.read()
    assert ours.wait(timeout=60) == 130
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert re.fullmatch(r"bottega: stopped.*; run the same command again to go on", last)
    with safetensors.safe_open(tmp_path / "runs" / "vae" / "model.safetensors", "pt") as file:
        header = json.loads(file.metadata()["bottega"])
    assert 0 < header["step"] < 400
    ours_end, theirs = pty.openpty()
    again = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    seen = b""
    while True:
        try:
            seen += os.read(ours_end, 65536)
        except OSError:  # the other end is closed
            break
    assert again.wait(timeout=60) == 0
    assert "400 steps" in again.stdout.read()
    assert f"going on from step {header['step']}".encode() in seen
    assert b"steps/s" in seen
    assert b"\x1b[" in seen, "a bar that is drawn over itself"


# Pieces --------------------------------------------------------------------------------------------------------------


def test_a_sample_belongs_to_its_seed_and_says_what_made_it(runs, call, tmp_path: Path):
    many = call("sample", runs["gan"], "--seeds", "3-5,9", "--out", tmp_path / "many", "--json").json
    assert many["seeds"] == [3, 4, 5, 9]
    for path in many["files"]:
        found = read(Path(path))
        assert found["machine_made"] == "true"
        assert found["weights"] == many["weights"]
    alone = call("sample", runs["gan"], "--seeds", "5", "--show", "--json").json
    both = call("sample", runs["gan"], "--seeds", "9,5", "--show", "--json").json
    assert alone["seeds"] == [5]
    assert torch.allclose(torch.tensor(alone["pieces"][0]), torch.tensor(both["pieces"][1]), atol=1e-6)
    told = call("show", many["files"][0], "--json").json
    assert told["marked"] is True
    assert told["mark"]["weights"] == many["weights"]
    assert many["weights"] in call("show", many["files"][0]).out


def test_settings_reach_the_sampler_and_a_slip_is_answered(runs, call):
    plain = call("sample", runs["vae"], "-n", "4", "--show", "--json").json["pieces"]
    cold = call("sample", runs["vae"], "-n", "4", "--show", "--json", "--set", "temperature=0.1").json["pieces"]
    assert plain != cold
    told = call("sample", runs["vae"], "--set", "temprature=1")
    assert told.status == 2
    assert "did you mean 'temperature'?" in told.err


def test_a_condition_that_means_nothing_is_refused(runs, call):
    told = call("sample", runs["vae"], "--cond", "7")
    assert told.status == 2
    assert "without conditions" in told.err


def test_what_a_model_cannot_do_is_said_in_one_line(runs, call, tmp_path: Path):
    piece = tmp_path / "p.csv"
    piece.write_text("0.1,0.2\n")
    for told in (call("edit", runs["gan"], piece), call("score", runs["gan"], piece)):
        assert told.status == 2
        assert told.err.count("\n") == 1


def test_score_says_how_likely_and_of_which_bound(runs, call, tmp_path: Path):
    piece = tmp_path / "p.csv"
    piece.write_text("0.1,0.2\n1.0,0.0\n")
    (row,) = call("score", runs["vae"], piece, "--json").json["scores"]
    assert row["bound"] == "lower"
    assert row["pieces"] == 2
    assert isinstance(row["nll_nats"], float)
    told = call("score", runs["vae"], piece)
    assert "lower" in told.out
    assert figure(row["nll_nats"]) in told.out


# Judging -------------------------------------------------------------------------------------------------------------


def test_judge_measures_again_with_the_number_asked_for(runs, call):
    told = call("judge", runs["vae"], "-n", "40", "--json")
    assert told.status == 0
    measure = next(m for m in told.json["measures"] if m["name"] == "precision")
    assert measure["low"] <= measure["value"] <= measure["high"]
    assert Evidence.read(runs["vae"] / "evidence.json").find("precision").model_dump(exclude={"judge"}) == {
        k: v for k, v in measure.items() if k != "judge"
    }
    assert call("judge", runs["vae"], "--only", "precison").status == 2


def test_compare_fills_one_table_and_the_books_five_rows(runs, call, tmp_path: Path):
    page = tmp_path / "both.html"
    told = call("compare", runs["vae"], runs["gan"], "--out", page, "--json")
    assert told.status == 0
    assert [r["name"] for r in told.json["runs"]] == ["vae", "gan"]
    evidences = {name: Evidence.read(run / "evidence.json") for name, run in runs.items()}
    for row in told.json["measures"]:
        for name, cell in row["values"].items():
            assert cell["value"] == evidences[name].find(row["name"]).value
    book = told.json["vae_and_gan"]
    assert list(book) == [
        "training objective",
        "latent space",
        "generative process",
        "performance",
        "training stability",
    ]
    for cells in book.values():
        assert all(re.search(r"\d", text) for text in cells.values()), "measured, not said"
    assert page.read_text().count("data:image/png;base64") == 2
    people = call("compare", runs["vae"], runs["gan"], "--out", page)
    assert "VAE and GAN" in people.out
    assert "precision" in people.out


def test_many_runs_are_a_line_each_in_the_terminal_and_side_by_side_on_the_page(runs, call, tmp_path: Path):
    told = call("compare", *[runs["vae"], runs["gan"]] * 4, "--out", tmp_path / "many.html")
    assert "rows for each run, on the page" in told.out
    assert max(len(line) for line in told.out.splitlines()) < 200
    assert (tmp_path / "many.html").read_text().count(">parameters<") == 1 + 1  # at a glance, and measured


def test_compare_needs_two(runs, call):
    told = call("compare", runs["vae"])
    assert told.status == 2
    assert "two or more" in told.err


# Looking -------------------------------------------------------------------------------------------------------------


def test_show_tells_recipe_data_abilities_and_measures(runs, call):
    told = call("show", runs["vae"], "--json").json
    assert told["recipe"]["family"]["name"] == "vae"
    assert {"sample", "score", "encode"} <= set(told["can"])
    assert "edit" not in told["can"]
    assert told["knobs"]["temperature"] == 1.0
    assert told["evidence"]["data"]["name"] == "ring"
    people = call("show", runs["vae"] / "model.safetensors").out
    for text in ("ring", "CC0-1.0", "precision", "temperature=1.0"):
        assert text in people


def test_show_writes_the_page_again_when_asked(runs, call):
    (runs["gan"] / "report.html").unlink()
    assert call("show", runs["gan"], "--page").status == 0
    assert (runs["gan"] / "report.html").exists()
    assert check_card(runs["gan"]) == []


def test_a_file_without_a_mark_says_so(call, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    told = call("show", tmp_path / "mine.txt")
    assert told.status == 0
    assert "carries no mark" in told.out
    assert call("show", tmp_path / "mine.txt", "--json").json["marked"] is False


def test_data_lists_what_is_here_and_describes_one(call):
    found = {d["name"]: d for d in call("data", "--json").json["data"]}
    assert found["digits"]["licence"] == "CC-BY-4.0"
    assert found["digits"]["pieces"] == 1797
    assert found["ring"]["kind"] == "made"
    assert "1,797" in call("data", "digits").out
    assert re.fullmatch("[0-9a-f]{64}", call("data", "iris", "--json").json["fingerprint"])
    assert "did you mean 'digits'?" in call("data", "digts").err


# Bad weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [["sample"], ["show"], ["judge"], ["compare", "RUN"]])
def test_a_missing_run_is_one_line(verb, call, tmp_path: Path):
    told = call(*[str(tmp_path / "nothing") if v == "RUN" else v for v in verb], tmp_path / "nothing.safetensors")
    assert told.status == 2
    assert told.err.count("\n") == 1
    assert "nothing" in told.err


def damaged(run: Path, folder: Path, how: str) -> Path:
    whole = (run / "model.safetensors").read_bytes()
    path = folder / "model.safetensors"
    if how == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "pickle":
        torch.save({"w": torch.zeros(2)}, path)
    elif how == "foreign":
        safetensors.torch.save_file({"w": torch.zeros(2)}, path)
    else:
        with safetensors.safe_open(run / "model.safetensors", "pt") as file:
            header = json.loads(file.metadata()["bottega"])
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        safetensors.torch.save_file(tensors, path, {"bottega": json.dumps({**header, "format": 999})})
    return path


@pytest.mark.parametrize(
    ("how", "told"),
    [("truncated", "truncated or damaged"), ("empty", "truncated or damaged"), ("pickle", "is a pickle"),
     ("foreign", "not a run of Bottega"), ("newer", "update bottega")],
)  # fmt: skip
def test_damaged_weights_are_refused_in_one_line(how: str, told: str, runs, call, tmp_path: Path):
    seen = call("sample", damaged(runs["vae"], tmp_path, how))
    assert (seen.status, seen.out) == (2, "")
    assert seen.err.count("\n") == 1
    assert told in seen.err


# The demo ------------------------------------------------------------------------------------------------------------


def test_demo_trains_judges_samples_and_shows_on_one_page(recipe, call, tmp_path: Path, monkeypatch):
    """The verb, on two recipes of seconds; ``make demo`` itself runs it on its three."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bottega.workshop.demo.DEMO", tuple(recipe(tmp_path, f).name for f in ("vae", "gan")))
    told = call("demo", "--json")
    assert told.status == 0, told.err
    page = Path(told.json["page"])
    links = re.findall(r'href="([^#"]+report\.html)"', page.read_text())
    assert len(links) == 2
    assert all((page.parent / link).is_file() for link in links)
    for run in told.json["runs"]:
        assert {m["name"] for m in run["measures"]} >= {"precision"}
        assert all(read(Path(piece))["weights"] == run["weights"] for piece in run["pieces"])
    again = call("demo")
    assert again.status == 0
    assert "precision" in again.out
    assert str(told.json["page"]) in again.err
    assert "bottega train my/folder" in again.err
