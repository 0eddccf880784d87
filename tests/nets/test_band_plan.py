"""Plans of bands: what they measure, that their probabilities are ones, and that they are drawn from."""

import itertools
import math

import torch

from bottega.core import Rng, Spec
from bottega.nets.band_plan import PLANNED, BandPlan, Past
from bottega.nets.pitch import yin

CLASSES = Spec((), vocab=2)


def plan_of(steps, bands, cond=CLASSES):
    torch.manual_seed(0)
    net = BandPlan(16 * steps, 16, bands, cond, width=32, depth=2).double().eval()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return net


def test_a_sine_is_loud_in_its_band_and_six_decibels_are_a_level_and_a_half():
    net = BandPlan(5120, 128, 8, None)
    t = torch.arange(5120) / 8000
    for hz, amplitude in itertools.product((300.0, 1000.0, 3000.0), (0.1, 0.05)):
        plan = net.measure(amplitude * torch.sin(math.tau * hz * t)[None])[0, 5:35, :8]
        best = plan.amax(1)
        assert (best == best[0]).all()
        assert (plan.argmax(1) == net.filters[:, round(hz * 256 / 8000)].argmax()).all()
        assert (plan.sort(1)[0][:, 0] == 0).all()
    loud, soft = (net.measure(a * torch.sin(math.tau * 1000 * t)[None]).float() for a in (0.16, 0.01))
    assert abs((loud - soft)[0, 5:35, :8].amax(1).mean().item() - 20 * math.log10(16) / 4) <= 0.5
    assert not net.measure(torch.zeros(1, 5120)).any()


def test_predictors_leave_white_noise_of_deviation_one_and_give_back_what_they_left():
    """An autoregressive process whose predictor is known."""
    rng = torch.Generator().manual_seed(0)
    noise = 0.01 * torch.randn(4, 8000, generator=rng, dtype=torch.double)
    x = torch.zeros_like(noise)
    for t in range(2, 8000):
        x[:, t] = 1.6 * x[:, t - 1] - 0.8 * x[:, t - 2] + noise[:, t]
    net = BandPlan(8000, 128, 24, None)
    plan = net.measure(x)
    plan[..., 24:] = 0  # no pitch
    left, error = net.left_of(x, plan)
    spectrum = torch.fft.rfft(left[:, 500:7500]).abs().square().mean(0).view(-1)[:3500].view(10, 350).mean(1)
    assert 0.7 < left[:, 500:].std().item() < 1.3
    assert abs(error[:, 500:7500].mean().item() / 0.01 - 1) < 0.3
    assert (spectrum / spectrum.mean() - 1).abs().max() < 0.5
    raw = torch.fft.rfft(x[:, 500:7500]).abs().square().mean(0)[:3500].view(10, 350).mean(1)
    assert (raw / raw.mean() - 1).abs().max() > 3


def buzz(hz, seconds=1.0):
    """Pulses through a formant, and a little noise: a voice of one vowel."""
    n = round(8000 * seconds)
    at = torch.arange(n, dtype=torch.double)
    pulses = ((at * hz / 8000) % 1 < hz / 8000).double()
    x = torch.zeros(n, dtype=torch.double)
    noise = 0.05 * torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    for t in range(2, n):
        x[t] = 1.6 * x[t - 1] - 0.8 * x[t - 2] + 0.05 * (pulses[t] + noise[t])
    return x


def test_a_voice_has_its_pitch_and_noise_has_none():
    net = BandPlan(8000, 128, 16, None)
    for hz in (80.0, 120.0, 210.0, 330.0):
        plan = net.measure(buzz(hz)[None])[:, 4:58]
        strong, period = net._pitch(net.measure(buzz(hz)[None]), slice(1000, 7000), torch.double)
        assert (plan[..., 16] > 0).double().mean() > 0.9
        assert abs(12 * math.log2(8000 / period.median().item() / hz)) < 0.3
        assert strong.median() > 0.7
    noise = 0.05 * torch.randn(4, 8000, generator=torch.Generator().manual_seed(1))
    assert (net.measure(noise)[..., 16] > 0).double().mean() < 0.15
    assert not net.measure(torch.zeros(1, 8000)).any()


