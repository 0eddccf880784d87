"""Effects in blocks are effects of the whole; each does what its numbers say."""

import numpy as np
import pytest
from scipy.signal import sosfreqz

from bottega.core import DataError, RecipeError, Sound
from bottega.crafts.mix_effects import (
    EFFECTS,
    Band,
    Chain,
    Compressor,
    DeEsser,
    Denoise,
    Equaliser,
    Filter,
    Gate,
    Limiter,
    Reverb,
    Wet,
    biquad,
    named_effect,
    ready,
    response_db,
    run,
)  # fmt: skip
from bottega.judge.loudness import true_peak_db
from helpers import one_line

RATE = 16000


def sine(hz, level=0.5, seconds=1.0, rate=RATE, channels=1):
    at = np.arange(round(rate * seconds)) / rate
    return Sound(np.tile(level * np.sin(2 * np.pi * hz * at), (channels, 1)).astype(np.float32), rate)


def bursts(seconds=1.5, rate=RATE, channels=2, seed=0):
    """Noise whose level jumps between -50 and 0 dB, and some silence: everything a detector can meet."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    level = np.repeat(10 ** (rng.uniform(-50, 0, 24) / 20), n // 24 + 1)[:n]
    level[n // 3 : n // 3 + n // 10] = 0
    return Sound((0.9 * level * np.clip(rng.standard_normal((channels, n)), -1.2, 1.2)).astype(np.float32), rate)


ALL = {
    "equaliser": lambda: Equaliser([Band("peak", 1000, 6, 1), Band("low_shelf", 200, -4), Band("notch", 50, q=10)]),
    "filter": lambda: Filter(np.hanning(101) / 50),
    "compressor": lambda: Compressor(-30, 4),
    "deesser": lambda: DeEsser(4000, -40, 6),
    "limiter": lambda: Limiter(-12, gain_db=6),
    "gate": lambda: Gate(-30, 40),
    "reverb": lambda: Reverb(0.6, 0.4),
    "denoise": lambda: Denoise(20),
    "denoise of a profile": lambda: Denoise(
        20, noise=Denoise.profile(0.01 * np.random.default_rng(0).standard_normal((1, RATE)), RATE)
    ),
    "wet": lambda: Wet(Limiter(-12), 0.4),
    "chain": lambda: Chain([Gate(-40), Denoise(12), Compressor(-30, 3), Reverb(0.5, 0.2), Limiter(-3)]),
}


def test_every_named_effect_is_tried_here():
    assert set(EFFECTS) <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_blocks_of_any_size_make_what_the_whole_makes(name):
    sound = bursts()
    whole = run(ALL[name](), sound)
    assert whole.samples.shape == sound.samples.shape
    assert np.abs(whole.samples - sound.samples).max() > 0.01, "the effect does something here"
    effect, rng = ALL[name](), np.random.default_rng(1)
    effect.start(sound.rate, sound.channels)
    x = np.pad(sound.samples.astype(float), ((0, 0), (0, effect.latency)))
    parts, at = [], 0
    while at < x.shape[1]:  # sizes from nothing and one sample on
        n = int(rng.choice([0, 1, 2, 63, 64, 500, 3000]))
        parts.append(effect(x[:, at : at + n]))
        assert parts[-1].shape == x[:, at : at + n].shape
        at += n
    made = np.concatenate(parts, 1)[:, effect.latency :]
    assert np.abs(made - whole.samples).max() < 1e-6
    for block in (64, 777):
        assert np.abs(run(ALL[name](), sound, block).samples - whole.samples).max() < 1e-6


@pytest.mark.parametrize("name", ALL)
def test_arrays_make_what_the_compiled_loops_make_and_take_over_at_any_block(name, monkeypatch):
    pytest.importorskip("numba")
    from bottega.crafts import mix_effects

    assert ready()
    sound, loops = bursts(), mix_effects.loops
    compiled = run(ALL[name](), sound, 256).samples
    monkeypatch.setattr(mix_effects, "loops", lambda: None)  # as where numba is not installed
    assert not ready()
    assert np.abs(run(ALL[name](), sound, 256).samples - compiled).max() < 1e-7
    turns = iter(range(10**6))
    monkeypatch.setattr(mix_effects, "loops", lambda: loops() if next(turns) % 3 else None)
    assert np.abs(run(ALL[name](), sound, 256).samples - compiled).max() < 1e-7


def test_a_block_of_another_type_is_treated_as_well():
    sound = bursts()
    for name in ("compressor", "gate", "limiter", "reverb", "equaliser", "denoise"):
        one, other = ALL[name](), ALL[name]()
        one.start(RATE, 2)
        other.start(RATE, 2)
        for at in range(0, 4096, 512):
            x = sound.samples[:, at : at + 512]
            assert np.abs(one(x) - other(x.astype(float))).max() < 1e-4, name


@pytest.mark.parametrize("level_db", [-30.0, -6.05, -5.9])
def test_a_limiter_leaves_what_is_below_its_ceiling_to_the_bit(level_db):
    sound = sine(440, 10 ** (level_db / 20), 0.5)
    ramp = np.minimum(1, np.minimum(np.arange(8000), 7999 - np.arange(8000)) / 500)  # no clicks at its ends
    sound = Sound((sound.samples * ramp).astype(np.float32), RATE)
    made = run(Limiter(-6), sound, 128)
    assert np.array_equal(made.samples, sound.samples) == (level_db < -6)


@pytest.mark.parametrize("name", ["equaliser", "compressor", "gate", "limiter", "denoise", "deesser", "reverb"])
def test_no_state_is_left_for_the_next_sound(name):
    effect = ALL[name]()
    first = run(effect, bursts())
    assert np.array_equal(run(effect, bursts()).samples, first.samples)


@pytest.mark.parametrize("kind", ["peak", "low_shelf", "high_shelf", "low_pass", "high_pass", "notch"])
def test_a_filter_has_the_gain_it_is_given_and_is_stable(kind):
    band = Band(kind, 1000, 6.0, 0.7071 if "pass" in kind or "shelf" in kind else 2.0)
    row = biquad(band, RATE)
    assert np.abs(np.roots(row[3:])).max() < 1
    _, h = sosfreqz(row[None], np.array([1e-3, 1000, RATE / 2 - 1e-3]), fs=RATE)
    got = 20 * np.log10(np.abs(h) + 1e-12)
    wanted = {
        "peak": (0, 6, 0), "low_shelf": (6, 3, 0), "high_shelf": (0, 3, 6), "low_pass": (0, -3.01, -100),
        "high_pass": (-100, -3.01, 0), "notch": (0, -100, 0),
    }[kind]  # fmt: skip
    for g, w in zip(got, wanted, strict=True):
        assert g < -80 if w == -100 else g == pytest.approx(w, abs=0.02)
    assert response_db([band], np.array([1000.0]), RATE)[0] == pytest.approx(max(got[1], -120), abs=0.01)


def test_a_compressor_keeps_its_curve():
    for level, out in ((0.05, None), (0.5, None)):
        x = sine(500, level, 2.0)
        rms = 20 * np.log10(level / np.sqrt(2))
        made = run(Compressor(-20, 4, knee_db=0, attack_ms=5), x).samples[0, RATE:]
        got = 20 * np.log10(np.sqrt(np.mean(made**2)))
        out = rms if rms <= -20 else -20 + (rms + 20) / 4
        assert got == pytest.approx(out, abs=0.5)


def test_a_compressor_lets_go_at_its_pace():
    x = np.concatenate([sine(500, 0.9).samples, sine(500, 0.01).samples], 1)
    effect = Compressor(-20, 10, attack_ms=1, release_ms=100)
    effect.start(RATE, 1)
    down = effect.reduction_db(x.astype(float))
    at = RATE + round(0.06 * RATE)  # after the level has fallen
    assert down[at] - down[at + round(0.05 * RATE)] == pytest.approx(5, abs=0.3)


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
def test_a_limiter_keeps_true_peaks_below_its_ceiling_and_leaves_the_rest(rate):
    loud = bursts(0.6, rate, 2)
    made = run(Limiter(-6, gain_db=12), loud)
    assert true_peak_db(made.samples) <= -6 + 0.1
    assert true_peak_db(made.samples) > -6.6
    soft = Sound(loud.samples * np.float32(0.1), rate)
    assert np.abs(run(Limiter(-6), soft).samples - soft.samples).max() < 1e-6
    between = sine(rate / 4, 0.9, 0.5, rate)  # its samples reach less than its peaks where they fall beside them
    shifted = Sound(0.99 * np.sin(2 * np.pi * (np.arange(rate // 2) / 4 + 1 / 8))[None].astype(np.float32), rate)
    assert shifted.peak < 0.71
    assert true_peak_db(run(Limiter(-3), shifted).samples) <= -2.9
    assert true_peak_db(run(Limiter(-3), between).samples) <= -2.9


def test_a_gate_closes_on_quiet_and_opens_at_once():
    quiet, loud = sine(500, 0.001), sine(500, 0.5)
    x = Sound(np.concatenate([quiet.samples, loud.samples, quiet.samples], 1), RATE)
    made = run(Gate(-40, 60, hold_ms=20), x).samples[0]
    assert np.abs(made[: RATE - 10]).max() < 0.001 * 10 ** (-59 / 20)
    assert np.abs(made[RATE + 200 : 2 * RATE] - x.samples[0, RATE + 200 : 2 * RATE]).max() < 1e-3
    assert np.abs(made[-RATE // 4 :]).max() < 0.001 * 10 ** (-55 / 20)


@pytest.mark.parametrize("seconds", [0.4, 1.5])
def test_a_hall_dies_away_in_its_time(seconds):
    x = np.zeros((1, 2 * RATE), np.float32)
    x[0, 0] = 1
    made = run(Reverb(seconds, 1.0, damping_hz=1e6), Sound(x, RATE)).samples[0].astype(float)
    left = 10 * np.log10(np.cumsum(made[::-1] ** 2)[::-1] + 1e-20)  # Schroeder 1965
    left -= left[0]
    begin, end = np.argmax(left < -5), np.argmax(left < -25)
    assert 3 * (end - begin) / RATE == pytest.approx(seconds, rel=0.1)
    assert 0.3 < np.sum(made**2) < 3  # about the energy that came in
    two = run(Reverb(seconds, 1.0), Sound(np.tile(x, (2, 1)), RATE)).samples
    assert abs(np.corrcoef(two)[0, 1]) < 0.5, "left and right are not the same hall"


@pytest.mark.parametrize("told", [False, True])
def test_noise_is_taken_from_a_voice(told):
    torch = pytest.importorskip("torch")
    from bottega.data._sounds import speech
    from bottega.judge.enhancement import si_sdr_db

    clean = np.concatenate([i.value.samples for i in speech(n=2, words=3, seed=3).items], 1)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(clean.shape) * np.sqrt(np.mean(clean**2)) * 10 ** (-5 / 20)
    profile = Denoise.profile(np.sqrt(np.mean(noise**2)) * rng.standard_normal((1, RATE)), RATE) if told else None
    made = run(Denoise(24, profile), Sound((clean + noise).astype(np.float32), RATE)).samples
    gain = si_sdr_db(torch.from_numpy(made[0]), torch.from_numpy(clean[0])) - si_sdr_db(
        torch.from_numpy((clean + noise)[0]), torch.from_numpy(clean[0])
    )
    assert gain > (5 if told else 3)


def test_wet_is_a_mixture_in_time():
    x = bursts()
    wet = run(Wet(Limiter(-12), 1.0), x).samples
    assert np.abs(run(Wet(Limiter(-12), 0.25), x).samples - (0.25 * wet + 0.75 * x.samples)).max() < 1e-6
    assert np.abs(run(Wet(Denoise(20), 0.0), x).samples - x.samples).max() < 1e-6


def test_latency_is_what_is_said():
    for name, make in ALL.items():
        effect = make()
        effect.start(RATE, 1)
        y = run(effect, sine(300, 0.9))
        if name in {"limiter", "filter", "wet"}:
            assert effect.latency > 0
            within = slice(2000, -2000)  # a filter rings where the tone begins and ends
            assert np.corrcoef(y.samples[0][within], sine(300).samples[0][within])[0, 1] > 0.99
        elif name in {"equaliser", "compressor", "gate", "reverb", "deesser"}:
            assert effect.latency == 0


def test_eight_channels_at_192_khz_one_sample_and_silence():
    wide = bursts(0.1, 192_000, 8)
    rated = {k: v for k, v in ALL.items() if "profile" not in k}  # a profile is of one rate
    for name, make in rated.items():
        assert np.isfinite(run(make(), wide, 1000).samples).all(), name
        assert run(make(), Sound(np.full((1, 1), 0.5, np.float32), RATE)).samples.shape == (1, 1)
        assert not run(make(), Sound(np.zeros((2, 3000), np.float32), RATE)).samples.any(), name


@pytest.mark.parametrize(
    ("text", "words"),
    [("peek hz=3", ("peek", "peak")), ("peak gain=3", ("gain", "gain_db")), ("peak gain_db=3", ("hz=1000",)), ("peak hz=x", ("'x'",)),
     ("compressor ratio=0.5", ("ratio", "0.5")), ("reverb wet=2", ("wet", "2")), ("gate wet=2", ("wet",)), ("", ("unknown",))],
)  # fmt: skip
def test_a_wrong_effect_is_named(text, words):
    with pytest.raises(RecipeError) as error:
        named_effect(text)
    one_line(error, *words)


def test_what_cannot_be_treated_is_named():
    with pytest.raises(RecipeError) as error:
        run(named_effect("high_pass hz=9000"), bursts())
    one_line(error, "9000", "8000")
    odd = bursts()
    odd.samples[0, 5] = np.nan
    with pytest.raises(DataError) as error:
        run(Gate(), odd)
    one_line(error, "not finite")
    with pytest.raises(DataError) as error:
        run(Gate(), Sound(np.zeros((1, 0), np.float32), RATE))
    one_line(error, "no samples")


def test_the_rise_of_the_log_spectral_gain_is_that_of_its_integral():
    from scipy.special import exp1

    from bottega.crafts.mix_effects import _rise

    v = np.geomspace(1e-6, 999, 5001)
    np.testing.assert_allclose(_rise(v), np.exp(0.5 * exp1(v)), rtol=2e-6)
    assert _rise(np.array([0.0, 1e9])) == pytest.approx([np.exp(0.5 * exp1(1e-6)), 1.0], rel=1e-5)
