"""The U-Net: any size, rows apart, every weight reached."""

import pytest
import torch

from bottega.nets.denoiser import Fourier, ResidualMLP
from bottega.nets.unet import UNet


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 8, 8), (3, 9, 13), (2, 5, 32), (1, 1, 1), (1, 28, 28)])
def test_shape_is_kept_for_any_size(channels, height, width):
    net = UNet(channels, 8, 16, side=min(height, width))
    assert net(torch.randn(2, channels, height, width), torch.randn(2, 16)).shape == (2, channels, height, width)


@pytest.mark.parametrize("patch", [2, 4])
def test_patches_become_channels_and_pixels_again(patch):
    torch.manual_seed(0)
    net = UNet(3, 8, 16, side=16, patch=patch)
    assert net.unit == 16 // 4
    x, given = torch.randn(1, 3, 14, 17), torch.randn(1, 16)
    assert net(x, given).shape == x.shape
    with torch.no_grad():  # a read-out that gives pixel j of a patch in channel j, to see where it lands
        net.last.weight.zero_()
        net.last.bias.copy_(torch.arange(3.0 * patch**2))
        told = net(torch.zeros(1, 3, 16, 16), given)[0, 1]
    assert told[:patch, :patch].flatten().tolist() == [patch**2 + i for i in range(patch**2)]
    assert torch.equal(told[:patch, :patch], told[-patch:, -patch:])


@pytest.mark.parametrize("size", [4, 20, 36, 48, 60])
def test_any_multiple_of_four_is_a_size(size):
    assert UNet(1, size, 16, side=8)(torch.randn(1, 1, 8, 8), torch.randn(1, 16)).shape == (1, 1, 8, 8)


def test_levels_follow_the_side():
    assert [UNet(1, 4, 8, side=s).unit for s in (4, 5, 6, 8, 16, 32, 64)] == [1, 1, 2, 2, 4, 8, 8]


def test_rows_do_not_see_each_other():
    torch.manual_seed(0)
    net, x, given = UNet(1, 8, 16, side=8), torch.randn(4, 1, 8, 8), torch.randn(4, 16)
    torch.testing.assert_close(net(x, given)[2:3], net(x[2:3], given[2:3]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("depth", [1, 2])
def test_gradient_reaches_every_weight_and_given_matters(depth):
    torch.manual_seed(0)
    net, x, given = UNet(2, 8, 16, side=8, depth=depth), torch.randn(3, 2, 8, 8), torch.randn(3, 16)
    net(x, given).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    assert (net(x, given) - net(x, given + 1)).abs().max() > 1e-4


def test_every_place_can_see_every_other():
    torch.manual_seed(0)
    net, given = UNet(1, 8, 16, side=16), torch.randn(1, 16)
    x = torch.randn(1, 1, 16, 16, requires_grad=True)
    net(x, given)[0, 0, 0, 0].backward()
    assert x.grad[0, 0, 15, 15] != 0


def test_vector_body_is_residual_and_reached_everywhere():
    torch.manual_seed(0)
    net, x, given = ResidualMLP(5, 16, 2), torch.randn(4, 5), torch.randn(4, 16)
    net(x, given).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    torch.testing.assert_close(net(x, given)[1:2], net(x[1:2], given[1:2]))


def test_fourier_tells_near_levels_apart():
    features = Fourier(16)
    t = torch.linspace(-1.6, 1.3, 200)
    angle = t[:, None] * features.rate
    waves = torch.cat([angle.cos(), angle.sin()], -1)
    apart = torch.cdist(waves, waves) + 10 * torch.eye(200)
    assert apart.min() > 0.05
    assert features(t).shape == (200, 16)
