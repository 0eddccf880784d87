"""The command line as such: fast help without torch, verbs by file name, help that cannot drift, exit statuses."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bottega
from bottega.cli import _app, help_text
from bottega.cli.helptext import check, write
from bottega.workshop.recipe import shipped

ISSUE = {"demo", "recipes", "data", "train", "sample", "score", "edit", "judge", "compare", "show", "doctor"}
BOTTEGA = [sys.executable, "-m", "bottega"]


def test_the_verbs_are_the_files():
    assert set(_app.verbs()) >= ISSUE
    assert _app.verbs() == sorted(p.stem for p in Path(_app.__file__).parent.glob("[a-z]*.py"))


def test_help_imports_nothing_heavy():
    code = "import sys; from bottega.cli import main; main(['--help']); print(sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stdout.splitlines()[-1]))
    assert not loaded & {"torch", "numpy", "pydantic", "rich", "PIL", "jinja2", "sklearn", "scipy", "matplotlib"}
    assert "typer" in loaded


def test_help_names_every_verb_and_what_to_do_first(call):
    told = call("--help")
    assert told.status == 0
    assert all(f"\n  {verb} " in told.out for verb in ISSUE)
    places = [told.out.index(f"\n  {verb} ") for verb in ("demo", "train", "judge")]
    assert places == sorted(places)
    assert "bottega demo" in told.out


def test_no_arguments_print_the_help(call):
    told = call()
    assert (told.status, told.err) == (0, "")
    assert told.out == call("--help").out


def test_version(call):
    assert call("--version").out == f"bottega {bottega.__version__}\n"


@pytest.mark.parametrize("verb", sorted(ISSUE))
def test_each_verb_explains_itself_with_examples_and_speaks_json(verb: str, call):
    told = call(verb, "--help")
    assert told.status == 0
    assert f"Usage: bottega {verb}" in told.out
    assert "--json" in told.out
    examples = told.out.split("Examples:")[1].strip().splitlines()
    assert all(line.strip().startswith("bottega ") for line in examples)
    assert max(map(len, told.out.splitlines())) <= 120


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["trian"], "unknown verb 'trian'; did you mean 'train'?"),
        (["zzz"], "unknown verb 'zzz'; verbs: anomalies, art, "),
        (["train"], "missing argument 'RECIPE'"),
        (["train", "x", "--stpes", "3"], "--steps"),
        (["train", "x", "--steps", "0"], "--steps"),
        (["train", "x", "--set", "family.size"], "'family.size' is not KEY=VALUE"),
        (["sample", "x", "--seeds", "1-x"], "'1-x' is no seed; write 0-15, or 1,5,9"),
        (["sample", "x", "--seeds", "1,2", "-n", "3"], "-n 3 and 2 seeds disagree"),
        (["sample"], "missing argument 'RUN'"),
        (["--nonsense"], "no such option: --nonsense"),
    ],
)
def test_a_slip_is_one_line_with_the_mend_and_status_2(args: list[str], hint: str, call):
    told = call(*args)
    assert told.status == 2
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert told.err.startswith("bottega: ")
    assert hint in told.err
    assert "--help shows how" in told.err


@pytest.mark.slow  # make lint checks the pages
def test_the_reference_pages_are_the_program_and_drift_is_found(tmp_path: Path):
    assert "missing" in check(tmp_path)
    page, recipes = write(tmp_path)
    assert check(tmp_path) == ""
    text = page.read_text()
    assert text == help_text()
    assert all(f"## bottega {verb}\n" in text for verb in ISSUE)
    assert all(f"### {name}\n" in recipes.read_text() for name in shipped())
    recipes.write_text(recipes.read_text().replace("Digits", "Figures"))
    assert "recipes.md is out of date" in check(tmp_path)
    write(tmp_path)
    page.write_text(text.replace("--steps", "--stages"))
    check_it = [sys.executable, "-m", "bottega.cli.helptext", "--check", str(tmp_path)]
    done = subprocess.run(check_it, capture_output=True, text=True)
    assert done.returncode == 2
    assert "out of date" in done.stderr


def test_the_reference_page_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch):
    wide = help_text()
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("TERMINAL_WIDTH", "50")
    assert help_text() == wide


def test_a_fault_of_ours_keeps_its_traceback_and_asks_for_a_report(call, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bottega.workshop.recipe.shipped", lambda: 1 / 0)
    told = call("recipes")
    assert told.status == 1
    assert "ZeroDivisionError" in told.err
    assert "Traceback" in told.err
    last = told.err.splitlines()[-1]
    assert "fault of ours" in last
    assert bottega.__version__ in last


def test_a_message_of_many_lines_still_is_one(call, monkeypatch: pytest.MonkeyPatch):
    from bottega.core import RecipeError

    def shipped():
        raise RecipeError("two\nlines")

    monkeypatch.setattr("bottega.workshop.recipe.shipped", shipped)
    told = call("recipes")
    assert (told.status, told.err) == (2, "bottega: two lines\n")


def test_ctrl_c_is_130(call, monkeypatch: pytest.MonkeyPatch):
    def shipped():
        raise KeyboardInterrupt

    monkeypatch.setattr("bottega.workshop.recipe.shipped", shipped)
    told = call("recipes")
    assert (told.status, told.err) == (130, "bottega: stopped\n")


def test_a_reader_that_leaves_early_is_no_fault():
    ours = subprocess.Popen([*BOTTEGA, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ours.stdout.close()
    assert (ours.wait(timeout=60), ours.stderr.read()) == (0, b"")


def test_doctor_tells_what_is_here(call):
    told = call("doctor", "--json")
    assert told.status == 0
    found = {f["name"]: f for f in told.json["findings"]}
    assert told.json["well"] is True
    assert found["torch"]["told"].startswith(__import__("torch").__version__)
    assert {"python", "processor", "threads", "bfloat16", "disk", "extra hub"} <= set(found)
    assert str(len(os.sched_getaffinity(0))) in found["processor"]["told"]
    for f in found.values():
        assert f["state"] in {"ok", "absent", "bad"}
    absent = [f for f in found.values() if f["name"].startswith("extra") and f["state"] == "absent"]
    assert all(f["mend"].startswith("pip install 'bottega[") for f in absent)


def test_doctor_finds_a_missing_package(call, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bottega.cli.doctor._CORE", ("torch", "no-such-package-of-ours"))
    told = call("doctor", "--json")
    assert told.json["well"] is False
    assert {"name": "no-such-package-of-ours", "state": "bad", "told": "missing",
            "mend": "pip install no-such-package-of-ours"} in told.json["findings"]  # fmt: skip
