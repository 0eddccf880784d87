"""MADE: exact probabilities in every order, order kept, sampling as naive sampling would have it, completion."""

import itertools
import math

import pytest
import torch

from bottega.core import Batch, Block, Edits, Encoded, RecipeError, Rng, Scores, Spec, SpecError, has
from bottega.data.stream import Stream
from bottega.families.made import MADE
from bottega.testing.cases import everything
from bottega.training.loop import fit
from bottega.training.optim import make_optims

LABEL = Spec((), vocab=3)
COLUMNS = (Block("a", "scalar", 0, 2), Block("b", "choice", 2, 4), Block("c", "choice", 6, 3))
SPECS = {
    "binary": Spec((1, 3, 3), vocab=2, ordinal=True),
    "colour": Spec((3, 1, 3), vocab=3, ordinal=True),
    "names": Spec((1, 2, 3), vocab=4),
    "row": Spec((3,), vocab=9, blocks=COLUMNS),
    "given": Spec((5,), vocab=3, ordinal=True, cond=LABEL),
}


def made(spec, seed=0, **settings):
    """A small model whose probabilities are far from even."""
    torch.manual_seed(seed)
    model = MADE(spec, **{"size": 1, "orders": 3, **settings}).eval()
    noise = Rng(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * noise.normal(*p.shape))
    return model


def labels(spec, n):
    return None if spec.cond is None else torch.arange(n) % spec.cond.vocab


def some(spec, n=6, seed=0):
    starts = torch.tensor([b.start for b in spec.blocks] or [0])
    widths = torch.tensor([b.width for b in spec.blocks] or [spec.vocab])
    x = (Rng(seed).uniform(n, spec.dims) * widths).long() + starts
    return Batch(x.view(n, *spec.shape), labels(spec, n))


# --- probabilities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPECS)
def test_probabilities_of_all_examples_sum_to_one_in_each_order_and_mixed(name):
    spec = SPECS[name]
    model, x = made(spec), everything(spec)
    known = model._known(None, len(x))
    with torch.no_grad():
        each = [model._log_prob(x, torch.full((len(x),), k), known) for k in range(3)]
        mixed = model.log_prob(Batch(x), Rng(0))
    for log_p in (*each, mixed):
        assert log_p.double().exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(mixed.exp(), torch.stack(each).exp().mean(0), atol=1e-6)
    assert (each[0] - each[1]).abs().max() > 0.1, "orders say the same"
    assert mixed.exp().max() > 3 / len(x), "probabilities are nearly even"


def test_a_mask_that_lets_a_place_see_itself_is_found_out():
    spec = SPECS["binary"]
    model, x = made(spec), everything(spec)
    model.body._masked = lambda rank, body=model.body: (
        body.enter * (body.degrees[:, None] >= rank),
        body.last * (rank[:, None] >= body.degrees),
        body.direct * (rank[:, None] > rank),
    )
    with torch.no_grad():
        total = model.log_prob(Batch(x), Rng(0)).exp().sum().item()
    assert abs(total - 1) > 0.01


def test_capabilities_and_loss():
    spec = SPECS["given"]
    model, batch = made(spec, orders=1, drop=0.0), some(SPECS["given"])
    assert has(model, Scores)
    assert has(model, Edits)
    assert model.bound == "exact"
    assert torch.allclose(model.loss(batch, Rng(0)).total, -model.log_prob(batch, Rng(3)), atol=1e-5)
    several = made(spec, drop=0.0)
    each = torch.stack([several.loss(batch, Rng(k)).total for k in range(300)])
    assert (each.mean(0) > -several.log_prob(batch, Rng(0)) - 1e-4).all(), "Jensen"
    assert (each.std(0) > 1e-3).all(), "the order is drawn"


