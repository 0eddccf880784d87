"""Languages told apart: three made ones, and real ones where the data lies beside the project."""

import gzip
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bottega.cli import main
from bottega.codecs.text import TextCodec
from bottega.core import BottegaError, DataError, Item, Rng
from bottega.crafts.write_language import identify
from bottega.data import worlds
from bottega.families.ngram import NGram
from bottega.workshop.run import train
from helpers import SHARED, one_line, trained
from recipes import write_recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("languages")
    recipe = write_recipe(
        folder, "ngram", size=20, data={"name": "languages", "n": 1500}, steps=40,
        codec={"name": "text", "tokenizer": "char", "unit": "item", "length": 96},
    )  # fmt: skip
    return train(str(recipe), out=folder / "run")


def test_three_made_languages(run):
    data = worlds.load("languages", n=300, seed=5)  # sentences of the same languages, from another seed
    found = identify(run, [item.value for item in data.items])
    right = sum(v.language == item.cond for v, item in zip(found, data.items, strict=True))
    assert right / 300 >= 0.97
    sure = [v for v in found if v.probability > 0.99]
    assert sum(v.language == data.truth["identify"](i.value) for v, i in zip(found, data.items, strict=True)) == right
    assert len(sure) > 200
    assert all(v.nats_ahead >= 0 for v in found)
    assert set(found[0].each) == {"arin", "belu", "coth"}


def test_a_text_longer_than_a_row(run):
    data = worlds.load("languages", n=60, seed=6)
    long = " ".join(i.value for i in data.items if i.cond == "coth")
    assert len(long) > 300
    (verdict,) = identify(run, [long])
    assert verdict.language == "coth"
    assert verdict.probability > 0.999


def test_the_command(run, capsys):
    data = worlds.load("languages", n=5, seed=7)
    assert main(["write", "language", str(run.path), data.items[0].value, data.items[1].value, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [t["language"] for t in told["texts"]] == [item.cond for item in data.items[:2]]


def test_what_cannot_be_told(run, tmp_path):
    with pytest.raises(DataError) as error:
        identify(run, [" "])
    one_line(error, "empty")
    plain = write_recipe(tmp_path, "ngram", size=1, data={"name": "counting", "n": 100}, steps=2,
                         codec={"name": "text", "tokenizer": "char", "unit": "item", "length": 42})  # fmt: skip
    with pytest.raises(BottegaError) as error:
        identify(train(str(plain), out=tmp_path / "run"), ["aabb"])
    one_line(error, "codec.label", "ngram")


def made(model, codec):
    """What ``identify`` asks of a run."""
    return SimpleNamespace(path=Path("run"), device=torch.device("cpu"), model=model, codec=codec)


def paragraphs():
    """Of nine languages, from half of the articles to learn from and from the others to be told."""
    train, held = [], []
    for path in sorted((SHARED / "xquad").glob("xquad.*.json.gz")):
        language = path.name.split(".")[1]
        articles = json.loads(gzip.decompress(path.read_bytes()))["data"]
        for i, article in enumerate(articles):
            for part in article["paragraphs"][:3]:
                (held if i % 2 else train).append(Item(part["context"][:300], language))
    return train, held


@pytest.mark.shared
@pytest.mark.slow
def test_nine_real_languages():
    if not (SHARED / "xquad").exists():
        pytest.skip(f"xquad is not in {SHARED}")
    train, held = paragraphs()
    codec = TextCodec(tokenizer="byte", unit="item", length=400)
    codec.fit(train)
    torch.manual_seed(0)
    rows = codec.encode(train)
    model = trained(NGram(codec.spec, size=400, order=4), rows, len(rows) // 16, 0.03, rows=16)
    found = identify(made(model, codec), [item.value for item in held])
    assert len(held) > 300
    assert sum(v.language == i.cond for v, i in zip(found, held, strict=True)) / len(held) >= 0.98


@pytest.mark.shared
@pytest.mark.slow
def test_single_lines_of_four_languages():
    if not (SHARED / "multi30k").exists():
        pytest.skip(f"multi30k is not in {SHARED}")
    items = {"train": [], "val": []}
    for language in ("cs", "de", "en", "fr"):
        for part in items:
            lines = (
                gzip.decompress((SHARED / "multi30k" / f"{part}.{language}.gz").read_bytes())
                .decode("utf-8")
                .split("\n")
            )
            items[part] += [Item(line, language) for line in lines[: 800 if part == "train" else 100] if line.strip()]
    codec = TextCodec(tokenizer="byte", unit="item", length=200)
    codec.fit(items["train"])
    rows = codec.encode(items["train"])
    order = Rng(0).permutation(len(rows))
    torch.manual_seed(0)
    model = trained(NGram(codec.spec, size=200, order=4), rows.take(order), len(rows) // 32, 0.03, rows=32)
    found = identify(made(model, codec), [item.value for item in items["val"]])
    assert sum(v.language == i.cond for v, i in zip(found, items["val"], strict=True)) / len(found) >= 0.98