def test_a_sound_is_given_back_by_what_its_plan_leaves_and_noise_in_its_place_has_the_pitch():
    x = torch.stack([buzz(120.0), buzz(210.0)])
    net = BandPlan(8000, 128, 24, None)
    plan = net.measure(x)
    left, error = net.left_of(x, plan)
    plain = plan.clone()
    plain[..., 24:] = 0
    assert (left * error)[:, 1000:].square().mean() < 0.8 * torch.mul(*net.left_of(x, plain))[:, 1000:].square().mean()
    past, parts = Past.silence(2), []
    for part in (slice(0, 3000), slice(3000, 8000)):
        made, past = net.sound_of(left[:, part], plan, part, past)
        parts.append(made)
    assert torch.allclose(torch.cat(parts, 1), x, atol=1e-8)
    noise = torch.randn(2, 8000, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    made, _ = net.sound_of(noise, plan, slice(0, 8000), Past.silence(2))
    for row, hz in zip(made, (120.0, 210.0), strict=True):
        heard = yin(row.float(), 8000, 128)
        assert (heard > 0).double().mean() > 0.25
        assert abs(12 * math.log2(heard[heard > 0].median().item() / hz)) < 0.5
    stays = torch.zeros(2, 8000, dtype=torch.bool)
    stays[:, :100] = True
    held, _ = net.sound_of(torch.zeros_like(left), plan, slice(0, 8000), Past.silence(2), (x, stays))
    assert torch.allclose(held[:, :100], x[:, :100])
    assert 0 < held[:, 110:150].abs().max() < 1


def test_what_a_plan_says_of_a_step_has_probabilities_that_sum_to_one():
    net = plan_of(1, 1)
    every = torch.cartesian_prod(*[torch.arange(PLANNED)] * 4).view(-1, 1, 4)
    for cond in (None, torch.ones(len(every), dtype=torch.long)):
        with torch.no_grad():
            p = net.log_prob(every, cond).exp()
        assert abs(p.sum().item() - 1) < 1e-6
        assert p.std() > 1e-4


def test_levels_are_drawn_from_the_probabilities_that_a_whole_plan_has():
    net, rng, cond = plan_of(5, 4), Rng(3), torch.tensor([0, 1, 1])
    for guidance, temperature in ((1.0, 1.0), (2.0, 0.7)):
        plan = net.draw(3, Rng(3), cond, temperature, guidance)
        with torch.no_grad():
            asked, free = net._logits(plan, cond, None, None), net._logits(plan, None, None, None)
        below = ((free + guidance * (asked - free)).double() / temperature).softmax(-1).cumsum(-1)
        rng = Rng(3)
        u = torch.stack([rng.uniform(3, 7) for _ in range(5)], 1).double()
        assert torch.equal((below < u[..., None]).sum(-1).clamp_max(PLANNED - 1), plan)
        assert len(plan.unique()) > 4


def test_rows_draw_alone_what_they_draw_among_others_and_what_is_kept_stays():
    net, cond = plan_of(5, 4), torch.tensor([0, 1, 1])
    together = net.draw(3, Rng.for_rows([5, 6, 7]), cond, 1.0, 1.5)
    assert torch.equal(together[1:2], net.draw(1, Rng.for_rows([6]), cond[1:2], 1.0, 1.5))
    stays = torch.zeros(3, 5, dtype=torch.bool)
    stays[:, :2] = True
    made = net.draw(3, Rng(9), cond, 1.0, 1.0, (together, stays))
    assert torch.equal(made[:, :2], together[:, :2])
    assert not torch.equal(made[:, 2:], together[:, 2:])


def test_it_learns_what_goes_together():
    """Two classes, each a ramp of its own that begins anywhere: the first step is a guess among eight, the rest is known."""
    torch.manual_seed(0)
    net = BandPlan(16 * 6, 16, 2, CLASSES, width=32, depth=1)
    start, cond = torch.randint(0, 8, (512,)), torch.randint(0, 2, (512,))
    first = start[:, None] + torch.arange(6) * cond[:, None]
    plan = torch.stack([first, PLANNED - 1 - first, *[torch.zeros_like(first)] * 3], 2)
    optim = torch.optim.Adam(net.parameters(), 5e-3)
    for k in range(300):
        rows = torch.arange(64) + 64 * (k % 7)
        loss = -net.log_prob(plan[rows], cond[rows], torch.rand(64) < 0.1, Rng(k)).mean()
        optim.zero_grad()
        loss.backward()
        optim.step()
    with torch.no_grad():
        held = -net.eval().log_prob(plan[448:], cond[448:]).mean().item()
    assert 0.95 * math.log(8) < held < 1.3 * math.log(8)
    made = net.draw(64, Rng(1), cond[:64], 0.8, 1.0)
    rises = (made[:, -1, 0] - made[:, 0, 0]).double()
    assert abs(rises[cond[:64] == 1].mean() - 5) < 0.3
    assert abs(rises[cond[:64] == 0].mean()) < 0.3
