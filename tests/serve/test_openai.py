"""The real ``openai`` client against a real server."""

from __future__ import annotations

import base64
import io
import json
import math

import numpy as np
import openai
import pytest
from PIL import Image

import bottega
from bottega.crafts import write
from bottega.trust.mark import read


def test_models_say_what_they_can(client):
    found = {m.id: m for m in client.models.list().data}
    assert set(found) == {"fox", "recurrent", "digits", "codes"}
    fox, digits, codes = found["fox"], found["digits"], found["codes"]
    assert {"complete", "chat", "stream", "embed", "edit", "piece"} <= set(fox.capabilities)
    assert fox.context >= 63
    assert fox.loaded
    assert len(fox.model_sha256) == 64
    assert fox.knobs["temperature"]["type"] == "number"
    assert {"image", "edit", "piece"} <= set(digits.capabilities)
    assert digits.conditions == [str(d) for d in range(10)]
    assert "encode" in codes.capabilities
    assert codes.conditions is None
    assert client.models.retrieve("fox").medium == "text"


def test_a_completion_is_what_the_workshop_writes(client, served):
    run = bottega.load(served["fox"])
    for prompt, seed, knobs in (("the quick", 3, {"temperature": 0.9}), ("", 4, {}), ("lazy dog. naïve", 5, {"top_p": 0.8}), ("fox", 6, {"temperature": 0}),
                                ("the", 7, {"frequency_penalty": 0.5, "presence_penalty": 0.3})):  # fmt: skip
        found = client.completions.create(model="fox", prompt=prompt, seed=seed, max_tokens=12, **knobs)
        (wanted,) = write.complete(run, [prompt], seed=seed, max_new=12, **knobs)
        assert found.choices[0].text == wanted.text
        assert found.choices[0].finish_reason == {"end": "stop"}.get(wanted.finish, wanted.finish)
    told = found.bottega
    assert (told["seed"], told["model_sha256"], told["caller"]) == (7, run.weights_hash, "local")
    assert told["data_sha256"] == run.header["fingerprint"]


def test_a_stream_is_the_completion(client):
    asked = {"model": "fox", "prompt": "the quick", "seed": 9, "max_tokens": 30}
    whole = client.completions.create(**asked)
    parts = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(p.choices[0].text for p in parts if p.choices) == whole.choices[0].text
    assert len(parts) > 10
    assert parts[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_several_prompts_and_choices(client):
    both = client.completions.create(model="fox", prompt=["the", "lazy dog"], n=2, seed=1, max_tokens=8)
    assert [c.index for c in both.choices] == [0, 1, 2, 3]
    for prompt, k in (("the", 0), ("lazy dog", 2)):
        for j in range(2):
            alone = client.completions.create(model="fox", prompt=prompt, seed=1 + j, max_tokens=8)
            assert alone.choices[0].text == both.choices[k + j].text
    spread = {0: "", 1: ""}
    for part in client.completions.create(model="fox", prompt="the", n=2, seed=1, max_tokens=8, stream=True):
        spread[part.choices[0].index] += part.choices[0].text
    assert spread == {0: both.choices[0].text, 1: both.choices[1].text}


def test_stop_strings_are_never_sent(client):
    plain = client.completions.create(model="fox", prompt="the", seed=1, max_tokens=40, temperature=0.3).choices[0].text
    stop = plain[8:11]
    asked = {"model": "fox", "prompt": "the", "seed": 1, "max_tokens": 40, "temperature": 0.3, "stop": [stop]}
    found = client.completions.create(**asked).choices[0]
    assert found.text == plain[: plain.index(stop)]
    assert found.finish_reason == "stop"
    assert "".join(p.choices[0].text for p in client.completions.create(**asked, stream=True)) == found.text


def test_log_probabilities(client, served):
    found = client.completions.create(model="fox", prompt="the quick", seed=2, max_tokens=6, logprobs=3).choices[0]
    (wanted,) = write.complete(bottega.load(served["fox"]), ["the quick"], seed=2, max_new=6, logprobs=3)
    assert np.allclose(found.logprobs.token_logprobs, wanted.logprobs, atol=1e-4)
    assert "".join(found.logprobs.tokens) == found.text
    assert all(len(place) == 3 for place in found.logprobs.top_logprobs)
    chat = client.chat.completions.create(model="fox", messages=[{"role": "user", "content": "hi"}], logprobs=True, top_logprobs=2, max_tokens=4)  # fmt: skip
    for place in chat.choices[0].logprobs.content:
        assert place.logprob <= 0
        assert len(place.top_logprobs) == 2
        assert place.top_logprobs[0].logprob >= place.top_logprobs[1].logprob


def test_streaming_chat(client):
    asked = {"model": "fox", "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}], "seed": 3, "max_tokens": 20}  # fmt: skip
    whole = client.chat.completions.create(**asked).choices[0]
    assert whole.message.role == "assistant"
    parts = list(client.chat.completions.create(**asked, stream=True))
    assert "".join(p.choices[0].delta.content or "" for p in parts) == whole.message.content
    assert parts[0].choices[0].delta.role == "assistant"
    assert parts[-1].choices[0].finish_reason == whole.finish_reason


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}, "ok": {"type": "boolean"}}, "required": ["n", "ok"], "additionalProperties": False}  # fmt: skip


