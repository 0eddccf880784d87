"""Features of every medium: the right examples are near each other, and damage moves the distance."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from bottega.core import Batch, Block, Rng, Spec
from bottega.judge import Case
from bottega.judge._features import features, features_of, words
from bottega.judge._nets import ConvNet, fit
from bottega.judge._recogniser import recogniser
from bottega.judge.frechet import measure as frechet

SENTENCE = "the old workshop made bells and books and boats for the town by the river "


def _text(seed, n=200, length=60):
    """Windows of a repeated sentence whose words are drawn anew."""
    words = SENTENCE.split()
    order = Rng(seed).integers(len(words), n, 40)
    rows = [" ".join(words[i] for i in row)[:length] for row in order.tolist()]
    return torch.tensor([list(row.encode()) for row in rows])


def test_text_damage_moves_the_distance():
    spec = Spec((60,), vocab=256)
    train, held = Batch(_text(0, 400)), Batch(_text(1))

    def distance(x):
        return frechet(Case("text", spec, train, held, x))[0]

    fair = distance(_text(2))
    assert fair.value < 1.5 * fair.ceiling
    values = []
    for share in (0.02, 0.1, 0.4, 1.0):
        x = _text(2)
        typed = torch.where(Rng(3).uniform(*x.shape) < share, Rng(4).integers(26, *x.shape) + 97, x)
        values.append(distance(typed).value)
    assert values == sorted(values)
    assert values[1] > 3 * fair.value
    scrambled = torch.stack([row[Rng(i).permutation(60)] for i, row in enumerate(_text(2))])  # the same letters
    assert distance(scrambled).low > 5 * fair.value


def test_padding_is_left_out_of_samples_too():
    end = 9
    spec = Spec((6,), vocab=10)
    rows = torch.tensor([[1, 2, 3, end, end, end], [4, end, end, end, end, end]])
    mask = torch.arange(6) < torch.tensor([[4], [2]])
    case = Case("text", spec, Batch(rows, None, mask), Batch(rows, None, mask), torch.tensor([[5, 6, end, 7, 7, end]]))
    assert words(case, "samples").tolist() == [[5, 6, end, -1, -1, -1]]
    assert words(case, "held").tolist()[1] == [4, end, -1, -1, -1, -1]
    # windows over documents in a line: the end stands between them and ends nothing
    stream = torch.tensor([[1, end, 3, 4, 5, end], [4, 5, end, end, end, end]])
    case = Case("text", spec, Batch(stream, None, torch.arange(6) < torch.tensor([[6], [3]])), case.held, case.samples)
    assert words(case, "samples").tolist() == case.samples.tolist()


def test_table_columns_weigh_alike_in_both_forms():
    rng, n = Rng(0), 4000
    number, group = rng.normal(n) * 0.2, (rng.uniform(n, 1) > torch.tensor([0.5, 0.8])).sum(1)
    real = torch.cat([number[:, None], F.one_hot(group, 3)], 1)
    spec = Spec((4,), blocks=(Block("pay", "scalar", 0, 1), Block("work", "choice", 1, 3)))
    case = Case("table", spec, Batch(real), Batch(real), real)
    found = features(case, real)
    assert found.shape == (n, 4)
    assert found[:, 0].var() == pytest.approx(1, abs=0.01)
    assert found[:, 1:].var(0).sum() == pytest.approx(1, abs=0.01)
    level = ((number.clamp(-1, 1) + 1) / 2 * 49).round().long()
    tokens = torch.stack([level, 50 + group], 1)
    blocks = (Block("pay", "scalar", 0, 50), Block("work", "choice", 50, 3))
    case = Case("table", Spec((2,), vocab=53, blocks=blocks), Batch(tokens), Batch(tokens), tokens)
    assert torch.allclose(features(case, tokens), found, atol=0.2)


def test_the_users_own_features_are_used_on_real_pictures():
    spec = Spec((1, 2, 2), vocab=3, ordinal=True)
    x = torch.tensor([[[[0, 1], [2, 2]]]])
    case = Case("image", spec, Batch(x), Batch(x), x, facts={"features": lambda p: p.flatten(1) * 10})
    assert features(case, x).tolist() == [[-10, 0, 10, 10]]


@pytest.mark.parametrize("shape", [(3, 70, 40), (1, 4, 4), (4, 33, 33)])
def test_pictures_of_any_size_fit(shape):
    net = ConvNet(shape, 5)
    assert net(torch.zeros(2, *shape)).shape == (2, 5)
    assert net.features(torch.zeros(2, *shape)).shape == (2, 64 + 128)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 5), (1, 100, 1)])
def test_pictures_a_pixel_wide_have_features(shape):
    x = Rng(0).uniform(20, *shape) * 2 - 1
    case = Case("image", Spec(shape), Batch(x), Batch(x), x)
    assert torch.isfinite(features_of(case, "train")).all()


def test_points_and_text_are_recognised_by_sklearn():
    rng = Rng(0)
    y = rng.integers(3, 600)
    x = rng.normal(600, 2) * 0.1 + torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])[y]
    spec = Spec((2,), cond=Spec((), vocab=3))
    eye = recogniser(Case("points", spec, Batch(x[:400], y[:400]), Batch(x[400:], y[400:]), x))
    assert eye.accuracy > 0.98
    assert eye.held == 200
    text = torch.cat([_text(0, 200), _text(1, 200).flip(1)])
    labels = torch.arange(400) // 200
    rows = rng.permutation(400)
    text, labels = text[rows], labels[rows]
    spec = Spec((60,), vocab=256, cond=Spec((), vocab=2))
    eye = recogniser(Case("text", spec, Batch(text[:300], labels[:300]), Batch(text[300:], labels[300:]), text))
    assert eye.accuracy > 0.95


@pytest.mark.slow
def test_pictures_without_labels():
    data = load_digits()
    x = torch.tensor(data.images).float()[Rng(0).permutation(1797)][:, None] / 8 - 1
    cache: dict = {}

    def distance(samples):
        kept = {k: v for k, v in cache.items() if k != "features of samples"}
        case = Case("image", Spec((1, 8, 8)), Batch(x[:1000]), Batch(x[1000:1400]), samples, cache=kept)
        found = frechet(case)[0]
        cache.update(case.cache)
        return found

    fresh = x[1400:]
    fair = distance(fresh)
    assert fair.value < 1.6 * fair.ceiling
    values = [distance(fresh + s * Rng(1).normal(*fresh.shape)).value for s in (0.1, 0.2, 0.4, 0.8)]
    assert values == sorted(values)
    ones = x[1000:1400][torch.tensor(data.target)[Rng(0).permutation(1797)][1000:1400] == 1]
    assert distance(ones.repeat(10, 1, 1, 1)[:397]).low > 5 * fair.value
    assert distance(fresh.flip(2)).low > 5 * fair.value


@pytest.mark.slow
def test_relu_and_dropout_ablation():
    """Row A5: at least 97 % on held-out digits; the network needs its non-linearity, and dropout does not cost it."""
    data = load_digits()
    order = Rng(0).permutation(1797)
    x, y = torch.tensor(data.images).float()[order][:, None] / 8 - 1, torch.tensor(data.target)[order]

    def accuracy(seed, **how):
        torch.random.default_generator.manual_seed(seed)
        net = ConvNet((1, 8, 8), 10, **how)

        def loss(rng):
            rows = rng.integers(1000, 64)
            return F.cross_entropy(net(x[rows], rng), y[rows])

        fit(net, loss, Rng(seed), 150)
        with torch.no_grad():
            return (net(x[1000:]).argmax(1) == y[1000:]).float().mean().item()

    with torch.random.fork_rng(devices=[]):
        full = [accuracy(s, dropout=0.3) for s in range(3)]
        without = [accuracy(s, dropout=0.0) for s in range(3)]
        linear = [accuracy(s, dropout=0.3, activation=lambda h: h) for s in range(3)]
    assert min(full) >= 0.97
    assert sum(full) / 3 > sum(linear) / 3 + 0.005
    assert sum(full) / 3 > sum(without) / 3 - 0.01
