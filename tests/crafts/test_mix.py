"""The desk on made worlds: known gains come back, masters meet their numbers, planted defects are found and mended."""

import math

import numpy as np
import pytest

from bottega.cli import main
from bottega.codecs._sound_files import read_sound, read_sounds, write_sound
from bottega.codecs.music import MusicCodec
from bottega.core import DataError, Item, OutputError, RecipeError, Sound
from bottega.core.score import Note, Score
from bottega.crafts.mix import Track, even_out, masking_index, mix, read_stems, stem_files
from bottega.crafts.mix_design import describe, design, novelty
from bottega.crafts.mix_effects import Band, Equaliser, run
from bottega.crafts.mix_mark import ALGORITHMIC, TREATED, desk_mark
from bottega.crafts.mix_master import _clipped, master, matching
from bottega.crafts.mix_repair import LIMITS, declick, diagnose, limits_of, measures, repair
from bottega.data._sounds import multitrack, noises, speech
from bottega.judge.loudness import lufs, true_peak_db
from bottega.trust.mark import mark, read
from helpers import SHARED, one_line

pytest.importorskip("pyloudnorm", reason="loudness needs pyloudnorm, extra audio, which is not installed")


@pytest.fixture(scope="module")
def band():
    """Two pieces of 6 seconds with their stems and truth."""
    return multitrack(n=2, seconds=6.0, rate=16000, seed=4)


@pytest.fixture(scope="module")
def piece(band):
    return band.items[0].value


@pytest.fixture(scope="module")
def voice():
    x = np.concatenate([i.value.samples for i in speech(n=3, words=4, seed=1).items], 1)
    return Sound(x[:, : 7 * 16000], 16000)


def off(tracks: list[Track], truth):
    """The gains' errors in dB, but for what all have in common."""
    errors = np.array([t.gain_db - truth[t.name] for t in tracks])
    return errors - errors.mean()


# ---- mixing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, 1])
def test_known_gains_come_back_and_stems_hide_each_other_less(band, k):
    stems = band.truth["stems"][k]
    made = mix(stems)
    assert np.abs(off(made.tracks, band.truth["gains_db"][k])).max() < 1.5
    assert made.masking_after < made.masking_before - 0.02
    assert np.isfinite(made.sound.samples).all()
    assert abs(lufs(made.sound.samples, 16000) + 20) < 0.1
    assert true_peak_db(made.sound.samples) <= -2.99
    plain = mix(stems, equalise=False, compress=False, pan=False)
    assert not plain.tracks[0].cuts
    assert {t.pan for t in plain.tracks} == {0.0}
    assert plain.masking_after == pytest.approx(plain.masking_before, abs=2e-3)
    assert {t.name: t.pan for t in made.tracks}["bass"] == 0, "low stems stay in the middle"
    assert made.masking_after < plain.masking_after


def test_a_mix_to_be_like_gives_its_gains_and_places(band):
    made = mix(band.truth["stems"][0], like=band.items[0].value)
    for t in made.tracks:
        assert t.gain_db == pytest.approx(band.truth["gains_db"][0][t.name], abs=0.05)
        assert t.pan == pytest.approx(band.truth["pans"][0][t.name], abs=0.01)
    assert np.abs(made.sound.samples - band.items[0].value.samples).max() < 1e-3


def test_a_trim_is_heard_and_an_unknown_one_named(band):
    stems = band.truth["stems"][0]
    plain, more = (
        mix(stems, trims_db=t, equalise=False, pan=False, compress=False).tracks for t in ({}, {"lead": 3.0})
    )
    change = {a.name: b.gain_db - a.gain_db for a, b in zip(plain, more, strict=True)}
    assert change["lead"] - change["bass"] == pytest.approx(3, abs=1e-6)
    with pytest.raises(RecipeError) as error:
        mix(stems, trims_db={"leed": 1})
    one_line(error, "leed", "lead")


