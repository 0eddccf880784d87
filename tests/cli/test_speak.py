"""``bottega speak`` as a command: nothing of a person's voice without consent, status 2 and one line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("soundfile", reason="sound files need soundfile, extra audio, which is not installed")
pytest.importorskip("soxr", reason="resampling needs soxr, extra audio, which is not installed")

import bottega
from bottega.codecs._sound_files import decoded, read_sound, write_sound
from bottega.core import Item, Rng, Sound
from bottega.crafts.speak import Speaker
from bottega.data._sounds import spoken
from bottega.serve.wrapping import file_of
from bottega.trust.mark import read
from bottega.trust.watermark import watermarked
from bottega.workshop.pieces import Pieces
from bottega.workshop.run import blank_evidence

RECIPE = """
[data]
name = "speech"
n = 24
label = "transcript"
[codec]
name = "speech"
phones = "letters"
iterations = 2
length = 24
[family]
name = "fastspeech"
size = 8
depth = 1
[train]
steps = 2
batch = 8
"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Path:
    """A run, two recordings of 3 seconds."""
    here = tmp_path_factory.mktemp("studio")
    (here / "small.toml").write_text(RECIPE)
    bottega.train(here / "small.toml", out=here / "run", judge=False)
    for name, voice in (("ann", "alto"), ("bob", "bass")):
        x = np.concatenate([spoken(["one", "four", "nine", "two", "seven"], voice, Rng(k))[0] for k in range(3)])
        write_sound(Sound(x[None].astype(np.float32), 16000), here / f"{name}.wav")
    return here


def _consent(call, studio, name, *more):
    told = call("speak", "consent", "--who", "Ann Lee", "--voice", studio / "ann.wav", "--purpose", "a test", "--until", "2999-01-01",
                "--out", studio / name, *more)  # fmt: skip
    assert told.status == 0, told.err
    return studio / name


def test_a_text_is_said(call, studio, tmp_path):
    told = call("speak", "say", "one two.", "--run", studio / "run", "--voice", "alto", "--speed", "1.2", "--out", tmp_path / "a.wav", "--json")  # fmt: skip
    assert told.status == 0, told.err
    assert told.json["voice"] == "alto"
    assert read(tmp_path / "a.wav")["voice"] == "alto"
    for more, why in ((["--voice", "nobody"], "unknown voice"), (["--emotion", "hapy"], "happy")):
        told = call("speak", "say", "one", "--run", studio / "run", *more, "--out", tmp_path / "b.wav")
        assert told.status == 2
        assert why in told.err
        assert not (tmp_path / "b.wav").exists()
    latin, gone = tmp_path / "latin.txt", tmp_path / "gone.txt"
    latin.write_bytes(b"caf\xe9")
    for text, why in ((latin, "is not UTF-8 text"), (gone, "No such file"), ("\u4f60\u597d", "CJK letters")):
        told = call("speak", "say", text, "--run", studio / "run", "--out", tmp_path / "b.wav")
        assert (told.status, told.err.count("\n")) == (2, 1)
        assert why in told.err
        assert "Errno" not in told.err
        assert "codec" not in told.err
    told = call("speak", "say", "\U0001f642", "--run", studio / "run", "--out", tmp_path / "b.wav")
    assert (told.status, told.err.count("\n")) == (2, 1)


def test_text_that_ends_like_a_file_is_text_where_there_is_none(call, studio, tmp_path):
    run = ["--run", studio / "run", "--out", tmp_path / "a.wav", "--json"]
    short, long = tmp_path / "one word.txt", tmp_path / "words.md"
    short.write_text("one")
    long.write_text("one two four six five one two.")
    seconds = [call("speak", "say", text, *run).json["seconds"] for text in (short, "one", long, long.read_text())]
    assert seconds[0] == seconds[1] < seconds[2] == seconds[3]
    told = call("speak", "say", "one two four .txt", *run)
    assert told.status == 0, told.err
    (told,) = call("speak", "say", "words.txt", *run).err.splitlines()
    assert "cannot read words.txt" in told


