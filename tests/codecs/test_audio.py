"""Sound goes in from any file and comes back; what cannot is named in one line."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from bottega.codecs._sound_files import decoded, named, read_sound, resampled, write_sound
from bottega.codecs.audio import AudioCodec, mu_law, mu_law_inverse
from bottega.core import DataError, Item, OutputError, RecipeError, Sound
from bottega.data import worlds
from bottega.trust.mark import mark, read
from helpers import one_line

sf = pytest.importorskip("soundfile", reason="sound files need soundfile, extra audio, which is not installed")
pytest.importorskip("soxr", reason="resampling needs soxr, extra audio, which is not installed")


def sine(hz=440.0, rate=16000, seconds=0.5, level=0.5, channels=1):
    at = np.arange(round(rate * seconds)) / rate
    return Sound(np.tile(level * np.sin(2 * np.pi * hz * at), (channels, 1)).astype(np.float32), rate)


@pytest.mark.parametrize("kind", ["WAV/PCM_U8", "WAV/PCM_16", "WAV/PCM_24", "WAV/FLOAT", "WAV/DOUBLE", "FLAC/PCM_16", "FLAC/PCM_24", "OGG/VORBIS", "AIFF/PCM_16"])  # fmt: skip
def test_every_sample_format_is_read(tmp_path, kind):
    form, subtype = kind.split("/")
    path = tmp_path / f"a.{form.lower()}"
    x = sine(rate=44100, channels=2)
    sf.write(path, x.samples.T, x.rate, format=form, subtype=subtype)
    got = read_sound(path)
    assert (got.rate, got.channels) == (44100, 2)
    away = np.abs(got.samples[:, : x.samples.shape[1]] - x.samples).max()
    assert away < {"PCM_U8": 1 / 127, "VORBIS": 0.05, "PCM_16": 1 / 32000, "PCM_24": 1 / 8e6}.get(subtype, 1e-7)


def test_192_khz_and_8_channels_become_one_at_the_models_rate(tmp_path):
    x = sine(rate=192000, channels=8, seconds=0.25)
    sf.write(tmp_path / "wide.wav", x.samples.T, x.rate, subtype="PCM_24")
    (item,) = AudioCodec().read(tmp_path / "wide.wav")
    assert (item.value.channels, item.value.rate) == (8, 192000)
    codec = AudioCodec(form="wave", seconds=0.25).fit([item])
    got = codec.encode([item]).x[0, 0]
    assert len(got) == 4000
    assert (got[200:-200] - torch.from_numpy(sine(seconds=0.25).samples[0])[200:-200]).abs().max() < 2e-3


@pytest.mark.parametrize(("rate", "to"), [(44100, 16000), (8000, 22050), (48000, 44100)])
def test_resampling_keeps_pitch_and_length_and_is_librosas(rate, to):
    librosa = pytest.importorskip("librosa", reason="the oracle of resampling, extra audio, is not installed")
    x = sine(rate=rate).samples
    got = resampled(x, rate, to)
    assert got.shape[1] == -(-x.shape[1] * to // rate)
    assert np.abs(got - librosa.resample(x, orig_sr=rate, target_sr=to)).max() < 1e-6
    spectrum = np.abs(np.fft.rfft(got[0] * np.hanning(got.shape[1]), 1 << 18))
    assert abs(spectrum.argmax() * to / (1 << 18) - 440) < 0.2
    assert resampled(x[:, :1], rate, to).shape[1] == -(-to // rate)


def test_waveforms_come_back_exactly_and_mu_law_to_a_level():
    items = worlds.load("tones", n=4, seconds=0.25).items
    for form, away in (("wave", 0.0), ("mulaw", 0.022)):
        codec = AudioCodec(form=form, seconds=0.25).fit(items)
        batch = codec.encode(items)
        back = codec.decode(batch.x, batch.cond)
        assert max(np.abs(a.value.samples - b.value.samples).max() for a, b in zip(items, back, strict=True)) <= away
        assert [i.cond for i in back] == [i.cond for i in items]
        again = AudioCodec(form=form, seconds=0.25).load_state(codec.state())
        assert again.spec == codec.spec
        assert torch.equal(again.encode(back).x, batch.x)
    assert (codec.spec.vocab, codec.spec.ordinal, codec.spec.shape) == (256, True, (4000,))


def test_mu_law_is_its_inverse_on_every_level():
    assert torch.equal(mu_law(mu_law_inverse(torch.arange(256))), torch.arange(256))


def test_spectra_come_back_as_the_same_note():
    world = worlds.load("tones", n=3)
    codec = AudioCodec(window=2048, iterations=32).fit(world.items)
    batch = codec.encode(world.items)
    assert batch.x.shape == (3, 1, 128, 128)
    assert batch.x.abs().max() <= 1
    assert batch.x.max() > 0.99
    back = codec.decode(batch.x, batch.cond)
    assert world.truth["good"]([i.value for i in back], [i.cond for i in world.items]) == 1.0
    again = codec.encode(back).x
    assert (again - batch.x).abs().mean() < 0.05  # in units of 40 dB


def test_silence_stays_silent():
    quiet = Item(Sound(np.zeros((1, 16384), np.float32), 16000), name="quiet")
    codec = AudioCodec(window=2048).fit([*worlds.load("tones", n=2).items, quiet])
    x = codec.encode([quiet]).x
    assert (x == -1).all()
    assert codec.decode(x)[0].value.peak < 1e-4
    with pytest.raises(DataError, match="all recordings are silent"):
        AudioCodec().fit([quiet])
    with pytest.raises(DataError) as error:
        AudioCodec(form="wave", level="peak").fit([quiet]).encode([quiet])
    one_line(error, "quiet is silent", "leave it out")


def test_one_sample_is_a_sound(tmp_path):
    sf.write(tmp_path / "one.wav", np.array([0.5]), 44100)
    for form in ("wave", "mulaw", "mel"):
        codec = AudioCodec(form=form)
        items = codec.read(tmp_path / "one.wav")
        assert codec.fit(items).encode(items).x.isfinite().all()
    codec.show(items, tmp_path / "page")


def broken(tmp_path: Path, what: str) -> Path:
    path = tmp_path / f"{what}.wav"
    sf.write(path, sine().samples.T, 16000)
    data = path.read_bytes()
    if what == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif what == "nan":
        x = sine().samples.copy()
        x[0, 160] = np.nan
        sf.write(path, x.T, 16000, subtype="FLOAT")
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "no samples":
        sf.write(path, np.zeros(0), 16000)
    elif what == "text":
        path.write_bytes(b"hello, I am a letter")
    elif what == "half a flac":
        path.unlink()
        path = tmp_path / "half.flac"
        sf.write(path, np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
        path.write_bytes(path.read_bytes()[:9000])
    return path


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("truncated", "is cut short"), ("nan", "1 samples that are not finite numbers, the first at 0.010 seconds"),
        ("empty", "is empty"), ("no samples", "holds no samples"), ("text", "is not a readable recording"),
        ("half a flac", "half.flac is"),
    ],
)  # fmt: skip
def test_a_bad_file_is_named_in_one_line(tmp_path, what, says):
    path = broken(tmp_path, what)
    with pytest.raises(DataError) as error:
        AudioCodec().read(path)
    one_line(error, path.name, says)
    write_sound(sine(), tmp_path / "zz.wav")
    codec = AudioCodec(on_error="skip")
    assert [i.name for i in codec.read(tmp_path)] == ["zz.wav"]
    assert len(codec.skipped) == 1


def test_a_wav_from_a_pipe_says_no_length_and_is_read(tmp_path):
    path = broken(tmp_path, "pipe")
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"data") + 4, 0xFFFFFFFF)
    path.write_bytes(data)
    assert read_sound(path).samples.shape[1] == 8000


def test_unequal_rates_and_levels_beyond_full_scale_are_told():
    pair = [Item(sine(rate=8000)), Item(sine(rate=44100))]
    with pytest.raises(DataError) as error:
        AudioCodec(rate=0).fit(pair)
    one_line(error, "8000 Hz, 44100 Hz", "set codec.rate")
    assert AudioCodec().fit(pair).encode(pair).x.shape[0] == 2
    loud = [Item(sine(level=2.0), name="loud")]
    with pytest.raises(DataError) as error:
        AudioCodec(form="wave").fit(loud).encode(loud)
    one_line(error, "loud peaks at 2", "codec.level = 'peak'")
    assert AudioCodec(form="wave", level="peak").fit(loud).encode(loud).x.abs().max() == pytest.approx(0.95, abs=1e-3)
    assert AudioCodec().fit(loud).encode(loud).x.max() > 0.99  # a spectrum takes any level


def test_long_recordings_are_cut_or_all_of_them_used():
    long = [Item(sine(seconds=1.3), "a"), Item(sine(seconds=0.2), "b")]
    assert len(AudioCodec(form="wave", seconds=0.5).fit(long).encode(long)) == 2
    every = AudioCodec(form="wave", seconds=0.5, long="all").fit(long)
    batch = every.encode(long)
    assert (len(batch), batch.cond.tolist()) == (4, [0, 0, 0, 1])
    assert (batch.x[2, 0, 4800:] == 0).all()


def test_labels_come_from_folders_and_from_names(tmp_path):
    for name in ("0_ann_0", "0_bob_1", "7_ann_0"):
        write_sound(sine(seconds=0.05), tmp_path / "flat" / f"{name}.wav")
        write_sound(sine(seconds=0.05), tmp_path / "sorted" / name[0] / f"{name}.wav")

    def conds(labels, folder="flat"):
        return [i.cond for i in AudioCodec(labels=labels).read(tmp_path / folder)]

    assert conds("auto", "sorted") == conds("name:1") == ["0", "0", "7"]
    assert conds("name:2") == ["ann", "bob", "ann"]
    assert conds("name") == ["0 ann", "0 bob", "7 ann"]
    assert conds("none") == [None] * 3
    codec = AudioCodec(labels="name", cond="words")
    codec.fit(codec.read(tmp_path / "flat"))
    assert codec.encode_cond(["7 bob"]).tolist() == [[2, 4]]
    with pytest.raises(DataError) as error:
        conds("name:3")
    one_line(error, "2 part(s) in its name", "name:3")
    assert named("x/7_jackson_32.wav", "name:2") == "jackson"


@pytest.mark.shared
def test_the_spoken_digits_say_digit_and_speaker():
    where = Path(os.environ.get("BOTTEGA_SHARED", "../shared")) / "data" / "fsdd" / "fsdd_train_wav.zip"
    if not where.exists():
        pytest.skip("the shared data are not there")
    items = AudioCodec(labels="name").read(where)
    assert len(items) == 2700
    assert len({i.cond for i in items}) == 60
    assert {i.value.rate for i in items} == {8000}


@pytest.mark.parametrize("ending", [".wav", ".flac"])
@pytest.mark.parametrize("bits", [16, 24])
def test_what_is_written_is_read_back_marked_and_never_clipped(tmp_path, ending, bits):
    said = mark("ab12", 7, recipe="tones")
    path = write_sound(sine(level=0.9), tmp_path / f"a{ending}", bits=bits, mark=said)
    assert read(path) == said
    assert np.abs(read_sound(path).samples - sine(level=0.9).samples).max() <= 0.5 / 2 ** (bits - 1) + 1e-7
    again = write_sound(read_sound(path), tmp_path / f"b{ending}", bits=bits)
    assert np.array_equal(read_sound(again).samples, read_sound(path).samples)
    loud = write_sound(sine(level=2.0), tmp_path / f"c{ending}", bits=bits, mark=said)
    got = read_sound(loud).samples
    assert np.abs(got - sine(level=1.0).samples).max() < 1e-3  # turned down, not cut off
    assert read(loud)["gain_db"] == "-6.02"


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match="FLAC is written with 16 or 24 bits, not 32"):
        write_sound(sine(), tmp_path / "a.flac", bits=32)
    with pytest.raises(OutputError, match="not finite"):
        write_sound(Sound(np.full((1, 4), np.inf, np.float32), 8000), tmp_path / "a.wav")
    assert list(tmp_path.iterdir()) == []


def test_noise_is_what_is_known_and_anew_each_time():
    from bottega.core import Rng

    items = worlds.load("speech", n=2).items
    codec = AudioCodec(form="wave", degrade="noise", noise_db=0.0, seconds=0.5).fit(items)
    batch = codec.encode(items)
    assert codec.spec.given_sound
    assert torch.equal(codec.encode(items).cond, batch.cond)
    noise = batch.cond - batch.x
    ratio = 10 * torch.log10(batch.x.square().mean((1, 2)) / noise.square().mean((1, 2)))
    assert ratio.abs().max() < 0.1
    source = codec.source(items, train=True)
    one, two = (source.draw(torch.tensor([0, 1]), Rng(seed)) for seed in (0, 1))
    assert torch.equal(one.x, two.x)
    assert (one.cond - two.cond).abs().max() > 0.05
    (given,) = codec.given_examples(items[:1])
    assert torch.allclose(codec.encode_cond([given])[0], batch.cond[:1] / max(1, batch.cond[0].abs().max()), atol=1e-3)


def test_a_wrong_setting_is_named():
    for setting, says in (({"form": "mell"}, "did you mean 'mel'"), ({"rate": 10}, "codec.rate is 10"), ({"hop": 999}, "hop 999"),
                          ({"degrade": "noise"}, "noise is for form = 'wave'"), ({"labels": "name:x"}, "codec.labels")):  # fmt: skip
        with pytest.raises(RecipeError) as error:
            AudioCodec(**setting)
        one_line(error, says)


def test_the_page_has_waveforms_and_spectra(tmp_path):
    from PIL import Image

    items = worlds.load("tones", n=3).items
    with Image.open(AudioCodec().show(items, tmp_path / "page")) as page:
        assert page.width > 300
        assert len(page.convert("RGB").getcolors(1 << 20)) > 100


@pytest.mark.parametrize("kind", ["AIFF", "AU", "OGG", "W64", "RF64", "CAF", "FLAC", "WAV"])
def test_a_file_that_is_cut_anywhere_is_named_and_a_whole_one_is_read(kind):
    sf = pytest.importorskip("soundfile")
    file, x = io.BytesIO(), 0.1 * np.random.default_rng(0).normal(size=(8000, 2))
    sf.write(file, x, 8000, format=kind)
    data = file.getvalue()
    assert decoded(data, "it").samples.shape == (2, 8000)
    for part in (0.3, 0.6, 0.9, 0.995):
        with pytest.raises(DataError, match="it is (cut short|not a readable)"):
            decoded(data[: int(part * len(data))], "it")
