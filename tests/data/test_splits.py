"""Splits: seeded, grouped, without copies or near copies on both sides."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bottega.core import DataError, Item
from bottega.data import builtin
from bottega.data.splits import Split, leaks, split


def noise(n, seed=0, side=16):
    made = np.random.default_rng(seed)
    small = made.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
    return [Item(np.asarray(Image.fromarray(v).resize((side, side))), name=f"{k}") for k, v in enumerate(small)]


def names(part):
    return [item.name for item in part]


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 120), st.sampled_from([0.05, 0.1, 0.3]), st.sampled_from([0.0, 0.2]), st.integers(0, 99))
def test_parts_have_their_shares_and_hold_every_piece_once(n, held, test, seed):
    items = [Item({"a": i}, name=str(i)) for i in range(n)]
    parts = split(items, held, test, seed)
    assert sorted(map(int, names([*parts.train, *parts.held, *parts.test]))) == list(range(n))
    assert abs(len(parts.held) - held * n) <= 1
    assert abs(len(parts.test) - test * n) <= 1
    assert len(parts.held) >= 1
    for part in (parts.train, parts.held, parts.test):
        assert names(part) == sorted(names(part), key=int)  # in the order they came
    assert leaks(parts) == []


def test_the_seed_decides_and_the_order_does_not():
    items = [Item({"a": i}, name=str(i)) for i in range(60)]
    assert names(split(items, seed=3).held) == names(split(items, seed=3).held)
    assert names(split(items, seed=3).held) != names(split(items, seed=4).held)
    assert set(names(split(items[::-1], seed=3).held)) == set(names(split(items, seed=3).held))
    more = [*items, Item({"a": 60}, name="60")]
    assert (
        len(set(names(split(more, seed=3).held)) ^ set(names(split(items, seed=3).held))) <= 2
    )  # one more changes little


def test_groups_stay_together():
    items = [Item({"a": i}, name=str(i), group=f"patient {i // 5}") for i in range(100)]
    parts = split(items, held=0.2, test=0.1)
    where = [{item.group for item in part} for part in (parts.train, parts.held, parts.test)]
    assert not where[0] & (where[1] | where[2])
    assert not where[1] & where[2]
    assert [len(w) for w in where] == [14, 4, 2]
    assert parts.clusters == 20
    loose = split(items, held=0.2, group=False)
    assert {item.group for item in loose.held} & {item.group for item in loose.train}
    assert {leak.why for leak in leaks(loose)} == {"group"}


def test_exact_and_near_copies_of_pictures_stay_together():
    items = noise(80)
    made = np.random.default_rng(1)
    for k in range(0, 60, 3):
        value = items[k].value
        exact, brighter = value.copy(), (value.astype(int) + 5).clip(0, 255).astype(np.uint8)
        jitter = (value.astype(int) + made.integers(-3, 4, value.shape)).clip(0, 255).astype(np.uint8)
        larger = np.asarray(Image.fromarray(value).resize((32, 32), Image.Resampling.BICUBIC))
        items += [Item(v, name=f"{k} again {j}") for j, v in enumerate((exact, brighter, jitter, larger))]
    parts = split(items, held=0.2)
    assert leaks(parts) == []
    assert parts.clusters == 80
    assert parts.copies == 80
    side = {name.split()[0]: "train" for name in names(parts.train)}
    assert not [name for name in names(parts.held) if name.split()[0] in side]
    careless = split(items, held=0.2, group=False)
    assert {leak.why for leak in leaks(careless)} == {"same", "near"}


def test_different_pictures_are_not_taken_for_copies():
    digits = builtin.load("digits").items
    assert split(digits).clusters == len(digits)
    mirrored = [*noise(60), *[Item(i.value[:, ::-1], name=i.name + "m") for i in noise(60)]]
    assert split(mirrored).clusters == 120
    greys = [Item(np.full((8, 8, 1), v, np.uint8)) for v in range(0, 256, 15)]
    assert split(greys, held=0.3).clusters == len(greys)


def sentence(seed, n=60):
    made = np.random.default_rng(seed)
    return " ".join(f"w{k}" for k in made.integers(0, 500, n))


def test_exact_and_near_copies_of_texts_stay_together():
    items = [Item(sentence(k), name=f"{k}") for k in range(100)]
    for k in range(0, 100, 4):
        words = items[k].value.split()
        words[30] = "changed"
        items.append(Item(" ".join(words), name=f"{k} near"))
        items.append(Item("  " + items[k].value.upper().replace(" ", "\n"), name=f"{k} respaced"))
    parts = split(items, held=0.2)
    assert (parts.how, parts.clusters, parts.copies) == ("pieces", 100, 50)
    assert leaks(parts) == []
    held = {name.split()[0] for name in names(parts.held)}
    assert not held & {name.split()[0] for name in names(parts.train)}
    halves = [Item(sentence(1, 30) + " " + sentence(k, 90), name=str(k)) for k in range(40)]
    assert split(halves).clusters == 40  # a quarter in common is no copy


def test_texts_are_weighed_by_their_length():
    items = [Item(sentence(k, 20 + 300 * (k % 10 == 0)), name=str(k)) for k in range(200)]
    parts = split(items, held=0.1)
    share = sum(len(i.value) for i in parts.held) / sum(len(i.value) for i in items)
    assert share == pytest.approx(0.1, abs=0.01)


def test_equal_rows_stay_together_unless_rows_repeat_by_nature():
    some = [Item({"a": i % 90, "b": "x"}, name=str(i)) for i in range(100)]
    parts = split(some, held=0.2)
    assert parts.copies == 10
    assert not {i.value["a"] for i in parts.train} & {i.value["a"] for i in parts.held}
    coarse = [Item({"a": i % 3 == 0, "b": i % 2}, name=str(i)) for i in range(300)]
    parts = split(coarse, held=0.2)
    assert len(parts.held) == 60
    share = np.mean([i.value["a"] for i in parts.held])
    assert share == pytest.approx(1 / 3, abs=0.15)


def test_one_long_text_is_cut_by_position_at_a_blank_line():
    paragraphs = [f"Paragraph {k}.\nIts second line." for k in range(400)]
    text = "\n\n".join(paragraphs)
    parts = split([Item(text, name="book")], held=0.1, test=0.05)
    assert parts.how == "position"
    assert "".join(p[0].value for p in (parts.train, parts.held, parts.test)) == text
    assert parts.train[0].value.endswith("\n\n")
    assert parts.held[0].value.startswith("Paragraph ")
    assert [len(p[0].value) / len(text) for p in (parts.train, parts.held, parts.test)] == pytest.approx(
        [0.85, 0.1, 0.05], abs=0.01
    )
    few = split([Item(text + str(k), name=str(k)) for k in range(3)], held=0.1)
    assert [len(p) for p in (few.train, few.held)] == [3, 3]
    flat = split([Item("abc " * 500)], held=0.1)
    assert len(flat.held[0].value) == pytest.approx(200, abs=5)


def test_nothing_held_and_no_pieces_and_impossible_shares():
    items = noise(5)
    assert split(items, held=0) == Split(items, [], [], clusters=5)
    for arguments in ({"held": 1.0}, {"held": -0.1}, {"held": 0.6, "test": 0.5}):
        with pytest.raises(DataError, match="cannot keep back"):
            split(items, **arguments)
    with pytest.raises(DataError, match="no pieces"):
        split([])
    with pytest.raises(DataError, match="5 pieces are only 1 different"):
        split([items[0]] * 5)
    with pytest.raises(DataError, match="characters of text are too few"):
        split([Item("a")])


def test_a_few_pieces_fill_every_part():
    for n in (3, 4, 7):
        parts = split(noise(n), held=0.1, test=0.1)
        assert (len(parts.held), len(parts.test)) == (1, 1)


def test_a_large_cluster_never_empties_training():
    items = [Item({"a": i}, name=str(i), group="big" if i < 80 else None) for i in range(100)]
    for seed in range(20):
        parts = split(items, held=0.1, seed=seed)
        assert "big" in {item.group for item in parts.train}
        assert len(parts.held) == 10


def test_many_pictures_take_seconds():
    made = np.random.default_rng(0).integers(0, 256, (20_000, 8, 8, 1), dtype=np.uint8)
    items = [Item(v) for v in made]
    began = time.process_time()
    parts = split(items)
    assert time.process_time() - began < 10
    assert len(parts.held) == 2000
