"""The running average of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bottega.nets.mlp import MLP
from bottega.training.ema import Ema


def test_the_average_is_the_recursion_by_hand():
    net = nn.Linear(1, 1, bias=False)
    ema, want = Ema(net, 0.5), net.weight.item()
    for step, value in enumerate([2.0, -1.0, 4.0, 8.0, 16.0, 3.0, 5.0, 1.0, 0.0, 2.0]):
        with torch.no_grad():
            net.weight.fill_(value)
        ema.update(net, step)
        decay = min(0.5, (1 + step) / (10 + step))
        want = decay * want + (1 - decay) * value
        assert ema.shadow["weight"].item() == pytest.approx(want, rel=1e-5)


def test_the_model_has_the_average_inside_and_its_own_weights_afterwards_even_after_an_error():
    net = MLP(2, 2, (3,))
    ema = Ema(net, 0.9)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(1)
    own = {k: p.detach().clone() for k, p in net.named_parameters()}
    with ema.swapped(net):
        assert all(torch.equal(p, ema.shadow[k]) for k, p in net.named_parameters())
    assert all(torch.equal(p, own[k]) for k, p in net.named_parameters())
    inside = ema.swapped(net)
    with pytest.raises(RuntimeError, match="inside"), inside:
        raise RuntimeError("inside")
    assert all(torch.equal(p, own[k]) for k, p in net.named_parameters())
    assert not any(t.requires_grad for t in ema.shadow.values())


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_outside_its_range_is_refused(decay):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\)"):
        Ema(nn.Linear(1, 1), decay)
