"""Loudness, true peak, SI-SDR and real time on sounds whose values are known."""

import time

import numpy as np
import pytest
import torch

from bottega.core import Batch, DataError, Family, Item, Sound, Spec
from bottega.judge import Case, run_all
from bottega.judge.enhancement import si_sdr_db
from bottega.judge.loudness import lufs, range_lu, true_peak_db
from bottega.judge.real_time import real_time_factor
from helpers import one_line

pytest.importorskip("pyloudnorm", reason="loudness needs pyloudnorm, extra audio, which is not installed")
RATE = 16000


def sine(hz=997.0, level=1.0, seconds=2.0, rate=48000):
    return level * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)[None]


def test_a_full_scale_sine_of_997_hz_has_minus_3_lufs():
    """ITU-R BS.1770-4: -3.01 LKFS in one channel."""
    assert lufs(sine(), 48000) == pytest.approx(-3.01, abs=0.05)
    assert lufs(np.tile(sine(level=0.1), (2, 1)), 48000) == pytest.approx(-20, abs=0.05)
    assert lufs(np.zeros((1, 48000)), 48000) == -np.inf


def test_the_range_is_that_of_ebu_tech_3342():
    """Its first test signal: -20 then -30 LUFS, 20 seconds each, have 10 LU within 1."""
    x = np.concatenate([sine(1000, 0.1, 20, 8000), sine(1000, 0.0316, 20, 8000)], 1)
    assert range_lu(np.tile(x, (2, 1)), 8000) == pytest.approx(10, abs=1)
    assert range_lu(x[:, :8000], 8000) == 0


@pytest.mark.parametrize(
    ("rate", "hz", "phase"), [(48000, 12000, 45), (48000, 8000, 60), (44100, 997, 0), (192000, 20000, 10)]
)
def test_a_true_peak_lies_between_the_samples(rate, hz, phase):
    """EBU Tech 3341, tests 15 to 19: within +0.2 and -0.4 dB."""
    x = 0.5 * np.sin(2 * np.pi * hz * np.arange(rate // 4) / rate + np.deg2rad(phase))[None]
    at = np.arange(rate // 4)
    x *= np.minimum(1, np.minimum(at, at[::-1]) / 500)  # a sudden beginning or end has a peak of its own
    assert -6.42 < true_peak_db(x) < -5.82
    assert true_peak_db(np.zeros((2, 100))) == -np.inf
    assert true_peak_db(np.full((1, 1), 0.5)) == pytest.approx(-6.02, abs=0.01)


@pytest.mark.parametrize(
    ("samples", "words"), [(np.ones((1, 1)), ("too short", "0.4")), (np.ones((8, 192000)), ("8 channels",))]
)
def test_what_has_no_loudness_is_named(samples, words):
    with pytest.raises(DataError) as error:
        lufs(samples, 192000)
    one_line(error, *words)


def test_si_sdr_is_the_ratio_that_was_mixed():
    rng = np.random.default_rng(0)
    clean = torch.from_numpy(rng.standard_normal((3, 20000)))
    noise = torch.from_numpy(rng.standard_normal((3, 20000)))
    noise -= (noise * clean).sum(1, keepdim=True) / clean.square().sum(1, keepdim=True) * clean
    noise *= clean.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True)
    for db in (-5.0, 10.0):
        made = clean + noise * 10 ** (-db / 20)
        assert si_sdr_db(made, clean).tolist() == pytest.approx([db] * 3, abs=0.05)
        assert si_sdr_db(-7 * made, clean).tolist() == pytest.approx([db] * 3, abs=0.05)
    assert si_sdr_db(clean, clean).tolist() == [100] * 3
    assert si_sdr_db(torch.zeros(1, 5), clean[:1, :5]).tolist() == [-100]


def test_real_time_of_a_known_sleeper():
    found = real_time_factor(lambda: time.sleep(0.02), 0.1, times=3)
    assert len(found) == 3
    assert all(0.2 <= f < 2 for f in found)
    assert len(real_time_factor(lambda: time.sleep(0.03), 0.1, most_seconds=0.05)) < 3


class Halver(Family):
    """Gives back the sound that it was given, half of its noise taken off in ``model``; else silence."""

    @classmethod
    def accepts(cls, spec):
        return ""

    def sample(self, n, rng, cond=None):
        assert not self.training
        return cond * 0.5 if cond is not None else torch.zeros(n, 1, RATE)


def test_the_judges_run_where_they_fit_and_only_there():
    at = torch.arange(RATE) / RATE
    clean = torch.stack([0.5 * torch.sin(6.2832 * (200 + 20 * k) * at) for k in range(12)])[:, None]
    noisy = clean + 0.05 * torch.from_numpy(np.random.default_rng(0).standard_normal(clean.shape)).float()
    spec = Spec((1, RATE), cond=Spec((1, RATE)))
    decode = lambda x: [Item(Sound(row.numpy(), RATE)) for row in x]  # noqa: E731
    held = Batch(clean[4:8], noisy[4:8])
    case = Case("audio", spec, Batch(clean[:4], noisy[:4]), held, clean[8:], noisy[8:], Halver(spec), decode)
    found, skipped = run_all(case, ["loudness", "enhancement", "real_time"])
    assert skipped == {}
    by = {m.name: m for m in found}
    assert by["loudness_lufs"].value == pytest.approx(lufs(clean[9].numpy(), RATE), abs=1)
    assert by["loudness_lufs"].ceiling is not None
    assert by["true_peak_dbtp"].value == pytest.approx(-6.02, abs=0.1)
    assert by["si_sdr_db"].value == pytest.approx(10 * np.log10(0.125 / 0.0025), abs=0.5), (
        "half as loud is no distortion"
    )
    assert by["si_sdr_gain_db"].value == pytest.approx(0, abs=1e-3)
    assert by["real_time_factor"].value > 0
    for m in found:
        assert m.n > 0
        assert m.low is None or m.low <= m.value <= m.high
    free = Spec((1, RATE))
    none = Case("audio", free, Batch(clean[:4]), Batch(clean[4:8]), clean[8:9] * 0, None, Halver(free), decode)
    found, skipped = run_all(none, ["loudness", "enhancement", "real_time"])
    assert "a sound is known" in skipped["enhancement"]
    assert [m.name for m in found] == ["real_time_factor"], "silence has no loudness"
    _, skipped = run_all(Case("points", Spec((2,)), Batch(torch.zeros(9, 2)), Batch(torch.zeros(9, 2)), torch.zeros(9, 2)),
                         ["loudness", "enhancement", "real_time"])  # fmt: skip
    assert skipped["loudness"] == "judges audio, not points"
