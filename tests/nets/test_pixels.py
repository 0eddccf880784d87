"""Group norms and convolutions of pictures whose channels lie together: the same functions, in bfloat16 and quickly."""

import copy

import pytest
import torch
import torch.nn.functional as F

from bottega.nets import pixels
from bottega.nets.pixels import Conv2d, ConvTranspose2d, GroupNorm, together
from bottega.nets.unet import UNet

SHAPES = [(4, 64, 16, 16), (3, 20, 7, 5), (2, 24, 33, 32)]


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


FEW = [  # layer, size of what goes in
    (Conv2d(96, 160, 3, padding=1), (4, 5)),
    (Conv2d(64, 512, 4, stride=2, padding=1), (7, 6)),
    (Conv2d(64, 512, (3, 5), stride=(2, 1), padding=(0, 2), bias=False), (4, 5)),
    (Conv2d(64, 512, 3, padding=1), (1, 1)),
    (ConvTranspose2d(96, 160, 3, stride=2, padding=1), (4, 5)),
    (ConvTranspose2d(64, 512, 4, stride=2, padding=1), (3, 7)),
    (ConvTranspose2d(64, 512, 3, stride=2, padding=1, output_padding=1, bias=False), (4, 4)),
]


def played(layer, x, bf16):
    """What comes out, and the gradients of the picture and of all parameters that want one."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        y = layer(x.contiguous(memory_format=torch.channels_last))
        (y.float() * torch.linspace(-1, 1, y.numel()).view(y.shape).sin()).sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in layer.parameters() if p.requires_grad)]


def counted(monkeypatch):
    """How often patches are taken or added up."""
    seen = []
    for name in ("_gather", "_scatter"):
        real = getattr(pixels, name)
        monkeypatch.setattr(pixels, name, lambda *a, real=real: seen.append(1) or real(*a))
    return seen


@pytest.mark.parametrize(("layer", "size"), FEW)
@pytest.mark.parametrize("lie", [torch.channels_last, torch.contiguous_format], ids=["channels-last", "contiguous"])
def test_convolutions_of_few_pixels_are_products_and_the_same(layer, size, lie, monkeypatch):
    """In bfloat16 they differ from float32 by rounding only, hardly more than torch's do."""
    torch.manual_seed(0)
    layer = copy.deepcopy(layer).to(memory_format=lie)
    x = torch.randn(3, layer.in_channels, *size)
    exact = played(layer, x, False)
    with monkeypatch.context() as few:
        few.setattr(pixels, "_few", lambda *_: False)
        torchs = played(layer, x, True)
    seen = counted(monkeypatch)
    found = played(layer, x, True)
    assert len(seen) == (3 if isinstance(layer, Conv2d) else 2)
    assert found[0].dtype == torch.bfloat16
    assert found[0].is_contiguous(memory_format=torch.channels_last)
    for a, b, other in zip(found, exact, torchs, strict=True):
        assert a.shape == b.shape
        assert near(a, b) < 1.8 * near(other, b) + 1e-4 < 0.01
    assert all(p.grad.stride() == p.stride() for p in layer.parameters())
    if size != (1, 1):  # planted: every place of the kernel at the opposite one
        real = pixels._starts
        monkeypatch.setattr(pixels, "_starts", lambda *a: real(*a)[::-1])
        wrong = played(layer, x, True)
        assert all(near(a, b) > 0.1 for a, b in zip(wrong[:3], exact[:3], strict=True))


@pytest.mark.parametrize(("layer", "size"), [FEW[0], FEW[4]])
@pytest.mark.parametrize("rows", [0, 1])
def test_products_where_little_is_learned_or_little_goes_in(layer, size, rows):
    torch.manual_seed(0)
    layer = copy.deepcopy(layer)
    layer.weight.requires_grad_(False)
    x = torch.randn(rows, layer.in_channels, *size)
    exact, found = played(layer, x, False), played(layer, x, True)
    assert layer.weight.grad is None
    assert [a.shape for a in found] == [b.shape for b in exact]
    assert not rows or max(map(near, found, exact)) < 0.01
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        layer(x.contiguous(memory_format=torch.channels_last)).float().sum().backward()  # the picture wants no gradient
    assert near(layer.bias.grad, torch.full_like(layer.bias, float(found[0][:, 0].numel()))) < 0.01 if rows else True