def test_the_masking_index_is_that_of_its_closed_cases():
    rate, at = 16000, np.arange(16000) / 16000
    low, high = (Sound(np.sin(2 * np.pi * f * at)[None].astype(np.float32), rate) for f in (200, 4000))
    assert masking_index([low, high], [0, 0], [0, 0]) < 0.1, "far apart, nothing is hidden"
    same = masking_index([low, low], [0, 0], [0, 0])
    assert same == pytest.approx(1 - (2**0.3 - 1), abs=0.07), (
        "two equal ones: (2E)^0.3 - E^0.3 of E^0.3, and what spreads"
    )
    assert masking_index([low, low], [0, 0], [-1, 1]) < same - 0.3, "each has an ear of its own"
    assert masking_index([low, low], [0, -20], [0, 0]) > 0.5


def test_a_stem_whose_level_wanders_is_compressed(band):
    stems = dict(band.truth["stems"][0])
    x = stems["lead"].samples
    wander = 10 ** (-12 * (1 + np.sin(2 * np.pi * np.arange(x.shape[1]) / 16000 / 3)) / 20)
    made = mix(stems | {"lead": Sound((x * wander).astype(np.float32), 16000)})
    by = {t.name: t.compressor for t in made.tracks}
    assert by["lead"] is not None
    assert by["lead"].ratio > 1.5
    assert by["bass"] is None


def test_stems_of_another_rate_or_length_are_named_or_mended(band):
    stems = dict(band.truth["stems"][0])
    short = stems | {"lead": Sound(stems["lead"].samples[:, :50000], 16000)}
    with pytest.raises(DataError) as error:
        mix(short)
    one_line(error, "lead 3.125 s", "--pad")
    assert even_out(short, pad=True)["lead"].samples.shape == stems["bass"].samples.shape
    assert not even_out(short, pad=True)["lead"].samples[:, 50000:].any()
    fast = stems | {"lead": Sound(stems["lead"].samples, 22050)}
    with pytest.raises(DataError) as error:
        mix(fast)
    one_line(error, "lead 22050 Hz", "--rate")
    assert {s.rate for s in even_out(fast, pad=True, rate=8000).values()} == {8000}
    with pytest.raises(DataError) as error:
        mix({"lead": stems["lead"]})
    one_line(error, "1 stem")
    with pytest.raises(DataError) as error:
        mix(stems | {"lead": Sound(np.zeros_like(stems["lead"].samples), 16000)})
    one_line(error, "lead", "silent")
    with pytest.raises(DataError) as error:
        mix(stems, like=Sound(np.ones((1, 16000), np.float32), 16000))
    one_line(error, "1.00 s")


def test_stems_that_cancel_are_named_and_so_is_a_trim_that_is_no_number(band):
    x = band.truth["stems"][0]["lead"].samples
    with pytest.raises(DataError, match="cancel each other"):
        mix({"a": Sound(x, 16000), "b": Sound(-x, 16000)}, pan=False, equalise=False, compress=False)
    with pytest.raises(DataError, match="give numbers from -120 to 120"):
        mix(band.truth["stems"][0], trims_db={"lead": math.nan})


def test_a_short_hit_is_padded_before_it_is_measured(band):
    stems = band.truth["stems"][0]
    hit = Sound(stems["drums"].samples[:, :2900], 16000)  # 0.18 seconds
    assert even_out(stems | {"drums": hit}, pad=True)["drums"].samples.shape == stems["bass"].samples.shape
    with pytest.raises(DataError, match="100 samples a second"):
        diagnose(Sound(np.ones((1, 100), np.float32), 100))


def test_a_name_without_an_ending_never_writes_over_the_source(tmp_path, piece, capsys):
    source = write_sound(piece, tmp_path / "voice.wav")
    before = source.read_bytes()
    assert main(["mix", "effect", str(source), "peak hz=300 gain_db=3", "--out", str(tmp_path / "voice")]) == 2
    assert "is what was given" in capsys.readouterr().err
    assert source.read_bytes() == before
    wide = Sound(np.tile(piece.samples[:1, :8000], (9, 1)), 16000)
    with pytest.raises(OutputError, match="9 channels"):
        write_sound(wide, tmp_path / "wide.flac")
    assert not (tmp_path / "wide.flac").exists()