def test_json_by_a_schema(client):
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
    for seed in range(4):
        found = client.chat.completions.create(
            model="fox", messages=[{"role": "user", "content": "hi"}], response_format=form, seed=seed, max_tokens=40
        )
        said = json.loads(found.choices[0].message.content)
        assert set(said) == {"n", "ok"}
        assert isinstance(said["ok"], bool)
        assert found.choices[0].finish_reason == "stop"


def test_tools_are_called(client):
    tools = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("add", "sub")]
    asked = {"model": "fox", "messages": [{"role": "user", "content": "1"}], "max_tokens": 64, "seed": 1}
    must = client.chat.completions.create(**asked, tools=tools[:1], tool_choice="required")
    (call,) = must.choices[0].message.tool_calls
    assert call.function.name == "add"
    assert set(json.loads(call.function.arguments)) == {"n", "ok"}
    assert must.choices[0].finish_reason == "tool_calls"
    with pytest.raises(openai.BadRequestError, match="tool_choice names 'mul'"):
        client.chat.completions.create(**asked, tools=tools, tool_choice={"type": "function", "function": {"name": "mul"}})  # fmt: skip
    streamed = list(client.chat.completions.create(**asked, tools=tools[:1], tool_choice="required", stream=True))
    calls = [c for p in streamed for c in p.choices[0].delta.tool_calls or []]
    assert calls[0].function.arguments == call.function.arguments
    assert not any(p.choices[0].delta.content for p in streamed)


def test_models_without_pages_take_turns(client, served):
    run = bottega.load(served["recurrent"])
    found = client.completions.create(model="recurrent", prompt="the", seed=2, max_tokens=10)
    assert found.choices[0].text == write.generate(run, "the", seed=2, max_new=10)[0]
    parts = client.completions.create(model="recurrent", prompt="the", seed=2, max_tokens=10, stream=True)
    assert "".join(p.choices[0].text for p in parts) == found.choices[0].text
    with pytest.raises(openai.BadRequestError, match="knows no logprobs"):
        client.completions.create(model="recurrent", prompt="the", logprobs=1)


def test_embeddings(client, served):
    texts = ["the quick brown fox", "lazy dog", "the quick brown fox"]
    found = client.embeddings.create(model="fox", input=texts)
    wanted = bottega.load(served["fox"]).features(texts)
    assert np.allclose([d.embedding for d in found.data], wanted.numpy(), atol=1e-5)
    assert found.data[0].embedding == found.data[2].embedding
    assert "mean of the last layer" in found.bottega["kind"]
    floats = client.embeddings.create(model="fox", input="lazy dog", encoding_format="float")
    assert np.allclose(floats.data[0].embedding, found.data[1].embedding, atol=1e-5)


def _png(data):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_images(client, served, tmp_path):
    asked = {"model": "digits", "prompt": "7", "extra_body": {"seed": 5, "knobs": {"steps": 3}}}
    found = client.images.generate(**asked, n=2)
    alone = client.images.generate(model="digits", prompt="7", extra_body={"seed": 6, "knobs": {"steps": 3}})
    assert found.data[1].b64_json == alone.data[0].b64_json
    wanted = bottega.load(served["digits"]).sample(1, seed=5, cond="7", steps=3).items[0].value
    assert np.array_equal(_png(found.data[0].b64_json), wanted[..., 0])
    path = tmp_path / "one.png"
    path.write_bytes(base64.b64decode(found.data[0].b64_json))
    assert read(path)["seed"] == "5"
    with pytest.raises(openai.BadRequestError, match="unknown class 'eleven'"):
        client.images.generate(model="digits", prompt="eleven")
    with pytest.raises(openai.BadRequestError, match="this model makes 8x8"):
        client.images.generate(model="digits", prompt="1", size="1024x1024")


def test_image_edits_keep_what_is_not_masked(client):
    picture = np.zeros((8, 8), np.uint8)
    picture[:, 2:6] = 200
    mask = np.full((8, 8, 4), 255, np.uint8)
    mask[:4, :, 3] = 0  # the upper half is made anew
    files = []
    for array, mode in ((picture, "L"), (mask, "RGBA")):
        box = io.BytesIO()
        Image.fromarray(array, mode).save(box, "PNG")
        files.append(box.getvalue())
    found = client.images.edit(model="digits", image=("a.png", files[0]), mask=("m.png", files[1]), prompt="3", n=2, extra_body={"seed": 1})  # fmt: skip
    made = [_png(d.b64_json).astype(int) for d in found.data]
    for one in made:
        assert np.abs(one[4:] - picture[4:]).max() <= 16  # digits have 17 levels
    assert not np.array_equal(made[0][:4], made[1][:4])


def test_no_run_hears(client):
    with pytest.raises(openai.BadRequestError, match="recognises no speech"):
        client.audio.transcriptions.create(model="fox", file=("a.wav", b"RIFF"))
    with pytest.raises(openai.BadRequestError, match="has no 'speech'"):
        client.audio.speech.create(model="fox", input="hello", voice="alloy")


def test_usage_adds_up(client):
    found = client.completions.create(model="fox", prompt="the quick", max_tokens=5, temperature=0)
    usage = found.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens == 5
    assert math.isclose(usage.prompt_tokens, len("the quick") / 2, abs_tol=4)
