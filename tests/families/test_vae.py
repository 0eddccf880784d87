"""VAE: its gradient, its bounds against a likelihood known in closed form, its likelihoods, its codes."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.svm import SVC
from torch import nn
from torch.distributions import Bernoulli, Categorical, MultivariateNormal, Normal

from bottega.core import Batch, Block, RecipeError, Rng, Spec, SpecError
from bottega.families.vae import VAE
from bottega.nets.likelihood import log_logistic_mass
from helpers import trained

LEVELS = Spec((1, 8, 8), vocab=17, ordinal=True)
ROW = Spec((7,), blocks=(Block("age", "scalar", 0, 1), Block("job", "choice", 1, 3), Block("pay", "mixture", 4, 3)))


def vae(spec, seed=0, **settings):
    torch.manual_seed(seed)
    return VAE(spec, **{"size": 8, **settings})


# --- the gradient ----------------------------------------------------------------------------------------------------


def test_pathwise_gradient_equals_score_function_gradient_with_lower_variance():
    """Both estimate d/dphi E_q[-log p(x|z)] at the posterior's mean and log-variance (Kingma & Welling, section 2.2)."""
    n = 40_000
    model = vae(Spec((2,)), latent=2, sigma=0.3)
    with torch.no_grad():
        for p in model.decoder.parameters():
            p.mul_(1.5)  # a decoder that is far from constant
    x = torch.tensor([[0.4, -0.3]]).expand(n, -1)
    mean = torch.tensor([[0.3, -0.5]]).repeat(n, 1).requires_grad_()
    log_var = torch.tensor([[-0.4, 0.2]]).repeat(n, 1).requires_grad_()
    model.posterior = lambda batch, h=None: (mean, log_var)
    rec, _ = model._terms(Batch(x), Rng(0), 0.0)
    pathwise = torch.cat(torch.autograd.grad(rec.sum(), (mean, log_var)), 1)

    q = Normal(mean, (0.5 * log_var).exp())
    z = (mean + (0.5 * log_var).exp() * Rng(1).normal(n, 2)).detach()
    with torch.no_grad():
        cost = -model.likelihood.log_prob(model._decode(z, torch.zeros(n, 0)), x)
    score = torch.cat(torch.autograd.grad((cost * q.log_prob(z).sum(1)).sum(), (mean, log_var)), 1)

    error = ((pathwise.var(0) + score.var(0)) / n).sqrt()
    assert ((pathwise.mean(0) - score.mean(0)).abs() <= 3 * error).all()
    assert (pathwise.mean(0).abs() > 10 * (pathwise.var(0) / n).sqrt()).any(), "nothing was measured"
    assert (pathwise.var(0) < 0.5 * score.var(0)).all()


# --- the bounds ------------------------------------------------------------------------------------------------------


class Linear(nn.Module):
    """x -> mean A x + b and log-variance of a linear-Gaussian posterior, or z -> W z + b."""

    def __init__(self, weight, bias, log_var=None):
        super().__init__()
        self.weight, self.bias, self.log_var = weight, bias, log_var

    def forward(self, x, h=None):
        out = x @ self.weight.T + self.bias
        return out[:, None] if self.log_var is None else torch.cat([out, self.log_var.expand(len(x), -1)], 1)


@pytest.fixture
def linear():
    """p(x|z) = N(W z + b, s^2), orthogonal columns in W: the posterior is Gaussian with diagonal covariance."""
    s, w, b = 0.5, torch.tensor([[1.0, 0.4], [-0.5, 0.8], [0.0, 0.0], [0.8, 0.0]]), torch.tensor([0.1, 0.0, -0.2, 0.3])
    w[:, 1] -= w[:, 0] * (w[:, 0] @ w[:, 1]) / (w[:, 0] @ w[:, 0])
    model = vae(Spec((4,)), latent=2, sigma=s)
    precision = 1 + (w * w).sum(0) / s**2
    a = (w / s**2 / precision).T
    model.decoder = Linear(w, b)
    model.encoder = Linear(a, -a @ b, -precision.log())
    sigma = model.likelihood._log_sigma().exp().item()
    assert sigma == pytest.approx(s, rel=2e-3)
    truth = MultivariateNormal(b, w @ w.T + sigma**2 * torch.eye(4))
    x = truth.mean + Rng(3).normal(64, 4) @ truth.scale_tril.T
    return model, Batch(x), truth.log_prob(x)


