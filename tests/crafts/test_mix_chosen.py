"""Gates and reverbs that are chosen by listening, on recordings whose pauses and rooms are known; clipping that is none."""

import math

import numpy as np
import pytest
from scipy.signal import oaconvolve

from bottega.codecs._sound_files import read_sound
from bottega.core import DataError, Sound
from bottega.crafts._pauses import gated, pauses
from bottega.crafts.mix_effects import Denoise, run
from bottega.crafts.mix_repair import LIMITS, diagnose, limits_of, measures, repair
from bottega.crafts.mix_room import DRY_DB, dryness_db, in_room
from bottega.data._sounds import _kick, multitrack, speech
from helpers import SHARED, one_line

RATE = 16000


def sound(x, rate=RATE):
    return Sound(np.asarray(x, np.float32)[None], rate)


def talk(seed, gap=0.7):
    """Four times three words, and silence after each three."""
    parts = [[i.value.samples[0], np.zeros(round(gap * RATE))] for i in speech(n=4, words=3, seed=seed).items]
    return np.concatenate(sum(parts, []))


def kicks(seconds=9.0, beat=0.9):
    x, hit = np.zeros(round(seconds * RATE)), _kick(RATE)
    for start in np.arange(0, seconds - 0.5, beat):
        x[round(start * RATE) :][: len(hit)] += 0.5 * hit
    return x


def beside(x, other, decibels):
    """``x`` and, so many decibels below it, what it is not."""
    return x + other * 10 ** (decibels / 20) * math.sqrt(np.mean(x**2) / np.mean(other**2))


def swells(n, seed=1):
    """Noise that comes and goes 2.3 times a second, by 20 dB."""
    at = np.arange(n) / RATE
    return np.random.default_rng(seed).standard_normal(n) * 10 ** (-0.5 * (1 + np.sin(2 * np.pi * 2.3 * at + seed)))


def nearness_db(made, clean):
    """SI-SDR."""
    y, x = made.samples[0].astype(float), clean - clean.mean()
    gain = (x @ y) / (x @ x)
    return 10 * math.log10(np.sum((gain * x) ** 2) / np.sum((y - gain * x) ** 2))


# ---- gates -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("which", "decibels"), [("talk", -25), ("talk", -20), ("kicks", -25), ("kicks", -20)])
def test_noise_that_comes_and_goes_in_pauses_is_gated(which, decibels):
    clean = talk(1) if which == "talk" else kicks()
    limits = LIMITS | ({} if which == "talk" else {"boomy": 30.0})  # a kick is boomy by nature
    bad = sound(beside(clean, swells(len(clean)), decibels))
    assert not {"rustle", "bleed"} & {f.name for f in diagnose(sound(clean), limits)}
    (found,) = (f for f in diagnose(bad, limits) if f.name == "rustle")
    assert found.value == pytest.approx(decibels, abs=3), "about as loud as it was planted"
    made = repair(bad, limits)
    (found,) = (f for f in made.findings if f.name == "rustle")
    assert "gate" in found.done
    assert found.after < found.value - 5
    assert nearness_db(made.sound, clean) > nearness_db(bad, clean) + 0.7


def test_a_gate_is_chosen_where_denoise_would_not_do_and_not_where_it_does():
    clean = talk(1)
    bad = sound(beside(clean, swells(len(clean)), -25))
    best = max(nearness_db(run(Denoise(24), bad), clean), nearness_db(run(Denoise(12), bad), clean))
    made = repair(bad)
    assert nearness_db(made.sound, clean) > best, "a profile of steady noise does not know when it comes"
    steady = repair(sound(beside(clean, np.random.default_rng(0).standard_normal(len(clean)), -20)))
    assert [f.name for f in steady.findings] == ["noise"]
    assert "gate" not in steady.findings[0].done


