"""GAN: its losses, penalties and bounds against closed forms; the ring; the Wasserstein critic as a distance."""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import wasserstein_distance
from torch import nn

from bottega.core import Batch, Block, Encoded, RecipeError, Rng, Spec, SpecError
from bottega.data.stream import Stream
from bottega.families.gan import GAN
from bottega.nets.bodies import Critic
from bottega.training.ema import Ema
from bottega.training.loop import fit, play
from bottega.training.optim import make_optims

ROW = Spec((6,), blocks=(Block("a", "scalar", 0, 1), Block("b", "mixture", 1, 3), Block("c", "choice", 4, 2)))
RING = torch.tensor([[math.cos(a), math.sin(a)] for a in torch.arange(8) * math.pi / 4])
UNIT = 1 / 1.2  # of the ring, in which examples reach 1


def gan(spec, seed=0, **settings):
    torch.manual_seed(seed)
    return GAN(spec, **{"size": 8, **settings})


def trained(model, batch, steps, lr=1e-3, beta1=0.5, size=128, watch=None, decay=0.99):
    ema = Ema(model, decay)
    optims = make_optims(model, steps, {"lr": lr, "beta1": beta1, "weight_decay": 0.0})
    fit(model, Stream(Encoded(batch), size), optims, steps=steps, rng=Rng(0), ema=ema, clip=0.0, watch=watch)
    Ema.load(model, ema.shadow)
    return model.eval()


# --- losses ----------------------------------------------------------------------------------------------------------


class Planted(nn.Module):
    """A critic that is linear in the example: f(x) = w . x + b."""

    def __init__(self, weight, bias=0.0):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.tensor(weight)), nn.Parameter(torch.tensor(bias))

    def forward(self, x, cond=None, drop=None):
        return x.flatten(1) @ self.weight + self.bias

    slope = Critic.slope


S = F.softplus
OBJECTIVES = {
    "saturating": (lambda f: S(-f), lambda f: S(f), lambda f: -S(f)),
    "non-saturating": (lambda f: S(-f), lambda f: S(f), lambda f: S(-f)),
    "hinge": (lambda f: (1 - f).clamp(min=0), lambda f: (1 + f).clamp(min=0), lambda f: -f),
    "wasserstein": (lambda f: -f, lambda f: f, lambda f: -f),
}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_objective_is_the_papers(objective):
    real, fake, fool = OBJECTIVES[objective]
    model = gan(Spec((2,)), objective=objective)
    model.critic = Planted([1.5, -2.0], 0.3)
    batch = Batch(2 * Rng(0).normal(64, 2))
    made = model.generator(Rng(1), 64, None).detach()
    critic, generator = model.critic_loss(batch, Rng(1)).parts, model.generator_loss(batch, Rng(1)).parts
    torch.testing.assert_close(critic["real"], real(model.critic(batch.x)))
    torch.testing.assert_close(critic["fake"], fake(model.critic(made)))
    torch.testing.assert_close(generator["fool"], fool(model.critic(made)))


def test_saturating_is_goodfellows_game():
    """The critic maximises log D(x) + log(1 - D(G(z))) and the generator minimises log(1 - D(G(z))), D = sigmoid(f)."""
    model = gan(Spec((2,)), objective="saturating")
    batch = Batch(Rng(0).normal(16, 2))
    made = model.generator(Rng(1), 16, None)
    d_real, d_fake = model.critic(batch.x).sigmoid(), model.critic(made).sigmoid()
    torch.testing.assert_close(model.critic_loss(batch, Rng(1)).total, -d_real.log() - (1 - d_fake).log())
    torch.testing.assert_close(model.generator_loss(batch, Rng(1)).total, (1 - d_fake).log())


