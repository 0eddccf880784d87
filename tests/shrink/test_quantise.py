"""Packed weights: each kind is as close as it says, rows do not see each other, and the model itself stays as it is."""

import pytest
import torch

from bottega.core import Batch, BottegaError, RecipeError, Rng, Spec
from bottega.families.gpt import GPT
from bottega.shrink.quantise import KINDS, Light, kinds_here, lighten, weight_bytes

HERE = kinds_here()  # bf16 needs AVX512 or ARM, fp16 and int8 need x86
# relative error of a product of random numbers (root mean square): half a step of 24, 8 and 11 bits, and of whole
# numbers to 127 over the largest of a row, some three standard deviations
BOUND = {"fp32": 1e-6, "bf16": 2**-8, "fp16": 2**-11, "int8": 0.02}
KINDS_OF_BODIES = [
    {"norm": "layer", "feed": "gelu_tanh", "positions": "learned", "bias": True},
    {"kv_heads": 2, "tied": False},
    {"qkv_bias": True, "feed": "geglu"},
]


@pytest.fixture(params=range(len(KINDS_OF_BODIES)))
def model(request):
    torch.manual_seed(0)
    made = GPT(Spec((24,), vocab=90), size=4, depth=2, **KINDS_OF_BODIES[request.param]).eval()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.05 * torch.randn(p.shape))
    return made


@pytest.mark.parametrize("kind", HERE)
@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("bias", [False, True])
def test_a_product_is_as_close_as_the_kind_says(kind, rows, bias):
    draw = torch.Generator().manual_seed(0)
    w, b, x = (torch.randn(*s, generator=draw) for s in ((300, 256), (300,), (3, rows, 256)))
    want = torch.nn.functional.linear(x.double(), w.double(), b.double() if bias else None)
    got = Light(w, b if bias else None, kind, rows)(x)
    assert got.shape == want.shape
    assert got.dtype == torch.float32
    assert (got - want).norm() / want.norm() < BOUND[kind]
    if kind != "fp32":
        assert (got - want).norm() / want.norm() > BOUND["fp32"], "it is lighter than that"
    assert torch.equal(Light(w, None, kind, rows)(torch.zeros(1, 256)), torch.zeros(1, 300))


@pytest.mark.skipif("int8" not in HERE, reason="int8 needs FBGEMM")
@pytest.mark.parametrize("shape", [(64, 64), (96, 64), (130, 66), (1000, 256), (300, 3072)])
def test_int8_rows_of_any_size_do_not_see_each_other(shape):
    draw = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(*shape, generator=draw), torch.randn(shape[0], generator=draw)
    x = torch.randn(70, shape[1], generator=draw) * torch.logspace(-3, 4, 70)[:, None]
    alone = torch.cat([Light(weight, bias, "int8")(row[None]) for row in x])
    for rows in (1, 16):
        layer = Light(weight, bias, "int8", rows)
        for many in (1, 2, 7, 33, 70):
            assert torch.equal(torch.cat([layer(part) for part in x.split(many)]), alone), (rows, many)


@pytest.mark.parametrize("kind", HERE)
def test_a_light_model_is_close_to_the_whole_one_and_leaves_it_alone(model, kind):
    x = torch.randint(90, (6, 24), generator=torch.Generator().manual_seed(2))
    before = {k: t.clone() for k, t in model.state_dict().items()}
    with torch.no_grad():
        want = model.log_prob(Batch(x), Rng(0))
        for rows in (1, 6):
            light = lighten(model, kind, rows)
            got = light.log_prob(Batch(x), Rng(0))
            # nats for each token
            assert ((got - want).abs() / 24).max() < {"fp32": 1e-5, "bf16": 0.02, "fp16": 2e-3, "int8": 0.05}[kind]
            assert torch.equal(model.log_prob(Batch(x), Rng(0)), want)
    assert all(torch.equal(before[k], t) for k, t in model.state_dict().items())
    assert all(isinstance(p, Light) for p in light.modules() if hasattr(p, "in_features"))


@pytest.mark.parametrize("kind", HERE)
def test_it_writes_the_same_rows_alone_and_together_and_in_fp32_what_the_model_writes(model, kind):
    prompt = torch.randint(90, (3, 6), generator=torch.Generator().manual_seed(3))
    keep = torch.ones_like(prompt, dtype=torch.bool)

    def write(by, rows=slice(None), **knobs):
        return by.edit(Batch(prompt[rows]), keep[rows], Rng.for_rows([7, 8, 9][rows]), max_new=12, **knobs)

    light = lighten(model, kind, 3)
    together = write(light)
    assert torch.equal(together[1:2], write(light, slice(1, 2)))
    if kind == "fp32":
        assert torch.equal(write(light, temperature=0.0), write(model, temperature=0.0))


@pytest.mark.skipif("bf16" not in HERE, reason="bf16 needs AVX512 or ARM's bfloat16")
def test_bfloat16_keeps_keys_and_values_as_they_are_made(model):
    light, x = lighten(model, "bf16", 3), torch.randint(90, (3, 24), generator=torch.Generator().manual_seed(4))
    whole = light.step(3)
    logits = whole(x[:, :12])
    assert whole.cache.keys.dtype == whole.cache.values.dtype == torch.bfloat16
    assert model.body.cache(3, 1).keys.dtype == torch.float32
    assert logits.dtype == torch.float32
    for t in range(12, 24):
        logits = whole(x[:, t : t + 1])
    wide = lighten(model, "bf16", 3)  # the same products, with what stands between them in float32
    wide.body.cache_dtype = None
    for part in wide.modules():
        if isinstance(part, Light):
            part.keep_bf16 = False
    assert (logits - wide.step(3)(x)).abs().max() < 0.02 * logits.abs().max()


def test_fewer_bytes(model):
    sizes = {kind: weight_bytes(lighten(model, kind)) for kind in HERE}
    read = sum(p.numel() for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n and "place" not in n)
    read += 0 if isinstance(model.read_out, torch.nn.Linear) else 90 * 128
    assert sizes["fp32"] == 4 * read
    assert {kind: sizes["fp32"] / size for kind, size in sizes.items()} == {
        kind: smaller for kind, smaller in {"fp32": 1, "bf16": 2, "fp16": 2, "int8": 4}.items() if kind in HERE
    }


def test_what_it_refuses(model, monkeypatch):
    with pytest.raises(RecipeError, match="weights are 'int4'"):
        lighten(model, "int4")
    with pytest.raises(RecipeError, match="rows is 0"):
        lighten(model, "fp32", 0)
    monkeypatch.setattr("bottega.shrink.quantise.kinds_here", lambda: ("fp32", "fp16"))
    for kind in set(KINDS) - {"fp32", "fp16"}:
        with pytest.raises(BottegaError, match=f"no kernels for {kind} weights; use one of fp32, fp16"):
            lighten(model, kind)
