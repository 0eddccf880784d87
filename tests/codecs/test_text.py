"""Text: tokenisers round-trip any Unicode, rows hold each token once, and every bad input has its one-line error."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bottega.codecs import _bpe
from bottega.codecs.text import TextCodec
from bottega.core import Codec, DataError, Item, OutputError, RecipeError, Spec, lookup
from helpers import one_line

PROSE = "The cat sat on the mat.\nThe dog sat on the log.\n\nNobody knows — not even the owl — why.\n" * 20
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def test_it_is_the_codec_called_text():
    assert lookup("codecs", "text") is TextCodec
    codec: Codec = TextCodec()
    assert codec.medium == "text"


# ---- tokenisers --------------------------------------------------------------------------------------------------------

BPE = TextCodec(vocab=400, length=600, unit="item").fit([Item(PROSE)])
BYTE = TextCodec(tokenizer="byte", length=600, unit="item").fit([Item(PROSE)])


@settings(max_examples=150, deadline=None)
@given(ANY)
def test_bytes_and_bpe_write_any_unicode_exactly(text):
    for codec in (BPE, BYTE):
        (tokens,) = codec.tokens([text])
        assert tokens.max(initial=0) < codec.end
        row = torch.full((1, 600), codec.end)
        row[0, : len(tokens)] = torch.from_numpy(tokens)
        assert codec.decode(row)[0].value == text


@pytest.mark.parametrize(
    "text", ["<|end|>", "<|endoftext|>", " \t ", "\x00\x01", "Ελλάδα 日本語 🐈‍⬛ é", "Ġ", " a  b "]
)
def test_no_text_is_mistaken_for_the_end(text):
    for codec in (BPE, BYTE):
        batch = codec.encode([Item("x" + text)])
        assert (batch.x[0][batch.mask[0]] == codec.end).sum() == 1
        assert codec.decode(batch.x)[0].value == "x" + text


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(str.strip))
def test_characters_write_what_they_have_seen(text):
    codec = TextCodec(tokenizer="char", length=80, unit="item").fit([Item(text)])
    assert codec.spec.vocab == len(set(text)) + 1
    assert codec.decode(codec.encode([Item(text)]).x)[0].value == text


def test_bpe_learns_words_and_is_shorter_than_bytes():
    assert BPE.spec.vocab <= 400
    assert BPE.end == BPE.spec.vocab - 1
    assert len(BPE.tokens([PROSE])[0]) < 0.35 * len(PROSE.encode())
    assert BPE.bytes_per_token([Item(PROSE)]) > 2.5
    assert BYTE.bytes_per_token([Item("héllo")]) == pytest.approx(6 / 7)  # six bytes, and the end


def test_bpe_is_the_same_in_every_process():
    code = (
        "from bottega.codecs.text import TextCodec\nfrom bottega.core import Item\n"
        "text = ''.join(chr(97 + (i * i * 7 + i // 3) % 26) + ' ' * (i % 5 == 0) for i in range(6000))\n"
        "learned = TextCodec(vocab=500).fit([Item(text)]).learned\n"
    )
    here: dict = {}
    exec(code, here)
    there = subprocess.run([sys.executable, "-c", code + "print(learned)"], capture_output=True, text=True, check=True)
    assert json.loads(there.stdout) == json.loads(here["learned"])
    assert len(json.loads(here["learned"])["model"]["merges"]) > 100


def test_a_long_text_is_tokenised_in_pieces_without_a_trace(monkeypatch):
    text = "Seams are chosen:\n  not here\n\nnor here \n but\nhere it's\tfine\n" * 40
    whole = TextCodec(vocab=300).fit([Item(text)])
    assert _bpe.pieces_of(text) == [text]
    monkeypatch.setattr(_bpe, "_PIECE", 16)
    pieces = _bpe.pieces_of(text)
    assert len(pieces) > 40
    assert "".join(pieces) == text
    cut = TextCodec(vocab=300).fit([Item(text)])
    assert cut.state() == whole.state()
    both = [text, "", "short\n", text[::-1]]
    monkeypatch.undo()
    expected = whole.tokens(both)
    monkeypatch.setattr(_bpe, "_PIECE", 16)
    assert [t.tolist() for t in cut.tokens(both)] == [t.tolist() for t in expected]


def test_an_unknown_character_is_named():
    codec = TextCodec(tokenizer="char", length=8).fit([Item("abc")])
    with pytest.raises(DataError) as error:
        codec.encode([Item("abzc")])
    one_line(error, "'z' (U+007A)", "tokenizer = 'bpe'")


def test_half_a_character_is_named():
    with pytest.raises(DataError) as error:
        TextCodec().fit([Item("ab\ud800", name="x.jsonl#1")])
    one_line(error, "x.jsonl#1", "position 2")


def test_state_holds_the_whole_tokeniser():
    for name in ("bpe", "char", "byte"):
        codec = TextCodec(tokenizer=name, vocab=300, length=16, unit="line").fit([Item(PROSE, "a"), Item("cat", "b")])
        state = json.loads(json.dumps(codec.state()))
        again = TextCodec(tokenizer=name, vocab=300, length=16, unit="line").load_state(state)
        assert again.spec == codec.spec
        assert torch.equal(again.encode([Item(PROSE, "a")]).x, codec.encode([Item(PROSE, "a")]).x)
        assert again.encode_cond(["b", None]).tolist() == [1, -1]


# ---- rows --------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("abc \n", min_size=1, max_size=40), min_size=1, max_size=6), st.integers(2, 9))
def test_windows_of_documents_hold_every_token_once(texts, length):
    codec = TextCodec(tokenizer="byte", length=length).fit([Item(t) for t in texts])
    batch = codec.encode([Item(t) for t in texts])
    expected = [token for t in texts for token in [*t.encode(), codec.end]]
    assert batch.x[batch.mask].tolist() == expected
    assert (batch.x[~batch.mask] == codec.end).all()
    assert batch.mask.flatten().tolist() == sorted(batch.mask.flatten().tolist(), reverse=True)


def test_training_windows_begin_anywhere():
    codec = TextCodec(tokenizer="byte", length=4).fit([Item("abcde"), Item("fg")])
    source = codec.source([Item("abcde"), Item("fg")], train=True)
    line = [*b"abcde", 256, *b"fg", 256]
    assert len(source) == len(line) - 3
    batch = source.take(torch.tensor([5, 0, 2]))
    assert batch.x.tolist() == [line[5:9], line[0:4], line[2:6]]
    assert batch.mask is None
    assert torch.equal(codec.source([Item("abcde")], train=False).x, codec.encode([Item("abcde")]).x)
    with pytest.raises(DataError) as error:
        codec.source([Item("ab")], train=True)
    one_line(error, "3 tokens", "window of 4", "--set codec.length=2")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab é", min_size=1, max_size=30).filter(str.strip), min_size=1, max_size=6), st.integers(2, 8))
def test_rows_of_lines_hold_every_token_once_and_one_end(lines, length):
    codec = TextCodec(tokenizer="byte", length=length, unit="line").fit([Item("\n".join(lines))])
    batch = codec.encode([Item("\n".join(lines))])
    tokens = [t for t in batch.x[batch.mask].tolist() if t != codec.end]
    assert bytes(tokens).decode() == "".join(lines)
    for row, real in zip(batch.x.tolist(), batch.mask.sum(1).tolist(), strict=True):
        assert codec.end not in row[: real - 1]
        assert set(row[real:]) <= {codec.end}
    long_enough = TextCodec(tokenizer="byte", length=80, unit="line").fit([Item("x")])
    assert [i.value for i in long_enough.decode(long_enough.encode([Item("\n".join(lines))]).x)] == lines


def test_a_padded_row_has_exactly_one_real_end():
    codec = TextCodec(tokenizer="byte", length=6, unit="line").fit([Item("x")])
    batch = codec.encode([Item("abc\nabcdef\nabcdefgh")])
    assert batch.mask.sum(1).tolist() == [4, 6, 6, 3]
    assert [i.value for i in codec.decode(batch.x)] == ["abc", "abcdef", "abcdef", "gh"]


def test_paragraphs_lines_and_items():
    text = "one\ntwo\n\n  \n\nthree\n"
    rows = {u: TextCodec(tokenizer="byte", length=40, unit=u).fit([Item(text)]) for u in ("paragraph", "line", "item")}
    made = {u: [i.value for i in c.decode(c.encode([Item(text)]).x)] for u, c in rows.items()}
    assert made == {"paragraph": ["one\ntwo", "three"], "line": ["one", "two", "three"], "item": [text]}


def test_labels_condition_rows():
    items = [Item("good stuff\nvery good", "pos"), Item("bad", "neg"), Item("meh", None)]
    codec = TextCodec(tokenizer="byte", length=12, unit="line").fit(items)
    assert codec.spec == Spec((12,), vocab=257, cond=Spec((), vocab=2))
    batch = codec.encode(items)
    assert batch.cond.tolist() == [1, 1, 0, -1]
    assert [i.cond for i in codec.decode(batch.x, batch.cond)] == ["pos", "pos", "neg", None]
    with pytest.raises(RecipeError) as error:
        codec.encode_cond(["poss"])
    one_line(error, "'poss'", "did you mean 'pos'?")
    with pytest.raises(DataError):
        codec.encode([Item("x", "new")])
    assert TextCodec(tokenizer="byte").fit(items).spec.cond is None


def test_a_prompt_is_the_beginning_of_what_is_kept(tmp_path):
    codec = TextCodec(tokenizer="byte", length=8).fit([Item("x")])
    assert codec.encode_prompt("hé").tolist() == [104, 195, 169]
    batch, keep = codec.start_edit("abc")
    assert batch.x.tolist() == [[97, 98, 99, 256, 256, 256, 256, 256]]
    assert keep.tolist() == [[True] * 3 + [False] * 5]
    (tmp_path / "begin.txt").write_text("0123456789")
    batch, keep = codec.start_edit(tmp_path / "begin.txt")
    assert codec.decode(batch.x[:, :10])[0].value == "0123456789", "nothing of it is cut"
    assert keep.tolist() == [[True] * 10 + [False] * 4]
    with pytest.raises(RecipeError) as error:
        codec.start_edit("abc", tmp_path / "m.png")
    one_line(error, "--mask")


# ---- files -------------------------------------------------------------------------------------------------------------


def test_files_folders_archives_and_gz(tmp_path):
    folder = tmp_path / "texts"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.txt").write_bytes("\ufeffzwei\r\nDrei".encode())
    (folder / "sub" / "a.py.gz").write_bytes(gzip.compress(b"x = 1\n"))
    (folder / "c.md").write_text("# vier ✓")
    (folder / "blank.txt").write_text(" \n")
    (folder / "meta.csv").write_text("a,b\n1,2\n")
    expected = [("b.txt", "zwei\nDrei"), ("c.md", "# vier ✓"), ("sub/a.py.gz", "x = 1\n")]
    assert [(i.name, i.value) for i in TextCodec().read(folder)] == expected
    with zipfile.ZipFile(tmp_path / "texts.zip", "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, path.relative_to(folder))
    assert [(i.name, i.value) for i in TextCodec().read(tmp_path / "texts.zip")] == expected
    assert TextCodec().read(folder / "c.md")[0].value == "# vier ✓"
    (tmp_path / "notes.log").write_text("named, so read")
    assert TextCodec().read(tmp_path / "notes.log")[0].value == "named, so read"


def test_json_lines_and_csv(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"body": "eins", "kind": 1}\n\n{"body": "zwei\\nzeilen", "kind": 2}\n')
    items = TextCodec(column="body", label="kind", unit="item").read(tmp_path / "a.jsonl")
    assert [(i.value, i.cond) for i in items] == [("eins", "1"), ("zwei\nzeilen", "2")]
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b'text,n\n"eins, und",1\n"zwei\nzeilen",2\n'))
    assert [i.value for i in TextCodec().read(tmp_path / "b.csv.gz")] == ["eins, und", "zwei\nzeilen"]
    with pytest.raises(DataError) as error:
        TextCodec(column="bdy").read(tmp_path / "a.jsonl")
    one_line(error, "a.jsonl, line 1", "'bdy'", "did you mean 'body'?")
    with pytest.raises(DataError) as error:
        TextCodec(column="kind").read(tmp_path / "a.jsonl")
    one_line(error, "line 1", "not text")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("x.jsonl", b'{"text": "a"}\n{"text": \n', ("line 2", "not JSON")),
        ("x.jsonl", b"[" * 100_000, ("line 1", "not JSON")),
        ("x.jsonl", b"[1, 2]\n", ("line 1", "list")),
        ("x.csv", b"text,n\na,1\nb\n", ("line 3", "cells")),
        ("x.csv", b"text,n\na,1\nb,2,3\n", ("line 3", "cells")),
        ("x.txt", b"plain caf\xe9 noir", ("0xe9", "offset 9", "iconv")),
        ("x.txt.gz", b"\x1f\x8b\x08\x00 broken", ("x.txt.gz",)),
        ("x.txt", b" \n ", ("holds no text",)),
    ],
)
def test_bad_files_are_named(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as error:
        TextCodec().read(tmp_path / name)
    one_line(error, name, *words)


def test_what_is_said_of_bad_json_lines(tmp_path):
    """The table codec reads them with the same function and says it in its own words."""
    path = tmp_path / "x.jsonl"
    path.write_text('\n{"text": "{}"}\n{"text": \n')
    with pytest.raises(DataError) as error:
        TextCodec().read(path)
    assert str(error.value) == f"{path}, line 3 is not JSON (Expecting value); write one object on each line"
    path.write_text("\n[1]\n")
    with pytest.raises(DataError) as error:
        TextCodec().read(path)
    assert str(error.value) == f'{path}, line 2 is list, not an object; write {{"text": ...}}'


def test_a_bad_file_can_be_skipped_and_nothing_is_said(tmp_path):
    (tmp_path / "a.txt").write_text("good")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe bad")
    codec = TextCodec(on_error="skip")
    assert [i.name for i in codec.read(tmp_path)] == ["a.txt"]
    assert len(codec.skipped) == 1
    with pytest.raises(DataError) as error:
        TextCodec().read(tmp_path / "absent")
    one_line(error, "there is no")
    with pytest.raises(DataError) as error:
        TextCodec().fit([])
    one_line(error, "no text")


@pytest.mark.parametrize(
    "arguments",
    [
        {"tokenizer": "bep"},
        {"unit": "lines"},
        {"vocab": 256},
        {"length": 1},
        {"on_error": "go"},
        {"label": "kind"},
        {"column": ""},
    ],
)
def test_values_that_mean_nothing_are_refused(arguments):
    with pytest.raises(RecipeError) as error:
        TextCodec(**arguments)
    one_line(error, f"codec.{next(iter(arguments))}", next(iter(arguments.values())))


def test_writing_and_the_mark_beside(tmp_path):
    codec = TextCodec()
    path = codec.write(Item("größe ✓\n"), tmp_path / "new" / "piece-7", {"machine_made": "true", "seed": "7"})
    assert path.name == "piece-7.txt"
    assert path.read_bytes() == "größe ✓\n".encode()
    assert json.loads((tmp_path / "new" / "piece-7.txt.meta.json").read_text()) == {"machine_made": "true", "seed": "7"}
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError) as error:
        codec.write(Item("x"), tmp_path / "file" / "x")
    one_line(error, "x.txt")


def test_the_page_shows_texts_however_odd(tmp_path):
    codec = TextCodec()
    odd = [Item("$x^2$ and \x00\x07 \\alpha 日本 " * 30, "a class"), Item(""), Item("word " * 2000)]
    path = codec.show(odd, tmp_path / "page")
    with Image.open(path) as page:
        pixels = np.asarray(page.convert("L"))
    assert page.width == 990
    assert 300 < page.height < 2000
    assert 0.005 < (pixels < 128).mean() < 0.4  # ink, and paper
    taller = codec.show([*odd, Item("one more\n" * 9)], tmp_path / "page2.png")
    with Image.open(taller) as page2:
        assert page2.height > page.height
