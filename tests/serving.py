"""A server on a free port of this machine."""

from __future__ import annotations

import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from bottega.serve.app import Server
from bottega.serve.settings import Settings


@contextmanager
def running(**settings):
    """A server in a thread; yields it, its address in ``url``."""
    told = threading.Event()
    settings.setdefault("home", Path(tempfile.mkdtemp(prefix="bottega-serve-")))
    server = Server(Settings(port=0, **settings), lambda _: told.set())
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert told.wait(60), "the server did not start"
    server.url = server.address
    try:
        yield server
    finally:
        server.loop_.call_soon_threadsafe(server.drain)
        thread.join(60)
        assert not thread.is_alive()


def until(holds, seconds=20.0):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.01)
