"""Rows of a product are to the bit what they are alone, also where a library sums in another order for some numbers of rows."""

from __future__ import annotations

import pytest
import torch

from bottega.nets.batch_invariant import RowCounts, batch_invariant, elementwise
from bottega.nets.transformer import ACTIVATIONS
from bottega.shrink.quantise import Light, kinds_here

NUMBERS = (1, 2, 3, 5, 8, 13, 16, 17, 27, 33, 48, 63, 64, 65, 130)


def alone(made, rows):
    return torch.cat([made(row) for row in rows.split(1)])


def uneven(odd):
    """A product whose sums are in another order for some numbers of rows."""
    return lambda x: x * (1 + 1e-6) if odd(len(x)) else x * 1.0


@pytest.mark.parametrize(
    ("odd", "calls"),
    [
        (lambda n: False, (13,)),
        (lambda n: n == 13, (14,)),  # filled up
        (lambda n: 9 <= n < 27, (8, 5)),  # nothing near above agrees: in parts
        (lambda n: 5 <= n < 30, (4, 4, 4, 1)),
        (lambda n: n < 32, (32,)),
        (lambda n: n % 2 == 1, (14,)),
    ],
)
def test_numbers_of_rows_that_do_not_agree_are_filled_up_or_made_in_parts(odd, calls):
    seen = []

    def make(x):
        seen.append(len(x))
        return uneven(odd)(x)

    even, rows = batch_invariant(make, RowCounts(make)), torch.randn(130, 4)
    whole = even(rows)
    for n in NUMBERS:
        assert torch.equal(even(rows[:n]), whole[:n]), n
    assert torch.equal(alone(even, rows[:3]), whole[:3])
    seen.clear()
    even(rows[:13])
    assert tuple(seen) == calls


def test_where_a_rows_place_matters_each_is_made_alone():
    """A planted fault that no filling up can mend."""

    def make(x):
        return x * (1 + 1e-6 * torch.arange(len(x))[:, None])

    even, rows = batch_invariant(make, RowCounts(make)), torch.randn(70, 4)
    assert torch.equal(even(rows), rows)


def test_products_of_one_shape_are_tried_once():
    tried = []

    def make(factor):
        def made(x):
            tried.append(len(x))
            return x * factor

        return made

    counts = RowCounts(make(1.0))
    batch_invariant(make(1.0), counts)(torch.ones(5, 4))
    assert len(tried) > 1
    tried.clear()
    assert torch.equal(batch_invariant(make(2.0), counts)(torch.ones(5, 4)), torch.full((5, 4), 2.0))
    assert tried == [5]


def test_a_thousand_rows_may_be_made_one_by_one():
    even = batch_invariant(uneven(lambda n: n > 1), RowCounts(uneven(lambda n: n > 1)))
    rows = torch.randn(1500, 2)
    assert torch.equal(even(rows)[[0, 7, 1499]], even(rows[[0, 7, 1499]]))


@pytest.mark.parametrize("kind", kinds_here())
@pytest.mark.parametrize("threads", [1, 2])
def test_matrices_of_a_real_size(kind, threads):
    """At 1,536 inputs oneDNN sums in another order for one row (fp32) and for 16 to 33 (bf16); so found on AMX."""
    g = torch.Generator().manual_seed(0)
    light = Light(torch.randn(384, 1536, generator=g) / 40, torch.randn(384, generator=g), kind, 16)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            made = light.bare()
            even, rows = batch_invariant(made, RowCounts(made)), torch.randn(130, 1536, generator=g)
            whole = even(rows)
            assert all(torch.equal(even(rows[:n]), whole[:n]) for n in NUMBERS)
            assert torch.equal(alone(even, rows[:8]), whole[:8])
            assert (whole - light(rows)).abs().max() < 0.1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("width", [400, 1376, 1536, 100, 33])
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activations_do_not_end_within_a_vector(kind, width, threads):
    """Unheeded, silu and tanh differ in a last bit where a tensor, or what a thread has of it, ends."""
    g = torch.Generator().manual_seed(0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for n in (1, 2, 5, 37, 101):
            gate = 3 * torch.randn(n, 2 * width, generator=g)[:, :width]
            for x in (gate, gate.contiguous()):
                whole = elementwise(ACTIVATIONS[kind], x)
                assert torch.equal(whole, torch.cat([elementwise(ACTIVATIONS[kind], row) for row in x.split(1)])), n
                torch.testing.assert_close(whole, ACTIVATIONS[kind](x))
    finally:
        torch.set_num_threads(before)
