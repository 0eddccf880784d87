"""StyleGAN: modulation in closed form, which layers a style reaches, truncation, row by row, and freezing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bottega.core import Batch, RecipeError, Rng, Spec, SpecError
from bottega.families.stylegan import StyleGAN
from bottega.nets.bodies import Critic
from bottega.nets.stylegan import Dense, Modulated, Planes
from pictures import discs, made, trained

GREY, BYCLASS = Spec((1, 8, 8)), Spec((1, 8, 8), cond=Spec((), vocab=3))


def stirred(spec=GREY, **settings):
    """A model none of whose weights is zero, so that noise and colours do something."""
    model = made(StyleGAN, spec, **{"size": 8, **settings})
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.add_(0.1 * Rng(i).normal(*p.shape))
    return model


# --- networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("demodulate", [True, False])
def test_scaling_activations_is_scaling_the_weights_of_each_row_and_so_are_its_gradients(demodulate):
    torch.manual_seed(0)
    layer = Modulated(5, 4, 3, 6, demodulate=demodulate)
    x, w = Rng(0).normal(3, 5, 7, 6).requires_grad_(), Rng(1).normal(3, 6).requires_grad_()
    own = layer.weight * layer.gain * layer.style(w)[:, None, :, None, None]
    if demodulate:
        own = own / (own.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    grouped = F.conv2d(x.reshape(1, 15, 7, 6), own.reshape(12, 5, 3, 3), padding=1, groups=3).view(3, 4, 7, 6)
    torch.testing.assert_close(layer(x, w), grouped, rtol=1e-4, atol=1e-5)
    parts = [x, w, layer.weight, layer.style.weight]
    ours, theirs = (torch.autograd.grad(y.square().sum(), parts, retain_graph=True) for y in (layer(x, w), grouped))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_an_equalised_layer_keeps_the_variance_and_its_pace_is_that_of_its_learning():
    torch.manual_seed(0)
    x = Rng(1).normal(2000, 256)
    for pace in (1.0, 0.01):
        layer = Dense(256, 128, bias=0.5, pace=pace)
        assert (layer(x) - 0.5).var().item() == pytest.approx(1, rel=0.05)
        before = layer(x)
        with torch.no_grad():
            layer.bias += 0.1  # as a step of Adam would
        torch.testing.assert_close(layer(x) - before, torch.full_like(before, 0.1 * pace), rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("spec", [Spec((4, 32, 32)), Spec((3, 28, 30)), Spec((1, 4, 5)), Spec((3, 16, 16), 256, True)])
def test_pictures_of_any_size_with_alpha_or_in_levels(spec):
    model = stirred(spec, size=4)
    x = model.sample(2, Rng(0))
    assert x.shape == (2, *spec.shape)
    assert torch.equal(x, x.clamp(0, 255) if spec.is_tokens else x.clamp(-1, 1))
    assert torch.isfinite(model.critic_loss(Batch(x), Rng(1)).total).all()
    assert model.layers == 2 * len(model.critic.body.stages)


# --- styles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planes", [0, 2])
def test_a_style_reaches_its_own_layers_and_no_others(planes):
    model = stirred(planes=planes)
    synthesis = model.generator["synthesis"]
    styles = Rng(0).normal(2, model.layers, model.latent).requires_grad_()
    for at in range(1, model.layers):
        late = torch.arange(model.layers) >= at
        coarse, fine = Rng(1).normal(3, model.latent), Rng(2).normal(3, model.latent)
        a, b = (model.generator["mapping"](z, None) for z in (coarse, fine))
        want = synthesis(torch.where(late[:, None], b[:, None], a[:, None]), Rng(3))
        torch.testing.assert_close(model.mix(coarse, fine, at, Rng(3)), want)
    reached = torch.autograd.grad(synthesis(styles, Rng(4)).square().sum(), styles)[0]
    assert reached.flatten(0, 1).abs().sum(1).gt(0).all(), "a layer has no style"


@pytest.mark.parametrize("patch", [1, 2])
def test_how_strong_features_are_does_not_reach_the_colours_of_planes(patch):
    torch.manual_seed(0)
    layer = Planes(5, 3, 2, patch, 6)
    x, w = Rng(0).normal(4, 5, 7, 6), Rng(1).normal(4, 6)
    y = layer(x, w)
    assert y.shape == (4, 3, 7 * patch, 6 * patch)
    strong = 10 ** Rng(2).uniform(4, 1, 1, 1)
    torch.testing.assert_close(layer(100 * strong * x, w), layer(100 * x, w), rtol=1e-3, atol=1e-3)
    colours = layer.style(w).view(4, 3, 2)  # planes of unit power and their colours are all there is
    power = torch.linalg.lstsq(colours, y.flatten(2)).solution.square().mean(2)
    torch.testing.assert_close(power, torch.full((4, 2), 2.0**-1), rtol=0.05, atol=0)
    torch.testing.assert_close(layer(torch.zeros_like(x), w), torch.zeros_like(y))


def test_mix_takes_the_fine_styles_of_another_piece():
    model = stirred(size=16)
    own, seventh = model.sample(3, Rng.for_rows([4, 5, 6])), model.sample(1, Rng.for_rows([7]))
    rows = Rng.for_rows
    torch.testing.assert_close(model.sample(3, rows([4, 5, 6]), mix=7, at=model.layers), own)
    torch.testing.assert_close(model.sample(1, rows([7]), mix=7, at=1), seventh)
    mixed = model.sample(3, rows([4, 5, 6]), mix=7, at=2)
    assert not torch.allclose(mixed, own)
    torch.testing.assert_close(model.sample(1, rows([5]), mix=7, at=2), mixed[1:2])
    assert torch.equal(
        model.sample(3, rows([4, 5, 6]), mix=7), model.sample(3, rows([4, 5, 6]), mix=7, at=model.layers // 2)
    )
    with pytest.raises(RecipeError, match="at is 9; this generator has 4 layers"):
        model.sample(1, Rng(0), mix=1, at=9)


def test_the_centre_is_the_mean_style_of_each_class_and_truncation_goes_there():
    model = stirred(BYCLASS)
    for step in range(300):
        model.settle(step)
    z = Rng(9).normal(20_000, model.latent)
    for row, label in enumerate((0, 1, 2, -1)):
        mean = model.generator["mapping"](z, torch.full((len(z),), label)).mean(0)
        assert (model.centre[row] - mean).norm() < 0.1 * mean.norm()
    label = torch.tensor([0, 2])
    synthesis = model.generator["synthesis"]
    at_centre = synthesis(model.centre[label][:, None].expand(-1, model.layers, -1), _after_latent(model, 2)).clamp(
        -1, 1
    )
    torch.testing.assert_close(model.sample(2, Rng(1), label, truncation=0.0), at_centre)
    unknown = synthesis(model.centre[[-1, -1]][:, None].expand(-1, model.layers, -1), _after_latent(model, 2)).clamp(
        -1, 1
    )
    torch.testing.assert_close(model.sample(2, Rng(1), truncation=0.0), unknown)
    spread = [model.sample(50, Rng(2), truncation=psi).std(0).mean().item() for psi in (0.3, 0.6, 1.0)]
    assert spread == sorted(spread)
    assert spread[0] < 0.8 * spread[2]


def _after_latent(model, n):
    rng = Rng(1)
    rng.normal(n, model.latent)
    return rng


def test_as_many_training_pictures_are_mixed_as_it_says(monkeypatch):
    model, seen = stirred(mixing=0.25), []
    monkeypatch.setattr(
        model.generator["synthesis"], "forward", lambda w, rng: seen.append(w) or torch.zeros(len(w), 1, 8, 8)
    )
    model._make(None, None, 4000, Rng(0))
    steps = (seen[0].diff(dim=1).abs().sum(2) > 0).sum(1)
    assert set(steps.tolist()) == {0, 1}, "a picture changes over once, or never"
    assert (steps == 1).float().mean().item() == pytest.approx(0.25, abs=0.02)
    where = (seen[0].diff(dim=1).abs().sum(2) > 0).float().mean(0)
    torch.testing.assert_close(where, torch.full((model.layers - 1,), 0.25 / (model.layers - 1)), rtol=0, atol=0.02)


# --- training --------------------------------------------------------------------------------------------------------


def test_losses_under_augmentation_are_row_by_row():
    model = stirred(BYCLASS, ada=True)
    model.adaptive.p.fill_(0.6)
    batch = Batch(Rng(0).uniform(4, 1, 8, 8) * 2 - 1, torch.tensor([0, 1, 2, -1]))
    for turn in model.turns():
        whole = turn.loss(batch, Rng.for_rows(range(4))).total
        for i, one in enumerate(batch.split(4)):
            torch.testing.assert_close(turn.loss(one, Rng.for_rows([i])).total, whole[i : i + 1], rtol=1e-3, atol=1e-4)
    model.adaptive.p.zero_()
    calm = [t.loss(batch, Rng.for_rows(range(4))).total for t in model.turns()]
    assert not torch.allclose(calm[0], turn.loss(batch, Rng(0)).total)


def test_frozen_sizes_of_the_critic_stay_and_the_rest_moves():
    batch = Batch(discs(32, 0, 8))
    model = made(StyleGAN, GREY, size=8, freeze=1)
    before = {k: p.detach().clone() for k, p in model.named_parameters()}
    trained(model, batch, 4)
    still = {k for k, p in model.named_parameters() if torch.equal(p, before[k])}
    body = {k for k in before if k.startswith(("critic.body.stem.", "critic.body.stages.0."))}
    assert still == body
    everything = made(StyleGAN, GREY, size=8, freeze=2)
    fixed = {k.split(".")[2] for k, p in everything.named_parameters() if not p.requires_grad}
    assert fixed == {"stem", "stages", "down"}
    assert everything.critic.body.last.weight.requires_grad
    with pytest.raises(RecipeError, match="family.freeze is 3; the critic of such pictures has 2 sizes"):
        made(StyleGAN, GREY, freeze=3)


def test_what_it_refuses():
    with pytest.raises(SpecError, match="use family gan"):
        StyleGAN(Spec((2,)))
    for wrong in ({"size": 0}, {"latent": -1}, {"mixing": 1.5}, {"r1": -1.0}, {"depth": 0}, {"drop": 1.0}):
        with pytest.raises(RecipeError, match=rf"family.*{next(iter(wrong))}"):
            made(StyleGAN, GREY, **wrong)


def test_the_critic_sees_how_far_the_rows_of_a_group_lie_apart():
    critic = Critic(Spec((1, 4, 4)), 4, group=3)
    seen = Rng(0).normal(8, 5)
    spread = critic._spread(seen)
    for rows in (slice(0, 4), slice(4, 8)):  # two groups: the rows that are left over join them
        want = seen[rows].double().std(0, correction=0).mean()
        torch.testing.assert_close(spread[rows], want.float().expand(4, 1), rtol=1e-5, atol=1e-5)
    x = Rng(1).normal(6, 1, 4, 4)
    alike, apart = x[:1].expand(6, -1, -1, -1), torch.cat([x[:1], 3 * x[1:]])
    assert not torch.allclose(critic(alike)[0], critic(apart)[0])
    torch.testing.assert_close(critic(alike), critic(alike)[:1].expand(6))
    alone = Critic(Spec((1, 4, 4)), 4)
    torch.testing.assert_close(alone(alike)[0], alone(apart)[0])
