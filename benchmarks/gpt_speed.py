"""Training speed of a GPT against nanoGPT's and transformers' GPT-2: one step on the same batches, in turn.

The shape is nanoGPT's CPU configuration for characters: 4 layers, 4 heads, 128 wide, windows of 64, 12 in a batch, no
dropout. Ours is the family ``gpt`` with its stream and the loop that recipes use, in the precision that
``train.precision = "auto"`` takes here. The others, as their own scripts train them on a CPU, in float32:

- ``plain``: a GPT-2 with nanoGPT's training step, written here from their descriptions: LayerNorm without bias, GELU, fused
  queries, keys and values, learned positions, tied embeddings; windows cut from an array, AdamW, the norm of the gradient
  clipped to 1, float32.
- ``nanogpt``: nanoGPT's own ``model.py`` from a folder that you name, in that step (``--nanogpt FOLDER``).
- ``transformers``: ``GPT2LMHeadModel`` of that shape in that step.

Seconds are of the processor, so that other work on the machine counts for little. With ``--loss`` each also trains for
``--steps`` steps on the first nine tenths of a text with nanoGPT's learning rate of that configuration (ours with its
recipe's), and the loss on the last tenth is reported.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks._common import keep, options, pairs, shared
from bottega.codecs.text import TextCodec
from bottega.core import Rng
from bottega.data.stream import Stream
from bottega.families.gpt import GPT
from bottega.training.loop import fit
from bottega.training.optim import make_optims
from bottega.training.precision import use_bf16

LAYERS, HEADS, WIDTH, WINDOW, BATCH = 4, 4, 128, 64, 12


class Plain(nn.Module):
    """A GPT-2 (Radford et al. 2019) without dropout and biases, as small as nanoGPT's for a CPU."""

    def __init__(self, vocab: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(vocab, WIDTH), nn.Embedding(WINDOW, WIDTH)
        self.blocks = nn.ModuleList(_Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                scale = (2 * LAYERS) ** -0.5 if name.endswith(("out.weight", "down.weight")) else 1.0
                nn.init.normal_(p, std=0.02 * scale)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean nats of the tokens ``y`` that follow ``x``."""
        h = self.token(x) + self.place(torch.arange(x.shape[1]))
        for block in self.blocks:
            h = block(h)
        logits = F.linear(self.norm(h), self.token.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), y.reshape(-1))


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, bias=False), nn.LayerNorm(WIDTH, bias=False)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.view(*t.shape[:2], HEADS, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).split(WIDTH, dim=2))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(a.transpose(1, 2).reshape(x.shape))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


def plain_step(
    model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], data: np.ndarray[Any, Any], fused: bool | None = None
) -> Callable[[int, float], float]:
    """One step as nanoGPT's ``train.py`` takes it; called with the step's number and rate, it returns the loss."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optim = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=fused)
    rng = np.random.default_rng(0)

    def step(number: int, lr: float = 1e-3) -> float:
        at = rng.integers(len(data) - WINDOW, size=BATCH)
        x = torch.stack([torch.from_numpy(data[i : i + WINDOW].astype(np.int64)) for i in at])
        y = torch.stack([torch.from_numpy(data[i + 1 : i + 1 + WINDOW].astype(np.int64)) for i in at])
        for group in optim.param_groups:
            group["lr"] = lr
        nats = loss(x, y)
        nats.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optim.step()
        optim.zero_grad(set_to_none=True)
        return nats.item()

    return step


def nanogpt(folder: str, vocab: int) -> nn.Module:
    """The model of nanoGPT's ``model.py`` in that configuration."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", Path(folder) / "model.py")
    if spec is None or spec.loader is None or not (Path(folder) / "model.py").exists():
        raise SystemExit(f"there is no model.py in {folder}; name the folder that nanoGPT's sources lie in")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.GPTConfig(
        block_size=WINDOW, vocab_size=vocab, n_layer=LAYERS, n_head=HEADS, n_embd=WIDTH, dropout=0.0, bias=False
    )
    return module.GPT(config)


def gpt2(vocab: int) -> nn.Module:
    """The model of ``transformers`` in that configuration."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=vocab, n_positions=WINDOW, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("gpt_speed", __doc__, "", "--nanogpt ../nanoGPT --loss --steps 2000")
    parser.add_argument("--rounds", type=int, default=11, help="measured pairs")
    parser.add_argument("--steps", type=int, default=20, help="in a timed piece, or of --loss")
    parser.add_argument("--nanogpt", default="", metavar="FOLDER", help="where nanoGPT's sources lie")
    parser.add_argument("--loss", action="store_true", help="train and compare held-out losses too")
    args = parser.parse_args(argv)
    text = next((shared() / "tiny_shakespeare").glob("*.txt*"))
    codec = TextCodec(tokenizer="char", length=WINDOW)
    items = codec.read(text)
    codec.fit(items)
    tokens = np.concatenate([codec.tokens([item.value])[0] for item in items])
    cut = int(0.9 * len(tokens))
    train, held, vocab = tokens[:cut], tokens[cut:], codec.spec.vocab
    others = {"plain": lambda: _called(Plain(vocab)), "transformers": lambda: _huggingface(gpt2(vocab))}
    if args.nanogpt:
        others["nanogpt"] = lambda: _nano(nanogpt(args.nanogpt, vocab))
    result: dict[str, Any] = {}
    for name, make in others.items():
        torch.manual_seed(0)
        model, loss = make()
        step = plain_step(model, loss, train)
        run = _Ours(codec, train, 10**9)
        timed = 20 if args.loss else args.steps

        def theirs(step: Callable[[int, float], float] = step, timed: int = timed) -> None:
            for i in range(timed):
                step(i, 1e-3)

        row = pairs(theirs, lambda run=run, timed=timed: run.go(timed), args.rounds, clock=time.process_time)
        row["parameters"] = sum(p.numel() for p in model.parameters())
        row["our_parameters"] = sum(p.numel() for p in run.model.parameters())
        row["tokens_a_second"] = timed * BATCH * WINDOW / row["a_seconds"]
        row["our_tokens_a_second"] = timed * BATCH * WINDOW / row["b_seconds"]
        result[name] = row | {"times_as_fast": row["ratio"], "wanted": 1.5 if name == "transformers" else 1.3}
        print(
            f"{name}: {row['tokens_a_second']:.0f} tokens a second, ours {row['our_tokens_a_second']:.0f}", flush=True
        )
    if args.loss:
        for name, make in others.items():
            torch.manual_seed(0)
            model, loss = make()
            step = plain_step(model, loss, train)
            for i in range(args.steps):
                step(i, _rate(i, args.steps))
            result[name]["held_nats"] = _held(loss, held)
        run = _Ours(codec, train, args.steps)
        run.go(args.steps)
        ours = _held(lambda x, y: _nats(run.model, x, y), held)
        result["ours"] = {"held_nats": ours, "steps": args.steps}
        print({name: round(row["held_nats"], 4) for name, row in result.items()}, flush=True)
    precision = "bf16" if use_bf16("auto", torch.device("cpu")) else "fp32"
    keep("gpt_speed", {precision: result}, args, beside=True)


class _Ours:
    """The family with the stream, optimiser and loop of recipe ``shakespeare``."""

    def __init__(self, codec: TextCodec, train: np.ndarray[Any, Any], steps: int) -> None:
        from bottega.codecs.text import _Windows

        torch.manual_seed(0)
        self.model = GPT(codec.spec, size=4)
        self.stream = Stream(_Windows(torch.from_numpy(train), WINDOW), BATCH, seed=0)
        table = {"lr": 4e-3, "weight_decay": 0.1, "schedule": "wsd", "decay": 0.4}
        self.bf16 = use_bf16("auto", torch.device("cpu"))
        self.optims, self.rng, self.done = make_optims(self.model, steps, table), Rng(0), 0

    def go(self, steps: int) -> None:
        """So many steps more."""
        fit(
            self.model,
            self.stream,
            self.optims,
            steps=self.done + steps,
            start=self.done,
            rng=self.rng,
            clip=1.0,
            bf16=self.bf16,
        )
        self.done += steps


def _called(model: nn.Module) -> tuple[nn.Module, Callable[[Tensor, Tensor], Tensor]]:
    return model, model


def _nano(model: nn.Module) -> tuple[nn.Module, Callable[[Tensor, Tensor], Tensor]]:
    return model, lambda x, y: model(x, y)[1]


def _huggingface(model: nn.Module) -> tuple[nn.Module, Callable[[Tensor, Tensor], Tensor]]:
    def loss(x: Tensor, y: Tensor) -> Tensor:
        logits = model(x, use_cache=False).logits
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), y.reshape(-1))

    return model, loss


