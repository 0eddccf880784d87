"""Convolutional bodies at any size, the body that suits a Spec, and spectral normalisation."""

import pytest
import torch

from bottega.core import Block, Rng, Spec
from bottega.nets.bodies import Critic, choices, decoder, encoder, finish
from bottega.nets.conv import ImageDecoder, ImageEncoder, levels
from bottega.nets.spectral import advance_spectrum, unit_spectrum

SIZES = [(1, 1, 1), (1, 2, 2), (1, 8, 8), (3, 9, 12), (1, 17, 16), (1, 28, 28), (3, 32, 32), (2, 15, 31), (3, 64, 64)]


@pytest.mark.parametrize("shape", SIZES)
def test_any_size_goes_in_and_comes_out(shape):
    torch.manual_seed(0)
    x = Rng(0).normal(2, *shape).requires_grad_()
    code = ImageEncoder(shape, 8, 5)(x)
    assert code.shape == (2, 5)
    (grad,) = torch.autograd.grad(code.square().sum(), x)
    assert (grad != 0).all(), "a pixel is not looked at"
    z = Rng(1).normal(2, 5).requires_grad_()
    picture = ImageDecoder(shape, 8, 5)(z)
    assert picture.shape == (2, *shape)
    for corner in (picture[:, :, 0, 0], picture[:, :, -1, -1]):
        (grad,) = torch.autograd.grad(corner.square().sum(), z, retain_graph=True)
        assert (grad != 0).all(), "a corner does not depend on the code"


def test_sizes_are_halved_until_the_shorter_side_is_below_eight():
    assert levels(64, 64) == [(32, 32), (16, 16), (8, 8), (4, 4)]
    assert levels(15, 31) == [(15, 31), (8, 16), (4, 8)]
    assert levels(7, 100) == [(7, 100)]


