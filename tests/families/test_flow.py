"""Flows: bijections whose densities are autograd's, integrate to one, and come near a density that is known."""

import math
from functools import lru_cache

import pytest
import torch
from torch.autograd.functional import jacobian

from bottega.codecs.image import ImageCodec
from bottega.codecs.points import PointsCodec
from bottega.core import Batch, Block, Encoded, Encodes, RecipeError, Rng, Scores, Spec, SpecError, has
from bottega.data import builtin, worlds
from bottega.data.stream import Stream
from bottega.families.flow import Flow
from bottega.training.ema import Ema
from bottega.training.loop import fit
from bottega.training.optim import make_optims

KINDS = ["nice", "realnvp", "glow", "spline"]
LABEL = Spec((), vocab=3)
EXAMPLES = {
    "points": Spec((3,)),
    "points-given": Spec((3,), cond=LABEL),
    "picture": Spec((2, 4, 4)),
    "picture-given": Spec((1, 8, 4), cond=LABEL),
    "scales": Spec((1, 8, 8)),
    "odd": Spec((1, 3, 5)),
}
LEVELS = {
    "levels": Spec((1, 4, 4), vocab=5, ordinal=True),
    "levels-given": Spec((1, 4, 4), vocab=2, ordinal=True, cond=LABEL),
    "numbers": Spec((2,), vocab=4, ordinal=True),
}


def flow(spec, kind="spline", shake=0.06, **settings):
    """A small flow away from the identity, in double precision; layers that are pushed further amplify all rounding."""
    torch.manual_seed(0)
    model = Flow(spec, kind=kind, **{"size": 6, "layers": 4, **settings}).double().eval()
    noise = Rng(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(shake * noise.normal(*p.shape))
    return model


def batch(spec, n=4, seed=0):
    rng = Rng(seed)
    x = rng.integers(spec.vocab, n, *spec.shape) if spec.is_tokens else 1.8 * rng.uniform(n, *spec.shape).double() - 0.9
    return Batch(x, None if spec.cond is None else torch.arange(n) % 3)


def normal(z):
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)


def trained(spec, data, kind, steps, size=8, lr=5e-3, rows=256, **settings):
    torch.manual_seed(0)
    model = Flow(spec, kind=kind, size=size, **settings)
    ema = Ema(model, 0.99)
    fit(model, Stream(Encoded(data), rows), make_optims(model, steps, {"lr": lr}), steps=steps, rng=Rng(0), ema=ema)
    Ema.load(model, ema.shadow)
    return model.eval()


@lru_cache
def moons(n=6000):
    """Two moons as the codec gives them: what to train on, what to keep, and the exact density of the kept."""
    world = worlds.load("moons", n=n + 2000)
    codec = PointsCodec().fit(world.items)
    x = codec.encode(world.items).x
    raw = torch.stack([torch.as_tensor(item.value) for item in world.items[n:]]).double()
    truth = world.truth["log_density"](raw) - codec.log_det
    return Batch(x[:n]), Batch(x[n:]), truth


# --- the bijection and its determinant -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_decoding_undoes_encoding_and_encoding_decoding(name, kind):
    spec = EXAMPLES[name]
    model, some = flow(spec, kind), batch(spec)
    assert has(model, Scores)
    assert has(model, Encodes)
    assert model.bound == "exact"
    with torch.no_grad():
        z = model.encode(some)
        assert z.shape == (4, *model.latent.shape) == (4, spec.dims)
        assert (z - some.x.flatten(1)).abs().max() > 0.02, "a flow that does nothing proves nothing"
        assert torch.allclose(model.decode(z, some.cond), some.x, atol=2e-5)
        other = Rng(5).normal(4, spec.dims).double()
        assert torch.allclose(model.encode(Batch(model.decode(other, some.cond), some.cond)), other, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_come_back_to_a_hundred_thousandth_in_single_precision(kind):
    """Three scales, with matrices whose inverses are solved in double precision."""
    spec = Spec((3, 16, 16))
    model, some = flow(spec, kind, shake=0.03).float(), batch(spec)
    x = some.x.float()
    with torch.no_grad():
        z = model.encode(Batch(x))
        assert (z - x.flatten(1)).abs().max() > 0.1
        assert (model.decode(z) - x).abs().max() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_log_prob_is_the_base_density_and_autograds_determinant(name, kind):
    spec = EXAMPLES[name]
    model, some = flow(spec, kind), batch(spec, 3)
    with torch.no_grad():
        z, got = model.encode(some), model.log_prob(some, Rng(0))
    for i in range(3):
        cond = None if some.cond is None else some.cond[i : i + 1]
        full = jacobian(lambda x, c=cond: model.encode(Batch(x[None], c))[0], some.x[i]).reshape(spec.dims, spec.dims)
        expected = normal(z[i : i + 1])[0] + torch.linalg.slogdet(full)[1]
        assert got[i].item() == pytest.approx(expected.item(), abs=2e-5)
        assert (full != 0).float().mean() > 0.5, "coordinates hardly mix"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LEVELS)
