"""Hub: data sets of the library ``datasets``, from copies that these tests write."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from bottega.core import DataError
from bottega.data import hub


@pytest.fixture
def datasets(monkeypatch, tmp_path):
    library = pytest.importorskip(
        "datasets", reason="the library datasets is not installed: pip install 'bottega[hub]'"
    )
    library.disable_progress_bars()
    return library


def test_text_with_classes_and_splits(datasets, tmp_path):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    rows = datasets.Dataset.from_dict({"text": ["fine", "bad", "so"], "label": [1, 0, -1]}, features=features)
    datasets.DatasetDict({"train": rows, "validation": rows.select([0])}).save_to_disk(tmp_path / "reviews")
    found = hub.load(f"hub:{tmp_path / 'reviews'}")
    assert (found.medium, found.name) == ("text", "reviews")
    assert [(i.value, i.cond) for i in found.items] == [("fine", "pos"), ("bad", "neg"), ("so", None)]


def test_pictures(datasets, tmp_path):
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    clear = np.zeros((4, 4, 4), np.uint8)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"image": [Image.fromarray(grey), Image.fromarray(clear)], "label": [0, 1]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "pictures")
    found = hub.load(str(tmp_path / "pictures"))
    assert found.medium == "image"
    assert [i.cond for i in found.items] == ["a", "b"]
    np.testing.assert_array_equal(found.items[0].value[..., 0], grey)
    assert found.items[1].value.shape == (4, 4, 4)


def test_tables(datasets, tmp_path):
    features = datasets.Features(
        {"age": datasets.Value("int64"), "job": datasets.Value("string"), "kind": datasets.ClassLabel(names=["x", "y"])}
    )
    rows = datasets.Dataset.from_dict({"age": [3, None], "job": ["cook", "smith"], "kind": [1, 0]}, features=features)
    rows.save_to_disk(tmp_path / "people")
    found = hub.load(str(tmp_path / "people"))
    assert (found.medium, found.target) == ("table", "kind")
    assert [i.value for i in found.items] == [
        {"age": 3, "job": "cook", "kind": "y"}, {"age": None, "job": "smith", "kind": "x"},
    ]  # fmt: skip


def test_nested_columns_and_what_is_no_data_set_are_named(datasets, tmp_path):
    datasets.Dataset.from_dict({"a": [[1, 2], [3]], "b": [1, 2]}).save_to_disk(tmp_path / "nested")
    with pytest.raises(DataError, match="column 'a' holds lists"):
        hub.load(str(tmp_path / "nested"))
    (tmp_path / "plain").mkdir()
    with pytest.raises(DataError, match="cannot load") as error:
        hub.load(str(tmp_path / "plain"))
    assert "\n" not in str(error.value)


def test_an_absent_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'bottega\[hub\]'"):
        hub.load("hub:owner/name")
