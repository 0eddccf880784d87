"""T5 directories: read with equal logits, written with greedily and by beams as transformers does, tuned, written back."""

import json
import shutil

import pytest
import torch

pytest.importorskip("transformers", reason="needs the extra text")

import transformers

import bottega
from bottega.cli import main
from bottega.core import Batch, CheckpointError, DataError, RecipeError, Rng
from bottega.crafts.write_given import rewrite
from hf_pairs import PAIRS, t5

KINDS = {
    "first": {}, "v1_1": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
}  # fmt: skip
DEEP = {"deep": {"num_decoder_layers": 3, "feed_forward_proj": "gated-silu"}}  # with which transformers cannot generate
SAID = ["the old dog sees the moon", "the red ship likes the river and the small house", "king"]
FREE = {"train.ema": 0.0, "optim.warmup": 0.1, "train.monitor": False, "train.checks": 0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    here = tmp_path_factory.mktemp("t5")
    return {kind: t5(here / kind, **more) for kind, more in (KINDS | DEEP).items()}


def theirs(folder):
    return transformers.T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


def likelihoods(folder, texts, x):
    """``log p(x | text)`` of each row as transformers has it."""
    model, tokens = theirs(folder), transformers.AutoTokenizer.from_pretrained(folder)
    asked = tokens(texts, return_tensors="pt", padding=True)
    begun = torch.cat([torch.zeros(len(x), 1, dtype=torch.long), x[:, :-1]], 1)
    with torch.no_grad():
        logits = model(
            input_ids=asked.input_ids, attention_mask=asked.attention_mask, decoder_input_ids=begun
        ).logits.log_softmax(-1)
    return logits.gather(2, x[..., None])[..., 0].sum(1)


@pytest.mark.parametrize("kind", [*KINDS, *DEEP])
def test_a_directory_is_a_run_with_equal_logits(folders, kind):
    run = bottega.load(folders[kind])
    assert run.recipe.family["name"] == "seq2seq"
    x = torch.randint(3, run.spec.vocab, (3, 140), generator=torch.Generator().manual_seed(0))  # beyond 128 all are far
    cond = run.codec.encode_cond(SAID)
    assert cond[0, (cond[0] != run.codec.end).sum()] == 1, "closed as T5 wants it"
    with torch.no_grad():
        got = run.model.log_prob(Batch(x, cond), Rng(0))
        assert torch.allclose(got, likelihoods(folders[kind], SAID, x), atol=1e-3, rtol=1e-5)
        model, tokens = theirs(folders[kind]), transformers.AutoTokenizer.from_pretrained(folders[kind])
        asked = tokens(SAID, return_tensors="pt", padding=True)
        begun = torch.cat([torch.zeros(3, 1, dtype=torch.long), x], 1)
        said = model(input_ids=asked.input_ids, attention_mask=asked.attention_mask, decoder_input_ids=begun).logits
        assert torch.allclose(run.model.step(3, cond).read(x), said[:, 1:], atol=1e-4)
        other = run.model.log_prob(Batch(x, cond.roll(1, 0)), Rng(0))
        assert not torch.allclose(got, other, atol=1e-2), "what is given matters"


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_it_writes_as_transformers_does(folders, kind, beams):
    run, model = bottega.load(folders[kind]), theirs(folders[kind])
    tokens = transformers.AutoTokenizer.from_pretrained(folders[kind])
    knobs = {"beams": beams} if beams > 1 else {"temperature": 0.0}
    for text in SAID:
        made = model.generate(
            **tokens(text, return_tensors="pt"), max_new_tokens=12, num_beams=beams, do_sample=False,
            early_stopping="never" if beams > 1 else False,
        )[0, 1:]  # fmt: skip
        want = made.tolist()
        want = want[: want.index(1)] if 1 in want else want
        (got,) = run.model.sample(1, Rng(0), run.codec.encode_cond([text]), max_new=12, stop=run.codec.end, **knobs)
        got = got.tolist()
        assert (got[: got.index(1)] if 1 in got else got) == want


def test_commands_translate_summarise_and_sample(folders, tmp_path, capsys):
    run = str(folders["first"])
    out = {}
    for name, argv in {
        "translate": ["write", "translate", run, SAID[0], "--json"],
        "beams": ["write", "translate", run, SAID[0], "--beams", "2", "--json"],
        "prefix": ["write", "translate", run, SAID[0], "--prefix", "translate English to Elvish: ", "--json"],
        "waits": ["write", "translate", run, SAID[0], "--prefix", "summarize: ", "--wait", "2", "--json"],
        "summarise": ["write", "summarise", SAID[0], "--run", run, "--prefix", "summarize: ", "--tries", "1", "--json"],
        "sample": ["sample", run, "-n", "1", "--cond", SAID[0], "--set", "temperature=0", "--set", "max_new=12",
                   "--out", str(tmp_path), "--json"],
    }.items():  # fmt: skip
        assert main(argv) in {0, 2} if name == "summarise" else main(argv) == 0, capsys.readouterr().err
        out[name] = json.loads(capsys.readouterr().out)
    model = bottega.load(run)
    assert out["translate"]["texts"] == rewrite(model, [SAID[0]])
    assert out["prefix"]["texts"] == rewrite(model, ["translate English to Elvish: " + SAID[0]])
    assert out["prefix"]["texts"] != out["translate"]["texts"]
    assert out["summarise"]["text"]
    assert main(["sample", run, "-n", "1"]) == 2
    assert "say with --cond TEXT" in capsys.readouterr().err
    assert main(["write", "generate", run, "the old"]) == 2
    assert "makes a text of a text, and none is given" in capsys.readouterr().err
    assert main(["write", "translate", str(folders["first"]), " ".join(["moon"] * 600)]) == 2
    assert "have room" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_written_back_it_is_the_same(folders, kind, tmp_path, capfd):
    assert main(["export", str(folders[kind]), "--out", str(tmp_path / "copy"), "--quiet"]) == 0
    x = torch.randint(3, 30, (3, 9), generator=torch.Generator().manual_seed(1))
    assert torch.allclose(likelihoods(folders[kind], SAID, x), likelihoods(tmp_path / "copy", SAID, x), atol=1e-4)
    assert bottega.load(tmp_path / "copy").weights_hash == bottega.load(folders[kind]).weights_hash
    made = json.loads((tmp_path / "copy" / "generation_config.json").read_text())
    assert (made["decoder_start_token_id"], made["eos_token_id"], made["pad_token_id"]) == (0, 1, 0)
    assert main(["export", str(folders[kind]), "--to", "gguf", "--out", str(tmp_path / "x.gguf")]) == 2
    assert "a t5 is not written as GGUF" in capfd.readouterr().err


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_pairs_are_learned_whole_and_by_adapters(folders, kind, rank, tmp_path):
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps({"en": a, "elvish": b}) + "\n" for a, b in PAIRS))
    changes = FREE | {
        "train.lora": rank, "codec.given": "en", "codec.column": "elvish", "codec.length": 40, "codec.given_length": 90, "optim.lr": 5e-3,
        "codec.prefix": "translate English to Elvish: ", "train.batch": 16, "family.dropout": 0.1,
    }  # fmt: skip
    run = bottega.train(
        "translation", data, tmp_path / "run", steps=10, set=changes, base=str(folders[kind]), judge=False
    )
    assert run.recipe.family["dropout"] == 0.1
    start = bottega.load(folders[kind])
    (note,) = [n for n in run.evidence.notes if n.startswith("perplexity of the held-out text")]
    assert "(-" in note, note
    moved = {k for k, t in run.model.state_dict().items() if not torch.equal(t, start.model.state_dict()[k])}
    assert moved
    assert (rank == 0) == ("encoder.embed.weight" in moved), "adapters leave the embedding as it was"
    assert main(["export", str(run.path), "--out", str(tmp_path / "hf"), "--quiet"]) == 0
    x = torch.randint(3, 30, (3, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        got = run.model.log_prob(Batch(x, run.codec.encode_cond(SAID)), Rng(0))
    assert torch.allclose(got, likelihoods(tmp_path / "hf", [run.codec.prefix + t for t in SAID], x), atol=1e-3)
    batch = run.codec.encode([bottega.core.Item("moon", "the old dog")])
    assert run.codec.decode(batch.x, batch.cond)[0].cond == "the old dog", "the prefix is not part of what is given"
    again = bottega.load(run.path)
    assert again.weights_hash == run.weights_hash
    assert rewrite(again, SAID) == rewrite(run, SAID)


def test_a_given_text_that_fills_its_row_keeps_its_end(folders):
    from bottega.codecs.text import TextCodec

    own = {"tokenizer": str(folders["first"]), "unit": "item", "given": "en", "length": 8, "given_length": 12}
    codec = TextCodec(**own, long="cut").fit([])
    assert codec.encode_cond([SAID[1]])[0].tolist().index(codec.end) == 11
    assert codec.encode([bottega.core.Item("moon", SAID[1])]).cond[0].tolist().index(codec.end) == 11
    full = next(t for t in (" ".join(["o"] * k) for k in range(1, 20)) if len(codec.tokens([t])[0]) == 12)
    with pytest.raises(RecipeError, match="has 12 tokens, and 11 have room"):
        TextCodec(**own).fit([]).encode_cond([full])


def test_what_training_with_it_needs(folders, tmp_path):
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps({"en": a, "elvish": b}) + "\n" for a, b in PAIRS))
    base = str(folders["first"])
    with pytest.raises(RecipeError, match="names none that is given; set codec.given"):
        bottega.train("text", data, tmp_path / "a", base=base, set={"codec.column": "en"})
    with pytest.raises(RecipeError, match=r"is a language model \(seq2seq\), use recipe text"):
        bottega.train("classes", data, tmp_path / "a", base=base)
    own = {"codec.tokenizer": base, "codec.given": "en", "codec.column": "elvish", "codec.unit": "item"}
    with pytest.raises(RecipeError, match="set family.end = 1"):
        bottega.train("text", data, tmp_path / "a", set=own | {"family.name": "seq2seq"}, steps=1, judge=False)
    run = bottega.train(
        "text", data, tmp_path / "b", steps=1, judge=False, set=own | {"family.name": "seq2seq", "family.end": 1}
    )
    assert run.model.encoder.end == run.codec.end == 1


