"""The desk as a command: files in, files out, one-line errors."""

import numpy as np
import pytest

from bottega.codecs._sound_files import read_sound, write_sound
from bottega.core import Sound
from bottega.data._sounds import multitrack
from bottega.trust.mark import read

sf = pytest.importorskip("soundfile", reason="sound files need soundfile, extra audio, which is not installed")
pytest.importorskip("pyloudnorm", reason="loudness needs pyloudnorm, extra audio, which is not installed")


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A folder of stems, and ``mix.wav`` beside it."""
    here, band = tmp_path_factory.mktemp("studio"), multitrack(n=1, seconds=4.0, rate=16000)
    for name, sound in band.truth["stems"][0].items():
        write_sound(sound, here / "stems" / f"{name}.wav", bits=24)
    write_sound(band.items[0].value, here / "mix.wav")
    return here


def test_stems_are_mixed_and_mastered(call, studio, tmp_path):
    told = call(
        "mix", "stems", studio / "stems", "--out", tmp_path / "a.wav", "--picture", tmp_path / "a.png", "--json"
    )
    assert told.status == 0, told.err
    made = told.json
    assert {t["name"] for t in made["tracks"]} == {"drums", "bass", "chords", "lead"}
    assert made["masking_after"] < made["masking_before"]
    assert read(tmp_path / "a.wav")["recipe"] == "mix mix"
    assert (tmp_path / "a.png").stat().st_size > 5000
    told = call(
        "mix", "master", tmp_path / "a.wav", "--reference", studio / "mix.wav", "--wet", "compressor=0.5", "--json"
    )
    assert told.status == 0, told.err
    assert told.json["reached"]
    assert abs(told.json["stages"][-1]["lufs"] + 14) <= 0.5
    told = call("mix", "measure", tmp_path / "a-master.wav", "--to", tmp_path / "a.wav", "--json")
    (row,) = told.json["files"]
    assert row["true_peak_db"] <= -0.99
    assert row["si_sdr_db"] > 5


def test_effects_repair_and_design_write_what_they_say(call, studio, tmp_path):
    told = call(
        "mix",
        "effect",
        studio / "mix.wav",
        "high_pass hz=80",
        "reverb seconds=0.5 wet=0.2",
        "--out",
        tmp_path / "b.flac",
    )
    assert told.status == 0, told.err
    assert "real time factor" in told.out
    assert sf.info(tmp_path / "b.flac").subtype == "PCM_24"
    told = call("mix", "repair", studio / "mix.wav")
    assert (told.status, "nothing is wrong" in told.out) == (0, True)
    assert not (studio / "mix-repaired.wav").exists()
    x = read_sound(studio / "mix.wav")
    write_sound(Sound(np.clip(x.samples * 9, -1, 1), x.rate), tmp_path / "hot.wav")
    told = call("mix", "repair", tmp_path / "hot.wav", "--check", "--json")
    assert told.status == 3
    assert "clipping" in {f["name"] for f in told.json["findings"]}
    told = call("mix", "design", "--brightness", "2000", "--noisiness", "0.05", "--seconds", "0.4", "--rate", "16000",
                "--out", tmp_path / "c.wav", "--json")  # fmt: skip
    assert told.status == 0, told.err
    assert told.json["off_percent"] < 10
    assert read(tmp_path / "c.wav")["machine_made"] == "true"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("stems", "{}/mix.wav"), ("1 stem",)),
        (("stems", "{}/stems", "--trim", "leed=1"), ("leed", "lead")),
        (("stems", "{}/stems", "--trim", "lead=x"), ("lead=x",)),
        (("master", "{}/none.wav"), ("none.wav",)),
        (("master", "{}/mix.wav", "--wet", "limitr=1"), ("limitr",)),
        (("master", "{}/mix.wav", "--out", "{}/mix.wav"), ("another place",)),
        (("effect", "{}/mix.wav", "peek hz=3"), ("peek", "peak")),
        (("repair", "{}/mix.wav", "--bits", "12"), ("12 is no depth",)),
        (("repair", "{}/mix.wav", "--like", "{}/none"), ("none",)),
        (("design", "--brightness", "1", "--noisiness", "0.1"), ("brightness",)),
        (("measure", "{}/one.wav"), ("one.wav", "lasts", "0.4")),
        (("master", "{}/wide.wav"), ("8 channels",)),
        (("master", "{}/nan.wav"), ("not finite",)),
        (("master", "{}/silent.wav"), ("silent",)),
    ],
)
def test_a_mistake_is_one_line_and_status_2(call, studio, args, words):
    if not (studio / "one.wav").exists():
        sf.write(studio / "one.wav", np.ones(1), 16000)
        sf.write(studio / "wide.wav", np.ones((96000, 8)) / 2, 192000, subtype="PCM_24")
        sf.write(studio / "nan.wav", np.full(16000, np.nan), 16000, subtype="FLOAT")
        sf.write(studio / "silent.wav", np.zeros(16000), 16000)
    before = sorted(p.name for p in studio.iterdir())
    told = call("mix", *(a.format(studio) for a in args))
    assert told.status == 2, told.out
    assert len(told.err.strip().splitlines()) == 1
    for word in words:
        assert word in told.err
    assert sorted(p.name for p in studio.iterdir()) == before