def test_levels_are_real_numbers_with_noise_and_a_logit(name, kind):
    spec = LEVELS[name]
    model, some = flow(spec, kind).float(), batch(spec)
    real = flow(Spec(spec.shape, cond=spec.cond), kind)
    v = (some.x + Rng(3).uniform(4, *spec.shape)).double().requires_grad_()
    y = torch.logit(0.05 + 0.9 * v / spec.vocab)
    (slope,) = torch.autograd.grad(y.sum(), v)
    with torch.no_grad():
        expected = real.log_prob(Batch(y, some.cond), Rng(0)) + slope.log().flatten(1).sum(1)
        assert torch.allclose(model.log_prob(some, Rng(3)).double(), expected, atol=1e-3)
        assert model.bound == "lower"
        assert torch.equal(model.decode(model.encode(some), some.cond), some.x)
        x = model.sample(50, Rng(0), None if spec.cond is None else torch.arange(50) % 3)
    assert x.dtype == torch.int64
    assert x.min() >= 0
    assert x.max() < spec.vocab


def test_the_bound_of_levels_lies_below_what_samples_show():
    """The mean over noise of ``exp(log_prob)`` is the probability of a level; the first and last also get the tails."""
    spec = LEVELS["numbers"]
    model, n = flow(spec, "spline", shake=0.15).float(), 20_000
    x = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    with torch.no_grad():
        draws = torch.stack([model.log_prob(Batch(x), Rng(k)) for k in range(200)])
        made = model.sample(n, Rng(0))
    p, share = draws.exp().mean(0), torch.bincount(made @ torch.tensor([4, 1]), minlength=16) / n
    inner = ((x > 0) & (x < 3)).all(1)
    assert inner.sum() == 4
    assert share[inner].min() > 0.005
    noise = 4 * ((share + 1 / n) / n).sqrt() + 4 * draws.exp().std(0) / 14
    assert ((share - p).abs() < noise)[inner].all()
    assert (p < share + noise).all()
    assert (draws.mean(0) <= p.log() + 1e-9).all()
    assert draws.mean(0).exp().sum() < 1


# --- shapes ----------------------------------------------------------------------------------------------------------


def test_even_pictures_have_scales_and_odd_ones_are_vectors():
    def shapes(spec, kind="glow"):
        return flow(spec, kind).shapes

    assert shapes(Spec((1, 8, 8))) == [(4, 4, 4), (8, 2, 2)]
    assert shapes(Spec((3, 32, 32))) == [(12, 16, 16), (24, 8, 8), (48, 4, 4)]
    assert shapes(Spec((1, 8, 8)), "nice") == [(4, 4, 4), (16, 2, 2)], "NICE lets nothing leave early"
    assert shapes(Spec((1, 5, 5))) == [(25,)]
    assert shapes(Spec((1, 4, 3))) == [(12,)]
    assert shapes(Spec((1, 2, 2))) == [(4,)], "too small to squeeze"
    assert shapes(Spec((1, 6, 6))) == [(4, 3, 3)]
    assert shapes(Spec((7,))) == [(7,)]


