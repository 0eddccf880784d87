"""Row N8: what a trained model makes of texts, frozen, is something to learn from."""

from __future__ import annotations

import json

import pytest
import torch

import bottega
from bottega.core import BottegaError, DataError
from helpers import one_line

RECIPE = '[data]\nname = "{data}"\n[codec]\nname = "{codec}"\ntokenizer = "char"\n{more}\n[family]\nname = "{family}"\nsize = {size}\n'


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    here = tmp_path_factory.mktemp("frozen")
    rows = [{"text": w * 3, "given": w * 2, "label": "low" if w < "e" else "high"} for w in "abcdefgh" * 8]
    (here / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))

    def train(family, size=1, codec="text", more='unit = "item"\nlength = 6'):
        text = RECIPE.format(data=here / "rows.jsonl", codec=codec, family=family, size=size, more=more)
        (here / f"{family}.toml").write_text(text)
        settings = {"train.batch": 16, "train.ema": 0.0, "train.checks": 0, "optim.lr": 1e-2, "data.group": False}
        out = here / (family + "".join(c for c in more if c.isalnum()))  # a run for each recipe
        return bottega.train(here / f"{family}.toml", out=out, steps=30, set=settings, judge=False)

    return train


GIVEN = 'unit = "item"\nlength = 6\ngiven = "given"\ngiven_length = 4'
TEXTS = ["aaa", "bb", "hhh", "g"]


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("gpt", {}), ("rnn", {"size": 8}), ("masked", {}), ("bert", {}), ("hmm", {"size": 4}),
        ("seq2seq", {"more": GIVEN}), ("reader", {"codec": "labelled", "more": "length = 6"}),
    ],
)  # fmt: skip
def test_texts_become_vectors(train, family, settings):
    run = train(family, **settings)
    found = run.features(TEXTS)
    assert found.shape[0] == 4
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert torch.allclose(run.features(TEXTS[1:2]), found[1:2], atol=1e-4), "each by itself"
    assert not torch.allclose(found[0], found[2], atol=1e-3)


def test_what_has_none_is_refused_in_one_line(train):
    with pytest.raises(BottegaError) as error:
        train("ngram").features(TEXTS)
    one_line(error, "a ngram has no features", "gpt", "rnn")
    with pytest.raises(DataError) as error:
        train("rnn", size=8, more='unit = "line"\nlength = 6').features(["ab", " "])
    one_line(error, "piece 2 is empty")
