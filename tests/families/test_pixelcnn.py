"""PixelCNN: exact probabilities, strict order, sampling as naive sampling would have it, completion, conditions."""

import itertools
import math

import pytest
import torch

from bottega.core import Batch, Edits, Encoded, RecipeError, Rng, Scores, Spec, SpecError, Streams, has
from bottega.data.stream import Stream
from bottega.families.pixelcnn import PixelCNN
from bottega.training.loop import fit
from bottega.training.optim import make_optims

LABEL = Spec((), vocab=3)
TINY = Spec((1, 2, 3), vocab=2, ordinal=True)
SPECS = {
    "binary": Spec((1, 4, 5), vocab=2, ordinal=True),
    "colour": Spec((3, 3, 3), vocab=4, ordinal=True),
    "names": Spec((1, 3, 4), vocab=5),
    "given": Spec((2, 3, 3), vocab=3, ordinal=True, cond=LABEL),
}


def pixelcnn(spec=TINY, seed=0, **settings):
    """A small model whose probabilities are far from even."""
    torch.manual_seed(seed)
    model = PixelCNN(spec, **{"size": 8, "layers": 3, **settings}).eval()
    noise = Rng(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.25 * noise.normal(*p.shape))
    return model


def every(spec):
    """All pictures of a tiny Spec."""
    return torch.tensor(list(itertools.product(range(spec.vocab), repeat=spec.dims))).view(-1, *spec.shape)


def labels(spec, n):
    return None if spec.cond is None else torch.arange(n) % spec.cond.vocab


def some(spec, n=4, seed=0):
    return Batch(Rng(seed).integers(spec.vocab, n, *spec.shape), labels(spec, n))


def test_capabilities():
    model = pixelcnn()
    assert all(has(model, c) for c in (Scores, Streams, Edits))
    assert model.bound == "exact"


# --- probabilities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [TINY, Spec((2, 2, 2), vocab=2, ordinal=True), Spec((1, 2, 2), vocab=4), Spec((3, 1, 1), vocab=5, ordinal=True),
     Spec((1, 1, 5), vocab=3, ordinal=True), Spec((1, 5, 1), vocab=3)],
    ids=["binary", "two-channels", "names", "one-pixel", "row", "column"],
)  # fmt: skip
def test_probabilities_of_all_pictures_sum_to_one(spec):
    model = pixelcnn(spec)
    with torch.no_grad():
        p = model.log_prob(Batch(every(spec)), Rng(0)).double().exp()
    assert p.sum().item() == pytest.approx(1, abs=2e-6)
    assert p.max() > 3 / len(p), "probabilities are nearly even"


def test_they_sum_to_one_whatever_is_known():
    spec = Spec((1, 2, 3), vocab=2, ordinal=True, cond=LABEL)
    model, x = pixelcnn(spec), every(spec)
    with torch.no_grad():
        found = [
            model.log_prob(Batch(x, c), Rng(0)) for c in (None, *(torch.full((len(x),), k) for k in (0, 1, 2, -1)))
        ]
    for log_p in found:
        assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(found[0], found[-1]), "a label that is not known is no label"
    assert all((a - b).abs().max() > 1e-2 for a, b in itertools.combinations(found[:-1], 2))


def test_the_loss_is_the_nats_of_each_picture():
    model, batch = pixelcnn(SPECS["colour"]), some(SPECS["colour"])
    terms = model.loss(batch, Rng(0))
    assert terms.weight is None
    assert torch.equal(terms.total, -model.log_prob(batch, Rng(5)))
    assert terms.total.shape == (4,)


# --- order -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["colour", "given"])
def test_a_level_depends_on_those_before_it_and_no_other(name):
    """Rows from the top, pixels from the left, channels in order: the gradient of its logits says what was seen."""
    spec = SPECS[name]
    model = pixelcnn(spec, layers=5)
    channels, height, width = spec.shape
    batch = some(spec, 1)
    real = spec.as_real(batch.x).requires_grad_()
    embedded = [
        [embed(batch.x[:, c]).detach().requires_grad_() for c, embed in enumerate(row)] for row in model.head.earlier
    ]
    known = model.given(batch.cond, 1) if spec.cond else None
    h = model.stack(real, known).permute(0, 2, 3, 1)
    for i, j, c in itertools.product(range(height), range(width), range(channels)):
        a = model.head.enter[c](torch.relu(h))
        for e in embedded[c]:
            a = a + e
        logits = model.head.read[c](torch.nn.functional.silu(a))[0, i, j]
        assert torch.allclose(logits, model.head(h, batch.x.permute(0, 2, 3, 1), c)[0, i, j], atol=1e-6)
        (grad,) = torch.autograd.grad(logits.square().sum(), real, retain_graph=True)
        earlier = torch.arange(height * width).view(height, width) < width * i + j
        seen = grad[0].abs().sum(0) > 0
        assert torch.equal(seen, earlier), f"pixel {i}, {j}, channel {c} sees {seen}"
        beside = torch.autograd.grad(logits.square().sum(), embedded[c], retain_graph=True) if c else ()
        assert len(beside) == c, "channels before it, no other"
        for g in beside:
            own = torch.arange(height * width).view(height, width) == width * i + j
            assert torch.equal(g[0].abs().sum(-1) > 0, own), "of the same pixel alone"


