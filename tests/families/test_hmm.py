"""Hidden Markov models: likelihood by brute force, Baum-Welch, Viterbi, exact completion."""

import itertools

import numpy as np
import pytest
import torch

from bottega.core import Batch, Classifies, Edits, Encodes, RecipeError, Rng, Scores, Spec, SpecError, Streams, has
from bottega.data import worlds
from bottega.families.hmm import HMM

TEXT = Spec((4,), vocab=3)


def small(spec=TEXT, size=3, seed=0):
    torch.manual_seed(seed)
    model = HMM(spec, size=size)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2)
    return model


def tables(model, k=0):
    return [p[k].detach().softmax(-1).double().numpy() for p in (model.start, model.moves, model.letters)]


def by_hand(model, x, k=0):
    """``log p`` and the likeliest path, by going through all of them."""
    start, moves, letters = tables(model, k)
    total, best = 0.0, (-1.0, ())
    for path in itertools.product(range(len(start)), repeat=len(x)):
        p = start[path[0]] * letters[path[0], x[0]]
        for i in range(1, len(x)):
            p *= moves[path[i - 1], path[i]] * letters[path[i], x[i]]
        total, best = total + p, max(best, (p, path))
    return np.log(total), best[1]


def test_capabilities():
    assert all(has(small(), c) for c in (Scores, Streams, Edits, Encodes))
    assert not has(small(), Classifies)
    assert has(small(Spec((4,), vocab=3, cond=Spec((), vocab=2))), Classifies)


def test_forward_likelihood_and_viterbi_path_equal_brute_force():
    model = small()
    x = torch.tensor(list(itertools.product(range(3), repeat=4)))
    nats, path = model.log_prob(Batch(x), Rng(0)), model.encode(Batch(x))
    for row, got, states in zip(x.tolist(), nats.tolist(), path.tolist(), strict=True):
        want, best = by_hand(model, row)
        assert got == pytest.approx(want, abs=1e-5)
        assert tuple(states) == best
    assert nats.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_padding_is_summed_out():
    model = small()
    x = torch.tensor([[0, 2, 1, 1]])
    part = model.log_prob(Batch(x, mask=torch.tensor([[True, True, False, False]])), Rng(0)).item()
    assert part == pytest.approx(by_hand(model, [0, 2])[0], abs=1e-5)


def test_missing_tokens_are_drawn_from_their_exact_posterior():
    model, n = small(), 20_000
    x, keep = torch.tensor([[0, 2, 1, 2]]), torch.tensor([[True, False, True, False]])
    made = model.edit(Batch(x.expand(n, -1)), keep, Rng(1))
    assert (made[:, [0, 2]] == x[:, [0, 2]]).all()
    both = torch.tensor([[0, a, 1, b] for a in range(3) for b in range(3)])
    p = model.log_prob(Batch(both), Rng(0)).softmax(0)
    share = torch.bincount(made[:, 1] * 3 + made[:, 3], minlength=9) / n
    assert (share - p).abs().max() < 0.015


def test_baum_welch_never_makes_it_worse():
    model = small(Spec((20,), vocab=3))
    x = worlds.load("hidden", n=40, length=20)
    batch = Batch(torch.tensor([["abcde".index(c) % 3 for c in item.value] for item in x.items]))
    nats = model.baum_welch(batch, rounds=12)
    assert all(b >= a - 1e-3 for a, b in itertools.pairwise(nats))
    assert nats[-1] > nats[0] + 10
    assert model.log_prob(batch, Rng(0)).sum().item() >= nats[-1] - 1e-2


def test_baum_welch_counts_by_the_gradient_what_forward_and_backward_count():
    """One round on one short text, against expected counts summed over all paths."""
    model = small(Spec((3,), vocab=3), size=2)
    x = [0, 2, 1]
    start, moves, letters = tables(model)
    firsts, walks, wrote = np.zeros(2), np.zeros((2, 2)), np.zeros((2, 3))
    for path in itertools.product(range(2), repeat=3):
        p = start[path[0]] * letters[path[0], x[0]]
        for i in (1, 2):
            p *= moves[path[i - 1], path[i]] * letters[path[i], x[i]]
        firsts[path[0]] += p
        for i in range(3):
            wrote[path[i], x[i]] += p
            if i:
                walks[path[i - 1], path[i]] += p
    model.baum_welch(Batch(torch.tensor([x])), rounds=1)
    got = tables(model)
    for have, count in zip(got, (firsts, walks, wrote), strict=True):
        assert np.abs(have - count / count.sum(-1, keepdims=True)).max() < 1e-5


def recovered(model, truth):
    """The largest error of moves and letters over the best order of the states, and that order."""
    _, moves, letters = tables(model)
    errors = {
        order: max(
            np.abs(moves[np.ix_(order, order)] - truth["moves"]).max(),
            np.abs(letters[list(order)] - truth["letters"]).max(),
        )
        for order in itertools.permutations(range(3))
    }
    best = min(errors, key=errors.get)
    return errors[best], best


def test_baum_welch_recovers_a_known_model_of_three_states():
    data = worlds.load("hidden", n=300, length=60)
    truth, paths = data.truth, np.array(data.truth["paths"])
    x = torch.tensor([["abcde".index(c) for c in item.value] for item in data.items])
    torch.manual_seed(0)
    model = HMM(Spec((60,), vocab=5), size=3)
    model.baum_welch(Batch(x), rounds=60)
    error, order = recovered(model, truth)
    assert error < 0.03
    got = -model.log_prob(Batch(x), Rng(0)).mean().item()
    true = -np.mean([truth["log_prob"](item.value) for item in data.items])
    assert abs(got - true) < 0.1  # nats a text of 60 letters, fitted on these very texts
    place = torch.tensor([order.index(k) for k in range(3)])
    agree = (place[model.encode(Batch(x))].numpy() == paths).mean()
    assert agree > 0.85  # what hides under two letters of five cannot be told wholly


def test_classes_have_models_of_their_own():
    spec = Spec((30,), vocab=5, cond=Spec((), vocab=2))
    one, two = (worlds.load("hidden", n=150, length=30, seed=s) for s in (1, 2))
    x = torch.tensor([["abcde".index(c) for c in i.value] for i in one.items])
    y = torch.tensor([["edcba".index(c) for c in i.value[::-1]] for i in two.items])
    torch.manual_seed(0)
    model = HMM(spec, size=3)
    batch = Batch(torch.cat([x, y]), torch.arange(2).repeat_interleave(150))
    model.baum_welch(batch, rounds=15)
    right = (model.classify(Batch(batch.x)).argmax(1) == batch.cond).double().mean()
    assert right > 0.6
    assert torch.allclose(model.classify(batch).exp().sum(1), torch.ones(300))


def test_bad_values_are_refused():
    with pytest.raises(RecipeError, match="size"):
        HMM(Spec((4,), vocab=3), size=0)
    with pytest.raises(SpecError, match="seq2seq"):
        HMM(Spec((4,), vocab=3, cond=Spec((5,), vocab=3)))
