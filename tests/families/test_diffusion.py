"""The diffusion family: what it accepts, that it learns, guidance, inpainting, likelihoods."""

import math

import pytest
import torch

from bottega.core import Batch, Edits, Encodes, RecipeError, Rng, Scores, Spec, SpecError, has
from bottega.families.consistency import Consistency
from bottega.families.diffusion import Diffusion
from bottega.samplers.diffusion import SCHEDULES
from bottega.samplers.solvers import SAMPLERS
from bottega.testing import check_family
from bottega.training.loop import fit
from bottega.training.optim import make_optims
from helpers import trained

POINTS = Spec((2,))
LABEL = Spec((), vocab=3)
KINDS = {
    "points": POINTS,
    "picture": Spec((1, 6, 7)),
    "levels": Spec((1, 8, 8), vocab=17, ordinal=True),
    "binary": Spec((4,), vocab=2, ordinal=True),
    "conditional": Spec((3,), cond=LABEL),
}


def small(spec=POINTS, **options):
    torch.manual_seed(0)
    return Diffusion(spec, **{"size": 8, "depth": 1, **options})


def some(spec, n, seed=0):
    rng = Rng(seed)
    x = rng.integers(spec.vocab, n, *spec.shape) if spec.is_tokens else 2 * rng.uniform(n, *spec.shape) - 1
    return Batch(x, None if spec.cond is None else rng.integers(spec.cond.vocab, n))


class Known(Diffusion):
    """With the exact denoiser of N(0.3, 0.4^2) in each coordinate instead of a network."""

    def _predict(self, x, sigma, given):
        s = sigma.view(-1, *[1] * (x.ndim - 1))
        return 0.3 + 0.16 / (0.16 + s**2) * (x - 0.3), None


