"""Attention as two products and a softmax, which is what trains on a processor, against torch's fused attention."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bottega.nets.transformer import Transformer, _attend, _written_out

MASKS = {
    "all": (None, False),
    "causal": (None, True),
    "keys": (torch.arange(9).expand(3, 1, 1, 9) < torch.tensor([4, 9, 1])[:, None, None, None], False),
    "bias": (torch.linspace(-2, 2, 4 * 9 * 9).view(1, 4, 9, 9), False),
}


@pytest.mark.parametrize("which", MASKS)
def test_values_and_derivatives_are_those_of_fused_attention(which):
    seen, causal = MASKS[which]
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(3, heads, 9, 8, generator=generator, dtype=torch.float64).requires_grad_() for heads in (4, 2, 2)
    )
    seen = seen if seen is None or seen.dtype == torch.bool else seen.double()
    mine = _attend(q, k, v, seen, causal, 0.3)
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=causal, scale=0.3, enable_gqa=True)
    assert torch.allclose(mine, theirs, atol=1e-12)
    away = torch.randn(mine.shape, generator=generator, dtype=torch.float64)
    for a, b in zip(*(torch.autograd.grad(y, (q, k, v), away) for y in (mine, theirs)), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_training_in_bfloat16_errs_as_little_as_fused_attention_does():
    """Beside the same network in float64: neither way of adding up in half precision may be clearly farther off."""
    torch.manual_seed(0)
    body, x = Transformer(32, 2, 4), torch.randn(8, 40, 32)
    exact = body.double()(x.double()).detach()
    body.float()

    def error() -> float:
        with torch.autocast("cpu", torch.bfloat16):
            return (body(x.clone().requires_grad_()).double() - exact).square().mean().sqrt().item()

    written = error()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bottega.nets.transformer._written_out", lambda q, k: False)
        fused = error()
    assert written < 1.25 * fused, (written, fused)


def test_only_training_on_short_texts_writes_it_out():
    q = torch.zeros(1, 1, 4, 8, requires_grad=True)
    assert _written_out(q, torch.zeros(1, 1, 64, 8))
    assert not _written_out(q, torch.zeros(1, 1, 65, 8))
    assert _written_out(q.bfloat16(), torch.zeros(1, 1, 512, 8))
    assert not _written_out(q.detach(), torch.zeros(1, 1, 4, 8))
    with torch.no_grad():
        assert not _written_out(q, torch.zeros(1, 1, 4, 8))
