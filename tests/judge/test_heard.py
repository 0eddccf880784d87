"""Judges of sounds hear by spectra: features, the recogniser and copies of waveforms and levels."""

import pytest
import torch

from bottega.codecs.audio import AudioCodec
from bottega.core import Rng
from bottega.data import worlds
from bottega.judge import Case, run_all


@pytest.fixture(scope="module")
def spoken():
    """Vowel-like words of two voices, as waveforms, and a case whose samples are held-out recordings."""
    data = worlds.load("speech", n=240, label="voice", rate=8000)
    codec = AudioCodec(form="wave", rate=8000, seconds=0.4).fit(data.items)
    return codec, codec.encode(data.items)


def case_of(codec, whole, samples, cond):
    return Case(
        medium="audio", spec=codec.spec, train=whole.take(slice(0, 160)), held=whole.take(slice(160, 200)),
        samples=samples, sample_cond=cond, decode=codec.decode, facts={"heard": codec.heard, "classes": codec.classes},
    )  # fmt: skip


@pytest.mark.slow
def test_real_voices_are_recognised_and_near_and_noise_is_not(spoken):
    codec, whole = spoken
    rest = whole.take(slice(200, 240))
    noise = 0.2 * Rng(0).normal(40, *codec.spec.shape)
    found = {}
    for name, x in (("real", rest.x), ("noise", noise)):
        measures, _ = run_all(case_of(codec, whole, x, rest.cond), ["frechet", "recognise"])
        found[name] = {m.name: m for m in measures}
    real, poor = found["real"], found["noise"]
    assert "spectra" in real["frechet_distance"].features
    assert real["frechet_distance"].value < 0.2 * poor["frechet_distance"].value
    agreed = next(name for name in real if "agree" in name or "asked" in name)
    assert real[agreed].value > 0.8
    assert poor[agreed].value < 0.6


def test_a_copy_is_found_though_it_is_moved_by_a_sample(spoken):
    codec, whole = spoken
    rest = whole.take(slice(200, 240))
    copies = torch.nn.functional.pad(whole.x[:40, :, 1:], (0, 1))
    made, _ = run_all(case_of(codec, whole, torch.cat([copies[:20], rest.x[:20]]), None), ["memorisation"])
    share = {m.name: m.value for m in made}["memorised_share"]
    assert share == pytest.approx(0.5, abs=0.05)