@pytest.mark.parametrize("make", [Diffusion, Consistency])
def test_data_std_is_the_unit_of_all_noise_levels(make):
    """Data a fifth as large with a fifth of ``data_std``: the same losses, samples a fifth as large, densities as they follow."""
    spec = KINDS["conditional"]
    more = {"classifier": True, "variance": "learned"} if make is Diffusion else {}
    models = []
    for std in (0.5, 0.1):
        torch.manual_seed(0)
        models.append(make(spec, size=8, depth=1, data_std=std, **more))
        models[-1].settle(10**5)  # the pairs of a consistency model are apart now, not at the clean end
    large, small = models
    batch = some(spec, 64)
    less = Batch(batch.x / 5, batch.cond)
    assert small.loss(less, Rng(1)).total.tolist() == pytest.approx(large.loss(batch, Rng(1)).total.tolist(), rel=1e-3)
    ways = (
        [{}]
        if make is Consistency
        else [{}, {"classifier_scale": 2.0}, {"sampler": "ddpm"}, {"sampler": "heun", "eta": 1.0}]
    )
    for knobs in ways:
        made = large.sample(8, Rng(2), batch.cond[:8], steps=4, **knobs)
        assert torch.allclose(small.sample(8, Rng(2), batch.cond[:8], steps=4, **knobs), made / 5, atol=1e-4), knobs
    if make is Diffusion:
        wider = large.log_prob(batch, Rng(3)) + 3 * math.log(5)
        assert torch.allclose(small.log_prob(less, Rng(3)), wider, atol=0.02)
        keep = torch.tensor([True, False, True])
        for knobs in ({}, {"strength": 0.6}):
            edited = large.edit(batch, keep, Rng(4), steps=4, **knobs)
            assert torch.allclose(small.edit(less, keep, Rng(4), steps=4, **knobs), edited / 5, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_sample_edit_and_score(kind):
    spec = KINDS[kind]
    model, batch = small(spec), some(spec, 4)
    model.score_steps = 4
    total = model.loss(batch, Rng(0)).total
    assert total.shape == (4,)
    total.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    out = model.sample(3, Rng(1), None if batch.cond is None else batch.cond[:3], steps=3)
    assert out.shape == (3, *spec.shape)
    assert out.dtype == batch.x.dtype
    if spec.is_tokens:
        assert out.min() >= 0
        assert out.max() < spec.vocab
    keep = Rng(2).uniform(*batch.x.shape) < 0.5
    edited = model.edit(batch, keep, Rng(3), steps=3, tries=2)
    assert torch.equal(edited[keep], batch.x[keep])
    assert not torch.equal(edited, batch.x)
    assert torch.isfinite(model.log_prob(batch, Rng(4))).all()


def test_capabilities():
    model = small()
    assert has(model, Scores)
    assert has(model, Edits)
    assert not has(model, Encodes)
    assert (model.bound, small(KINDS["levels"]).bound) == ("estimate", "lower")


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", ["eps", "x", "v"])
def test_loss_is_the_squared_error_of_the_prediction(prediction, schedule):
    """With a body that says nothing, the loss is the mean square of what it should have said."""
    model = small(prediction=prediction, schedule=schedule)
    for p in model.body.last.parameters():
        torch.nn.init.zeros_(p)
    x = some(POINTS, 20000).x
    got = model.loss(Batch(x), Rng(1)).total.mean().item()
    square = x.square().mean().item() / model.scale**2
    if prediction == "eps":
        assert got == pytest.approx(1.0, rel=0.05)
    elif prediction == "x":
        assert got == pytest.approx(square, rel=0.05)
    else:  # a rotation of both: between the two
        assert min(1, square) - 0.05 < got < max(1, square) + 0.05


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_row_of_a_batch_is_the_sample_drawn_alone(sampler):
    model = small(KINDS["picture"])
    together = model.sample(3, Rng(1, 2, 3), sampler=sampler, steps=4)
    alone = model.sample(1, Rng.for_rows([2]), sampler=sampler, steps=4)
    torch.testing.assert_close(alone, together[1:2], atol=1e-4, rtol=1e-4)


def test_guidance_one_is_conditional_and_zero_unconditional():
    model = small(KINDS["conditional"])
    cond, x, sigma = torch.tensor([0, 1, 2]), Rng(0).normal(3, 3), torch.tensor(0.7)
    known, free = model.denoiser(3, cond)(x, sigma), model.denoiser(3)(x, sigma)
    assert (known - free).abs().max() > 1e-4
    assert torch.equal(model.denoiser(3, cond, 1.0)(x, sigma), known)
    assert torch.equal(model.denoiser(3, cond, 0.0)(x, sigma), free)
    torch.testing.assert_close(
        model.denoiser(3, cond, 2.5)(x, sigma), free + 2.5 * (known - free), atol=1e-5, rtol=1e-4
    )
    assert torch.equal(model.sample(3, Rng(1), cond, guidance=0.0), model.sample(3, Rng(1)))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_log_prob_of_gaussian_data_within_one_percent(schedule):
    """E3: the probability-flow ODE of every process."""
    model = Known(POINTS, size=8, schedule=schedule)
    x = 0.3 + 0.4 * Rng(0).normal(200, 2)
    truth = torch.distributions.Normal(0.3, 0.4).log_prob(x).sum(1)
    got = model.log_prob(Batch(x), Rng(0))
    assert got.mean().item() == pytest.approx(truth.mean().item(), rel=0.01)
    wide = Known(Spec((5, 5)), size=8, schedule=schedule)  # 25 coordinates: Hutchinson
    x = 0.3 + 0.4 * Rng(0).normal(50, 5, 5)
    truth = torch.distributions.Normal(0.3, 0.4).log_prob(x).sum((1, 2))
    assert wide.log_prob(Batch(x), Rng(0)).mean().item() == pytest.approx(truth.mean().item(), rel=0.01)


def test_bound_of_levels_is_tight_for_the_exact_denoiser():
    """Two levels with P(1) = p in each of three places: the bound meets the exact probability."""
    p = 0.8

    class Coin(Diffusion):
        def _predict(self, x, sigma, given):
            s = sigma.view(-1, *[1] * (x.ndim - 1))
            return torch.tanh(x / s**2 + 0.5 * math.log(p / (1 - p))), None

    model = Coin(Spec((3,), vocab=2, ordinal=True), size=8)
    x = torch.tensor([[1, 1, 1]] * 1500 + [[0, 1, 0]] * 1500)
    truth = torch.where(x == 1, math.log(p), math.log(1 - p)).sum(1)
    got = model.log_prob(Batch(x), Rng(0))
    assert got[:1500].mean().item() == pytest.approx(truth[0].item(), abs=0.06)
    assert got[1500:].mean().item() == pytest.approx(truth[-1].item(), abs=0.15)
    p = 0.3  # a denoiser that is wrong about the data: the bound must fall below the truth
    worse = model.log_prob(Batch(x), Rng(0))
    assert worse[:1500].mean() < truth[0] - 0.5


def test_sizes_and_names_are_checked():
    with pytest.raises(SpecError, match="ordered levels"):
        Diffusion(Spec((8,), vocab=5))
    with pytest.raises(RecipeError, match="did you mean 'cosine'"):
        small(schedule="cosin")
    with pytest.raises(RecipeError, match="unknown prediction"):
        small(prediction="noise")
    with pytest.raises(RecipeError, match="patch is 2"):
        small(patch=2)
    with pytest.raises(RecipeError, match="multiple of 4"):
        small(size=6)
    with pytest.raises(RecipeError, match="did you mean 'dpmpp_2m'"):
        small().sample(1, Rng(0), sampler="dpmpp2m")
    with pytest.raises(RecipeError, match="variance is 'upper'"):
        small(variance="upper")
    with pytest.raises(RecipeError, match="only 'ddim'"):
        small().sample(1, Rng(0), eta=0.5)
    some = torch.zeros(1, 2)
    with pytest.raises(RecipeError, match="tries"):
        Diffusion(Spec((2,)), size=4).edit(Batch(some), some > 1, Rng(0), tries=0)
    with pytest.raises(RecipeError, match="steps"):
        small().sample(1, Rng(0), steps=0)


def test_a_learned_variance_is_that_of_gaussian_data():
    """Trained on a Gaussian wider than ``data_std`` in one place and narrower in the other; exact variance in closed form."""
    torch.manual_seed(0)
    std = torch.tensor([0.7, 0.2])
    model, rng = Diffusion(POINTS, size=8, depth=1, variance="learned"), Rng(0)
    batches = iter(lambda: Batch(std * rng.normal(256, 2)), None)
    fit(model, batches, make_optims(model, 500, {"lr": 1e-2}), steps=500, rng=Rng(1))
    for sigma in (0.2, 0.5, 1.5):
        x = (std**2 + sigma**2).sqrt() * rng.normal(500, 2)
        with torch.no_grad():
            _, variance = model.posterior(500)(x, torch.tensor(sigma))
        truth = std**2 * sigma**2 / (std**2 + sigma**2)
        torch.testing.assert_close(variance.mean(0), truth, rtol=0.3, atol=0)
    few = model.sample(4000, Rng(3), sampler="ddpm", steps=6).std(0)
    model.heads_off = model.posterior
    model.posterior = lambda *a: lambda x, s: (model.heads_off(*a)(x, s)[0], torch.zeros(()))
    lower = model.sample(4000, Rng(3), sampler="ddpm", steps=6).std(0)
    assert (few / std - 1).abs().max() < 0.5 * (lower / std - 1).abs().max()


def test_classifier_guidance_more_accurate_and_less_diverse():
    """E11: three overlapping Gaussians; the denoiser is asked for none of them, the classifier pulls."""
    torch.manual_seed(0)
    centres = torch.tensor([[-0.6, -0.4], [0.6, -0.4], [0.0, 0.6]])
    spec = Spec((2,), cond=LABEL)
    model, rng = Diffusion(spec, size=8, depth=1, classifier=True), Rng(0)

    def draw():
        y = rng.integers(3, 256)
        return Batch(centres[y] + 0.3 * rng.normal(256, 2), y)

    fit(model, iter(draw, None), make_optims(model, 250, {"lr": 1e-2}), steps=250, rng=Rng(1))
    x, sigma = draw().x, torch.full((256,), 0.4)
    noisy = x + 0.4 * rng.normal(256, 2)
    truth = (-(torch.cdist(noisy, centres) ** 2) / (2 * (0.3**2 + 0.4**2))).log_softmax(1)
    for k in range(3):
        said = model._classify(noisy, sigma, torch.full((256,), k)).exp()
        assert (said - truth[:, k].exp()).abs().mean() < 0.1
    asked = torch.arange(3).repeat(200)
    hits, spreads = [], []
    for scale in (0.0, 1.0, 2.0):
        x = model.sample(600, Rng(2), asked, guidance=0.0, classifier_scale=scale)
        hits.append((torch.cdist(x, centres).argmin(1) == asked).float().mean().item())
        spreads.append(torch.stack([x[asked == k].std(0).mean() for k in range(3)]).mean().item())
    assert hits[0] < 0.5 < 0.75 < hits[1] <= hits[2]
    assert spreads[1] < 0.8 * spreads[0]
    assert spreads[2] < 0.8 * spreads[0]
    with pytest.raises(RecipeError, match=r"family\.classifier = true"):
        small(spec).sample(1, Rng(0), torch.tensor([0]), classifier_scale=1.0)
    with pytest.raises(RecipeError, match="no classes"):
        small(POINTS, classifier=True)


@pytest.mark.parametrize("cond", [(1, 8, 8), (3, 4, 4)], ids=["beside", "half"])
def test_a_picture_can_be_what_is_known(cond):
    """Read beside the noisy one, forgotten row by row, refused where there is no picture to lay it beside."""
    spec = Spec((3, 8, 8), cond=Spec(cond))
    check_family(small, spec, checks=PICTURE_CHECKS)
    model, batch = small(spec), Batch(2 * Rng(0).uniform(4, 3, 8, 8) - 1, 2 * Rng(1).uniform(4, *cond) - 1)
    forget = torch.tensor([True, False, True, False])
    _, planes = model._known(batch.cond, 4, forget)
    _, blank = model._known(None, 4)
    assert torch.equal(planes[forget], blank[forget])
    assert (planes[~forget][:, -1] == 1).all()
    with pytest.raises(SpecError, match="of pictures only"):
        small(Spec((5,), cond=Spec(cond)))


PICTURE_CHECKS = (
    "a_loss_is_one_number_per_example", "every_parameter_is_reached", "rows_are_independent", "the_condition_matters",
    "a_sample_fits_the_spec", "a_sample_belongs_to_its_seed", "an_edit_keeps_what_it_is_told_to_keep",
)  # fmt: skip


def test_learns_to_read_the_picture_it_is_given():
    """Pictures of one number each, given as the picture's only content: the loss falls far below what is blind to it."""
    torch.manual_seed(0)
    spec = Spec((1, 4, 4), cond=Spec((1, 2, 2)))
    model, rng = small(spec, drop=0.1), Rng(0)

    def draw():
        level = 2 * rng.uniform(64, 1, 1, 1) - 1
        return Batch(level.expand(64, 1, 4, 4), level.expand(64, 1, 2, 2))

    fit(model, iter(draw, None), make_optims(model, 100, {"lr": 1e-2}), steps=100, rng=Rng(1))
    level = torch.linspace(-0.8, 0.8, 20).view(20, 1, 1, 1)
    seen = model.sample(20, Rng(2), level.expand(20, 1, 2, 2), steps=8)
    blind = model.sample(20, Rng(2), steps=8)
    assert (seen - level).abs().mean() < 0.15
    assert (blind - level).abs().mean() > 0.4


@pytest.mark.parametrize("how", [{"strength": 0.5}, {"restore": "half"}, {"restore": "noise"}, {"tries": 1}])
def test_edits_of_every_kind_keep_bits_and_belong_to_their_seed(how):
    spec = Spec((3, 8, 8))
    model, batch = small(spec), some(spec, 3)
    keep = Rng(2).uniform(3, 3, 8, 8) < 0.5
    out = model.edit(batch, keep, Rng(1, 2, 3), steps=4, **how)
    assert torch.equal(out[keep], batch.x[keep])
    assert not torch.equal(out, batch.x)
    alone = model.edit(batch.take(slice(1, 2)), keep[1:2], Rng.for_rows([2]), steps=4, **how)
    torch.testing.assert_close(alone, out[1:2], atol=1e-3, rtol=1e-3)
    assert torch.equal(model.edit(batch, ~keep & keep, Rng(1), strength=0.0), batch.x)


def test_edits_that_cannot_be_are_refused():
    model, batch = small(KINDS["picture"]), some(KINDS["picture"], 1)
    keep = torch.zeros(1, dtype=torch.bool)
    with pytest.raises(RecipeError, match="strength is 1.5"):
        model.edit(batch, keep, Rng(0), strength=1.5)
    with pytest.raises(RecipeError, match="restore is 'blurr'; did you mean 'blur'[?]$"):
        model.edit(batch, keep, Rng(0), restore="blurr")
    with pytest.raises(RecipeError, match="for pictures"):
        small().edit(some(POINTS, 1), keep, Rng(0), restore="noise")
    with pytest.raises(RecipeError, match="leave one of them out"):
        model.edit(batch, keep, Rng(0), restore="half", strength=0.5)


def test_an_eta_that_means_nothing_is_refused():
    model = small(KINDS["picture"])
    for eta in (-0.1, 1.5, float("nan")):
        with pytest.raises(RecipeError, match="eta is"):
            model.sample(1, Rng(0), sampler="ddim", eta=eta)


def test_a_bound_is_the_same_in_slices(monkeypatch):
    spec = Spec((1, 3, 3), vocab=5, ordinal=True)
    model, batch = small(spec), Batch(Rng(0).integers(5, 7, 1, 3, 3))
    whole = model.log_prob(batch, Rng(1))
    monkeypatch.setattr("bottega.samplers.likelihood._AT_ONCE", 100)  # two rows
    assert torch.equal(model.log_prob(batch, Rng(1)), whole)


def ring(n, rng):
    """Eight Gaussians on a circle of radius 1, sigma 0.05."""
    angle = rng.integers(8, n) * (math.pi / 4)
    return Batch(torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * rng.normal(n, 2))


def modes_and_good(x):
    """How many modes are found (by a good sample), and the share of samples within 4 sigma of one."""
    angle = torch.arange(8) * (math.pi / 4)
    apart, which = torch.cdist(x, torch.stack([angle.cos(), angle.sin()], 1)).min(1)
    return len(which[apart < 0.2].unique()), (apart < 0.2).float().mean().item()


def train_ring(steps, lr=2e-3, **options):
    torch.manual_seed(0)
    return trained(Diffusion(POINTS, **options), ring(20_000, Rng(0)), steps, lr, rows=256, ema=0.99)


@pytest.mark.slow
def test_learns_a_ring_a_little():
    model = train_ring(600, size=16, lr=1e-2, data_std=0.7)
    modes, good = modes_and_good(model.sample(1000, Rng(5)))
    assert modes == 8
    assert good > 0.75


@pytest.mark.slow
@pytest.mark.parametrize(("schedule", "least"), [("cosine", 0.95), ("edm", 0.95), ("ve", 0.95), ("linear", 0.6)])
def test_learns_a_ring(schedule, least):
    """8 of 8 modes by the shipped recipe's size and steps; few of the linear schedule's times are at a mode's width."""
    model = train_ring(2400, schedule=schedule, data_std=0.7)
    modes, good = modes_and_good(model.sample(2000, Rng(5)))
    assert modes == 8
    assert good >= least
