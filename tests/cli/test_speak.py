"""``bottega speak`` as a command: nothing of a person's voice without consent, status 2 and one line."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("soundfile", reason="sound files need soundfile, extra audio, which is not installed")
pytest.importorskip("soxr", reason="resampling needs soxr, extra audio, which is not installed")

import bottega
from bottega.codecs._sound_files import write_sound
from bottega.core import Rng, Sound
from bottega.data._sounds import spoken
from bottega.trust.mark import read

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
    told = call("speak", "say", "\U0001f642", "--run", studio / "run", "--out", tmp_path / "b.wav")
    assert (told.status, told.err.count("\n")) == (2, 1)


def test_a_book_is_read(call, studio, tmp_path):
    (tmp_path / "book.txt").write_text("# one\n\none two.\n")
    told = call("speak", "read", tmp_path / "book.txt", "--run", studio / "run", "--format", "wav", "--out", tmp_path / "out", "--json")  # fmt: skip
    assert told.status == 0, told.err
    assert len(told.json["files"]) == 1
    assert Path(told.json["files"][0]).suffix == ".wav"


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