def test_the_mark_of_a_mix_is_that_of_its_stems_only(tmp_path, band, monkeypatch):
    folder = tmp_path / "band"
    for name, sound in band.truth["stems"][0].items():
        write_sound(sound, folder / f"{name}.wav")
    MusicCodec().write(Item(Score.of([Note(0, 4, 60)], ticks=4)), folder / "cover.mid", mark("ab12", 7))
    assert read(folder / "cover.mid")["weights"] == "ab12"
    assert not desk_mark("stems", stem_files([folder])).get("weights")
    monkeypatch.chdir(folder)
    assert main(["mix", "stems", ".", "--quiet"]) == 0
    assert (tmp_path / "band-mix.wav").is_file()


# ---- mastering ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "peak"), [(-14.0, -1.0), (-9.0, -1.0), (-23.0, -2.0)])
def test_a_master_has_its_loudness_and_its_peak(piece, target, peak):
    made = master(piece, target_lufs=target, peak_db=peak)
    assert made.reached
    assert abs(lufs(made.sound.samples, made.sound.rate) - target) <= 0.5
    assert true_peak_db(made.sound.samples) <= peak
    assert [s.name for s in made.stages] == ["input", "equaliser", "compressor", "limiter"]
    assert made.stages[-1].lufs == pytest.approx(lufs(made.sound.samples, made.sound.rate))


def test_what_a_limiter_leaves_too_soft_a_clipper_makes_loud_and_what_neither_can_is_said(voice):
    soft = master(voice, target_lufs=-12)
    assert "clipper" not in soft.stages[-1].about
    loud = master(voice, target_lufs=-10)
    assert loud.reached
    assert "by a soft clipper" in loud.stages[-1].about
    assert true_peak_db(loud.sound.samples) <= -1
    most = master(voice, target_lufs=-5)
    assert not most.reached
    assert true_peak_db(most.sound.samples) <= -1
    assert -5 - lufs(most.sound.samples, voice.rate) > 0.5
    half = master(voice, target_lufs=-10, wet={"limiter": 0.5})
    assert true_peak_db(half.sound.samples) <= -1


def test_a_clipper_bends_peaks_alone_and_folds_nothing_back():
    rate, at = 16000, np.arange(16000) / 16000
    edges = np.minimum(1, np.minimum(at, at[::-1]) / 0.05)  # no clicks at the ends
    low = Sound((0.6 * edges * np.sin(2 * np.pi * 440 * at))[None].astype(np.float32), rate)
    assert np.array_equal(_clipped(low, -1.0).samples, low.samples), "3 dB below the ceiling nothing changes"
    tone = 1.2 * edges * np.sin(2 * np.pi * 3000 * at)  # its third harmonic, 9 kHz, would come back at 7
    made = _clipped(Sound(tone[None].astype(np.float32), rate), -1.0).samples[0]
    assert np.abs(made[2000:-2000]).max() < 1.2 * 0.85

    def level(x, hz):
        return 20 * np.log10(
            np.abs(np.sum(x * np.hanning(len(x)) * np.exp(-2j * np.pi * hz * at))) / (len(x) / 4) + 1e-9
        )

    c = 10 ** (-1 / 20)
    k = c * 10 ** (-3 / 20)
    naive = np.where(np.abs(tone) > k, np.sign(tone) * (k + (c - k) * np.tanh((np.abs(tone) - k) / (c - k))), tone)
    assert level(naive, 7000) > -30
    assert level(made, 7000) < level(naive, 7000) - 30
    assert level(made, 3000) == pytest.approx(level(naive, 3000), abs=0.3)


def test_clipped_input_is_brought_below_the_peak(piece):
    hot = Sound(np.clip(piece.samples * 8, -1, 1), piece.rate)
    made = master(hot)
    assert made.reached
    over = Sound(piece.samples * 8, piece.rate)  # beyond full scale, as floats may be
    assert master(over).reached