PLACES = {
    "say": (["one", "--run", "none"], ["said.mp3", "ann.wav/a.wav"]),
    "clone": (["one", "--reference", "ann.wav", "--run", "none"], ["said.mp3", "ann.wav/a.wav", "ann.wav"]),
    "convert": (["bob.wav", "--reference", "ann.wav", "--run", "none"], ["said.ogg", "ann.wav", "bob.wav", "ann.wav/a.wav"]),
    "profile": (["--reference", "ann.wav", "--run", "none"], ["ann.wav", "ann.wav/a.json"]),
    "consent": (["--who", "Ann", "--voice", "ann.wav", "--purpose", "it", "--until", "2999-01-01"], ["ann.wav", "bob.wav/a.toml"]),
    "read": (["none.md", "--run", "none"], ["ann.wav", "ann.wav/book"]),
    "mouth": (["ann.csv"], ["ann.csv", "ann.wav/a.csv"]),
}  # fmt: skip


@pytest.mark.parametrize(("task", "out"), [(task, out) for task, (_, outs) in PLACES.items() for out in outs])
def test_a_place_is_refused_before_the_work_and_nothing_is_written_over(call, studio, monkeypatch, task, out):
    """The run that is not there, too, would be told later."""
    monkeypatch.chdir(studio)
    if task == "mouth":
        (studio / "ann.csv").write_bytes((studio / "ann.wav").read_bytes())
    before = {path: path.read_bytes() for path in studio.rglob("*") if path.is_file()}
    told = call("speak", task, *PLACES[task][0], "--out", out)
    assert told.status == 2
    (line,) = told.err.splitlines()
    assert out in line
    assert "none" not in line
    assert {path: path.read_bytes() for path in studio.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("picture", ["ann.wav/a.png", "out.txt", "out.wav"])
def test_a_picture_that_cannot_be_drawn_leaves_no_sound(call, studio, tmp_path, picture):
    told = call(
        "speak", "say", "one", "--run", studio / "run", "--out", tmp_path / "out.wav", "--picture", studio / picture
    )
    assert (told.status, told.err.count("\n"), "--picture" in told.err) == (2, 1, True)
    assert not list(tmp_path.iterdir())
    told = call(
        "speak", "mouth", studio / "ann.wav", "--out", tmp_path / "a.csv", "--picture", studio / "ann.wav" / "a.gif"
    )
    assert (told.status, told.err.count("\n"), "--picture" in told.err) == (2, 1, True)
    assert not list(tmp_path.iterdir())


def test_a_book_is_read(call, studio, tmp_path):
    (tmp_path / "book.txt").write_text("# one\n\none two.\n")
    told = call("speak", "read", tmp_path / "book.txt", "--run", studio / "run", "--format", "wav", "--out", tmp_path / "out", "--json")  # fmt: skip
    assert told.status == 0, told.err
    assert len(told.json["files"]) == 1
    assert Path(told.json["files"][0]).suffix == ".wav"
    (tmp_path / "book.txt").write_text("# one\n\none two.\n\n# \U0001f642\n\n\U0001f642\n")
    told = call("speak", "read", tmp_path / "book.txt", "--run", studio / "run", "--out", tmp_path / "more")
    assert told.status == 0, told.err
    assert "chapter 2 is left out: there is no word" in told.err
    assert len(list((tmp_path / "more").glob("*.flac"))) == 1
    for which in ("x", "0", "0-1"):
        told = call("speak", "read", tmp_path / "book.txt", "--run", studio / "run", "--chapters", which, "--out", tmp_path / "no")  # fmt: skip
        assert (told.status, told.err.count("\n")) == (2, 1)
        assert f"{which!r} is no chapter; write 1-15" in told.err


def test_no_voice_of_a_person_without_their_consent(call, studio, tmp_path):
    good = _consent(call, studio, "good.toml")
    short = _consent(call, studio, "short.toml", "--from", "2020-01-01", "--until", "2020-12-31")
    only = _consent(call, studio, "only.toml", "--use", "clone")
    revoked = _consent(call, studio, "revoked.toml")
    assert call("speak", "consent", "--revoke", revoked).status == 0
    run, out = ["--run", studio / "run"], tmp_path / "a.wav"
    for how, why in (
        ([], "needs the consent"), (["--consent", short], "expired"), (["--consent", revoked], "revoked"),
        (["--consent", tmp_path / "none.toml"], "no consent record"),
    ):  # fmt: skip
        told = call("speak", "clone", "one", "--reference", studio / "ann.wav", *how, *run, "--out", out)
        assert told.status == 2
        assert why in told.err
        assert told.err.count("\n") == 1
        told = call("speak", "convert", studio / "bob.wav", "--reference", studio / "ann.wav", *how, *run, "--out", out)
        assert told.status == 2
        assert why in told.err
    told = call("speak", "clone", "one", "--reference", studio / "bob.wav", "--consent", good, *run, "--out", out)
    assert (told.status, "another voice" in told.err) == (2, True)
    told = call(
        "speak", "convert", studio / "bob.wav", "--reference", studio / "ann.wav", "--consent", only, *run, "--out", out
    )
    assert (told.status, "not to convert" in told.err) == (2, True)
    told = call("speak", "convert", studio / "bob.wav", "--voice", "alto", *run, "--out", out)
    assert (told.status, "needs the consent" in told.err) == (2, True)
    assert not out.exists()
    told = call("speak", "clone", "one two", "--reference", studio / "ann.wav", "--consent", good, *run, "--out", out)
    assert told.status == 0, told.err
    said = read(out)
    assert (said["voice_of"], said["purpose"], said["machine_made"]) == ("Ann Lee", "a test", "true")
    told = call("speak", "convert", studio / "bob.wav", "--reference", studio / "ann.wav", "--consent", good, *run, "--out", tmp_path / "c.flac")  # fmt: skip
    assert told.status == 0, told.err
    assert read(tmp_path / "c.flac")["consent"] == said["consent"]


def test_a_profile_needs_its_consent_each_time(call, studio, tmp_path):
    good, run = _consent(call, studio, "good.toml"), ["--run", studio / "run"]
    told = call(
        "speak", "profile", "--reference", studio / "ann.wav", "--consent", good, *run, "--out", tmp_path / "ann.json"
    )
    assert told.status == 0, told.err
    told = call("speak", "say", "one", "--profile", tmp_path / "ann.json", *run, "--out", tmp_path / "a.wav")
    assert (told.status, "needs the consent" in told.err) == (2, True)
    told = call(
        "speak",
        "say",
        "one",
        "--profile",
        tmp_path / "ann.json",
        "--consent",
        good,
        *run,
        "--out",
        tmp_path / "a.wav",
        "--json",
    )
    assert told.status == 0, told.err
    assert told.json["voice"] == "Ann Lee"
    assert json.loads((tmp_path / "ann.json").read_text())["name"] == "Ann Lee"
    forged = json.loads((tmp_path / "ann.json").read_text()) | {"recordings": ["00" * 32]}
    (tmp_path / "forged.json").write_text(json.dumps(forged))
    for name, why in (("forged.json", "was changed after it was made"), ("none.json", "No such file")):
        told = call("speak", "say", "one", "--profile", tmp_path / name, "--consent", good, *run, "--out", tmp_path / "b.wav")  # fmt: skip
        assert (told.status, told.err.count("\n")) == (2, 1)
        assert why in told.err
        assert "Errno" not in told.err
    assert not (tmp_path / "b.wav").exists()


def test_a_consent_is_about_a_voice_and_its_dates(call, studio, tmp_path):
    write_sound(Sound(np.zeros((1, 48000), np.float32), 16000), tmp_path / "silent.wav")
    write_sound(Sound(np.full((1, 1), 0.5, np.float32), 16000), tmp_path / "sample.wav")
    out = tmp_path / "new.toml"
    base = ["speak", "consent", "--who", "Ann", "--purpose", "a test", "--out", out]
    for more, why in (
        (["--voice", studio / "ann.wav", "--from", "2026-01-01", "--until", "2027-13-45"], "--until '2027-13-45' is no date"),
        (["--voice", studio / "ann.wav", "--from", "2026-02-30", "--until", "2027-01-01"], "--from '2026-02-30' is no date"),
        (["--voice", tmp_path / "silent.wav", "--until", "2999-01-01"], "silent.wav is silent"),
        (["--voice", tmp_path / "sample.wav", "--until", "2999-01-01"], "sample.wav holds 0.00 seconds of speech"),
    ):  # fmt: skip
        told = call(*base, *more)
        assert (told.status, told.err.count("\n")) == (2, 1)
        assert why in told.err
        assert not out.exists()
    for name in ("--who", "--purpose"):  # as bytes that are no UTF-8 come from a shell
        told = call(*base, "--voice", studio / "ann.wav", "--until", "2999-01-01", name, "\udcff")
        assert (told.status, told.err.count("\n"), "write it in UTF-8" in told.err) == (2, 1, True)
        assert not out.exists()
    record = _consent(call, studio, "again.toml")
    before = record.read_text()
    for more in (["--who", "Bob"], ["--until", "2030-01-01"], ["--voice", studio / "ann.wav"], ["--use", "clone"], ["--out", out]):  # fmt: skip
        told = call("speak", "consent", "--revoke", record, *more)
        assert told.status == 2
        assert more[0] in told.err
    assert record.read_text() == before
    assert call("speak", "consent", "--revoke", record).status == 0
    assert record.read_text() != before


def test_a_pitch_out_of_range_makes_nothing(call, studio, tmp_path):
    good, run = _consent(call, studio, "good.toml"), ["--run", studio / "run"]
    for pitch in ("5000", "nan", "-25"):
        told = call("speak", "convert", studio / "bob.wav", "--reference", studio / "ann.wav", "--consent", good, *run,
                    "--pitch", pitch, "--out", tmp_path / "c.wav")  # fmt: skip
        assert (told.status, told.err.count("\n")) == (2, 1)
        assert f"pitch would be {pitch}; it must lie between -24 and 24" in told.err
    assert not (tmp_path / "c.wav").exists()


def test_mark_and_watermark_are_shown(call, studio, tmp_path):
    """Of what a run made, of the same without its comment, and of a recording that nobody made."""
    speaker, ann = Speaker.of(studio / "run"), read_sound(studio / "ann.wav")
    speaker.save(speaker.joined([ann.samples[0]] * 3), tmp_path / "a.wav")
    told = call("show", tmp_path / "a.wav", "--json").json
    assert told["marked"]
    assert told["watermark"]["found"]
    assert told["watermark"]["deviations"] > told["watermark"]["sure"]
    assert "watermark  found: its pattern stands out by" in call("show", tmp_path / "a.wav").out
    write_sound(read_sound(tmp_path / "a.wav"), tmp_path / "bare.wav")
    told = call("show", tmp_path / "bare.wav", "--json").json
    assert (told["marked"], told["watermark"]["found"]) == (False, True)
    told = call("show", studio / "ann.wav", "--json").json
    assert (told["marked"], told["watermark"]["found"]) == (False, False)
    write_sound(Sound(np.full((1, 800), 0.5, np.float32), 16000), tmp_path / "short.wav")
    assert "0.05 seconds are too few" in call("show", tmp_path / "short.wav").out
    for samples, rate, why in (
        (0, 16000, "it is silent"),
        (0.5, 3000, "it has 3000 samples a second, 4000 are needed"),
    ):
        write_sound(Sound(np.full((1, 2 * rate), samples, np.float32), rate), tmp_path / "nothing.wav")
        assert f"not looked for: {why}" in call("show", tmp_path / "nothing.wav").out
        assert call("show", tmp_path / "nothing.wav", "--json").json["watermark"] is None
    (tmp_path / "none.wav").write_bytes(b"RIFF")
    told = call("show", tmp_path / "none.wav")
    assert (told.status, told.err.count("\n")) == (2, 1)


def test_pieces_of_a_run_of_speech_have_the_watermark(studio, tmp_path):
    run, ann = bottega.load(studio / "run"), read_sound(studio / "ann.wav")
    (path,) = Pieces(run, [Item(ann, "alto|one")], [3], torch.zeros(1)).save(tmp_path / "pieces")
    written = read_sound(path)
    assert np.abs(written.samples - ann.samples).max() > 0.01
    assert np.abs(written.samples - watermarked(ann).samples).max() < 2**-14
    assert blank_evidence(run).marks["watermark"] == "in the sound"
    sent, kind = file_of(run, Item(ann, "alto|one"), 3)  # as the server has it
    assert kind == "audio/wav"
    assert np.array_equal(decoded(sent, "it").samples, written.samples)
