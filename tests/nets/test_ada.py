"""Adaptive augmentation: every change in closed form, how often it is made, and what makes it more often."""

from __future__ import annotations

import pytest
import torch

from bottega.core import Rng
from bottega.nets.ada import Adaptive, coloured, cut, moved


def pictures(n=6, channels=3, height=8, width=8):
    return Rng(0).uniform(n, channels, height, width) * 2 - 1


def changing(p, images=100.0):
    adaptive = Adaptive(images)
    adaptive.p.fill_(p)
    return adaptive


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_moves_are_flips_turns_and_shifts_that_mirror_at_the_edge(flip, turns):
    x = pictures(4)
    down, right = 2, -1
    got = moved(x, torch.full((4,), flip), torch.full((4,), turns), torch.tensor([[down, right]] * 4))
    want = (x.flip(3) if flip else x).rot90(turns, (2, 3))
    want = torch.nn.functional.pad(want, (2, 2, 2, 2), mode="reflect")[
        :, :, 2 - down : 10 - down, 2 - right : 10 - right
    ]
    assert torch.equal(got, want)


def test_what_is_no_square_is_turned_by_halves_only():
    x = pictures(3, height=6, width=8)
    still = torch.zeros(3, 2).long()
    got = moved(x, torch.zeros(3).bool(), torch.tensor([0, 2, 2]), still)
    assert torch.equal(got[1:], x[1:].rot90(2, (2, 3)))
    assert torch.equal(got[0], x[0])
    assert changing(0.8)(x, Rng(1)).shape == x.shape


def test_colours_are_stretched_brightened_and_greyed_and_alpha_stays():
    x = pictures(2, channels=4)
    got = coloured(x, torch.tensor([0.1, 0.0]), torch.tensor([2.0, 1.0]), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(got[0, :3], 2 * x[0, :3] + 0.1)
    torch.testing.assert_close(got[1, :3], x[1, :3].mean(0, keepdim=True).expand(3, -1, -1))
    assert torch.equal(got[:, 3], x[:, 3])
    grey = pictures(2, channels=1)
    assert torch.equal(coloured(grey, torch.zeros(2), torch.ones(2), torch.zeros(2)), grey)


def test_a_cut_is_half_of_each_side_around_its_centre():
    x = torch.ones(2, 1, 8, 12)
    got = cut(x, torch.tensor([[0.5, 0.5], [0.0, 1.0]]), torch.tensor([True, True]))
    want = torch.ones(2, 1, 8, 12)
    want[0, :, 2:6, 3:9] = 0
    want[1, :, :2, 9:] = 0
    assert torch.equal(got, want)
    assert torch.equal(cut(x, torch.full((2, 2), 0.5), torch.tensor([False, False])), x)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_at_0_nothing_changes_to_the_bit(channels):
    x = pictures(channels=channels)
    assert torch.equal(changing(0.0)(x, Rng(3)), x)


def test_a_row_is_left_alone_by_all_seven_changes_as_often_as_it_should_be():
    """Moves of nothing happen too (no turn, no shift), so the share of untouched rows is between the two bounds."""
    x, p = pictures(1).expand(4000, -1, -1, -1), 0.3
    same = (changing(p)(x, Rng(4)) == x).flatten(1).all(1).float().mean().item()
    geometric = (1 - p / 2) * (1 - 3 / 4 * p) * (1 - 8 / 9 * p)  # a shift of 8 x 8 pictures is one of 3 x 3
    assert same == pytest.approx(geometric * (1 - p) ** 4, abs=0.02)


def test_a_row_belongs_to_its_seed_and_gradients_pass():
    x = pictures(5).requires_grad_()
    adaptive = changing(0.7)
    all_rows = adaptive(x, Rng.for_rows(range(5)))
    alone = adaptive(x[3:4], Rng.for_rows([3]))
    torch.testing.assert_close(all_rows[3:4], alone)
    all_rows.sum().backward()
    assert x.grad.flatten(1).abs().sum(1).gt(0).all()


def test_p_follows_the_signs_of_the_critic_on_real_pictures():
    adaptive = Adaptive(images=1000)
    for _ in range(5):
        adaptive.watch(torch.ones(10))
        adaptive.settle()
    assert adaptive.p.item() == 0, "r has not reached 0.6 yet"
    for _ in range(20):
        adaptive.watch(torch.ones(10))
        adaptive.settle()
    assert adaptive.r.item() == pytest.approx(1 - 0.9**25)
    risen = 25 - 8  # 1 - 0.9^9 is the first above 0.6
    assert adaptive.p.item() == pytest.approx(risen * 10 / 1000)
    for _ in range(400):
        adaptive.watch(torch.ones(10))
        adaptive.settle()
    assert adaptive.p.item() == pytest.approx(0.8), "more than that would leak into samples"
    for _ in range(400):
        adaptive.watch(torch.tensor([1.0, -1.0, 2.0, -0.1]))
        adaptive.settle()
    assert adaptive.r.item() == pytest.approx(0, abs=1e-6)
    assert adaptive.p.item() < 0.8
    adaptive.eval().watch(torch.ones(10))
    before = adaptive.r.clone()
    adaptive.settle()
    assert torch.equal(adaptive.r, before), "a held-out loss leaves a trace"
