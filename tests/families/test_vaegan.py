"""VAE-GAN: its three losses against their formulas, likeness that finds its own scale, and what the mixture is good for."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bottega.codecs.image import ImageCodec
from bottega.core import Batch, Encoded, RecipeError, Rng, Spec, SpecError
from bottega.data import builtin
from bottega.data.stream import Stream
from bottega.families.gan import GAN
from bottega.families.vae import VAE
from bottega.families.vaegan import VAEGAN
from bottega.judge.precision_recall import prdc
from bottega.training.ema import Ema
from bottega.training.loop import fit
from bottega.training.optim import make_optims

PAIR = Spec((2,))


def vaegan(spec=PAIR, seed=0, **settings):
    torch.manual_seed(seed)
    return VAEGAN(spec, **{"size": 8, **settings})


class Planted(nn.Module):
    """A critic whose features are twice the example, and whose number is the sum of them."""

    def look(self, x, cond=None, drop=None):
        return 2 * x.sum(1), 2 * x

    def forward(self, x, cond=None, drop=None):
        return self.look(x)[0]


def parts_of(model, batch):
    """An example said again and a new one, as the losses draw them from ``Rng(1)``."""
    rng = Rng(1)
    mean, log_var = model.posterior(batch)
    z = mean + (0.5 * log_var).exp() * rng.normal(*mean.shape)
    return model._decode(z, None, rng), model._decode(rng.normal(*mean.shape), None, rng), mean, log_var


def test_the_losses_are_the_papers():
    model, batch = vaegan(beta=0.5, gamma=0.3), Batch(Rng(0).normal(32, 2))
    model.critic = Planted()
    again, new, mean, log_var = parts_of(model, batch)
    with torch.no_grad():
        model.decoder.log_sigma.fill_(math.log(0.5))
    f, s = model.critic, F.softplus
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(mean, (0.5 * log_var).exp()), normal(0.0, 1.0)).sum(1)
    log_p = normal(2 * again, 0.5).log_prob(2 * batch.x).sum(1) + math.log(2 * math.pi)  # the constant is left out
    critic = model.critic_loss(batch, Rng(1)).parts
    torch.testing.assert_close(critic["real"], s(-f(batch.x)))
    torch.testing.assert_close(critic["fake"], (s(f(again)) + s(f(new))) / 2)
    encoder = model.encoder_loss(batch, Rng(1)).parts
    torch.testing.assert_close(encoder["kl"], 0.5 * kl)
    torch.testing.assert_close(encoder["rec"], -log_p, rtol=1e-2, atol=1e-2)  # a floor under sigma moves it a little
    decoder = model.decoder_loss(batch, Rng(1)).parts
    torch.testing.assert_close(decoder["rec"], 0.3 * encoder["rec"])
    torch.testing.assert_close(decoder["fool"], (s(-f(again)) + s(-f(new))) / 2)


def test_likeness_weighs_as_many_numbers_as_an_example_has_and_finds_its_scale():
    """The gradient of the learned deviation is zero where it equals the root of the mean squared distance."""
    model, x = vaegan(), Rng(0).normal(64, 2)
    model.critic = Planted()
    seen = 2 * x + 0.7
    with torch.no_grad():
        model.decoder.log_sigma.fill_(math.log(math.expm1(math.log(0.7) + 7)) - 7)
    model._unlike(x, seen).mean().backward()
    assert abs(model.decoder.log_sigma.grad.item()) < 1e-4
    wide = model._unlike(x, seen).detach()
    torch.testing.assert_close(wide, torch.full((64,), 2 * (0.5 + math.log(0.7))), rtol=1e-3, atol=1e-3)


def test_each_player_has_a_turn_and_the_encoder_plays_no_game():
    model, batch = vaegan(), Batch(Rng(0).normal(8, 2))
    assert [(t.player, t.every, t.repeat) for t in model.turns()] == [
        (p, 1, 1) for p in ("critic", "encoder", "decoder")
    ]
    model.decoder_loss(batch, Rng(1)).parts["fool"].sum().backward()
    assert all(p.grad is None for p in model.encoder.parameters())


def test_no_layer_of_the_critic_grows_much_beyond_one_in_training():
    model = vaegan(Spec((1, 8, 8)))
    optims = make_optims(model, 20, {"lr": 1e-3, "beta1": 0.5})
    fit(model, Stream(Encoded(Batch(Rng(0).uniform(64, 1, 8, 8) * 2 - 1)), 16), optims, steps=20, rng=Rng(0))
    layers = [m for m in model.critic.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert (
        max(torch.linalg.matrix_norm(m.weight.detach().flatten(1), 2).item() for m in layers) <= 1.1
    )  # the estimate follows


def edge_energy(x):
    """Mean squared step from a pixel to the next."""
    return (x.diff(dim=2).square().mean() + x.diff(dim=3).square().mean()).item()


@pytest.mark.slow
def test_sharper_than_a_vae_and_more_coverage_than_a_gan():
    """Row C18, on digits: equal size, latent, steps and data."""
    real = ImageCodec(size=0, labels="none").fit(builtin.load("digits").items).encode(builtin.load("digits").items).x
    edges, covered = {}, {}
    for family, knobs in ((VAE, {"mean": True}), (GAN, {}), (VAEGAN, {})):
        torch.manual_seed(0)
        model = family(Spec((1, 8, 8)), size=16, latent=16)
        ema, optims = Ema(model, 0.99), make_optims(model, 300, {"lr": 1e-3, "beta1": 0.5, "weight_decay": 0.0})
        fit(model, Stream(Encoded(Batch(real)), 64), optims, steps=300, rng=Rng(0), ema=ema)
        Ema.load(model, ema.shadow)
        made = model.eval().sample(1000, Rng(7), **knobs)
        edges[family] = edge_energy(made) / edge_energy(real)
        covered[family] = prdc(real.flatten(1), made.flatten(1))["coverage"].mean().item()
    assert edges[VAEGAN] > 1.2 * edges[VAE], edges
    assert abs(edges[VAEGAN] - 1) < abs(edges[VAE] - 1), edges
    assert covered[VAEGAN] > 2 * covered[GAN], covered


def test_what_it_refuses():
    with pytest.raises(SpecError, match="use family gpt"):
        vaegan(Spec((8,), vocab=5))
    for wrong in ({"size": 0}, {"latent": -1}, {"beta": -1.0}, {"gamma": 0.0}, {"drop": 1.0}):
        with pytest.raises(RecipeError, match=rf"family.*{next(iter(wrong))}"):
            vaegan(**wrong)
