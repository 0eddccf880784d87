"""DCGAN: the book's networks layer by layer, batch normalisation that leaves a loss without traces, and what it learns."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bottega.core import Batch, Encoded, RecipeError, Rng, Spec, SpecError
from bottega.data.stream import Stream
from bottega.families.dcgan import DCGAN
from bottega.nets.dcgan import BatchNorm, UpConv
from bottega.training.loop import fit
from bottega.training.optim import make_optims

COLOUR = Spec((3, 32, 32))


def made(spec=COLOUR, seed=0, **settings):
    torch.manual_seed(seed)
    return DCGAN(spec, **settings)


def the_books_generator(ours):
    """Ch. 22's listing in plain torch, with the weights of ``ours``."""
    net = ours.generator.net
    plain = nn.Sequential(
        nn.Linear(100, 256 * 8 * 8), nn.ReLU(), nn.Unflatten(1, (256, 8, 8)),
        nn.Upsample(scale_factor=2), nn.Conv2d(256, 128, 5, padding=2), nn.BatchNorm2d(128, eps=1e-3), nn.ReLU(),
        nn.Upsample(scale_factor=2), nn.Conv2d(128, 64, 5, padding=2), nn.BatchNorm2d(64, eps=1e-3), nn.ReLU(),
        nn.Conv2d(64, 3, 5, padding=2), nn.Tanh(),
    )  # fmt: skip
    pairs = [(0, net.first), (4, net.up[0]), (5, net.norms[0]), (8, net.up[1]), (9, net.norms[1]), (11, net.last)]
    with torch.no_grad():
        for at, layer in pairs:
            plain[at].weight.copy_(layer.weight)
            plain[at].bias.copy_(layer.bias)
    return plain


def test_the_generator_is_the_books_listing_with_its_weights_and_gradients():
    ours = made()
    with torch.no_grad():
        for p in ours.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    # float64: in float32 a feature near the kink of a ReLU may fall on either side, and its whole gradient with it
    plain, z = the_books_generator(ours).double(), Rng(0).normal(6, 100).double()
    net = ours.double().generator.net
    a, b = net(z, True).double(), plain(z)  # ours ends in float32
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    a.square().sum().backward()
    b.square().sum().backward()
    torch.testing.assert_close(net.up[0].weight.grad, plain[4].weight.grad, rtol=1e-4, atol=1e-4)
    assert sum(p.numel() for p in ours.generator.parameters()) == sum(p.numel() for p in plain.parameters())


def test_the_critic_is_the_books_listing():
    ours = made(dropout=0.0).critic
    plain = nn.Sequential(
        nn.Conv2d(3, 64, 5, 2, padding=2), nn.LeakyReLU(0.2), nn.Conv2d(64, 128, 5, 2, padding=2), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(8192, 1),
    )  # fmt: skip
    for at, layer in ((0, ours.body.convs[0]), (2, ours.body.convs[1]), (5, ours.score)):
        plain[at].load_state_dict(layer.state_dict())
    x = Rng(0).normal(4, 3, 32, 32)
    torch.testing.assert_close(ours(x, None, None, Rng(1)), plain(x)[:, 0], rtol=1e-4, atol=1e-5)


def test_the_critic_forgets_its_share_of_features_and_keeps_their_mean():
    critic, x = made(size=8).critic, Rng(0).normal(64, 3, 32, 32)
    whole = F.leaky_relu(critic.body.convs[0](x), 0.2)
    critic.body.convs[1] = nn.Identity()
    seen = critic.body(x, Rng(1)).view_as(whole)
    twice = F.leaky_relu(whole, 0.2)
    assert (seen == 0).float().mean().item() == pytest.approx(1 - 0.7**2, abs=0.01)
    assert (seen.mean() / twice.mean()).item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("side", [4, 5, 7])
def test_enlarging_and_convolving_are_one_smaller_convolution(side):
    torch.manual_seed(0)
    up, x = UpConv(3, 4), torch.randn(2, 3, side, side + 1)
    want = F.conv2d(F.interpolate(x, scale_factor=2), up.weight, up.bias, padding=2)
    torch.testing.assert_close(up(x), want, rtol=1e-4, atol=1e-5)


def test_running_statistics_move_in_settle_only_and_come_to_those_of_the_data():
    norm = BatchNorm(3, momentum=0.5)
    x = Rng(0).normal(64, 3, 8, 8) * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1) + 5
    torch.testing.assert_close(norm(x, True), F.batch_norm(x, None, None, training=True, eps=1e-3))
    assert torch.equal(norm.mean, torch.zeros(3))
    for _ in range(20):
        norm(x, True)
        norm.settle()
    torch.testing.assert_close(norm.mean, x.mean((0, 2, 3)), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(norm.var, x.var((0, 2, 3)), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(norm(x, False), norm(x, True), rtol=1e-2, atol=1e-2)
    norm._seen.clear()
    norm.eval()(x, True)
    assert not norm._seen, "a held-out loss leaves a trace"


def test_smoothing_is_cross_entropy_against_a_soft_label():
    model = made(Spec((1, 8, 8)), size=8, smooth=0.1, dropout=0.0)
    batch = Batch(Rng(0).normal(5, 1, 8, 8))
    f = model.critic(batch.x, None, None, Rng(1))
    want = F.binary_cross_entropy_with_logits(f, torch.full((5,), 0.9), reduction="none")
    torch.testing.assert_close(model.critic_loss(batch, Rng(1)).parts["real"], want)


@pytest.mark.slow
def test_it_learns_bright_and_dark_squares_by_class():
    spec = Spec((1, 8, 8), cond=Spec((), vocab=2))
    label = Rng(0).integers(2, 512)
    x = torch.full((512, 1, 8, 8), -0.8)
    x[label == 0, :, :4] = 0.8
    x[label == 1, :, :, :4] = 0.8
    batch = Batch((x + 0.05 * Rng(1).normal(*x.shape)).clamp(-1, 1), label)
    model = made(spec, size=16, latent=16)
    optims = make_optims(model, 300, {"lr": 1e-3, "beta1": 0.5, "weight_decay": 0.0})
    fit(model, Stream(Encoded(batch), 32), optims, steps=300, rng=Rng(0))
    asked = torch.arange(2).repeat_interleave(50)
    out = model.sample(100, Rng(3), asked)
    shapes = torch.stack([x[label == c].mean(0) for c in (0, 1)])
    near = (out[:, None] - shapes).square().flatten(2).mean(2)
    assert (near.argmin(1) == asked).float().mean() > 0.9
    assert near.min(1).values.mean() < 0.15


def test_what_it_refuses():
    with pytest.raises(SpecError, match="use family gan"):
        DCGAN(Spec((2,)))
    for wrong in ({"size": 0}, {"latent": 0}, {"dropout": 1.0}, {"smooth": 0.5}, {"norm": "layer"}, {"drop": 1.0}):
        with pytest.raises(RecipeError, match=rf"family.*{next(iter(wrong))}"):
            made(Spec((1, 8, 8)), **wrong)
