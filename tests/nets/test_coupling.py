"""Invertible layers against autograd: log-determinants, inverses, and the shape of splines."""

import pytest
import torch
from torch.autograd.functional import jacobian

from bottega.nets.coupling import (
    ActNorm,
    Coupling,
    Mix,
    Scale,
    rational_quadratic_spline,
    squeeze,
    unsqueeze,
)

STAYS = torch.tensor([True, False, True, False])
MAKERS = {
    **{f"{t}-vector": lambda t=t: Coupling(STAYS, t, 8, context=3) for t in ("additive", "affine", "spline")},
    **{
        f"{t}-picture": lambda t=t: Coupling(STAYS, t, 8, picture=True, context=3)
        for t in ("additive", "affine", "spline")
    },
    "actnorm-vector": lambda: ActNorm(4),
    "actnorm-picture": lambda: ActNorm(4),
    "mix-vector": lambda: Mix(4),
    "mix-picture": lambda: Mix(4),
    "scale-vector": lambda: Scale((4,)),
    "scale-picture": lambda: Scale((4, 2, 3)),
}


def make(name):
    torch.manual_seed(0)
    layer = MAKERS[name]()
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return layer, torch.randn(3, 4, *((2, 3) if "picture" in name else ())), torch.randn(3, 3)


@pytest.mark.parametrize("name", MAKERS)
def test_log_determinant_is_autograds(name):
    layer, x, h = make(name)
    _, log_det = layer(x, h)
    assert log_det.shape == (3,)
    for i in range(3):
        full = jacobian(lambda v, i=i: layer(v[None], h[i : i + 1])[0][0], x[i]).reshape(x[0].numel(), -1)
        assert log_det[i].item() == pytest.approx(torch.linalg.slogdet(full.double())[1].item(), abs=2e-4)


@pytest.mark.parametrize("name", MAKERS)
def test_inverse_undoes_forward_both_ways(name):
    layer, x, h = make(name)
    with torch.no_grad():
        near = 5e-3 if name.startswith("spline") else 1e-5  # a steep bin multiplies float32's rounding by its slope
        assert torch.allclose(layer.inverse(layer(x, h)[0], h), x, atol=near)
        assert torch.allclose(layer(layer.inverse(x, h), h)[0], x, atol=near)


@pytest.mark.parametrize("name", [n for n in MAKERS if n.partition("-")[0] in {"additive", "affine", "spline"}])
def test_a_new_coupling_is_the_identity_and_what_stays_stays(name):
    torch.manual_seed(0)
    fresh, (layer, x, h) = MAKERS[name](), make(name)
    z, log_det = fresh(x, h)
    assert torch.allclose(z, x, atol=1e-5)
    assert torch.allclose(log_det, torch.zeros(3), atol=1e-5)
    assert torch.equal(layer(x, h)[0][:, STAYS], x[:, STAYS])
    if name.startswith("additive"):
        assert torch.equal(layer(x, h)[1], torch.zeros(3))


def test_under_bfloat16_the_map_is_the_one_whose_determinant_is_counted():
    layer, x, h = make("mix-vector")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, log_det = layer(x, h)
    assert z.dtype == log_det.dtype == torch.float32
    assert torch.equal(z, layer(x, h)[0])
    layer, x, h = make("spline-vector")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, log_det = layer(x, h)
    assert z.dtype == log_det.dtype == torch.float32


def test_a_spline_is_monotone_smooth_and_the_identity_outside():
    torch.manual_seed(1)
    raw = 2 * torch.randn(1, 23).double()
    x = torch.linspace(-5, 5, 4001).double().requires_grad_()
    y, log_slope = rational_quadratic_spline(x, raw.expand(len(x), -1))
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert torch.allclose(slope.log(), log_slope, atol=1e-9)
    assert (y.diff() > 0).all()
    outside = x.abs() >= 3
    assert torch.equal(y[outside], x[outside])
    assert torch.equal(log_slope[outside], torch.zeros(int(outside.sum())).double())
    finer = torch.linspace(-5, 5, 40001).double()
    _, log_slope_finer = rational_quadratic_spline(finer, raw.expand(len(finer), -1))
    assert log_slope_finer.diff().abs().max() < 0.2 * log_slope.diff().abs().max(), "the derivative jumps at a knot"
    back, log_slope_back = rational_quadratic_spline(y, raw.expand(len(x), -1), inverse=True)
    assert torch.allclose(back, x, atol=1e-9)
    assert torch.allclose(log_slope_back, -log_slope, atol=1e-6)
    flat, level = rational_quadratic_spline(x, torch.zeros(len(x), 23).double())
    assert torch.allclose(flat, x, atol=1e-12)
    assert torch.allclose(level, torch.zeros(()).double(), atol=1e-12)


def test_squeeze_makes_patches_channels():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert squeeze(x)[0, :, 0, 0].tolist() == [0, 1, 4, 5]
    assert torch.equal(unsqueeze(squeeze(x)), x)
