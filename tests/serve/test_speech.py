"""Speech and other sounds over HTTP: a small run that speaks, by the real client; what runs of sounds are given."""

from __future__ import annotations

import base64

import httpx
import numpy as np
import pytest

pytest.importorskip("soundfile", reason="sound files need soundfile, extra audio, which is not installed")
pytest.importorskip("soxr", reason="resampling needs soxr, extra audio, which is not installed")
pytest.importorskip("openai")

import openai
import soundfile

import bottega
from bottega.codecs._sound_files import read_sound
from bottega.core import Sound
from bottega.crafts.speak import Speaker
from bottega.trust.mark import read
from recipes import write_recipe
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


def test_a_sound_or_a_class_is_a_condition(tmp_path):
    """A run that is given a recording takes it in base64, one of classes takes their names; both as the run itself would."""
    tones = {"name": "tones", "n": 30, "seconds": 0.3}
    codec = {"name": "audio", "form": "wave", "rate": 8000, "seconds": 0.256}
    made = {}
    for name, family, more in (("clear", "enhancer", {"labels": "none", "degrade": "noise"}), ("notes", "vae", {"form": "mel", "window": 256, "hop": 128, "mels": 16})):  # fmt: skip
        recipe = write_recipe(tmp_path, family, name=name, data=tones, codec=codec | more, steps=1, batch=8)
        made[name] = bottega.train(recipe, out=tmp_path / name, judge=False)
    given = (0.1 * np.random.default_rng(0).normal(size=2048)).astype(np.float32)
    soundfile.write(tmp_path / "given.wav", given, 8000, subtype="FLOAT")
    coded = base64.b64encode((tmp_path / "given.wav").read_bytes()).decode()

    with (
        running(runs=tuple(str(run.path) for run in made.values())) as server,
        httpx.Client(base_url=server.url) as http,
    ):

        def ask(model, condition):
            return http.post("/v1/pieces", json={"model": model, "seed": 3, "condition": condition})

        def heard(answer):
            assert answer.status_code == 200, answer.text
            (tmp_path / "got.wav").write_bytes(base64.b64decode(answer.json()["pieces"][0]["data"]))
            return read_sound(tmp_path / "got.wav").samples[0]

        wanted = made["clear"].sample(1, seeds=[3], cond=Sound(given[None], 8000)).items[0].value.samples[0]
        for condition in (coded, {"data": coded}, f"data:audio/wav;base64,{coded}"):
            assert np.corrcoef(heard(ask("clear", condition)), wanted)[0, 1] > 0.95  # but for its watermark
        other = base64.b64encode((tmp_path / "given.wav").read_bytes()[:60]).decode()
        for bad in ("/etc/passwd", str(tmp_path / "given.wav"), "", other, {"file": "x"}, 3):
            refused = ask("clear", bad)
            assert refused.status_code == 400, bad
            assert "condition" in refused.json()["error"]["message"]
            assert str(tmp_path) not in refused.json()["error"]["message"]

        note = made["notes"].codec.classes[1]
        wanted = made["notes"].sample(1, seeds=[3], cond=note).items[0].value.samples[0]
        answer = ask("notes", note)
        assert answer.json()["pieces"][0]["condition"] == note
        assert np.corrcoef(heard(answer), wanted)[0, 1] > 0.95
        assert ask("notes", "no such note").status_code == 400
