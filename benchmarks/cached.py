"""What a key-value cache saves a GPT that writes: the same greedy tokens, read once each or all again for every token.

Both go through the same sampler (``samplers.decode``); only the step differs. The naive one reads the whole text anew for each
token, in one pass, and says the logits of its last place alone. The model has random weights: what is timed does not depend
on them. One token more costs the cached step its own reading and a glance at what is kept, the naive one the whole text
again, so the ratio grows with the length.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks._common import keep, options, pairs
from bottega.core import Rng, Spec
from bottega.families.gpt import GPT
from bottega.samplers.decode import decode

PROMPT = 64


class Naive:
    """A step without a memory: all tokens so far are read again for each."""

    def __init__(self, model: GPT, n: int) -> None:
        self.model, self.n = model, n
        self.text = torch.zeros(n, 0, dtype=torch.long)

    def __call__(self, fresh: Tensor) -> Tensor:
        """``(n, t)`` tokens -> logits of the next position, ``(n, vocab)``."""
        self.text = torch.cat([self.text, fresh], 1)
        return self.model.step(self.n, prompted=True, most=self.text.shape[1])(self.text)


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("cached", __doc__, "", "--wall", "--sizes 4 --new 64 --rounds 2")
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 8], help="of the gpt")
    parser.add_argument("--new", type=int, nargs="+", default=[64, 192, 448], help="tokens behind a prompt of 64")
    parser.add_argument("--batch", type=int, default=1, help="texts at once")
    parser.add_argument("--rounds", type=int, default=5, help="measured pairs")
    parser.add_argument(
        "--wall", action="store_true", help="wall-clock time, where no other work shares the processors"
    )
    args = parser.parse_args(argv)
    clock = time.perf_counter if args.wall else time.process_time
    found: dict[str, object] = {"clock": "wall" if args.wall else "processor time"}
    for size in args.sizes:
        torch.manual_seed(0)
        model = GPT(Spec((512,), vocab=2048), size=size, tied=False).eval()  # tied and untrained, it repeats one token
        with torch.no_grad():
            for weight in model.body.parameters():  # what was read counts, so that a lost token would show
                weight.mul_(3 if weight.ndim > 1 else 1)
        prompt = torch.randint(2048, (args.batch, PROMPT), generator=torch.Generator().manual_seed(1))
        for new in args.new:

            def write(cached: bool, model: GPT = model, prompt: Tensor = prompt, new: int = new) -> Tensor:
                n = len(prompt)
                given = torch.nn.functional.pad(prompt, (0, new))
                kept = (torch.arange(given.shape[1]) < PROMPT).expand(given.shape)
                step = model.step(n, prompted=True, most=given.shape[1]) if cached else Naive(model, n)
                with torch.no_grad():
                    return torch.cat(list(decode(step, given, kept, Rng.for_rows(range(n)), temperature=0.0)), 1)

            a, b = write(cached=False), write(cached=True)
            timed = pairs(lambda: write(cached=False), lambda: write(cached=True), args.rounds, 1, clock=clock)
            name = f"size {size}, {new} tokens"
            found[name] = {
                **timed, "same_tokens": bool(torch.equal(a, b)), "different_tokens": int(b[0, PROMPT:].unique().numel()),
                "parameters": sum(p.numel() for p in model.parameters()),
                "tokens_per_second_cached": args.batch * new / timed["b_seconds"],
            }  # fmt: skip
            print(name, found[name], flush=True)
    keep("cached", found, args)
