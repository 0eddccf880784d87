"""TextCodec with a given text: columns, files side by side, lengths; pairs of lines; bounds of tokens."""

import gzip
import json

import numpy as np
import pytest
import torch

from bottega.codecs.text import TextCodec
from bottega.core import DataError, Item, RecipeError, Rng, Spec

PAIRS = [Item("Ein Hund läuft.", "A dog runs."), Item("Zwei Hunde.", "Two dogs.")]


def codec(**options):
    return TextCodec(**{"tokenizer": "byte", "length": 20, "unit": "item", "column": "de", "given": "en", **options})


def test_pairs_come_back():
    c = codec(given_length=12).fit(PAIRS)
    assert c.spec == Spec((20,), vocab=257, cond=Spec((12,), vocab=257))
    batch = c.encode(PAIRS)
    assert batch.cond.shape == (2, 12)
    assert batch.cond[0, 11] == c.end
    assert batch.mask.sum(1).tolist() == [17, 12]  # the end is to be told
    assert [(i.value, i.cond) for i in c.decode(batch.x, batch.cond)] == [(i.value, i.cond) for i in PAIRS]
    assert torch.equal(c.encode_cond(["A dog runs."]), batch.cond[:1])
    again = codec(given_length=12).load_state(json.loads(json.dumps(c.state())))
    assert again.spec == c.spec


def test_one_tokeniser_learns_both_sides():
    c = codec(tokenizer="char").fit(PAIRS)
    c.encode_cond(["A wet dog"[:1] + " gros"])
    with pytest.raises(RecipeError, match="'x'"):
        c.encode_cond(["x"])


def test_files_of_lines_side_by_side(tmp_path):
    (tmp_path / "train.de").write_text("Ein Hund\n\nZwei\n", encoding="utf-8")
    (tmp_path / "train.en.gz").write_bytes(gzip.compress(b"A dog\nempty\nTwo\n"))
    (tmp_path / "other.fr").write_text("rien\n")
    want = [("Ein Hund", "A dog"), ("Zwei", "Two")]
    for source in (tmp_path, tmp_path / "train.de", tmp_path / "train.en.gz"):
        assert [(i.value, i.cond) for i in codec().read(source)] == want
    (tmp_path / "train.de").write_text("Ein Hund\n")
    with pytest.raises(DataError, match=r"has 1 lines and train\.en\.gz 3"):
        codec().read(tmp_path)
    (tmp_path / "lone.de").write_text("Ein Hund\n")
    with pytest.raises(DataError, match=r"has no lone\.en beside it"):
        codec().read(tmp_path / "lone.de")
    with pytest.raises(DataError, match="no column 'en'"):
        (tmp_path / "plain.txt").write_text("Ein Hund\n")
        codec().read(tmp_path / "plain.txt")


def test_columns_and_lists(tmp_path):
    rows = [{"source": ["One.", "Two."], "target": ["a", "b"]}, {"source": "Three.", "target": "c"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    c = codec(column="target", given="source")
    assert [(i.value, i.cond) for i in c.read(tmp_path / "a.jsonl")] == [
        ("a", "One. Two."),
        ("b", "One. Two."),
        ("c", "Three."),
    ]
    (tmp_path / "b.tsv").write_text("en\tde\nA dog\tEin Hund\n")
    assert [(i.value, i.cond) for i in codec().read(tmp_path / "b.tsv")] == [("Ein Hund", "A dog")]
    with pytest.raises(DataError, match="no column 'en'"):
        codec(column="target").read(tmp_path / "a.jsonl")
    (tmp_path / "c.jsonl").write_text('{"en": 3, "de": "x"}')
    with pytest.raises(DataError, match="are not both texts"):
        codec().read(tmp_path / "c.jsonl")


def test_long_texts_are_never_cut_in_silence():
    long = [*PAIRS, Item("x" * 30, "short"), Item("short", "y" * 30)]
    with pytest.raises(DataError, match="2 of 4 pairs are longer") as error:
        codec().fit(long).encode(long)
    assert "30 tokens, and 30 given" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(codec(long="skip").fit(long).encode(long).x) == 2
    cut = codec(long="cut").fit(long)
    assert [i.value for i in cut.decode(cut.encode(long).x)][2] == "x" * 20
    assert cut.encode_cond(["y" * 30]).shape == (1, 20)
    with pytest.raises(RecipeError, match="30 tokens, and 20 have room"):
        codec().fit(PAIRS).encode_cond(["y" * 30])
    with pytest.raises(RecipeError, match="is no text"):
        codec().fit(PAIRS).encode_cond([None])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"unit": "line"}, "unit = 'item'"),
        ({"given": "de"}, "another codec.column"),
        ({"label": "kind"}, "no codec.label"),
        ({"given_length": -1}, "given_length is -1"),
        ({"given": "", "given_length": 5}, "codec.given be named"),
        ({"long": "drop"}, "codec.long is 'drop'"),
    ],
)
def test_settings_that_do_not_fit(options, why):
    with pytest.raises(RecipeError, match=why):
        codec(**options)


def test_a_beginning_keeps_what_is_given():
    c = codec().fit(PAIRS)
    batch, keep = c.start_edit(Item("Ein", "A dog runs."))
    assert torch.equal(batch.cond, c.encode_cond(["A dog runs."]))
    assert keep.sum() == 3


def test_pairs_of_lines():
    items = [Item("one\ntwo\nthree\nfour"), Item("red\n\nblue\ngreen")]
    c = TextCodec(tokenizer="byte", length=16, unit="pair").fit(items)
    assert c.classes == ["apart", "next"]
    true = {("one", "two"), ("two", "three"), ("three", "four"), ("red", "blue"), ("blue", "green")}
    source = c.source(items, train=True)
    assert len(source) == 5
    seen = []
    for seed in range(40):
        batch = source.draw(torch.arange(5), Rng(seed))
        for item, real in zip(c.decode(batch.x, batch.cond), batch.mask, strict=True):
            first, second = item.value.split("\n")
            assert ((first, second) in true) == (item.cond == "next")
            assert int(real.sum()) == len(first) + len(second) + 2
            seen.append(item.cond == "next")
    assert 0.4 < np.mean(seen) < 0.6
    a, b = c.encode(items), c.source(items, train=False)
    assert torch.equal(a.x, b.x)
    with pytest.raises(RecipeError, match="class of a pair"):
        TextCodec(unit="pair", label="kind")


def test_long_lines_of_a_pair_give_way():
    items = [Item("a" * 30 + "\n" + "b" * 3 + "\n" + "c" * 30)]
    c = TextCodec(tokenizer="byte", length=16, unit="pair").fit(items)
    rows = [c.decode(row[None])[0].value.split("\n") for row in c.encode(items).x]
    assert rows[0] in (["a" * 11, "b" * 3], ["a" * 7, "c" * 7])
    assert all(len("".join(row)) <= 14 for row in rows)


@pytest.mark.parametrize("tokenizer", ["bpe", "char", "byte"])
def test_bounds_are_those_of_the_words(tokenizer):
    text = "Ein schöner  Hund läuft über 12 €.\nJa"
    c = TextCodec(tokenizer=tokenizer, vocab=300, unit="item").fit([Item(text * 20)])
    tokens = c.tokens([text])[0]
    first, last = c.bounds(text, tokens)
    assert len(first) == len(tokens)
    covered = {i for a, b in zip(first, last, strict=True) for i in range(a, b)}
    assert covered == {i for i, ch in enumerate(text) if not ch.isspace()}
    assert (first <= last).all()
    assert (np.diff(last) >= 0).all()
