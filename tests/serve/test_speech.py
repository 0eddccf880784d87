"""Speech over HTTP: a small run that speaks, by the real client."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("soundfile", reason="sound files need soundfile, extra audio, which is not installed")
pytest.importorskip("soxr", reason="resampling needs soxr, extra audio, which is not installed")
pytest.importorskip("openai")

import openai

import bottega
from bottega.codecs._sound_files import read_sound
from bottega.crafts.speak import Speaker
from bottega.trust.mark import read
from serving import running

RECIPE = """
about = "a small run"
[data]
name = "speech"
n = 24
words = 2
label = "transcript"
held = 0.1
[codec]
name = "speech"
phones = "letters"
iterations = 4
length = 24
[family]
name = "fastspeech"
size = 16
depth = 1
[train]
steps = 2
batch = 8
"""


def test_a_text_is_said(tmp_path):
    (tmp_path / "small.toml").write_text(RECIPE)
    run = bottega.train(tmp_path / "small.toml", out=tmp_path / "voice", judge=False)
    with running(runs=(str(run.path),)) as server:
        client = openai.OpenAI(api_key="none", base_url=f"{server.url}/v1", max_retries=0)
        (model,) = client.models.list().data
        assert "speech" in model.capabilities
        voice = model.voices[-1]
        found = client.audio.speech.create(
            model="voice", input="one two", voice=voice, response_format="wav", extra_body={"seed": 5}
        )
        path = tmp_path / "said.wav"
        path.write_bytes(found.content)
        wanted = Speaker(run).say("one two", voice, seed=5)
        sound = read_sound(path)
        assert sound.rate == wanted.rate
        assert sound.samples.shape == wanted.samples.shape
        assert np.corrcoef(sound.samples[0], wanted.samples[0])[0, 1] > 0.95  # but for its watermark
        told = read(path)
        assert (told["seed"], told["weights"]) == ("5", run.weights_hash)
        with pytest.raises(openai.BadRequestError, match="no voice called 'alloy'"):
            client.audio.speech.create(model="voice", input="one", voice="alloy", response_format="wav")
        with pytest.raises(openai.BadRequestError, match="emotion 'hapy'"):
            client.audio.speech.create(
                model="voice", input="one", voice="default", response_format="wav", extra_body={"emotion": "hapy"}
            )