@pytest.mark.parametrize("name", SPECS)
def test_the_last_levels_probabilities_are_the_heads(name):
    """Nothing follows the last level of the last pixel, so there ``log_prob`` and the head must say the same."""
    spec = SPECS[name]
    model, batch = pixelcnn(spec), some(spec, 5)
    levels = torch.arange(spec.vocab)
    many = batch.x[:, None].repeat(1, spec.vocab, 1, 1, 1)
    many[:, :, -1, -1, -1] = levels
    cond = None if batch.cond is None else batch.cond.repeat_interleave(spec.vocab)
    with torch.no_grad():
        told = model.log_prob(Batch(many.flatten(0, 1), cond), Rng(0)).view(5, -1)
        known = model.given(batch.cond, 5) if spec.cond else None
        h = model.stack(model._see(batch.x), known)[:, :, -1, -1]
        own = model.head(h, batch.x[:, :, -1, -1], spec.shape[0] - 1)
    assert torch.allclose(torch.softmax(told, 1), torch.softmax(own, 1), atol=1e-5)


# --- sampling --------------------------------------------------------------------------------------------------------


def naive(model, n, u, cond=None, temperature=1.0, guidance=1.0, kept=None):
    """Draw by the whole network for every single level, from the same uniform numbers ``(n, C, H, W)``."""
    spec = model.spec
    channels, height, width = spec.shape
    x = torch.zeros(n, *spec.shape, dtype=torch.long)

    def logits(c, i, j, cond):
        known = model.given(cond, n) if spec.cond else None
        h = model.stack(model._see(x), known)[:, :, i, j]
        return model.head(h, x[:, :, i, j], c).double()

    for i, j, c in itertools.product(range(height), range(width), range(channels)):
        at = logits(c, i, j, cond)
        if guidance != 1:
            free = logits(c, i, j, None)
            at = free + guidance * (at - free)
        below = torch.softmax(at / temperature, 1).cumsum(1)
        drawn = (below <= u[:, c, i, j, None].double()).sum(1).clamp(max=spec.vocab - 1)
        x[:, c, i, j] = drawn if kept is None else torch.where(kept[1][:, c, i, j], kept[0][:, c, i, j], drawn)
    return x


@pytest.mark.parametrize("name", SPECS)
def test_sampling_with_a_memory_is_sampling_without(name):
    spec, n = SPECS[name], 6
    model, cond = pixelcnn(spec), labels(SPECS[name], 6)
    knobs = {"temperature": 0.8} | ({"guidance": 2.0} if spec.cond else {})
    with torch.no_grad():
        expected = naive(model, n, Rng(3).uniform(n, *spec.shape), cond, **knobs)
    got = model.sample(n, Rng(3), cond, **knobs)
    assert torch.equal(got, expected)
    assert got.dtype == torch.int64
    assert len(got.unique()) == spec.vocab


@pytest.mark.parametrize(
    "spec", [SPECS["binary"], Spec((2, 3, 4), vocab=2, ordinal=True, cond=LABEL)], ids=["grey", "two"]
)
def test_guessed_rows_are_the_rows_drawn_pixel_by_pixel_in_fewer_passes(spec):
    """Also under guidance and around kept pixels, and where every guess is wrong."""
    n, passes = 16, []
    model, cond = pixelcnn(spec), labels(spec, 16)
    inner = model.stack.this_row
    model.stack.this_row = lambda cache, row: passes.append(1) or inner(cache, row)
    knobs = {"guidance": 1.7} if spec.cond else {}
    for temperature in (0.2, 1.0, 100.0):
        fast = model.sample(n, Rng(3), cond, temperature=temperature, **knobs)
        assert torch.equal(fast, model.sample(n, Rng(3), cond, temperature=temperature, guess=False, **knobs))
    batch, keep = some(spec, n), Rng(1).uniform(n, *spec.shape) < 0.3
    assert torch.equal(model.edit(batch, keep, Rng(4)), model.edit(batch, keep, Rng(4), guess=False))
    passes.clear()
    model.sample(n, Rng(3), cond, temperature=0.2)
    channels, height, width = spec.shape
    assert height <= len(passes) < height * width * channels
    model.sample(1, Rng(3), None, guess=False)
    assert torch.equal(model.sample(1, Rng(5), guess=True), model.sample(1, Rng(5), guess=False))