def test_two_references_are_met_in_their_middle(piece):
    bright = run(Equaliser([Band("high_shelf", 3000, 8)]), piece)
    dark = run(Equaliser([Band("high_shelf", 3000, -8)]), piece)
    middles, _, gains = matching(piece, [bright])
    assert gains[middles > 5000].mean() == pytest.approx(8, abs=3)
    assert np.abs(matching(piece, [bright, dark])[2]).max() < 1
    made = master(dark, [bright])
    assert made.stages[0].distance_db > 5
    assert made.stages[1].distance_db < 0.4 * made.stages[0].distance_db
    assert made.stages[-1].distance_db < 0.5 * made.stages[0].distance_db
    half = master(dark, [bright], wet={"equaliser": 0.5})
    assert made.stages[1].distance_db < half.stages[1].distance_db < made.stages[0].distance_db
    other = Sound(np.repeat(bright.samples, 2, 1), 2 * bright.rate)  # the same at another rate, but for what lies above
    assert master(dark, [other]).stages[1].distance_db < 3


def test_a_dry_stage_does_nothing(piece):
    made = master(piece, wet={"compressor": 0.0})
    assert made.stages[2].lufs == pytest.approx(made.stages[1].lufs, abs=1e-4)
    quiet = master(piece, target_lufs=-8, wet={"limiter": 0.0})
    assert not quiet.reached, "without the limiter the peak comes before the loudness"
    assert true_peak_db(quiet.sound.samples) <= -1


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"wet": {"limitr": 1}}, ("limitr", "limiter")),
        ({"wet": {"limiter": 2}}, ("2",)),
        ({"target_lufs": 3}, ("3 LUFS",)),
    ],
)
def test_a_wrong_wish_for_a_master_is_named(piece, how, words):
    with pytest.raises(RecipeError) as error:
        master(piece, **how)
    one_line(error, *words)


@pytest.mark.parametrize(
    ("samples", "words"),
    [(np.zeros((1, 16000)), ("silent",)), (np.ones((1, 1)), ("lasts",)), (np.full((1, 16000), np.nan), ("finite",)),
     (np.ones((8, 192000)), ("8 channels",))],
)  # fmt: skip
@pytest.mark.parametrize("task", [master, repair, diagnose])
def test_what_cannot_be_worked_on_is_named(samples, words, task):
    sound = Sound(samples.astype(np.float32), 192000 if len(samples) == 8 else 16000)
    with pytest.raises(DataError) as error:
        task(sound)
    one_line(error, *words)


@pytest.mark.parametrize(("bits", "ending"), [(24, ".wav"), (32, ".wav"), (24, ".flac")])
def test_24_bit_and_float_files_are_mastered(piece, tmp_path, bits, ending):
    path = write_sound(piece, tmp_path / f"a{ending}", bits=bits)
    made = master(read_sound(path))
    assert made.reached
    again = read_sound(write_sound(made.sound, tmp_path / f"b{ending}", bits=bits))
    assert true_peak_db(again.samples) <= -0.999


# ---- repair ------------------------------------------------------------------------------------------------------------


def planted(sound, defect, hum=0.2):
    """The sound with a defect; ``hum`` in units of its root mean square."""
    x, at, rng = sound.samples.astype(float), np.arange(sound.samples.shape[1]) / sound.rate, np.random.default_rng(0)
    rms = np.sqrt(np.mean(x**2))
    if defect == "hum":
        x = x + hum * rms * sum(np.sin(2 * np.pi * 50.02 * k * at + k) / k for k in range(1, 7))
    elif defect == "muffled":
        return run(Equaliser([Band("low_pass", 2500)] * 2), sound)
    elif defect == "boomy":
        return run(Equaliser([Band("peak", 160, 18, 1.0)]), sound)
    elif defect == "sibilance":
        return run(Equaliser([Band("peak", 6500, 26, 0.7)]), sound)
    elif defect == "dynamics":
        x = x * 10 ** (-17 * (1 + np.sin(2 * np.pi * at / 6)) / 20)
    elif defect == "noise":
        x = x + 0.1 * rms * rng.standard_normal(x.shape)
    elif defect == "clicks":
        x[:, rng.integers(4000, x.shape[1] - 4000, 12)] += 0.5
    elif defect == "clipping":
        x = np.clip(x * 4 / np.abs(x).max(), -1, 1)
    return Sound(x.astype(np.float32), sound.rate)


