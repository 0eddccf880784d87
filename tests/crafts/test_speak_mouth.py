"""Mouths: they open with the voice, close for p, b and m, go with their own sound's envelope and with no other's."""

import csv
import json
import math

import numpy as np
import pytest
from PIL import Image
from scipy.signal import hilbert

pytest.importorskip("soundfile", reason="sound files need soundfile, extra audio, which is not installed")
pytest.importorskip("soxr", reason="resampling needs soxr, extra audio, which is not installed")

from bottega.codecs.speech import SpeechCodec
from bottega.core import DataError, OutputError, RecipeError, Rng, Sound
from bottega.crafts.speak_mouth import Mouth, Sounding, aligned, draw_mouth, mouth, openness, write_mouth
from bottega.data import worlds
from bottega.data._sounds import spoken
from helpers import one_line

RATE = 16000


def said(seed, words=("one", "four", "nine", "two", "seven")):
    """Formant speech of words in an order of its own."""
    order = Rng(seed).permutation(len(words)).tolist()
    return Sound(spoken([words[k] for k in order], "alto", Rng(seed))[0][None].astype(np.float32), RATE)


def tone(on, seconds=2.0, rate=RATE, hz=300.0):
    """A tone that sounds where ``on(t)`` is true."""
    at = np.arange(round(seconds * rate)) / rate
    return Sound((0.5 * np.sin(math.tau * hz * at) * on(at))[None].astype(np.float32), rate)


def envelope(sound, fps=25):
    """The mean magnitude of the analytic signal in each frame, as the benchmark has it."""
    level = np.abs(hilbert(sound.mono()))
    at = ((np.arange(len(level)) + 0.5) / sound.rate * fps).astype(int)
    return np.bincount(at, level) / np.bincount(at)


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
@pytest.mark.parametrize("fps", [24, 25, 30, 60])
def test_it_opens_when_there_is_voice_and_when_there_is_none_it_is_closed(rate, fps):
    made = mouth(tone(lambda t: (t > 0.5) & (t < 1.5), rate=rate), fps)
    assert len(made.opening) == math.ceil(2 * fps)
    at = (np.arange(len(made.opening)) + 0.5) / fps
    assert made.opening[(at > 0.6) & (at < 1.4)].min() > 0.95
    assert made.opening[(at < 0.4) | (at > 1.6)].max() < 0.05
    assert ((made.opening >= 0) & (made.opening <= 1)).all()


def test_hum_and_hiss_open_no_mouth():
    voice = tone(lambda t: t < 1)
    low, high = tone(lambda t: t >= 1, hz=50), tone(lambda t: t >= 1, hz=6500)
    for other in (low, high):
        made = mouth(Sound(voice.samples + other.samples, RATE))
        assert made.opening[2:23].min() > 0.9
        assert made.opening[28:].max() < 0.15


def test_a_louder_recording_moves_the_same_mouth():
    one = said(1)
    assert np.allclose(mouth(one).opening, mouth(Sound(0.1 * one.samples, RATE)).opening, atol=1e-6)


def test_the_curve_goes_with_its_own_envelope_and_with_no_other():
    sounds = [said(k) for k in range(8)]
    curves, levels = [mouth(s).opening for s in sounds], [envelope(s) for s in sounds]

    def together(a, b):
        n = min(len(a), len(b))
        return np.corrcoef(a[:n], b[:n])[0, 1]

    assert min(together(c, e) for c, e in zip(curves, levels, strict=True)) >= 0.8
    assert max(together(c, e) for c, e in zip(curves, levels[1:] + levels[:1], strict=True)) < 0.8


def test_sounds_shape_the_mouth():
    steady = tone(lambda t: t >= 0)
    sounds = [Sounding("'A:", 0.0, 0.6), Sounding("m", 0.6, 1.0), Sounding("u:", 1.0, 1.5), Sounding("i:", 1.5, 2.0)]
    made = mouth(steady, 25, sounds)
    a, m, u, i = (slice(2, 13), slice(15, 25), slice(26, 36), slice(39, 48))
    assert made.opening[a].min() > 0.95
    assert (made.opening[m] == 0).all()  # however loud the hum of it is
    assert made.opening[u].max() < 0.75
    assert made.width[u].max() < 0.1 < 0.9 < made.width[i].min()
    assert (made.sounds[5], made.sounds[20], made.sounds[45]) == ("'A:", "m", "i:")
    assert mouth(steady).sounds == ()


def test_what_the_lips_do():
    assert openness("p") == openness("b") == openness("m")
    assert openness("p")[0] == 0
    assert openness("'a")[0] > openness("'E")[0] > openness("'i:")[0] > openness("v")[0]
    assert openness(",U@")[1] < openness("I")[1]
    assert openness("") == openness(".") == (0.0, 0.5)
    assert openness("ŋ") == (0.5, 0.5)  # nobody knows


@pytest.fixture(scope="module")
def speech():
    world = worlds.load("speech", n=32, words=2, label="transcript")
    return SpeechCodec(phones="letters").fit(world.items), world.items


