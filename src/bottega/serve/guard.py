"""The guard: who asks, what they may ask for and how much of it, and a line in the log of it.

``install(app, settings)`` puts it before an app. On loopback without keys everybody on the machine is the admin
``roles.LOCAL``; as soon as there is a key, nobody comes in without one; any other address needs keys to start at all.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bottega.core import BottegaError
from bottega.serve import signing, tls
from bottega.serve.audit import Audit
from bottega.serve.content import Content
from bottega.serve.drift import Watch
from bottega.serve.incidents import Incidents
from bottega.serve.keys import Keys
from bottega.serve.limits import Limits
from bottega.serve.lockout import Lockout
from bottega.serve.metrics import Metrics, request_log
from bottega.serve.refusals import install_errors
from bottega.serve.state import DEFAULT, State, open_state

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["Guard", "Guarding", "audit_of", "install", "is_loopback"]


@dataclass(frozen=True)
class Guarding:
    """How a server is guarded.

    Attributes:
        host: that it listens on.
        state: path or URL of its state.
        keys: whether callers need a key on this machine too, before there is any.
        master_key: file of the key that seals the state's secrets; see ``open_state``.
        audit: the audit log; ``audit.jsonl`` beside a state in a file by default.
        body_bytes: of a request, at most.
        per_minute: requests of a key; 0: any number.
        per_day: requests of a key; None: any number.
        sign_requests: whether signatures are ``"off"``, ``"allowed"`` beside keys, or ``"required"``.
        sign_responses: whether answers are signed.
        second_factor: whether every admin needs one, not only those who have begun one.
        filters: whether the content filter looks at what goes in and out: ``"on"``, ``"off"``, or ``"auto"``: on where there
            are keys, since then others ask.
        filter_files: rules and scorers beside ours.
        log_prompts: whether the audit log has prompts, redacted; else their length only.
        request_log: whether a line of JSON goes to standard error for each request.
        allowed_hosts: names by which a server without keys may be called, beside localhost.
        tls_certificate, tls_key: PEM files.
    """

    host: str = "127.0.0.1"
    state: str | Path = DEFAULT
    keys: bool = False
    master_key: Path | None = None
    audit: Path | None = None
    body_bytes: int = 16 * 1024 * 1024
    per_minute: int = 600
    per_day: int | None = None
    sign_requests: Literal["off", "allowed", "required"] = "off"
    sign_responses: bool = False
    second_factor: bool = False
    filters: Literal["on", "off", "auto"] = "auto"
    filter_files: tuple[Path, ...] = ()
    log_prompts: bool = True
    request_log: bool = False
    allowed_hosts: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    @classmethod
    def of(cls, settings: Any) -> Guarding:
        """The same from the settings of a server: what they say by these names or their own, and defaults for the rest."""
        if isinstance(settings, cls):
            return settings
        said = {f.name: getattr(settings, f.name) for f in fields(cls) if hasattr(settings, f.name)}
        for ours, theirs in (("state", "state_url"), ("body_bytes", "max_body"), ("tls_certificate", "tls_cert")):
            if hasattr(settings, theirs):
                said[ours] = getattr(settings, theirs)
        if isinstance(said.get("sign_requests"), bool):
            said["sign_requests"] = "required" if said["sign_requests"] else "off"
        if said.get("audit") is None and hasattr(settings, "home"):
            said["audit"] = Path(settings.home) / "audit.jsonl"
        return cls(**said)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("")
    (True, True, True, False, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        found = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def audit_of(settings: Guarding, state: State) -> Path:
    """Where the audit log of a state lies; raises BottegaError where nothing says it."""
    if settings.audit is not None:
        return Path(settings.audit)
    if state.engine.dialect.name == "sqlite":
        return Path(str(state.engine.url.database)).with_name("audit.jsonl")
    raise BottegaError("a state in PostgreSQL says not where the audit log goes; give its file: --audit FILE")


class Guard:
    """All that guards a server; at ``app.state.guard``.

    Args:
        settings: how.
        clock: seconds since 1970.
        keys: of the state, where they are made already.

    Raises:
        BottegaError: the state cannot be opened; the address is open to others and there are no keys; bad TLS files.
    """

    def __init__(self, settings: Guarding, clock: Callable[[], float] = time.time, keys: Keys | None = None) -> None:
        self.settings, self.clock = settings, clock
        self.state = keys.state if keys is not None else open_state(settings.state, settings.master_key)
        self.keys = keys or Keys(self.state, clock)
        self.keys.all_admins = settings.second_factor
        self.loopback = is_loopback(settings.host)
        if (settings.keys or not self.loopback) and not self.keys.exist():
            why = "keys are asked for" if self.loopback else f"{settings.host} can be reached by others"
            raise BottegaError(
                f"{why}, and there are no API keys; make one with bottega keys add NAME --role admin, or serve on 127.0.0.1"
            )
        if (settings.tls_certificate is None) != (settings.tls_key is None):
            raise BottegaError("TLS needs a certificate and its key; give both, or neither")
        if settings.tls_certificate is not None and settings.tls_key is not None:
            tls.check_pair(settings.tls_certificate, settings.tls_key)
        for name in ("body_bytes", "per_day"):
            if (value := getattr(settings, name)) is not None and value < 1:
                raise BottegaError(f"{name} is {value}; give a number above 0")
        self.limits = Limits(self.state, settings.per_minute or 1_000_000_000, settings.per_day, clock)
        self.lockout, self.nonces = Lockout(self.state, clock), signing.Nonces(self.state)
        self.audit = Audit(audit_of(settings, self.state), signing.server_key(self.state, "audit"), clock)
        self.response_key = signing.server_key(self.state, "responses")
        self.metrics = Metrics()
        self.metrics.watch_incidents(Incidents(self.state, clock).open_ones)
        self.watch = Watch()
        self.metrics.watch_drift(self.watch.readings)
        self.log = request_log() if settings.request_log else None
        self._content: Content | None = None
        self._have_keys, self._looked = False, float("-inf")

    @property
    def content(self) -> Content | None:
        """The content filter, where it looks."""
        if self.settings.filters == "off" or (self.settings.filters == "auto" and not self.have_keys()):
            return None
        if self._content is None:
            self._content = Content(self.settings.filter_files)
        return self._content

    def have_keys(self) -> bool:
        """Whether there are keys; once there are, there always will be. Looked up once a second until then."""
        if not self._have_keys and time.monotonic() - self._looked > 1.0:
            self._have_keys, self._looked = self.keys.exist(), time.monotonic()
        return self._have_keys

    def look_again(self) -> None:
        """Keys or users were changed here: look at them anew."""
        self._looked = float("-inf")
        self.keys.forget()

    def trace(self, event: str, by: str, **more: Any) -> None:
        """Put an act of administration into the audit log, and wait until it is there; raises OutputError."""
        self.audit.record(event, by=by, **more)

    async def close(self) -> None:
        """Give back counters, write what waits, close the state."""
        await self.limits.close()
        self.audit.close()
        self.state.engine.dispose()


def install(app: FastAPI, settings: Any = None, *, guard: Guard | None = None) -> Guard:
    """Put the guard before an app, with the router of administration, and give its errors one shape.

    Metrics are read from ``app.state.models.figures()`` where there is that. It closes itself when the app's lifespan ends.

    Args:
        app: whose endpoints name their permissions by ``roles.need``.
        settings: anything with some of the attributes of ``Guarding``.
        guard: one that is made already.

    Raises:
        BottegaError: what ``Guard`` says.
    """
    from bottega.serve import api_admin
    from bottega.serve.gate import Gate

    made = guard or Guard(Guarding.of(settings))
    install_errors(app)
    app.include_router(api_admin.router)
    if (figures := getattr(getattr(app.state, "models", None), "figures", None)) is not None:
        made.metrics.watch_models(figures)
    app.state.guard = made
    app.add_middleware(Gate, guard=made)
    return made


def headers_of(scope: Mapping[str, Any]) -> dict[str, str]:
    """The headers of a request by small names; the same twice is joined by commas (RFC 9110, 5.3)."""
    out: dict[str, str] = {}
    for raw_name, raw in scope.get("headers", ()):
        name, value = raw_name.decode("latin-1").lower(), raw.decode("latin-1")
        out[name] = f"{out[name]}, {value}" if name in out else value
    return out