def test_a_healthy_sound_is_left_alone(piece, voice):
    for sound in (piece, voice):
        made = repair(sound)
        assert made.findings == []
        assert made.sound is sound


@pytest.mark.parametrize(
    ("defect", "whose"),
    [("hum", "piece"), ("hum", "voice"), ("noise", "voice"), ("clicks", "piece"), ("muffled", "piece"), ("muffled", "voice"),
     ("boomy", "piece"), ("boomy", "voice"), ("sibilance", "piece"), ("dynamics", "piece")],
)  # fmt: skip
def test_a_planted_defect_is_found_and_mended(piece, voice, defect, whose):
    sound = {"piece": piece, "voice": voice}[whose]
    limits = limits_of([sound]) if defect in {"boomy", "sibilance"} else LIMITS
    assert diagnose(sound, limits) == []
    made = repair(planted(sound, defect), limits)
    found = {f.name: f for f in made.findings}
    assert defect in found
    assert found[defect].mended, found[defect]
    assert found[defect].done
    again = measures(made.sound)
    assert again[defect] <= limits[defect], "what is mended stays mended by what comes after"


def test_mending_brings_the_clean_sound_nearer(piece, voice):
    torch = pytest.importorskip("torch")
    from bottega.judge.enhancement import si_sdr_db

    for defect, sound, least in (("hum", voice, 3), ("noise", voice, 2), ("clicks", piece, 3)):
        bad = planted(sound, defect, 0.7)
        good = repair(bad).sound
        real = torch.from_numpy(sound.samples)
        gain = (si_sdr_db(torch.from_numpy(good.samples), real) - si_sdr_db(torch.from_numpy(bad.samples), real)).mean()
        assert gain > least, defect


def test_clipping_is_named_and_left(piece):
    made = repair(planted(piece, "clipping"))
    (found,) = (f for f in made.findings if f.name == "clipping")
    assert not found.mended
    assert "record it anew" in found.done


def test_declick_finds_each_click_and_nothing_else(piece):
    assert declick(piece)[1] == 0
    bad = planted(piece, "clicks")
    made, many = declick(bad)
    assert 8 <= many <= 12
    left, there = (np.square(x.samples - piece.samples, dtype=np.float64).sum() for x in (made, bad))
    assert left < 0.35 * there
    same = made.samples == piece.samples
    assert same.mean() > 0.99, "only what is near a click is touched"


# ---- design ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hz", "flat", "seconds", "attack"),
    [(2000, 0.01, 1.0, 0.02), (4000, 0.3, 0.3, 0.05), (1500, 1e-4, 0.6, 0.1)],
)
def test_a_designed_sound_measures_as_wished(hz, flat, seconds, attack):
    made = design(brightness_hz=hz, noisiness=flat, seconds=seconds, attack_seconds=attack, seed=3)
    assert made.off_percent < 10
    assert made.sound.peak <= 1
    same = design(brightness_hz=hz, noisiness=flat, seconds=seconds, attack_seconds=attack, seed=3)
    assert np.array_equal(same.sound.samples, made.sound.samples)


@pytest.mark.slow  # what librosa compiles takes most of a minute
def test_descriptors_are_those_of_librosa():
    librosa = pytest.importorskip("librosa", reason="the oracle of descriptors, extra audio, is not installed")
    x = noises(n=3, seconds=0.5).items[1].value
    y = x.samples[0]
    power = np.abs(librosa.stft(y, n_fft=2048, hop_length=512, center=False)) ** 2
    weights = power.sum(0)
    centroid = librosa.feature.spectral_centroid(S=np.sqrt(power), sr=x.rate)[0]
    flat = librosa.feature.spectral_flatness(S=np.sqrt(power), power=2.0, amin=1e-30)[0]
    got = describe(x)
    assert got.brightness_hz == pytest.approx(np.average(centroid, weights=weights), rel=2e-3)
    assert got.noisiness == pytest.approx(np.average(flat, weights=weights), rel=2e-2)