def test_samples_follow_log_prob():
    n = 20_000
    model, x = pixelcnn(), every(TINY)
    with torch.no_grad():
        p = model.log_prob(Batch(x), Rng(0)).exp()
    code = (model.sample(n, Rng(1)).flatten(1) * 2 ** torch.arange(5, -1, -1)).sum(1)
    share = torch.bincount(code, minlength=64) / n
    expected = n * p
    big = expected > 5
    chi2 = ((share * n - expected) ** 2 / expected)[big].sum().item()
    assert big.sum() > 20
    assert chi2 < big.sum() + 5 * math.sqrt(2 * big.sum())
    assert (share[~big] * n).sum() < expected[~big].sum() + 5 * expected[~big].sum().sqrt() + 5


def test_a_row_of_a_batch_is_the_sample_drawn_alone():
    model, cond = pixelcnn(SPECS["given"]), torch.tensor([0, 1, 2, 1])
    together = model.sample(4, Rng(1, 2, 3, 4), cond, guidance=1.5)
    for i in range(4):
        alone = model.sample(1, Rng.for_rows([i + 1]), cond[i : i + 1], guidance=1.5)
        assert torch.equal(alone, together[i : i + 1])


@pytest.mark.parametrize("name", SPECS)
def test_a_stream_comes_in_rows_from_the_top(name):
    spec = SPECS[name]
    model, cond = pixelcnn(spec), labels(spec, 3)
    parts = list(model.stream(3, Rng(2), cond, temperature=0.9))
    channels, height, width = spec.shape
    assert [tuple(p.shape) for p in parts] == [(3, channels, 1, width)] * height
    assert torch.equal(torch.cat(parts, 2), model.sample(3, Rng(2), cond, temperature=0.9))


def test_temperature_and_guidance():
    spec = Spec((1, 3, 3), vocab=6, ordinal=True, cond=LABEL)
    model, cond = pixelcnn(spec), torch.arange(200) % 3
    with torch.no_grad():
        nll = [
            -model.log_prob(Batch(model.sample(200, Rng(0), cond, temperature=t), cond), Rng(0)).mean()
            for t in (0.3, 1, 3)
        ]
    assert nll[0] < nll[1] < nll[2]
    coldest = model.sample(200, Rng(0), cond, temperature=1e-4)
    assert torch.equal(coldest, model.sample(200, Rng(9), cond, temperature=1e-4)), "nothing is left to chance"
    assert torch.equal(model.sample(200, Rng(0), cond, guidance=0.0), model.sample(200, Rng(0)))
    assert torch.equal(model.sample(200, Rng(0), cond, guidance=1.0), model.sample(200, Rng(0), cond))
    with torch.no_grad():
        lead = []
        for g in (1.0, 3.0):
            x = model.sample(200, Rng(0), cond, guidance=g)
            lead.append((model.log_prob(Batch(x, cond), Rng(0)) - model.log_prob(Batch(x), Rng(0))).mean())
    assert lead[1] > lead[0], "guidance goes where the label makes a difference"


# --- completion ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPECS)
def test_an_edit_keeps_and_draws_the_rest_in_order(name):
    spec, n = SPECS[name], 6
    model, batch = pixelcnn(spec), some(spec, 6)
    keep = Rng(7).uniform(n, *spec.shape) < 0.4
    out = model.edit(batch, keep, Rng(3))
    with torch.no_grad():
        expected = naive(model, n, Rng(3).uniform(n, *spec.shape), batch.cond, kept=(batch.x, keep))
    assert torch.equal(out, expected)
    assert torch.equal(out[keep], batch.x[keep])
    assert not torch.equal(out, batch.x)
    everything, nothing = torch.ones(spec.shape, dtype=torch.bool), torch.zeros(spec.shape, dtype=torch.bool)
    assert torch.equal(model.edit(batch, everything, Rng(3)), batch.x)
    assert torch.equal(model.edit(batch, nothing, Rng(3)), model.sample(n, Rng(3), batch.cond))


def test_a_completed_half_follows_the_conditional_probability():
    n = 8000
    model = pixelcnn()
    x = torch.tensor([1, 0, 1, 0, 0, 0]).view(1, 1, 2, 3)
    keep = torch.tensor([True, False]).view(2, 1).expand(1, 2, 3)
    out = model.edit(Batch(x.expand(n, -1, -1, -1)), keep, Rng(0))
    rest = torch.cat([x[:, :, :1].expand(8, -1, -1, -1), every(Spec((1, 1, 3), vocab=2))], 2)
    with torch.no_grad():
        p = torch.softmax(model.log_prob(Batch(rest), Rng(0)), 0)
    share = torch.bincount(out[:, 0, 1] @ torch.tensor([4, 2, 1]), minlength=8) / n
    assert ((share - p).abs() < 5 * (p * (1 - p) / n).sqrt() + 1e-3).all()