def test_sounds_are_aligned_with_the_recording(speech):
    codec, items = speech
    item = items[0]
    text = str(item.cond).rpartition("|")[2]
    found = aligned(codec, item.value, text)
    names = "".join(s.name for s in found if s.name.isalpha())
    assert names == "".join(c for c in text.lower() if c.isalpha())
    assert all(a.end == b.start for a, b in zip(found, found[1:], strict=False))
    assert 0 <= found[0].start < found[-1].end <= item.value.seconds + 0.06
    # half a second of silence before it moves every sound by as much
    quiet = np.zeros((1, item.value.rate // 2), np.float32)
    later = aligned(codec, Sound(np.concatenate([quiet, item.value.samples], 1), item.value.rate), text)
    voiced = [k for k, s in enumerate(found) if s.name.isalpha()]
    moved = [later[k].start - found[k].start for k in voiced]
    assert np.abs(np.array(moved) - 0.5).max() < 2.5 * codec.hop / codec.rate
    made = mouth(item.value, 25, found)
    assert np.corrcoef(made.opening, envelope(item.value))[0, 1] > 0.7


def test_what_cannot_be_aligned_is_said(speech):
    codec, items = speech
    with pytest.raises(RecipeError) as error:
        aligned(object(), items[0].value, "one")
    one_line(error, "none of speech")
    with pytest.raises(DataError) as error:
        aligned(codec, Sound(np.tile(items[0].value.samples, 20), items[0].value.rate), "one two")
    one_line(error, "cut it into sentences")
    short = Sound(items[0].value.samples[:, 4000:5920], items[0].value.rate)
    with pytest.raises(DataError) as error:
        aligned(codec, short, "seven seven")
    one_line(error, "too short")


@pytest.mark.parametrize(("sound", "words"), [
    (Sound(np.zeros((1, RATE), np.float32), RATE), "silent"),
    (Sound(np.concatenate([np.ones((1, RATE), np.float32), -np.ones((1, RATE), np.float32)]), RATE), "silent"),  # antiphase
    (Sound(np.ones((1, 100), np.float32), RATE), "0.00625 seconds"),
    (Sound(np.full((1, RATE), np.nan, np.float32), RATE), "not finite"),
])  # fmt: skip
def test_bad_recordings_are_said_in_one_line(sound, words):
    with pytest.raises(DataError) as error:
        mouth(sound)
    one_line(error, words)


@pytest.mark.parametrize("fps", [0, -1, 121, float("nan")])
def test_bad_rates_of_frames(fps):
    with pytest.raises(RecipeError) as error:
        mouth(said(1), fps)
    one_line(error, "give 1 to 120")


def test_files(tmp_path):
    made = mouth(tone(lambda t: t >= 0), 25, [Sounding("a", 0, 1), Sounding("m", 1, 2)])
    rows = list(csv.DictReader(write_mouth(made, tmp_path / "a.csv").open()))
    assert len(rows) == 50
    assert float(rows[30]["seconds"]) == 1.2
    assert (rows[10]["sound"], rows[40]["sound"], float(rows[40]["opening"])) == ("a", "m", 0)
    told = json.loads(write_mouth(made, tmp_path / "a.json").read_text())
    assert told["fps"] == 25
    assert told["opening"] == [float(row["opening"]) for row in rows]
    for write, name in ((write_mouth, "a.txt"), (write_mouth, "a"), (draw_mouth, "a.mp4"), (draw_mouth, "a.csv")):
        with pytest.raises(RecipeError) as error:
            write(made, tmp_path / name) if name != "a.csv" else write(made, tmp_path / "b.csv")
        one_line(error, "name a file that ends in")
    with pytest.raises(OutputError):
        write_mouth(made, tmp_path / "a.csv" / "b.csv")


@pytest.mark.parametrize("fps", [50.5, 60, 90, 120])
def test_no_frame_of_a_film_is_shorter_than_players_show(fps, tmp_path):
    """They take 0 and 10 ms for 100: more than 50 frames a second would play in slow motion."""
    n = round(2 * fps)
    opening = 0.5 + 0.5 * np.sin(np.arange(n) / n * math.tau)
    with Image.open(draw_mouth(Mouth(opening, np.full(n, 0.5), fps), tmp_path / "a.gif")) as film:
        times = []
        for k in range(film.n_frames):
            film.seek(k)
            times.append(film.info["duration"])
    assert min(times) >= 20
    assert sum(times) == pytest.approx(1000 * n / fps, abs=20)
    assert len(write_mouth(Mouth(opening, opening, fps), tmp_path / "a.csv").read_text().splitlines()) == n + 1


@pytest.mark.parametrize("fps", [25, 30])
def test_a_drawn_mouth_moves_as_the_curve_says(fps, tmp_path):
    opening = np.array([0.0, 0.3, 1.0, 0.6, 0.0, 0.9] * fps)
    made = Mouth(opening, np.full(len(opening), 0.5), fps)
    with Image.open(draw_mouth(made, tmp_path / "a.gif")) as film:
        times, dark = [], []
        for k in range(film.n_frames):
            film.seek(k)
            times.append(film.info["duration"])
            picture = np.asarray(film.convert("RGB")).astype(int)
            dark.append(int((picture.sum(2) < 150).sum()))
    assert sum(times) == pytest.approx(1000 * len(opening) / fps, abs=10)
    if len(dark) == len(opening):  # Pillow may join frames that look the same
        assert np.corrcoef(dark, opening)[0, 1] > 0.95
    assert dark[2] > dark[1] > dark[0]
    with Image.open(draw_mouth(made, tmp_path / "a.png")) as strip:
        assert strip.size == (12 * 80, 5 * 80)
    long = Mouth(np.zeros(301 * 25), np.zeros(301 * 25), 25)
    with pytest.raises(DataError) as error:
        draw_mouth(long, tmp_path / "b.gif")
    one_line(error, "at most 300")
    assert not (tmp_path / "b.gif").exists()
