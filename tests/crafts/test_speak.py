"""Speaking, reading, cloning and converting with a small run on formant speech, whose sounds are its letters."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("soundfile", reason="sound files need soundfile, extra audio, which is not installed")
pytest.importorskip("soxr", reason="resampling needs soxr, extra audio, which is not installed")

import bottega
from bottega.codecs._sound_files import read_sound
from bottega.core import DataError, RecipeError, Rng, Sound
from bottega.crafts import speak_book
from bottega.crafts.speak import EMOTIONS, Manner, Speaker, manner
from bottega.crafts.speak_book import chapters, read_book
from bottega.crafts.speak_voice import convert, heard_profile, read_profile, segments, usable, write_profile
from bottega.data._sounds import spoken
from bottega.trust.mark import read
from helpers import one_line

RECIPE = """
about = "a small run"
[data]
name = "speech"
n = 24
words = 2
label = "transcript"
held = 0.1
[codec]
name = "speech"
phones = "letters"
iterations = 4
length = 24
[family]
name = "fastspeech"
size = 16
depth = 1
[train]
steps = 12
batch = 8
"""


@pytest.fixture(scope="module")
def speaker(tmp_path_factory):
    here = tmp_path_factory.mktemp("speak")
    (here / "small.toml").write_text(RECIPE)
    return Speaker(bottega.train(here / "small.toml", out=here / "run", set={"optim.lr": 5e-3}, judge=False))


@pytest.fixture(scope="module")
def reference():
    x = np.concatenate([spoken(["one", "four", "nine", "two", "seven"], "soprano", Rng(k))[0] for k in range(3)])
    return Sound(x[None].astype(np.float32), 16000)


def test_a_text_of_any_length_is_said_and_marked(speaker, tmp_path):
    short, long = (
        speaker.say("one two", "alto"),
        speaker.say("one two, four six. five one two four six nine! one", "alto"),
    )
    assert short.rate == 16000
    assert np.isfinite(long.samples).all()
    assert long.peak <= 1
    assert long.seconds > 2 * short.seconds
    path = speaker.save(short, tmp_path / "a.wav", said={"voice": "alto"})
    mark = read(path)
    assert (mark["machine_made"], mark["weights"], mark["voice"]) == ("true", speaker.run.weights_hash, "alto")
    assert read_sound(path).seconds == pytest.approx(short.seconds, abs=1e-3)


def test_pieces_are_as_long_as_fit_and_hold_every_word(speaker):
    text = "one two four six five one two four six nine one seven. Two!\n\nThree, four"
    pieces = speaker.pieces(text)
    assert " ".join(p.text for p in pieces).split() == text.split()
    assert all(speaker.codec.fits(p.text) <= speaker.codec.used_length for p in pieces)
    assert pieces[-1].pause > pieces[0].pause


def test_manners(speaker):
    assert set(EMOTIONS) >= {"neutral", "happy", "sad", "angry", "calm"}
    assert manner("sad", speed=2.0).speed == pytest.approx(2 * EMOTIONS["sad"].speed)
    with pytest.raises(RecipeError) as error:
        manner("hapy")
    one_line(error, "did you mean 'happy'")
    with pytest.raises(RecipeError) as error:
        manner(speed=0.0)
    one_line(error, "speed would be 0")
    x, _ = speaker.examples(["one two four six"], "alto")
    y, _ = speaker.examples(["one two four six"], "alto", Manner(speed=0.5))
    t, u = (int(speaker.codec.frames_of(z)[0]) for z in (x, y))
    assert u == pytest.approx(2 * t, abs=2) or u == speaker.codec.frames


def test_what_cannot_be_said(speaker):
    for text in ("", "\U0001f642\U0001f642", "..."):
        with pytest.raises(RecipeError) as error:
            speaker.say(text)
        one_line(error, "no word")
    with pytest.raises(RecipeError) as error:
        speaker.say("one", "sopran")
    one_line(error, "did you mean 'soprano'")


def test_chapters_of_text_and_markdown():
    text = "Before.\n\n# One\n\nA *b* [c](d).\nStill.\n\n---\n\n- item\n\nChapter IV: The end\n\nLast."
    assert [(c.title, c.paragraphs) for c in chapters(text)] == [
        ("", ("Before.",)), ("One", ("A b c. Still.", "item")), ("Chapter IV: The end", ("Last.",))]  # fmt: skip
    for nothing in ("", "# \n\n***", "\U0001f642"):
        with pytest.raises(DataError):
            chapters(nothing)


def test_a_book_is_gone_on_with_where_it_stopped(speaker, tmp_path, monkeypatch):
    book = tmp_path / "book.md"
    book.write_text("# one\n\ntwo four.\n\nfive six.\n\n# two\n\nnine one.\n")
    whole = read_book(speaker, book, tmp_path / "whole", who="bass")
    assert [f.name for f in whole.files] == ["01-one.flac", "02-two.flac"]
    assert (whole.made, whole.kept) == (5, 0)
    assert read(whole.files[1])["chapter"] == "2"
    made, store = [], speak_book._store

    def stops(place, samples):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(place)
        store(place, samples)

    monkeypatch.setattr(speak_book, "_store", stops)
    with pytest.raises(KeyboardInterrupt):
        read_book(speaker, book, tmp_path / "again", who="bass")
    monkeypatch.setattr(speak_book, "_store", store)
    again = read_book(speaker, book, tmp_path / "again", who="bass")
    assert (again.made, again.kept) == (3, 2)
    for a, b in zip(whole.files, again.files, strict=True):
        assert np.array_equal(read_sound(a).samples, read_sound(b).samples)
    once_more = read_book(speaker, book, tmp_path / "again", who="bass")
    assert once_more.made == 0
    assert read_book(speaker, book, tmp_path / "again", who="alto", only=(2,)).made == 2
    with pytest.raises(RecipeError) as error:
        read_book(speaker, book, tmp_path / "again", only=(3,))
    one_line(error, "no chapter 3")
    book.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError) as error:
        read_book(speaker, book, tmp_path / "again")
    one_line(error, "UTF-8")


def test_a_profile_is_heard_kept_and_of_one_run(speaker, reference, tmp_path):
    profile = heard_profile(speaker, [reference], "Ann")
    assert np.linalg.norm(profile.vector) == pytest.approx(1, abs=1e-3)
    assert read_profile(write_profile(profile, tmp_path / "ann.json")) == profile
    assert speaker.say("one two", profile).seconds > 0.1
    other = json.loads((tmp_path / "ann.json").read_text()) | {"weights": "00"}
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(RecipeError) as error:
        speaker.say("one", read_profile(tmp_path / "other.json"))
    one_line(error, "another run")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError):
        read_profile(tmp_path / "other.json")


def test_recordings_without_a_voice_in_them_are_refused(speaker, reference):
    nothing = {
        "silent": np.zeros((1, 80000)), "0.00 seconds of speech": np.ones((1, 1)), "not finite": np.full((1, 80000), np.nan),
        "seconds of speech": reference.samples[:, :9000],
    }  # fmt: skip
    for why, samples in nothing.items():
        with pytest.raises(DataError) as error:
            heard_profile(speaker, [Sound(samples.astype(np.float32), 16000)], "Ann")
        one_line(error, why)
    assert usable(reference, "it") is reference


def test_a_conversion_keeps_the_timing(speaker, reference):
    made = convert(speaker, reference, "bass")
    assert made.seconds == pytest.approx(reference.seconds, abs=0.1)
    assert np.isfinite(made.samples).all()


def test_segments_are_the_sounds_that_were_there():
    truth = [3, 3, 3, 5, 5, 5, 5, 2, 2, 2]
    scores = torch.full((10, 8), 0.05)
    scores[range(10), truth] = 0.8
    scores[4] = torch.tensor([0, 0, 0, 0.55, 0, 0.4, 0, 0]) + 0.01  # a slip of one frame is none
    assert segments(scores.log(), 2, 10) == ([3, 5, 2], [3, 4, 3])
    tokens, frames = segments(scores.log(), 2, 2)
    assert len(tokens) == 2
    assert sum(frames) == 10
