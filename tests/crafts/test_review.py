"""The review of pieces and the gate: what is planted among real pictures is found, and nothing goes out unseen."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from bottega.cli import main
from bottega.core import BottegaError, DataError, Item, OutputError
from bottega.crafts import review
from bottega.workshop.build import find_data
from bottega.workshop.run import train
from bottega.workshop.training import divide
from recipes import write_recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on patches of photographs; what it would make is not looked at here."""
    folder = tmp_path_factory.mktemp("review")
    recipe = write_recipe(folder, "vae", data={"name": "photos", "limit": 400, "held": 0.4}, codec={"name": "image", "size": 32},
                          steps=1, batch=8, checks=0)  # fmt: skip
    return train(recipe, out=folder / "run", judge=False)


@pytest.fixture(scope="module")
def parts(run):
    return divide(run.recipe, find_data(run.recipe, None, run.codec))


def put(run, folder, name, value, marked=True):
    return run.codec.write(Item(value), folder / name, run.mark(0) if marked else None)


@pytest.fixture
def pieces(run, parts, tmp_path):
    """Real pictures that were not trained on, as if made; and among them noise, a flat one, a copy and one without mark."""
    folder = tmp_path / "pieces"
    rng = np.random.default_rng(0)
    for k, item in enumerate(parts.held[:60:3]):
        (value,) = (i.value for i in run.codec.decode(run.codec.encode([item]).x))
        put(run, folder, f"good-{k:02}", value + (value < 250).astype(np.uint8) * 2)
    for k in range(2):
        put(run, folder, f"noise-{k}", 255 * rng.integers(0, 2, (32, 32, 3), dtype=np.uint8))
    (copy,) = (i.value for i in run.codec.decode(run.codec.encode([parts.train[7]]).x))
    put(run, folder, "copy", copy)
    put(run, folder, "bare", copy[::-1].copy(), marked=False)
    return folder


def put_real(run, parts, folder, count):
    """Real pictures that were not trained on, as if made."""
    for k, item in enumerate(parts.held[:count]):
        (value,) = (i.value for i in run.codec.decode(run.codec.encode([item]).x))
        put(run, folder, f"good-{k:02}", value + (value < 250).astype(np.uint8) * 2)
    return folder


def test_a_mark_of_another_run_is_none_of_this_one(run, pieces):
    value = run.codec.read(pieces / "good-00.png")[0].value
    run.codec.write(Item(value), pieces / "other", {**run.mark(0), "weights": "ab" * 32})
    verdicts = {piece.file: piece for piece in review.check(run, pieces).pieces}
    assert verdicts["other.png"].verdict == "refused"
    assert "other weights" in verdicts["other.png"].why
    assert verdicts["good-00.png"].verdict != "refused"


@pytest.mark.parametrize("seed", range(6))
def test_the_audit_draws_at_least_one(run, parts, tmp_path, seed):
    """Of eight pieces, one in twenty draws nobody two times in three."""
    folder = put_real(run, parts, tmp_path / "pieces", 8)
    assert any("at random" in piece.why for piece in review.check(run, folder, seed=seed).pieces)


def test_few_held_out_pictures_can_call_nothing_odd_so_a_person_sees_all(run, pieces, parts, monkeypatch):
    """With 19 the rarest rank is 1 in 20, which is never below 5 %: noise passed."""
    few = replace(parts, held=parts.held[100:119])
    monkeypatch.setattr(review, "divide", lambda *_: few)
    found = review.check(run, pieces)
    assert found.counts()["pass"] == 0
    assert any("only 19 pictures were held out" in piece.why for piece in found.queue)
    monkeypatch.setattr(review, "divide", lambda *_: replace(parts, held=[]))
    with pytest.raises(DataError) as error:
        review.check(run, pieces)
    assert "kept no pieces back" in str(error.value)


def test_pieces_that_are_all_a_little_worse_are_seen_by_a_person(run, parts, tmp_path):
    """None alone is among the worst twentieth, but together they are plainly not real."""
    natural = review.Naturalness(run.spec.as_real(run.codec.encode(parts.train).x))
    held = run.codec.encode(parts.held).x
    worse = natural.distance(run.spec.as_real(held)).argsort(descending=True)[10:40].tolist()
    for k in worse:
        (value,) = (i.value for i in run.codec.decode(held[k : k + 1]))
        put(run, tmp_path, f"dull-{k:03}", value)
    found = review.check(run, tmp_path)
    assert found.margin > 0.75
    assert found.counts()["pass"] == 0
    assert any("as a whole" in piece.why for piece in found.queue)