def test_orders_of_a_picture_are_its_raster_scans_and_then_any():
    ranks = made(Spec((2, 2, 3), vocab=2, ordinal=True), orders=10).ranks
    first = torch.tensor([[[0, 2, 4], [6, 8, 10]], [[1, 3, 5], [7, 9, 11]]])
    assert torch.equal(ranks[0], first.flatten()), "rows from the top, pixels from the left, channels together"
    down = torch.tensor([[[0, 4, 8], [2, 6, 10]], [[1, 5, 9], [3, 7, 11]]])
    assert torch.equal(ranks[4], down.flatten()), "columns from the left"
    assert len({tuple(r.tolist()) for r in ranks}) == 10
    assert torch.equal(ranks.sort(1).values, torch.arange(12).expand(10, -1))
    assert torch.equal(ranks, made(Spec((2, 2, 3), vocab=2, ordinal=True), seed=5, orders=10).ranks)


# --- sampling --------------------------------------------------------------------------------------------------------


def naive(model, which, u, cond=None, temperature=1.0, guidance=1.0, kept=None):
    """Draw by the whole network for every single number, from the same uniform numbers ``(n, places)``."""
    n, places = u.shape
    starts = model.places.starts
    x = model.places.leave(torch.zeros(n, places, dtype=torch.long))

    def log_p(x, place, cond):  # of every level of one place, by the whole network's own likelihood
        out = []
        for level in range(int((~model.places.beyond[place]).sum())):
            one = x.clone().flatten(1)
            one[:, place] = starts[place] + level
            known = model._known(cond, n)
            raw = model.body(model._see(model.places.enter(one)), model.ranks, which, known).view(n, places, -1)
            raw = raw[:, place].double()
            if model.binary:
                raw = torch.cat([torch.zeros_like(raw), raw], 1)
            out.append(torch.log_softmax(raw.masked_fill(model.places.beyond[place], -math.inf), 1)[:, level])
        return torch.stack(out, 1)

    for step, i in itertools.product(range(places), range(n)):
        place = int((model.ranks[which[i]] == step).nonzero())
        at = log_p(x, place, cond)[i]
        if guidance != 1:
            free = log_p(x, place, None)[i]
            at = free + guidance * (at - free)
        below = torch.softmax(at / temperature, 0).cumsum(0)
        level = int((below <= u[i, place].double()).sum().clamp(max=len(below) - 1))
        flat = x.view(n, -1)
        flat[i, place] = kept[0][i, place] if kept is not None and kept[1][i, place] else starts[place] + level
    return x


@pytest.mark.parametrize("name", SPECS)
def test_sampling_with_a_memory_is_sampling_without(name):
    spec, n = SPECS[name], 5
    model, cond = made(spec), labels(SPECS[name], 5)
    knobs = {"temperature": 0.8} | ({"guidance": 2.0} if spec.cond else {})
    rng = Rng(3)
    which, u = rng.integers(3, n), rng.uniform(n, spec.dims)
    with torch.no_grad():
        expected = naive(model, which, u, cond, **knobs)
    got = model.sample(n, Rng(3), cond, **knobs)
    assert torch.equal(got, expected)
    assert len(which.unique()) > 1


def test_samples_follow_log_prob():
    spec, n = Spec((1, 2, 3), vocab=2, ordinal=True), 20_000
    model, x = made(spec), everything(spec)
    with torch.no_grad():
        expected = n * model.log_prob(Batch(x), Rng(0)).double().exp()
    code = (model.sample(n, Rng(1)).flatten(1) * 2 ** torch.arange(5, -1, -1)).sum(1)
    counts = torch.bincount(code, minlength=64)
    big = expected > 5
    chi2 = ((counts - expected) ** 2 / expected)[big].sum().item()
    assert big.sum() > 20
    assert chi2 < big.sum() + 5 * math.sqrt(2 * big.sum())


def test_a_row_of_a_batch_is_the_sample_drawn_alone():
    model, cond = made(SPECS["given"]), torch.tensor([0, 1, 2, 1])
    together = model.sample(4, Rng(1, 2, 3, 4), cond, guidance=1.5)
    for i in range(4):
        assert torch.equal(model.sample(1, Rng.for_rows([i + 1]), cond[i : i + 1], guidance=1.5), together[i : i + 1])


