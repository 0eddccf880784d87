"""Copies are caught and fresh real data passes, for points, pictures, text and table rows."""

from __future__ import annotations

import pytest
import torch

from bottega.core import Batch, Block, Rng, Spec
from bottega.judge import Case
from bottega.judge.memorisation import copied_runs, measure

BLOCKS = (Block("age", "scalar", 0, 1), Block("work", "choice", 1, 3), Block("pay", "mixture", 4, 3))


def _points(n, rng):
    angle = rng.uniform(n) * 6.2832
    return 0.8 * torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * rng.normal(n, 2)


def _table(n, rng):
    one = torch.nn.functional.one_hot
    group = rng.integers(3, n)
    mode = (rng.uniform(n) < 0.3).long()
    numbers = torch.stack([0.2 * rng.normal(n) + 0.3 * group, 0.3 * rng.normal(n)], 1)
    return torch.cat([numbers[:, :1], one(group, 3).float(), numbers[:, 1:], one(mode, 2).float()], 1)


def _text(n, rng):
    rows = [torch.zeros(n, dtype=torch.long)]
    for _ in range(39):  # a Markov chain over 12 letters
        step = torch.where(rng.uniform(n) < 0.8, rng.integers(2, n) + 1, rng.integers(12, n))
        rows.append((rows[-1] + step) % 12)
    return torch.stack(rows, 1)


def _pictures(n, rng):
    """Smooth blobs, on levels 0..16."""
    grid = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij"))
    x = torch.zeros(n, 8, 8)
    for _ in range(3):
        at = rng.uniform(n, 2, 1, 1) * 8
        x += (-(grid - at).square().sum(1) / (1 + 3 * rng.uniform(n, 1, 1))).exp()
    return (x.clamp(0, 1) * 16).round().long()[:, None]


WORLDS = {
    "points": (_points, Spec((2,))),
    "table": (_table, Spec((7,), blocks=BLOCKS)),
    "text": (_text, Spec((40,), vocab=12)),
    "image": (_pictures, Spec((1, 8, 8), vocab=17, ordinal=True)),
}


@pytest.fixture(scope="module")
def judged():
    caches = {}

    def of(name, change):
        make, spec = WORLDS[name]
        x = make(900, Rng(0))
        train, held, fresh = x[:500], x[500:700], x[700:]
        facts = {"features": lambda p: p.flatten(1)} if name == "image" else {}  # the network is tested elsewhere
        cache = {k: v for k, v in caches.get(name, {}).items() if k != "features of samples"}
        case = Case(name, spec, Batch(train), Batch(held), change(train, fresh), facts=facts, cache=cache)
        found = {m.name: m for m in measure(case)}
        caches[name] = case.cache
        return found

    return of


@pytest.mark.parametrize("name", WORLDS)
def test_fresh_real_data_pass(judged, name):
    found = judged(name, lambda train, fresh: fresh)
    assert found["memorised_share"].value <= found["memorised_share"].ceiling + 0.03
    assert found["closer_share"].low <= 0.05 + 0.02
    assert found["memorisation_auc"].low <= 0.5 <= found["memorisation_auc"].high
    for m in found.values():
        assert m.low <= m.value <= m.high
        assert m.n == 200
        assert m.note


@pytest.mark.parametrize("name", WORLDS)
def test_copies_are_caught(judged, name):
    found = judged(name, lambda train, fresh: train[:200])
    assert found["memorised_share"].low > 0.95
    assert found["closer_share"].low > 0.9
    assert found["memorisation_auc"].value > 0.95


@pytest.mark.parametrize("name", WORLDS)
def test_one_copy_in_five_is_seen(judged, name):
    found = judged(name, lambda train, fresh: torch.cat([train[:40], fresh[:160]]))
    assert found["memorised_share"].low > found["memorised_share"].ceiling + 0.05
    assert found["closer_share"].low > 0.05


def test_nearly_copied_pictures_are_caught(judged):
    noise = torch.randint(-1, 2, (200, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    found = judged("image", lambda train, fresh: (train[:200] + noise).clamp(0, 16))
    assert found["memorised_share"].low > 0.5
    assert found["closer_share"].low > 0.5


def test_text_copied_at_another_offset_and_with_typing_errors(judged):
    def shifted(train, fresh):
        return torch.cat([train[:200, 7:], fresh[:, :7]], 1)

    assert judged("text", shifted)["memorised_share"].low > 0.95

    def mistyped(train, fresh):
        x = train[:200].clone()
        x[:, ::13] = fresh[:, ::13]
        return x

    found = judged("text", mistyped)
    assert found["closer_share"].low > 0.15
    assert found["memorisation_auc"].low > 0.7


def test_noise_is_not_memorised(judged):
    found = judged("points", lambda train, fresh: Rng(9).uniform(200, 2) * 8 - 4)
    assert found["memorised_share"].value == 0
    assert found["closer_share"].value < 0.05
    assert found["memorisation_auc"].high < 0.5


def test_copied_runs_equal_a_plain_search():
    rng = Rng(0)
    train, x = rng.integers(3, 12, 30), rng.integers(3, 8, 20)
    train[0, 25:] = -1
    x[0, 15:] = -1
    runs = copied_runs(x, train)
    text = [",".join(map(str, row[row >= 0].tolist())) + "," for row in train]
    sizes = [0, 1, 2, 3, 4, 6, 8, 12, 16]
    for row, found in zip(x, runs, strict=True):
        tokens = row[row >= 0].tolist()
        for i in range(20):
            longest = 0
            for n in range(1, len(tokens) - i + 1):
                if any(",".join(map(str, tokens[i : i + n])) + "," in line for line in text):
                    longest = n
            assert found[i] == max(s for s in sizes if s <= longest)
