"""Speaking, reading, cloning and converting with a small run on formant speech, whose sounds are its letters."""

import json
from dataclasses import asdict, replace
from datetime import date

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
from bottega.crafts.speak_page import draw_said
from bottega.crafts.speak_voice import (
    LEAST_SECONDS,
    convert,
    digest,
    heard_profile,
    read_profile,
    segments,
    usable,
    write_profile,
)
from bottega.data._sounds import spoken
from bottega.trust.consent import Consent, revoke
from bottega.trust.mark import read
from bottega.trust.watermark import find_watermark
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


def allowing(*sounds, uses=("clone", "convert")):
    """Ann's consent for recordings."""
    return Consent("Ann", tuple(map(digest, sounds)), "a test", uses, date(2020, 1, 1), date(2999, 1, 1))


@pytest.fixture(scope="module")
def profile(speaker, reference):
    return heard_profile(speaker, [reference], allowing(reference))


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
    many = speaker.say(" ".join(["one two four six five one two nine."] * 8), "alto")
    assert find_watermark(many).there  # in the sound itself, before any file
    assert find_watermark(read_sound(speaker.save(many, tmp_path / "many.flac"))).there


def test_pieces_are_as_long_as_fit_and_hold_every_word(speaker):
    text = "one two four six five one two four six nine one seven. Two!\n\nThree, four"
    pieces = speaker.pieces(text)
    assert " ".join(p.text for p in pieces).split() == text.split()
    assert all(speaker.codec.fits(p.text) <= speaker.codec.used_length for p in pieces)
    assert pieces[-1].pause > pieces[0].pause


def _heard(speaker, texts):
    """Words and marks of texts, as the codec reads them."""
    return [clause for text in texts for clause in speaker.codec.clauses(text)]


@pytest.mark.parametrize(("text", "sentences"), [
    ("On May 5th it cost $3.50; was that much? It rose by 3.5 percent. 4.5 came.", 3),
    ("Dr. Smith met Mrs. Jones at 5 p.m. The train left at 7.30 p.m. on Jan. 5.", 2),
    ("Write to ann@example.com, or see www.example.com. It is there.", 2),
    ("J. K. Rowling lives at 10 Main St. in St. Louis. U.S. troops left Washington, D.C. The end.", 3),
    ("See fig. 3. It shows, e.g., cats, dogs, etc. The firm Acme Inc. bought Foo Ltd. It was 1984.", 4),
    ("\"No,\" he said. \"Yes.\" And on… Who are you?! Version 2.0.1 is out. It weighs 5 kg. 6 came.", 7),
])  # fmt: skip
def test_a_text_is_read_in_pieces_as_in_the_whole(speaker, monkeypatch, text, sentences):
    monkeypatch.setattr(speaker.codec, "used_length", 1000)
    pieces = speaker.pieces(text)
    assert len(pieces) == sentences
    assert _heard(speaker, [p.text for p in pieces]) == _heard(speaker, [text])
    words = [w for c in _heard(speaker, [text]) for w in c.words]
    for length in (40, 24, 14):  # nor is a number cut, as "three | point five percent" is one
        monkeypatch.setattr(speaker.codec, "used_length", length)
        pieces = speaker.pieces(text)
        assert len(pieces) > sentences
        found = [w for c in _heard(speaker, [p.text for p in pieces]) for w in c.words]
        assert "".join(found) == "".join(words)  # a word that is longer than the run is cut, too


def test_the_pause_behind_a_piece_is_that_of_its_mark(speaker):
    pauses = [p.pause for p in speaker.pieces('one? "two." four, five')]
    assert pauses == [0.4, 0.35, 0.7]


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
    with pytest.raises(RecipeError) as error:
        Speaker(speaker.run, speaker.run)
    one_line(error, "makes no waves of spectra")
    assert "None" not in str(error.value)


