"""Energy-based models: both losses against closed forms, the replay buffer, chains, guidance, and the constant."""

import copy
import math
from functools import lru_cache

import pytest
import torch

from bottega.codecs.points import PointsCodec
from bottega.core import Batch, Block, Encoded, RecipeError, Rng, Scores, Spec, SpecError, has
from bottega.data import worlds
from bottega.data.stream import Stream
from bottega.families.energy import Energy
from bottega.samplers.langevin import ais, annealed_langevin, langevin, score_of
from bottega.training import checkpoint
from bottega.training.ema import Ema
from bottega.training.loop import fit
from bottega.training.optim import make_optims

POINTS = Spec((2,))
LABEL = Spec((), vocab=3)
GIVEN = Spec((2,), cond=LABEL)
CENTRE = torch.tensor([0.3, -0.4])


def energy(spec=POINTS, seed=0, **settings):
    torch.manual_seed(seed)
    return Energy(spec, **{"size": 8, "walk": 5, "buffer": 64, **settings})


class Exact(torch.nn.Module):
    """``theta`` times the energy of a normal with mean ``CENTRE``; with noise in it, for ``"dsm"``."""

    def __init__(self, std, theta, noisy):
        super().__init__()
        self.std, self.noisy, self.theta = std, noisy, torch.nn.Parameter(torch.tensor(theta))

    def forward(self, x, cond=None, drop=None, sigma=None):
        noise = sigma if self.noisy and sigma is not None else 0.0
        return self.theta * 0.5 * (x - CENTRE).square().sum(1) / (self.std**2 + noise**2)


def exact(std=0.5, theta=1.0, **settings):
    """A model whose network is replaced by an energy that is known."""
    model = energy(**settings)
    object.__setattr__(
        model, "energy", Exact(std, theta, model.objective == "dsm")
    )  # not as a player, which the class's method would hide
    return model


def normal(n, std, seed=0):
    return CENTRE + std * Rng(seed).normal(n, 2)


@lru_cache
def ring():
    world = worlds.load("ring", n=6000)
    codec = PointsCodec().fit(world.items)
    x = codec.encode(world.items).x
    return world, codec, x[:5000], x[5000:]


@lru_cache
def learned(objective):
    """A model that has seen the ring for a few seconds."""
    torch.manual_seed(0)
    model, steps = (
        Energy(POINTS, objective=objective, size=16, walk=10, data_std=0.6),
        200 if objective == "cd" else 600,
    )
    ema = Ema(model, 0.99)
    stream = Stream(Encoded(Batch(ring()[2])), 128)
    fit(model, stream, make_optims(model, steps, {"lr": 3e-3}), steps=steps, rng=Rng(0), ema=ema)
    Ema.load(model, ema.shadow)
    return model.eval()


# --- denoising score matching ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.05, 0.5, 3.0])
@pytest.mark.parametrize("theta", [0.5, 1.0, 1.5])
def test_denoising_loss_and_gradient_of_a_gaussian_are_the_known_ones(sigma, theta):
    """With data ``N(m, s^2)`` and ``v = s^2 + sigma^2`` the loss of ``theta`` times the true energy is ``d / 2`` at 1.

    In the mean ``|sigma grad E - noise|^2`` is ``d ((theta sigma^2 / v - 1)^2 + theta^2 sigma^2 s^2 / v^2)``, so the
    gradient is ``weight * d sigma^2 / v (theta - 1)``: that of half the Fisher divergence, zero at the truth.
    """
    std, n = 0.5, 50_000
    model = exact(std, theta, objective="dsm", sigma_min=sigma, sigma_max=sigma * 1.0001, data_std=std)
    terms = model.loss(Batch(normal(n, std)), Rng(1))
    assert list(terms.parts) == ["score"]
    assert terms.weight is None
    v = std**2 + sigma**2
    weight = v / std**2
    value = 0.5 * weight * 2 * ((theta * sigma**2 / v - 1) ** 2 + theta**2 * sigma**2 * std**2 / v**2)
    error = terms.total.std().item() / math.sqrt(n)
    assert terms.total.mean().item() == pytest.approx(value, abs=4 * error + 1e-3 * value)
    (grad,) = torch.autograd.grad(terms.total.mean(), model.energy.theta)
    fisher = weight * 2 * sigma**2 / v * (theta - 1)
    assert grad.item() == pytest.approx(fisher, abs=0.03 * max(1.0, weight * sigma**2 / v) + 4 * error)


