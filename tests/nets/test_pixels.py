"""Group norms and convolutions of pictures whose channels lie together: the same functions, in bfloat16 and quickly."""

import pytest
import torch
import torch.nn.functional as F

from bottega.nets.pixels import Conv2d, GroupNorm, together
from bottega.nets.unet import UNet

SHAPES = [(4, 64, 16, 16), (3, 20, 7, 5)]


def near(a, b):
    """How far two tensors are from each other, beside how large they are."""
    return ((a.float() - b).norm() / b.norm()).item()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("mean", [0.0, 2.0])
def test_a_norm_and_its_gradients_are_those_of_float32(shape, scaled, mean):
    torch.manual_seed(0)
    norm = GroupNorm(4, shape[1])
    torch.nn.init.normal_(norm.weight), torch.nn.init.normal_(norm.bias)
    x = (torch.randn(shape) + mean).bfloat16()
    given = [torch.randn(shape[:2]).bfloat16().requires_grad_() for _ in range(2)] if scaled else []
    plain = [x.float().requires_grad_(), *(t.detach().float().requires_grad_() for t in given)]
    wanted = F.group_norm(plain[0], 4, norm.weight, norm.bias)
    if scaled:
        wanted = wanted * (1 + plain[1][..., None, None]) + plain[2][..., None, None]
    near_x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    made = norm(near_x, *given)
    assert made.dtype == torch.bfloat16
    assert made.is_contiguous(memory_format=torch.channels_last)
    g = torch.randn(shape).bfloat16()
    ours = torch.autograd.grad(made, (near_x, *given, norm.weight, norm.bias), g)
    theirs = torch.autograd.grad(wanted, (*plain, norm.weight, norm.bias), g.float())
    assert near(made, wanted.detach()) < 0.01
    assert max(map(near, ours, theirs)) < 0.02


def test_a_gradient_that_forgets_the_mean_is_seen():
    """Planted: the mean is taken off and its gradient is forgotten."""
    torch.manual_seed(0)
    norm, x = GroupNorm(4, 16), torch.randn(2, 16, 8, 8)
    near_x = x.bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    g = torch.randn_like(x) + 1
    (wanted,) = torch.autograd.grad(norm(p := x.clone().requires_grad_()), p, g)
    (ours,) = torch.autograd.grad(norm(near_x), near_x, g.bfloat16())
    rate = (x.view(2, 4, -1).var(-1, unbiased=False) + norm.eps).rsqrt().repeat_interleave(4, 1)[..., None, None]
    assert near(ours, wanted) < 0.01 < 0.3 < near(g * rate, wanted)


def test_channels_lie_together_only_where_that_is_faster():
    x = torch.zeros(2, 3, 4, 4)
    assert together(x) is x
    with torch.autocast("cpu", torch.bfloat16):
        assert together(x).is_contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", enabled=False):
            assert together(x) is x


@torch.no_grad()
def test_packed_weights_are_packed_anew_when_they_change():
    torch.manual_seed(0)
    conv, x = Conv2d(6, 8, 3, padding=1), torch.randn(2, 6, 9, 9)
    for k in range(3):
        with torch.autocast("cpu", torch.bfloat16):
            first, again = conv(together(x)), conv(together(x))
        assert torch.equal(first, again)
        assert conv._kept is not None
        assert near(first, conv(x)) < 0.01
        (conv.weight if not k else conv.bias).mul_(-20)
    assert set(conv.state_dict()) == {"weight", "bias"}


def test_a_network_in_bfloat16_is_the_one_in_float32():
    torch.manual_seed(0)
    net, x, given = UNet(3, 16, 32, side=16), torch.randn(4, 3, 16, 16), torch.randn(4, 32)
    wanted = torch.autograd.grad((plain := net(x, given)).square().sum(), net.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        made = net(x, given)
        with torch.no_grad():
            drawn = net(x, given), net(x[1:2], given[1:2])
    ours = torch.autograd.grad(made.float().square().sum(), net.parameters())
    assert near(made, plain.detach()) < 0.03
    assert near(drawn[0], plain.detach()) < 0.03
    assert near(drawn[1], drawn[0][1:2].float()) < 0.01  # a row is what it is alone
    assert near(torch.cat([g.flatten() for g in ours]), torch.cat([g.flatten() for g in wanted])) < 0.05
    with torch.no_grad():
        net.up[-1].block.conv1.weight.zero_()
        with torch.autocast("cpu", torch.bfloat16):
            assert not torch.equal(net(x, given), drawn[0])


@torch.no_grad()
def test_enlarging_remembers_no_weights_of_before():
    net, x = UNet(1, 8, 16, side=8), torch.randn(1, 8 * 2, 4, 4)
    up = next(part for part in net.up if hasattr(part, "fold"))
    before = up(x)
    assert torch.equal(before, up(x))
    up.weight.mul_(2)
    torch.testing.assert_close(up(x) - up.bias[:, None, None], 2 * (before - up.bias[:, None, None]))


def test_what_was_learned_is_what_draws():
    """Fused AdamW changes weights without counting a version, so that weights kept from before would be drawn with."""
    torch.manual_seed(0)
    net, x, given = UNet(1, 8, 16, side=8), torch.randn(2, 1, 8, 8), torch.randn(2, 16)
    optim = torch.optim.AdamW(net.parameters(), lr=0.05, fused=True)
    for _ in range(2):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            before = net(x, given)
        with torch.autocast("cpu", torch.bfloat16):
            net(x, given).float().square().sum().backward()
        optim.step()
        with torch.no_grad():
            with torch.autocast("cpu", torch.bfloat16):
                after = net(x, given)
            assert near(after, net(x, given)) < 0.05
            assert near(after, before.float()) > 0.2
