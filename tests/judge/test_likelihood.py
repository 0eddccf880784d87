"""Likelihood judged on models whose likelihood is known: a Gaussian, a Markov chain, a factor model."""

from __future__ import annotations

import math

import pytest
import torch

from bottega.core import Batch, Family, Item, Rng, Spec
from bottega.judge import Case
from bottega.judge.information import Multinomial, Normal
from bottega.judge.likelihood import measure, sliding


class Gaussian(Family):
    """Independent normals."""

    bound = "exact"

    def __init__(self, spec, scale):
        super().__init__(spec)
        self.scale = scale

    @classmethod
    def accepts(cls, spec):
        return ""

    def log_prob(self, batch, rng):
        assert not self.training
        d = self.spec.dims
        return Normal(torch.zeros(d), self.scale**2 * torch.eye(d)).log_prob(batch.x)


class Chain(Family):
    """A Markov chain over tokens: an autoregressive model that is exactly known."""

    bound = "exact"

    def __init__(self, spec, table):
        super().__init__(spec)
        self.table = table

    @classmethod
    def accepts(cls, spec):
        return ""

    def log_prob(self, batch, rng):
        first = batch.x.new_full((len(batch), 1), 0)
        each = self.table[torch.cat([first, batch.x[:, :-1]], 1), batch.x].log()
        return each.sum(1) if batch.mask is None else (each * batch.mask).sum(1)

    def draw(self, n, rng):
        x = [torch.zeros(n, dtype=torch.long)]
        for _ in range(self.spec.dims):
            x.append(rng.categorical(self.table[x[-1]].log()))
        return torch.stack(x[1:], 1)


def _by_name(case):
    return {m.name: m for m in measure(case)}


def test_gaussian_has_its_entropy():
    x = Rng(0).normal(3000, 3) * 0.4
    decode = lambda z: [Item((2 * row + 5).double().numpy()) for row in z]  # noqa: E731
    truth = {"log_density": lambda y: Normal(torch.full((3,), 5.0), 0.64 * torch.eye(3)).log_prob(y)}
    model = Gaussian(Spec((3,)), 0.4).train()
    found = _by_name(
        Case(
            "points", Spec((3,)), Batch(x[:1000]), Batch(x[1000:]), x[:10], None, model, decode, facts={"truth": truth}
        )
    )
    nll = found["nll_nats"]
    entropy = Normal(torch.zeros(3), 0.16 * torch.eye(3)).entropy()
    assert nll.low < entropy < nll.high
    assert nll.bound == "exact"
    assert nll.n == 2000
    assert nll.ceiling == pytest.approx(nll.value, abs=1e-3)  # the model is the truth, in another space
    assert found["nll_gap_nats"].low < 0 < found["nll_gap_nats"].high
    assert "bits_per_dim" not in found
    assert model.training


def test_text_units_and_window():
    table = torch.tensor([[0.1, 0.6, 0.3], [0.5, 0.25, 0.25], [0.05, 0.05, 0.9]])
    spec = Spec((32,), vocab=3)
    chain = Chain(spec, table)
    train, held = chain.draw(300, Rng(0)), chain.draw(600, Rng(1))
    found = _by_name(
        Case("text", spec, Batch(train), Batch(held), held[:5], model=chain, facts={"bytes_per_token": 2.0})
    )
    per_token = found["nll_nats_per_token"]
    assert found["perplexity"].value == pytest.approx(math.exp(per_token.value))
    assert found["perplexity"].value == pytest.approx(math.exp(found["nll_nats"].value / 32))
    assert found["bits_per_byte"].value == pytest.approx(per_token.value / math.log(2) / 2)
    # in context the chain has the entropy rate of its stationary distribution
    values, vectors = torch.linalg.eig(table.T)
    still = vectors[:, values.real.argmax()].real
    still /= still.sum()
    rate = sum(still[i].item() * Multinomial(1, table[i]).entropy() for i in range(3))
    context = found["perplexity_in_context"]
    assert context.low < math.exp(rate) < context.high
    assert context.value == pytest.approx(math.exp(rate), rel=0.02)


def test_padding_is_not_counted():
    table = torch.full((3, 3), 1 / 3)
    spec = Spec((8,), vocab=3)
    mask = torch.arange(8) < torch.tensor([[3], [8], [5]])
    batch = Batch(torch.zeros(3, 8, dtype=torch.long), None, mask)
    found = _by_name(Case("text", spec, batch, batch, batch.x, model=Chain(spec, table)))
    assert found["perplexity"].value == pytest.approx(3)
    assert "16 held-out tokens" in found["perplexity"].note
    assert "perplexity_in_context" not in found  # too few whole windows