@pytest.mark.parametrize("kind", ["realnvp", "glow", "spline"])
def test_what_leaves_early_is_normal_given_what_stays(kind):
    """Half of the first scale's numbers leave with a mean and a scale that depend on the other half."""
    model, some = flow(Spec((1, 8, 8)), kind), batch(Spec((1, 8, 8)))
    with torch.no_grad():
        z = model.encode(some)
        moved = z.clone()
        moved[:, :32] += 0.1  # only what left at the first scale
        change = (model.decode(moved) - model.decode(z)).abs()
        assert change.max() > 1e-3
        assert torch.allclose(model.encode(Batch(model.decode(moved)))[:, 32:], z[:, 32:], atol=2e-5)


@pytest.mark.parametrize(
    ("kind", "volume_moves"), [("nice", False), ("realnvp", True), ("glow", True), ("spline", True)]
)
def test_only_nice_has_one_volume_everywhere(kind, volume_moves):
    spec = Spec((3,))
    model, some = flow(spec, kind), batch(spec, 16)
    with torch.no_grad():
        gain = model.log_prob(some, Rng(0)) - normal(model.encode(some))
    assert (gain.std() > 1e-3) == volume_moves


def test_what_it_does_not_model():
    for spec, mend in {
        Spec((4,), vocab=9): "gpt",
        Spec((4,), blocks=(Block("job", "choice", 0, 4),)): "vae",
        Spec((1,)): "diffusion",
    }.items():
        with pytest.raises(SpecError, match=mend):
            Flow(spec)
    assert not Flow.accepts(Spec((2,), blocks=(Block("a", "scalar", 0, 1), Block("b", "scalar", 1, 1))))
    for wrong in ({"kind": "planar"}, {"size": 0}, {"layers": 0}, {"drop": 1.0}):
        with pytest.raises(RecipeError, match=f"family.{next(iter(wrong))}|family.size"):
            Flow(Spec((2,)), **wrong)
    with pytest.raises(RecipeError, match="even sides .* or kind 'realnvp'"):
        Flow(Spec((3, 101, 101)))


# --- sampling --------------------------------------------------------------------------------------------------------


def test_temperature_is_the_spread_of_base_points():
    spec = Spec((2,), cond=LABEL)
    model, cond = flow(spec).float(), torch.tensor([0, 1, 2])
    z = Rng(4).normal(3, 2)
    with torch.no_grad():
        assert torch.allclose(model.sample(3, Rng(4), cond, temperature=0.5), model.decode(0.5 * z, cond))
        assert torch.allclose(model.sample(3, Rng(4), cond), model.decode(z, cond))
        cold = model.sample(3, Rng(4), cond, temperature=0.0)
        assert torch.allclose(cold, model.sample(3, Rng(5), cond, temperature=0.0))
        assert (cold[0] - cold[1]).abs().max() > 1e-3, "labels have the same middle"


def test_condition_and_its_absence():
    spec = Spec((2,), cond=LABEL)
    model, x = flow(spec), batch(Spec((2,)), 5).x
    with torch.no_grad():
        each = [model.log_prob(Batch(x, torch.full((5,), k)), Rng(0)) for k in (0, 1, 2, -1)]
        none = model.log_prob(Batch(x), Rng(0))
    assert torch.allclose(each[3], none, atol=1e-5), "a label that is not known is no label"
    assert all((a - b).abs().max() > 1e-3 for i, a in enumerate(each) for b in each[:i])


def test_drop_forgets_some_labels_in_training_only():
    spec = Spec((2,), cond=LABEL)
    x, cond = torch.full((400, 2), 0.3).double(), torch.zeros(400, dtype=torch.long)
    model = flow(spec, drop=0.25)
    with torch.no_grad():
        loss = model.loss(Batch(x, cond), Rng(0)).total
        known, none = (-model.log_prob(Batch(x[:1], c), Rng(0)) for c in (cond[:1], None))
        assert torch.allclose(-model.log_prob(Batch(x, cond), Rng(0)), known.expand(400), atol=1e-5)
    forgotten = (loss - none).abs() < 1e-5
    assert torch.allclose(loss[~forgotten], known.expand(400)[~forgotten], atol=1e-5)
    assert (known - none).abs() > 1e-3
    assert 0.17 < forgotten.double().mean() < 0.33


