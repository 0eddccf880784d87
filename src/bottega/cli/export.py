"""``bottega export``: a run as files that other programs load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet, whole_run

__all__ = ["export"]

PANEL, PLACE = "Use", 28
EXAMPLES = """\
  bottega export runs/english --to hf --out english-hf
  bottega export runs/english --to gguf          llama-cli -m runs/english/model.gguf
  bottega export ./gpt2 --to hf --out copy
"""


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, its model.safetensors, or a Hugging Face directory.")],
    to: Annotated[str, typer.Option("--to", metavar="FORM", help="hf: a directory that transformers and vLLM read; gguf: a file that llama.cpp reads.")] = "hf",
    out: Annotated[Path | None, typer.Option("--out", metavar="PATH", help="A new folder or file; RUN/hf or RUN/model.gguf by default.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Write a language model as a directory that `transformers` loads, or a file that llama.cpp loads, with equal logits.

    A model with adapters (train.lora) is written with their changes added to its weights.
    """
    from bottega.shrink.export import to_gguf, to_huggingface
    from bottega.workshop.run import load

    if to not in ("hf", "gguf"):
        raise typer.BadParameter(f"{to!r} is no form; use hf or gguf", param_hint="--to")
    say, made = Out(as_json, quiet), load(whole_run(run), device="cpu")
    mark = made.mark(0)
    note = "; ".join(f"{k}: {v}" for k, v in mark.items() if k != "seed")
    if to == "gguf":
        file = to_gguf(made.model, made.codec, out or made.path / "model.gguf", note)
        say.say(f"{file}  {file.stat().st_size / 1e6:,.1f} MB")
        say.result({"run": made.path, "weights": made.weights_hash, "file": file})
        return
    files = to_huggingface(made.model, made.codec, out or made.path / "hf", note)
    say.say(f"{files[0].parent}  {', '.join(file.name for file in files)}")
    say.result({"run": made.path, "weights": made.weights_hash, "folder": files[0].parent, "files": files})