def test_a_network_that_says_nothing_has_the_loss_of_a_gaussian():
    """``E = x^2 / 2 (sigma^2 + data_std^2)`` where the network is zero: exact where the noise drowns the data."""
    model, n = energy(objective="dsm", data_std=0.6), 20_000
    with torch.no_grad():
        for p in model.body.parameters():
            p.zero_()
        x = 0.6 * Rng(0).normal(n, 2)
    loss = model.loss(Batch(x), Rng(1)).total
    assert loss.mean().item() == pytest.approx(1.0, abs=4 * loss.std().item() / math.sqrt(n)), "d / 2, at every noise"
    sigma = torch.tensor([0.1, 1.0, 3.0])
    expected = 0.5 * x[:3].square().sum(1) / (sigma.square() + 0.36)
    assert torch.allclose(model.energy(x[:3], sigma=sigma), expected, rtol=1e-5)
    assert torch.allclose(model.score(x[:3], sigma), -x[:3] / (sigma.square() + 0.36)[:, None], atol=1e-5)


def test_noise_levels_are_spread_evenly_in_the_logarithm():
    model, seen = energy(objective="dsm", sigma_min=0.01, sigma_max=1.0), []
    inner = model.energy
    model.energy = lambda x, cond, drop, sigma: seen.append(sigma.detach()) or inner(x, cond, drop, sigma)
    model.loss(Batch(torch.zeros(2000, 2)), Rng(0))
    log = seen[0].log10()
    assert log.min() >= -2
    assert log.max() <= 0
    assert log.mean().item() == pytest.approx(-1, abs=0.05)
    assert log.std().item() == pytest.approx(2 / math.sqrt(12), abs=0.05)


# --- contrastive divergence ------------------------------------------------------------------------------------------


def by_hand(model, x, rng, cond=None, drop=None):
    """Where the chains of a loss start and end, drawn as the paper's algorithm 1 says and this family documents."""
    slots = model._slots(cond, drop, len(x), rng)
    fresh = rng.uniform(len(x)) < 0.05
    start = torch.where(fresh[:, None], 2 * rng.uniform(*x.shape) - 1, model.chains[slots])
    score = score_of(lambda y: model.energy(y, cond, drop))
    return (
        slots,
        start,
        langevin(score, start, model.walk, model.step_size, rng, noise=model.noise, clip=model.step_size),
    )


def test_contrast_and_tame_are_what_they_are_called():
    model, x = energy(tame=0.3), normal(32, 0.5)
    terms = model.loss(Batch(x), Rng(7))
    _, start, end = by_hand(model, x, Rng(7))
    assert not torch.equal(start, end)
    up, down = model.energy(x), model.energy(end)
    assert torch.allclose(terms.parts["contrast"], up - down, atol=1e-6)
    assert torch.allclose(terms.parts["tame"], 0.3 * (up**2 + down**2), atol=1e-6)
    assert set(terms.parts) == {"contrast", "tame"}


@pytest.mark.parametrize("theta", [0.5, 1.0, 2.0])
def test_long_walks_give_the_gradient_of_the_likelihood(theta):
    """``d/dtheta E[-log p] = E_data[dE] - E_model[dE]``, for ``theta`` times a Gaussian's energy ``d/2 (1 - 1/theta)``."""
    std, n = 0.5, 8000
    model = exact(std, theta, walk=250, step_size=0.15, tame=0.0)
    (grad,) = torch.autograd.grad(model.loss(Batch(normal(n, std)), Rng(1)).total.mean(), model.energy.theta)
    bias = 1 / (1 - 0.15**2 * theta / std**2 / 4)  # of unadjusted Langevin's variance
    assert grad.item() == pytest.approx(1 - bias / theta, abs=5 * (1 + 1 / theta) / math.sqrt(n))