def test_letters_of_another_script_are_not_said_as_something_else(speaker, tmp_path, monkeypatch):
    chinese, russian = "\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u043f\u0440\u0438\u0432\u0435\u0442"
    for text, why in ((chinese, "CJK"), (russian, "Cyrillic"), (f"one {russian} two", "Cyrillic")):
        with pytest.raises(RecipeError) as error:
            speaker.say(text)
        one_line(error, f"is written in {why} letters")
    some = f"one two four six nine seven {russian}"
    assert "Cyrillic" in speaker.cannot(some)  # here letters are sounds, and these were never heard
    monkeypatch.setattr(speaker.codec, "phones", "espeak")
    assert speaker.cannot(some) == ""  # espeak-ng spells some words
    assert "Cyrillic" in speaker.cannot(f"one {russian} two")
    monkeypatch.undo()
    assert speaker.foreign(f"one {russian} two {chinese}") == [russian, chinese[:2], chinese[3:5]]
    assert (
        speaker.foreign("caf\u00e9 na\u00efve \uff21 \u00aa 12 \u00b2") == []
    )  # letters of the same script, full width or raised
    book = tmp_path / "book.md"
    book.write_text(f"# one\n\ntwo four.\n\n{chinese}\n\n# \U0001f642\n\n\U0001f642\n\n# {russian}\n\n# two\n\nnine.\n")
    told = read_book(speaker, book, tmp_path / "out", who="bass")
    assert [f.name for f in told.files] == ["01-one.flac", "04-two.flac"]
    assert min(told.seconds) > 0.1
    assert [line.partition(" is left out")[0] for line in told.left_out] == [
        "a paragraph of chapter 1",
        "chapter 2",
        "chapter 3",
    ]
    assert "no word" in told.left_out[1]
    with pytest.raises(DataError) as error:
        read_book(speaker, book, tmp_path / "none", who="bass", only=(2,))
    one_line(error, "nothing in", "chapter 2 is left out")
    assert not (tmp_path / "none").exists()


def test_numbers_are_no_words_where_letters_are_sounds(speaker, tmp_path, monkeypatch):
    """English ones are written out; those of other languages are not, so what holds nothing else is left out."""
    assert speaker.cannot("1984.") == ""
    monkeypatch.setattr(speaker.codec, "language", "it")
    assert "no word to say in '1984.'; give a text with letters" in speaker.cannot("1984.")
    assert [p.text for p in speaker.pieces("one two. 1984. four")] == ["one two.", "four"]
    book = tmp_path / "book.md"
    book.write_text("# one\n\n1984.\n\ntwo four. 1984. nine.\n\n# 2\n\n1984.\n")
    told = read_book(speaker, book, tmp_path / "out", who="bass")
    assert [line.partition(" is left out")[0] for line in told.left_out] == ["chapter 2", "a paragraph of chapter 1"][
        ::-1
    ]
    assert told.made == 2


def test_chapters_of_text_and_markdown():
    text = "Before.\n\n# One\n\nA *b* [c](d).\nStill.\n\n---\n\n- item\n\nChapter IV: The end\n\nLast."
    assert [(c.title, c.paragraphs) for c in chapters(text)] == [
        ("", ("Before.",)), ("One", ("A b c. Still.", "item")), ("Chapter IV: The end", ("Last.",))]  # fmt: skip
    wrapped = "He had read\npart of it. Then he left.\nPart one. It was\nbook club. Chapter\n\nPart owners met.\n\nbook two.\n"
    assert [c.title for c in chapters(wrapped)] == [""]
    for title in ("Chapter 12", "CHAPTER CXVII. The Fifth of October", "PART ONE", "Chapter Twenty-One: Home", "Book the Second",
                  "Chapter forty two - x", "Part First"):  # fmt: skip
        assert [c.title for c in chapters(f"{title}\nAnd so.\n\n{title}\n\nOn.")] == [title, title]
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


def test_a_profile_is_heard_kept_and_of_one_run(speaker, reference, profile, tmp_path):
    consent = allowing(reference)
    assert np.linalg.norm(profile.vector) == pytest.approx(1, abs=1e-3)
    assert (profile.name, profile.consent) == ("Ann", consent.seal)
    assert read_profile(write_profile(profile, tmp_path / "ann.json")) == profile
    assert speaker.say("one two", profile, consent=consent).seconds > 0.1
    with pytest.raises(RecipeError) as error:
        speaker.say("one", replace(profile, weights="00"), consent=consent)
    one_line(error, "another run")


