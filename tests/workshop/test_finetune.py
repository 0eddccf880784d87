"""Row F16: a trained language model goes on learning from 200 lines, whole and by adapters; what it forgets is said."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("peft", reason="needs the extra text")

import bottega
from bottega.core import Batch, BottegaError, RecipeError, Rng
from bottega.training import checkpoint, lora
from bottega.workshop.run import ADAPTERS, WEIGHTS
from helpers import interrupted_at
from hf import directory


def lines(n, seed=0):
    """Reports of a made-up harbour: another vocabulary and form than the built-in text."""
    rng = Rng(seed)
    ships, goods = ("Aurora", "Borea", "Cygnus", "Dorado"), ("copper", "grain", "timber", "salt", "wool")
    pick = [rng.integers(k, n).tolist() for k in (4, 5, 60, 24)]
    return [
        f"{s:02d}h: the {ships[a]} lands {t} tons of {goods[b]} at quay {1 + t % 7};"
        for a, b, t, s in zip(*pick, strict=True)
    ]


def told(run, of):
    """Perplexity before and after, from the notes."""
    (note,) = [n for n in run.evidence.notes if n.startswith(f"perplexity of {of}")]
    return [float(x) for x in re.findall(r": ([\d.e+]+) before, ([\d.e+]+) after", note)[0]]


FREE = {"train.ema": 0.0, "optim.warmup": 0.1, "train.monitor": False, "train.checks": 0}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A small model of the built-in text, trained here."""
    here = tmp_path_factory.mktemp("base")
    changes = {"codec.vocab": 400, "codec.length": 64, "family.size": 3, "train.batch": 16, "data.limit": 40}
    return bottega.train("english", out=here / "base", steps=150, set=changes | FREE, judge=False)


def tune(base, tmp_path, name="tuned", steps=60, **changes):
    file = tmp_path / "harbour.jsonl"
    if not file.exists():
        file.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines(200)))
    own = {f"codec.{k}": v for k, v in base.recipe.codec.items() if k != "name"}
    kind = {f"family.{k}": v for k, v in base.recipe.family.items() if k != "name"}
    changes = own | kind | FREE | {"optim.lr": 2e-3, "train.start": str(base.path), "train.batch": 16} | changes
    return bottega.train("english", file, tmp_path / name, steps=steps, set=changes, judge=False)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 8])
def test_200_lines_cut_the_perplexity_of_the_domain_and_forgetting_is_reported(base, tmp_path, rank):
    run = tune(base, tmp_path, **{"train.lora": rank, "train.remember": "english"})
    before, after = told(run, "the held-out text")
    assert after <= 0.8 * before
    kept = told(run, "english")
    assert kept[0] < kept[1], "something is forgotten, and said"
    assert (tmp_path / "tuned" / ADAPTERS).exists() == bool(rank)


@pytest.mark.parametrize("rank", [0, 4])
def test_stopped_and_resumed_it_is_the_same_to_the_bit(base, tmp_path, rank):
    whole = tune(base, tmp_path, "whole", steps=6, **{"train.lora": rank})
    from bottega.workshop.training import Training

    with interrupted_at(Training, 2):
        tune(base, tmp_path, "cut", steps=6, **{"train.lora": rank})
    again = tune(base, tmp_path, "cut", steps=6, **{"train.lora": rank})
    assert again.weights_hash == whole.weights_hash
    a, b = (checkpoint.load(tmp_path / name / WEIGHTS)[0] for name in ("whole", "cut"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert told(again, "the held-out text") == told(whole, "the held-out text")


def test_adapters_are_thin_begin_at_the_model_and_are_merged(base, tmp_path):
    run = tune(base, tmp_path, steps=4, **{"train.lora": 4})
    saved = load_file(tmp_path / "tuned" / ADAPTERS)
    assert saved
    assert all("lora_" in name for name in saved)
    assert sum(t.numel() for t in saved.values()) < 0.3 * sum(p.numel() for p in base.model.parameters())
    assert run.model.state_dict().keys() == base.model.state_dict().keys(), "what is loaded is a plain model"
    moved = {k for k, t in run.model.state_dict().items() if not torch.equal(t, base.model.state_dict()[k])}
    assert moved
    assert moved == {name.split(".lora_A")[0] + ".weight" for name in saved if ".lora_A" in name}, "only they moved"
    key = next(k for k in saved if ".lora_A" in k)
    name = key.split(".lora_A")[0]
    change = 4.0 * saved[key.replace("lora_A", "lora_B")] @ saved[key]  # alpha / rank = 16 / 4
    want = base.model.get_parameter(f"{name}.weight") + change
    assert torch.allclose(run.model.get_parameter(f"{name}.weight"), want, atol=1e-6)
    alone = shutil.copy(tmp_path / "tuned" / WEIGHTS, tmp_path / "alone.safetensors")
    assert bottega.load(alone).weights_hash == run.weights_hash


def test_at_the_first_step_nothing_has_changed(base):
    import copy

    model = copy.deepcopy(base.model)
    x = base.codec.encode_prompt("the function returns")[None]
    want = model.log_prob(Batch(x), Rng(0))
    names = lora.add(model, 4, 16.0, seed=0)
    assert torch.equal(model.log_prob(Batch(x), Rng(0)), want)
    assert not any("embed" in name or "read_out" in name for name in names)
    lora.merge(model)
    assert torch.equal(model.log_prob(Batch(x), Rng(0)), want)


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox"])
@pytest.mark.parametrize("rank", [0, 4])
def test_other_peoples_models_learn_and_are_written_back(tmp_path, kind, rank):
    transformers = pytest.importorskip("transformers")
    there = directory(tmp_path / kind, kind)
    text = tmp_path / "harbour.txt"
    text.write_text("\n".join(lines(200)))
    run = bottega.train(
        "english", text, tmp_path / "run", steps=8, base=str(there), judge=False,
        set=FREE | {"train.lora": rank, "codec.length": 32, "optim.lr": 5e-3, "data.held": 0.2, "codec.unit": "document"},
    )  # fmt: skip
    assert (run.spec.shape, run.spec.vocab) == ((32,), bottega.load(there).spec.vocab)
    before, after = told(run, "the held-out text")
    assert after < before
    from bottega.shrink.export import to_huggingface

    to_huggingface(run.model, run.codec, tmp_path / "hf")
    other = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf", dtype=torch.float32).eval()
    x = torch.arange(20)[None] + 5
    start = torch.full((1, 1), run.model.start)
    with torch.no_grad():
        logits = other(torch.cat([start, x[:, :-1]], 1)).logits.log_softmax(-1)
        assert torch.allclose(
            run.model.log_prob(Batch(x), Rng(0)), logits.gather(2, x[..., None]).sum((1, 2)), atol=1e-3
        )


def test_what_it_refuses(base, tmp_path):
    for changes, why in (
        ({"train.lora": -1}, "train.lora is -1"),
        ({"train.lora_alpha": 0.0}, "lora_alpha is 0"),
        ({"train.start": "", "train.remember": "english"}, "no train.start that could forget"),
        ({"codec.tokenizer": "char"}, r"whose \[codec\] is"),
        ({"codec.vocab": 500}, r"whose \[codec\] is"),
        ({"family.size": 4}, r"set \[family\] as there"),
    ):
        with pytest.raises(RecipeError, match=why):
            tune(base, tmp_path, "bad", steps=1, **changes)
    assert not Path(tmp_path / "bad" / WEIGHTS).exists()
    with pytest.raises(BottegaError, match="no linear layers"):
        lora.add(torch.nn.Embedding(3, 3), 2, 1.0, 0)