def test_with_the_true_posterior_every_weight_is_the_exact_likelihood(linear):
    model, batch, exact = linear
    torch.testing.assert_close(model.iwae(batch, Rng(0), 1), exact, rtol=0, atol=0.03)
    torch.testing.assert_close(model.iwae(batch, Rng(0), 73), exact, rtol=0, atol=0.03)


def test_elbo_is_below_iwae_is_below_the_exact_likelihood(linear):
    model, batch, exact = linear
    model.encoder.bias = model.encoder.bias + 0.3  # a posterior that is off, so that the bounds part
    model.encoder.log_var = model.encoder.log_var + 0.5
    elbo = torch.stack([model.log_prob(batch, Rng(k)) for k in range(200)]).mean(0).mean()
    few = torch.stack([model.iwae(batch, Rng(k), 5) for k in range(50)]).mean(0).mean()
    many = model.iwae(batch, Rng(0), 2000).mean()
    assert elbo + 0.1 < few < many + 0.02
    assert many.item() == pytest.approx(exact.mean().item(), abs=0.02)
    variance = (model.encoder.log_var - 0.5).exp()  # of the true posterior
    kl = 0.5 * (math.exp(0.5) + 0.3**2 / variance - 1 - 0.5).sum()
    assert (exact.mean() - elbo).item() == pytest.approx(kl.item(), abs=0.05), "the gap is KL(q || true posterior)"


def test_iwae_of_a_row_is_its_own_and_any_k_fits():
    model = vae(LEVELS, latent=3).eval()
    batch = Batch(Rng(0).integers(17, 3, 1, 8, 8))
    three = model.iwae(batch, Rng.for_rows([4, 5, 6]), 120)
    alone = model.iwae(batch.take(slice(1, 2)), Rng.for_rows([5]), 120)
    torch.testing.assert_close(three[1:2], alone, rtol=1e-5, atol=1e-3)
    assert model.iwae(batch, Rng(0), 500).shape == (3,)


def test_beta_and_free_bits_change_the_loss_and_never_the_score():
    batch = Batch(Rng(0).integers(17, 5, 1, 8, 8))
    plain, other = vae(LEVELS), vae(LEVELS, beta=3.0, free_bits=2.0)
    assert torch.equal(plain.log_prob(batch, Rng(1)), other.log_prob(batch, Rng(1)))
    torch.testing.assert_close(plain.loss(batch, Rng(1)).total, -plain.log_prob(batch, Rng(1)))
    kl = plain._terms(batch, Rng(1), 0.0)[1]
    expected = 3 * torch.where(kl > 2, kl, 2).sum(1)
    torch.testing.assert_close(other.loss(batch, Rng(1)).parts["kl"], expected)
    assert (kl < 2).any()


def test_the_importance_weighted_loss_is_the_bound_and_its_gradient_burdas(linear):
    """The loss of k draws is minus the bound of k draws; its gradient is the weights' mean of single gradients (eq. 14)."""
    model, batch, _ = linear
    model.draws = 7
    model.encoder.log_var = model.encoder.log_var + 0.5
    torch.testing.assert_close(-model.loss(batch, Rng(4)).total, model.iwae(batch, Rng(4), 7))

    h, q = torch.zeros(64, 0), [t.detach().requires_grad_() for t in model.posterior(batch)]
    weights = model._log_weights(batch, h, tuple(q), Rng(4), 7)
    share = weights.softmax(1).detach()
    by_hand = torch.autograd.grad((share * weights).sum(), q, retain_graph=True)
    by_loss = torch.autograd.grad(weights.logsumexp(1).sum(), q)
    for a, b in zip(by_hand, by_loss, strict=True):
        torch.testing.assert_close(a, b)
    assert share.std() > 0.05, "all weights are alike, so nothing was told apart"