@pytest.mark.parametrize("family", [{"feed": "relu"}, {"feed": "swiglu", "tied": False}])
@pytest.mark.parametrize("tokenizer", ["bpe", "char"])
def test_our_own_runs_are_written_with_equal_logits_and_equal_tokens(tmp_path, family, tokenizer):
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps({"en": a, "elvish": b}) + "\n" for a, b in PAIRS))
    changes = FREE | {"codec.given": "en", "codec.column": "elvish", "codec.tokenizer": tokenizer, "codec.vocab": 280}
    changes |= {"family.positions": "relative", "family.width": 36, "family.depth": 2, "train.batch": 16}
    changes |= {f"family.{k}": v for k, v in family.items()}
    run = bottega.train("translation", data, tmp_path / "run", steps=2, set=changes, judge=False)
    assert main(["export", str(run.path), "--out", str(tmp_path / "hf"), "--quiet"]) == 0
    model, tokens = theirs(tmp_path / "hf"), transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    x = torch.randint(run.spec.vocab, (3, 9), generator=torch.Generator().manual_seed(1))
    asked = tokens(SAID, return_tensors="pt", padding=True)
    start = torch.full((3, 1), model.config.decoder_start_token_id)
    with torch.no_grad():
        said = model(
            input_ids=asked.input_ids, attention_mask=asked.attention_mask, decoder_input_ids=torch.cat([start, x], 1)
        ).logits
        mine = run.model.step(3, run.codec.encode_cond(SAID)).read(x)
    assert torch.allclose(mine, said[:, 1:, : run.spec.vocab], atol=1e-4)
    made = model.generate(**tokens(SAID[0], return_tensors="pt"), max_new_tokens=20, do_sample=False)[0, 1:].tolist()
    (want,) = run.model.sample(
        1, Rng(0), run.codec.encode_cond(SAID[:1]), max_new=20, temperature=0.0, stop=run.codec.end
    )
    assert made == want.tolist()[: len(made)]
    again = bottega.load(tmp_path / "hf")
    with torch.no_grad():
        back = again.model.step(3, again.codec.encode_cond(SAID)).read(x)
    assert torch.allclose(back[..., : run.spec.vocab], mine, atol=1e-4)
    rotary = bottega.train("translation", data, tmp_path / "b", steps=1, judge=False,
                           set=changes | {"family.positions": "rotary"})  # fmt: skip
    assert main(["export", str(rotary.path), "--out", str(tmp_path / "no"), "--quiet"]) == 2


