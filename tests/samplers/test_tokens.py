"""Which tokens may follow, and the loop that picks them."""

import pytest
import torch

from bottega.core import RecipeError, Rng
from bottega.samplers.tokens import filter_logits, generate, penalise, pick

LOGITS = torch.tensor([[0.5, 0.2, 0.15, 0.1, 0.05], [0.05, 0.1, 0.15, 0.2, 0.5]]).log()


def left(logits):
    return logits.isfinite()


def test_top_k_leaves_the_k_likeliest():
    for k in range(1, 6):
        kept = left(filter_logits(LOGITS, top_k=k))
        assert kept.sum(1).tolist() == [k, k]
        assert kept[0, :k].all()
        assert kept[1, -k:].all()
    assert torch.equal(filter_logits(LOGITS, top_k=0), LOGITS)
    assert torch.equal(filter_logits(LOGITS, top_k=99), LOGITS)


@pytest.mark.parametrize(("p", "count"), [(0.3, 1), (0.5, 1), (0.6, 2), (0.75, 3), (0.9, 4), (0.97, 5), (1.0, 5)])
def test_top_p_leaves_the_smallest_set_with_that_mass(p, count):
    assert left(filter_logits(LOGITS, top_p=p)).sum(1).tolist() == [count, count]


def test_top_p_mass_on_random_logits():
    logits = 2 * torch.randn(50, 30, generator=torch.Generator().manual_seed(0))
    prob = logits.softmax(-1)
    for p in (0.2, 0.7, 0.95):
        kept = left(filter_logits(logits, top_p=p))
        mass = (prob * kept).sum(-1)
        smallest = prob.masked_fill(~kept, 2.0).amin(-1)
        assert (mass >= p - 1e-6).all()
        assert (mass - smallest < p).all()  # without its least likely member the set would be too small
        assert (prob.masked_fill(kept, 0.0).amax(-1) <= smallest).all()


def test_min_p_is_relative_to_the_likeliest():
    assert left(filter_logits(LOGITS, min_p=0.25)).sum(1).tolist() == [3, 3]
    assert left(filter_logits(LOGITS, min_p=1.0)).sum(1).tolist() == [1, 1]


def test_temperature_sharpens_and_zero_is_greedy():
    hot, cold = (filter_logits(LOGITS, temperature=t).softmax(-1) for t in (2.0, 0.5))
    torch.testing.assert_close(cold[0] ** 0.5 / (cold[0] ** 0.5).sum(), LOGITS[0].exp())
    torch.testing.assert_close(hot[0] ** 2 / (hot[0] ** 2).sum(), LOGITS[0].exp())
    greedy = filter_logits(LOGITS, temperature=0)
    for u in (0.0, 0.5, 1 - 2**-24):
        assert pick(greedy, torch.full((2,), u)).tolist() == [0, 4]


@pytest.mark.parametrize("bad", [{"temperature": -1}, {"top_k": -1}, {"top_p": 0}, {"top_p": 1.1}, {"min_p": -0.1}])
def test_bad_knobs_are_refused(bad):
    with pytest.raises(RecipeError, match=f"{next(iter(bad))}="):
        filter_logits(LOGITS, **bad)
    with pytest.raises(RecipeError, match="repetition_penalty"):
        penalise(LOGITS, LOGITS > 0, 0)


def test_penalty_makes_seen_tokens_less_likely():
    logits, seen = torch.tensor([[2.0, -2.0, 1.0]]), torch.tensor([[True, True, False]])
    torch.testing.assert_close(penalise(logits, seen, 2.0), torch.tensor([[1.0, -4.0, 1.0]]))


def test_pick_draws_the_distribution_and_never_a_forbidden_token():
    logits = torch.tensor([[0.0, 1.0, float("-inf"), 2.0, float("-inf")]]).expand(40000, -1)
    u = (torch.arange(40000) + 0.5) / 40000
    share = torch.bincount(pick(logits, u), minlength=5) / 40000
    torch.testing.assert_close(share, logits[0].softmax(-1), atol=1e-3, rtol=0)
    ends = torch.tensor([0.0, 1 - 2**-24])
    first = torch.tensor([[float("-inf"), 0.0, 0.0, float("-inf")]]).expand(2, -1)
    assert pick(first, ends).tolist() == [1, 2]


