"""Writing speed of a GPT-2-shaped model of 124 million weights: prompt 64, then 128 tokens, greedy, beside transformers.

The weights are random and the same in both; what is timed is reading the prompt and making every token. Ours is the family
``gpt`` with its weights packed by ``shrink.quantise``; the other is ``transformers`` ``generate`` on ``GPT2LMHeadModel``: in
float32, in bfloat16, and in torch's dynamic int8, for which its ``Conv1D`` layers are made ``Linear`` (they would stay
float32 otherwise). Beside each stands what reading the weights once a token takes at the measured bandwidth.
"""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._common import keep, options, pairs
from bottega.core import Batch, Rng, Spec
from bottega.families.gpt import GPT
from bottega.shrink.quantise import KINDS, Kind, kinds_here, lighten, weight_bytes

PROMPT, NEW = 64, 128


def bandwidth(clock: Callable[[], float], size: int = 1 << 27) -> float:
    """Bytes a second of reading memory once, with all threads; the best of ten."""
    x = torch.ones(size)
    best = 0.0
    for _ in range(10):
        began = clock()
        x.sum()
        best = max(best, 4 * size / (clock() - began))
    return best


def models(depth: int) -> tuple[Any, GPT]:
    """Transformers' GPT-2 and ours, of equal random weights."""
    import transformers

    torch.manual_seed(0)
    peer = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=depth)).eval()
    with torch.no_grad():  # at its own start GPT-2 repeats one token; wider embeddings make texts that differ
        peer.transformer.wte.weight.mul_(4)
    config = peer.config.to_dict()
    settings = {k: v for k, v in GPT.settings_of(config).items() if k != "name"}
    ours = GPT(Spec((1024,), vocab=50257), **settings)
    ours.take_weights({k: t for k, t in peer.state_dict().items() if k != "lm_head.weight"}, config)
    return peer, ours.eval()


def dynamic_int8(peer: Any) -> Any:
    """Torch's dynamic quantisation of all of transformers' matrices."""
    import copy

    made = copy.deepcopy(peer)
    for part in list(made.modules()):
        for name, child in list(part.named_children()):
            if type(child).__name__ == "Conv1D":
                linear = nn.Linear(*child.weight.shape)
                linear.weight.data, linear.bias.data = child.weight.data.t().contiguous(), child.bias.data
                setattr(part, name, linear)
    made.lm_head.weight = nn.Parameter(
        made.lm_head.weight.detach().clone()
    )  # tied, it would make the embedding int8 too
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(made, {nn.Linear}, dtype=torch.qint8)


def compare(
    peer: Any, ours: GPT, kind: Kind, batch: int, new: int, rounds: int, clock: Callable[[], float]
) -> dict[str, Any]:
    """One kind of weights, one batch: both make the same text, alternating."""
    prompt = torch.randint(50257, (batch, PROMPT), generator=torch.Generator().manual_seed(batch))
    light = lighten(ours, kind, batch)
    other = peer if kind == "fp32" else dynamic_int8(peer) if kind == "int8" else _bf16(peer)  # it has no float16 here

    def mine() -> Tensor:
        kept = torch.ones_like(prompt, dtype=torch.bool)
        return light.edit(Batch(prompt), kept, Rng(0), max_new=new, temperature=0.0)

    def theirs() -> Tensor:
        with torch.inference_mode():
            made: Tensor = other.generate(
                prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=new, min_new_tokens=new, do_sample=False,
                pad_token_id=0,
            )  # fmt: skip
        return made

    same = (mine()[:, PROMPT:] == theirs()[:, PROMPT:]).float().mean().item()
    found = pairs(theirs, mine, rounds=rounds, warm=0, clock=clock)
    return {
        "speed": found["ratio"],
        "speed_10_90": [found["ratio_low"], found["ratio_high"]],
        "beside": "transformers " + {"fp32": "float32", "int8": "int8, dynamic"}.get(kind, "bfloat16"),
        "tokens_a_second": batch * new / found["b_seconds"],
        "theirs_tokens_a_second": batch * new / found["a_seconds"],
        "ms_a_step": 1e3 * found["b_seconds"] / new,
        "weight_megabytes": weight_bytes(light) / 1e6,
        "same_tokens": same,
    }


def main(argv: Sequence[str] = ()) -> dict[str, Any]:
    """Print and keep the result."""
    parser = options("generate", __doc__, "", "--threads 2", "--new 16 --rounds 1 --only fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new", type=int, default=NEW)
    parser.add_argument("--depth", type=int, default=12, help="layers; 12 is GPT-2's")
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--only", nargs="*", default=["fp32", "bf16", "fp16", "int8"], help="kinds of weights")
    parser.add_argument("--cpu-time", action="store_true", help="processor time of the process, on a busy machine")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    clock: Callable[[], float] = time.process_time if args.cpu_time else time.perf_counter
    speed = bandwidth(clock)
    peer, ours = models(args.depth)
    rows: dict[str, Any] = {}
    here = kinds_here()
    for kind in (k for k in args.only if _kind(k) not in here):
        print(f"{kind}: left out, this processor has no kernels for such weights", flush=True)
    for batch in args.batches:
        for kind in (k for k in args.only if k in here):
            row = compare(peer, ours, _kind(kind), batch, args.new, args.rounds, clock)
            row["limit_ms_a_step"] = 1e6 * row["weight_megabytes"] * 1e3 / speed
            rows[f"{kind}, batch {batch}"] = row
            print(kind, batch, row, flush=True)
            gc.collect()
    result = {"read_gigabytes_a_second": speed / 1e9, "rows": rows}
    keep("generate", {"with bfloat16" if "bf16" in here else "without bfloat16": result}, args, beside=True)
    return result


def _kind(name: str) -> Kind:
    if name not in KINDS:
        raise SystemExit(f"{name} is no kind of weights; use {', '.join(KINDS)}")
    return name  # type: ignore[return-value]


def _bf16(peer: Any) -> Any:
    import copy

    return copy.deepcopy(peer).to(torch.bfloat16)
