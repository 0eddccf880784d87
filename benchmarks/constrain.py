"""What writing in a given form costs beside writing freely, and whether every text keeps its form."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks._common import keep, options
from bottega.codecs.text import TextCodec
from bottega.core import Item, Rng, Spec
from bottega.data import builtin
from bottega.families.gpt import GPT
from bottega.samplers.constrain import Form, json_schema

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 30},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 10}, "maxItems": 4},
        "place": {
            "type": "object",
            "properties": {"x": {"type": "number"}, "kind": {"enum": ["alpha", "beta", "gamma"]}},
            "required": ["x", "kind"],
            "additionalProperties": False,
        },
    },
    "required": ["name", "age", "tags", "place"],
    "additionalProperties": False,
}


class _Ends:
    """A guide that forbids nothing and ends each row at a given length: a free run with as many rows at every step."""

    why = "length"

    def __init__(self, lengths: list[int]) -> None:
        self.left = list(lengths)

    def bar(self, rows: Tensor, logits: Tensor) -> Tensor:
        return logits

    def amend(self, rows: Tensor, tokens: Tensor) -> Tensor:
        return tokens

    def see(self, rows: Tensor, tokens: Tensor) -> Tensor:
        for row in rows.tolist():
            self.left[row] -= 1
        return torch.tensor([self.left[row] <= 0 for row in rows.tolist()])

    def take(self, rows: Tensor) -> None:
        self.left = [self.left[row] for row in rows.tolist()]


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("constrain", __doc__, "", "--n 100 --sizes 4")
    parser.add_argument("--n", type=int, default=1000, help="texts of each size")
    parser.add_argument("--batch", type=int, default=20, help="texts made at once")
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 8], help="of gpt, with fresh weights")
    parser.add_argument("--vocab", type=int, default=2048, help="of the BPE")
    args = parser.parse_args(argv)
    import jsonschema

    texts = [Item(item.value) for item in builtin.load("english").items]
    codec = TextCodec(tokenizer="bpe", vocab=args.vocab, length=256).fit(texts)
    grammar, most = json_schema(SCHEMA), 192
    found = {}
    for size in args.sizes:
        torch.manual_seed(0)
        model = GPT(Spec((256,), vocab=codec.end + 1), size=size)
        Form(grammar, codec.spelling, codec.end, most)  # the table of tokens is made once for all

        def write(seed: int, ends: list[int] | None = None, model: GPT = model) -> tuple[float, torch.Tensor]:
            """Processor seconds and tokens of a batch: in the form, or freely in rows of these lengths."""
            began = time.process_time()
            guides = [Form(grammar, codec.spelling, codec.end, most) if ends is None else _Ends(ends)]
            knobs = {"max_new": most, "stop": codec.end, "min_new": 0 if ends is None else most}
            rows = Rng.for_rows(range(seed, seed + args.batch))
            out = torch.cat(list(model.stream(args.batch, rows, guides=guides, **knobs)), 1)
            return time.process_time() - began, out

        write(0)
        valid = tokens = 0
        bound = free = 0.0
        ratios = []
        for seed in range(0, args.n, args.batch):
            seconds, out = write(seed)
            lengths = (out != codec.end).sum(1)
            plain, _ = write(seed, lengths.tolist())
            ratios.append(seconds / plain)
            bound, free, tokens = bound + seconds, free + plain, tokens + int(lengths.sum())
            for item in codec.decode(out):
                try:
                    jsonschema.validate(json.loads(item.value), SCHEMA)
                    valid += 1
                except (ValueError, jsonschema.ValidationError) as error:
                    print("not valid:", item.value, type(error).__name__)
        ratios.sort()
        found[f"size {size}"] = {
            "parameters": sum(p.numel() for p in model.parameters()),
            "valid": valid,
            "texts": args.n,
            "tokens": tokens,
            "cost": bound / free - 1,
            "cost_low": ratios[len(ratios) // 10] - 1,
            "cost_high": ratios[-1 - len(ratios) // 10] - 1,
            "ms_a_token": 1000 * bound / tokens,
        }
        print(size, found[f"size {size}"], flush=True)
    keep("constrain", found, args)