@pytest.mark.parametrize("spec", [Spec((1, 9, 9)), Spec((7,)), Spec((3, 4))])
@pytest.mark.parametrize("norm", [True, False])
def test_rows_do_not_see_each_other(spec, norm):
    torch.manual_seed(0)
    net = torch.nn.Sequential(encoder(spec, 8, 5, norm=norm), decoder(spec, 8, 5, 2, norm=norm))
    x = Rng(0).normal(4, *spec.shape)
    assert net(x).shape == (4, 2, *spec.shape)
    torch.testing.assert_close(net(x)[2:3], net(x[2:3]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", [Spec((1, 9, 9)), Spec((7,))])
def test_what_is_known_reaches_the_code(spec):
    torch.manual_seed(0)
    net, x = encoder(spec, 8, 5, context=3), Rng(0).normal(2, *spec.shape)
    assert not torch.allclose(net(x, torch.zeros(2, 3)), net(x, torch.ones(2, 3)), atol=1e-3)


def test_variance_neither_dies_nor_explodes_without_normalisation():
    torch.manual_seed(0)
    net = ImageEncoder((3, 64, 64), 16, 16, depth=3, norm=False)
    before = net.last
    net.last = torch.nn.Identity()
    out = net(Rng(0).normal(4, 3, 64, 64))
    assert before.weight.shape[1] == out.shape[1]
    assert 1e-3 < out.std() < 10


def test_a_critic_scores_by_projection():
    """f(x, c) - f(x, c') = (e(c) - e(c')) . phi(x) / sqrt(width)."""
    torch.manual_seed(0)
    critic = Critic(Spec((2,), cond=Spec((), vocab=3)), 4)
    x, one, two = Rng(0).normal(5, 2), torch.zeros(5).long(), torch.ones(5).long()
    phi = torch.nn.functional.silu(critic.body(x))
    embed = critic.known.embed.weight
    expected = phi @ (embed[0] - embed[1]) / 16**0.5
    torch.testing.assert_close(critic(x, one) - critic(x, two), expected)
    forgotten = critic(x, one, torch.ones(5, dtype=torch.bool))
    torch.testing.assert_close(forgotten, critic(x))


def test_finish_makes_examples_of_real_numbers():
    row = Spec((6,), blocks=(Block("a", "scalar", 0, 1), Block("b", "mixture", 1, 3), Block("c", "choice", 4, 2)))
    x = torch.tensor([[0.3, -0.2, 0.1, 0.7, 2.0, -1.0]])
    assert finish(row, x).tolist() == [pytest.approx([0.3, -0.2, 0, 1, 1, 0])]
    assert x[0, 3] == 0.7, "the argument was written to"
    assert list(choices(row)) == [slice(2, 4), slice(4, 6)]
    assert finish(Spec((3,), vocab=5, ordinal=True), torch.tensor([[-2.0, 0.1, 0.9]])).tolist() == [[0, 2, 4]]


@pytest.fixture
def normalised():
    torch.manual_seed(0)
    return unit_spectrum(Critic(Spec((1, 8, 8), cond=Spec((), vocab=3)), 8))


def spectra(module):
    """The largest singular value of each layer that has a matrix."""
    layers = [m for m in module.modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d | torch.nn.Embedding)]
    return [torch.linalg.matrix_norm(m.weight.detach().flatten(1), 2).item() for m in layers]


def test_spectral_normalisation_begins_exact(normalised):
    assert len(spectra(normalised)) > 5
    assert all(abs(s - 1) < 0.02 for s in spectra(normalised))


def test_spectral_normalisation_follows_moving_weights(normalised):
    optim = torch.optim.Adam(normalised.parameters(), 3e-3)
    x = Rng(0).normal(16, 1, 8, 8)
    for _ in range(60):
        optim.zero_grad()
        (normalised(x[:8], None) - normalised(x[8:], None)).sum().backward()
        optim.step()
        advance_spectrum(normalised)
    assert all(0.9 < s <= 1.05 for s in spectra(normalised)), spectra(normalised)


def test_nothing_known_weighs_no_more_than_a_class(normalised):
    """Miyato & Koyama's projection: a row of a table whose largest singular value is 1 has length 1 at most."""
    assert normalised.known.unknown.norm() <= 1 + 1e-6
    with torch.no_grad():
        normalised.known.unknown.mul_(50)
    advance_spectrum(normalised)
    assert 0.99 < normalised.known.unknown.norm() <= 1 + 1e-6
    with torch.no_grad():
        short = normalised.known.unknown.mul_(0.1).clone()
    advance_spectrum(normalised)
    assert torch.equal(normalised.known.unknown, short)
    assert normalised.known(torch.tensor([0, 1, 2]), 3).norm(dim=1).max() <= 1.05


def test_a_loss_does_not_move_the_power_iteration(normalised):
    before = {k: v.clone() for k, v in normalised.state_dict().items()}
    x = Rng(0).normal(4, 1, 8, 8)
    first = normalised.train()(x)
    assert torch.equal(first, normalised(x))
    assert torch.equal(first, normalised.eval()(x))
    assert all(torch.equal(v, before[k]) for k, v in normalised.state_dict().items())


def test_the_gradient_of_spectral_normalisation_is_miyatos():
    """dL/dW = (G - <G, W / sigma> u v^T) / sigma for a loss with gradient G at W / sigma (arXiv:1802.05957, eq. 12)."""
    torch.manual_seed(0)
    layer = unit_spectrum(torch.nn.Linear(4, 3, bias=False).double())
    rule = layer.parametrizations.weight
    outer = torch.randn(3, 4).double()
    (outer * layer.weight).sum().backward()
    weight, u, v = rule.original.detach(), rule[0].u, rule[0].v
    sigma = u @ weight @ v
    expected = (outer - (outer * weight / sigma).sum() * torch.outer(u, v)) / sigma
    torch.testing.assert_close(rule.original.grad, expected)
