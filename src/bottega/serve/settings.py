"""What a server is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bottega.core import RecipeError

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """How a server runs; ``bottega serve --help`` says what each option is for.

    Attributes:
        runs: what is served: folders of runs, ``NAME=FOLDER``, or folders that hold runs.
        folder: where the studio looks for runs and puts new ones; None for the places of ``runs``.
        host, port: where it listens; port 0 is any free one.
        bot: the folder of a chatbot; None for none.
        state: URL of the database of keys, users and chats; empty for ``serve.sqlite`` in ``home``, and for chats the bot's
            own ``.bot/state.db``, which ``bottega chat retrain`` and ``report`` read.
        home: where the server keeps what it must not forget (state, audit log).
        keys: whether callers need an API key even on this machine; any other address needs them anyway.
        memory: bytes that loaded models and their pages may take.
        queue: requests that may wait for one model.
        rows: texts of one model that are written at once.
        batch: pieces of one model that are made at once.
        gather: seconds that a batch of pieces waits for more.
        deadline: seconds until a request is answered 504.
        max_body: bytes of a request.
        max_n: pieces or texts of one request.
        max_tokens: tokens of a text, where its request does not say.
        weights: how language models are packed: ``"fp32"`` (exact), ``"bf16"``, ``"fp16"`` or ``"int8"``.
        threads: of a model's worker; 0 leaves one core to the rest of the server.
        device: where models run.
        warm: whether models are loaded at the start, as many as fit.
        tls_cert, tls_key: PEM files; None for plain HTTP.
        sign_responses, sign_requests: Ed25519 signatures on answers, and wanted on requests.
        master_key: file of the key that seals the state's secrets; ``BOTTEGA_MASTER_KEY`` where there is none.
        audit: the audit log; ``audit.jsonl`` in ``home`` by default.
        per_minute, per_day: requests of one key; 0 and None for any number.
        second_factor: whether every admin needs one, not only those who have begun one.
        filters: of what goes in and out: ``"on"``, ``"off"``, or ``"auto"``: on where there are keys.
        log_prompts: whether the audit log has prompts (redacted), or their lengths only.
        request_log: a line of JSON on standard error for each request.
        watch: whether pieces are held against what the run made when it was loaded (drift).
        proxies: addresses whose ``X-Forwarded-For`` is believed.
    """

    runs: tuple[str, ...] = ()
    folder: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    bot: Path | None = None
    state: str = ""
    home: Path = Path("serve")
    keys: bool = False
    memory: int = 4 << 30
    queue: int = 128
    rows: int = 64
    batch: int = 16
    gather: float = 0.004
    deadline: float = 120.0
    max_body: int = 20 << 20
    max_n: int = 64
    max_tokens: int = 256
    weights: Literal["fp32", "bf16", "fp16", "int8"] = "fp32"
    threads: int = 0
    device: str = "auto"
    warm: bool = True
    tls_cert: Path | None = None
    tls_key: Path | None = None
    sign_responses: bool = False
    sign_requests: bool = False
    master_key: Path | None = None
    audit: Path | None = None
    per_minute: int = 600
    per_day: int | None = None
    second_factor: bool = False
    filters: Literal["on", "off", "auto"] = "auto"
    log_prompts: bool = True
    request_log: bool = False
    watch: bool = False
    proxies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, low in {"port": 0, "memory": 1, "queue": 1, "rows": 1, "batch": 1, "max_body": 1024, "max_n": 1, "max_tokens": 1}.items():  # fmt: skip
            if getattr(self, name) < low:
                raise RecipeError(f"{name} is {getattr(self, name)}; it must be at least {low}")
        if self.port > 65535:
            raise RecipeError(f"port is {self.port}; it must be at most 65535")
        if not self.deadline > 0:
            raise RecipeError(f"deadline is {self.deadline}; it must be above 0 seconds")
        from bottega.shrink.quantise import kinds_here  # here: it imports torch, and help is to be quick

        if self.weights not in (here := kinds_here()):
            raise RecipeError(f"weights are {self.weights!r}; this processor has {', '.join(here)}")
        if self.filters not in ("on", "off", "auto"):
            raise RecipeError(f"filters are {self.filters!r}; use on, off or auto")
        if self.per_minute < 0 or (self.per_day is not None and self.per_day < 1):
            raise RecipeError(f"{self.per_minute} requests a minute and {self.per_day} a day; give numbers above 0")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise RecipeError("a certificate needs its key, and a key its certificate; give --tls-cert and --tls-key")

    @property
    def state_url(self) -> str:
        """Where the state lies, for SQLAlchemy."""
        return self.state or f"sqlite:///{self.home / 'serve.sqlite'}"