def test_no_gradient_flows_through_the_chains():
    model, x = energy(walk=3), normal(8, 0.5)
    _, _, end = by_hand(model, x, Rng(3))
    assert not end.requires_grad
    loss = model.loss(Batch(x), Rng(3)).parts["contrast"].sum()
    ours = torch.autograd.grad(loss, next(model.body.parameters()))[0]
    plain = torch.autograd.grad((model.energy(x) - model.energy(end)).sum(), next(model.body.parameters()))[0]
    assert torch.allclose(ours, plain, atol=1e-6)


# --- the replay buffer -----------------------------------------------------------------------------------------------


def test_a_loss_reads_the_buffer_and_settle_writes_it():
    model, x = energy(), normal(16, 0.5)
    before = model.chains.clone()
    model.loss(Batch(x), Rng(2))
    assert torch.equal(model.chains, before)
    slots, _, end = by_hand(model, x, Rng(2))
    model.settle(0)
    expected = before.clone()
    for slot, row in zip(slots.tolist(), end, strict=True):
        expected[slot] = row  # the later row wins
    assert len(set(slots.tolist())) < 16, "two rows had the same place"
    assert torch.allclose(model.chains, expected, atol=1e-6)
    model.settle(1)
    assert torch.allclose(model.chains, expected, atol=1e-6), "what was written is forgotten"


def test_looking_does_not_walk():
    """A held-out loss, in evaluation or without gradients, leaves no chain to write."""
    model, x = energy(), normal(16, 0.5)
    before = model.chains.clone()
    model.eval().loss(Batch(x), Rng(0))
    with torch.no_grad():
        model.train().loss(Batch(x), Rng(0))
    model.settle(0)
    assert torch.equal(model.chains, before)


def test_the_buffer_starts_uniform_and_a_twentieth_of_chains_start_afresh():
    model = energy(buffer=4096)
    assert model.chains.shape == (4096, 2)
    assert model.chains.min() >= -1
    assert model.chains.max() <= 1
    assert model.chains.std().item() == pytest.approx(1 / math.sqrt(3), abs=0.02)
    model.chains.fill_(5.0)
    _, start, _ = by_hand(model, torch.zeros(4000, 2), Rng(0))
    model.loss(Batch(torch.zeros(4000, 2)), Rng(0))
    (slots, end) = model._walked[0]
    assert (start == 5).all(1).float().mean().item() == pytest.approx(0.95, abs=0.015)
    assert (end[(start < 2).all(1)].abs() < 3).all(), "the fresh ones are near the middle"


def test_each_label_has_its_own_part_of_the_buffer():
    model = energy(GIVEN, buffer=80)
    assert model.parts == 4
    cond = torch.tensor([0, 1, 2, -1]).repeat(200)
    drop = torch.arange(800) >= 400
    slots = model._slots(cond, drop, 800, Rng(0))
    part = slots // 20
    assert torch.equal(part, torch.where(drop | (cond < 0), 3, cond))
    assert len(slots.unique()) == 80
    assert (model._slots(None, None, 100, Rng(0)) >= 60).all()


def test_the_buffer_is_in_the_state_and_training_goes_on_from_it(tmp_path):
    def new():
        model = energy(buffer=32)
        return model, make_optims(model, 8, {"lr": 1e-2}), Rng(0)

    data = Encoded(Batch(normal(200, 0.5)))
    straight, optims, rng = new()
    fit(straight, Stream(data, 16), optims, steps=8, rng=rng)
    half, optims, rng = new()
    stream = Stream(data, 16)
    fit(half, stream, optims, steps=4, rng=rng)
    tensors = {k: v.clone() for k, v in checkpoint.pack(half, optims, None, rng).items()}
    again, optims, rng = new()
    assert not torch.equal(again.chains, half.chains), "the chains have moved"
    checkpoint.unpack(tensors, again, optims, None, rng)
    assert torch.equal(again.chains, half.chains)
    stream_again = Stream(data, 16)
    stream_again.position = stream.position
    fit(again, stream_again, optims, steps=8, start=4, rng=rng)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in straight.state_dict().items())
    assert "chains" in straight.state_dict()
    assert "chains" not in energy(objective="dsm").state_dict()


