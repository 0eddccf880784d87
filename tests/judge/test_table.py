"""Table judges: a perfect generator reaches the ceiling, broken ones are told from it in the way they are broken."""

import numpy as np
import pytest
import torch

from bottega.codecs.table import TableCodec
from bottega.core import Item
from bottega.data import worlds
from bottega.judge import table_fidelity, table_utility
from bottega.judge._case import Case
from bottega.judge._rows import Features


def case_of(fake, held, train, target="umbrella", **arguments):
    codec = TableCodec(target=target, **arguments).fit([*train, *held])
    batch = codec.encode(fake)
    return Case(
        medium="table", spec=codec.spec, train=codec.encode(train), held=codec.encode(held), samples=batch.x,
        sample_cond=batch.cond, decode=codec.decode, facts={"target": target} if target else {},
    )  # fmt: skip


@pytest.fixture(scope="module")
def parts():
    items = worlds.load("dependence", n=1500, seed=5).items
    return items[:500], items[500:1000], items[1000:]


def changed(items, seed=0, **columns):
    """Rows with some columns replaced by ``f(values, rng)``."""
    rng = np.random.default_rng(seed)
    rows = [dict(item.value) for item in items]
    for name, change in columns.items():
        for row, value in zip(rows, change([row[name] for row in rows], rng), strict=True):
            row[name] = value
    return [Item(row) for row in rows]


def shuffle(values, rng):
    return [values[i] for i in rng.permutation(len(values))]


def named(measures):
    return {m.name: m for m in measures}


@pytest.mark.slow
def test_more_of_the_same_reaches_the_ceiling(parts):
    fake, held, train = parts
    case = case_of(fake, held, train)
    found = named(table_fidelity.measure(case) + table_utility.measure(case))
    assert found["marginal_distance"].value == pytest.approx(found["marginal_distance"].ceiling, abs=0.02)
    assert found["pair_distance"].value == pytest.approx(found["pair_distance"].ceiling, abs=0.02)
    assert found["detection_auc"].value == pytest.approx(0.5, abs=0.05)
    assert found["utility_f1"].value == pytest.approx(found["utility_f1"].ceiling, abs=0.06)
    for measure in found.values():
        assert measure.low <= measure.value <= measure.high
        assert measure.high - measure.low < 0.2
        assert measure.n > 0
        assert measure.note
    again = named(table_fidelity.measure(case) + table_utility.measure(case))
    assert again == found


def test_columns_made_apart_keep_marginals_and_lose_pairs_and_use(parts):
    fake, held, train = parts
    apart = changed(fake, **dict.fromkeys(fake[0].value, shuffle))
    good, bad = (
        named(table_fidelity.measure(c) + table_utility.measure(c))
        for c in (case_of(fake, held, train), case_of(apart, held, train))
    )
    assert bad["marginal_distance"].value == pytest.approx(good["marginal_distance"].value, abs=1e-6)
    assert bad["pair_distance"].low > good["pair_distance"].high
    assert bad["detection_auc"].low > 0.8
    assert bad["utility_f1"].high < good["utility_f1"].low


def test_a_false_marginal_is_named(parts):
    fake, held, train = parts
    shifted = changed(fake, temperature=lambda v, _: [x / 2 + 5 for x in v])
    found = named(table_fidelity.measure(case_of(shifted, held, train)))
    assert ": temperature 0." in found["marginal_distance"].note
    assert found["marginal_distance"].low > found["marginal_distance"].ceiling


def test_one_class_only_is_useless_and_does_not_crash(parts):
    fake, held, train = parts
    never = changed(fake, umbrella=lambda v, _: [False] * len(v))
    (measure,) = table_utility.measure(case_of(never, held, train))
    assert measure.name == "utility_f1"
    assert measure.value == 0
    assert measure.ceiling > 0.7