def test_what_products_cannot_do_is_refused_as_torch_refuses_it():
    few = torch.randn(2, 96, 4, 4, requires_grad=True).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(RuntimeError, match="output padding"):
            ConvTranspose2d(96, 160, 3, 2, 1, output_padding=2)(few)
        with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
            Conv2d(96, 160, 5)(few)
        for layer in (Conv2d(95, 160, 3), ConvTranspose2d(95, 160, 3)):
            with pytest.raises(RuntimeError, match="channels"):
                layer(few)
        y = Conv2d(96, 160, 3, padding=1)(few).float().square().sum()
        (slope,) = torch.autograd.grad(y, few, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            slope.sum().backward()
        with pytest.raises(ValueError, match="together"):
            GroupNorm(4, 96)(few, few[:, :, 0, 0])


def test_convolutions_of_many_pixels_and_other_kinds_stay_torchs(monkeypatch):
    monkeypatch.setattr(pixels, "_gather", None)
    monkeypatch.setattr(pixels, "_scatter", None)
    x = torch.randn(2, 64, 16, 16).contiguous(memory_format=torch.channels_last)
    few = torch.randn(2, 64, 2, 2).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        for layer, picture in (
            (Conv2d(64, 64, 3, padding=1), x),
            (Conv2d(64, 64, 1), few),
            (Conv2d(64, 64, 3, padding=1, groups=2), few),
            (Conv2d(64, 64, 3, padding="same"), few),
            (Conv2d(64, 64, 2, padding="valid"), few),
            (Conv2d(64, 64, 3, padding=1, padding_mode="circular"), few),
            (Conv2d(64, 64, 3, padding=2, dilation=2), few),
            (ConvTranspose2d(64, 64, 4, stride=2, padding=1), x),
            (ConvTranspose2d(64, 64, 4, stride=2, padding=1, groups=2), few),
            (Conv2d(64, 64, 3, padding=1).double(), few.double()),
        ):
            layer(picture).float().sum().backward()
            assert layer.weight.grad.norm() > 0
        ConvTranspose2d(64, 64, 3, stride=2)(few, output_size=[6, 6]).sum().backward()
        assert Conv2d(64, 64, 3).double()(few.double().expand(2, 64, 2, 2).repeat(1, 1, 2, 2)).dtype == torch.float64


@pytest.mark.parametrize(("side", "torchs"), [(31, False), (32, True)])
def test_large_pictures_are_normalised_by_torch_and_their_gradient_is_ours(side, torchs, monkeypatch):
    seen, real = [], torch.native_group_norm
    monkeypatch.setattr(torch, "native_group_norm", lambda *a: seen.append(1) or real(*a))
    torch.manual_seed(0)
    norm, x = GroupNorm(4, 16), torch.randn(2, 16, side, side)
    scale, shift = torch.randn(2, 16), torch.randn(2, 16)
    found = []
    for bf16 in (False, True):
        given = [t.clone().requires_grad_() for t in (x, scale, shift)]
        norm.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            picture = given[0].bfloat16() if bf16 else given[0]
            y = norm(picture.contiguous(memory_format=torch.channels_last), *given[1:])
        (y.float() * torch.linspace(-1, 1, y.numel()).view(y.shape).sin()).sum().backward()
        found.append([y.detach(), *(t.grad for t in (*given, norm.weight, norm.bias))])
    assert bool(seen) == torchs
    assert max(near(b, a) for a, b in zip(*found, strict=True)) < 0.02
