"""Recordings through a model that clears them: any rate, length and channels, the same for any block."""

import json
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
    with pytest.raises(RecipeError, match="wet 2"):
        craft.enhance(run, Sound(noise(100), 8000), wet=2)
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
