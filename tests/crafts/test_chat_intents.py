"""Row M1: intents from few examples, what is out of scope, the same from a file."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bottega.core import CheckpointError, DataError
from bottega.crafts.chat_intents import Intents, _Ensemble, _Kernel, _Views
from helpers import SHARED

ACTS = {
    "order": ["track", "find", "locate"],
    "cancel": ["cancel", "stop", "undo"],
    "pay": ["pay", "charge", "invoice"],
    "open": ["open", "close", "hours"],
}
THINGS = ["my parcel", "the plant", "a basket", "it please", "this today", "that for me"]


def made(acts=ACTS):
    rows = [(f"{verb} {thing}", name) for name, verbs in acts.items() for verb in verbs for thing in THINGS]
    return [t for t, _ in rows], [n for _, n in rows]


def test_kernel_ridge_is_the_closed_form():
    texts, labels = made()
    views = _Views(texts)
    x = views(texts)
    rng = np.random.default_rng(0)
    y = rng.standard_normal((len(texts), 2)).astype(np.float32)
    one = _Kernel(("words",)).fit(x, y)
    dense = x["words"].toarray().astype(np.float64)
    k = np.exp(2 * (dense @ dense.T - 1))
    right = k @ np.linalg.solve(k + 0.15 * np.eye(len(k)), y)
    scores, nearest = one.scores(x)
    assert np.allclose(scores, right, atol=1e-3)
    assert np.allclose(nearest, 1, atol=1e-4)


def test_counting_a_few_is_counting_many():
    texts, _ = made()
    views = _Views(texts)
    asked = ["track MY parcel, please?", "blorp", "undo undo it", "café é"]
    for kind in views.kinds:
        few, many = views.counted(kind, asked), views.by[kind].transform(asked)
        assert abs(few - many).max() < 1e-6


def test_unknown_words_make_a_message_short():
    texts, _ = made()
    views = _Views(texts)
    known, half, none = views.known(["track my parcel", "track blorp", "blorp glimp"])
    assert known == pytest.approx(1)
    assert 0 < half < 0.9
    assert none == 0


def test_intents_and_what_is_none_of_them():
    texts, labels = made()
    intents = Intents(texts, labels)
    said, sure = intents.predict(["please track the basket", "undo it", "are you open today", "pay the invoice"])
    assert said == ["order", "cancel", "open", "pay"]
    _, away = intents.predict(["who won the cup", "sing a song of sixpence", "blorp"])
    assert sure.min() > away.max()
    assert sure.min() >= intents.threshold > away.max()
    one = intents.guess("undo it")
    assert (one.intent, one.confidence) == (said[1], pytest.approx(sure[1], abs=1e-5))


def test_a_saved_one_says_the_same_and_a_damaged_file_is_told(tmp_path):
    texts, labels = made()
    first = Intents.cached(tmp_path, texts, labels)
    (file,) = tmp_path.iterdir()
    again = Intents.cached(tmp_path, texts, labels)
    asked = ["track it", "who won", "close this", "x"]
    assert first.predict(asked)[0] == again.predict(asked)[0]
    assert np.allclose(first.predict(asked)[1], again.predict(asked)[1], atol=1e-6)
    assert first.threshold == again.threshold
    Intents.cached(tmp_path, [*texts, "more", "more of it"], [*labels, "new", "new"])
    assert len(list(tmp_path.iterdir())) == 2
    for bad in (b"", file.read_bytes()[:200], b"\x80\x04."):
        file.write_bytes(bad)
        with pytest.raises(CheckpointError):
            Intents.cached(tmp_path, texts, labels)


def test_one_and_two_intents_and_too_few_examples():
    assert Intents(["a b", "b a"], ["x", "x"]).predict(["a"])[0] == ["x"]
    two = Intents(["red one", "red two", "red", "blue one", "blue two", "blue"], ["r"] * 3 + ["b"] * 3)
    assert two.predict(["red", "blue"])[0] == ["r", "b"]
    for texts, labels in ((["a"], ["x"]), ([], []), (["a", "b", "c"], ["x", "x", "y"])):
        with pytest.raises(DataError):
            Intents(texts, labels)


def test_absent_classes_are_never_said():
    texts, labels = made()
    of = np.array([sorted(ACTS).index(n) for n in labels])
    keep = of != 2
    scores, _ = _Ensemble([t for t, k in zip(texts, keep, strict=True) if k], of[keep], 4)([*texts, "blorp"])
    assert not (scores.argmax(1) == 2).any()


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the data sets beside the project")
def test_ten_intents_of_twenty_examples():
    with gzip.open(SHARED / "clinc150" / "data.json.gz") as file:
        data = json.load(file)
    names = sorted({label for _, label in data["train"]})[3::15]
    texts, labels = [], []
    for name in names:
        some = [text for text, label in data["train"] if label == name][:20]
        texts += some
        labels += [name] * 20
    intents = Intents(texts, labels)
    asked = [(text, label) for text, label in data["val"] if label in names]
    said, sure = intents.predict([text for text, _ in asked])
    assert np.mean([a == b for a, (_, b) in zip(said, asked, strict=True)]) >= 0.9
    away = [text for text, label in data["val"] if label not in names][::10] + [text for text, _ in data["oos_val"]]
    _, outside = intents.predict(away)
    assert roc_auc_score([1] * len(sure) + [0] * len(outside), np.concatenate([sure, outside])) >= 0.9
