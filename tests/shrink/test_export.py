"""GGUF files: read by libraries that are not ours, they hold the same weights, tokens and logits."""

import json

import pytest
import torch

pytest.importorskip("transformers", reason="needs the extra text")
pytest.importorskip("gguf", reason="needs the extra text")

import gguf
import transformers

import bottega
from bottega.cli import main
from bottega.core import BottegaError
from bottega.shrink.export import to_gguf
from helpers import one_line
from hf import TEXT, directory


def own(folder, tokenizer="bpe", text=TEXT, **family):
    (folder / "text.txt").write_text("\n".join(text * 8))
    (folder / "own.toml").write_text(
        f'[codec]\nname = "text"\ntokenizer = "{tokenizer}"\nlength = 16\nvocab = 280\n[family]\nname = "gpt"\nsize = 2\n'
        + "".join(f"{k} = {json.dumps(v)}\n" for k, v in family.items())
        + "[train]\nsteps = 2\nbatch = 4\n"
    )
    return bottega.train(folder / "own.toml", folder / "text.txt", folder / "run", judge=False)


def read(file):
    """Settings by name, and weights as arrays by name, ``(out, in)``."""
    found = gguf.GGUFReader(file)
    return (
        {name: field.contents() for name, field in found.fields.items()},
        {t.name: torch.tensor(t.data.copy()).view(*reversed(t.shape.tolist())) for t in found.tensors},
    )


def by_transformers(file):
    return transformers.AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    ).eval(), transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


@pytest.mark.parametrize("family", [{}, {"kv_heads": 1, "tied": False, "theta": 5000.0, "eps": 1e-4}])
def test_transformers_reads_the_same_model_and_the_same_tokens(tmp_path, family, capfd):
    run = own(tmp_path, **family)
    assert main(["export", str(run.path), "--to", "gguf", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    file = run.path / "model.gguf"
    assert told["file"] == str(file)
    other, tokens = by_transformers(file)
    x = torch.randint(run.spec.vocab, (2, 12), generator=torch.Generator().manual_seed(1))
    start = torch.full((2, 1), run.model.start)
    with torch.no_grad():
        want = other(torch.cat([start, x], 1)).logits[:, -1, : run.spec.vocab]
        assert torch.allclose(run.model.step(2)(x), want, atol=1e-4)
    for piece in TEXT:
        assert tokens(piece).input_ids == [run.model.start, *run.codec.encode_prompt(piece).tolist()]
    assert main(["export", str(run.path), "--to", "gguf"]) == 2, "nothing is written over"


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2"])
def test_directories_of_others_are_written_too(tmp_path, kind):
    folder = directory(tmp_path / kind, kind)
    run = bottega.load(folder)
    other, tokens = by_transformers(to_gguf(run.model, run.codec, tmp_path / "model.gguf"))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    x = torch.arange(20)[None] + 5
    with torch.no_grad():
        assert torch.allclose(other(x).logits, theirs(x).logits, atol=1e-4)
    mine = run.codec.encode_prompt(TEXT[1]).tolist()
    assert tokens(TEXT[1]).input_ids == ([run.model.start] if run.model.begins else []) + mine


def test_a_gpt2_of_characters(tmp_path):
    """llama.cpp multiplies by ``(out, in)``, spells characters as GPT-2's bytes and wants a merge, even if of no use."""
    old = {"norm": "layer", "feed": "gelu_tanh", "positions": "learned", "bias": True, "tied": False}
    run = own(tmp_path, "char", TEXT[:1], **old)
    settings, weights = read(to_gguf(run.model, run.codec, tmp_path / "model.gguf", "made here"))
    assert settings["general.architecture"] == "gpt2"
    assert settings["general.description"] == "made here"
    spelt = settings["tokenizer.ggml.tokens"]
    assert [spelt[k] for k in run.codec.encode_prompt("sun. T").tolist()] == ["s", "u", "n", ".", "Ġ", "T"]
    assert settings["tokenizer.ggml.merges"] == ["ÿ þ"]
    assert settings["tokenizer.ggml.token_type"][run.codec.end] == gguf.TokenType.CONTROL
    state = run.model.state_dict()
    layer = "body.layers.1."
    assert torch.equal(weights["blk.1.ffn_up.weight"], state[layer + "feed.up.weight"])
    three = torch.cat([state[f"{layer}attention.{x}.weight"] for x in "qkv"])
    assert torch.equal(weights["blk.1.attn_qkv.weight"], three)
    assert torch.equal(weights["position_embd.weight"], state["body.place"])


def test_a_qwen_of_bytes(tmp_path):
    run = own(tmp_path, "byte", qkv_bias=True)
    settings, weights = read(to_gguf(run.model, run.codec, tmp_path / "model.gguf"))
    assert settings["general.architecture"] == "qwen2"
    assert len(settings["tokenizer.ggml.tokens"]) == settings["qwen2.vocab_size"] == len(run.model.embed.weight)
    state = run.model.state_dict()
    assert torch.equal(weights["blk.0.attn_k.bias"], state["body.layers.0.attention.k.bias"])
    assert torch.equal(weights["blk.0.attn_k.weight"], state["body.layers.0.attention.k.weight"]), "its pairs lie apart"


def test_what_it_refuses(tmp_path):
    run = own(tmp_path, "char")  # with characters of two and three bytes
    file = tmp_path / "model.gguf"
    with pytest.raises(BottegaError) as told:
        to_gguf(run.model, run.codec, file)
    one_line(told, "takes more than a byte", 'codec.tokenizer = "bpe"')
    foreign = bottega.load(directory(tmp_path / "neox", "gpt_neox"))
    with pytest.raises(BottegaError) as told:
        to_gguf(foreign.model, foreign.codec, file)
    one_line(told, "gpt_neox", "--to hf")
    other = bottega.load(directory(tmp_path / "llama", "llama"))
    written = other.codec.to_huggingface(None)
    written["tokenizer.json"]["pre_tokenizer"] = {"type": "Metaspace"}
    other.codec.to_huggingface = lambda start: written
    with pytest.raises(BottegaError) as told:
        to_gguf(other.model, other.codec, file)
    one_line(told, "not one of GPT-2's kind")
    assert not file.exists()
    assert not list(tmp_path.glob(".*part"))
