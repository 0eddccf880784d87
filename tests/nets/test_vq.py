"""The codebook: nearest codes, gradients straight through, and codes that follow what chooses them."""

import math

import torch
import torch.nn.functional as F

from bottega.core import Rng
from bottega.nets.vq import Codebook


def book(codes=4, width=2, **settings):
    torch.manual_seed(0)
    return Codebook(codes, width, **settings)


def around(degrees, n, spread=0.05, seed=0):
    """``n`` vectors of different lengths near each angle: ``(len(degrees) * n, 2)``, shuffled."""
    angle = torch.tensor(degrees).deg2rad().repeat_interleave(n) + spread * Rng(seed).normal(len(degrees) * n)
    length = 0.5 + 2 * Rng(seed + 1).uniform(len(angle), 1)
    z = torch.stack([angle.cos(), angle.sin()], 1) * length
    return z[Rng(seed + 2).permutation(len(z))]


def test_the_gradient_passes_straight_through_and_the_error_is_to_the_nearest():
    codebook = book()
    z = Rng(0).normal(5, 3, 2).requires_grad_()
    code, index, error = codebook(z)
    unit = F.normalize(z, dim=-1)
    distance = torch.cdist(unit.flatten(0, 1), codebook.vectors)
    assert torch.equal(index.flatten(), distance.argmin(1))
    torch.testing.assert_close(error.flatten(), distance.min(1).values.square())
    torch.testing.assert_close(code, codebook.vectors[index])
    (ours,) = torch.autograd.grad(code.sum(), z, retain_graph=True)
    (straight,) = torch.autograd.grad(unit.sum(), z)
    torch.testing.assert_close(ours, straight)


def test_codes_become_the_means_of_what_chooses_them():
    codebook, angles = book(codes=12, decay=0.5), [10.0, 100.0, -60.0, -150.0]
    for step in range(40):
        codebook(around(angles, 50, seed=3 * step).requires_grad_())
        codebook.settle(step)
    z = F.normalize(around(angles, 500, seed=1000), dim=1)
    index = codebook.nearest(z)
    assert len(index.unique()) > 4
    for k in index.unique():
        mean = F.normalize(z[index == k].mean(0), dim=0)
        assert mean @ codebook.vectors[k] > math.cos(math.radians(2))
    assert (z * codebook.vectors[index]).sum(1).min() > math.cos(math.radians(15))


def test_a_planted_dead_code_comes_back_to_life():
    """All codes begin on one side; two of the three kinds of vectors lie on the other, and one code is enough for none."""
    codebook = book(codes=3, decay=0.5)
    with torch.no_grad():
        for name in ("vectors", "total"):
            getattr(codebook, name).copy_(torch.tensor([[1.0, 0.0], [-0.8, -0.6], [-0.6, -0.8]]))
        codebook.use.fill_(10.0)  # as if they had been in use
    z = around([90.0, 45.0, 0.0], 40)
    assert len(codebook.nearest(z).unique()) == 1
    for step in range(30):
        codebook(z.clone().requires_grad_())
        codebook.settle(step)
    assert len(codebook.nearest(z).unique()) == 3


def test_settling_does_not_depend_on_how_the_batch_was_cut_and_looking_changes_nothing():
    whole, cut = book(), book()
    z = around([0.0, 120.0, 240.0], 30).requires_grad_()
    before = whole.vectors.clone()
    whole(z)
    for part in z.split([17, 60, 13]):
        cut(part)
    assert torch.equal(whole.vectors, before)
    for codebook in (whole, cut):
        codebook.settle(0)
    torch.testing.assert_close(whole.vectors, cut.vectors)
    assert not torch.equal(whole.vectors, before)
    after = whole.vectors.clone()
    whole.eval()
    whole(z)
    with torch.no_grad():
        whole.train()(z)
    whole.settle(1)
    assert torch.equal(whole.vectors, after), "what is scored or judged moves no code"


def test_codes_have_length_one():
    codebook = book(codes=64, width=5)
    for step in range(3):
        codebook(Rng(step).normal(100, 5).requires_grad_())
        codebook.settle(step)
    torch.testing.assert_close(codebook.vectors.norm(dim=1), torch.ones(64))
    assert math.isclose(codebook.use.sum().item(), 100, rel_tol=1e-4)