# --- sampling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["cd", "dsm"])
def test_samples_of_a_known_energy_are_its_gaussian(objective):
    model = exact(0.2, objective=objective, sigma_min=0.02)
    x = model.sample(3000, Rng(0), steps=300 if objective == "cd" else 40)
    assert torch.allclose(x.mean(0), CENTRE, atol=0.02)
    assert torch.allclose(x.std(0), torch.tensor(0.2), rtol=0.06)


def test_the_knobs_of_sample():
    cd = energy(noise=0.3)
    start = 2 * Rng(4).uniform(6, 2) - 1
    assert torch.equal(cd.sample(6, Rng(4), steps=50), cd.sample(6, Rng(4))), "ten training walks"
    rng = Rng(4)
    rng.uniform(6, 2)
    one = langevin(score_of(cd.energy), start, 1, cd.step_size, rng, noise=0.3, clip=cd.step_size)
    assert torch.allclose(cd.sample(6, Rng(4), steps=1), one, atol=1e-6)
    still = energy(noise=0.0)
    way = still.sample(6, Rng(4), steps=200) - still.sample(6, Rng(4), steps=100)
    assert still.energy(still.sample(6, Rng(4), steps=200)).sum() <= still.energy(start).sum()
    assert torch.isfinite(way).all()

    dsm = energy(objective="dsm")
    assert torch.equal(dsm.sample(6, Rng(4), steps=5, levels=40), dsm.sample(6, Rng(4)))
    rng = Rng(4)
    x = math.hypot(3.0, 0.6) * rng.normal(6, 2)
    by_hand = annealed_langevin(dsm.score, x, [3.0, math.sqrt(3.0 * 0.02), 0.02], 2, 0.5, rng)
    assert torch.allclose(dsm.sample(6, Rng(4), steps=2, levels=3), by_hand, atol=1e-4)


@pytest.mark.parametrize("objective", ["cd", "dsm"])
def test_guidance_pushes_the_score_from_the_unconditional_one(objective):
    model = energy(GIVEN, objective=objective)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * Rng(1).normal(*p.shape))
    x, cond, sigma = normal(4, 0.5), torch.tensor([0, 1, 2, 0]), torch.full((4,), 0.3)
    given, free = model.score(x, sigma, cond), model.score(x, sigma)
    assert (given - free).abs().max() > 1e-3
    assert torch.allclose(model.score(x, sigma, cond, 3.0), free + 3 * (given - free), atol=1e-4)
    assert torch.allclose(model.score(x, sigma, cond, 0.0), free, atol=1e-5)
    assert torch.allclose(model.score(x, sigma, torch.full((4,), -1)), free, atol=1e-5)
    x.requires_grad_()
    (grad,) = torch.autograd.grad(model.energy(x, cond, None, sigma).sum(), x)
    assert torch.allclose(given, -grad, atol=1e-5)
    drop = torch.tensor([True, False, True, False])
    lost = model.energy(x, cond, drop, sigma)
    assert torch.allclose(lost[drop], model.energy(x, None, None, sigma)[drop], atol=1e-5)
    assert torch.allclose(lost[~drop], model.energy(x, cond, None, sigma)[~drop], atol=1e-5)


def test_levels_are_spread_over_their_cells_in_training_and_come_back_as_levels():
    spec = Spec((3,), vocab=5, ordinal=True)
    model, seen = energy(spec), []
    inner = model.energy
    model.energy = lambda x, *rest: seen.append(x.detach()) or inner(x, *rest)
    levels = Rng(0).integers(5, 500, 3)
    model.loss(Batch(levels), Rng(1))
    real = next(x for x in reversed(seen[:-1]) if len(x) == 500)
    assert torch.equal(spec.as_tokens(real), levels)
    away = (real - spec.as_real(levels)) * 2
    assert away.abs().max() <= 0.5
    assert away.std().item() == pytest.approx(0.5 / math.sqrt(3), abs=0.02)
    made = model.sample(20, Rng(0), steps=3)
    assert made.dtype == torch.int64
    assert made.min() >= 0
    assert made.max() <= 4