@pytest.mark.parametrize(("target", "name"), [("weather", "utility_accuracy"), ("length", "utility_r2")])
def test_other_targets(parts, target, name):
    (measure,) = table_utility.measure(case_of(*parts, target=target))
    assert measure.name == name
    assert 0.2 < measure.value <= 1
    assert measure.value == pytest.approx(measure.ceiling, abs=0.1)


def test_conditional_tables_are_judged_too(parts):
    found = named(table_utility.measure(case_of(*parts, target="umbrella", cond="umbrella")))
    assert found["utility_f1"].value > 0.6


def test_no_target_no_utility(parts):
    assert table_utility.measure(case_of(*parts, target="")) == []


def test_marginals_by_hand():
    rows = [{"n": n, "c": c} for n, c in ((1, "a"), (2, "a"), (3, "b"), (None, "b"))]
    other = [{"n": n, "c": c} for n, c in ((1, "a"), (1, "a"), (1, "a"), (3, None))]
    features = Features.of(rows, other)
    found = table_fidelity.marginal_distances(features, features.matrix(other), features.matrix(rows))
    assert found["n"] == pytest.approx(3 / 4 - 1 / 3)  # at 1: 3 of 4 against 1 of 3
    assert found["c"] == pytest.approx((1 / 4 + 2 / 4 + 1 / 4) / 2)


def test_cramers_v_by_hand():
    a, b = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])
    c = np.array([0, 1, 0, 1])
    v = table_fidelity._cramers_v([a, b, c], [3, 3, 3])
    assert v == pytest.approx(np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]]), abs=1e-6)
    rng = np.random.default_rng(0)
    x, y = rng.integers(3, size=500), rng.integers(4, size=500)
    y = np.where(rng.random(500) < 0.3, x, y)
    from scipy.stats.contingency import association

    table = np.zeros((3, 4), int)
    np.add.at(table, (x, y), 1)
    assert table_fidelity._cramers_v([x, y], [4, 5])[0, 1] == pytest.approx(association(table, "cramer"), abs=1e-5)


def test_detection_sees_a_copy_of_other_rows_as_real():
    rng = np.random.default_rng(0)
    rows = [{"x": float(v), "y": "ab"[int(v > 0)]} for v in rng.normal(size=400)]
    far = [{"x": row["x"] + 9, "y": row["y"]} for row in rows[:200]]
    features = Features.of(rows, far)
    real, moved = features.matrix(rows), features.matrix(far)
    assert table_fidelity.detection_auc(features, real[:200], real[200:], 0)[0] == pytest.approx(0.5, abs=0.1)
    assert table_fidelity.detection_auc(features, moved, real[200:], 0)[0] > 0.99


def test_gaps_do_not_stop_a_judge():
    rng = np.random.default_rng(1)
    items = [
        Item(
            {"x": None if rng.random() < 0.3 else float(rng.normal()), "y": None if rng.random() < 0.3 else "ab"[i % 2]}
        )
        for i in range(300)
    ]
    case = case_of(items[:100], items[100:200], items[200:], target="y")
    found = named(table_fidelity.measure(case) + table_utility.measure(case))
    assert found.keys() == {"marginal_distance", "pair_distance", "detection_auc", "utility_f1"}
    assert all(np.isfinite(m.value) for m in found.values())
    assert torch.is_tensor(case.samples)


def test_hardly_any_rows_stop_no_judge(parts):
    fake, held, train = parts
    found = named(table_fidelity.measure(case_of(fake[:3], held[:1], train[:20])))
    assert "marginal_distance" in found
    assert "detection_auc" not in found


def test_a_target_that_is_never_made_has_no_use():
    rows = [Item({"x": i, "y": None if i % 4 == 0 else "ab"[i % 2]}) for i in range(80)]
    fake = changed(rows[:20], y=lambda values, _: [None] * len(values))
    assert table_utility.measure(case_of(fake, rows[20:50], rows[50:], target="y")) == []