def _rate(step: int, steps: int, peak: float = 1e-3, warmup: int = 100) -> float:
    """nanoGPT's: a linear rise, then a cosine down to a tenth."""
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    return peak * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))


def _nats(model: GPT, x: Tensor, y: Tensor) -> Tensor:
    """Ours on the same terms: ``y`` given ``x``, the start before it; of the first of a window nothing is given."""
    from bottega.core import Batch

    whole = torch.cat([x[:, :1], y], 1)[:, :WINDOW]  # tokens 0 .. 63 of a window of 65: of 63 the same past is known
    nll, _ = model._nll(Batch(whole), Rng(0), training=False)
    return nll[:, 1:].mean()


@torch.no_grad()
def _held(loss: Callable[[Tensor, Tensor], Tensor], held: np.ndarray[Any, Any], most: int = 1600) -> float:
    """Mean nats of the tokens of evenly spaced windows."""
    at = np.linspace(0, len(held) - WINDOW - 2, most).astype(int)
    x = torch.from_numpy(np.stack([held[i : i + WINDOW] for i in at]).astype(np.int64))
    y = torch.from_numpy(np.stack([held[i + 1 : i + 1 + WINDOW] for i in at]).astype(np.int64))
    return float(np.mean([loss(a, b).item() for a, b in zip(x.split(80), y.split(80), strict=True)]))


if __name__ == "__main__":
    main()
