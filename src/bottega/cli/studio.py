"""``bottega studio``: a page to look at runs, make pieces and watch trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Device, Json, Out, Quiet

__all__ = ["studio"]

PANEL, PLACE = "Serve", 41
EXAMPLES = """\
  bottega studio                              the runs in runs/, in the browser
  bottega studio my/runs --port 8080 --no-open
  bottega studio --bot my-bot                 with a chatbot, its review queue and its feedback
"""


def studio(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where runs lie, and new ones are put.")] = Path("runs"),
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")] = 8000,
    bot: Annotated[Path | None, typer.Option("--bot", metavar="FOLDER", help="A chatbot to talk to.")] = None,
    memory: Annotated[float, typer.Option("--memory", metavar="GIB", min=0.01, help="What loaded models may take.")] = 4.0,
    home: Annotated[Path, typer.Option("--home", metavar="DIR", help="Where the state and the audit log are kept.")] = Path("serve"),
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Show runs in the browser: what they make, how good they are, how they learn.

    A page of this machine, for this machine only: make pieces, wander through a model's codes, inpaint, chat, begin
    trainings and watch them. Ctrl-C ends it; trainings that it began stop with a checkpoint. For others, use bottega
    serve, which has the same page at /studio.
    """
    from bottega.core.errors import BottegaError, OutputError

    say = Out(as_json, quiet)
    try:
        from bottega.serve.app import serve as run
        from bottega.serve.settings import Settings
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("bottega"):
            raise
        raise BottegaError(f"the studio needs {error.name}; install it with: pip install 'bottega[serve]'") from None
    if folder.is_file():
        raise BottegaError(f"{folder} is a file; give the folder that runs lie in")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}; give another folder") from error
    settings = Settings(
        folder=folder, port=port, bot=bot, memory=int(memory * (1 << 30)), home=home, device=device, warm=False
    )

    def tell(address: str) -> None:
        place = f"{address}/studio"
        say.say(f"{place} shows {folder}; Ctrl-C ends it")
        say.result({"address": place})
        if browser:
            import threading
            import webbrowser

            threading.Thread(target=webbrowser.open, args=(place,), daemon=True).start()  # it may wait for a browser

    run(settings, tell)
