"""The U-Net of waveforms: any length, samples where they were, silence beyond the ends."""

import pytest
import torch

from bottega.nets.wave_unet import WaveUNet


@pytest.mark.parametrize("length", [24, 100, 1001, 1500])
@pytest.mark.parametrize("patch", [1, 2, 8])
def test_a_sample_comes_out_where_it_went_in(length, patch):
    """The first convolution copies each moment's samples and the last gives them back; all between adds nothing."""
    torch.manual_seed(0)
    net = WaveUNet(1, 16, 8, length=1000, patch=patch)  # also of lengths that it was not made for
    for part in (net.first, net.last):
        torch.nn.init.zeros_(part.weight)
        torch.nn.init.zeros_(part.bias)
    for k in range(net.patch):
        net.first.weight.data[k, k, 2] = net.last.weight.data[k, k, 2] = 1
    x = torch.randn(2, 1, length)
    seen = []
    net.first.register_forward_hook(lambda module, inputs, out: seen.append(out))
    net.last_norm = torch.nn.Identity()
    net.last.register_forward_pre_hook(lambda module, inputs: (seen[-1],))
    assert torch.equal(net(x, torch.zeros(2, 8)), x)