# --- training --------------------------------------------------------------------------------------------------------


def test_drop_forgets_some_labels_in_training_only():
    spec = SPECS["given"]
    model = pixelcnn(spec, drop=0.3)
    x, cond = some(spec, 1).x.expand(300, -1, -1, -1), torch.ones(300, dtype=torch.long)
    with torch.no_grad():
        loss = model.loss(Batch(x, cond), Rng(0)).total
        known, none = (-model.log_prob(Batch(x[:1], c), Rng(0)) for c in (cond[:1], None))
        assert (model.log_prob(Batch(x, cond), Rng(0)) + known).abs().max() < 1e-3
    forgotten = (loss - none).abs() < 1e-3
    assert (loss[~forgotten] - known).abs().max() < 1e-3
    assert 0.2 < forgotten.float().mean() < 0.4


@pytest.mark.parametrize("given", [False, True])
def test_learns_a_planted_correlation_to_its_entropy(given):
    """Each pixel repeats the one above with probability 0.9; with a label the first row is the label's."""
    height, width, stay = 4, 4, 0.9

    def draw(n, seed):
        rng = Rng(seed)
        cond = rng.integers(2, n)
        first = (rng.uniform(n, 1, width) < torch.where(cond == 1, 0.8, 0.2)[:, None, None]).long()
        turns = (rng.uniform(n, height - 1, width) >= stay).long()
        x = torch.cat([first, turns], 1).cumsum(1)[:, None] % 2
        return Batch(x, cond if given else None)

    def entropy(p):
        return -(p * math.log(p) + (1 - p) * math.log(1 - p))

    def top_row():
        if given:
            return width * entropy(0.8)
        p = [0.5 * (0.8**k * 0.2 ** (width - k) + 0.2**k * 0.8 ** (width - k)) for k in range(width + 1)]
        return -sum(math.comb(width, k) * q * math.log(q) for k, q in enumerate(p))

    truth = top_row() + (height - 1) * width * entropy(stay)
    spec = Spec((1, height, width), vocab=2, ordinal=True, cond=Spec((), vocab=2) if given else None)
    torch.manual_seed(0)
    model, steps = PixelCNN(spec, size=12, layers=2, drop=0.1), 150
    fit(model, Stream(Encoded(draw(8000, 0)), 128), make_optims(model, steps, {"lr": 1e-2}), steps=steps, rng=Rng(0))
    held = draw(4000, 1)
    with torch.no_grad():
        nll = -model.eval().log_prob(held, Rng(0))
    error = nll.std().item() / math.sqrt(len(nll))
    assert truth - 3 * error < nll.mean().item() < 1.04 * truth
    made = model.sample(1000, Rng(0), held.cond[:1000] if given else None)
    assert (made[:, :, 1:] == made[:, :, :-1]).float().mean().item() == pytest.approx(stay, abs=0.03)
    if given:
        first = made[:, 0, 0].float().mean(1)
        assert first[held.cond[:1000] == 1].mean().item() == pytest.approx(0.8, abs=0.07)


def test_every_parameter_learns_except_where_nothing_can():
    model = pixelcnn(SPECS["names"])
    model.loss(some(SPECS["names"], 8), Rng(0)).total.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_what_it_does_not_model():
    for spec, mend in {
        Spec((1, 4, 4)): "number of levels",
        Spec((9,), vocab=4): "gpt",
        Spec((2,)): "flow",
    }.items():
        with pytest.raises(SpecError, match=mend):
            PixelCNN(spec)
    for wrong in ({"size": 0}, {"layers": 0}, {"drop": 1.0}, {"drop": -0.1}):
        with pytest.raises(RecipeError, match=rf"family.*{next(iter(wrong))}"):
            PixelCNN(TINY, **wrong)
    for temperature in (0.0, -1.0):
        with pytest.raises(RecipeError, match="temperature"):
            PixelCNN(TINY, size=8).sample(1, Rng(0), temperature=temperature)


def test_a_level_is_read_as_a_number_and_a_name_is_looked_up():
    levels, codes = pixelcnn(SPECS["binary"]), pixelcnn(SPECS["names"])
    assert levels.embed is None
    assert codes.embed.weight.shape == (5, 8)
    assert torch.equal(levels._see(torch.tensor([[[[0, 1]]]])), torch.tensor([[[[-1.0, 1.0]]]]))
