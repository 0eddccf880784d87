"""How much faster drafts make the same tokens: what followed before, and a smaller model."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from benchmarks._common import keep, options, pairs
from bottega.codecs.text import TextCodec
from bottega.core import Batch, Item, Rng
from bottega.data import builtin
from bottega.families.gpt import GPT
from bottega.samplers.speculative import Lookup, ModelDraft
from bottega.training.loop import fit
from bottega.training.optim import make_optims


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("drafts", __doc__, "", "--steps 20 --rounds 2")
    parser.add_argument("--steps", type=int, default=150, help="of training")
    parser.add_argument("--size", type=int, default=8, help="of the gpt that is drafted for")
    parser.add_argument("--rounds", type=int, default=5, help="measured pairs")
    args = parser.parse_args(argv)
    items = [Item(item.value) for item in builtin.load("code").items]
    codec = TextCodec(tokenizer="bpe", vocab=1024, length=256).fit(items)
    source = codec.source(items, train=True)

    def trained(size: int) -> GPT:
        torch.manual_seed(0)
        model, rng = GPT(codec.spec, size=size), Rng(0)

        def batches() -> Batch:
            return source.take(rng.integers(len(source), 4))

        fit(model, iter(batches, None), make_optims(model, args.steps, {"lr": 1e-3}), steps=args.steps, rng=Rng(1))
        return model.eval()

    big, small = trained(args.size), trained(2)
    prompt = codec.encode_prompt(items[0].value)[None, :64]
    begun, kept = Batch(prompt), torch.ones_like(prompt, dtype=torch.bool)
    found = {}
    for temperature in (0.0, 0.8):

        def write(name: str, temperature: float = temperature) -> torch.Tensor:
            draft = {"none": None, "lookup": Lookup(), "model": ModelDraft(small.step(1))}[name]
            knobs = {"max_new": 128, "temperature": temperature}
            rng = Rng.for_rows([0])
            return torch.cat(list(big.stream(1, rng, None, begun, kept, draft=draft, **knobs)), 1)

        plain = write("none")
        for name in ("lookup", "model"):
            timed = pairs(lambda: write("none"), lambda name=name: write(name), args.rounds, 1, clock=time.process_time)
            same = bool(torch.equal(write(name), plain))
            found[f"{name}, temperature {temperature:g}"] = {**timed, "same_tokens": same}
            print(name, temperature, found[f"{name}, temperature {temperature:g}"], flush=True)
    keep("drafts", found, args)
