"""Built-in data: real, licensed, the same every time; lineage says which bytes it was."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bottega.core import DataError
from bottega.core.score import Score
from bottega.data import builtin, lineage
from bottega.data.dataset import Dataset, fingerprint

SIZES = {"digits": 1797, "iris": 150, "wine": 178, "breast_cancer": 569, "diabetes": 442}


@pytest.mark.parametrize("name", builtin.names())
def test_every_set_is_there_with_its_licence_and_source(name):
    found = builtin.load(name)
    assert isinstance(found, Dataset)
    assert found.name == name
    for said in (found.licence, found.source, found.about):
        assert said.strip()
    assert len(found.items) == SIZES.get(name, len(found.items)) >= 50
    assert len({item.name for item in found.items}) == len(found.items)
    kind = {"image": np.ndarray, "text": str, "table": dict, "music": Score}[found.medium]
    assert all(type(item.value) is kind for item in found.items)
    builtin.load.cache_clear()
    assert fingerprint(builtin.load(name).items) == fingerprint(found.items)
    assert json.loads(json.dumps(lineage.of_dataset(found)))["count"] == len(found.items)


def test_digits_keep_their_seventeen_levels():
    from sklearn.datasets import load_digits

    items = builtin.load("digits").items
    pixels = np.stack([item.value for item in items])
    assert (pixels.dtype, pixels.shape) == (np.uint8, (1797, 8, 8, 1))
    np.testing.assert_array_equal((pixels[..., 0].astype(int) * 16 + 127) // 255, load_digits().images.astype(int))
    assert {item.cond for item in items} == set("0123456789")


def test_tables_have_named_columns_kinds_and_a_target():
    row = builtin.load("iris").items[0].value
    assert row == {
        "sepal_length_cm": 5.1, "sepal_width_cm": 3.5, "petal_length_cm": 1.4, "petal_width_cm": 0.2, "species": "setosa",
    }  # fmt: skip
    for name in ("iris", "wine", "breast_cancer", "diabetes"):
        found = builtin.load(name)
        assert found.target in found.items[0].value
        assert len({tuple(item.value) for item in found.items}) == 1
    wine = builtin.load("wine").items[0].value
    assert isinstance(wine["proline"], int)
    assert isinstance(wine["alcohol"], float)
    assert builtin.load("diabetes").items[0].value["age"] == 59


def test_photographs_are_patches_side_by_side():
    items = builtin.load("photos").items
    assert {item.value.shape for item in items} == {(32, 32, 3)}
    assert {"temple", "flower"} <= {item.cond for item in items}
    from sklearn.datasets import load_sample_image

    china = load_sample_image("china.jpg")
    patch = next(item for item in items if item.name == "temple@64,32")
    np.testing.assert_array_equal(patch.value, china[32:64, 64:96])


def test_english_and_code_are_what_they_say():
    english = builtin.load("english")
    assert next(i for i in english.items if i.name == "assert").value.startswith('The "assert" statement')
    paragraphs = [{p for p in i.value.split("\n\n") if len(p) > 60} for i in english.items]
    twice = sum(map(len, paragraphs)) - len(set().union(*paragraphs))
    assert twice < 0.01 * sum(map(len, paragraphs)), "chapters that repeat each other would leak into the held-out part"
    code = builtin.load("code")
    assert sum(len(i.value.encode()) for i in code.items) <= builtin.CODE_BYTES
    assert not [i.name for i in code.items if "test" in i.name.split("/")]
    compile(code.items[1].value, "x", "exec")


def test_an_unknown_name_has_its_nearest():
    with pytest.raises(DataError, match="no built-in data called 'digit'; did you mean 'digits'"):
        builtin.load("digit")


# ---- lineage -----------------------------------------------------------------------------------------------------------


def test_the_fingerprint_of_files_sees_bytes_names_and_places(tmp_path):
    for place in ("one", "two"):
        (tmp_path / place / "sub").mkdir(parents=True)
        (tmp_path / place / "a.txt").write_text("abc")
        (tmp_path / place / "sub" / "b.txt").write_text("")
    found = lineage.of_files(tmp_path / "one")
    assert found["sha256"] == lineage.of_files(tmp_path / "two")["sha256"]
    assert (found["root"], found["count"], found["bytes"]) == ("one", 2, 3)
    assert found["files"][0] == {
        "path": "a.txt", "bytes": 3, "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }  # fmt: skip
    seen = {found["sha256"]}
    (tmp_path / "one" / "a.txt").write_text("abd")
    seen.add(lineage.of_files(tmp_path / "one")["sha256"])
    (tmp_path / "two" / "a.txt").rename(tmp_path / "two" / "c.txt")
    seen.add(lineage.of_files(tmp_path / "two")["sha256"])
    (tmp_path / "two" / "c.txt").rename(tmp_path / "two" / "sub" / "c.txt")
    seen.add(lineage.of_files(tmp_path / "two")["sha256"])
    assert len(seen) == 4
    assert lineage.of_files(tmp_path / "one" / "a.txt")["count"] == 1
    with pytest.raises(DataError, match="there is no"):
        lineage.of_files(tmp_path / "absent")


def test_many_files_are_hashed_but_not_all_listed(tmp_path):
    for k in range(lineage.LISTED + 5):
        (tmp_path / f"{k:03}").write_text(str(k))
    found = lineage.of_files(tmp_path)
    assert found["count"] == lineage.LISTED + 5
    assert len(found["files"]) == lineage.LISTED
    (tmp_path / f"{lineage.LISTED + 4:03}").write_text("changed")  # the last one, beyond the list
    assert lineage.of_files(tmp_path)["sha256"] != found["sha256"]