def test_no_voice_of_a_person_without_their_consent(speaker, reference, profile, tmp_path):
    """Every function that hears, clones or converts a voice looks at the consent itself."""
    book = tmp_path / "book.md"
    book.write_text("one two.")
    another = Sound(reference.samples[:, 1:], reference.rate)
    bad = {
        "needs the consent": None, "revoked": revoke(allowing(reference)), "another voice": allowing(another),
        "expired": replace(allowing(reference), until=date(2020, 2, 1)),
    }  # fmt: skip
    ways = {
        "heard_profile": lambda c: heard_profile(speaker, [reference], c),
        "say": lambda c: speaker.say("one", profile, consent=c),
        "parts": lambda c: list(speaker.parts(speaker.pieces("one"), profile, consent=c)),
        "examples": lambda c: speaker.examples(["one"], profile, consent=c),
        "voice": lambda c: speaker.voice(profile, c),
        "read_book": lambda c: read_book(speaker, book, tmp_path / "read", who=profile, consent=c),
        "draw_said": lambda c: draw_said(speaker, "one", tmp_path / "said.png", profile, consent=c),
        "convert to a profile": lambda c: convert(speaker, another, profile, c),
        "convert to a voice": lambda c: convert(speaker, reference, "bass", c),
    }
    for name, way in ways.items():
        for why, consent in bad.items():
            with pytest.raises(DataError) as error:
                way(consent)
            assert why in str(error.value), name
            one_line(error)
    clones = allowing(reference, uses=("clone",))
    for name in ("convert to a profile", "convert to a voice"):
        with pytest.raises(DataError) as error:
            ways[name](clones)
        one_line(error, "not to convert")
    with pytest.raises(DataError) as error:
        ways["say"](allowing(reference, uses=("convert",)))
    one_line(error, "not to clone")
    assert not (tmp_path / "read").exists()
    assert not (tmp_path / "said.png").exists()


def test_forged_profiles_are_refused(speaker, reference, profile, tmp_path):
    good, path = json.loads(write_profile(profile, tmp_path / "ann.json").read_text()), tmp_path / "forged.json"
    another = digest(Sound(reference.samples[:, 1:], reference.rate))
    vector = list(profile.vector)
    for forged, why in (
        (good | {"recordings": [another]}, "was changed after it was made"),  # to fit a consent for another voice
        (good | {"name": "Bob"}, "was changed after it was made"),
        (good | {"seal": "00"}, "was changed after it was made"),
        (good | {"vector": [float("nan"), *vector[1:]]}, "finite"), (good | {"vector": [1e308, *vector[1:]]}, "length 1"),
        (good | {"vector": [10.0 * v for v in vector]}, "length 1"), (good | {"vector": []}, "length 1"),
        (good | {"vector": ["a"]}, "no profile"), (good | {"vector": 3}, "no profile"), ([], "no profile"), (3, "no profile"),
        ({k: v for k, v in good.items() if k != "seal"}, "without 'seal'"), ({}, "without 'name'"),
    ):  # fmt: skip
        path.write_text(json.dumps(forged))
        with pytest.raises(DataError) as error:
            read_profile(path)
        one_line(error, why)
    for data, why in ((b"", "no JSON"), (b"{", "no JSON"), (b"\xff\xfe", "no JSON"), (b"[" * 100000, "no JSON")):
        path.write_bytes(data)
        with pytest.raises(DataError) as error:
            read_profile(path)
        one_line(error, why)
    with pytest.raises(DataError) as error:
        read_profile(tmp_path / "none.json")
    one_line(error, "No such file")
    assert "Errno" not in str(error.value)
    for forged in ((1.0,), (*vector, 0.0), (float("nan"),) * len(vector)):  # its seal made anew
        with pytest.raises(DataError) as error:
            speaker.say("one", replace(profile, vector=forged), consent=allowing(reference))
        one_line(error, f"no vector of {len(vector)} finite numbers")
    assert asdict(profile) == {k: tuple(v) if isinstance(v, list) else v for k, v in good.items() if k != "seal"}