# --- the constant ----------------------------------------------------------------------------------------------------


def test_where_there_is_a_likelihood_and_where_not():
    assert has(energy(), Scores)
    assert has(energy(Spec((8,)), objective="dsm"), Scores)
    for spec in (Spec((9,)), GIVEN, Spec((2,), vocab=4, ordinal=True), Spec((1, 8, 8))):
        assert not has(energy(spec), Scores)
    assert energy().bound == "estimate"


@pytest.mark.parametrize("std", [0.1, 0.5])
def test_log_prob_of_a_known_energy_is_its_gaussian(std):
    model, x = exact(std), normal(100, std)
    truth = torch.distributions.Normal(CENTRE, std).log_prob(x).sum(1)
    with torch.no_grad():
        got = model.log_prob(Batch(x), Rng(5))
        assert torch.equal(got, model.log_prob(Batch(x), Rng(6))), "its chains have randomness of their own"
    assert (got - truth).mean().item() == pytest.approx(0, abs=0.12)
    assert torch.allclose(got - got[0], truth - truth[0], atol=1e-3), "only the constant is estimated"


@pytest.mark.parametrize("objective", [pytest.param("cd", marks=pytest.mark.slow), "dsm"])
def test_log_prob_of_a_learned_energy_integrates_to_one_within_its_error(objective):
    """Also where contrastive divergence, whose chains stay near the data, left mass far out that it never looked at."""
    model, side = learned(objective), 200
    line = (torch.arange(side) + 0.5) / side * 8 - 4
    _, error = ais(model.energy, 512, (2,), Rng(0), start_std=1.0, step_size=2 * model.step_size)
    with torch.no_grad():
        plane = model.log_prob(Batch(torch.cartesian_prod(line, line)), Rng(0))
    mass = plane.double().exp().sum().item() * (8 / side) ** 2
    assert abs(math.log(mass)) < max(0.1, 3 * error)
    assert error < 0.6


# --- learning --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "most_inside", "least_on_it"),
    [("cd", 0.05, 0.8), ("dsm", 0.1, 0.55)],
)
def test_learns_the_ring_a_little(objective, most_inside, least_on_it):
    """Eight Gaussians on a circle: the middle is left empty, which no Gaussian does, and all eight are found."""
    world, codec, train, held = ring()
    model = learned(objective)
    made = torch.stack([torch.as_tensor(item.value) for item in codec.decode(model.sample(1000, Rng(1)))])
    radius = made.norm(dim=1)
    assert (radius < 0.5).float().mean() < most_inside
    assert ((radius - 1).abs() < 0.25).float().mean() > least_on_it
    assert world.truth["good"](made)[1] == 8
    with torch.no_grad():
        near, middle = model.log_prob(Batch(held), Rng(0)), model.log_prob(Batch(0.2 * held), Rng(0))
    assert (near > middle).float().mean() > 0.95
    if objective == "cd":
        gaussian = torch.distributions.MultivariateNormal(train.mean(0), train.T.cov()).log_prob(held).mean()
        assert near.mean() > gaussian + 0.3


MODES = torch.tensor([[-0.6, -0.4], [0.5, -0.6], [-0.4, 0.6], [0.6, 0.5]])
SHARES, SPREAD = torch.tensor([0.15, 0.35, 0.2, 0.3]), 0.15


def mixture(n, seed=0):
    rng = Rng(seed)
    which = (rng.uniform(n, 1) > SHARES.cumsum(0)[:-1]).sum(1)
    return MODES[which] + SPREAD * rng.normal(n, 2)


