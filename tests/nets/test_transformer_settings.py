"""GPT-2, Llama, BERT and T5 are settings of one transformer: equal numbers with equal weights; attention's own formula."""

import pytest
import torch
import torch.nn.functional as F

from bottega.core import Rng
from bottega.nets.transformer import Transformer


def copy(pairs):
    with torch.no_grad():
        for ours, theirs in pairs:
            ours.copy_(theirs)


def linears(pairs):
    """Weights and biases of pairs of linear layers."""
    for ours, theirs in pairs:
        yield ours.weight, theirs.weight
        if getattr(theirs, "bias", None) is not None:
            yield ours.bias, theirs.bias


def shaken(model):
    """All weights drawn afresh: biases and norms that begin as zeros and ones would hide their absence."""
    torch.manual_seed(3)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * (0.3 if p.ndim == 1 else 1.2 * p.shape[-1] ** -0.5) + (p.ndim == 1) * p)
    return model.eval()


@torch.no_grad()
def test_gpt2():
    hf = pytest.importorskip("transformers")
    config = hf.GPT2Config(vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=4)
    theirs = shaken(hf.GPT2LMHeadModel(config))
    ours = Transformer(
        32, 2, 4, norm="layer", feed="gelu_tanh", positions="learned", length=16, bias=True, hidden=128
    )  # fmt: skip
    core = theirs.transformer
    copy([(ours.place, core.wpe.weight), *linears([(ours.norm, core.ln_f)])])
    for a, b in zip(ours.layers, core.h, strict=True):
        for names, conv in (((a.attention.q, a.attention.k, a.attention.v), b.attn.c_attn),):
            for linear, w, bias in zip(names, conv.weight.T.chunk(3), conv.bias.chunk(3), strict=True):
                copy([(linear.weight, w), (linear.bias, bias)])
        for linear, conv in ((a.attention.o, b.attn.c_proj), (a.feed.up, b.mlp.c_fc), (a.feed.down, b.mlp.c_proj)):
            copy([(linear.weight, conv.weight.T), (linear.bias, conv.bias)])
        copy(linears([(a.before_attention, b.ln_1), (a.before_feed, b.ln_2)]))
    tokens = torch.randint(50, (3, 16))
    want = theirs(tokens).logits
    torch.testing.assert_close(F.linear(ours(core.wte(tokens)), core.wte.weight), want, atol=1e-4, rtol=1e-4)
    cache = ours.cache(3, 16)
    parts = [ours(core.wte(part), cache=cache) for part in tokens.split([7, 1, 1, 7], 1)]
    torch.testing.assert_close(F.linear(torch.cat(parts, 1), core.wte.weight), want, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("qkv_bias", [False, True])
def test_llama_and_qwen2(qkv_bias):
    hf = pytest.importorskip("transformers")
    settings = {
        "vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "max_position_embeddings": 64,
    }  # fmt: skip
    theirs = (
        hf.Qwen2ForCausalLM(hf.Qwen2Config(**settings)) if qkv_bias else hf.LlamaForCausalLM(hf.LlamaConfig(**settings))
    )
    theirs = shaken(theirs)
    ours = Transformer(32, 2, 4, kv_heads=2, hidden=64, eps=1e-6, qkv_bias=qkv_bias)
    copy(linears([(ours.norm, theirs.model.norm)]))
    for a, b in zip(ours.layers, theirs.model.layers, strict=True):
        at, bt = a.attention, b.self_attn
        copy(linears([(at.q, bt.q_proj), (at.k, bt.k_proj), (at.v, bt.v_proj), (at.o, bt.o_proj)]))
        copy(linears([(a.feed.gate, b.mlp.gate_proj), (a.feed.up, b.mlp.up_proj), (a.feed.down, b.mlp.down_proj)]))
        copy(linears([(a.before_attention, b.input_layernorm), (a.before_feed, b.post_attention_layernorm)]))
    tokens = torch.randint(50, (3, 20))
    got = theirs.lm_head(ours(theirs.model.embed_tokens(tokens)))
    torch.testing.assert_close(got, theirs(tokens).logits, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_bert():
    hf = pytest.importorskip("transformers")
    config = hf.BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=16,
    )  # fmt: skip
    theirs = shaken(hf.BertModel(config, add_pooling_layer=False))
    ours = Transformer(
        32, 2, 4, norm="layer", order="post", feed="gelu", positions="learned", length=16, bias=True, causal=False,
        hidden=128, eps=1e-12,
    )  # fmt: skip
    copy([(ours.place, theirs.embeddings.position_embeddings.weight)])
    copy(linears([(ours.norm, theirs.embeddings.LayerNorm)]))
    for a, b in zip(ours.layers, theirs.encoder.layer, strict=True):
        at, bt = a.attention, b.attention
        copy(linears([(at.q, bt.self.query), (at.k, bt.self.key), (at.v, bt.self.value), (at.o, bt.output.dense)]))
        copy(linears([(a.before_attention, bt.output.LayerNorm), (a.before_feed, b.output.LayerNorm)]))
        copy(linears([(a.feed.up, b.intermediate.dense), (a.feed.down, b.output.dense)]))
    tokens, kind = torch.randint(50, (3, 16)), torch.randint(2, (3, 16))
    mask = torch.arange(16) < torch.tensor([[16], [9], [1]])
    want = theirs(tokens, attention_mask=mask.long(), token_type_ids=kind).last_hidden_state
    stream = theirs.embeddings.word_embeddings(tokens) + theirs.embeddings.token_type_embeddings(kind)
    torch.testing.assert_close(ours(stream, mask=mask)[mask], want[mask], atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("feed", ["relu", "geglu"])
def test_t5(feed):
    hf = pytest.importorskip("transformers")
    config = hf.T5Config(
        vocab_size=50, d_model=32, d_kv=6, d_ff=48, num_layers=2, num_heads=4,
        feed_forward_proj="relu" if feed == "relu" else "gated-gelu", tie_word_embeddings=feed == "relu",
    )  # fmt: skip
    theirs = shaken(hf.T5ForConditionalGeneration(config))
    own = {"head": 6, "hidden": 48, "feed": feed, "positions": "relative", "eps": 1e-6}
    encoder, decoder = Transformer(32, 2, 4, causal=False, **own), Transformer(32, 2, 4, memory=32, **own)
    for ours, other in ((encoder, theirs.encoder), (decoder, theirs.decoder)):
        relative = other.block[0].layer[0].SelfAttention.relative_attention_bias
        copy([(ours.relative.bias.weight, relative.weight), *linears([(ours.norm, other.final_layer_norm)])])
        for a, b in zip(ours.layers, other.block, strict=True):
            parts = [(a.attention, a.before_attention, b.layer[0], b.layer[0].layer_norm)]
            if ours is decoder:
                parts.append((a.memory, a.before_memory, b.layer[1], b.layer[1].layer_norm))
            for at, norm, block, other_norm in parts:
                bt = getattr(block, "SelfAttention", None) or block.EncDecAttention
                copy(linears([(at.q, bt.q), (at.k, bt.k), (at.v, bt.v), (at.o, bt.o), (norm, other_norm)]))
            last = b.layer[-1]
            dense = last.DenseReluDense
            copy(linears([(a.feed.down, dense.wo), (a.before_feed, last.layer_norm)]))
            ups = [(a.feed.up, dense.wi)] if feed == "relu" else [(a.feed.gate, dense.wi_0), (a.feed.up, dense.wi_1)]
            copy(linears(ups))
    source, target = torch.randint(50, (3, 40)), torch.randint(50, (3, 150))  # beyond 128, where distances are alike
    mask = torch.arange(40) < torch.tensor([[40], [25], [1]])
    said = theirs(input_ids=source, attention_mask=mask.long(), decoder_input_ids=target).logits
    memory = encoder(theirs.shared(source), mask=mask)
    scale = 32**-0.5 if feed == "relu" else 1.0  # T5 scales what it reads out with its embedding

    def read(h):
        return theirs.lm_head(h * scale)

    got = read(decoder(theirs.shared(target), memory=memory, memory_mask=mask))
    torch.testing.assert_close(got, said, atol=1e-4, rtol=1e-4)
    cache = decoder.cache(3, 150)
    parts = [
        decoder(theirs.shared(part), memory=memory if i == 0 else None, memory_mask=mask, cache=cache)
        for i, part in enumerate(target.split([100, 1, 49], 1))
    ]
    torch.testing.assert_close(read(torch.cat(parts, 1)), said, atol=1e-4, rtol=1e-4)


def body(**options):
    torch.manual_seed(0)
    return Transformer(32, 2, 4, **options)


# ---- row F2: attention is the naive formula and torch's own, and sees no future ------------------------------------


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_the_naive_formula_and_torchs_own(causal):
    layer = body(kv_heads=2).layers[0].attention
    x = torch.randn(2, 7, 32)
    q, k, v = layer.q(x).view(2, 7, 4, 8), layer.k(x).view(2, 7, 2, 8), layer.v(x).view(2, 7, 2, 8)
    naive = torch.zeros(2, 7, 4, 8)
    for b in range(2):
        for h in range(4):
            for t in range(7):
                last = t + 1 if causal else 7
                score = torch.stack([q[b, t, h] @ k[b, s, h // 2] / 8**0.5 for s in range(last)])
                p = score.exp() / score.exp().sum()
                naive[b, t, h] = sum(p[s] * v[b, s, h // 2] for s in range(last))
    maps: list = []
    got = layer(x, 0, causal=causal, maps=maps)
    torch.testing.assert_close(got, layer.o(naive.flatten(2)), atol=1e-5, rtol=1e-5)
    wide = [t.transpose(1, 2).repeat_interleave(r, 1) for t, r in ((q, 1), (k, 2), (v, 2))]
    sdpa = F.scaled_dot_product_attention(*wide, is_causal=causal)
    torch.testing.assert_close(got, layer.o(sdpa.transpose(1, 2).flatten(2)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(maps[0] @ wide[2], sdpa, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(maps[0].sum(-1), torch.ones(2, 4, 7))


@pytest.mark.parametrize("positions", ["rotary", "learned", "relative", "none"])
def test_no_gradient_comes_from_the_future(positions):
    x = torch.randn(1, 8, 32, requires_grad=True)
    body(positions=positions, length=8)(x)[0, 4].square().sum().backward()
    reached = x.grad[0].abs().amax(-1)
    assert (reached[5:] == 0).all()
    assert (reached[:5] > 0).all()


# ---- row F1: order --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positions", ["rotary", "learned", "relative", "none"])
def test_an_encoder_knows_the_order_only_by_its_positions(positions):
    encoder, x = body(causal=False, positions=positions, length=9), torch.randn(2, 9, 32)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    away = (encoder(x[:, order]) - encoder(x)[:, order]).abs().max().item()
    assert away < 1e-5 if positions == "none" else away > 1e-2


# ---- row F3: heads ---------------------------------------------------------------------------------------------------


def test_one_head_is_single_head_attention_and_more_are_several():
    torch.manual_seed(0)
    one, many = Transformer(16, 1, 1).layers[0].attention, Transformer(16, 1, 4).layers[0].attention
    many.load_state_dict(one.state_dict())
    x = torch.randn(2, 6, 16)
    q, k, v = one.q(x), one.k(x), one.v(x)
    single = (q @ k.transpose(1, 2) / 16**0.5).softmax(-1) @ v
    torch.testing.assert_close(one(x, 0), one.o(single), atol=1e-5, rtol=1e-5)
    parts = [
        (a @ b.transpose(1, 2) / 2).softmax(-1) @ c
        for a, b, c in zip(*(t.split(4, -1) for t in (q, k, v)), strict=True)
    ]
    torch.testing.assert_close(many(x, 0), many.o(torch.cat(parts, -1)), atol=1e-5, rtol=1e-5)
    assert (one(x, 0) - many(x, 0)).abs().max() > 1e-3


# ---- what the engine leans on -----------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("positions", ["rotary", "learned", "relative"])
def test_rows_padded_at_the_beginning_are_as_if_alone(positions):
    stack, x = body(positions=positions, length=12), torch.randn(1, 5, 32)
    alone = stack(x)
    padded = torch.cat([torch.randn(1, 3, 32), x], 1)
    mask = torch.tensor([[False] * 3 + [True] * 5])
    places = torch.tensor([[0, 0, 0, 0, 1, 2, 3, 4]])
    mask[:, 0] = False
    cache = stack.cache(1, 12)
    seen = torch.cat([mask[:, :7]], 1)
    first = stack(padded[:, :7], cache=cache, mask=seen, places=places[:, :7])[:, 3:]
    last = stack(padded[:, 7:], cache=cache, mask=mask, places=places[:, 7:])
    torch.testing.assert_close(torch.cat([first, last], 1), alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_cache_takes_rows_and_forgets():
    stack, x, memory = body(memory=24), torch.randn(3, 6, 32), torch.randn(3, 5, 24)
    rows = torch.tensor([2, 0, 2])
    cache = stack.cache(3, 8)
    stack(x[:, :4], cache=cache, memory=memory)
    cache.take(rows)
    got = stack(x[rows, 4:], cache=cache)
    torch.testing.assert_close(got, stack(x, memory=memory)[rows, 4:], atol=1e-5, rtol=1e-5)
    cache.filled = 4  # what was guessed wrong is made again
    torch.testing.assert_close(stack(x[rows, 4:], cache=cache), got, atol=1e-6, rtol=1e-6)


def test_dropout_and_bad_settings():
    stack, x = body(order="post", norm="layer", memory=8), torch.randn(2, 5, 32)
    memory = torch.randn(2, 3, 8)
    assert torch.equal(
        stack(x, memory=memory, dropout=0.3, rng=Rng(1)), stack(x, memory=memory, dropout=0.3, rng=Rng(1))
    )
    for wrong, why in (
        ({"norm": "batch"}, "norm is 'batch'"),
        ({"order": "mid"}, "order is 'mid'"),
        ({"feed": "tanh"}, "feed is 'tanh'"),
        ({"positions": "sine"}, "positions is 'sine'"),
        ({"positions": "learned"}, "length of at least 1"),
    ):
        with pytest.raises(ValueError, match=why):
            Transformer(32, 1, 4, **wrong)
    Transformer(12, 1, 4, positions="none")
    with pytest.raises(ValueError, match="need an even one"):
        Transformer(12, 1, 4)
