"""Recordings through a model that clears them: any rate, length and channels, the same for any block."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bottega
from bottega.cli import main
from bottega.core import BottegaError, DataError, RecipeError, Sound
from bottega.crafts import mix_enhance as craft
from bottega.trust.mark import read
from recipes import write_recipe

sf = pytest.importorskip("soundfile", reason="the extra 'audio' is not installed")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    here = tmp_path_factory.mktemp("enhance")
    codec = {"name": "audio", "form": "wave", "rate": 8000, "seconds": 0.256, "labels": "none", "degrade": "noise"}
    toml = write_recipe(
        here, "enhancer", data={"name": "tones", "n": 30, "seconds": 0.3}, codec=codec, steps=3, batch=8
    )
    return bottega.train(toml, out=here / "run", judge=False)


def noise(n, channels=1, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=(channels, n))).astype(np.float32)


def test_it_is_what_the_model_makes_of_the_whole_whatever_the_blocks(run):
    import torch

    x = noise(5000)
    want = run.model.clear(torch.from_numpy(x)).detach().numpy()
    for block in (77, 1024, 9999):
        np.testing.assert_allclose(craft.enhance(run, Sound(x, 8000), block=block).sound.samples, want, atol=1e-5)


@pytest.mark.parametrize(("rate", "channels", "n"), [(8000, 1, 1), (44_100, 2, 9001), (192_000, 8, 20_000)])
def test_any_rate_channels_and_length(run, rate, channels, n):
    done = craft.enhance(run, Sound(noise(n, channels), rate))
    assert done.sound.samples.shape == (channels, n)
    assert done.sound.rate == rate
    assert done.above_hz == (4000 if rate > 8000 else 0)
    assert np.isfinite(done.sound.samples).all()
    dry = craft.enhance(run, Sound(noise(n, channels), rate), wet=0.0)
    np.testing.assert_array_equal(dry.sound.samples, noise(n, channels))


def test_what_is_refused(run, tmp_path):
    with pytest.raises(RecipeError, match="^wet is 2; give 0 to 1$"):
        craft.enhance(run, Sound(noise(100), 8000), wet=2)
    with pytest.raises(RecipeError, match="^block is 0; give at least 1 sample$"):
        craft.enhance(run, Sound(noise(100), 8000), block=0)
    with pytest.raises(DataError, match="no numbers"):
        craft.enhance(run, Sound(np.full((1, 10), np.nan, np.float32), 8000))
    plain = bottega.train(write_recipe(tmp_path, "vae", steps=1), out=tmp_path / "plain", judge=False)
    with pytest.raises(BottegaError, match="clears no recordings"):
        craft.enhance(plain, Sound(noise(100), 8000))


def test_the_verb_writes_a_marked_file(run, tmp_path, capsys):
    sf.write(tmp_path / "a.wav", noise(4000)[0], 8000)
    assert main(["mix", "enhance", str(tmp_path / "a.wav"), "--with", str(run.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["latency_ms"] == 1000 * run.model.window / 8000
    assert sf.info(told["file"]).frames == 4000
    found = read(Path(told["file"]))
    assert found["weights"] == run.weights_hash
    assert found["digital_source_type"].endswith("algorithmicallyEnhanced")
    assert main(["mix", "enhance", str(tmp_path / "a.wav"), "--with", str(tmp_path / "no"), "--json"]) == 2


# ---- while it is recorded ------------------------------------------------------------------------------------------------


def pcm(n, seed=0):
    """Samples as 16 bits have them, and their bytes."""
    levels = np.rint(noise(n, seed=seed)[0] * 32768).clip(-32768, 32767).astype("<i2")
    return levels.astype(np.float32) / 32768, levels.tobytes()


@pytest.mark.parametrize(("block", "wet"), [(0, 1.0), (100, 1.0), (64, 0.7), (1024, 0.0)])
def test_a_stream_is_the_whole_to_the_sample_within_the_stated_latency(run, block, wet):
    x, data = pcm(5003)
    live = craft.Live(run, block=block, wet=wet)
    whole = craft.enhance(run, Sound(x[None], 8000), block=live.block, wet=wet).sound.samples[0]
    want = np.rint(whole.astype(np.float64) * 32768).clip(-32768, 32767).astype("<i2").tobytes()
    rng, at, late, out = np.random.default_rng(1), 0, [], bytearray()

    def read():
        nonlocal at
        late.append(at // 2 - len(out) // 2)
        step = int(rng.integers(1, 700))  # odd ones end within a sample
        part, at = data[at : at + step], at + len(data[at : at + step])
        return part

    heard, _, half = craft.pump(live, read, out.extend)
    assert (heard, half) == (5003, 0)
    assert bytes(out) == want
    assert max(late) <= live.latency
    assert live.latency == run.model.window + live.block - 1


def test_what_a_stream_was_told_to_stop_at_is_given_back(run):
    _, data = pcm(900)
    parts, out = iter([data]), bytearray()

    def read():
        for part in parts:
            return part
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        craft.pump(craft.Live(run), read, out.extend)
    assert len(out) == len(data)
    loud = craft.Live(run, wet=0.0)
    assert craft.pump(loud, iter([b"\x00\x80" * 500, b"\x01", b""]).__next__, out.extend) == (500, 0, 1)


def piped(run):
    command = [sys.executable, "-m", "bottega", "mix", "enhance", "-", "--with", str(run.path), "--device", "cpu"]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        bufsize=0,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # tests behind nohup ignore it
    )  # ``communicate`` passes over buffers


def taken(stream, n):
    data = b""
    while len(data) < n and (part := stream.read(n - len(data))):
        data += part
    return data


def test_a_pipe_of_raw_samples(run):
    """Sound comes back before the input ends, and all of it in the end."""
    x, data = pcm(4000)
    process = piped(run)
    process.stdin.write(data[:4000])
    early = taken(process.stdout, 2 * (2000 - run.model.window - run.model.hop))  # returns while the pipe is open
    rest, said = process.communicate(data[4000:])
    want = craft.enhance(run, Sound(x[None], 8000), block=run.model.hop).sound.samples[0]
    got = np.frombuffer(early + rest, "<i2")
    assert process.returncode == 0
    assert np.abs(got - want * 32768).max() <= 0.51
    assert b"latency" in said
    assert b"8000 Hz" in said


def test_a_stream_ends_cleanly(run):
    """By Ctrl-C, by a reader that goes away, and with no input at all."""
    _, data = pcm(40_000)
    process = piped(run)
    process.stdin.write(data[:8000])
    assert len(taken(process.stdout, 2000)) == 2000
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate()
    assert process.returncode == 130
    assert said.decode().strip().splitlines()[-1] == "bottega: stopped"
    assert 2000 + len(rest) == 8000

    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "bottega", "mix", "enhance", "-", "--with", str(run.path), "--quiet"]
    done = subprocess.run(command, input=data, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")

    done = subprocess.run(command, input=b"", capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_stream_takes_no_options_of_files(run, capsys):
    for more in (["--out", "a.wav"], ["--bits", "16"], ["--json"]):
        assert main(["mix", "enhance", "-", "--with", str(run.path), *more]) == 2
        said = capsys.readouterr().err
        assert len(said.strip().splitlines()) == 1
        assert more[0] in said


@pytest.mark.parametrize("n", [1, 8000])
def test_silence_and_one_sample_are_cleared_in_python_and_refused_as_files(run, tmp_path, capsys, n):
    """A stream may be silent for a while; a whole file that is has nothing to be cleared of."""
    for _, level, rate in (("silent", 0.0, 8000), ("loud", 0.5, 44_100)):
        made = craft.enhance(run, Sound(np.full((1, n), level, np.float32), rate)).sound.samples
        assert made.shape == (1, n)
        assert level or not made.any()
    path = tmp_path / "silent.wav"
    sf.write(path, np.zeros(n), 8000)
    assert main(["mix", "enhance", str(path), "--with", str(run.path)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{path} {'lasts' if n == 1 else 'is silent'}" in line
    assert list(tmp_path.iterdir()) == [path]


def test_a_wide_a_deep_and_a_very_short_file_are_cleared_and_the_last_has_no_speed(run, tmp_path, capsys):
    for name, channels, rate, n, kind in (("wide", 8, 192_000, 20_000, "PCM_24"), ("deep", 1, 44_100, 9000, "FLOAT"), ("short", 1, 8000, 400, "PCM_16")):  # fmt: skip
        path = tmp_path / f"{name}.wav"
        sf.write(path, noise(n, channels).T, rate, subtype=kind)
        assert main(["mix", "enhance", str(path), "--with", str(run.path), "--json", "--quiet"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert sf.info(told["file"]).frames == n
        assert (told["real_time_factor"] is None) == (name == "short"), "less than a tenth of a second tells no speed"
