"""Masked diffusion: a bound that holds and is what it says, filling in, ends of texts, steps."""

import itertools

import pytest
import torch

from bottega.codecs.text import TextCodec
from bottega.core import Batch, Block, Edits, RecipeError, Rng, Scores, Spec, SpecError, has
from bottega.data import worlds
from bottega.families.masked import Masked
from helpers import trained

TEXT = Spec((4,), vocab=3)


def masked(spec=TEXT, sharp=4.0, **options):
    torch.manual_seed(0)
    model = Masked(spec, **{"size": 2, "width": 16, "heads": 2, **options}).eval()
    with torch.no_grad():
        model.embed.weight.mul_(30)
        model.read.weight.mul_(sharp)
    return model


def test_capabilities():
    assert all(has(masked(), c) for c in (Scores, Edits))
    assert masked().bound == "lower"


@torch.no_grad()
def by_order(model, x):
    """The log-likelihood of writing in each order, ``(orders, B)``."""
    given, out = model.condition(None, len(x)), []
    for order in itertools.permutations(range(x.shape[1])):
        seen, total = x.masked_fill(torch.ones_like(x, dtype=torch.bool), model.hidden), torch.zeros(len(x))
        for i in order:
            total = total + model.logits(seen, given).log_softmax(2)[:, i].gather(1, x[:, i : i + 1])[:, 0]
            seen[:, i] = x[:, i]
        out.append(total)
    return torch.stack(out)


@pytest.mark.slow
def test_the_bound_is_the_mean_over_orders():
    model, x = masked(), torch.tensor([[0, 1, 2, 1], [2, 2, 0, 1]])
    with torch.no_grad():
        draws = model.log_prob(Batch(x.repeat(600, 1)), Rng(0)).view(600, 2)
        once = -model.loss(Batch(x.repeat(2400, 1)), Rng(0)).total.view(2400, 2)
    want = by_order(model, x).mean(0)
    assert (draws.mean(0) - want).abs().max() < 5 * (draws.std(0) / 600**0.5).max()
    assert (once.mean(0) - want).abs().max() < 5 * (once.std(0) / 2400**0.5).max()


def test_samples_follow_the_mixture_of_all_orders_and_the_bound_lies_below_it():
    model, n = masked(Spec((1, 3), vocab=2), sharp=2.0), 20_000  # codes, which have no end
    made = model.sample(n, Rng(0))
    share = torch.bincount((made[:, 0] * torch.tensor([4, 2, 1])).sum(1), minlength=8) / n
    every = torch.tensor(list(itertools.product(range(2), repeat=3)))
    each = by_order(model, every)
    mixture = each.exp().mean(0)
    assert mixture.sum().item() == pytest.approx(1, abs=1e-4)
    assert ((share - mixture).abs() < 5 * (mixture * (1 - mixture) / n).sqrt() + 1e-4).all()
    assert (each.mean(0) < mixture.log()).all()


def test_padding_is_nothing_and_ends_are_closed():
    model = masked(Spec((5,), vocab=4))
    x = torch.tensor([[1, 3, 0, 0, 0]])
    mask = torch.tensor([[True, True, False, False, False]])
    assert model._whole(Batch(x, mask=mask)).tolist() == [[1, 3, 5, 5, 5]]
    closed = model._closed(torch.tensor([[1, 3, 5, 5, 5], [5, 2, 5, 1, 5]]))
    assert closed.tolist() == [[1, 3, 3, 3, 3], [0, 2, 2, 1, 1]]


@pytest.mark.parametrize("order", ["random", "sure"])
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 9])
def test_everything_is_filled_in_whatever_the_steps(order, steps):
    model = masked(Spec((7,), vocab=5))
    x = Rng(0).integers(5, 3, 7)
    keep = Rng(1).uniform(3, 7) < torch.tensor([[0.0], [0.5], [1.0]])
    made = model.edit(Batch(x), keep, Rng(2), steps=steps, order=order)
    assert torch.equal(made[keep], x[keep])
    assert ((made >= 0) & (made < 5)).all()


def test_columns_keep_their_own_tokens():
    spec = Spec(
        (3,), vocab=9, blocks=(Block("a", "choice", 0, 2), Block("b", "scalar", 2, 4), Block("c", "choice", 6, 3))
    )
    made = masked(spec).sample(300, Rng(0), temperature=3.0)
    for i, block in enumerate(spec.blocks):
        assert made[:, i].min() >= block.start
        assert made[:, i].max() < block.start + block.width


def test_bad_values_are_refused():
    with pytest.raises(RecipeError, match="order"):
        masked().sample(1, Rng(0), order="left")
    with pytest.raises(RecipeError, match="steps"):
        masked().sample(1, Rng(0), steps=-1)
    with pytest.raises(SpecError, match="diffusion"):
        Masked(Spec((2,)))


def words(items):
    """Each word a letter: sentences as short rows."""
    known = sorted({w for i in items for w in i.value.removesuffix(".").split()} | {"."})
    letter = {w: chr(ord("A") + k) for k, w in enumerate(known)}
    return known, ["".join(letter[w] for w in [*i.value.removesuffix(".").split(), "."]) for i in items]


def test_it_learns_a_small_grammar_and_fills_it_in():
    data = worlds.load("grammar", n=1500, depth=0)
    known, coded = words(data.items)
    codec = TextCodec(tokenizer="char", unit="item", length=6)
    from bottega.core import Item

    codec.fit([Item(t) for t in coded])
    batch = codec.encode([Item(t) for t in coded])
    torch.manual_seed(0)
    model = trained(Masked(codec.spec, size=2), batch, 250, 4e-3)

    def sentences(x):
        plain = [" ".join(known[ord(c) - ord("A")] for c in i.value) for i in codec.decode(x)]
        return [text.replace(" .", ".") for text in plain]

    made = sentences(model.sample(200, Rng(1)))
    assert sum(map(data.truth["is_member"], made)) / 200 > 0.8
    hasty, mended = (
        sum(map(data.truth["is_member"], sentences(model.sample(300, Rng(1), steps=2, revise=passes))))
        for passes in (0, 12)
    )
    assert mended > hasty + 30, "what was written too fast hangs together better after revision"
    x = batch.x[:200]
    keep = torch.arange(6).expand(200, -1) != 1  # the second word of five or four is missing
    filled = sentences(model.edit(Batch(x, mask=batch.mask[:200]), keep, Rng(2)))
    assert sum(map(data.truth["is_member"], filled)) / 200 > 0.9
    bound = model.log_prob(Batch(batch.x, mask=batch.mask), Rng(3)).mean().item()
    assert -1.3 * data.truth["entropy_nats"] < bound < -0.97 * data.truth["entropy_nats"]
