"""MADE's body: strictly in order, whatever the order, and the same place by place."""

import pytest
import torch

from bottega.nets.masked_mlp import MaskedMLP


def make(hidden=24, inputs=2, outputs=3, given=0, places=6):
    torch.manual_seed(0)
    body = MaskedMLP(places, inputs, outputs, hidden, 2, given).double()
    with torch.no_grad():
        body.last.normal_()
    return body


def orders(places=6, k=3):
    return torch.stack([torch.arange(places)] + [torch.randperm(places) for _ in range(k - 1)])


@pytest.mark.parametrize("hidden", [24, 25, 6, 3])
def test_a_place_sees_every_place_before_it_and_no_other(hidden):
    """With fewer units than places some places share a degree: none sees too much, but some see too little."""
    body, ranks = make(hidden), orders()
    for k, rank in enumerate(ranks):
        x = torch.randn(1, 12, dtype=torch.double, requires_grad=True)
        out = body(x, ranks, torch.tensor([k])).view(6, 3)
        for place in range(6):
            (grad,) = torch.autograd.grad(out[place].square().sum(), x, retain_graph=True)
            seen = grad[0].view(6, 2).abs().sum(1) > 0
            earlier = rank < rank[place]
            assert not (seen & ~earlier).any(), f"order {k}, place {place}"
            if hidden >= 12:
                assert torch.equal(seen, earlier), f"order {k}, place {place}"


@pytest.mark.parametrize("hidden", [24, 7, 3])
@pytest.mark.parametrize("given", [0, 4])
def test_place_by_place_is_the_same_as_all_at_once(hidden, given):
    body, ranks = make(hidden, given=given), orders()
    x, known = torch.randn(5, 12).double(), torch.randn(5, given).double() if given else None
    with torch.no_grad():
        for k, rank in enumerate(ranks):
            whole = body(x, ranks, torch.full((5,), k), known).view(5, 6, 3)
            cache, seen = body.begin(5, rank, known), torch.zeros_like(x)
            for place in rank.argsort().tolist():
                got = body.next_place(cache, seen, place)
                assert torch.allclose(got, whole[:, place], atol=1e-12), f"order {k}, place {place}"
                seen[:, 2 * place : 2 * place + 2] = x[:, 2 * place : 2 * place + 2]


def test_rows_of_several_orders_are_each_in_their_own():
    body, ranks = make(), orders()
    x, which = torch.randn(7, 12).double(), torch.tensor([2, 0, 1, 1, 2, 0, 0])
    together = body(x, ranks, which)
    for i in range(7):
        assert torch.allclose(body(x[i : i + 1], ranks, which[i : i + 1]), together[i : i + 1])
    assert not torch.allclose(together, body(x, ranks, which.flip(0)))


def test_every_parameter_is_reached_and_what_is_known_matters():
    body, ranks = make(given=3), orders()
    x, known = torch.randn(4, 12).double(), torch.randn(4, 3).double()
    out = body(x, ranks, torch.tensor([0, 1, 2, 0]), known)
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in body.parameters())
    moved = body(x, ranks, torch.tensor([0, 1, 2, 0]), -known)
    assert (out - moved).view(4, 6, 3).abs().amax((0, 2)).min() > 1e-6, "also the first place hears it"


def test_units_start_with_one_variance_in_the_mean_however_many_they_see():
    torch.manual_seed(0)
    body = MaskedMLP(64, 1, 1, 512, 1).double()
    spread = body.blocks[0][0](torch.randn(4000, 512).double()).var(0).view(8, 64).mean(1)
    assert spread.min() > 0.75
    assert spread.max() < 1.3
