"""Runs from end to end: a text of a text, labels of a text, and a reader that begins with a bert."""

from __future__ import annotations

import pytest
import torch

import bottega
from bottega.core import Item, RecipeError
from recipes import write_recipe

TEXT = {"name": "text", "tokenizer": "bpe", "vocab": 300}


def test_a_text_of_a_text(tmp_path):
    codec = {**TEXT, "unit": "item", "given": "source", "length": 48, "given_length": 64, "long": "cut"}
    recipe = write_recipe(
        tmp_path,
        "seq2seq",
        size=1,
        data={"name": "translation", "n": 150},
        codec=codec,
        judge={"n": 8, "only": "likelihood"},
        batch=16,
        steps=3,
    )
    run = bottega.train(recipe, out=tmp_path / "run")
    assert {"likelihood"} <= {m.judge for m in run.evidence.measures}
    assert len(run.header["conditions"]) <= 16
    given = run.header["conditions"][0]
    pieces = bottega.load(tmp_path / "run").sample(2, cond=given, temperature=0)
    assert pieces.items[0].cond.strip()
    assert pieces.items[0].value == pieces.items[1].value
    edited = run.edit(Item("a", given))
    assert edited.items[0].value.startswith("a")
    with pytest.raises(RecipeError, match="--cond TEXT"):
        run.edit(Item("a"))


def test_a_reader_begins_with_a_bert(tmp_path):
    reviews = {"name": "reviews", "n": 120}
    text = {**TEXT, "unit": "item", "length": 64, "column": "text"}
    bert = bottega.train(
        write_recipe(tmp_path, "bert", size=1, data=reviews, codec=text, batch=16, steps=2),
        out=tmp_path / "bert", judge=False,
    )  # fmt: skip
    labelled = {"name": "labelled", "vocab": 300, "length": 64, "long": "cut"}
    recipe = write_recipe(
        tmp_path, "reader", size=1, data={**reviews, "task": "label"}, codec=labelled, judge={"n": 8}, batch=16, steps=1
    )
    start = {"train.start": str(tmp_path / "bert"), "optim.lr": 1e-12, "optim.weight_decay": 0.0}
    run = bottega.train(recipe, out=tmp_path / "reader", set=start)
    assert run.header["notes"][0] == f"began with the encoder of {tmp_path / 'bert'}"
    said = {m.name: m for m in run.evidence.measures}
    assert {"class_accuracy", "macro_f1", "nll_nats"} <= said.keys()
    assert 0 <= said["macro_f1"].value <= 1
    theirs = dict(bert.model.encoder.named_parameters())
    for key, p in run.model.encoder.named_parameters():
        torch.testing.assert_close(p, theirs[key], rtol=0, atol=1e-6)
    assert run.codec.state()["tokenizer"] == bert.codec.state()["tokenizer"]
    (tmp_path / "two.csv").write_text("text,label\nThe soup was good.,positive\nThe soup was bad.,negative\n")
    rows = run.classify([tmp_path / "two.csv"])
    assert [row["said"] for row in rows] == ["positive", "negative"]
    assert {row["class"] for row in rows} <= {"positive", "negative"}
    assert bottega.load(tmp_path / "reader").sample(1, cond="A nice day.", temperature=0).items[0].cond == "A nice day."