def test_both_are_chosen_where_both_are_there():
    """A hiss that stays, and under it swells: the first is taken by its profile, of the second the gate takes the rest."""
    clean = kicks()
    hiss = np.random.default_rng(0).standard_normal(len(clean))
    made = repair(sound(beside(beside(clean, hiss, -24), swells(len(clean)), -20)))
    done = {f.name: f.done for f in made.findings}
    assert "gate" in done["rustle"]
    assert "noise" in done
    assert all(f.after < f.value for f in made.findings)


@pytest.mark.parametrize(("which", "decibels"), [("lead", -20), ("chords", -20), ("voice", -25)])
def test_what_bleeds_into_pauses_is_gated_where_recordings_of_the_kind_say_that_it_should_not_be_there(which, decibels):
    """Without them it may be a second speaker, who is wanted."""
    clean, alike = (talk(1), talk(11)) if which != "chords" else (kicks(), kicks(beat=1.0))
    band = multitrack(n=1, seconds=len(clean) / RATE + 1, rate=RATE, seed=1).truth["stems"][0]
    other = talk(51, gap=0.05) if which == "voice" else band[which].samples[0].astype(float)
    bad = sound(beside(clean, np.resize(other, len(clean)), decibels))
    assert "bleed" not in {f.name for f in diagnose(bad)}
    limits = limits_of([sound(alike)])
    assert limits["bleed"] == -40
    assert "bleed" not in {f.name for f in diagnose(sound(clean), limits)}
    made = repair(bad, limits)
    (found,) = (f for f in made.findings if f.name == "bleed")
    assert found.value == pytest.approx(decibels, abs=3)
    assert found.after < found.value - 7
    assert nearness_db(made.sound, clean) > nearness_db(bad, clean) + 0.5


