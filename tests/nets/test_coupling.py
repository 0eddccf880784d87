"""Invertible layers against autograd: log-determinants, inverses, and the shape of splines."""

import pytest
import torch
from torch.autograd.functional import jacobian

from bottega.nets.coupling import Chain, Coupling, Mixes, Scale, rational_quadratic_spline, squeeze, unsqueeze

TRANSFORMS = ("additive", "affine", "spline")
EVEN, ODD = torch.tensor([True, False, True, False]), torch.tensor([False, True, False, True])
UPPER, LOWER = torch.tensor([True, True, False, False]), torch.tensor([True, True, True, False])


def chain(transform, shape, mix, stays=(EVEN, ODD, UPPER)):
    return Chain(shape, list(stays), transform, 8, mix=mix, context=3)


MAKERS = {
    **{f"{t}-vector": lambda t=t: chain(t, (4,), False, [LOWER]) for t in TRANSFORMS},
    **{f"{t}-picture": lambda t=t: Coupling(3, 1, t, 8, context=3) for t in TRANSFORMS},
    **{f"chain-{t}-vector": lambda t=t: chain(t, (4,), mix=False) for t in TRANSFORMS},
    **{f"chain-{t}-picture": lambda t=t: chain(t, (4, 2, 3), mix=False) for t in TRANSFORMS},
    **{f"mixed-{t}-vector": lambda t=t: chain(t, (4,), mix=True) for t in TRANSFORMS},
    **{f"mixed-{t}-picture": lambda t=t: chain(t, (4, 2, 3), mix=True) for t in TRANSFORMS},
    "scale-vector": lambda: Scale((4,)),
    "scale-picture": lambda: Scale((4, 2, 3)),
}


def make(name):
    torch.manual_seed(0)
    layer = MAKERS[name]()
    with torch.no_grad():
        for p in layer.parameters():
            p.add_((0.1 if name.count("-") > 1 else 0.3) * torch.randn_like(p))  # chains amplify what their links do
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
        near = 5e-3 if "spline" in name else 1e-5  # a steep bin multiplies float32's rounding by its slope
        assert torch.allclose(layer.inverse(layer(x, h)[0], h), x, atol=near)
        assert torch.allclose(layer(layer.inverse(x, h), h)[0], x, atol=near)


@pytest.mark.parametrize("kind", ["vector", "picture"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_new_coupling_changes_no_number_and_what_stays_stays(transform, kind):
    name = f"{transform}-{kind}"
    torch.manual_seed(0)
    fresh, (layer, x, h) = MAKERS[name](), make(name)
    z, log_det = fresh(x, h)
    assert torch.allclose(z, x if kind == "vector" else x.roll(1, 1), atol=1e-5), (
        "of a picture what moves comes out first"
    )
    assert torch.allclose(log_det, torch.zeros(3), atol=1e-5)
    z, log_det = layer(x, h)
    z = z if kind == "vector" else z.roll(-1, 1)
    assert torch.equal(z[:, :3], x[:, :3])
    assert (z[:, 3] - x[:, 3]).abs().min() > 0
    if transform == "additive":
        assert torch.equal(log_det, torch.zeros(3))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_new_chain_without_matrices_is_the_identity(transform):
    torch.manual_seed(0)
    x = torch.randn(3, 4, 2, 3)
    z, log_det = chain(transform, (4, 2, 3), mix=False)(x, torch.randn(3, 3))
    assert torch.allclose(z, x, atol=1e-5), "each coordinate is back in its place"
    assert torch.allclose(log_det, torch.zeros(3), atol=1e-4)


@pytest.mark.parametrize("name", ["affine-vector", "spline-vector", "affine-picture"])
def test_derivatives_by_hand_are_those_of_differences(name):
    """Of the output and of the log-determinant, by the input, by what is known and by every weight."""
    layer, x, h = make(name)
    layer, x, h = layer.double(), x.double().requires_grad_(), h.double().requires_grad_()
    assert torch.autograd.gradcheck(layer, (x, h))
    names, weights = zip(*layer.named_parameters(), strict=True)

    def again(*values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x.detach(), h.detach()))

    assert torch.autograd.gradcheck(again, weights)


def test_each_rows_own_gradient_can_be_had():
    """Per-example gradients by vmap, as private training wants them, are those of the rows one by one."""
    layer, x, h = make("affine-vector")
    weights = dict(layer.named_parameters())

    def one(weights, x, h):
        z, gain = torch.func.functional_call(layer, weights, (x[None], h[None]))
        return z.square().sum() - gain.sum()

    each = torch.func.vmap(torch.func.grad(one), (None, 0, 0))(weights, x, h)
    for i in range(3):
        alone = torch.func.grad(one)(weights, x[i], h[i])
        assert all(torch.allclose(each[k][i], alone[k], atol=1e-5) for k in weights)


@pytest.mark.parametrize("steps", [1, 3])
def test_matrices_of_a_chain_are_scales_shifts_and_triangles(steps):
    torch.manual_seed(0)
    mixes, x = Mixes(steps, 4), torch.randn(5, 4)
    matrices, shifts, volume = mixes.maps()
    assert all(torch.allclose(m @ m.T, torch.eye(4), atol=1e-5) for m in matrices), "new ones turn"
    assert volume.item() == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        for p in mixes.parameters():
            p.add_(0.2 * torch.randn_like(p))
        matrices, shifts, volume = mixes.maps()
        back, forth = mixes.inverses()
        total = 0.0
        for k in range(steps):
            shift, log_scale, log_size = (v.view(steps, 4)[k] for v in (mixes.shift, mixes.log_scale, mixes.log_size))
            lower = mixes.lower[k].tril(-1) + torch.eye(4)
            upper = mixes.upper[k].triu(1) + torch.diag(mixes.sign[k] * log_size.exp())
            by_hand = (x + shift) * log_scale.exp() @ (mixes.order[k] @ lower @ upper).T
            z = mixes.apply(x, matrices[k], shifts[k])
            assert torch.allclose(z, by_hand, atol=1e-5)
            assert torch.allclose(mixes.apply(z, back[k], forth[k]), x, atol=1e-5)
            total += torch.linalg.slogdet(matrices[k].double())[1].item()
    assert volume.item() == pytest.approx(total, abs=1e-5)


def test_under_bfloat16_the_map_is_the_one_whose_determinant_is_counted():
    torch.manual_seed(0)
    mixes, x = Mixes(2, 4), torch.randn(3, 4)
    matrices, shifts, _ = mixes.maps()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reduced, moved, _ = mixes.maps()
        z = mixes.apply(x, reduced[0], moved[0])
    assert z.dtype == torch.float32
    assert torch.equal(z, mixes.apply(x, matrices[0], shifts[0]))
    for name in ("spline-vector", "affine-vector", "mixed-affine-picture"):
        layer, x, h = make(name)
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