def test_the_gradient_penalty_of_a_linear_critic():
    """|grad f| = |w| everywhere: the penalty is weight * (|w| - 1)^2 for every row, and its gradient follows."""
    model = gan(Spec((1, 2, 2)), objective="wasserstein", penalty=10.0)
    w = [3.0, 0.0, -4.0, 0.0]
    model.critic = Planted(w)
    terms = model.critic_loss(Batch(Rng(0).uniform(7, 1, 2, 2)), Rng(1))
    torch.testing.assert_close(terms.parts["penalty"], torch.full((7,), 10 * (5.0 - 1) ** 2))
    terms.parts["penalty"].mean().backward()
    torch.testing.assert_close(model.critic.weight.grad, 2 * 10 * (5.0 - 1) * torch.tensor(w) / 5)


def test_r1_of_a_linear_critic():
    """gamma/2 |w|^2, times r1_every because it is played so seldom."""
    model = gan(Spec((3,)), r1=0.5, r1_every=8)
    model.critic = Planted([1.0, 2.0, -2.0])
    terms = model.r1_loss(Batch(Rng(0).normal(5, 3)), Rng(1))
    torch.testing.assert_close(terms.parts["r1"], torch.full((5,), 0.5 / 2 * 9 * 8))


def test_turns():
    plain = gan(Spec((2,))).turns()
    assert [(t.player, t.every, t.repeat) for t in plain] == [("critic", 1, 1), ("generator", 1, 1)]
    lazy = gan(Spec((2,)), r1=1.0, r1_every=16, n_critic=5).turns()
    assert [(t.player, t.every, t.repeat) for t in lazy] == [("critic", 1, 5), ("critic", 16, 1), ("generator", 1, 1)]


# --- a Lipschitz critic ----------------------------------------------------------------------------------------------


def test_clipped_weights_stay_in_their_bound():
    model = gan(Spec((2,)), objective="wasserstein", clip=0.03, n_critic=2)
    largest = lambda: max(p.abs().max().item() for p in model.critic.parameters())  # noqa: E731
    assert largest() <= 0.03, "before the first step"
    seen = []
    trained(model, Batch(Rng(0).normal(256, 2)), 20, lr=1e-2, watch=lambda *_: seen.append(largest()))
    assert len(seen) == 20
    assert max(seen) <= 0.03
    free = gan(Spec((2,)), objective="wasserstein", n_critic=2)
    trained(free, Batch(Rng(0).normal(256, 2)), 20, lr=1e-2)
    assert max(p.abs().max().item() for p in free.critic.parameters()) > 0.03, "the bound never bites"
    assert max(p.abs().max().item() for p in model.generator.parameters()) > 0.03, "the generator is clipped, too"


def inside(model, see):
    """What ``see`` finds whenever a loss of the critic or of the generator is computed, over 20 steps."""
    seen = []
    for name in ("critic_loss", "r1_loss", "generator_loss"):
        loss = getattr(model, name)
        setattr(model, name, lambda batch, rng, loss=loss: (seen.append(see(model)), loss(batch, rng))[1])
    trained(model, Batch(Rng(0).normal(256, 2)), 20, lr=1e-2)
    return seen


def test_weights_are_clipped_after_each_update_of_the_critic():
    """Arjovsky's Algorithm 1, line 7: within a step, too."""
    model = gan(Spec((2,)), objective="wasserstein", clip=0.01, n_critic=5, r1=1.0, r1_every=2)
    seen = inside(model, lambda m: max(p.abs().max().item() for p in m.critic.parameters()))
    assert len(seen) == 20 * 6 + 10
    assert max(seen) <= 0.01


def test_singular_values_are_followed_after_each_update_of_the_critic():
    model = gan(Spec((2,)), objective="hinge", spectral=True, n_critic=5)
    iterations = inside(model, lambda m: m.critic.score.parametrizations.weight[0].v.clone())
    assert all(not torch.equal(a, b) for a, b in zip(iterations[:6], iterations[1:6], strict=False))


