"""Semi-supervised GAN: the paper's losses, labels that are seldom, a class that can be asked for, and 50 labels that go far."""

from __future__ import annotations

import statistics

import pytest
import torch
import torch.nn.functional as F

from bottega.codecs.image import ImageCodec
from bottega.core import Batch, Encoded, RecipeError, Rng, Spec, SpecError
from bottega.data import builtin
from bottega.data.splits import few_labels, split
from bottega.data.stream import Stream, lift_labelled
from bottega.families.ssgan import SSGAN
from bottega.training.ema import Ema
from bottega.training.loop import fit
from bottega.training.optim import make_optims

THREE = Spec((2,), cond=Spec((), vocab=3))


def ssgan(spec=THREE, seed=0, **settings):
    torch.manual_seed(seed)
    return SSGAN(spec, **{"size": 8, **settings})


def test_the_critics_losses_are_those_of_k_plus_one_classes():
    """Section 5: cross-entropy over K + 1 logits of which the last is 0; D(x) is what is not "made"."""
    model = ssgan(noise=0.0)
    batch = Batch(Rng(0).normal(6, 2), torch.tensor([0, -1, 2, -1, -1, 1]))
    rng = Rng(1)
    made, _ = model._make(6, None, rng)

    def log_p(x):
        logits = model._see(x, None)[1]
        return torch.cat([logits, torch.zeros(6, 1)], 1).log_softmax(1)

    parts = model.critic_loss(batch, Rng(1)).parts
    free = torch.tensor([0.0, 2.0, 0.0, 2.0, 2.0, 0.0])  # rows without a class stand for all
    torch.testing.assert_close(parts["real"], -free * (1 - log_p(batch.x)[:, 3].exp()).log())
    torch.testing.assert_close(parts["fake"], -log_p(made)[:, 3])
    among_real = log_p(batch.x)[:, :3].log_softmax(1)
    want = torch.where(batch.cond >= 0, -among_real.gather(1, batch.cond.clamp_min(0)[:, None])[:, 0], 0.0)
    torch.testing.assert_close(parts["label"], 2 * want)  # 3 of 6 rows speak for all
    torch.testing.assert_close(model.classify(batch), among_real)


def test_the_generator_matches_means_of_features():
    model = ssgan(noise=0.0)
    batch = Batch(Rng(0).normal(8, 2), torch.arange(8) % 3)
    made, y = model._make(8, batch.cond, Rng(1))
    features = lambda x: F.silu(model.critic["body"](x)).mean(0)  # noqa: E731
    parts = model.generator_loss(batch, Rng(1)).parts
    torch.testing.assert_close(parts["match"], (features(made) - features(batch.x)).square().sum().expand(8))
    torch.testing.assert_close(parts["class"], -model.classify(Batch(made)).gather(1, y[:, None])[:, 0])


def test_three_clusters_with_one_label_each_are_named_and_made():
    """Clusters far apart: what one label says of its cluster holds for all of it."""
    centres = torch.tensor([[0.0, 0.7], [0.7, -0.5], [-0.7, -0.5]])
    y = Rng(0).integers(3, 600)
    x = centres[y] + 0.06 * Rng(1).normal(600, 2)
    seen = torch.full_like(y, -1)
    for k in range(3):
        seen[(y == k).nonzero()[0]] = k
    model = ssgan(size=16, latent=4)
    optims = make_optims(model, 250, {"lr": 2e-3, "beta1": 0.5, "weight_decay": 0.0})
    fit(model, Stream(Encoded(Batch(x, seen)), 200), optims, steps=250, rng=Rng(0))
    assert (model.classify(Batch(x)).argmax(1) == y).float().mean() > 0.97
    asked = torch.arange(3).repeat(100)
    made = model.eval().sample(300, Rng(2), asked)
    assert (torch.cdist(made, centres).argmin(1) == asked).float().mean() > 0.9
    assert (model.sample(300, Rng(3), torch.full((300,), -1))[:, 1] > 0.1).float().mean() == pytest.approx(
        1 / 3, abs=0.12
    )


@pytest.mark.slow
def test_fifty_labels_and_the_rest_without_beat_fifty_labels():
    """Row C7: 5 labels a class on digits, against the same critic in the same noise on the labelled alone.

    The latter at the best of three settings, chosen by what it is measured on. Seen with three choices of the 50: 3.6, 8.9
    and 4.8 points.
    """
    parts = split(builtin.load("digits").items, 0.2)
    gains = []
    for seed in range(3):
        few = few_labels(parts.train, 5, seed)
        codec = ImageCodec(size=0).fit(few)
        rows, held = codec.encode(few), codec.encode(parts.held)
        known = rows.take(rows.cond >= 0)
        assert len(known) == 50
        right = lambda m: (m.classify(held).argmax(1) == held.cond).float().mean().item()  # noqa: E731
        model, alone = ssgan(codec.spec, seed, size=16), []
        ema, optims = Ema(model, 0.99), make_optims(model, 1200, {"lr": 3e-3, "beta1": 0.5, "weight_decay": 0.0})
        stream = Stream(lift_labelled(Encoded(rows), model.labelled_share), 64)
        fit(model, stream, optims, steps=1200, rng=Rng(seed), ema=ema)
        Ema.load(model, ema.shadow)
        for lr, steps in ((1e-3, 200), (3e-3, 200), (1e-3, 600)):
            plain, rng = ssgan(codec.spec, seed, size=16), Rng(seed)
            optim = torch.optim.AdamW(plain.critic.parameters(), lr)
            for _ in range(steps):
                optim.zero_grad()
                F.cross_entropy(plain._see(known.x, rng)[1], known.cond).backward()
                optim.step()
            alone.append(right(plain))
        gains.append(right(model) - max(alone))
    assert statistics.mean(gains) >= 0.05, gains


def test_what_it_refuses():
    for spec in (Spec((2,)), Spec((2,), cond=Spec((4,))), Spec((8,), vocab=5, cond=Spec((), vocab=3))):
        with pytest.raises(SpecError, match="use family"):
            ssgan(spec)
    for wrong in ({"size": 0}, {"latent": -1}, {"noise": -1.0}, {"steer": 0.0}):
        with pytest.raises(RecipeError, match=rf"family.*{next(iter(wrong))}"):
            ssgan(**wrong)
