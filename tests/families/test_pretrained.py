"""A wrapped model: what transformers computes, with draws of ours, nothing saved twice and no dropout of its own."""

import json

import pytest
import torch

pytest.importorskip("transformers", reason="needs the extra text")

import bottega
from bottega.core import Batch, CheckpointError, RecipeError, Rng, Spec
from bottega.families.pretrained import Pretrained
from bottega.training import checkpoint
from hf import directory


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return bottega.load(directory(tmp_path_factory.mktemp("hf") / "neox", "gpt_neox"))


def test_rows_are_what_they_are_alone(run):
    whole = run.model.sample(3, Rng.for_rows([1, 2, 3]), max_new=10)
    assert torch.equal(whole[1:2], run.model.sample(1, Rng.for_rows([2]), max_new=10))
    assert whole.shape == (3, 10)
    assert run.model.sample(2, Rng(0)).shape == (2, *run.spec.shape)


def test_beyond_what_it_sees_it_reads_the_later_half_again(run):
    model = Pretrained(Spec((16,), vocab=run.spec.vocab), config=run.recipe.family["config"])
    model.load_state_dict(run.model.state_dict())
    x = torch.randint(run.spec.vocab, (1, 40), generator=torch.Generator().manual_seed(0))
    step = model.eval().step(1)
    with torch.no_grad():
        out = [step(x[:, i : i + 1]) for i in range(40)]
        # 15 tokens and the start fit; the 16th begins again from 8
        want = model.inner(torch.cat([x.new_zeros(1, 1), x[:, 8:16]], 1)).logits[:, -1]
    assert torch.allclose(out[15], want, atol=1e-5)


def test_nothing_is_drawn_but_from_rng_and_every_tensor_is_saved_once(tmp_path):
    config = json.dumps({
        "model_type": "gpt2", "vocab_size": 30, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16,
        "attn_pdrop": 0.5, "embd_pdrop": 0.5, "resid_pdrop": 0.5,
    })  # fmt: skip
    model = Pretrained(Spec((8,), vocab=30), config=config).train()
    x = torch.randint(30, (2, 8))
    assert torch.equal(model.loss(Batch(x), Rng(0)).total, model.loss(Batch(x), Rng(1)).total)
    state = model.state_dict()
    assert len({t.data_ptr() for t in state.values()}) == len(state)
    checkpoint.save(tmp_path / "m.safetensors", state, {})
    again = Pretrained(Spec((8,), vocab=30), config=config)
    checkpoint.load_weights(again, checkpoint.load(tmp_path / "m.safetensors")[0])
    assert torch.equal(again.inner.lm_head.weight, model.inner.lm_head.weight)
    assert torch.allclose(again.eval().log_prob(Batch(x), Rng(0)), model.eval().log_prob(Batch(x), Rng(0)))


def test_what_it_refuses(run):
    with pytest.raises(RecipeError, match="of two models"):
        Pretrained(Spec((8,), vocab=30), config=run.recipe.family["config"])
    with pytest.raises(RecipeError, match="size is 0"):
        Pretrained(Spec((8,), vocab=30), size=0)
    with pytest.raises(RecipeError, match="no causal language model of 'nothing'"):
        Pretrained(Spec((8,), vocab=30), config='{"model_type": "nothing"}')
    tensors = {k.removeprefix("inner."): t for k, t in run.model.state_dict().items()}
    with pytest.raises(CheckpointError, match="missing keys"):
        run.model.take_weights(dict(list(tensors.items())[1:]), {})
