"""Random numbers: rows do not see each other, states go round, draws have the distribution they claim."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare, kstest

from bottega.core import Batch, RecipeError, Rng

DRAWS = {
    "normal": lambda rng, n: rng.normal(n, 3),
    "uniform": lambda rng, n: rng.uniform(n, 2, 2),
    "integers": lambda rng, n: rng.integers(10, n, 5),
    "bernoulli": lambda rng, n: rng.bernoulli(torch.full((n, 4), 0.3)),
    "categorical": lambda rng, n: rng.categorical(torch.zeros(n, 2, 5)),
    "scalar for each row": lambda rng, n: rng.normal(n),
}
draws = pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))


@draws
def test_a_row_does_not_depend_on_the_others(draw):
    four = draw(Rng(3, 5, 7, 9), 4)
    assert torch.equal(draw(Rng(9, 7), 2), four[[3, 2]])
    assert torch.equal(draw(Rng(5), 1), four[1:2])
    assert torch.equal(draw(Rng.for_rows([5]), 1), four[1:2])


@draws
def test_later_draws_of_a_row_do_not_depend_on_the_others_either(draw):
    many, one = Rng(3, 5), Rng.for_rows([5])
    for _ in range(3):
        assert torch.equal(draw(many, 2)[1:], draw(one, 1))


@draws
def test_equal_seeds_draw_equally_and_others_differ(draw):
    assert torch.equal(draw(Rng(1), 40), draw(Rng(1), 40))
    assert not torch.equal(draw(Rng(1), 40), draw(Rng(2), 40))


@draws
@pytest.mark.parametrize("seeds", [(4,), (4, 5, 6)])
def test_a_state_goes_on_from_where_it_was_taken(draw, seeds):
    rng = Rng(*seeds)
    draw(rng, 3)
    state = rng.state()
    want = [draw(rng, 3) for _ in range(3)]
    other = Rng(*range(100, 100 + len(seeds)))
    other.load_state(state)
    assert all(torch.equal(draw(other, 3), w) for w in want)


def test_a_state_of_another_number_of_streams_is_refused():
    with pytest.raises(ValueError, match="state has 2 streams, this Rng has 1"):
        Rng(0).load_state(Rng(0, 1).state())


def test_drawing_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    rng = Rng(1)
    for draw in DRAWS.values():
        draw(rng, 2)
    rng.permutation(5), rng.fork("a"), rng.repeat(3)
    assert torch.equal(before, torch.get_rng_state())


def test_no_seed_and_a_draw_of_other_than_one_row_for_each_stream_are_refused():
    with pytest.raises(ValueError, match="at least one seed"):
        Rng()
    for rng in (Rng(1, 2), Rng.for_rows([1])):
        with pytest.raises(ValueError, match="draw one row for each"):
            rng.normal(3, 2)
    with pytest.raises(ValueError, match="couples rows"):
        Rng(1, 2).permutation(4)


def test_a_fork_is_another_stream_and_does_not_move_its_parent():
    rng, same = Rng(1), Rng(1)
    fork = rng.fork("noise")
    assert torch.equal(rng.normal(4), same.normal(4))
    assert torch.equal(fork.normal(4), Rng(1).fork("noise").normal(4))
    streams = [Rng(1).fork("noise"), Rng(1).fork("other"), Rng(2).fork("noise"), Rng(1)]
    assert len({tuple(s.normal(4).tolist()) for s in streams}) == 4


def test_a_fork_of_a_row_does_not_depend_on_the_other_rows():
    assert torch.equal(Rng(1, 2).fork("a").normal(2, 3)[1:], Rng.for_rows([2]).fork("a").normal(1, 3))


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("pieces", [1, 2, 3, 5, 7, 9])
def test_random_numbers_are_cut_as_batches_are(rows, pieces):
    batch = Batch(torch.arange(rows)[:, None])
    parts, noise = batch.split(pieces), Rng.for_rows(range(rows)).split(pieces, rows)
    assert len(parts) == len(noise) == len(Rng(0).split(pieces, rows)) == min(pieces, rows)
    sizes = [len(p) for p in parts]
    assert sum(sizes) == rows
    assert max(sizes) - min(sizes) <= 1
    drawn = torch.cat([r.normal(len(p), 2) for r, p in zip(noise, parts, strict=True)])
    assert torch.equal(drawn, Rng.for_rows(range(rows)).normal(rows, 2))


def test_repeat_keeps_rows_independent_and_orders_like_repeat_interleave():
    many = Rng(1, 2).repeat(3).normal(6, 2)
    assert torch.equal(many[3:], Rng.for_rows([2]).repeat(3).normal(3, 2))
    assert len({tuple(r) for r in many.tolist()}) == 6
    assert Rng(1).repeat(3).normal(6, 2).shape == (6, 2)


@pytest.mark.parametrize("rng", [Rng(0), Rng.for_rows(range(4000))], ids=["one stream", "a stream for each row"])
def test_draws_have_the_distribution_they_claim(rng):
    n = 4000
    assert kstest(rng.normal(n).numpy(), "norm").pvalue > 1e-3
    assert kstest(rng.uniform(n).numpy(), "uniform").pvalue > 1e-3
    assert chisquare(torch.bincount(rng.integers(7, n), minlength=7)).pvalue > 1e-3
    p = torch.tensor([0.5, 0.25, 0.2, 0.05, 0.0])
    drawn = torch.bincount(rng.categorical(p.log().expand(n, 5)), minlength=5)
    assert drawn[4] == 0
    assert chisquare(drawn[:4], p[:4] * n).pvalue > 1e-3
    assert abs(rng.bernoulli(torch.full((n,), 0.3)).float().mean() - 0.3) < 0.03


def test_a_permutation_has_every_number_once():
    assert sorted(Rng(3).permutation(50).tolist()) == list(range(50))
    assert not torch.equal(Rng(3).permutation(50), Rng(4).permutation(50))


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_a_seed_that_no_generator_takes_is_named(seed):
    with pytest.raises(RecipeError, match=f"the seed {seed} does not fit"):
        Rng(1, seed)
    Rng(2**64 - 1, -(2**63))
