"""RBM: energies and chains against sums over all states, log Z by annealing, learning a distribution that is known."""

import math
from functools import lru_cache

import pytest
import torch

from bottega.codecs.points import PointsCodec
from bottega.core import Batch, Block, Edits, Encoded, RecipeError, Rng, Scores, Spec, SpecError, has
from bottega.data import worlds
from bottega.data.stream import Stream
from bottega.families.rbm import RBM
from bottega.testing.cases import everything
from bottega.training.loop import fit
from bottega.training.optim import make_optims

LABEL = Spec((), vocab=3)
SPECS = {
    "binary": Spec((1, 2, 3), vocab=2, ordinal=True),
    "levels": Spec((4,), vocab=3, ordinal=True),
    "row": Spec((3,), vocab=9, blocks=(Block("a", "scalar", 0, 2), Block("b", "choice", 2, 4), Block("c", "choice", 6, 3))),
}  # fmt: skip
TINY = SPECS["binary"]


def rbm(spec=TINY, seed=0, spread=0.8, **settings):
    torch.manual_seed(seed)
    model = RBM(spec, **{"size": 5, "buffer": 64, **settings}).eval()
    noise = Rng(seed)
    with torch.no_grad():
        for p in (model.weight, model.visible, model.hidden):
            p.copy_(spread * noise.normal(*p.shape))
    return model


def joint(model, x):
    """``-E(v, h)`` of every example with every hidden state, term by term as the paper writes it, ``(B, 2^size)``."""
    b, c = (t[0] for t in model._biases(None, 1))
    rows = []
    for one in x:
        local = model.places.enter(one[None])[0]
        row = []
        for h in model._states():
            total = (c * h).sum()
            for place, level in enumerate(local.tolist()):
                if level:
                    unit = place * (model.places.most - 1) + level - 1
                    total = total + b[unit] + (h * model.weight[:, unit]).sum()
            row.append(total)
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("name", SPECS)
def test_free_energy_and_constant_are_sums_over_all_states(name):
    model, x = rbm(SPECS[name]), everything(SPECS[name])
    with torch.no_grad():
        energies = joint(model, x)
        assert torch.allclose(-model.free_energy(x), energies.logsumexp(1), atol=1e-4)
        assert model.log_z().item() == pytest.approx(energies.logsumexp((0, 1)).item(), abs=1e-4)
        assert model.log_prob(Batch(x), Rng(0)).exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert model.bound == "exact"


@pytest.mark.parametrize("name", SPECS)
def test_a_gibbs_step_leaves_the_distribution_as_it_is(name):
    """The sum over hidden states of p(h | v) p(v' | h), estimated by many steps from exact samples."""
    spec, n = SPECS[name], 20_000
    model, x = rbm(spec), everything(spec)
    with torch.no_grad():
        p = model.log_prob(Batch(x), Rng(0)).double().exp()
        start = x[torch.multinomial(p, n, replacement=True, generator=torch.Generator().manual_seed(0))]
        b, c = model._biases(None, n)
        end = model._gibbs(start, b, c, Rng(1))
    for made in (end, model.sample(n, Rng(2))):
        counts = (made.flatten(1)[:, None] == x.flatten(1)).all(2).sum(0)
        big = n * p > 5
        chi2 = ((counts - n * p) ** 2 / (n * p))[big].sum().item()
        assert chi2 < big.sum() + 5 * math.sqrt(2 * big.sum())
        assert counts.sum() == n, "a step leaves the space"


def test_a_chain_of_the_wrong_temperature_is_found_out():
    n, x = 20_000, everything(TINY)
    model = rbm()
    with torch.no_grad():
        p = model.log_prob(Batch(x), Rng(0)).double().exp()
        made = model.sample(n, Rng(2))
        b, c = model._biases(None, n)
        for _ in range(20):
            made = model._gibbs(made, b, c, Rng(3), beta=0.7)
    counts = (made.flatten(1)[:, None] == x.flatten(1)).all(2).sum(0)
    assert ((counts - n * p) ** 2 / (n * p)).sum() > 500


# --- log Z -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_annealing_finds_the_constant_within_5_percent(seed):
    """20 pixels and 10 hidden bits with strong weights: 2^30 joint states, summed exactly over the hidden ones."""
    model = rbm(Spec((1, 4, 5), vocab=2, ordinal=True), seed, size=10, spread=0.6)
    with torch.no_grad():
        truth = model.log_z().item()
    estimate, error = model.anneal(512, 1000, Rng(1))
    assert abs(math.expm1(estimate - truth)) < 0.05
    assert error < 0.02
    assert abs(estimate - truth) < 4 * error + 1e-3
    rough, wide = model.anneal(512, 3, Rng(1))
    assert wide > 3 * error, "few temperatures must show in the error"


def test_bounds_are_declared_by_what_can_be_summed():
    large = rbm(Spec((1, 4, 5), vocab=2, ordinal=True), size=11, spread=0.3)
    assert large.bound == "estimate"
    x = Batch(Rng(0).integers(2, 4, 1, 4, 5))
    with torch.no_grad():
        score = large.log_prob(x, Rng(0))
        assert torch.equal(score, large.log_prob(x, Rng(9))), "its chains have randomness of their own"
        truth = -large.free_energy(x.x) - large._log_weights(*large._biases(None, 1)).logsumexp(0)
    assert 0 < large.doubt < 0.02
    assert torch.allclose(score, truth, atol=0.05)
    assert has(large, Scores)
    assert has(large, Edits)
    assert not has(RBM(Spec((4,), vocab=2, ordinal=True, cond=LABEL)), Scores)


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["cd", "pcd"])
def test_long_walks_give_the_gradient_of_the_likelihood(objective):
    n = 20_000
    model = rbm(objective=objective, walk=60)
    x = (Rng(5).uniform(n, 1, 1, 3) < 0.8).long().expand(-1, -1, 2, -1)
    (got,) = torch.autograd.grad(model.loss(Batch(x), Rng(0)).total.mean(), model.weight)
    (want,) = torch.autograd.grad(-model.log_prob(Batch(x), Rng(0)).mean(), model.weight)
    assert (got - want).abs().max() < 0.02
    assert want.abs().max() > 0.1


