"""Autoencoder: against PCA, against noise, and the Gaussian of its codes against closed forms."""

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch.distributions import MultivariateNormal

from bottega.core import Batch, Block, RecipeError, Rng, Spec, SpecError
from bottega.families.autoencoder import Autoencoder, CodeGaussian
from helpers import trained


def digits():
    """Training and held-out pictures ``(N, 1, 8, 8)`` in [-1, 1], and the labels of the first."""
    data = load_digits()
    order = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(0))
    x, y = torch.tensor(data.images).float()[order, None] / 8 - 1, torch.tensor(data.target)[order]
    return x[:1400], x[1400:], y[:1400]


def error(model, clean, seen=None):
    """Mean squared error of one number."""
    with torch.no_grad():
        return (model.reconstruct(Batch(clean if seen is None else seen)) - clean).square().mean().item()


def pca_error(train, held, k):
    fitted = PCA(k).fit(train.flatten(1).numpy())
    flat = held.flatten(1).numpy()
    return ((fitted.inverse_transform(fitted.transform(flat)) - flat) ** 2).mean()


def test_it_beats_pca_with_the_same_code_on_held_out_digits():
    """Row B1."""
    train, held, _ = digits()
    torch.manual_seed(0)
    model = trained(Autoencoder(Spec((64,)), size=32, latent=6), Batch(train.flatten(1)), 500, ema=0.99)
    assert error(model, held.flatten(1)) < 0.8 * pca_error(train, held, 6)


@pytest.mark.slow
def test_convolutions_beat_pca_by_far():
    train, held, _ = digits()
    torch.manual_seed(0)
    model = trained(Autoencoder(Spec((1, 8, 8)), size=16, latent=8), Batch(train), 1000, lr=2e-3, ema=0.99)
    assert error(model, held) < 0.5 * pca_error(train, held, 8)


@pytest.mark.slow
def test_it_takes_noise_away():
    """Row B2: at least 4 dB on pictures and noise it never saw."""
    train, held, _ = digits()
    torch.manual_seed(0)
    model = trained(Autoencoder(Spec((1, 8, 8)), size=8, noise=0.5), Batch(train), 400, ema=0.99)
    noisy = held + 0.5 * Rng(9).normal(*held.shape)
    gain_db = 10 * torch.log10((noisy - held).square().mean() / error(model, held, noisy))
    assert gain_db >= 4


def test_noise_is_only_for_training():
    torch.manual_seed(0)
    model = Autoencoder(Spec((3,)), size=4, noise=0.5)
    batch = Batch(Rng(0).normal(5, 3))
    assert torch.equal(model.encode(batch), model.encode(batch))
    assert not torch.equal(model.loss(batch, Rng(1)).parts["rec"], model.loss(batch, Rng(2)).parts["rec"])


def test_the_gaussian_of_codes_is_torchs():
    torch.manual_seed(0)
    density = CodeGaussian(3, 2)
    with torch.no_grad():
        density.free.copy_(0.1 * torch.randn(9))
        density.given.weight.mul_(5)
    z, h = Rng(0).normal(5, 3), Rng(1).normal(5, 2)
    u, b, _ = density._affine(h)
    inverse = torch.linalg.inv(u)
    mean = -(inverse @ b[:, :, None])[:, :, 0]
    expected = MultivariateNormal(mean, inverse @ inverse.mT).log_prob(z)
    torch.testing.assert_close(density.log_prob(z, h), expected, rtol=1e-4, atol=1e-4)
    w = (u @ z[:, :, None])[:, :, 0] + b
    torch.testing.assert_close(density.invert(w, h), z, rtol=1e-4, atol=1e-4)


def test_the_fit_of_the_codes_moves_neither_encoder_nor_decoder():
    torch.manual_seed(0)
    model = Autoencoder(Spec((3,)), size=4)
    model.loss(Batch(Rng(0).normal(5, 3)), Rng(1)).parts["prior"].sum().backward()
    moved = {name.partition(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert moved == {"prior"}


def test_draws_have_the_mean_and_covariance_of_the_codes():
    train, _, _ = digits()
    torch.manual_seed(0)
    model = trained(Autoencoder(Spec((64,)), size=16, latent=3), Batch(train.flatten(1)), 600, ema=0.99)
    codes = model.encode(Batch(train.flatten(1))).detach()
    h = torch.zeros(4000, 0)
    drawn = model.prior.invert(Rng(0).normal(4000, 3), h).detach()
    scale = codes.std(0)
    assert ((drawn.mean(0) - codes.mean(0)).abs() < 0.25 * scale).all()
    away = (drawn.T.cov() - codes.T.cov()) / (scale[:, None] * scale)
    assert away.abs().max() < 0.35, away


def test_samples_answer_to_their_condition():
    centres = torch.tensor([[-0.7, 0.0], [0.7, 0.0], [0.0, 0.8]])
    label = Rng(0).integers(3, 1500)
    x = centres[label] + 0.05 * Rng(1).normal(1500, 2)
    torch.manual_seed(0)
    spec = Spec((2,), cond=Spec((), vocab=3))
    model = trained(Autoencoder(spec, size=16), Batch(x, label), 600, lr=1e-2, ema=0.99)
    asked = torch.arange(3).repeat_interleave(200)
    near = torch.cdist(model.sample(600, Rng(2), asked), centres).argmin(1)
    assert (near == asked).float().mean() > 0.95
    free = torch.cdist(model.sample(600, Rng(2)), centres).argmin(1).bincount(minlength=3)
    assert (free > 30).all()


def test_what_comes_out_is_what_went_in():
    row = Spec((4,), blocks=(Block("a", "scalar", 0, 1), Block("b", "choice", 1, 3)))
    for spec in (row, Spec((1, 8, 8), vocab=17, ordinal=True)):
        x = Autoencoder(spec, size=4).sample(6, Rng(0))
        assert x.shape == (6, *spec.shape)
        if spec.blocks:
            assert torch.equal(x[:, 1:].sum(1), torch.ones(6))
        else:
            assert x.dtype == torch.int64
            assert ((x >= 0) & (x < 17)).all()


def test_what_it_refuses():
    with pytest.raises(SpecError, match="use family gpt"):
        Autoencoder(Spec((16,), vocab=50))
    with pytest.raises(RecipeError, match=r"family.noise is -1"):
        Autoencoder(Spec((2,)), noise=-1.0)
    for wrong in ({"size": 0}, {"latent": -1}, {"depth": -1}, {"drop": 1.0}, {"drop": -0.1}):
        with pytest.raises(RecipeError, match=rf"family.*{next(iter(wrong))}"):
            Autoencoder(Spec((1, 8, 8)), **wrong)
