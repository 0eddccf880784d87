"""Judges of music: a made world whose key and order are known passes, planted failures are caught by the right measure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bottega.codecs.music import MusicCodec
from bottega.core import Batch, Item, Spec
from bottega.core.score import Key, Note, Part, Score
from bottega.data import worlds
from bottega.families.gpt import GPT
from bottega.judge import Case, run_all
from bottega.judge.self_similarity import likeness

ONLY = ("in_key", "tone_histograms", "self_similarity", "voice_leading")


def judged(train, held, made, only=ONLY):
    """Every score is one token, and decoding looks it up: judges see scores only."""
    every = [*train, *held, *made]
    spec = Spec((1,), vocab=len(every))
    x = torch.arange(len(every))[:, None]
    a, b = len(train), len(train) + len(held)
    case = Case(
        "music", spec, Batch(x[:a]), Batch(x[a:b]), x[b:], decode=lambda x: [Item(every[int(i)]) for i in x[:, 0]]
    )
    return {m.name: m for m in run_all(case, only)[0]}


@pytest.fixture(scope="module")
def tunes():
    return [item.value for item in worlds.load("tunes", n=180, seed=3).items]


def test_fresh_tunes_are_as_good_as_real(tunes):
    found = judged(tunes[:60], tunes[60:120], tunes[120:])
    assert found["in_key_rate"].value == found["in_key_rate"].ceiling == 1.0  # the world never leaves its key
    assert found["key_agreement"].value > 0.9
    assert found["pitch_class_distance"].value < 0.08
    assert found["interval_distance"].value < 0.08
    assert (
        found["self_similarity"].low - 0.02 <= found["self_similarity"].ceiling <= found["self_similarity"].high + 0.02
    )
    assert "parallels_per_100_moves" not in found  # its chords are no lines
    for m in found.values():
        assert m.n == 60
        assert m.note
        assert m.low <= m.value <= m.high


def test_a_walk_of_chance_is_worse(tunes):
    found = judged(tunes[:60], tunes[60:120], tunes[120:])
    for name in ("in_key_rate", "pitch_class_distance", "interval_distance"):
        walk = float(found[name].note.rsplit(" ", 1)[1])
        assert walk < 0.8 if name == "in_key_rate" else walk > 3 * found[name].value, (name, walk)


def test_a_wrong_key_is_caught(tunes):
    wrong = [replace(s, keys=((0, Key((s.keys[0][1].tonic + 6) % 12, s.keys[0][1].mode)),)) for s in tunes[120:]]
    found = judged(tunes[:60], tunes[60:120], wrong)
    assert found["in_key_rate"].high < 0.6  # scales a tritone apart share two of seven pitches, in minor four of nine
    assert found["key_agreement"].value < 0.1


def test_shuffled_notes_are_caught(tunes):
    chance = np.random.default_rng(0)
    made = []
    for s in tunes[120:]:
        pitches = chance.permutation([n.pitch for n in s.notes])
        made.append(s.with_notes([n._replace(pitch=int(p)) for n, p in zip(s.notes, pitches, strict=True)]))
    found = judged(tunes[:60], tunes[60:120], made)
    assert found["in_key_rate"].value == 1.0  # the pitches are the same
    assert found["interval_distance"].value > 0.3
    assert found["self_similarity"].high < found["self_similarity"].ceiling


def test_similarity_is_one_of_a_piece_that_repeats():
    bar = [Note(k, 1, p) for k, p in enumerate((60, 64, 67, 65))]
    again = Score.of([n._replace(onset=n.onset + 4 * b) for b in range(5) for n in bar], ticks=1)
    assert likeness(again) == pytest.approx(1.0)
    assert likeness(again.cut(0, 8)) is None


def test_parallel_fifths_are_counted_exactly():
    parts = (Part("high"), Part("low"))
    steps = [60, 62, 64, 65, 67, 65, 64, 62]

    def two(by):
        notes = [Note(k, 1, p, 80, 0) for k, p in enumerate(steps)]
        return Score.of(
            [*notes, *(n._replace(pitch=n.pitch - d, part=1) for n, d in zip(notes, by, strict=True))],
            ticks=1,
            parts=parts,
        )

    thirds, fifths = two([4, 3, 4, 5, 4, 5, 4, 3]), two([7] * 8)
    mixed = two([4, 7, 7, 4, 3, 12, 12, 4])
    found = judged([thirds], [thirds, thirds], [fifths, thirds])
    assert found["parallels_per_100_moves"].value == pytest.approx(700 / 12)  # 7, and in 5 moves of thirds none
    assert found["parallels_per_100_moves"].ceiling == 0
    assert judged([thirds], [mixed], [thirds])["parallels_per_100_moves"].ceiling == pytest.approx(200 / 7)


def test_nats_of_a_note_and_a_frame_are_those_of_the_row():
    items = worlds.load("tunes", n=12, seed=1).items
    codec = MusicCodec(tokens="events", length=200, steps=4).fit(items)
    batch = codec.encode(items)
    model = GPT(codec.spec, size=1)
    case = Case("music", codec.spec, batch, batch, batch.x[:2], model=model, decode=codec.decode)
    found = {m.name: m for m in run_all(case, ["note_likelihood"])[0]}
    with torch.no_grad():
        nats = -model.eval().log_prob(batch, case.rng("any")).double().sum().item()
    assert found["nll_nats_per_note"].value == pytest.approx(nats / sum(len(i.value) for i in items))
    assert found["nll_nats_per_frame"].value == pytest.approx(nats / (12 * 8 * 16))
    assert found["nll_nats_per_frame"].bound == "exact"
