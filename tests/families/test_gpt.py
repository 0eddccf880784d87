"""GPT: exact probabilities, caches, prompts, tables, knobs."""

import itertools
import math

import pytest
import torch

from bottega.core import Batch, Block, Edits, RecipeError, Rng, Scores, Spec, SpecError, Streams, has
from bottega.families.gpt import GPT
from bottega.training.loop import fit
from bottega.training.optim import make_optims
from helpers import SHARED

TEXT = Spec((12,), vocab=11)
TABLE = Spec((3,), vocab=9, blocks=(Block("a", "choice", 0, 2), Block("b", "scalar", 2, 4), Block("c", "choice", 6, 3)))
LABEL = Spec((), vocab=3)


def gpt(spec=TEXT, sharp=8.0, **options):
    """A small model whose probabilities are far from even."""
    torch.manual_seed(0)
    model = GPT(spec, **{"size": 2, "width": 32, **options})
    with torch.no_grad():
        model.embed.weight.mul_(sharp)
    return model


def tokens(n, spec=TEXT, seed=0):
    return Rng(seed).integers(spec.vocab, n, *spec.shape)


def every(spec):
    """All examples of a small Spec."""
    ranges = [range(b.start, b.start + b.width) for b in spec.blocks] or [range(spec.vocab)] * spec.dims
    return torch.tensor(list(itertools.product(*ranges))).view(-1, *spec.shape)


def test_capabilities():
    assert all(has(gpt(), c) for c in (Scores, Streams, Edits))
    assert gpt().bound == "exact"


@pytest.mark.parametrize(
    "spec",
    [Spec((3,), vocab=5), TABLE, Spec((1, 2, 2), vocab=3, ordinal=True), Spec((2, 2), vocab=4)],
    ids=["text", "table", "levels", "codes"],
)
def test_probabilities_of_all_examples_sum_to_one(spec):
    model = gpt(spec)
    total = model.log_prob(Batch(every(spec)), Rng(0)).exp().sum()
    assert abs(total.item() - 1) < 1e-5


def test_samples_follow_log_prob():
    spec = Spec((3,), vocab=3)
    model, n = gpt(spec), 40000
    all_x = every(spec)
    p = model.log_prob(Batch(all_x), Rng(0)).exp()
    code = (model.sample(n, Rng(1)) * torch.tensor([9, 3, 1])).sum(1)
    share = torch.bincount(code, minlength=27) / n
    assert ((share - p).abs() < 5 * (p * (1 - p) / n).sqrt() + 1e-4).all()


def test_loss_is_nats_weighted_by_real_tokens():
    model, x = gpt(), tokens(4)
    mask = torch.arange(12) < torch.tensor([12, 5, 1, 0])[:, None]
    terms = model.loss(Batch(x, mask=mask), Rng(0))
    assert terms.weight.tolist() == [12, 5, 1, 0]
    changed = torch.where(mask, x, (x + 1) % 11)
    torch.testing.assert_close(terms.total, model.loss(Batch(changed, mask=mask), Rng(0)).total)
    torch.testing.assert_close(-terms.total, model.log_prob(Batch(x, mask=mask), Rng(0)))
    short = gpt(Spec((5,), vocab=11))
    torch.testing.assert_close(-terms.total[1:2], short.log_prob(Batch(x[1:2, :5]), Rng(0)))


@pytest.mark.parametrize("spec", [TEXT, TABLE], ids=["text", "table"])
@pytest.mark.parametrize("kv_heads", [0, 1])
def test_cached_decoding_gives_uncached_logits(spec, kv_heads):
    model = gpt(spec, kv_heads=kv_heads)
    x = every(TABLE)[:5] if spec is TABLE else tokens(5)
    with torch.no_grad():
        inputs = torch.nn.functional.pad(x[:, :-1], (1, 0), value=spec.vocab)
        whole = model._logits(model.body(model._stream(inputs, 0, model.condition(None, 5))), 0)
        step = model.step(5)
        steps = [step(x[:, :0])] + [step(x[:, i : i + 1]) for i in range(spec.dims - 1)]
    torch.testing.assert_close(torch.stack(steps, 1), whole, atol=1e-5, rtol=1e-5)


def test_row_of_a_batch_is_the_sample_drawn_alone():
    model = gpt()
    together = model.sample(4, Rng(1, 2, 3, 4))
    for i in range(4):
        assert torch.equal(model.sample(1, Rng.for_rows([i + 1])), together[i : i + 1])