# --- completion ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPECS)
def test_an_edit_keeps_and_draws_the_rest_in_the_order_that_knows_most(name):
    spec = SPECS[name]
    model, batch = made(spec), some(SPECS[name])
    keep = Rng(7).uniform(6, *spec.shape) < 0.5
    flat = keep.flatten(1)
    cost = torch.stack([(model.ranks[k] * flat).sum(1) for k in range(3)], 1)
    out = model.edit(batch, keep, Rng(3))
    u = Rng(3).uniform(6, spec.dims)
    with torch.no_grad():
        expected = naive(model, cost.argmin(1), u, batch.cond, kept=(batch.x.flatten(1), flat))
    assert torch.equal(out, expected)
    assert torch.equal(out[keep], batch.x[keep])


def test_the_lower_half_is_given_to_the_upper_by_a_scan_from_below():
    model = made(Spec((1, 4, 4), vocab=2, ordinal=True), orders=2)
    keep = torch.zeros(1, 4, 4, dtype=torch.bool)
    keep[:, 2:] = True
    assert (keep.flatten().long() @ model.ranks.T).argmin() == 1


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orders", [1, 4])
def test_learns_a_planted_correlation_to_its_entropy(orders):
    """Each of a row's pixels repeats the one before it with probability 0.9, in whatever direction it is read."""
    side, stay = 4, 0.9

    def draw(n, seed):
        rng = Rng(seed)
        first = rng.integers(2, n, side, 1)
        turns = (rng.uniform(n, side, side - 1) >= stay).long()
        return Batch((torch.cat([first, turns], 2).cumsum(2) % 2)[:, None])

    truth = side * math.log(2) - side * (side - 1) * (stay * math.log(stay) + (1 - stay) * math.log(1 - stay))
    torch.manual_seed(0)
    spec, steps = Spec((1, side, side), vocab=2, ordinal=True), 300
    model = MADE(spec, size=3, layers=1, orders=orders)
    fit(model, Stream(Encoded(draw(8000, 0)), 128), make_optims(model, steps, {"lr": 1e-2}), steps=steps, rng=Rng(0))
    held = draw(4000, 1)
    with torch.no_grad():
        nll = -model.eval().log_prob(held, Rng(0))
    error = nll.std().item() / math.sqrt(len(nll))
    assert truth - 3 * error < nll.mean().item() < 1.05 * truth
    x = model.sample(1000, Rng(0))
    assert (x[..., 1:] == x[..., :-1]).float().mean().item() == pytest.approx(stay, abs=0.03)


def test_dropout_hides_in_training_only_and_keeps_the_mean():
    spec = SPECS["binary"]
    model, batch = made(spec, orders=1, dropout=0.3), some(spec)
    plain = model.loss(batch, Rng(0)).total
    assert torch.equal(plain, model.loss(batch, Rng(1)).total), "in evaluation nothing is drawn but orders"
    model.train()
    hidden = model.loss(batch, Rng(0)).total
    assert not torch.allclose(hidden, plain)
    assert torch.equal(model.log_prob(batch, Rng(0)), -plain)


def test_what_it_does_not_model():
    for spec, mend in {Spec((1, 4, 4)): "flow", Spec((9,), vocab=4): "gpt"}.items():
        with pytest.raises(SpecError, match=mend):
            MADE(spec)
    with pytest.raises(RecipeError, match="use pixelcnn"):
        MADE(Spec((3, 32, 32), vocab=256, ordinal=True))
    for wrong in ({"size": 0}, {"layers": 0}, {"orders": 0}, {"dropout": 1.0}, {"drop": -0.1}):
        with pytest.raises(RecipeError, match=rf"family.*{next(iter(wrong))}"):
            MADE(SPECS["binary"], **wrong)
    with pytest.raises(RecipeError, match="temperature is 0"):
        made(SPECS["binary"]).sample(1, Rng(0), temperature=0.0)
