"""What the desk cannot work on, through each of its tasks: one line that names the file, status 2, and nothing is written."""

import numpy as np
import pytest

from bottega.codecs._sound_files import read_sound, write_sound
from bottega.core import Sound

sf = pytest.importorskip("soundfile", reason="sound files need soundfile, extra audio, which is not installed")
pytest.importorskip("pyloudnorm", reason="loudness needs pyloudnorm, extra audio, which is not installed")

RATE = 16000


def wave(seconds=1.2, hz=220.0, level=0.3, rate=RATE):
    """Notes of a fifth of a second, with gaps."""
    at = np.arange(round(seconds * rate)) / rate
    return level * np.sin(2 * np.pi * hz * at) * (at % 0.4 < 0.2)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    here = tmp_path_factory.mktemp("sounds")
    sf.write(here / "good.wav", wave(), RATE)
    sf.write(here / "other.wav", wave(hz=700.0), RATE)
    sf.write(here / "silent.wav", np.zeros(RATE), RATE)
    sf.write(here / "one.wav", np.ones(1) / 2, RATE)
    sf.write(here / "nan.wav", np.where(np.arange(RATE) == 800, np.nan, wave(1.0)), RATE, subtype="FLOAT")
    sf.write(here / "wide.wav", np.tile(wave(0.5, rate=192_000)[:, None], (1, 8)), 192_000, subtype="PCM_24")
    sf.write(here / "deep.wav", wave(), RATE, subtype="PCM_24")
    sf.write(here / "float.wav", wave(), RATE, subtype="FLOAT")
    sf.write(here / "clipped.wav", np.clip(9 * wave(), -1, 1), RATE)
    sf.write(here / "longer.wav", wave(1.5), RATE)
    sf.write(here / "faster.wav", wave(rate=22050), 22050)
    for name in ("silent", "one", "nan"):  # folders with one good and one bad
        (here / f"with-{name}").mkdir()
        for inside in ("good", name):
            (here / f"with-{name}" / f"{inside}.wav").write_bytes((here / f"{inside}.wav").read_bytes())
    return here


TASKS = {
    "effect": ("effect", "{bad}", "high_pass hz=80"),
    "enhance": ("enhance", "{bad}", "--with", "{here}/no-run"),
    "master": ("master", "{bad}"),
    "reference": ("master", "{here}/good.wav", "--reference", "{bad}"),
    "repair": ("repair", "{bad}"),
    "check": ("repair", "{bad}", "--check"),
    "like": ("repair", "{here}/good.wav", "--like", "{bad}"),
    "room": ("repair", "{here}/good.wav", "--room", "{bad}"),
    "roomless": ("repair", "{bad}", "--room", "{here}/good.wav"),
    "stems": ("stems", "{here}/good.wav", "{bad}", "--pad"),
    "mix like": ("stems", "{here}/good.wav", "{here}/other.wav", "--like", "{bad}"),
    "measure": ("measure", "{bad}"),
    "measure to": ("measure", "{here}/good.wav", "--to", "{bad}"),
    "library": ("design", "--brightness", "2000", "--noisiness", "0.01", "--seconds", "0.3", "--library", "{bad}"),
}
BAD = {"silent": "is silent", "one": "lasts", "nan": "not finite", "wide": "8 channels"}
TAKES_EIGHT = {"effect", "enhance", "library"}


@pytest.mark.parametrize(
    ("task", "bad"), [(task, bad) for task in TASKS for bad in BAD if bad != "wide" or task not in TAKES_EIGHT]
)
def test_a_bad_file_is_named_in_one_line_and_nothing_is_written(call, files, monkeypatch, task, bad):
    monkeypatch.chdir(files)
    before = sorted(files.rglob("*"))
    told = call("mix", *(part.format(here=files, bad=files / f"{bad}.wav") for part in TASKS[task]))
    assert told.status == 2, told.out
    (line,) = told.err.strip().splitlines()
    assert str(files / f"{bad}.wav") in line
    assert BAD[bad] in line
    assert told.out == ""
    assert sorted(files.rglob("*")) == before


@pytest.mark.parametrize("bad", ["silent", "one", "nan"])
@pytest.mark.parametrize("task", ["reference", "like", "library", "stems"])
def test_of_a_folder_the_bad_file_is_named(call, files, monkeypatch, task, bad):
    monkeypatch.chdir(files)
    before = sorted(files.rglob("*"))
    words = ("stems", "{bad}", "--pad") if task == "stems" else TASKS[task]
    told = call("mix", *(part.format(here=files, bad=files / f"with-{bad}") for part in words))
    assert told.status == 2, told.out
    (line,) = told.err.strip().splitlines()
    assert f"with-{bad}/{bad}.wav" in line
    assert sorted(files.rglob("*")) == before


