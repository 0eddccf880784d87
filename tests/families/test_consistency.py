"""Consistency models against what is known exactly, and few steps where a denoiser needs many."""

import pytest
import torch

from bottega.core import Batch, Edits, RecipeError, Rng, Scores, Spec, has
from bottega.families.consistency import Consistency
from bottega.families.diffusion import Diffusion
from bottega.samplers.diffusion import sigmas_for
from bottega.samplers.solvers import consistent
from bottega.training.loop import fit
from bottega.training.optim import make_optims

STD = 0.5
POINTS = Spec((2,))


def clean_end(x, sigma):
    """Where the probability-flow path of N(0, STD^2) through ``x`` ends."""
    return STD / (STD**2 + sigma**2).sqrt() * x


def train(model, steps, lr):
    rng = Rng(0)
    draw = iter(lambda: Batch(STD * rng.normal(128, 2)), None)
    return fit(model, draw, make_optims(model, steps, {"lr": lr}), steps=steps, rng=Rng(1))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_true_ends_of_paths_give_the_data_in_any_number_of_steps(steps):
    sigmas = torch.cat([torch.logspace(1.9, -0.1, steps), torch.zeros(1)])
    x = sigmas[0] * Rng(0).normal(50_000, 2)
    out = consistent(clean_end, x, sigmas, Rng(1))
    torch.testing.assert_close(out.std(0), torch.full((2,), STD), rtol=0.02, atol=0)


def test_pairs_start_at_zero_and_come_closer():
    model, t = Consistency(POINTS, size=8, depth=1, halve=10), torch.tensor([0.01, 1.0, 80.0])
    assert model._nearer(t)[0] == 0
    shares = []
    for step in (0, 9, 19, 29, 10_000):
        model.settle(step)
        shares.append((model._nearer(t) / t)[2].item())
    assert shares == pytest.approx([0.5, 0.75, 0.875, 0.9375, 1 - 1 / 128])
    assert (model._nearer(t) < t).all()


def test_the_pairs_hold_still_where_paths_end_and_move_a_mere_denoiser():
    """Regressed on the upper point, the difference of a pair is 0 (to second order) for the true function only."""
    model, rng = Consistency(POINTS, size=8, depth=1, halve=1), Rng(0)
    model.settle(10_000)
    t = torch.tensor(1.0)
    r = model._nearer(t)
    x0, noise = STD * rng.normal(100_000), rng.normal(100_000)
    upper, lower = x0 + t * noise, x0 + r * noise

    def slope(f):
        return ((f(lower, r) - f(upper, t)) @ upper / upper.square().sum() / (t - r)).item()

    assert abs(slope(clean_end)) < 0.03
    assert abs(slope(lambda x, s: STD**2 / (STD**2 + s**2) * x)) > 0.1


def test_one_step_of_a_tuned_denoiser_has_the_spread_that_the_denoiser_lost():
    """E10: from a teacher's weights; one step of the teacher gives the mean of the data, two of the student the data."""
    torch.manual_seed(0)
    teacher = train(Diffusion(POINTS, size=8, depth=1), 150, 1e-2)
    student = Consistency(POINTS, size=8, depth=1, halve=40, teacher="runs/teacher")
    student.learn_from(teacher)
    x, sigma = Rng(3).normal(5, 2), torch.tensor(0.7)
    assert torch.equal(student.denoiser(5)(x, sigma), teacher.denoiser(5)(x, sigma))
    before = teacher.sample(1000, Rng(4), steps=1).std().item()
    train(student, 300, 1e-2)
    after = [student.sample(1000, Rng(4), steps=steps).std().item() for steps in (1, 2, 3)]
    assert before < 0.05
    assert after[0] > 0.2
    assert after[1:] == pytest.approx([STD, STD], rel=0.2)


def test_it_has_no_likelihood_and_fills_no_gaps():
    model = Consistency(POINTS, size=8, depth=1)
    assert not has(model, Scores)
    assert not has(model, Edits)


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"size": 12}, "another size"), ({"schedule": "cosine"}, "another prediction"), ({"variance": "learned"}, "another size"),
     ({"data_std": 0.7}, "another prediction")],
)  # fmt: skip
def test_a_teacher_that_does_not_fit_is_refused(settings, why):
    student = Consistency(POINTS, size=8, depth=1, teacher="runs/teacher")
    with pytest.raises(RecipeError, match=f"'runs/teacher' .*{why}"):
        student.learn_from(Diffusion(POINTS, **{"size": 8, "depth": 1, **settings}))
    with pytest.raises(RecipeError, match="same examples"):
        student.learn_from(Diffusion(Spec((3,)), size=8, depth=1))
    with pytest.raises(RecipeError, match="halve is 0"):
        Consistency(POINTS, halve=0)


def test_levels_of_few_steps_end_at_zero():
    assert sigmas_for("edm", 1).tolist()[1] == 0.0
    assert Consistency(POINTS, size=8, depth=1).sample(3, Rng(0), steps=1).shape == (3, 2)