def test_with_more_draws_the_posterior_need_not_be_right():
    """Two code numbers that explain each other away: the true posterior is correlated, which ``q`` cannot follow.

    The ELBO pays for every mismatch and so gives one of the two up; the bound of eight draws keeps both.
    """
    z = Rng(0).normal(2000, 2)
    x = (z.sum(1, keepdim=True) * torch.tensor([[0.35, -0.35, 0.2]])) + 0.05 * Rng(1).normal(2000, 3)
    gap, score = [], []
    for draws in (1, 8):
        model = trained(vae(Spec((3,)), latent=2, sigma=0.05, draws=draws), Batch(x[:1500]), 300, ema=0.99)
        held = Batch(x[1500:])
        score.append(model.iwae(held, Rng(2), 200).mean().item())
        gap.append(score[-1] - model.log_prob(held, Rng(2)).mean().item())
    assert gap[0] < 0.2
    assert gap[1] > 1
    assert score[1] > score[0]
    assert model.loss(Batch(x[:5]), Rng(3)).parts.keys() == {"bound"}


# --- likelihoods -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vocab", [2, 3, 17, 256])
@pytest.mark.parametrize("mean", [-30.0, -1.0, 0.123, 0.9999, 5.0])
@pytest.mark.parametrize("log_scale", [-7.0, -2.0, 1.0])
def test_masses_of_the_discretised_logistic_sum_to_one(vocab, mean, log_scale):
    x = torch.arange(vocab)
    log_mass = log_logistic_mass(x, torch.tensor(mean), torch.tensor(log_scale), vocab)
    assert torch.isfinite(log_mass).all()
    assert log_mass.double().exp().sum() == pytest.approx(1, abs=1e-4)


def test_the_discretised_logistic_is_a_difference_of_distribution_functions():
    vocab, mean, scale = 17, 0.3, 0.2
    edges = torch.cat([torch.tensor([-math.inf]), (torch.arange(16).double() + 0.5) / 8 - 1, torch.tensor([math.inf])])
    mass = torch.sigmoid((edges - mean) / scale).diff()
    ours = log_logistic_mass(
        torch.arange(vocab), torch.tensor(mean).double(), torch.tensor(scale).double().log(), vocab
    )
    torch.testing.assert_close(ours, mass.log())


def test_the_discretised_logistic_has_a_gradient_far_from_the_data():
    mean = torch.tensor(25.0, requires_grad=True)
    log_logistic_mass(torch.tensor(3), mean, torch.tensor(-7.0), 256).backward()
    assert torch.isfinite(mean.grad)
    assert mean.grad < -1


def test_bernoulli_is_torchs():
    model = vae(Spec((1, 4, 4), vocab=2, ordinal=True))
    logit, x = 3 * Rng(0).normal(5, 1, 1, 4, 4), Rng(1).integers(2, 5, 1, 4, 4)
    expected = Bernoulli(logits=logit[:, 0]).log_prob(x.float()).sum((1, 2, 3))
    torch.testing.assert_close(model.likelihood.log_prob(logit, x), expected)


