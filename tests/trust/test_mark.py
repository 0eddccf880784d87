"""A mark says what made a piece, survives the codecs' own files, and is read back from each of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from bottega.codecs.image import ImageCodec
from bottega.codecs.table import TableCodec
from bottega.core import DataError, Item
from bottega.crafts._frames import write_frames
from bottega.trust.mark import MADE_BY_A_MODEL, mark, read

WEIGHTS = "ab" * 32
MARK = mark(WEIGHTS, 17, recipe="digits")


def test_says_all_that_a_reader_needs():
    assert MARK["machine_made"] == "true"
    assert MARK["weights"] == WEIGHTS
    assert MARK["seed"] == "17"
    assert MARK["recipe"] == "digits"
    assert MARK["software"].startswith("bottega ")
    assert MARK["digital_source_type"] == MADE_BY_A_MODEL
    assert all(isinstance(v, str) for v in MARK.values())


def test_is_the_same_for_the_same_weights_and_seed():
    assert mark(WEIGHTS, 17, recipe="digits") == MARK
    assert mark(WEIGHTS, 18, recipe="digits") != MARK


def test_has_a_place_for_a_signed_manifest_and_leaves_it_out_when_there_is_none():
    assert "manifest" not in MARK
    assert mark(WEIGHTS, 17, manifest="signed")["manifest"] == "signed"


def test_reads_a_picture_that_the_codec_wrote(tmp_path: Path):
    picture = np.zeros((4, 4, 1), np.uint8)
    path = ImageCodec().fit([Item(picture)]).write(Item(picture), tmp_path / "piece", MARK)
    assert read(path) == MARK
    assert MADE_BY_A_MODEL in path.read_bytes().decode("latin-1"), "other people's readers find it in XMP"


def test_reads_a_table_that_the_codec_wrote(tmp_path: Path):
    rows = [Item({"a": str(i), "b": "xy"[i % 2]}) for i in range(8)]
    path = TableCodec().fit(rows).write_all(rows, tmp_path / "rows", MARK)
    assert read(path) == MARK


def test_reads_the_file_beside_a_piece(tmp_path: Path):
    piece = tmp_path / "story.txt"
    piece.write_text("Once.")
    (tmp_path / "story.txt.meta.json").write_text(json.dumps(MARK))
    assert read(piece) == MARK


def test_reads_the_comment_of_a_film_and_leaves_those_of_others(tmp_path: Path):
    frames = [np.full((8, 8, 3), k, np.uint8) for k in (0, 200)]
    assert read(write_frames(frames, tmp_path / "film.gif", 10, MARK)) == MARK
    for name, comment in (("a", b"Created with GIMP"), ("b", b"[1]"), ("c", b"\xff\xfe\x00"), ("d", b'{"by": "hand"}')):
        Image.new("P", (3, 3)).save(tmp_path / f"{name}.gif", comment=comment)
        assert read(tmp_path / f"{name}.gif") == {}


def test_finds_nothing_where_nothing_is_said(tmp_path: Path):
    plain, note = tmp_path / "plain.png", tmp_path / "note.txt"
    Image.new("L", (3, 3)).save(plain)
    note.write_text("written by hand")
    assert read(plain) == {}
    assert read(note) == {}


def test_a_sidecar_of_another_program_is_no_mark(tmp_path: Path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "a.csv-metadata.json").write_text(json.dumps({"notes": [{"author": "someone"}]}))
    (tmp_path / "a.csv.meta.json").write_text(json.dumps({"camera": "X100"}))
    assert read(tmp_path / "a.csv") == {}


@pytest.mark.parametrize("text", ["{", "[1]", '"x"'])
def test_a_damaged_mark_is_an_error_and_not_no_mark(tmp_path: Path, text: str):
    info = PngImagePlugin.PngInfo()
    info.add_itxt("bottega", text)
    Image.new("L", (3, 3)).save(tmp_path / "x.png", pnginfo=info)
    with pytest.raises(DataError, match=r"x\.png is damaged"):
        read(tmp_path / "x.png")


def test_a_truncated_picture_is_an_error(tmp_path: Path):
    path = (
        ImageCodec()
        .fit([Item(np.zeros((64, 64, 1), np.uint8))])
        .write(Item(np.random.default_rng(0).integers(0, 255, (64, 64, 1), np.uint8)), tmp_path / "piece", MARK)
    )
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(DataError, match="damaged picture"):
        read(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"no file at .*nothing\.png"):
        read(tmp_path / "nothing.png")