@pytest.mark.parametrize("spec", [TEXT, TABLE, Spec((1, 3, 3), vocab=4, ordinal=True)], ids=["text", "table", "levels"])
def test_stream_joins_to_sample(spec):
    model = gpt(spec)
    parts = list(model.stream(3, Rng(2), temperature=0.8))
    out = model.sample(3, Rng(2), temperature=0.8)
    assert len(parts) == spec.dims
    assert out.shape == (3, *spec.shape)
    assert out.dtype == torch.long
    assert torch.equal(torch.cat(parts, 1), out.flatten(1))


def test_table_tokens_stay_in_their_columns():
    out = gpt(TABLE).sample(500, Rng(0), temperature=3.0)
    for i, block in enumerate(TABLE.blocks):
        assert out[:, i].min() >= block.start
        assert out[:, i].max() < block.start + block.width
        assert len(out[:, i].unique()) > 1


def test_order_of_columns_matters():
    """A table's places are learned: moving the same token elsewhere changes what follows."""
    spec = Spec((2,), vocab=4, blocks=(Block("a", "choice", 0, 4), Block("b", "choice", 0, 4)))
    model = gpt(spec)
    assert model.place.shape == (2, 32)
    assert not hasattr(gpt(TEXT), "place")


def test_edit_keeps_and_continues():
    model, x = gpt(), tokens(6)
    keep = torch.arange(12) < 5
    out = model.edit(Batch(x), keep, Rng(3))
    assert torch.equal(out[:, :5], x[:, :5])
    assert not torch.equal(out, x)
    assert torch.equal(model.edit(Batch(x), torch.ones(12, dtype=torch.bool), Rng(3)), x)
    holes = Rng(5).uniform(6, 12) < 0.5
    assert torch.equal(model.edit(Batch(x), holes, Rng(3))[holes], x[holes])


def test_nothing_kept_is_sample():
    model = gpt()
    nothing = torch.zeros(12, dtype=torch.bool)
    assert torch.equal(model.edit(Batch(tokens(4)), nothing, Rng(3)), model.sample(4, Rng(3)))


def test_prompt_and_max_new():
    model = gpt()
    prompt = tokens(2)[:, :4]
    kept = torch.ones_like(prompt, dtype=torch.bool)
    out = model.edit(Batch(prompt), kept, Rng(0), max_new=3)
    assert out.shape == (2, 7)
    assert torch.equal(out[:, :4], prompt)
    assert model.sample(2, Rng(0), max_new=5).shape == (2, 5)
    with pytest.raises(RecipeError, match="max_new is 0"):
        model.sample(2, Rng(0), max_new=0)
    with pytest.raises(RecipeError, match="max_new is 5"):
        gpt(TABLE).sample(2, Rng(0), max_new=5)


def test_beyond_the_window_it_reads_the_later_half_again():
    model = gpt()
    out = model.sample(3, Rng(0), max_new=40)
    assert out.shape == (3, 40)
    greedy = model.sample(1, Rng(0), max_new=40, temperature=0)[0].tolist()
    again = torch.tensor([greedy[6:12]])  # the start and 11 tokens fill the window; then the start and the last 6
    with torch.no_grad():
        logits = model.step(1)(again)
    assert logits.argmax().item() == greedy[12]
    long_prompt = tokens(1, Spec((30,), vocab=11))
    kept = torch.ones_like(long_prompt, dtype=torch.bool)
    assert model.edit(Batch(long_prompt), kept, Rng(0), max_new=2, overflow="slide").shape == (1, 32)
    with pytest.raises(RecipeError, match="30 tokens.*11 at most"):
        model.edit(Batch(long_prompt), kept, Rng(0), max_new=2)


def test_stop_reaches_generate():
    out = gpt().sample(30, Rng(0), stop=4)
    rows = [r for r in out.tolist() if 4 in r]
    assert rows
    assert all(set(r[r.index(4) :]) == {4} for r in rows)


def test_conditional_and_guidance():
    model = gpt(Spec((6,), vocab=5, cond=LABEL))
    cond = torch.tensor([0, 1, 2, 0])
    x = tokens(4, Spec((6,), vocab=5))
    given = model.log_prob(Batch(x, cond), Rng(0))
    assert (given - model.log_prob(Batch(x), Rng(0))).abs().max() > 1e-3
    assert torch.equal(model.sample(4, Rng(1), cond, guidance=0.0), model.sample(4, Rng(1)))
    plain = model.sample(4, Rng(1), cond)
    torch.testing.assert_close(model.sample(4, Rng(1), cond, guidance=1.0), plain)
    with torch.no_grad():
        known, free = model.step(4, cond)(x[:, :2]), model.step(4)(x[:, :2])
        guided = model.step(4, cond, 3.0)(x[:, :2])
    torch.testing.assert_close(guided, free + 3 * (known - free), atol=1e-5, rtol=1e-5)