def test_levels_bounds_and_learned_by_heart():
    spec = Spec((1, 4, 4), vocab=2, ordinal=True)

    class Heart(Gaussian):
        bound = "lower"

        def log_prob(self, batch, rng):
            known = (batch.x[:, None] == train[None]).flatten(2).all(2).any(1)
            return torch.where(known, -math.log(100), -16 * math.log(2)) + 0.1 * rng.normal(len(batch))

        def iwae(self, batch, rng, k):
            return self.log_prob(batch, rng) + math.log(k)

    train, held = Rng(0).integers(2, 100, 1, 4, 4), Rng(1).integers(2, 200, 1, 4, 4)
    found = _by_name(
        Case("image", spec, Batch(train), Batch(held), held[:4], model=Heart(spec, 1.0), facts={"iwae": 10})
    )
    assert found["bits_per_dim"].value == pytest.approx(1, abs=0.01)
    assert found["nll_nats"].bound == "upper"
    assert found["nll_gap_nats"].low > 5
    assert found["iwae_nats"].value == pytest.approx(found["nll_nats"].value - math.log(10), abs=0.1)
    assert "k = 10" in found["iwae_nats"].note


def test_an_estimated_constant_widens_the_interval_and_is_told():
    spec, x = Spec((2,)), Rng(1).normal(400, 2)

    def nll(doubt):
        model = Gaussian(spec, 1.0).eval()
        model.bound, model.doubt = "estimate", doubt
        return _by_name(Case("points", spec, Batch(x), Batch(x), x, model=model))["nll_nats"]

    sure, unsure = nll(0.0), nll(0.5)
    assert unsure.value == sure.value
    assert unsure.high - unsure.value == pytest.approx(math.hypot(sure.high - sure.value, 1.96 * 0.5), rel=1e-3)
    assert unsure.value - unsure.low == pytest.approx(unsure.high - unsure.value)
    assert "standard error of 0.5 nats" in unsure.note
    assert "standard error" not in sure.note


def _chain_line(length, width=16):
    table = torch.tensor([[0.1, 0.6, 0.3], [0.5, 0.25, 0.25], [0.05, 0.05, 0.9]])
    wide = Chain(Spec((length,), vocab=3), table)
    line = wide.draw(1, Rng(3))[0]
    return Chain(Spec((width,), vocab=3), table), line


@pytest.mark.parametrize(("length", "stride"), [(203, 8), (208, 8), (100, 16), (97, 16), (60, 1), (17, 8)])
def test_a_sliding_window_scores_every_token_once_given_what_is_before_it(length, stride):
    chain, line = _chain_line(length)
    case = Case("text", chain.spec, Batch(line[None, :16]), Batch(line[None, :16]), line[None, :16], model=chain)
    nats, tokens = sliding(case, line, stride)
    assert tokens.sum() == length
    assert (tokens > 0).all()
    assert (tokens[1:-1] == stride).all()
    # the chain remembers one token: only a window's first one, scored alone, differs from the whole line's
    each = chain.table[torch.cat([line.new_zeros(1), line[:-1]]), line].log()
    if stride < 16:
        assert nats.sum().item() == pytest.approx(-each.sum().item(), abs=1e-4)
    else:
        begins = [*range(0, length - 16, 16)]
        alone = each.clone()
        alone[begins] = chain.table[0, line[begins]].log()
        assert nats.sum().item() == pytest.approx(-alone.sum().item(), abs=1e-4)


def test_sliding_perplexity_is_the_exponential_of_the_mean_and_matches_the_source():
    chain, line = _chain_line(20_000)
    held = Batch(line[:64].view(4, 16))
    case = Case("text", chain.spec, held, held, held.x, model=chain, facts={"line": line, "bytes_per_token": 2.0})
    found = _by_name(case)
    each = -chain.table[line[:-1], line[1:]].log()[15:]  # from the 17th token on
    m = found["perplexity_sliding"]
    assert m.value == pytest.approx(math.exp(each.mean().item()), rel=1e-4)
    assert found["bits_per_byte_sliding"].value == pytest.approx(each.mean().item() / math.log(2) / 2, rel=1e-4)
    values, vectors = torch.linalg.eig(chain.table.T)
    still = vectors[:, values.real.argmax()].real
    still /= still.sum()
    entropy = sum(still[i].item() * Multinomial(1, chain.table[i]).entropy() for i in range(3))
    assert m.low < math.exp(entropy) < m.high
    assert m.high - m.low < 0.1
    case.facts["line"] = line[:10]
    assert "perplexity_sliding" not in _by_name(case), "no text longer than a window"
