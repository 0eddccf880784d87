"""Folders: what a file or folder holds, and a clear word when that cannot be said."""

from __future__ import annotations

import io
import tarfile
import zipfile

import numpy as np
import pytest

from bottega.core import DataError
from bottega.data.folders import guess


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


@pytest.mark.parametrize(
    ("names", "medium"),
    [
        (["a.png", "cats/b.JPG"], "image"),
        (["a.png", "labels.csv", "README.md", ".hidden.txt"], "image"),
        (["a.txt", "sub/b.md"], "text"),
        (["code/x.py"], "text"),
        (["a.csv", "LICENSE.txt"], "table"),
        (["a.parquet"], "table"),
        (["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"], "image"),
        (["data_batch_1.bin", "readme.html"], "image"),
        (["a.csv.gz"], "table"),
    ],
)
def test_names_say_the_medium(tmp_path, names, medium):
    touch(tmp_path, *names)
    assert guess(tmp_path) == medium
    assert guess(tmp_path / names[0]) == medium


def test_arrays_archives_and_json_lines_are_looked_into(tmp_path):
    np.savez(tmp_path / "p.npz", x=np.zeros((5, 2)))
    np.savez(tmp_path / "i.npz", x=np.zeros((5, 8, 8), np.uint8), y=np.zeros(5))
    assert (guess(tmp_path / "p.npz"), guess(tmp_path / "i.npz")) == ("points", "image")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/a.png", b"x")
        archive.writestr("__MACOSX/x/._a.txt", b"x")
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("t/a.txt"), io.BytesIO())
    assert (guess(tmp_path / "a.zip"), guess(tmp_path / "b.tar.gz")) == ("image", "text")
    (tmp_path / "a.jsonl").write_text('{"text": "hello"}\n')
    (tmp_path / "b.jsonl").write_text('{"age": 3}\n')
    assert (guess(tmp_path / "a.jsonl"), guess(tmp_path / "b.jsonl")) == ("text", "table")


def test_a_folder_with_one_archive_is_what_the_archive_holds(tmp_path):
    touch(tmp_path, "README.md", "captions.csv")
    with zipfile.ZipFile(tmp_path / "tiles.zip", "w") as archive:
        archive.writestr("a.png", b"x")
    assert guess(tmp_path) == "image"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], ["is empty"]),
        ([".DS_Store"], ["is empty"]),
        (["a.doc", "b.doc", "c.xyz"], ["nothing that is known", "2 .doc, 1 .xyz"]),
        (["a.png", "b.png", "c.txt"], ["mixed", "2 image, 1 text"]),
        (["a.txt", "b.csv"], ["mixed", "1 text, 1 table"]),
    ],
)
def test_what_cannot_be_said_is_named_with_counts(tmp_path, names, words):
    touch(tmp_path, *names)
    with pytest.raises(DataError) as error:
        guess(tmp_path)
    assert "\n" not in str(error.value)
    for word in [str(tmp_path), *words]:
        assert word in str(error.value)


def test_no_such_place_an_odd_file_and_broken_ones(tmp_path):
    with pytest.raises(DataError, match="there is no"):
        guess(tmp_path / "absent")
    touch(tmp_path, "a.xyz", "b.zip", "c.npz", "d.tar.gz")
    with pytest.raises(DataError, match="no kind that is known"):
        guess(tmp_path / "a.xyz")
    for name in ("b.zip", "c.npz", "d.tar.gz"):
        with pytest.raises(DataError, match="cannot read") as error:
            guess(tmp_path / name)
        assert "\n" not in str(error.value)
