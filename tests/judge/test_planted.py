"""Digits with the local networks: fresh real data passes, and every planted failure is caught by the right measure."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from bottega.core import Batch, Rng, Spec
from bottega.judge import Case, run_all
from bottega.judge._nets import data_key
from bottega.judge.inception_score import inception_score

SPEC = Spec((1, 8, 8), vocab=17, ordinal=True, cond=Spec((), vocab=10))


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    x, y = torch.tensor(data.images).long()[:, None], torch.tensor(data.target)
    order = Rng(0).permutation(len(x))
    return x[order], y[order]


@pytest.fixture(scope="module")
def judge(digits, tmp_path_factory):
    x, y = digits
    train, held = Batch(x[:1000], y[:1000]), Batch(x[1000:1400], y[1000:1400])
    shared: dict = {}

    def of(samples, cond=None):
        cache = {k: v for k, v in shared.items() if k != "features of samples"}
        facts = {"cache_dir": tmp_path_factory.getbasetemp() / "judge"}
        case = Case("image", SPEC, train, held, samples, cond, cache=cache, facts=facts)
        found, _ = run_all(case)
        shared.update(case.cache)
        return {m.name: m for m in found}

    return of


def test_fresh_real_digits_pass(judge, digits):
    x, y = digits
    found = judge(x[1400:], y[1400:])
    assert found["frechet_distance"].value < 2 * found["frechet_distance"].ceiling
    for name in ("precision", "recall", "coverage", "recognised", "class_agreement", "class_evenness"):
        assert found[name].value > found[name].ceiling - 0.08, found[name]
    assert found["class_agreement"].ceiling >= 0.97  # row A5
    assert found["classes_present"].value == 10
    assert found["memorised_share"].value <= found["memorised_share"].ceiling + 0.02
    assert found["memorisation_auc"].low < 0.5 < found["memorisation_auc"].high
    assert found["inception_score"].value == pytest.approx(found["inception_score"].ceiling, rel=0.1)
    assert found["value_js_nats"].value < 0.01
    for m in found.values():
        assert m.n
        assert m.note
        assert m.low is None or m.low <= m.value <= m.high


def test_noise_is_caught(judge):
    found = judge(Rng(1).integers(17, 300, 1, 8, 8))
    assert found["precision"].high < 0.05
    assert found["recognised"].high < 0.05
    assert found["frechet_distance"].low > 20 * found["frechet_distance"].ceiling
    assert found["inception_score"].value < 1.5 < found["inception_score"].ceiling
    assert found["value_js_nats"].low > 0.1
    assert found["memorised_share"].value == 0


def test_shuffled_and_blended_digits_are_not_recognised(judge, digits):
    x, _ = digits
    fresh = x[1400:]
    blended = (fresh + fresh.roll(1, 0)) // 2
    assert judge(blended)["recognised"].high < 0.4
    shuffled = fresh.flatten(1)[:, Rng(2).permutation(64)].view_as(fresh)
    assert judge(shuffled)["recognised"].high < 0.1


def test_lost_classes_are_caught(judge, digits):
    x, y = digits
    found = judge(x[1400:][y[1400:] == 3].repeat(8, 1, 1, 1)[:300])
    assert found["recognised"].value > 0.8  # each one is a fine digit
    assert found["precision"].value > 0.8
    assert found["classes_present"].value <= 2
    assert found["class_evenness"].value < 0.2
    assert found["rarest_class_share"].value == 0
    assert found["recall"].high < 0.3
    assert found["inception_score"].high < 2
    assert found["duplicate_share"].low > 0.5
    assert found["diversity"].high < 0.9


def test_copied_training_digits_are_caught_where_quality_measures_are_fooled(judge, digits):
    x, _ = digits
    found = judge(x[:300])
    assert found["frechet_distance"].value < 1.5 * found["frechet_distance"].ceiling
    assert found["precision"].value == 1
    assert found["memorised_share"].low > 0.95
    assert found["closer_share"].low > 0.95


def test_wrong_class_is_caught(judge, digits):
    x, y = digits
    assert judge(x[1400:], (y[1400:] + 1) % 10)["class_agreement"].high < 0.1


def test_frechet_grows_with_noise(judge, digits):
    x, _ = digits
    fresh = x[1400:]
    values = []
    for strength in (1, 2, 4, 8):
        noisy = (fresh + strength * Rng(3).normal(*fresh.shape)).round().long().clamp(0, 16)
        values.append(judge(noisy)["frechet_distance"].value)
    assert values == sorted(values)
    assert values[-1] > 5 * values[0]


def test_networks_are_kept_on_disk_and_give_the_same_features(judge, digits, tmp_path_factory):
    from bottega.judge._features import features

    x, y = digits
    judge(x[1400:1420])
    folder = tmp_path_factory.getbasetemp() / "judge"
    train = Batch(x[:1000], y[:1000])
    case = Case("image", SPEC, train, train, x[:9], facts={"cache_dir": folder})
    path = folder / f"feature_net-{data_key(case)}.safetensors"
    assert path.exists()
    before = path.stat().st_mtime_ns
    found = features(case, x[:9])
    assert path.stat().st_mtime_ns == before
    other = Case("image", SPEC, train, train, x[:9], facts={"cache_dir": folder})
    assert torch.equal(found, features(other, x[:9]))
    assert data_key(Case("image", SPEC, Batch(x[:999], y[:999]), train, x[:9])) != data_key(case)


def test_formula_of_the_inception_score():
    assert inception_score(torch.eye(7).repeat(3, 1)) == pytest.approx(7)
    assert inception_score(torch.full((5, 7), 1 / 7)) == pytest.approx(1)
    two = torch.tensor([[0.9, 0.1], [0.1, 0.9]]).double()
    kl = 0.9 * torch.tensor(1.8).log() + 0.1 * torch.tensor(0.2).log()
    assert inception_score(two) == pytest.approx(kl.exp().item(), rel=1e-6)