def broken(folders, tmp_path, kind="first"):
    there = shutil.copytree(folders[kind], tmp_path / "broken", dirs_exist_ok=True)
    return there, json.loads((there / "config.json").read_text())


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"relative_attention_num_buckets": 16}, "relative_attention_num_buckets is 16, which our transformer does not do"),
     ({"feed_forward_proj": "gated-tanh"}, "feed_forward_proj is 'gated-tanh', which our transformer does not do"),
     ({"d_ff": 40}, r"config.json says \(40, 32\)"), ({"num_layers": 1}, "is of no part of a T5"),
     ({"num_layers": 4}, "lacks the weights for 'encoder.body.layers.2"),
     ({"model_type": "marian"}, "holds a model of kind 'marian', of an encoder and a decoder; it is not read here, .*mt5, roberta, t5")],
)  # fmt: skip
def test_other_arithmetic_is_refused_by_its_name(folders, tmp_path, changes, why):
    there, config = broken(folders, tmp_path)
    (there / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(CheckpointError, match=why) as told:
        bottega.load(there)
    assert "\n" not in str(told.value)
    assert main(["write", "translate", str(there), "moon"]) == 2


def test_pickles_missing_values_and_strange_tokenizers_are_refused(folders, tmp_path):
    there, config = broken(folders, tmp_path)
    del config["d_kv"]
    (there / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="lacks 'd_kv'"):
        bottega.load(there)
    there, config = broken(folders, tmp_path)
    for changes, why in (({"pad_token_id": 3}, "it pads with 0, the model with 3"), ({"eos_token_id": 5}, "its end is 1"),
                         ({"vocab_size": 20}, "tokens and the model 20")):  # fmt: skip
        (there / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises(DataError, match=f"is of another model.*{why}"):
            bottega.load(there)
    there, _ = broken(folders, tmp_path, "v1_1")
    config = json.loads((there / "config.json").read_text())
    (there / "config.json").write_text(json.dumps(config | {"scale_decoder_outputs": True}))
    with pytest.raises(CheckpointError, match="lm_head.weight is another"):
        bottega.load(there)
    (there / "model.safetensors").unlink()
    (there / "pytorch_model.bin").write_bytes(b"\x80\x02whatever")
    with pytest.raises(CheckpointError, match=r"as a pickle only.*T5ForConditionalGeneration.from_pretrained\(DIR\)"):
        bottega.load(there)