def test_recordings_without_a_voice_in_them_are_refused(speaker, reference):
    nothing = {
        "silent": np.zeros((1, 80000)), "0.00 seconds of speech": np.ones((1, 1)), "not finite": np.full((1, 80000), np.nan),
        "seconds of speech": reference.samples[:, :9000], "is silent": np.concatenate([reference.samples, -reference.samples]),
    }  # fmt: skip
    for why, samples in nothing.items():
        sound = Sound(samples.astype(np.float32), 16000)
        with pytest.raises(DataError) as error:
            heard_profile(speaker, [sound], allowing(sound))
        one_line(error, why)
    assert LEAST_SECONDS < usable(reference, "it") <= reference.seconds


def test_what_counts_of_recordings_is_the_speech_in_them(speaker, reference):
    """Not the silence between: two of 0.7 seconds each, 2.7 long, are too few, and a profile says what was heard."""
    quiet = np.zeros((1, 32000), np.float32)
    short = [Sound(np.concatenate([reference.samples[:, k : k + 11200], quiet], 1), 16000) for k in (0, 20000)]
    with pytest.raises(DataError) as error:
        heard_profile(speaker, short, allowing(*short))
    one_line(error, "the recordings of Ann hold 1.", "seconds of speech; give at least 3")
    long = Sound(np.concatenate([reference.samples, quiet], 1), 16000)
    made = heard_profile(speaker, [long, reference], allowing(long, reference), refine=0)
    assert made.seconds == pytest.approx(2 * usable(reference, "it"), abs=0.05)


def test_a_conversion_keeps_the_timing(speaker, reference):
    consent = allowing(reference)
    made = convert(speaker, reference, "bass", consent)
    assert made.seconds == pytest.approx(reference.seconds, abs=0.1)
    assert np.isfinite(made.samples).all()
    assert find_watermark(made).there
    for pitch in (5000.0, float("nan"), -24.1):
        with pytest.raises(RecipeError) as error:
            convert(speaker, reference, "bass", consent, pitch=pitch)
        one_line(error, "must lie between -24 and 24")


def test_a_conversion_moves_all_parts_by_the_same(speaker, reference, monkeypatch):
    """A recording longer than the run is heard in parts; each by itself would be moved to another height."""
    model, real, wanted, moves = speaker.run.model, [], [], []
    said, plan, moved = model.said, model.plan, model.moved

    def noted(kept, make):
        def call(*args, **knobs):
            kept.append(make(*args, **knobs))
            return kept[-1]

        return call

    def compared(given, cond, **knobs):
        before = real[len(moves)]
        moves.append((given.pitch - before.pitch)[(before.voiced * (before.frames > 0)).bool()])
        return moved(given, cond, **knobs)

    monkeypatch.setattr(model, "said", noted(real, said))
    monkeypatch.setattr(model, "plan", noted(wanted, plan))
    monkeypatch.setattr(model, "moved", compared)
    convert(speaker, reference, "bass", allowing(reference))
    assert len(moves) > 2
    guesses = [
        (w.pitch - r.pitch)[(r.voiced * (r.frames > 0)).bool()] for w, r in zip(wanted, real, strict=True)
    ]  # for each part by itself
    assert max(float(g.mean()) for g in guesses) > min(float(g.mean()) for g in guesses) + 0.01
    shift = float(torch.cat(guesses).mean())
    for found in moves:
        assert float(found.median()) == pytest.approx(shift, abs=1e-4)


def test_segments_are_the_sounds_that_were_there():
    truth = [3, 3, 3, 5, 5, 5, 5, 2, 2, 2]
    scores = torch.full((10, 8), 0.05)
    scores[range(10), truth] = 0.8
    scores[4] = torch.tensor([0, 0, 0, 0.55, 0, 0.4, 0, 0]) + 0.01  # a slip of one frame is none
    assert segments(scores.log(), 2, 10) == ([3, 5, 2], [3, 4, 3])
    tokens, frames = segments(scores.log(), 2, 2)
    assert len(tokens) == 2
    assert sum(frames) == 10