@pytest.mark.parametrize("good", ["deep", "float", "clipped"])
@pytest.mark.parametrize("task", ["effect", "master", "repair", "check", "stems", "measure"])
def test_other_depths_and_clipped_recordings_are_worked_on(call, files, tmp_path, monkeypatch, task, good):
    monkeypatch.chdir(tmp_path)
    out = () if task in {"check", "measure"} else ("--out", tmp_path / "made.wav")
    told = call("mix", *(part.format(here=files, bad=files / f"{good}.wav") for part in TASKS[task]), *out, "--json")
    assert told.status == (3 if task == "check" else 0), told.err  # a note of 220 Hz alone is boomy
    if task in {"effect", "master", "stems"}:
        assert np.isfinite(sf.read(tmp_path / "made.wav")[0]).all()
    if task in {"repair", "check"}:
        assert ("clipping" in {f["name"] for f in told.json["findings"]}) == (good == "clipped")
    if task in {"master", "stems"}:
        assert ("clipped.wav is clipped" in told.err or "clipped is clipped" in told.err) == (good == "clipped")


def test_eight_channels_at_192_khz_go_through_effects_and_into_a_library(call, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = call("mix", "effect", files / "wide.wav", "high_pass hz=80", "--out", tmp_path / "a.wav", "--json")
    assert told.status == 0, told.err
    info = sf.info(tmp_path / "a.wav")
    assert (info.channels, info.samplerate, info.frames) == (8, 192_000, 96_000)
    (tmp_path / "known").mkdir()
    for name in ("wide", "good"):
        (tmp_path / "known" / f"{name}.wav").write_bytes((files / f"{name}.wav").read_bytes())
    words = (part.format(here=files, bad=tmp_path / "known") for part in TASKS["library"])
    told = call("mix", *words, "--json")
    assert told.status == 0, told.err
    assert told.json["nearest"] in {"wide.wav", "good.wav"}


@pytest.mark.parametrize(
    ("stems", "words"),
    [(("good", "longer"), ("longer 1.500 s", "--pad")), (("good", "faster"), ("faster 22050 Hz", "--rate"))],
)
def test_stems_of_unequal_length_or_rate_are_named(call, files, tmp_path, monkeypatch, stems, words):
    monkeypatch.chdir(tmp_path)
    told = call("mix", "stems", *(files / f"{name}.wav" for name in stems))
    assert told.status == 2
    (line,) = told.err.strip().splitlines()
    for word in words:
        assert word in line
    assert not list(tmp_path.rglob("*"))


def test_one_bad_file_of_many_is_named_after_the_others_are_measured(call, files):
    told = call("mix", "measure", *(files / f"{name}.wav" for name in ("silent", "good", "wide", "deep")), "--json", "--quiet")  # fmt: skip
    assert told.status == 2
    assert [row["file"] for row in told.json["files"]] == [str(files / f"{name}.wav") for name in ("good", "deep")]
    assert [row["file"] for row in told.json["refused"]] == [str(files / f"{name}.wav") for name in ("silent", "wide")]
    lines = told.err.strip().splitlines()
    assert ["silent" in lines[0], "8 channels" in lines[1], len(lines)] == [True, True, 2]


def test_channels_that_cancel_each_other_are_measured_without_a_colour(call, tmp_path):
    x = wave()
    sf.write(tmp_path / "a.wav", np.stack([x, -x], 1), RATE, subtype="FLOAT")
    told = call("mix", "measure", tmp_path / "a.wav", "--json")
    assert told.status == 0, told.err
    assert "brightness_hz" not in told.json["files"][0]
    assert told.json["files"][0]["lufs"] < 0


def test_a_hit_in_a_long_piece_is_a_stem_and_a_sample_is_none(call, files, tmp_path, recwarn):
    """Of a second's hit in a minute no moment may be among the hundred by which places and cuts are chosen."""
    at = np.arange(60 * 8000) / 8000
    sf.write(tmp_path / "long.wav", 0.3 * np.sin(2 * np.pi * 300 * at) * (at % 0.5 < 0.3), 8000)
    sf.write(tmp_path / "hit.wav", 0.5 * np.random.default_rng(0).standard_normal(480).clip(-1.9, 1.9), 8000)
    told = call("mix", "stems", tmp_path / "long.wav", tmp_path / "hit.wav", "--pad", "--out", tmp_path / "mix.wav", "--json")  # fmt: skip
    assert told.status == 0, told.err
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]
    assert "divide" not in told.err
    assert all(np.isfinite(t["gain_db"]) for t in told.json["tracks"])
    sf.write(tmp_path / "tick.wav", np.ones(300) / 2, 8000)  # 0.0375 seconds
    told = call("mix", "stems", tmp_path / "long.wav", tmp_path / "tick.wav", "--pad", "--out", tmp_path / "b.wav")
    assert (told.status, "tick.wav" in told.err, "0.05" in told.err) == (2, True, True)
    assert not (tmp_path / "b.wav").exists()


