"""The PixelCNN body: strictly causal, without a blind spot, and the same pixel by pixel."""

import pytest
import torch

from bottega.nets.masked import CausalStack


def make(given=0, dilations=(1, 2, 1), shape=(6, 7), size=3):
    torch.manual_seed(0)
    return CausalStack(2, shape, 5, dilations, size, given=given).double()


@pytest.mark.parametrize("size", [3, 5])
def test_a_pixel_sees_every_pixel_before_it_and_no_other(size):
    stack = make(size=size, dilations=(1, 2, 1, 1, 1))
    x = torch.randn(1, 2, 6, 7, dtype=torch.double, requires_grad=True)
    features = stack(x)
    for i in range(6):
        for j in range(7):
            (grad,) = torch.autograd.grad(features[0, :, i, j].sum(), x, retain_graph=True)
            seen = grad[0].abs().sum(0) > 0  # (H, W)
            earlier = torch.arange(42).view(6, 7) < 7 * i + j
            assert torch.equal(seen, earlier), f"pixel {i}, {j}"


@pytest.mark.parametrize("given", [0, 3])
@pytest.mark.parametrize("shape", [(6, 7), (1, 4), (5, 1)])
def test_pixel_by_pixel_is_the_same_as_all_at_once(given, shape):
    stack = make(given, shape=shape)
    x, known = torch.randn(2, 2, *shape).double(), torch.randn(2, given).double() if given else None
    with torch.no_grad():
        whole, cache = stack(x, known), stack.begin(2, known)
        for i in range(shape[0]):
            stack.next_row(cache, x[:, :, i - 1 : i] if i else None)
            assert torch.allclose(stack.this_row(cache, x[:, :, i : i + 1]), whole[:, :, i : i + 1], atol=1e-12)
            for j in range(shape[1]):
                h = stack.next_pixel(cache, x[:, :, i, j - 1] if j else None)
                assert torch.allclose(h, whole[:, :, i, j], atol=1e-12), f"pixel {i}, {j}"


def test_every_parameter_is_reached_and_what_is_known_matters():
    stack = make(given=3)
    x, known = torch.randn(2, 2, 6, 7).double(), torch.randn(2, 3).double()
    out = stack(x, known)
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in stack.parameters())
    assert not torch.allclose(out, stack(x, -known))