@pytest.mark.parametrize("spec", [Spec((2,)), Spec((1, 8, 8), cond=Spec((), vocab=3))])
def test_spectral_normalisation_holds_after_training(spec):
    """Row C6: no layer's largest singular value is above 1.05."""
    model = gan(spec, objective="hinge", spectral=True)
    x = Rng(0).uniform(256, *spec.shape) * 2 - 1
    cond = Rng(1).integers(3, 256) if spec.cond else None
    optims = make_optims(model, 60, {"lr": 3e-3, "beta1": 0.0})
    fit(model, Stream(Encoded(Batch(x, cond)), 32), optims, steps=60, rng=Rng(0))
    layers = [m for m in model.critic.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Embedding)]
    top = [torch.linalg.matrix_norm(m.weight.detach().flatten(1), 2).item() for m in layers]
    assert len(top) >= 4
    assert max(top) <= 1.05, top
    assert min(top) >= 0.9, top
    raw = [torch.linalg.matrix_norm(m.parametrizations.weight.original.detach().flatten(1), 2) for m in layers]
    assert max(raw) > 1.05, "there was nothing to normalise"


@pytest.mark.parametrize("bounded", [{"clip": 0.05}, {"penalty": 1.0}])
def test_a_wasserstein_critic_follows_the_earth_movers_distance(bounded):
    """Row C5: while the generator moves towards one-dimensional data, the critic's loss tracks the true distance."""
    x = 0.15 * Rng(0).normal(2048, 1) - 0.7
    model = gan(Spec((1,)), objective="wasserstein", n_critic=5, latent=4, **bounded)
    critic, truth = [], []

    def watch(step, seen):
        if step % 10 == 0 and step >= 20:
            last = [terms.means() for turn, terms in seen if turn.player == "critic"][-1]
            critic.append(last["real"] + last["fake"])
            truth.append(wasserstein_distance(x[:, 0].numpy(), model.sample(2048, Rng(5))[:, 0].numpy()))

    table = {"lr": 2e-3, "beta1": 0.5, "weight_decay": 0.0, "schedule": "constant", "generator": {"lr": 3e-4}}
    stream = Stream(Encoded(Batch(x)), 256)
    fit(model, stream, make_optims(model, 150, table), steps=150, rng=Rng(0), clip=0.0, watch=watch)
    assert max(truth) > 3 * min(truth), "the generator did not move"
    r = torch.corrcoef(torch.tensor([critic, truth]))[0, 1].item()
    assert r <= -0.8, r


# --- what it learns --------------------------------------------------------------------------------------------------


def ring(n, seed):
    return (RING[Rng(seed).integers(8, n)] + 0.05 * Rng(seed + 1).normal(n, 2)) * UNIT


def covered_and_good(x):
    """How many modes have at least 2 % of the samples within 4 sigma, and the share of samples that lie so near one."""
    distance, mode = torch.cdist(x / UNIT, RING).min(1)
    good = distance <= 0.2
    return int((mode[good].bincount(minlength=8) >= 0.02 * len(x)).sum()), good.float().mean().item()


@pytest.mark.slow
def test_the_ring_of_gaussians_in_seconds():
    """Row C1, one seed and few steps: codes need no bridges."""
    model = gan(Spec((2,)), size=32, latent=2, codes=64, depth=2, r1=0.02)
    modes, good = covered_and_good(trained(model, Batch(ring(20_000, 0)), 700).sample(4000, Rng(7)))
    assert modes >= 7
    assert good >= 0.8


@pytest.mark.slow
def test_the_ring_of_gaussians_without_codes():
    """Row C1: at least 7 of 8 modes and 80 % good samples, median of 5 seeds, no help from codes."""
    found = []
    for seed in range(5):
        model = gan(Spec((2,)), seed, size=32, latent=4, depth=2, r1=0.02)
        trained(model, Batch(ring(20_000, seed)), 3000, size=256)
        found.append(covered_and_good(model.sample(4000, Rng(7))))
    assert sorted(m for m, _ in found)[2] >= 7
    assert sorted(g for _, g in found)[2] >= 0.8