def test_persistent_chains_are_read_by_a_loss_and_written_by_settle():
    model = rbm().train()
    before = model.chains.clone()
    model.loss(Batch(Rng(0).integers(2, 8, 1, 2, 3)), Rng(1))
    assert torch.equal(model.chains, before)
    (slots, ends), rng = model._walked[0], Rng(1)
    assert torch.equal(slots, rng.integers(64, 8))
    model.settle(0)
    assert torch.equal(model.chains[slots[-1]], ends[-1])
    assert not torch.equal(model.chains, before)
    model.eval().loss(Batch(Rng(0).integers(2, 8, 1, 2, 3)), Rng(1))
    assert not model._walked, "looking does not walk"


@lru_cache
def bars(n=4000, side=3, seed=0):
    """Each of ``side`` rows is all on or all off: 2^side pictures, log(2^side) nats."""
    on = Rng(seed).integers(2, n, 1, side, 1)
    return Batch(on.expand(-1, -1, -1, side).contiguous())


@pytest.mark.parametrize("objective", ["cd", "pcd"])
def test_learns_bars(objective):
    """A quarter of a nat above the entropy, which independent pixels miss by four, exactly computed."""
    torch.manual_seed(0)
    spec, steps = Spec((1, 3, 3), vocab=2, ordinal=True), 400
    model = RBM(spec, size=8, objective=objective, buffer=256)
    optims = make_optims(model, steps, {"lr": 3e-2, "weight_decay": 0.0})
    fit(model, Stream(Encoded(bars()), 64), optims, steps=steps, rng=Rng(0))
    with torch.no_grad():
        x = everything(spec)
        p = model.eval().log_prob(Batch(x), Rng(0)).exp()
        nll = -model.log_prob(bars(seed=1), Rng(0)).mean().item()
    truth = (x[..., :1] == x).all(-1).flatten(1).all(1) / 8
    assert math.log(8) - 0.02 < nll < math.log(8) + 0.25
    assert 0.5 * (p - truth).abs().sum() < 0.25


@pytest.mark.slow
def test_points_of_a_ring_within_a_total_variation_of_0_15():
    """Eight Gaussians on a circle in 16 x 16 cells: the share of each cell, as summed and as sampled."""
    codec, side = PointsCodec(), 16
    x = codec.fit(items := worlds.load("ring", n=36_000).items).encode(items).x
    cell = ((x + 1) * side / 2).long().clamp(0, side - 1)
    spec, steps = Spec((2,), vocab=side, ordinal=True), 1000
    torch.manual_seed(0)
    model = RBM(spec, size=64)
    optims = make_optims(model, steps, {"lr": 3e-2, "weight_decay": 0.0})
    fit(model, Stream(Encoded(Batch(cell[:16_000])), 128), optims, steps=steps, rng=Rng(0))
    with torch.no_grad():
        summed = torch.softmax(-model.eval().free_energy(everything(spec)).double(), 0)
        made = model.sample(20_000, Rng(0))

    def share(cells):
        return torch.bincount(cells @ torch.tensor([side, 1]), minlength=side**2).double() / len(cells)

    held = share(cell[16_000:])
    assert 0.5 * (summed - held).abs().sum() < 0.15
    assert 0.5 * (share(made) - held).abs().sum() < 0.15


def test_an_edit_completes_what_was_learned():
    torch.manual_seed(0)
    spec, steps = Spec((1, 3, 3), vocab=2, ordinal=True), 400
    model = RBM(spec, size=12, buffer=256)
    fit(model, Stream(Encoded(bars()), 64), make_optims(model, steps, {"lr": 3e-2}), steps=steps, rng=Rng(0))
    batch = bars(200, seed=2)
    keep = torch.tensor([True, False, False]).expand(1, 3, 3)
    start = Batch(torch.where(keep, batch.x, 1 - batch.x))
    out = model.eval().edit(start, keep, Rng(0), steps=50)
    assert torch.equal(out[..., 0], batch.x[..., 0])
    assert (out == batch.x).float().mean() > 0.93


def test_what_it_does_not_model():
    for spec, mend in {Spec((1, 4, 4)): "energy", Spec((9,), vocab=4): "gpt"}.items():
        with pytest.raises(SpecError, match=mend):
            RBM(spec)
    for steps in (0, -3):
        x = torch.zeros(2, *TINY.shape, dtype=torch.long)
        with pytest.raises(RecipeError, match="at least 1"):
            rbm().edit(Batch(x), x < 0, Rng(0), steps=steps)
    for wrong in ({"size": 0}, {"walk": 0}, {"objective": "nce"}, {"drop": 1.0}):
        with pytest.raises(RecipeError, match=f"family.*{next(iter(wrong))}"):
            RBM(TINY, **wrong)
    with pytest.raises(RecipeError, match="buffer is 3"):
        RBM(Spec((4,), vocab=2, cond=LABEL, ordinal=True), buffer=3)
    with pytest.raises(RecipeError, match="steps is -1"):
        rbm().sample(1, Rng(0), steps=-1)