def true_score(x, sigma):
    """Of the mixture with noise of standard deviation ``sigma`` in it, in closed form."""
    x = x.detach().requires_grad_()
    variance = SPREAD**2 + sigma**2
    apart = -(x[:, None] - MODES).square().sum(2) / (2 * variance)
    return torch.autograd.grad((apart + SHARES.log()).logsumexp(1).sum(), x)[0]


@pytest.mark.slow
def test_denoising_learns_the_score_of_a_mixture_and_langevin_finds_its_modes_in_proportion():
    """Row by row the learned score points where the true one does, at every noise; the annealed chains end as the data."""
    torch.manual_seed(0)
    model, steps = Energy(POINTS, objective="dsm", size=16, data_std=0.6), 700
    ema = Ema(model, 0.99)
    fit(model, Stream(Encoded(Batch(mixture(8000))), 128), make_optims(model, steps, {"lr": 3e-3}), steps=steps,
        rng=Rng(0), ema=ema)  # fmt: skip
    Ema.load(model, ema.shadow)
    model.eval()
    for sigma in (0.05, 0.2, 0.6):
        x = mixture(2000, 1) + sigma * Rng(2).normal(2000, 2)
        got, want = model.score(x, torch.full((2000,), sigma)), true_score(x, sigma)
        assert torch.cosine_similarity(got.flatten(), want.flatten(), 0) > 0.95, f"noise {sigma}"
        assert torch.cosine_similarity(got, want, 1).mean() > 0.95, f"noise {sigma}"
    made = model.sample(2000, Rng(3))
    near = torch.cdist(made, MODES)
    share = torch.bincount(near.argmin(1), minlength=4) / 2000
    assert (share - SHARES).abs().max() < 0.08
    assert (near.amin(1) < 4 * SPREAD).float().mean() > 0.85


def test_a_label_moves_the_samples():
    rng = Rng(0)
    cond = rng.integers(2, 2000)
    x = torch.stack([cond - 0.5, 0.5 - cond], 1) + 0.1 * rng.normal(2000, 2)
    torch.manual_seed(0)
    model, steps = Energy(Spec((2,), cond=Spec((), vocab=2)), objective="dsm", size=8, data_std=0.5), 250
    fit(model, Stream(Encoded(Batch(x, cond)), 64), make_optims(model, steps, {"lr": 5e-3}), steps=steps, rng=Rng(0))
    middle = [model.eval().sample(300, Rng(1), torch.full((300,), k)).mean(0) for k in (0, 1)]
    assert (middle[1] - middle[0])[0] > 0.5
    assert (middle[1] - middle[0])[1] < -0.5


def test_what_it_does_not_model():
    with pytest.raises(SpecError, match="gpt"):
        Energy(Spec((4,), vocab=9))
    assert not Energy.accepts(Spec((4,), blocks=(Block("job", "choice", 0, 4),)))
    for wrong in ({"objective": "nce"}, {"size": 0}, {"walk": 0}, {"depth": 0}, {"sigma_min": 0.0}, {"sigma_max": 0.01},
                  {"drop": 1.0}):  # fmt: skip
        with pytest.raises(RecipeError, match=f"{next(iter(wrong))}"):
            Energy(POINTS, **wrong)
    for wrong in ({"step_size": 0.0}, {"data_std": 0.0}, {"noise": -1.0}, {"tame": -1.0}):
        with pytest.raises(RecipeError, match=f"family.*{next(iter(wrong))}"):
            Energy(Spec((2,)), **wrong)
    for knobs in ({"levels": 0}, {"steps": -1}):
        with pytest.raises(RecipeError, match="steps is .* and levels"):
            Energy(Spec((2,)), objective="dsm", size=4).sample(1, Rng(0), **knobs)
    with pytest.raises(RecipeError, match="buffer is 3"):
        Energy(GIVEN, buffer=3)


def test_a_copy_walks_on_its_own():
    model = energy()
    again = copy.deepcopy(model)
    model.loss(Batch(normal(4, 0.5)), Rng(0))
    model.settle(0)
    assert not torch.equal(model.chains, again.chains)
