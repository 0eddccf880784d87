"""Other people's model directories: loaded natively with equal logits, written back, refused where they must be."""

import json
import shutil

import pytest
import torch

pytest.importorskip("transformers", reason="needs the extra text")

import transformers

import bottega
from bottega.cli import main
from bottega.core import Batch, BottegaError, CheckpointError, DataError, RecipeError, Rng
from bottega.crafts import write
from hf import END, TEXT, directory

KINDS = {
    "gpt2": {}, "llama": {}, "mistral": {"sliding_window": None}, "qwen2": {"tie_word_embeddings": True},
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    here = tmp_path_factory.mktemp("hf")
    return {kind: directory(here / kind, kind, **more) for kind, more in KINDS.items()} | {
        "gpt_neox": directory(here / "gpt_neox", "gpt_neox")
    }


def theirs(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def after_start(model, x):
    """Logits behind the start and each token of ``x`` but the last."""
    return model(torch.cat([torch.full((len(x), 1), model.start_token), x], 1)[:, :-1]).logits


@pytest.mark.parametrize("kind", [*KINDS, "gpt_neox"])
def test_a_directory_is_a_run_with_equal_logits(folders, kind):
    run = bottega.load(folders[kind])
    assert run.recipe.family["name"] == ("gpt" if kind in KINDS else "pretrained")
    other = theirs(folders[kind])
    other.start_token = run.model.start
    x = torch.randint(run.spec.vocab, (3, 20), generator=torch.Generator().manual_seed(0))
    want = after_start(other, x).log_softmax(-1).gather(2, x[..., None])[..., 0].sum(1)
    with torch.no_grad():
        assert torch.allclose(run.model.log_prob(Batch(x), Rng(0)), want, atol=1e-4, rtol=1e-5)
    if kind in KINDS:
        with torch.no_grad():
            step = run.model.step(3)
            assert torch.allclose(step(x[:, :-1]), after_start(other, x)[:, -1], atol=1e-4)


@pytest.mark.parametrize("kind", [*KINDS, "gpt_neox"])
def test_it_goes_on_from_a_prompt_as_transformers_does(folders, kind):
    run, other = bottega.load(folders[kind]), theirs(folders[kind])
    tokens = transformers.AutoTokenizer.from_pretrained(folders[kind])
    asked = tokens("The north wind", return_tensors="pt")
    made = other.generate(**asked, max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0)
    want = made[0, asked.input_ids.shape[1] :]
    prompt = run.codec.encode_prompt("The north wind")[None]
    got = run.model.edit(Batch(prompt), torch.ones_like(prompt, dtype=torch.bool), Rng(0), max_new=12, temperature=0.0)
    assert got[0, prompt.shape[1] :].tolist() == want.tolist()
    assert len(write.generate(run, "The north", max_new=5, n=2)) == 2


@pytest.mark.parametrize("kind", [*KINDS, "gpt_neox"])
def test_written_back_it_is_the_same(folders, kind, tmp_path, capfd):
    assert main(["export", str(folders[kind]), "--out", str(tmp_path / "copy"), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["folder"].endswith("copy")
    x = torch.arange(20)[None] + 5
    assert torch.allclose(theirs(folders[kind])(x).logits, theirs(tmp_path / "copy")(x).logits, atol=1e-5)
    a, b = (transformers.AutoTokenizer.from_pretrained(f) for f in (folders[kind], tmp_path / "copy"))
    assert a(TEXT[1]).input_ids == b(TEXT[1]).input_ids
    assert bottega.load(tmp_path / "copy").weights_hash == bottega.load(folders[kind]).weights_hash
    assert main(["export", str(folders[kind]), "--out", str(tmp_path / "copy")]) == 2, "nothing is written over"


@pytest.mark.parametrize(
    ("family", "tokenizer"),
    [({}, "bpe"), ({"norm": "layer", "feed": "gelu_tanh", "positions": "learned", "bias": True, "tied": False}, "char"),
     ({"qkv_bias": True, "theta": 5000.0, "eps": 1e-4}, "byte"), ({"kv_heads": 1, "tied": False}, "bpe")],
)  # fmt: skip
def test_our_own_runs_are_written_with_equal_logits_and_equal_tokens(tmp_path, family, tokenizer):
    text = tmp_path / "text.txt"
    text.write_text("\n".join(TEXT * 8))
    (tmp_path / "own.toml").write_text(
        f'[codec]\nname = "text"\ntokenizer = "{tokenizer}"\nlength = 16\nvocab = 280\n[family]\nname = "gpt"\nsize = 2\n'
        + "".join(f"{k} = {json.dumps(v)}\n" for k, v in family.items())
        + "[train]\nsteps = 2\nbatch = 4\n"
    )
    run = bottega.train(tmp_path / "own.toml", text, tmp_path / "run", judge=False)
    assert main(["export", str(run.path), "--to", "hf", "--out", str(tmp_path / "hf"), "--quiet"]) == 0
    other = theirs(tmp_path / "hf")
    other.start_token = run.model.start
    x = torch.randint(run.spec.vocab, (2, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mine = run.model.step(2)(x[:, :-1])
    assert torch.allclose(mine, after_start(other, x)[:, -1, : run.spec.vocab], atol=1e-4)
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    for piece in TEXT:
        got = tokens(piece).input_ids
        assert got[0] == run.model.start
        assert got[1:] == run.codec.encode_prompt(piece).tolist()
        assert tokens.decode(got, skip_special_tokens=True) == piece
    again = bottega.load(tmp_path / "hf")
    assert torch.allclose(again.model.step(2)(x[:, :-1])[:, : run.spec.vocab], mine, atol=1e-5)


def test_half_precision_shards_and_older_names_are_read(folders, tmp_path):
    other = theirs(folders["gpt2"])
    other.to(torch.bfloat16).save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folders["gpt2"] / name, tmp_path / "shards" / name)
    run = bottega.load(tmp_path / "shards")
    assert run.model.embed.weight.dtype == torch.float32
    assert torch.equal(run.model.embed.weight, other.transformer.wte.weight.float())
    index = tmp_path / "shards" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../../elsewhere.safetensors"}}))
    with pytest.raises(CheckpointError, match="points outside"):
        bottega.load(tmp_path / "shards")


def broken(folders, tmp_path, kind="gpt2"):
    return shutil.copytree(folders[kind], tmp_path / "broken", dirs_exist_ok=True)


def test_pickles_are_refused_with_the_mend(folders, tmp_path):
    there = broken(folders, tmp_path)
    (there / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"there is no model.safetensors"):
        bottega.load(there)
    (there / "pytorch_model.bin").write_bytes(b"\x80\x02whatever")
    with pytest.raises(
        CheckpointError, match=r"as a pickle only \(pytorch_model.bin\).*save_pretrained\(NEW\)"
    ) as told:
        bottega.load(there)
    assert "\n" not in str(told.value)


def test_the_tokenizer_of_another_model_is_refused(folders, tmp_path):
    there = broken(folders, tmp_path)
    config = json.loads((there / "config.json").read_text())
    (there / "config.json").write_text(json.dumps(config | {"eos_token_id": 7}))
    with pytest.raises(DataError, match="is of another model"):
        bottega.load(there)
    (there / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    with pytest.raises(DataError, match="is of another model"):
        bottega.load(there)
    (there / "config.json").write_text(json.dumps(config | {"vocab_size": 5000}))
    with pytest.raises(CheckpointError, match="holds another model"):
        bottega.load(there)
    text = tmp_path / "t.txt"
    text.write_text(TEXT[0])
    with pytest.raises(RecipeError, match="has one of its own"):
        bottega.train("text", text, set={"codec.tokenizer": str(folders["llama"])}, base=str(folders["gpt2"]))


def test_what_is_missing_or_damaged_is_told(folders, tmp_path):
    there = broken(folders, tmp_path)
    whole = (there / "model.safetensors").read_bytes()
    (there / "model.safetensors").write_bytes(whole[:200])
    with pytest.raises(CheckpointError, match="truncated"):
        bottega.load(there)
    (there / "model.safetensors").write_bytes(whole)
    (there / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be read"):
        bottega.load(there)
    (there / "tokenizer.json").unlink()
    with pytest.raises(DataError, match="no tokenizer.json"):
        bottega.load(there)
    (there / "vocab.json").write_text("{}")
    with pytest.raises(DataError, match="AutoTokenizer"):
        bottega.load(there)
    with pytest.raises(CheckpointError, match="no directory of a Hugging Face model"):
        bottega.train("text", base=str(tmp_path / "nothing"))
    config = json.loads((there / "config.json").read_text())
    (there / "config.json").write_text(json.dumps(config | {"model_type": "nothing-known"}))
    shutil.copy(folders["gpt2"] / "tokenizer.json", there / "tokenizer.json")
    with pytest.raises(BottegaError, match="no causal language model of 'nothing-known'"):
        bottega.load(there)


def test_arithmetic_that_is_not_ours_is_left_to_transformers(folders, tmp_path):
    there = broken(folders, tmp_path)
    config = json.loads((there / "config.json").read_text())
    (there / "config.json").write_text(json.dumps(config | {"scale_attn_by_inverse_layer_idx": True}))
    run = bottega.load(there)
    assert run.recipe.family["name"] == "pretrained"
    x = torch.arange(20)[None] + 5
    with torch.no_grad():
        assert torch.allclose(run.model.inner(x).logits, theirs(there)(x).logits, atol=1e-5)


def test_runs_that_no_other_program_knows_are_refused(tmp_path):
    from bottega.core import Spec, lookup

    gpt = lookup("families", "gpt")
    for family, why in (({"norm": "layer"}, "as a GPT-2 only"), ({"feed": "gelu"}, "as a Llama or Qwen 2 only")):
        with pytest.raises(RecipeError, match=why):
            gpt(Spec((8,), vocab=9), size=1, **family).to_huggingface()
    with pytest.raises(RecipeError, match="without conditions"):
        gpt(Spec((8,), vocab=9, cond=Spec((), vocab=2)), size=1).to_huggingface()


def test_marks_in_a_text_are_letters_and_the_round_trip_is_exact(folders, tmp_path):
    from bottega.codecs.text import TextCodec
    from bottega.core import Item

    for kind in KINDS:
        codec = TextCodec(tokenizer=str(folders[kind]), length=32, unit="item").fit([])
        for text in (*TEXT, f"a {END} in the middle", "  blanks \n\n at both ends  "):
            tokens = codec.encode_prompt(text)
            assert codec.end not in tokens.tolist()
            assert codec.decode(tokens[None])[0].value == text
            assert b"".join(codec.spelling[t] for t in tokens.tolist()) == text.encode()
        batch = codec.encode([Item("short")])
        assert batch.x[0, -1] == codec.end
        assert batch.mask.sum() == len(codec.encode_prompt("short")) + 1
        state = json.loads(json.dumps(codec.state()))
        again = TextCodec(tokenizer="/gone/tokenizer.json", length=32).load_state(state)
        assert (again.end, again.spec.vocab, again.foreign.begins) == (
            codec.end,
            codec.spec.vocab,
            codec.foreign.begins,
        )
        assert codec.foreign.begins == (-1 if kind in {"gpt2", "qwen2"} else codec.foreign.begins)
    with pytest.raises(RecipeError, match="no text is given that it could stand before"):
        TextCodec(tokenizer="./x", unit="item", prefix="translate: ")
    with pytest.raises(RecipeError, match="did you mean 'bpe'"):
        TextCodec(tokenizer="bpf")


def test_a_name_of_the_hub_is_fetched_and_is_a_run(folders, monkeypatch, capsys):
    import huggingface_hub

    asked = []

    def fetched(name, allow_patterns):
        asked.append((name, tuple(allow_patterns)))
        if name != "someone/small":
            raise OSError("no such\nmodel")
        return str(folders["gpt2"])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    run = bottega.load("hub:someone/small")
    assert asked == [("someone/small", ("*.safetensors", "*.json", "chat_template.jinja"))]
    assert run.recipe.name == "small"
    assert run.weights_hash == bottega.load(folders["gpt2"]).weights_hash
    told = ["The north", "--max-new", "5", "--set", "temperature=0"]
    texts = []
    for name in ("hub:someone/small", str(folders["gpt2"])):
        assert main(["write", "generate", name, *told]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert texts[0].startswith("The north")
    assert main(["write", "generate", "hub:someone/else", *told]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "cannot fetch hub:someone/else (no such model)" in err
    assert len(err.strip().splitlines()) == 1


def test_what_is_fetched_and_is_no_language_model_is_told(tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, allow_patterns: str(tmp_path))
    with pytest.raises(CheckpointError, match="hub:a/b is no language model"):
        bottega.load("hub:a/b")
