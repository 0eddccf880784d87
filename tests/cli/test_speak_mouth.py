"""``bottega speak mouth`` as a command: a curve, a drawing, and one line where it cannot be."""

import csv

import numpy as np
import pytest

pytest.importorskip("soundfile", reason="sound files need soundfile, extra audio, which is not installed")
pytest.importorskip("soxr", reason="resampling needs soxr, extra audio, which is not installed")

import bottega
from bottega.codecs._sound_files import write_sound
from bottega.core import Rng, Sound
from bottega.data._sounds import spoken

RECIPE = """
[data]
name = "speech"
n = 24
words = 3
label = "transcript"
[codec]
name = "speech"
phones = "letters"
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
def here(tmp_path_factory):
    """A run, a recording of two words, a silent one."""
    path = tmp_path_factory.mktemp("mouths")
    (path / "small.toml").write_text(RECIPE)
    bottega.train(path / "small.toml", out=path / "run", judge=False)
    x = spoken(["one", "four"], "alto", Rng(0))[0]
    write_sound(Sound(x[None].astype(np.float32), 16000), path / "said.wav")
    write_sound(Sound(np.zeros((1, 16000), np.float32), 16000), path / "silent.wav")
    return path


def test_a_curve_and_a_drawing(call, here, tmp_path):
    told = call("speak", "mouth", here / "said.wav", "--out", tmp_path / "a.csv", "--fps", "30", "--picture", tmp_path / "a.gif", "--json")  # fmt: skip
    assert told.status == 0, told.err
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert len(rows) == told.json["frames"] == np.ceil(told.json["seconds"] * 30 - 1e-9)
    assert {row["sound"] for row in rows} == {""}
    assert (tmp_path / "a.gif").read_bytes()[:4] == b"GIF8"


def test_with_what_is_said(call, here, tmp_path):
    told = call("speak", "mouth", here / "said.wav", "--run", here / "run", "--text", "one four", "--out", tmp_path / "a.csv")  # fmt: skip
    assert told.status == 0, told.err
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert {"o", "f", "r"} <= {row["sound"] for row in rows}


@pytest.mark.parametrize(("more", "words"), [
    (["said.wav", "--out", "a.txt"], "ends in .txt; name a file that ends in .csv or .json"),
    (["said.wav", "--picture", "a.mp4"], "ends in .mp4; name a file that ends in .gif or .png"),
    (["said.wav", "--fps", "0"], "give 1 to 120"),
    (["said.wav", "--fps", "nan"], "give 1 to 120"),
    (["silent.wav"], "silent.wav: the recording is silent"),
    (["nothing.wav"], "nothing.wav"),
    (["said.wav", "--text", "one"], "--run and --text"),
    (["said.wav", "--run", "run"], "--run and --text"),
    (["said.wav", "--run", "run", "--text", "!!"], "no word"),
    (["said.wav", "--run", "run", "--text", "xylophone"], "never heard"),
])  # fmt: skip
def test_what_cannot_be_is_said_in_one_line_and_nothing_is_written(call, here, tmp_path, monkeypatch, more, words):
    monkeypatch.chdir(here)
    out = [] if "--out" in more else ["--out", tmp_path / "a.csv"]
    told = call("speak", "mouth", *more, *out)
    assert told.status == 2
    assert words in told.err
    assert not list(tmp_path.iterdir())
    assert not (here / "a.txt").exists()
