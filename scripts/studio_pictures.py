"""The pictures of the studio in the docs: trains small runs, opens each page in a headless Chromium, writes docs/images/studio-*.png.

``python scripts/studio_pictures.py [FOLDER of runs]`` (about four minutes on two cores; with a folder, what stands there
is taken as it is). Needs chromium and the extras serve, audio, music, table and dev.
"""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import bottega
from bottega.crafts.chat import Bot
from bottega.crafts.chat_scripts import new
from bottega.serve import bot_api
from bottega.serve.app import create_app
from bottega.serve.settings import Settings

OUT = Path(__file__).parents[1] / "docs" / "images"
RUNS: dict[str, tuple[str, int, dict[str, Any], bool]] = {
    "ring": ("ring-flow", 200, {"data.n": 2000}, False),
    "tones": ("ch23-audio-vae", 60, {"data.n": 200}, False),
    "wine": ("wine", 400, {}, False),
    "tunes": ("moods", 120, {"data.n": 1000}, False),
    "digits-diffusion": ("digits-diffusion", 500, {"judge.n": 200}, True),
    "digits-vae": ("digits-vae", 700, {"train.sample_every": 140, "judge.n": 200, "judge.iwae": 5}, True),
}
"""Name of the run: recipe, steps, what is changed, whether it is judged."""


def train(folder: Path) -> None:
    """The runs that are not there yet."""
    for name, (recipe, steps, changes, judged) in RUNS.items():
        if not (folder / name / "model.safetensors").exists():
            run = bottega.train(recipe, out=folder / name, steps=steps, set=changes, judge=judged)
            if not judged:
                run.show()


def serve(folder: Path, home: Path) -> tuple[str, uvicorn.Server]:
    """The address of the studio with these runs and a bot."""
    app = create_app(Settings(folder=folder, home=home, warm=False, device="cpu"))
    if not any(getattr(route, "path", "") == "/v1/chats" for route in app.routes):
        new(home / "shop")
        app.include_router(bot_api.router(Bot.open(home / "shop", home / "state.db")))
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=2))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    return f"http://127.0.0.1:{port}/studio", server


def made(page: Page) -> None:
    """Press Make and wait for the pieces."""
    page.click("form >> button:has-text('Make')")
    page.wait_for_selector("section[aria-label=Pieces] .piece, section[aria-label=Pieces] .columns", timeout=120_000)


def runs(page: Page) -> None:
    """Nothing to do."""


def plane(page: Page) -> None:
    """The plane of three seeds."""
    page.click("button:has-text('Show the plane')")
    page.wait_for_selector("#where:has-text('%')")


def inpaint(page: Page) -> None:
    """Paint, and have it made anew."""
    page.wait_for_selector("canvas[data-source]")
    box = page.locator(".easel").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.7)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.75, steps=8)
    page.mouse.up()
    page.click("button:has-text('Make it anew')")
    page.wait_for_selector("section[aria-label=Versions] .piece")


def chat(page: Page) -> None:
    """A question to the bot, then a person."""
    for text in ("Where is my order FM1234?", "How long does delivery take?"):
        page.fill("#words", text)
        page.keyboard.press("Enter")
        page.wait_for_selector(f".said.user:has-text('{text}') + .said.assistant:not([aria-busy])")
    page.click("button:has-text('Talk to a person')")
    page.wait_for_selector("text=A person was called")


def curves(page: Page) -> None:
    """Wait for the curves."""
    page.wait_for_selector("loss-curve .plot svg.main-svg")
    page.wait_for_timeout(1500)


SHOTS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "runs": ("#/", runs, {}),
    "run": ("#/run/digits-vae", runs, {}),
    "make": ("#/make/digits-vae", made, {}),
    "music": ("#/make/tunes", made, {}),
    "sound": ("#/make/tones", made, {}),
    "table": ("#/make/wine", made, {}),
    "map": ("#/map/digits-vae", plane, {}),
    "inpaint": ("#/inpaint/digits-diffusion", inpaint, {}),
    "chat": ("#/chat/bot", chat, {}),
    "review": ("#/review", runs, {}),
    "training": ("#/training/digits-vae", curves, {}),
    "dark": ("#/", runs, {"color_scheme": "dark"}),
    "phone": ("#/make/digits-vae", made, {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}),
}


def shoot(base: str) -> None:
    """Every page as a PNG of 256 colours."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, (place, act, context) in SHOTS.items():
            page = browser.new_context(**({"viewport": {"width": 1180, "height": 860}} | context)).new_page()
            page.goto(base + place)
            page.wait_for_selector("main h1")
            page.wait_for_selector("main:not([aria-busy])")
            act(page)
            page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
            page.mouse.move(0, 0)
            page.wait_for_timeout(900)
            path = OUT / f"studio-{name}.png"
            page.screenshot(path=str(path))
            with Image.open(path) as picture:
                picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
            print(f"{path.name}  {path.stat().st_size / 1000:.0f} kB")  # noqa: T201
            page.context.close()
        browser.close()


def main() -> None:
    """Train, serve, shoot."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(place) / "runs"
        train(folder)
        base, server = serve(folder, Path(place))
        shoot(base)
        server.should_exit = True
        time.sleep(1)


if __name__ == "__main__":
    main()
