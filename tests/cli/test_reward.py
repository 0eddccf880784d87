"""``bottega reward``: what is said, what is left, and slips in one line."""

from __future__ import annotations

import pytest

import bottega


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory):
    here = tmp_path_factory.mktemp("start") / "counts"
    changes = {"data.longest": 4, "codec.length": 10, "family.size": 8, "train.ema": 0.0, "train.checks": 0}
    return bottega.train("counting", out=here, steps=60, set=changes, judge=False)


def test_the_verb_makes_a_run_and_says_what_changed(call, start, tmp_path):
    told = call("reward", start.path, "--reward", "length:4", "--steps", 3, "--batch", 8, "-n", 32, "--json", "--quiet")
    assert told.status == 0, told.err
    assert told.json["run"] == f"{start.path}-reward"
    assert {m["name"] for m in told.json["measures"]} == {"reward_before", "reward", "kl_to_start_nats"}
    assert all(m["n"] == 32 and m["low"] <= m["value"] <= m["high"] for m in told.json["measures"])
    assert told.json["start"] == str(start.path)
    again = call("reward", start.path, "--reward", "length:4", "--steps", 3, "--batch", 8, "-n", 32)
    assert "kl_to_start_nats" in again.out
    assert "which stays as it is" in again.out
    assert call("sample", f"{start.path}-reward", "-n", 2, "--out", tmp_path / "p").status == 0


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ([], "give either rewards"),
        (["--reward", "json", "--pairs", "x.jsonl"], "not both"),
        (["--reward", "lenght:3"], "did you mean 'length'"),
        (["--pairs", "x.jsonl"], "there is no x.jsonl"),
        (["--reward", "json", "--kl", "0"], "kl is 0.0"),
        (["--reward", "length:3", "--prompts", "x.txt"], "leave it out"),
    ],
)
def test_slips_are_told_in_one_line(call, start, tmp_path, args, why):
    told = call("reward", start.path, *args, "--out", tmp_path / "out", "--quiet")
    assert (told.status, told.out) == (2, "")
    assert told.err.count("\n") == 1
    assert why in told.err
    assert not (tmp_path / "out").exists()