def chain(vocab=6, seed=0):
    """A Markov chain as a step; also counts the calls and the tokens read."""
    table = torch.randn(vocab + 1, vocab, generator=torch.Generator().manual_seed(seed))
    calls = []

    def begin(n):
        def step(fresh):
            calls.append(fresh.shape[1])
            step.last = fresh[:, -1] if fresh.shape[1] else step.last
            return table[step.last]

        step.last = torch.full((n,), vocab)
        return step

    return begin, table, calls


def run(n=3, length=12, given=None, keep=None, seeds=(5,), **knobs):
    begin, _, calls = chain()
    given = torch.zeros(n, length, dtype=torch.long) if given is None else given
    keep = torch.zeros(n, length, dtype=torch.bool) if keep is None else keep
    parts = list(generate(begin(n), given, keep, Rng(*seeds), **knobs))
    return torch.cat(parts, 1), parts, calls


def test_seed_reproduces_and_another_differs():
    assert torch.equal(run(seeds=(5,))[0], run(seeds=(5,))[0])
    assert not torch.equal(run(seeds=(5,))[0], run(seeds=(6,))[0])


def test_rows_belong_to_their_seed():
    together = run(seeds=(3, 4, 5))[0]
    for i, seed in enumerate((3, 4, 5)):
        assert torch.equal(run(n=1, seeds=(seed,))[0], together[i : i + 1])


def test_greedy_follows_the_argmax():
    _, table, _ = chain()
    out = run(temperature=0)[0]
    at = 6
    for token in out[0].tolist():
        assert token == table[at].argmax()
        at = token


def test_prompt_is_read_in_one_step_and_draws_do_not_depend_on_other_rows():
    given = torch.tensor([[1, 2, 3, 0, 0, 0], [4, 0, 0, 0, 0, 0]])
    keep = torch.tensor([[True] * 3 + [False] * 3, [True] + [False] * 5])
    both, parts, calls = run(2, 6, given, keep, seeds=(7, 8))
    assert calls[0] == 1
    assert [p.shape[1] for p in parts] == [1] * 6
    assert torch.equal(both[keep], given[keep])
    alone, parts, calls = run(1, 6, given[:1], keep[:1], seeds=(7,))
    assert [p.shape[1] for p in parts] == [3, 1, 1, 1]
    assert calls[0] == 3
    assert torch.equal(alone, both[:1])


def test_holes_are_filled_and_the_rest_is_kept():
    given = torch.arange(12).remainder(6).expand(3, -1)
    keep = (torch.arange(12) % 3 != 1).expand(3, -1)
    out = run(3, 12, given, keep)[0]
    assert torch.equal(out[keep], given[keep])
    assert not torch.equal(out, given)
    assert torch.equal(run(3, 12, given, torch.ones_like(keep))[0], given)


def test_stop_fills_the_rest_of_the_row_and_ends_early():
    plain = run(n=40, length=30)[0]
    out, _, calls = run(n=40, length=30, stop=2)
    assert len(calls) <= 30
    for was, now in zip(plain.tolist(), out.tolist(), strict=True):
        end = was.index(2) if 2 in was else len(was)
        assert now[: end + 1] == was[: end + 1]
        assert set(now[end:]) <= {2}
    ended = run(n=2, length=200, stop=2)
    assert ended[0].shape == (2, 200)
    assert len(ended[2]) < 200


def test_a_given_stop_does_not_stop_and_kept_tokens_survive_it():
    given = torch.full((1, 8), 2)
    keep = torch.tensor([[True, True, False, False, False, False, False, True]])
    assert run(1, 8, given, keep, stop=2)[0][0, 2] == run(1, 8, given, keep)[0][0, 2]
    given[0, 7] = 5
    assert run(1, 8, given, keep, stop=2)[0][0, 7] == 5


def test_top_k_one_equals_greedy_and_penalty_changes_it():
    assert torch.equal(run(top_k=1)[0], run(temperature=0)[0])
    tokens = run(temperature=0, repetition_penalty=50.0, length=6)[0]
    assert len(set(tokens[0].tolist())) > len(set(run(temperature=0, length=6)[0][0].tolist()))