def test_what_is_planted_is_found(run, pieces):
    found = review.check(run, pieces)
    verdicts = {piece.file: piece for piece in found.pieces}
    assert verdicts["copy.png"].verdict == "refused"
    assert "copy of a training picture" in verdicts["copy.png"].why
    assert verdicts["bare.png"].verdict == "refused"
    assert "no mark" in verdicts["bare.png"].why
    assert all(verdicts[f"noise-{k}.png"].verdict == "review" for k in range(2))
    assert {"noise-0.png", "noise-1.png"} <= {piece.file for piece in found.pieces[:4]}  # the most doubtful first
    good = [piece for name, piece in verdicts.items() if name.startswith("good")]
    assert sum(piece.verdict == "pass" for piece in good) >= 0.7 * len(good)
    assert 0.3 < np.mean([piece.natural for piece in good]) < 0.7  # real beside real: any rank is as likely
    assert review.check(run, pieces) == found


def test_one_in_twenty_is_seen_whatever_it_looks_like(run, pieces, monkeypatch):
    monkeypatch.setattr(review, "AUDIT", 1.0)
    found = review.check(run, pieces)
    assert {piece.verdict for piece in found.pieces} == {"review", "refused"}
    assert any("at random" in piece.why for piece in found.queue)


def test_the_page_shows_the_queue_and_the_files_come_back(run, pieces):
    found = review.check(run, pieces)
    page = found.write(pieces).read_text()
    assert review.read_review(pieces) == found
    assert set(re.findall(r'data-sha="(\w+)"', page)) == {piece.sha256 for piece in found.queue}
    assert page.count("data:image/png;base64,") == len(found.queue)
    assert "http" not in re.sub(r"https?://www\.w3\.org\S*", "", page)  # it needs nothing from anywhere


def decided(found, bad=("noise",)):
    return {piece.sha256: not piece.file.startswith(bad) for piece in found.queue}


def test_the_gate_lets_out_what_passed_and_what_a_person_accepted(run, pieces, tmp_path):
    found = review.check(run, pieces)
    run.evidence.write(run.path / "evidence.json")
    done = review.release(found, pieces, decided(found), tmp_path / "out", run=run.path)
    names = {path.name for path in done.files}
    assert names == {f"good-{k:02}.png" for k in range(20)}
    assert done.left == {"refused": 2, "rejected": 2}
    told = json.loads((tmp_path / "out" / "release.json").read_text())
    assert (told["released"], told["refused"], told["rejected"]) == (20, 2, 2)
    assert {p["by"] for p in told["pieces"]} <= {"person", "machine"}
    assert run.evidence.gates["review"]["open"] is True
    with pytest.raises(OutputError) as error:
        review.release(found, pieces, decided(found), tmp_path / "out")
    assert "not empty" in str(error.value)


@pytest.mark.parametrize("why", ["waits", "changed", "bad"])
def test_the_gate_stays_shut(run, pieces, tmp_path, why):
    found = review.check(run, pieces)
    said, most = decided(found), 0.2
    if why == "waits":
        said.pop(found.queue[0].sha256)
    elif why == "changed":
        shutil.copy(pieces / "good-01.png", pieces / "good-00.png")
    else:
        most = 0.1
    with pytest.raises(BottegaError) as error:
        review.release(found, pieces, said, tmp_path / "out", most_bad=most)
    assert "the gate stays shut" in str(error.value)
    assert {"waits": "wait for a person", "changed": "good-00.png", "bad": "not fit for release"}[why] in str(
        error.value
    )
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_damaged_decisions_and_reviews_are_told(tmp_path):
    (tmp_path / "d.json").write_text('{"decisions": {"ab": "maybe"}}')
    for path in (tmp_path / "d.json", tmp_path / "absent.json"):
        with pytest.raises(DataError) as error:
            review.decisions(path)
        assert "review.html" in str(error.value)
    with pytest.raises(DataError) as error:
        review.read_review(tmp_path)
    assert "bottega review RUN" in str(error.value)
    (tmp_path / "review.json").write_text("[]")
    with pytest.raises(DataError) as error:
        review.read_review(tmp_path)
    assert "damaged" in str(error.value)


def test_small_pictures_are_refused(tmp_path):
    recipe = write_recipe(
        tmp_path, "vae", data={"name": "digits", "limit": 60}, codec={"name": "image", "size": 8}, steps=1, batch=4
    )
    run = train(recipe, out=tmp_path / "run", judge=False)
    with pytest.raises(BottegaError) as error:
        review.check(run)
    assert "16 pixels" in str(error.value)


def test_the_command(run, pieces, tmp_path, capsys):
    assert main(["review", str(run.path), "--pieces", str(pieces), "--json", "-q"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["refused"] == 2
    out = ["--release", str(tmp_path / "out"), "--pieces", str(pieces)]
    assert main(["review", str(run.path), *out]) == 2
    said = capsys.readouterr().err
    assert "wait for a person" in said
    assert said.strip().count("\n") == 0
    found = review.read_review(pieces)
    saved = {"decisions": {sha: "accept" if good else "reject" for sha, good in decided(found).items()}}
    (tmp_path / "d.json").write_text(json.dumps(saved))
    assert main(["review", str(run.path), *out, "--decisions", str(tmp_path / "d.json"), "--json", "-q"]) == 0
    assert len(json.loads(capsys.readouterr().out)["files"]) == 20
