"""Recordings that clip are found before something is learned from them, and told of; made worlds and music are left alone."""

import numpy as np
import pytest

import bottega
from bottega.codecs._clipping import clipped_note
from bottega.codecs._phones import has_espeak
from bottega.core import Item, RecipeError, Sound
from bottega.data import worlds
from recipes import write_recipe

pytest.importorskip("soundfile", reason="the extra 'audio' is not installed")
pytest.importorskip("soxr", reason="the extra 'audio' is not installed")


def tone(gain, n=16000, bits=16, hz=220):
    """Speech-like: a tone that swells, as loud as ``gain``, cut off at full scale."""
    t = np.arange(n) / 16000
    x = gain * np.sin(2 * np.pi * hz * t) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * t))
    return Sound((np.rint(x.clip(-1, 1) * 2 ** (bits - 1)) / 2 ** (bits - 1)).astype(np.float32)[None], 16000)


def low(hz, bits, gain=0.9):
    """Two seconds of a low tone at 44.1 kHz: several samples in a row stand at each top."""
    x = gain * np.sin(2 * np.pi * hz * np.arange(88_200) / 44_100)
    return Sound((np.rint(x.clip(-1, 1) * 2 ** (bits - 1)) / 2 ** (bits - 1)).astype(np.float32)[None], 44_100)


def test_those_that_clip_are_counted_and_the_first_is_named():
    items = [Item(tone(0.9), name="a.wav"), Item(tone(3.0), name="b.wav"), Item(tone(2.0), name="c.wav")]
    assert clipped_note(items[:1]) == ""
    assert clipped_note(items).startswith("2 of 3 recordings clip (flat tops), the first: b.wav")


def test_low_tones_and_few_bits_are_not_told_as_clipped():
    clean = [Item(low(hz, bits, gain)) for hz in (30, 50, 80) for bits in (16, 24) for gain in (0.15, 0.9)]
    assert clipped_note([*clean, Item(tone(0.5, bits=8)), Item(tone(0.15, bits=8))]) == ""
    assert clipped_note([Item(low(50, 16, 1.2), name="over.wav")]).startswith("1 of 1 recordings clip")


@pytest.mark.system
@pytest.mark.skipif(not has_espeak(), reason="the program espeak-ng is not installed")
def test_quiet_sentences_of_eight_bits_are_not_told_as_clipped():
    items = worlds.load("espeak", n=24, seed=3).items
    quiet = []
    for item in items:
        x = item.value.samples / np.abs(item.value.samples).max()
        quiet.append(Item(Sound((np.rint(x * 0.3 * 128) / 128).astype(np.float32), item.value.rate)))
    assert clipped_note(quiet) == ""


@pytest.mark.parametrize("name", ["audio", "speech"])
def test_training_notes_it_and_goes_on(tmp_path, name):
    from bottega.codecs._sound_files import write_sound

    for i in range(12):
        write_sound(tone(3.0 if i == 7 else 0.8, hz=150 + 37 * i), tmp_path / "said" / f"{i:02}.wav")
        (tmp_path / "said" / f"{i:02}.txt").write_text(["one two", "two three", "three one", "one three"][i % 4])
    codec = {"name": "speech", "phones": "letters"} if name == "speech" else {"name": "audio", "rate": 8000, "mels": 32}
    family = "fastspeech" if name == "speech" else "vae"
    toml = write_recipe(tmp_path, family, codec=codec, data={}, steps=1, batch=4)
    run = bottega.train(toml, data=tmp_path / "said", out=tmp_path / "run", judge=False)
    notes = [note for note in run.header["notes"] if "clip" in note]
    assert len(notes) == 1
    assert "07.wav" in notes[0]


def test_an_unknown_language_is_told_before_the_data_is_read(tmp_path):
    toml = write_recipe(tmp_path, "fastspeech", codec={"name": "speech", "language": "klingon"}, data={}, steps=1)
    told = []
    with pytest.raises(RecipeError, match="klingon"):
        bottega.train(toml, data=tmp_path, out=tmp_path / "run", judge=False, progress=told.append)
    assert not told