def test_a_row_is_normal_in_its_numbers_and_categorical_in_its_choices():
    likelihood = vae(ROW).likelihood
    with torch.no_grad():
        likelihood.raw.copy_(torch.linspace(-1, 0, 7))
    sigma = likelihood._log_sigma().exp()
    out = Rng(0).normal(2, 1, 7)
    x = torch.tensor([[0.2, 0, 1, 0, -0.5, 0, 1], [-0.9, 1, 0, 0, 0.1, 1, 0.0]])
    m = out[:, 0]
    expected = Normal(m[:, [0, 4]], sigma[[0, 4]]).log_prob(x[:, [0, 4]]).sum(1)
    expected = expected + Categorical(logits=m[:, 1:4]).log_prob(torch.tensor([1, 0]))
    expected = expected + Categorical(logits=m[:, 5:7]).log_prob(torch.tensor([1, 0]))
    torch.testing.assert_close(likelihood.log_prob(out, x), expected)


@pytest.mark.parametrize(("vocab", "name"), [(2, "bernoulli"), (2, "logistic"), (17, "logistic")])
def test_masses_of_all_levels_are_those_of_each(vocab, name):
    model = vae(Spec((1, 4, 4), vocab=vocab, ordinal=True), likelihood=name).eval()
    z, x = Rng(0).normal(3, *model.latent.shape), Rng(1).integers(vocab, 3, 1, 4, 4)
    masses = model.log_masses(z)
    torch.testing.assert_close(masses.exp().sum(-1), torch.ones(3, 1, 4, 4))
    each = masses.gather(-1, x[..., None])[..., 0]
    out = model._decode(z, torch.zeros(3, 0))
    torch.testing.assert_close(each.flatten(1).sum(1), model.likelihood.log_prob(out, x))
    assert (model.log_masses(z, grid=2**-10) - masses).abs().max() < 0.05
    assert model.double().posterior(Batch(x))[0].isfinite().all()


@pytest.mark.parametrize("vocab", [2, 9])
def test_draws_follow_the_masses(vocab):
    n, spec = 40_000, Spec((1,), vocab=vocab, ordinal=True)
    likelihood = vae(spec, likelihood="logistic").likelihood
    out = torch.tensor([[0.2], [0.0]]).expand(n, 2, 1)
    counts = torch.bincount(likelihood.draw(out, Rng(0))[:, 0], minlength=vocab)
    mass = torch.stack([likelihood.log_prob(out[:1], torch.tensor([[k]])).exp()[0] for k in range(vocab)])
    assert ((counts / n - mass).abs() <= 4 * (mass * (1 - mass) / n).sqrt() + 1e-4).all()
    assert (mass > 0.01).sum() >= 2


def test_draws_of_a_row_follow_its_distribution():
    n, likelihood = 20_000, vae(ROW, sigma=0.3).likelihood
    out = torch.tensor([0.5, 0.0, 1.0, -1.0, -0.2, 2.0, 0.0]).expand(n, 1, 7)
    x = likelihood.draw(out, Rng(0))
    assert torch.equal(x[:, 1:4].sum(1), torch.ones(n))
    torch.testing.assert_close(x[:, 1:4].mean(0), out[0, 0, 1:4].softmax(0), rtol=0, atol=0.02)
    torch.testing.assert_close(x[:, [0, 4]].mean(0), out[0, 0, [0, 4]], rtol=0, atol=0.01)
    torch.testing.assert_close(x[:, [0, 4]].std(0), torch.tensor([0.3, 0.3]), rtol=0.03, atol=0)


def test_sigma_is_learned():
    x = 0.2 * Rng(0).normal(512, 6)  # no structure: all of it is noise
    model = trained(vae(Spec((6,))), Batch(x), 300, lr=1e-2, ema=0.99)
    assert model.likelihood._log_sigma().exp().item() == pytest.approx(0.2, rel=0.1)


# --- codes -----------------------------------------------------------------------------------------------------------


def test_active_units_finds_a_planted_dead_latent():
    model = vae(Spec((5,)), latent=4)
    with torch.no_grad():
        model.encoder.net.last.weight.mul_(5)
        model.encoder.net.last.weight[2] = 0
    assert model.active_units(Batch(Rng(0).normal(200, 5))).tolist() == [True, True, False, True]


