"""The WaveNet body: causal, as far-sighted as it says, and the same moment by moment."""

import torch

from bottega.nets.dilated import DilatedStack


def make(given=0):
    torch.manual_seed(0)
    return DilatedStack(2, 6, (1, 2, 4, 1, 2), given).double()


def test_no_moment_sees_the_future_and_each_sees_all_it_can_reach():
    stack, x = make(), torch.randn(1, 2, 24, dtype=torch.double, requires_grad=True)
    features = stack(x)
    for t in (0, 9, 10, 15, 23):
        (grad,) = torch.autograd.grad(features[0, :, t].sum(), x, retain_graph=True)
        seen = grad[0].abs().sum(0) > 0
        want = [t - stack.reach <= s <= t for s in range(24)]
        assert seen.tolist() == want


def test_moment_by_moment_is_the_same_as_all_at_once():
    stack = make(given=3)
    x, known = torch.randn(2, 2, 30).double(), torch.randn(2, 3, 30).double()
    with torch.no_grad():
        whole, cache = stack(x, known), stack.begin(2)
        parts = [stack.next(cache, x[:, :, t], known[:, :, t]) for t in range(30)]
        assert torch.allclose(torch.stack(parts, 2), whole, atol=1e-12)
        still = stack(x, known[:, :, :1])
        assert not torch.allclose(still, whole)
        cache = stack.begin(2)
        parts = [stack.next(cache, x[:, :, t], known[:, :, 0]) for t in range(30)]
        assert torch.allclose(torch.stack(parts, 2), still, atol=1e-12)


def test_every_parameter_is_reached():
    stack = make(given=3)
    stack(torch.randn(2, 2, 20).double(), torch.randn(2, 3, 1).double()).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in stack.parameters())
