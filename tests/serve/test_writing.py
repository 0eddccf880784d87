"""`bottega write` in front of `bottega serve`: what an endpoint of ours gives is what the run itself writes."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("openai", reason="needs the extra text")

import bottega
from bottega.cli import main
from bottega.core import BottegaError, RecipeError
from bottega.crafts import write
from bottega.crafts.endpoint import Endpoint
from bottega.serve.queue import Busy

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def run(served):
    return bottega.load(served["fox"])


@pytest.fixture
def begun(server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return Endpoint(f"{server.url}/v1", "fox", way="completions")


@pytest.fixture
def said(server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return Endpoint(f"{server.url}/v1", "fox")


def plain(written):
    """What both can say: an endpoint has no word of its own for a text that ended by itself, and no numbers of tokens."""
    return [replace(w, finish="stop" if w.finish == "end" else w.finish, tokens=[], logprobs=[]) for w in written]


@pytest.mark.parametrize("knobs", [{"temperature": 0.0}, {"temperature": 0.9}, {"top_k": 5, "top_p": 0.9}])
def test_the_texts_are_the_runs(begun, run, knobs):
    asked = {"n": 3, "seed": 4, "max_new": 14, **knobs}
    prompts = ["the quick", "lazy dog. naïve"]
    ours, theirs = write.complete(run, prompts, **asked), write.complete(begun, prompts, **asked)
    assert plain(theirs) == plain(ours)
    assert write.generate(begun, "the", seed=9, max_new=30) == write.generate(run, "the", seed=9, max_new=30)
    assert write.generate(begun, "the", seed=9, max_new=30) != write.generate(run, "the", seed=10, max_new=30)


def test_a_stream_and_stops_are_the_runs(begun, run):
    whole = write.generate(run, "the", seed=1, max_new=40)[0]
    stop = whole[9:12]
    for stops in ([], [stop], ["no such", "none", "nor this", "nor that", stop]):  # the interface takes four
        asked = {"seed": 1, "max_new": 40, "stop": stops}
        parts = list(write.stream(begun, "the", **asked))
        assert "".join(parts) == write.generate(run, "the", **asked)[0]
        assert len(parts) > 2
        assert "".join(parts) == write.generate(begun, "the", **asked)[0]
    (one,) = write.complete(begun, ["the"], seed=1, max_new=40, stop=[stop])
    assert (one.text, one.finish) == (whole[: whole.index(stop)], "stop")
    assert why(write.stream(begun, "the", seed=1, max_new=5)) == "length"
    assert why(write.stream(begun, "the", seed=1, max_new=40, stop=[stop])) == "stop"


def why(made):
    """What a stream returns when it is over."""
    while True:
        try:
            next(made)
        except StopIteration as done:
            return done.value


def test_log_probabilities_are_the_runs(begun, said, run):
    asked = {"seed": 2, "max_new": 8, "logprobs": 3}
    (ours,), (theirs,) = (write.complete(one, ["the quick"], **asked) for one in (run, begun))
    assert np.allclose(theirs.logprobs, ours.logprobs, atol=1e-4)
    assert "".join(theirs.tokens) == theirs.text == ours.text
    for a, b in zip(theirs.likeliest, ours.likeliest, strict=True):
        assert [p for _, p in a] == pytest.approx([p for _, p in b], abs=1e-4)
    assert [len(place) for place in theirs.likeliest] == [3] * len(theirs.tokens)
    for k in (0, 2):
        (spoken,) = write.complete(said, ["hi"], seed=2, max_new=6, logprobs=k)
        assert len(spoken.logprobs) == len(spoken.tokens) == len(spoken.likeliest) > 0
        assert all(p <= 0 and len(best) == k for p, best in zip(spoken.logprobs, spoken.likeliest, strict=True))
    stop = ours.text[4:6]
    five = ["no such", "none", "nor this", "nor that", stop]  # the fifth is cut here, and the tokens with it
    (cut,) = write.complete(begun, ["the quick"], **asked, stop=five)
    assert cut.finish == "stop"
    assert "".join(cut.tokens).startswith(cut.text)
    assert len(cut.logprobs) == len(cut.tokens) < len(ours.tokens)


def test_json_by_a_schema(said, begun):
    pytest.importorskip("llguidance")
    for one in write.complete(said, ["hi"], n=3, max_new=40, schema=SCHEMA):
        assert set(json.loads(one.text)) == {"n"}
        assert one.finish == "stop"
    assert isinstance(json.loads("".join(write.stream(said, "hi", schema=json.dumps(SCHEMA), max_new=40)))["n"], int)
    with pytest.raises(RecipeError, match="--way chat"):
        begun.complete("hi", schema=SCHEMA)


def test_the_command_is_the_runs(server, served, capfd, monkeypatch, tmp_path):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    url, own = f"{server.url}/v1", str(served["fox"])
    asked = ["the quick", "--max-new", "12", "--seed", "5", "--stop", "zebra"]
    for more in ([], ["--set", "temperature=0", "-n", "2", "--json"], ["--logprobs", "2", "--json"]):
        told = []
        for source in ([own], [url, "--model", "fox", "--way", "completions"]):
            assert main(["write", "generate", source[0], *asked, *source[1:], *more]) == 0
            told.append(capfd.readouterr().out)
        if "--json" in more:
            ours, theirs = map(json.loads, told)
            assert theirs["texts"] == ours["texts"]
            assert theirs["finish"] == [{"end": "stop"}.get(f, f) for f in ours["finish"]]
            assert theirs["endpoint"] == url
            if "logprobs" in ours:
                assert np.allclose(theirs["logprobs"], ours["logprobs"], atol=1e-4)
        else:
            assert told[0] == told[1]
    (tmp_path / "s.json").write_text(json.dumps(SCHEMA))
    asked = ["write", "generate", url, "hi", "--model", "fox", "--max-new", "40", "--schema", str(tmp_path / "s.json")]
    pytest.importorskip("llguidance")
    assert main([*asked, "-n", "2", "--json"]) == 0
    assert all(set(json.loads(text)) == {"n"} for text in json.loads(capfd.readouterr().out)["texts"])
    (tmp_path / "s.json").write_text('{"type": "objekt"}')
    assert main(asked) == 2
    assert "no JSON schema" in capfd.readouterr().err
    assert main(["write", "generate", url, "hi", "--model", "fix"]) == 2
    assert "(404)" in capfd.readouterr().err


def test_a_full_queue_is_waited_for(server, begun, run, monkeypatch):
    """Our own 429 says when to come again; not earlier is it asked again."""
    text = server.models.all["fox"].text
    submit, times = text.submit, []

    def full(asks):
        times.append(time.monotonic())
        if len(times) == 1:
            raise Busy("the queue is full", 1)
        return submit(asks)

    monkeypatch.setattr(text, "submit", full)
    assert write.generate(begun, "the", seed=3, max_new=5) == write.generate(run, "the", seed=3, max_new=5)
    assert len(times) == 2
    assert times[1] - times[0] >= 1
    times.clear()
    impatient = Endpoint(begun.url, "fox", tries=1)
    with pytest.raises(BottegaError, match=r"429\) after 1 try: the queue is full"):
        impatient.complete("the")


def test_more_than_one_request_may_hold(begun, run, monkeypatch):
    """Sixteen are asked for at once; the seventeenth has the seed that it has alone."""
    asked = {"seed": 2, "max_new": 4, "temperature": 1.0}
    assert write.generate(begun, "the", n=18, **asked) == write.generate(run, "the", n=18, **asked)
