"""F0 against signals whose F0 is known."""

import torch

from bottega.core import Rng
from bottega.data._sounds import spoken
from bottega.nets.pitch import SEMITONE, pitch_hz, pitch_scaled, yin


def test_a_glide_is_followed_within_a_third_of_a_semitone():
    rate, at = 16000, torch.arange(32000, dtype=torch.float64) / 16000
    hz = 100 * 2**at  # an octave a second
    x = torch.sin(2 * torch.pi * torch.cumsum(hz / rate, 0)) + 0.4 * torch.sin(
        4 * torch.pi * torch.cumsum(hz / rate, 0)
    )
    found = yin(x, rate, 256)
    want = hz[::256][: len(found)]
    inside = slice(6, len(want) - 6)
    assert (found[inside] > 0).all()
    assert ((found[inside] / want[inside]).log2() * 12).abs().max() < 0.33


def test_formant_speech_is_within_half_a_semitone_nearly_always():
    x, f0 = spoken(["seven", "nine", "zero"], "alto", Rng(1))
    found = yin(torch.from_numpy(x), 16000, 256)
    want = torch.from_numpy(f0)[::256]
    n = min(len(found), len(want))
    both = (found[:n] > 0) & (want[:n] > 0)
    assert both.sum() > 40
    assert (((found[:n] / want[:n])[both].log2() * 12).abs() < 0.5).float().mean() > 0.9


def test_noise_and_silence_have_no_pitch():
    assert (yin(torch.zeros(8000), 16000, 256) == 0).all()
    noise = torch.randn(16000, generator=torch.Generator().manual_seed(0))
    assert (yin(noise, 16000, 256) > 0).float().mean() < 0.1


def test_scaling_is_undone_and_a_semitone_is_what_it_says():
    hz = torch.tensor([0.0, 60.0, 120.0, 480.0])
    assert torch.allclose(pitch_hz(pitch_scaled(hz)), hz, rtol=1e-5)
    step = pitch_scaled(torch.tensor(120 * 2 ** (1 / 12))) - pitch_scaled(torch.tensor(120.0))
    assert abs(step.item() - SEMITONE) < 1e-6
