"""Our language models in llama.cpp: exported as GGUF, are tokens and probabilities there what they are here?

Five small models are trained on the built-in text, one of each kind that is written: like Llama, with shared keys, like
Qwen 2 over bytes, like GPT-2 over characters, and a bigger vocabulary. The peer is npm's ``node-llama-cpp``, which brings
llama.cpp ready-built: make a folder, run ``npm install node-llama-cpp`` in it and name it with --peer. It gives the
probabilities of the tokens that its sampler keeps (40 of them at most); ours are compared after the same cut.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import bottega
from benchmarks._common import keep, options
from bottega.core import Batch, Rng
from bottega.data.builtin import load
from bottega.shrink.export import to_gguf

OLD = {"norm": "layer", "feed": "gelu_tanh", "positions": "learned", "bias": True, "tied": False}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("bpe", {}),
    "llama, shared keys, own read-out": ("bpe", {"kv_heads": 1, "tied": False}),
    "qwen2 of bytes": ("byte", {"qkv_bias": True, "theta": 5000.0, "eps": 1e-4}),
    "gpt2 of characters": ("char", OLD),
    "gpt2 of pairs": ("bpe", OLD),
}
PROMPTS = ["The value of the", " a string", "def f(x):\n    return x, don't 12", "If the  first"]
MORE = "héllo wörld 你好 \U0001f600"  # not to characters, which are ASCII here
NEW = 24
SCRIPT = """
import {getLlama} from "node-llama-cpp";
const [file, prompts, begins, most] = JSON.parse(process.argv[2]);
const llama = await getLlama({gpu: false, build: "never", maxThreads: 1, logLevel: "error"});
const model = await llama.loadModel({modelPath: file});
const context = await model.createContext({contextSize: 96, threads: 1, sequences: prompts.length});
const out = [];
for (const prompt of prompts) {
  const own = model.tokenize(prompt), sequence = context.getSequence();
  const tokens = begins ? [model.tokens.bos, ...own] : own;
  const next = {generateNext: {probabilities: true, token: true, options: {temperature: 1}}};
  const said = await sequence.controlledEvaluate(tokens.map((t, i) => i === tokens.length - 1 ? [t, next] : t));
  await sequence.clearHistory();
  const made = [];
  for await (const token of sequence.evaluate(tokens, {temperature: 0, yieldEogToken: true})) {
    made.push(token);
    if (made.length >= most || model.isEogToken(token)) break;
  }
  out.push({tokens: own, made, next: [...said[tokens.length - 1].next.probabilities.entries()]});
}
console.log(JSON.stringify(out));
"""


def ask(peer: Path, file: Path, prompts: list[str], begins: bool) -> list[dict[str, Any]]:
    """What llama.cpp makes of each prompt: its tokens, the most probable ones that follow, and a greedy text."""
    script = peer / ".bottega-asks.mjs"  # node looks for packages beside a script
    script.write_text(SCRIPT, encoding="utf-8")
    try:
        asked = json.dumps([str(file), prompts, begins, NEW])
        done = subprocess.run(["node", script.name, asked], cwd=peer, capture_output=True, text=True, check=False)
    finally:
        script.unlink()
    if done.returncode:
        raise SystemExit(f"llama.cpp did not answer: {(done.stderr or done.stdout)[-1500:]}")
    found: list[dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def compare(run: bottega.Run, peer: Path, file: Path, prompts: list[str]) -> dict[str, Any]:
    """How far apart the two are on ``prompts``."""
    same, apart, made, total = 0, 0.0, 0, 0
    for prompt, theirs in zip(prompts, ask(peer, file, prompts, run.model.begins), strict=True):
        tokens = run.codec.encode_prompt(prompt)[None]
        same += tokens[0].tolist() == theirs["tokens"]
        with torch.no_grad():
            logits = run.model.step(1, prompted=True)(tokens)[0].double()
        kept = [(k, p) for k, p in theirs["next"] if k < len(logits)]
        which, p = torch.tensor([k for k, _ in kept]), torch.tensor([p for _, p in kept]).double()
        apart = max(apart, (logits[which].softmax(0) - p / p.sum()).abs().max().item())
        given = torch.ones_like(tokens, dtype=torch.bool)
        mine = run.model.edit(Batch(tokens), given, Rng(0), max_new=NEW, temperature=0.0)[0, tokens.shape[1] :].tolist()
        for a, b in zip(mine, theirs["made"], strict=False):
            total += 1
            made += a == b
    return {
        "prompts": len(prompts), "same_tokens": same, "most_apart": apart, "greedy_tokens": total, "greedy_same": made,
        "parameters": run.header["parameters"],
    }  # fmt: skip


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("llama_cpp", __doc__, "--peer ../node", "--peer ../node --steps 30")
    parser.add_argument("--peer", type=Path, required=True, help="a folder in which npm installed node-llama-cpp")
    parser.add_argument("--steps", type=int, default=200, help="of training")
    args = parser.parse_args(argv)
    package = args.peer / "node_modules" / "node-llama-cpp" / "package.json"
    if not package.exists():
        raise SystemExit(f"there is no node-llama-cpp in {args.peer}; run npm install node-llama-cpp there")
    found: dict[str, Any] = {"peer": f"node-llama-cpp {json.loads(package.read_text())['version']}"}
    for name, (tokenizer, family) in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            plain = {"codec.tokenizer": tokenizer, "codec.length": 64, "family.size": 3, "train.batch": 16}
            changes = plain | {f"family.{key}": value for key, value in family.items()}
            if tokenizer == "bpe":
                changes["codec.vocab"] = 400
            file = Path(folder) / "text.txt"
            file.write_text(
                "\n\n".join(item.value for item in load("english").items[:60]).encode("ascii", "ignore").decode()
            )
            run = bottega.train("text", file, Path(folder) / "run", steps=args.steps, set=changes, judge=False)
            prompts = PROMPTS + ([] if tokenizer == "char" else [MORE])
            found[name] = compare(run, args.peer, to_gguf(run.model, run.codec, Path(folder) / "model.gguf"), prompts)
            print(name, found[name], flush=True)
    keep("llama_cpp", found, args)