def test_samples_answer_to_their_condition():
    centres = torch.tensor([[-0.7, 0.0], [0.7, 0.0], [0.0, 0.8]])
    label = Rng(0).integers(3, 3000)
    x = centres[label] + 0.05 * Rng(1).normal(3000, 2)
    model = gan(Spec((2,), cond=Spec((), vocab=3)), r1=0.05)
    trained(model, Batch(x, label), 500, lr=2e-3)
    asked = torch.arange(3).repeat_interleave(200)
    near = torch.cdist(model.sample(600, Rng(2), asked), centres).argmin(1)
    assert (near == asked).float().mean() > 0.95


def test_rows_of_tables_keep_their_kinds_and_shares():
    n = 2048
    choice = Rng(0).uniform(n) < 0.8
    x = torch.zeros(n, 6)
    x[:, 0] = torch.where(choice, 0.6, -0.6) + 0.05 * Rng(1).normal(n)
    x[:, 1] = 0.1 * Rng(2).normal(n)
    x[torch.arange(n), 2 + Rng(3).integers(2, n)] = 1
    x[torch.arange(n), 4 + choice.long()] = 1
    model = trained(gan(ROW, r1=0.5, size=16), Batch(x), 600, lr=2e-3)
    made = model.sample(1000, Rng(4))
    assert set(made[:, 2:].flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(made[:, 2:4].sum(1), torch.ones(1000))
    assert torch.equal(made[:, 4:].sum(1), torch.ones(1000))
    assert made[:, 5].mean().item() == pytest.approx(0.8, abs=0.12)
    assert ((made[:, 0] > 0) == (made[:, 5] > 0)).float().mean() > 0.9, "the columns are not joined"
    soft = model.generator(Rng(4), 1000, None)
    torch.testing.assert_close(soft[:, 4:].sum(1), torch.ones(1000))
    torch.testing.assert_close(soft[:, :2], made[:, :2])
    assert torch.equal(soft[:, 4:].argmax(1), made[:, 4:].argmax(1)), "sampling rounds what training saw"


def test_levels_come_out_as_levels():
    x = gan(Spec((1, 8, 8), vocab=17, ordinal=True)).sample(3, Rng(0))
    assert x.dtype == torch.int64
    assert ((x >= 0) & (x < 17)).all()


def test_a_low_temperature_varies_less():
    model = gan(Spec((2,)))
    assert model.sample(200, Rng(0), temperature=0.3).var() < 0.6 * model.sample(200, Rng(0)).var()


def test_the_still_player_does_not_move():
    model = gan(Spec((2,)), r1=1.0, r1_every=1)
    optims, batch = make_optims(model, 10, {"lr": 1e-2}), Batch(Rng(0).normal(8, 2))
    for turn in model.turns():
        before = {k: p.clone() for k, p in model.named_parameters()}
        play(model, turn, batch, optims[turn.player].at(5), Rng(1))
        moved = {k.partition(".")[0] for k, p in model.named_parameters() if not torch.equal(p, before[k])}
        assert moved == {turn.player}


# --- what it refuses -------------------------------------------------------------------------------------------------


def test_what_it_refuses():
    with pytest.raises(SpecError, match="use family gpt"):
        GAN(Spec((16,), vocab=50))
    with pytest.raises(RecipeError, match="'lsgan'; use one of saturating"):
        GAN(Spec((2,)), objective="lsgan")
    with pytest.raises(RecipeError, match="0 or more"):
        GAN(Spec((2,)), r1=-1.0)
    with pytest.raises(RecipeError, match="choose one"):
        GAN(Spec((2,)), clip=0.1, spectral=True)
    for wrong in ({"size": 0}, {"latent": -1}, {"depth": -1}, {"drop": 1.0}, {"drop": -0.1}):
        with pytest.raises(RecipeError, match=rf"family.*{next(iter(wrong))}"):
            GAN(Spec((1, 8, 8)), **wrong)
