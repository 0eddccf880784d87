"""The studio in a real browser: a server with small runs, and pages that fail on an error or a foreign request."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from studio_runs import damage, make_runs, measured

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHECKS = (Path(__file__).parent / "checks.js").read_text()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every medium, one measured, one damaged."""
    here = make_runs(tmp_path_factory.mktemp("runs"))
    measured(here / "digits-vae")
    damage(here)
    return here


def serve(app: Any) -> Iterator[str]:
    """The address of an app that is served in a thread."""
    uvicorn = pytest.importorskip("uvicorn", reason="needs the extra serve")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(30)


@pytest.fixture(scope="session")
def address(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("fastapi", reason="needs the extra serve")
    from bottega.crafts.chat import Bot
    from bottega.crafts.chat_scripts import new
    from bottega.serve import bot_api
    from bottega.serve.app import create_app
    from bottega.serve.settings import Settings

    home = tmp_path_factory.mktemp("home")
    app = create_app(Settings(folder=folder, home=home, warm=False, device="cpu", threads=1))
    if not any(getattr(route, "path", "") == "/v1/chats" for route in app.routes):
        new(home / "shop")
        app.include_router(bot_api.router(Bot.open(home / "shop", home / "state.db")))
    yield from serve(app)


@pytest.fixture
def locked(folder: Path) -> Iterator[str]:
    """The studio of a server that wants the key "good"."""
    from fastapi import FastAPI, Request

    from bottega.serve import errors, studio
    from bottega.serve.models import Models
    from bottega.serve.roles import Caller
    from bottega.serve.settings import Settings

    app = FastAPI()
    errors.install(app)

    @app.middleware("http")
    async def who(request: Request, go: Any) -> Any:
        if request.headers.get("authorization") == "Bearer good":
            request.state.caller = Caller("ada", "viewer")
        return await go(request)

    settings = Settings(folder=folder, warm=False)
    app.include_router(studio.router(Models(settings), settings))
    yield from serve(app)


@pytest.fixture
def asks(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A server with a bot that wants keys: its address, and a maker's key."""
    pytest.importorskip("fastapi", reason="needs the extra serve")
    from bottega.crafts.chat_scripts import new
    from bottega.serve.app import create_app
    from bottega.serve.keys import Keys
    from bottega.serve.settings import Settings
    from bottega.serve.state import open_state

    new(tmp_path / "shop")
    key = Keys(open_state(tmp_path / "serve.sqlite")).add("ada", "maker").key
    app = create_app(Settings(bot=tmp_path / "shop", home=tmp_path, keys=True, warm=False))
    for address in serve(app):
        yield address, key


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One headless Chromium for all tests."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with api.sync_playwright() as play:
        one = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


@dataclass
class Studio:
    """A page of the studio and what happened in it."""

    page: Any
    base: str
    wrong: list[str] = field(default_factory=list)

    def go(self, place: str = "#/") -> Any:
        self.page.goto(f"{self.base}/studio{place}")
        self.page.wait_for_selector("main h1")
        self.page.wait_for_selector("main:not([aria-busy])")
        return self.page

    def faults(self) -> list[str]:
        return self.page.evaluate(f"({CHECKS})()")


@pytest.fixture
def opens(browser: Any, address: str) -> Iterator[Callable[..., Studio]]:
    """Open a page; at the end there must have been no error in its console, and no request to another host."""
    contexts, opened = [], []

    def open_(base: str = address, **context: Any) -> Studio:
        settings = {"viewport": {"width": 1200, "height": 860}, "color_scheme": "light"} | context
        contexts.append(browser.new_context(**settings))
        one = Studio(contexts[-1].new_page(), base)
        one.page.set_default_timeout(30_000)
        one.page.on("console", lambda m: one.wrong.append(m.text) if m.type == "error" else None)
        one.page.on("pageerror", lambda e: one.wrong.append(str(e)))
        one.page.on(
            "request", lambda r: None if r.url.startswith((base, "blob:", "data:")) else one.wrong.append(r.url)
        )
        opened.append(one)
        return one

    yield open_
    for context in contexts:
        context.close()
    assert [one.wrong for one in opened] == [[] for _ in opened]