def test_a_gate_that_would_cut_what_is_wanted_is_not_chosen():
    """Clatter reaches as high as the voice: no threshold parts them, and the recording stays as it is."""
    clean = talk(1)
    clatter, rng = np.zeros(len(clean)), np.random.default_rng(51)
    for start in rng.integers(0, len(clean) - 1600, len(clean) * 6 // RATE):
        clatter[start : start + 1200] += rng.standard_normal(1200) * np.exp(-np.arange(1200) / 300)
    bad = sound(beside(clean, clatter, -20))
    made = repair(bad)
    (found,) = (f for f in made.findings if f.name == "rustle")
    assert "nothing" in found.done
    assert made.sound is bad
    assert gated(bad, pauses(bad), 20, 6)[2] > 0.5
    low = gated(
        sound(beside(clean, swells(len(clean)), -25)), pauses(sound(beside(clean, swells(len(clean)), -25))), 20, 0
    )
    assert low[2] < 0.5


def test_pauses_are_where_they_were_planted():
    clean = talk(1)
    found = pauses(sound(beside(clean, np.random.default_rng(0).standard_normal(len(clean)), -25)))
    silent = np.add.reduceat(np.abs(clean), np.arange(0, len(clean), found.hop)) == 0
    assert silent[found.inside].mean() > 0.95
    assert found.inside[silent].mean() > 0.6, "but for a tenth of a second on either side"
    assert found.level_db == pytest.approx(-25, abs=1)
    assert found.wander_db < 3
    assert found.flat > 0.6
    assert pauses(sound(np.random.default_rng(0).standard_normal(4 * RATE))) is None
    assert pauses(sound(np.sin(np.arange(4 * RATE)))) is None


@pytest.mark.shared
def test_whole_real_recordings_have_no_rustle():
    """The reader of the first has breath in pauses that his room's noise covers: it is steady before that is taken."""
    for path in sorted((SHARED / "audio_clips").glob("*.ogg")):
        whole = read_sound(path)
        part = Sound(whole.samples[:, : 12 * whole.rate], whole.rate)
        assert measures(part)["rustle"] <= -32, path.name


# ---- rooms -------------------------------------------------------------------------------------------------------------


def room(x, t60, direct_db, seed=7):
    """In a room whose answer is noise that dies away by 60 dB in ``t60`` seconds (Polack 1988), after the direct sound."""
    n = round(1.2 * t60 * x.rate)
    h = np.random.default_rng(seed).standard_normal(n) * np.exp(-math.log(1000) * np.arange(n) / (t60 * x.rate))
    h[: round(0.005 * x.rate)] = 0
    h *= 10 ** (-direct_db / 20) / math.sqrt(h @ h)
    h[0] = 1
    y = oaconvolve(x.samples, h[None], axes=1)[:, : x.samples.shape[1]]
    return Sound((0.7 * y / np.abs(y).max()).astype(np.float32), x.rate)


@pytest.fixture(scope="module")
def voices():
    """Two recordings of other words by other voices."""
    items = speech(n=14, words=6, seed=3).items
    return tuple(Sound(np.concatenate([i.value.samples for i in items[a : a + 3]], 1), RATE) for a in (0, 10))


@pytest.mark.parametrize(("t60", "direct_db"), [(0.4, 6), (0.8, 3), (1.5, 6)])
def test_a_dry_sound_gets_the_reverb_of_the_room_that_is_asked(voices, t60, direct_db):
    dry, other = voices
    wished = room(other, t60, direct_db)
    made = repair(dry, room=wished)
    found = made.findings[-1]
    assert found.name == "dry"
    assert "reverb" in found.done
    assert found.value > DRY_DB
    assert found.mended
    assert abs(found.after) < 1, "its decays are as the room's"
    _, reverb = in_room(dry, wished)
    assert t60 / 1.6 < reverb.seconds < 1.6 * t60
    assert 20 * math.log10((1 - reverb.wet) / reverb.wet) == pytest.approx(direct_db, abs=4)
    level = np.sqrt(np.mean(made.sound.samples**2) / np.mean(dry.samples**2))
    assert level == pytest.approx(1, abs=0.2) or made.sound.peak == pytest.approx(1, abs=0.01)


def test_no_reverb_where_none_is_asked_or_needed(voices):
    dry, other = voices
    assert "dry" not in {f.name for f in diagnose(dry)}
    assert "dry" not in {f.name for f in diagnose(dry, room=other)}, "the other is as dry"
    wet = room(dry, 0.8, 3, seed=8)
    assert "dry" not in {f.name for f in diagnose(wet, room=room(other, 0.8, 3))}
    assert dryness_db(wet, other) < -DRY_DB, "a room is not taken away"
    assert "dry" not in {f.name for f in repair(wet, room=other).findings}


def test_noise_of_a_reference_is_no_room(voices):
    dry, other = voices
    noise = np.random.default_rng(0).standard_normal(other.samples.shape[1])
    assert dryness_db(dry, sound(beside(other.samples[0], noise, -20))) < DRY_DB


def test_a_reference_without_gaps_or_of_half_a_second_is_named(voices):
    dry, other = voices
    dense = sound(np.random.default_rng(0).standard_normal(4 * RATE) / 8)
    with pytest.raises(DataError) as error:
        dryness_db(dry, dense, "hall.wav")
    one_line(error, "hall.wav", "gaps")
    with pytest.raises(DataError) as error:
        repair(dry, room=Sound(other.samples[:, : RATE // 2], RATE))
    one_line(error, "room", "1")


# ---- clipping ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [16, 24])
def test_a_slow_wave_that_stands_still_at_its_top_has_no_defect_of_clipping(bits):
    wave = 0.9 * np.sin(2 * np.pi * 200 * np.arange(44_100) / 44_100)
    for x, clips in ((wave, False), (np.clip(wave, -0.75, 0.75), True)):
        kept = sound(np.round(x * 2 ** (bits - 1)) / 2 ** (bits - 1), 44_100)
        assert ("clipping" in {f.name for f in diagnose(kept)}) == clips
