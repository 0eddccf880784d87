"""``bottega serve``: runs over HTTP, as OpenAI's programs speak it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet

__all__ = ["serve"]

PANEL, PLACE = "Serve", 50
EXAMPLES = """\
  bottega serve runs/english                                   http://127.0.0.1:8000, for this machine only
  bottega serve runs/ --port 9000 --memory 8                   every run in a folder, loaded as they are asked for
  bottega serve runs/english --queue 32 --deadline 30
  bottega serve runs/english --host 0.0.0.0 --tls-cert c.pem --tls-key k.pem    for others, who need keys
  curl http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' -d '{"model": "english", "prompt": "The "}'
"""


def serve(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of runs, Hugging Face directories, or folders that hold runs.")] = [],  # noqa: B006
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen. Any address but this machine's own asks callers for keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")] = 8000,
    bot: Annotated[Path | None, typer.Option("--bot", metavar="FOLDER", help="A chatbot to serve beside the runs.")] = None,
    memory: Annotated[float, typer.Option("--memory", metavar="GIB", min=0.01, help="What loaded models may take; the one that was not used for longest is unloaded.")] = 4.0,
    queue: Annotated[int, typer.Option("--queue", metavar="N", min=1, help="Requests that may wait for one model; more are answered 429.")] = 128,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="Texts of one model that are written at once.")] = 64,
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Other pieces of one model that are made at once.")] = 16,
    deadline: Annotated[float, typer.Option("--deadline", metavar="SECONDS", help="A request that takes longer is answered 504.")] = 120.0,
    max_tokens: Annotated[int, typer.Option("--max-tokens", metavar="N", min=1, help="Of a text whose request does not say.")] = 256,
    max_body: Annotated[float, typer.Option("--max-body", metavar="MIB", min=0.001, help="Size of a request; more is answered 413.")] = 20.0,
    weights: Annotated[str, typer.Option("--weights", metavar="KIND", help="How language models are packed: fp32 (exact), bf16, fp16 or int8.")] = "fp32",
    threads: Annotated[int, typer.Option("--threads", metavar="N", min=0, help="Of a model's worker; 0 leaves one core to the rest.")] = 0,
    keys: Annotated[bool, typer.Option("--keys", help="Ask callers on this machine for keys too; bottega keys makes them.")] = False,
    home: Annotated[Path, typer.Option("--home", metavar="DIR", help="Where the state and the audit log are kept.")] = Path("serve"),
    state: Annotated[str, typer.Option("--state", metavar="URL", help="A database for the state, postgresql://...; a file in --home by default.")] = "",
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="A certificate (PEM), for HTTPS.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its key (PEM).")] = None,
    sign_responses: Annotated[bool, typer.Option("--sign-responses", help="Sign every answer (Ed25519).")] = False,
    sign_requests: Annotated[bool, typer.Option("--sign-requests", help="Take signed requests only.")] = False,
    master_key: Annotated[Path | None, typer.Option("--master-key", metavar="FILE", help="The key that seals secrets in the state; else BOTTEGA_MASTER_KEY.")] = None,
    audit: Annotated[Path | None, typer.Option("--audit", metavar="FILE", help="The audit log; audit.jsonl in --home by default.")] = None,
    per_minute: Annotated[int, typer.Option("--per-minute", metavar="N", min=0, help="Requests of one key in a minute; 0 for any number.")] = 600,
    per_day: Annotated[int, typer.Option("--per-day", metavar="N", min=0, help="Requests of one key in a day; 0 for any number.")] = 0,
    second_factor: Annotated[bool, typer.Option("--second-factor", help="Ask every admin for a code of six digits, too.")] = False,
    filters: Annotated[str, typer.Option("--filters", metavar="on|off|auto", help="Look at what goes in and out; auto where there are keys.")] = "auto",
    no_prompts: Annotated[bool, typer.Option("--no-prompts", help="Keep prompts out of the audit log; their lengths stay.")] = False,
    request_log: Annotated[bool, typer.Option("--request-log", help="A line of JSON on standard error for each request.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Watch for drift: what is served against what the run makes now. Samples it first.")] = False,
    cold: Annotated[bool, typer.Option("--cold", help="Load no model before it is asked for.")] = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Serve runs over HTTP: texts, pictures, sounds, rows, by OpenAI's interface where it has one.

    Runs are called by the names of their folders. Texts of one model are written together, each as it would be alone;
    other pieces that are asked for at the same moment are made together. /docs says what can be asked. SIGTERM lets what
    runs come to its end and answers what is new with 503.
    """
    from bottega.core.errors import BottegaError, RecipeError

    say = Out(as_json, quiet)
    if not runs and bot is None:
        raise RecipeError("nothing to serve; name a run, such as runs/english")
    try:
        from bottega.serve.app import serve as run
        from bottega.serve.settings import Settings
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("bottega"):
            raise
        raise BottegaError(f"serving needs {error.name}; install it with: pip install 'bottega[serve]'") from None
    settings = Settings(
        runs=tuple(runs), host=host, port=port, bot=bot, state=state, home=home, keys=keys, memory=int(memory * (1 << 30)),
        queue=queue, rows=rows, batch=batch, deadline=deadline, max_body=int(max_body * (1 << 20)), max_tokens=max_tokens,
        weights=weights, threads=threads,  # type: ignore[arg-type]
        device=device, warm=not cold, tls_cert=tls_cert, tls_key=tls_key,
        sign_responses=sign_responses, sign_requests=sign_requests, master_key=master_key, audit=audit, per_minute=per_minute,
        per_day=per_day or None, second_factor=second_factor, filters=filters, log_prompts=not no_prompts,  # type: ignore[arg-type]
        request_log=request_log, watch=watch,
    )  # fmt: skip

    def tell(address: str) -> None:
        say.say(f"{address} serves {', '.join(Path(r).name for r in runs) or 'a bot'}; {address}/docs says how to ask")
        say.result({"address": address})

    run(settings, tell)