# --- learning --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "better"), [("nice", 0.03), ("realnvp", 0.3), ("glow", 0.4), ("spline", 0.7)])
def test_a_little_training_beats_a_gaussian_and_keeps_the_density_whole(kind, better):
    data, held, truth = moons()
    model = trained(Spec((2,)), data, kind, 500 if kind == "nice" else 200, layers=4, lr=1e-2, rows=128)
    with torch.no_grad():
        got = model.log_prob(held, Rng(0)).mean().item()
        side = 200
        line = (torch.arange(side) + 0.5) / side * 4 - 2
        mass = model.log_prob(Batch(torch.cartesian_prod(line, line)), Rng(0)).double().exp().sum() * (4 / side) ** 2
    gaussian = torch.distributions.MultivariateNormal(data.x.mean(0), data.x.T.cov()).log_prob(held.x).mean().item()
    assert mass.item() == pytest.approx(1, abs=0.005)
    assert got > gaussian + better
    assert got < truth.mean().item() + 0.02, "no model is better than the truth"


def test_learns_what_each_label_means():
    rng = Rng(0)
    cond = rng.integers(2, 4000)
    x = torch.stack([cond - 0.5, 0.5 - cond], 1) + 0.1 * rng.normal(4000, 2)
    model = trained(Spec((2,), cond=Spec((), vocab=2)), Batch(x, cond), "realnvp", 200, layers=4, drop=0.2)
    for k in (0, 1):
        made = model.sample(500, Rng(1), torch.full((500,), k))
        assert torch.allclose(made.mean(0), torch.tensor([k - 0.5, 0.5 - k]), atol=0.05)
    free = model.sample(500, Rng(1))
    assert 0.25 < (free[:, 0] > 0).float().mean() < 0.75, "without a label both are drawn"
    with torch.no_grad():
        right, wrong = (model.log_prob(Batch(x[:500], c), Rng(0)) for c in (cond[:500], 1 - cond[:500]))
    assert (right > wrong).float().mean() > 0.99


def test_learns_pictures_of_levels():
    """Two rows equal, two the opposite: 4 of 16 bits are free, and a bound lies between 4 log 2 and 16 log 2 nats.

    The opposite rows agree the least: over three seeds 0.61 to 0.66 of the samples after 150 steps, 0.72 to 0.76 after 400.
    """
    top = Rng(0).integers(2, 2000, 1, 1, 4)
    x = torch.cat([top, top, 1 - top, 1 - top], 2)
    spec = Spec((1, 4, 4), vocab=2, ordinal=True)
    model = trained(spec, Batch(x), "glow", 400, size=8, layers=3, lr=1e-2, rows=32)
    with torch.no_grad():
        nll = -model.log_prob(Batch(x[:500]), Rng(0)).mean().item()
        made = model.sample(300, Rng(0))
    assert nll < 16 * math.log(2) - 2
    assert nll > 4 * math.log(2), "a bound below the entropy is no bound"
    assert (made[:, :, 0] == made[:, :, 1]).float().mean() > 0.65
    assert (made[:, :, 0] != made[:, :, 2]).float().mean() > 0.65


@pytest.mark.slow
def test_glow_says_digits_in_fewer_bits_than_realnvp():
    """8 x 8 pictures of 17 levels; as many couplings, as wide, as many steps."""
    codec = ImageCodec(size=0, levels=17, labels="none")
    data = codec.fit(items := builtin.load("digits").items).encode(items)
    bits = {}
    for kind in ("realnvp", "glow"):
        model = trained(codec.spec, data.take(slice(0, 1500)), kind, 300, size=16, lr=2e-3, rows=64, layers=4)
        with torch.no_grad():
            bits[kind] = -model.log_prob(data.take(slice(1500, None)), Rng(0)).mean().item() / 64 / math.log(2)
    independent = -(torch.bincount(data.x.flatten()) / data.x.numel()).clamp_min(1e-9)
    assert bits["glow"] < bits["realnvp"] < (independent * (-independent).log2()).sum()


@pytest.mark.slow
def test_moons_within_a_twentieth_of_a_nat_of_the_truth():
    data, held, truth = moons(20_000)
    model = trained(Spec((2,)), data, "spline", 2000, size=32, lr=2e-3)
    with torch.no_grad():
        gap = truth - model.log_prob(held, Rng(0)).double()
    error = 1.96 * gap.std().item() / math.sqrt(len(gap))
    assert -error < gap.mean().item() < 0.05
