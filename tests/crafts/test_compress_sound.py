"""Compressed recordings: there and back, at the rate the model says, whatever their length, rate and channels."""

import json
import math
import struct

import numpy as np
import pytest
import torch

import bottega
from bottega.cli import main
from bottega.core import BottegaError, DataError, OutputError, RecipeError, Sound
from bottega.crafts import compress_sound as craft
from recipes import write_recipe

pytest.importorskip("constriction", reason="the extra 'compress' is not installed")
sf = pytest.importorskip("soundfile", reason="the extra 'audio' is not installed")
RATE = 8000


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A codec of tones, hardly trained, another with the same shape, and a run that is none."""
    here = tmp_path_factory.mktemp("sounds")
    made = {}
    codec = {
        "name": "audio",
        "form": "wave",
        "rate": RATE,
        "seconds": 0.064,
        "long": "all",
        "labels": "none",
        "level": "peak",
    }
    sizes = {"family.hop": 16, "family.codebooks": 4, "family.codes": 32, "family.spectrum": 0.05, "optim.lr": 3e-3}
    for name, family, seed, steps in (("codec", "rvqvae", 0, 130), ("other", "rvqvae", 1, 1), ("net", "wavenet", 0, 1)):
        recipe = write_recipe(
            here,
            family,
            name=name,
            data={"name": "tones", "n": 60, "seconds": 0.3},
            codec=codec,
            steps=steps,
            batch=8,
            seed=seed,
        )
        changes = sizes if family == "rvqvae" else {}
        made[name] = bottega.train(recipe, None, here / name, set=changes, judge=False)
    return made


def tone(seconds=1.0, rate=RATE, channels=1, hz=(262, 392, 330)):
    at = np.arange(round(seconds * rate)) / rate
    return np.stack([0.5 * np.sin(math.tau * f * at) * np.exp(-at) for f in hz[:channels]]).astype(np.float32)


def file_of(x, path, rate=RATE, **how):
    sf.write(path, x.T, rate, **how)
    return path


def test_there_and_back_at_the_rate_the_model_says(runs, tmp_path):
    source = file_of(tone(3.0), tmp_path / "a.wav")
    done = craft.compress(runs["codec"], source, tmp_path / "a.bts")
    assert done.bytes == (tmp_path / "a.bts").stat().st_size
    assert abs(8 * (done.bytes - craft.FILE.header.size - 4) / done.model_bits - 1) < 0.02
    assert done.times_smaller == 2 * 3 * RATE / done.bytes > 8
    back = craft.decompress(runs["codec"], tmp_path / "a.bts", tmp_path / "b.wav")
    x, rate = sf.read(back)
    assert (x.shape, rate) == ((3 * RATE,), RATE)
    assert craft.snr_db(tone(3.0), x[None].astype(np.float32)) == pytest.approx(done.snr_db, abs=0.01)
    assert done.snr_db > 1  # it learned something
    assert done.beside["pcm_16_bits"] == 48_000
    assert {"flac", "vorbis"} <= set(done.beside)


def test_fewer_books_are_shorter_and_worse(runs, tmp_path):
    source = file_of(tone(), tmp_path / "a.wav")
    few, many = (craft.compress(runs["codec"], source, tmp_path / f"{k}.bts", codebooks=k) for k in (1, 4))
    assert few.bytes < 0.5 * many.bytes
    assert few.snr_db < many.snr_db
    with pytest.raises(RecipeError, match="codebooks is 5; this model has 4"):
        craft.compress(runs["codec"], source, tmp_path / "c.bts", codebooks=5)


def test_parts_are_the_whole(runs, monkeypatch):
    run = runs["codec"]
    x = tone(2.0)
    data, _ = craft.pack(run, x)
    monkeypatch.setattr(craft, "_TILE", 7)
    parts, _ = craft.pack(run, x)
    whole = craft.unpack(run, data).samples
    assert np.abs(craft.unpack(run, parts).samples - whole).max() < 1e-4
    with torch.no_grad():
        z = run.model.squeeze(torch.from_numpy(x * np.float32(0.95 / np.abs(x).max()))[None])
        want = run.model.expand(z)[0, 0] * (np.abs(x).max() / 0.95)
    assert np.abs(whole[0] - want.numpy()).max() < 1e-4


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"), [(192_000, 8, "PCM_24"), (44_100, 2, "FLOAT"), (8000, 1, "PCM_16")]
)
def test_any_rate_channels_and_bits(runs, tmp_path, rate, channels, subtype):
    x = tone(0.3, rate, channels=1).repeat(channels, 0) * np.linspace(1, 0.5, channels)[:, None].astype(np.float32)
    source = file_of(x, tmp_path / "a.wav", rate, subtype=subtype)
    done = craft.compress(runs["codec"], source, tmp_path / "a.bts")
    assert (done.channels, done.rate) == (channels, RATE)
    assert bool(done.dropped) == (rate != RATE)
    back = craft.unpack(runs["codec"], (tmp_path / "a.bts").read_bytes())
    assert back.samples.shape == (channels, 2400)
    loud = np.sqrt(np.square(back.samples).mean(1))
    if channels > 1:
        assert loud[0] > loud[-1]  # each channel is its own


def test_short_and_too_loud_ones(runs, tmp_path):
    one = craft.compress(
        runs["codec"], file_of(np.full((1, 1), 0.5, np.float32), tmp_path / "1.wav"), tmp_path / "1.bts"
    )
    assert one.seconds == 1 / RATE
    assert craft.unpack(runs["codec"], (tmp_path / "1.bts").read_bytes()).samples.shape == (1, 1)
    loud = file_of(6 * tone(0.3), tmp_path / "2.wav", subtype="FLOAT")
    craft.compress(runs["codec"], loud, tmp_path / "2.bts")
    back = craft.unpack(runs["codec"], (tmp_path / "2.bts").read_bytes()).samples
    assert np.abs(back).max() > 1.5  # the level comes back, beyond full scale


def test_what_is_no_whole_file_of_this_model_is_refused(runs, tmp_path):
    run, source = runs["codec"], file_of(tone(), tmp_path / "a.wav")
    craft.compress(run, source, tmp_path / "a.bts")
    data = (tmp_path / "a.bts").read_bytes()
    for spoilt, message in (
        (b"RIFF" + data[4:], "no file of bottega compress"),
        (data[:10], "cut short"),
        (data[:-9], "cut short"),
        (data[:60] + bytes([data[60] ^ 1]) + data[61:], "damaged"),
        (data[:4] + bytes([9]) + data[5:], "newer version"),
    ):
        with pytest.raises(DataError, match=message):
            craft.unpack(run, spoilt, "it")
    with pytest.raises(DataError, match="another model"):
        craft.unpack(runs["other"], data, "it")
    check = bytearray(data)  # other symbols under a whole checksum
    struct.pack_into("<I", check, craft.FILE.header.size - 8, 1)
    body = bytes(check[:-4])
    with pytest.raises(DataError, match="computes otherwise"):
        craft.unpack(run, body + struct.pack("<I", craft.zlib.crc32(body)), "it")
    with pytest.raises(BottegaError, match="cannot compress a recording"):
        craft.compress(runs["net"], source, tmp_path / "b.bts")
    with pytest.raises(DataError, match="silent"):
        craft.compress(run, file_of(np.zeros((1, 800)), tmp_path / "0.wav"), tmp_path / "b.bts")
    with pytest.raises(OutputError, match="called as a recording"):
        craft.compress(run, source, tmp_path / "b.wav")
    with pytest.raises(OutputError, match="ends in .wav or .flac"):
        craft.decompress(run, tmp_path / "a.bts", tmp_path / "b.mp3")
    assert not (tmp_path / "b.bts").exists()


def test_the_verb_goes_there_and_back(runs, tmp_path, capsys):
    source, run = file_of(tone(), tmp_path / "a.wav"), runs["codec"].path
    assert (
        main(["compress", str(source), str(tmp_path / "a.bts"), "--with", str(run), "--codebooks", "2", "--json"]) == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert said["codebooks"] == 2
    assert said["bytes"] == (tmp_path / "a.bts").stat().st_size
    assert main(["compress", str(tmp_path / "a.bts"), str(tmp_path / "b.flac"), "--with", str(run), "--quiet"]) == 0
    assert sf.info(tmp_path / "b.flac").frames == RATE
    sf.write(tmp_path / "nan.wav", np.full(100, np.nan), RATE, subtype="FLOAT")
    assert main(["compress", str(tmp_path / "nan.wav"), str(tmp_path / "c.bts"), "--with", str(run)]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert isinstance(craft.unpack(runs["codec"], (tmp_path / "a.bts").read_bytes()), Sound)


def test_a_file_longer_than_its_samples_is_not_called_smaller(runs, tmp_path, capsys):
    run, source = runs["codec"].path, file_of(tone()[:, 40:41], tmp_path / "one.wav")
    assert main(["compress", str(source), str(tmp_path / "one.bts"), "--with", str(run)]) == 0
    said = capsys.readouterr().out
    assert "times larger than" in said
    assert "0.0 times" not in said