def test_an_attack_is_read():
    at = np.arange(16000) / 16000
    for seconds in (0.02, 0.1, 0.3):
        x = np.sin(2 * np.pi * 1000 * at) * np.minimum(at / (seconds / 0.8), 1)
        assert describe(Sound(x[None].astype(np.float32), 16000)).attack_seconds == pytest.approx(
            seconds, rel=0.1, abs=0.003
        )


def test_novelty_knows_a_copy_and_prefers_the_strange():
    library = [(i.name, i.value) for i in noises(n=6, seconds=0.5, rate=22050).items]
    away, near = novelty(library[2][1], library)
    assert (away, near) == (0, library[2][0])
    made = design(brightness_hz=2000, noisiness=0.002, seconds=0.3, library=library)
    assert made.novelty > 1
    assert made.novelty == pytest.approx(novelty(made.sound, library)[0])
    with pytest.raises(DataError) as error:
        novelty(made.sound, library[:1])
    one_line(error, "1 piece")


@pytest.mark.parametrize(
    ("wish", "words"),
    [({"brightness_hz": 5, "noisiness": 0.1}, ("brightness", "100")), ({"brightness_hz": 500, "noisiness": 0.4, "seconds": 0.3}, ("up to", "0.4")),
     ({"brightness_hz": 2000, "noisiness": 0.01, "attack_seconds": 9}, ("attack", "9"))],
)  # fmt: skip
def test_wishes_that_cannot_be_met_are_named(wish, words):
    with pytest.raises(RecipeError) as error:
        design(**wish)
    one_line(error, *words)


# ---- files -------------------------------------------------------------------------------------------------------------


def test_stems_are_read_by_name(tmp_path, band):
    for name, sound in band.truth["stems"][0].items():
        write_sound(sound, tmp_path / f"{name}.wav", bits=24)
    (tmp_path / "notes.txt").write_text("no stem")
    assert list(read_stems([tmp_path])) == ["bass", "chords", "drums", "lead"]
    with pytest.raises(DataError) as error:
        read_stems([tmp_path / "bass.wav"])
    one_line(error, "1 stem")


def test_the_mark_says_what_the_desk_did_and_keeps_a_models(tmp_path, piece):
    plain = write_sound(piece, tmp_path / "plain.wav")
    made = write_sound(piece, tmp_path / "made.wav", mark=mark("ab12", 7))
    said = desk_mark("master", [plain])
    assert (said["machine_made"], said["digital_source_type"], said["recipe"]) == ("true", TREATED, "mix master")
    kept = desk_mark("stems", [plain, made])
    assert (kept["weights"], kept["seed"]) == ("ab12", "7")
    assert desk_mark("design", seed=3)["digital_source_type"] == ALGORITHMIC
    assert read(write_sound(piece, tmp_path / "b.flac", mark=said))["recipe"] == "mix master"


@pytest.mark.shared
def test_real_recordings_of_whole_pieces_are_healthy_and_mastered():
    for name in ("198-209-0000.ogg", "Kevin_MacLeod_-_P_I_Tchaikovsky_Dance_of_the_Sugar_Plum_Fairy.ogg"):
        sound = read_sound(SHARED / "audio_clips" / name)
        part = Sound(sound.samples[:, : 10 * sound.rate], sound.rate)
        assert [f for f in diagnose(part) if f.name != "noise"] == []
        assert master(part, target_lufs=-16).reached


@pytest.mark.shared
def test_real_loops_become_a_mix():
    wanted = {"loop_amen_full.flac", "loop_garzul.flac", "loop_safari.flac"}
    items = [
        i
        for i in read_sounds(SHARED / "sonic_loops" / "samples_flac.zip", labels="none", skipped=[])
        if i.name in wanted
    ]
    made = mix({i.name: i.value for i in items}, pad=True, rate=22050)
    assert len(made.tracks) == 3
    assert made.masking_after < made.masking_before
    assert abs(lufs(made.sound.samples, 22050) + 20) < 0.1 or true_peak_db(made.sound.samples) == pytest.approx(
        -3, abs=0.01
    )