def test_drop_forgets_some_conditions_in_training_only():
    model = gpt(Spec((6,), vocab=5, cond=LABEL), drop=0.5)
    x = tokens(1, Spec((6,), vocab=5)).expand(200, -1)
    cond = torch.zeros(200, dtype=torch.long)
    loss = model.loss(Batch(x, cond), Rng(0)).total
    assert 60 < (loss - loss[0]).abs().lt(1e-4).sum() < 140
    assert model.log_prob(Batch(x, cond), Rng(0)).std() < 1e-4


def test_dropout_only_in_training():
    model, x = gpt(dropout=0.2), tokens(3)
    assert not torch.equal(model.loss(Batch(x), Rng(0)).total, model.loss(Batch(x), Rng(1)).total)
    assert torch.equal(model.log_prob(Batch(x), Rng(0)), model.log_prob(Batch(x), Rng(1)))


def test_weights_are_tied_without_an_alias():
    state = gpt().state_dict()
    assert not any("head" in name for name in state)
    pointers = [t.data_ptr() for t in state.values()]
    assert len(set(pointers)) == len(pointers)


def test_size_is_the_dial():
    model = GPT(TEXT)
    assert (model.body.depth, model.body.heads, model.body.width) == (4, 4, 128)
    with torch.device("meta"):
        big = GPT(Spec((8,), vocab=50257), size=12)
    assert (big.body.depth, big.body.heads, big.body.width) == (12, 12, 768)
    assert 115e6 < sum(p.numel() for p in big.parameters()) < 130e6


def test_what_it_does_not_model():
    with pytest.raises(SpecError, match="tokens"):
        GPT(Spec((2,)))
    with pytest.raises(RecipeError, match="size"):
        GPT(TEXT, size=0)
    with pytest.raises(RecipeError, match="heads"):
        GPT(TEXT, heads=3, width=32)


def test_learns_a_chain_to_its_entropy():
    """A two-state Markov chain of known entropy, within 3 % in nats for each token."""
    stay, length = 0.9, 16
    entropy = -(stay * math.log(stay) + (1 - stay) * math.log(1 - stay))
    truth = (math.log(2) + (length - 1) * entropy) / length

    def draw(n, rng):
        flips = rng.uniform(n, length) > torch.tensor([0.5] + [stay] * (length - 1))
        return Batch(flips.long().cumsum(1) % 2)

    spec = Spec((length,), vocab=2)
    torch.manual_seed(0)
    model, rng = GPT(spec, size=1), Rng(0)
    batches = iter(lambda: draw(64, rng), None)
    fit(model, batches, make_optims(model, 150, {"lr": 3e-3}), steps=150, rng=Rng(1))
    got = -model.log_prob(draw(2000, Rng(9)), Rng(0)).mean().item() / length
    assert abs(got / truth - 1) < 0.03


@pytest.mark.shared
@pytest.mark.slow
def test_shakespeare_beats_nanogpt_at_its_cpu_budget():
    """4 layers, 4 heads, 128 wide, block 64, batch 12, 2,000 steps: nanoGPT's README says 1.88 nats for each character."""
    path = SHARED / "tiny_shakespeare" / "train.txt"
    if not path.exists():
        pytest.skip(f"no {path}")
    text = path.read_text()
    index = {c: i for i, c in enumerate(sorted(set(text)))}
    ids = torch.tensor([index[c] for c in text])
    cut = int(0.9 * len(ids))
    torch.manual_seed(0)
    model, rng = GPT(Spec((64,), vocab=len(index)), size=4), Rng(0)
    batches = iter(lambda: Batch(ids[rng.integers(cut - 64, 12)[:, None] + torch.arange(64)]), None)
    optims = make_optims(model, 2000, {"name": "muon", "lr": 3e-3, "muon_lr": 0.02})
    fit(model, batches, optims, steps=2000, rng=Rng(1))
    held = ids[cut:][: (len(ids) - cut) // 64 * 64].view(-1, 64)
    nats = -sum(model.log_prob(Batch(part), Rng(0)).sum().item() for part in held.split(200)) / held.numel()
    assert nats <= 1.70