PLACES = [
    (("--bits", "12"), "12 is no depth"),
    (("--out", "{here}/x.mp3"), ".mp3"),
    (("--out", "{here}/x.ogg"), ".ogg"),
    (("--out", "{here}/x.flac", "--bits", "32"), "FLAC"),
    (("--out", "{here}/good.wav/x.wav"), "is no folder"),
    (("--picture", "{here}/good.wav/x.png"), "--picture"),
]
DRAW = ("master", "repair", "stems")


@pytest.mark.parametrize(
    ("task", "words", "said"),
    [
        (task, *place)
        for task in (*DRAW, "effect", "library", "enhance")
        for place in (PLACES if task in DRAW else PLACES[:-1])
    ],
)
def test_a_place_is_refused_before_the_work(call, files, monkeypatch, task, words, said):
    """The work would fail or take long: a recording that is not there is what comes after the place."""
    monkeypatch.chdir(files)
    before = sorted(files.rglob("*"))
    told = call("mix", *(part.format(here=files, bad=files / "none.wav") for part in (*TASKS[task], *words)))
    assert told.status == 2
    (line,) = told.err.strip().splitlines()
    assert said in line
    assert "none.wav" not in line
    assert sorted(files.rglob("*")) == before


def test_a_check_that_writes_nothing_takes_no_place(call, files):
    told = call("mix", "repair", files / "good.wav", "--check", "--out", files / "x.wav")
    assert (told.status, "--out" in told.err) == (2, True)


@pytest.mark.parametrize(
    ("task", "option", "said"),
    [("master", "--wet", "limiter"), ("stems", "--trim", "good")],
)
def test_an_amount_that_is_none_is_named_with_its_option(call, files, task, option, said):
    words = [part.format(here=files, bad=files / "other.wav") for part in TASKS[task]]
    for value in (said, f"{said}=much"):
        told = call("mix", *words, option, value)
        assert told.status == 2
        (line,) = told.err.strip().splitlines()
        assert option in line
        assert value in line


def test_a_very_short_sound_has_no_speed(call, tmp_path):
    write_sound(Sound(wave(0.05)[None].astype(np.float32), RATE), tmp_path / "a.wav")
    told = call("mix", "effect", tmp_path / "a.wav", "high_pass hz=80", "--json")
    assert told.status == 0, told.err
    assert told.json["real_time_factor"] is None
    assert "real time" not in told.err


def test_nothing_that_is_read_is_written_over(tmp_path, call):
    """References, likes and rooms as well as the recording itself, and where a picture goes in the end."""
    names = ("talk", "liked", "room")
    for k, name in enumerate(names):
        write_sound(
            Sound(0.1 * np.random.default_rng(k).standard_normal((1, 16000)).astype(np.float32), 16000),
            tmp_path / f"{name}.wav",
        )
    (tmp_path / "refs").mkdir()
    write_sound(read_sound(tmp_path / "liked.wav"), tmp_path / "refs" / "a.wav")
    (tmp_path / "talk.png").write_bytes(b"not mine")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    talk, liked, room, refs = *(str(tmp_path / f"{n}.wav") for n in names), str(tmp_path / "refs")
    for words in (
        ["master", talk, "--reference", liked, "--out", liked],
        ["master", talk, "--reference", refs, "--out", f"{refs}/a.wav"],
        ["repair", talk, "--like", liked, "--out", liked],
        ["repair", talk, "--room", room, "--out", room],
        ["stems", talk, room, "--like", liked, "--out", liked],
    ):
        told = call("mix", *words)
        assert told.status == 2, words
        assert "is what was given; choose another place with --out" in told.err
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