def test_a_useless_latent_dies_in_training():
    z = Rng(0).normal(1024, 1)
    x = torch.cat([z, -z, 0.5 * z], 1) * 0.4 + 0.05 * Rng(1).normal(1024, 3)  # one-dimensional, and noise
    model = trained(vae(Spec((3,)), latent=3, sigma=0.05), Batch(x), 400, ema=0.99)
    assert model.active_units(Batch(x)).sum() == 1


def test_samples_answer_to_their_condition():
    centres = torch.tensor([[-0.7, 0.0], [0.7, 0.0], [0.0, 0.8]])
    label = Rng(0).integers(3, 1500)
    x = centres[label] + 0.05 * Rng(1).normal(1500, 2)
    model = trained(vae(Spec((2,), cond=Spec((), vocab=3))), Batch(x, label), 400, ema=0.99)
    asked = torch.arange(3).repeat_interleave(200)
    near = torch.cdist(model.sample(600, Rng(2), asked), centres).argmin(1)
    assert (near == asked).float().mean() > 0.97
    free = torch.cdist(model.sample(600, Rng(2)), centres).argmin(1).bincount(minlength=3)
    assert (free > 30).all(), "without a condition all classes come"


def test_the_mean_has_less_noise_than_a_draw():
    model = vae(Spec((4,)), sigma=0.5)
    z = Rng(0).normal(300, *model.latent.shape)
    torch.testing.assert_close(model.sample(300, Rng(0), mean=True), model.decode(z))
    assert model.sample(300, Rng(0)).std() > model.sample(300, Rng(0), mean=True).std()
    assert model.sample(300, Rng(0), mean=True, temperature=0.0).var(0).sum() < 1e-10


# --- what it refuses -------------------------------------------------------------------------------------------------


def test_what_it_refuses():
    with pytest.raises(SpecError, match="use family gpt"):
        VAE(Spec((16,), vocab=50))
    with pytest.raises(RecipeError, match="'bernoulli', which does not fit"):
        VAE(Spec((2,)), likelihood="bernoulli")
    with pytest.raises(RecipeError, match="use 'logistic' or 'auto'"):
        VAE(LEVELS, likelihood="gauss")
    with pytest.raises(RecipeError, match="negative"):
        VAE(LEVELS, beta=-1.0)
    with pytest.raises(RecipeError, match=r"family.draws is 5 with beta 2"):
        VAE(LEVELS, draws=5, beta=2.0)
    for wrong in ({"draws": 0}, {"size": 0}, {"latent": -1}, {"depth": -1}, {"drop": 1.0}, {"drop": -0.1}):
        with pytest.raises(RecipeError, match=rf"family.*{next(iter(wrong))}"):
            VAE(Spec((1, 8, 8)), **wrong)


# --- real data -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_digits_are_generated_by_class_and_recognised():
    """Rows B9 and B13: the bound improves, and an independent classifier reads at least 90 % of what was asked for."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.images))
    x, y = torch.tensor(digits.images[order]).long()[:, None], torch.tensor(digits.target[order])
    reader = SVC(gamma=0.001).fit(x[:1400].flatten(1).numpy(), y[:1400].numpy())
    model = vae(Spec((1, 8, 8), vocab=17, ordinal=True, cond=Spec((), vocab=10)), size=16)
    held = Batch(x[1400:], y[1400:])
    before = model.iwae(held, Rng(0), 50).mean()
    trained(model, Batch(x[:1400], y[:1400]), 800, lr=2e-3, ema=0.99)
    assert model.iwae(held, Rng(0), 50).mean() > before + 80
    assert model.iwae(held, Rng(0), 50).mean() > model.log_prob(held, Rng(0)).mean()
    asked = torch.arange(500) % 10
    read = reader.predict(model.sample(500, Rng(1), asked).flatten(1).numpy())
    assert (read == asked.numpy()).mean() >= 0.9
