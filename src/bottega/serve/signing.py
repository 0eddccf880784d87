"""Signed requests and responses: HTTP Message Signatures (RFC 9421) with Ed25519 or HMAC-SHA-256, Content-Digest (RFC 9530).

A request is signed over its method, path, query and the digest of its body, with the time at which it was signed and a nonce.
It counts within a window around that time, and once: its nonce is kept until the window has passed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy.exc import IntegrityError
from starlette.datastructures import URL

from bottega.core import BottegaError
from bottega.serve import tables
from bottega.serve.state import State

__all__ = ["BadSignature", "Nonces", "Signed", "check_request", "content_digest", "httpx_auth", "jwk", "public_bytes", "server_key",
           "sign_request", "sign_response", "verify_response"]  # fmt: skip

WINDOW = 300.0  # seconds before and after
COVERED = ("@method", "@path", "@query")
_INPUT = re.compile(
    r'(?P<label>[a-z*][a-z0-9_.*-]*)=(?P<params>\((?P<parts>(?:"[^"\\]*"(?: "[^"\\]*")*)?)\)'
    r'(?P<rest>(?:;[a-z*][a-z0-9_.*-]*=(?:"[^"\\]*"|-?\d{1,15}))*))'
)
_SIGNATURE = re.compile(r"(?P<label>[a-z*][a-z0-9_.*-]*)=:(?P<value>[A-Za-z0-9+/]+={0,2}):")


class BadSignature(BottegaError):
    """A signature that does not hold; the message says why.

    Args:
        why: for the caller.
        code: ``invalid_signature``, ``clock_skew`` or ``replayed``.
    """

    def __init__(self, why: str, code: str = "invalid_signature") -> None:
        self.code = code
        super().__init__(why)


@dataclass(frozen=True)
class Signed:
    """A signature as it stands in the headers, not checked yet.

    Attributes:
        key: the id of the key that it says it was made with.
        created: when, seconds since 1970.
        nonce: of this request only.
        alg: empty where it does not say.
        covered: components.
        params: the text that is signed as ``@signature-params``.
        signature: bytes.
    """

    key: str
    created: int
    nonce: str
    alg: str
    covered: tuple[str, ...]
    params: str
    signature: bytes

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Signed:
        """What ``Signature-Input`` and ``Signature`` say; raises BadSignature when they cannot be read."""
        said = _INPUT.fullmatch(headers.get("signature-input", "").strip())
        value = _SIGNATURE.fullmatch(headers.get("signature", "").strip())
        if said is None or value is None or said["label"] != value["label"]:
            raise BadSignature("Signature-Input and Signature cannot be read; send one signature as RFC 9421 writes it")
        params = dict(part.split("=", 1) for part in said["rest"].split(";")[1:])
        found = {k: v.strip('"') for k, v in params.items()}
        covered = tuple(re.findall(r'"([^"]*)"', said["parts"]))
        if len(set(covered)) < len(covered):
            raise BadSignature("the signature covers a component twice; name each once")
        try:
            raw = base64.b64decode(value["value"], validate=True)
            return cls(found["keyid"], int(found["created"]), found.get("nonce", ""), found.get("alg", ""), covered, said["params"], raw)  # fmt: skip
        except (KeyError, ValueError) as error:
            raise BadSignature(
                "the signature says no keyid, or no created in whole seconds; both are wanted"
            ) from error


def content_digest(body: bytes) -> str:
    """The header ``Content-Digest`` of a body.

    >>> content_digest(b'{"hello": "world"}')  # RFC 9530, appendix D
    'sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:'
    """
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def base_of(covered: Iterable[str], params: str, derived: Mapping[str, str], headers: Mapping[str, str]) -> bytes:
    """The signature base (RFC 9421, 2.5); raises BadSignature for a component that is not there."""
    lines = []
    for name in covered:
        value = derived.get(name) if name.startswith("@") else headers.get(name)
        if value is None:
            raise BadSignature(f"the signature covers {name[:40]!r}, which the message does not have")
        lines.append(f'"{name}": {value.strip()}')
    lines.append(f'"@signature-params": {params}')
    return "\n".join(lines).encode()


def sign(base: bytes, alg: str, secret: bytes) -> bytes:
    """A signature of a base: ``ed25519`` by the private key's 32 bytes, ``hmac-sha256`` by a shared secret."""
    if alg == "ed25519":
        return Ed25519PrivateKey.from_private_bytes(secret).sign(base)
    return hmac.digest(secret, base, "sha256")


def holds(base: bytes, signature: bytes, alg: str, secret: bytes) -> bool:
    """Whether a signature is of this base; ``secret`` is the public key of ``ed25519``."""
    if alg == "hmac-sha256":
        return hmac.compare_digest(hmac.digest(secret, base, "sha256"), signature)
    try:
        Ed25519PublicKey.from_public_bytes(secret).verify(signature, base)
    except InvalidSignature:
        return False
    return True


def check_request(
    signed: Signed, alg: str, secret: bytes, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes,
    now: float, window: float = WINDOW,
) -> None:  # fmt: skip
    """Check the signature of a request; its nonce is the caller's to check.

    Args:
        signed: what its headers say.
        alg: how the key signs.
        secret: the public key, or the shared secret.
        method: in capitals.
        path: as it was sent, still encoded.
        query: behind the question mark, as it was sent; empty without one.
        headers: by small names.
        body: all of it.
        now: seconds since 1970.
        window: seconds.

    Raises:
        BadSignature: it does not hold, covers too little, or is from another time.
    """
    wanted = [*COVERED, *(["content-digest"] if body else [])]
    if missing := [name for name in wanted if name not in signed.covered]:
        raise BadSignature(f"the signature does not cover {', '.join(missing)}; sign at least {', '.join(wanted)}")
    if signed.alg and signed.alg != alg:
        raise BadSignature(f"the signature is {signed.alg[:40]}, but this key signs with {alg}")
    if not 8 <= len(signed.nonce) <= 128:
        raise BadSignature("the signature has no nonce of 8 to 128 characters; draw a new one for each request")
    digested = body or "content-digest" in headers  # an emptied body still has its digest
    if digested and not hmac.compare_digest(headers.get("content-digest", "").encode(), content_digest(body).encode()):
        raise BadSignature("Content-Digest is not of this body; send sha-256=:...: of the bytes that go out")
    derived = {"@method": method, "@path": path, "@query": f"?{query}", "@authority": headers.get("host", "").lower()}
    if not holds(base_of(signed.covered, signed.params, derived, headers), signed.signature, alg, secret):
        raise BadSignature("the signature is not of this request and key; check what is signed, and the key")
    late = now - signed.created
    if abs(late) > window:
        where = "behind" if late > 0 else "ahead of"
        raise BadSignature(
            f"the request was signed at a time {abs(late):.0f} seconds {where} this server's clock, and {window:.0f} are "
            "allowed; set your clock, and sign anew",
            "clock_skew",
        )


class Nonces:
    """Nonces that were used, until their window has passed; shared by the servers of a state."""

    def __init__(self, state: State) -> None:
        self.state, self._count = state, 0

    def take(self, key: str, nonce: str, now: float, window: float = WINDOW) -> None:
        """Use a nonce; raises BadSignature where it was used before."""
        t = tables.nonces
        self._count += 1
        try:
            with self.state.engine.begin() as db:
                if self._count % 64 == 1:
                    db.execute(t.delete().where(t.c.until < now))
                db.execute(t.insert().values(key=key, nonce=nonce, until=now + 2 * window + 1))
        except IntegrityError as error:
            raise BadSignature("this signed request came before; sign each with a new nonce", "replayed") from error


# ---- for callers -----------------------------------------------------------------------------------------------------


def sign_request(
    method: str, url: str, body: bytes, *, key: str, secret: str, alg: str = "ed25519", created: int | None = None, nonce: str = ""
) -> dict[str, str]:  # fmt: skip
    """The headers that sign a request.

    Args:
        method: GET, POST ...
        url: all of it, as it will be sent.
        body: the bytes that will be sent.
        key: id of the key.
        secret: what ``bottega keys add --signs`` showed, base64.
        alg: ``"ed25519"`` or ``"hmac-sha256"``.
        created: seconds since 1970; now by default.
        nonce: a new one by default.
    """
    at = URL(url)
    covered = [*COVERED, *(["content-digest"] if body else [])]
    headers = {"content-digest": content_digest(body)} if body else {}
    when, once = int(time.time()) if created is None else created, nonce or secrets.token_urlsafe(16)
    parts = " ".join(f'"{name}"' for name in covered)
    params = f'({parts});created={when};keyid="{key}";alg="{alg}";nonce="{once}"'
    derived = {"@method": method.upper(), "@path": at.path or "/", "@query": f"?{at.query}"}
    signature = sign(base_of(covered, params, derived, headers), alg, base64.b64decode(secret))
    return headers | {"signature-input": f"sig={params}", "signature": f"sig=:{base64.b64encode(signature).decode()}:"}


def httpx_auth(key: str, secret: str, alg: str = "ed25519") -> Any:
    """Signs every request of an ``httpx.Client``, and so of an ``openai.OpenAI(http_client=...)``."""

    def signed(request: Any) -> Any:
        made = sign_request(request.method, str(request.url), request.read(), key=key, secret=secret, alg=alg)
        request.headers.update(made)
        return request

    return signed


# ---- responses -------------------------------------------------------------------------------------------------------

_RESPONSE = ("@status", "content-digest", "x-request-id")


def server_key(state: State, purpose: str = "responses") -> Ed25519PrivateKey:
    """The server's own key for a purpose, made at the first call and kept sealed in the state."""
    raw = state.secret(f"ed25519:{purpose}", lambda: secrets.token_bytes(32))
    return Ed25519PrivateKey.from_private_bytes(raw)


def public_bytes(key: Ed25519PrivateKey | Ed25519PublicKey) -> bytes:
    """The 32 bytes of the public key."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    """The public key as RFC 8037 writes it; ``kid`` is its thumbprint (RFC 7638)."""
    x = base64.urlsafe_b64encode(public_bytes(key)).rstrip(b"=").decode()
    said = f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'
    kid = base64.urlsafe_b64encode(hashlib.sha256(said.encode()).digest()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": "EdDSA"}


def sign_response(key: Ed25519PrivateKey, status: int, request_id: str, digest: str, created: float) -> dict[str, str]:
    """The headers that sign a response: its status, its body by digest, and the id of the request that it answers."""
    parts = " ".join(f'"{name}"' for name in _RESPONSE)
    params = f'({parts});created={int(created)};keyid="{jwk(key)["kid"]}";alg="ed25519"'
    base = base_of(_RESPONSE, params, {"@status": str(status)}, {"content-digest": digest, "x-request-id": request_id})
    value = base64.b64encode(key.sign(base)).decode()
    return {"content-digest": digest, "signature-input": f"sig={params}", "signature": f"sig=:{value}:"}


def verify_response(public: bytes, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Check the signature of a response.

    Args:
        public: the 32 bytes of the server's key.
        status: of the response.
        headers: by small names; the caller has seen to it that ``x-request-id`` is the one that it sent.
        body: all of it.

    Raises:
        BadSignature: it is not signed, not by this key, or was changed.
    """
    signed = Signed.of(headers)
    if not set(_RESPONSE) <= set(signed.covered):
        raise BadSignature(
            "the signature of the response does not cover its status, body and request; do not rely on it"
        )
    if headers.get("content-digest", "") != content_digest(body):
        raise BadSignature("the body of the response is not the one that was signed; do not rely on it")
    if not holds(
        base_of(signed.covered, signed.params, {"@status": str(status)}, headers), signed.signature, "ed25519", public
    ):
        raise BadSignature("the response is not signed by this key; do not rely on it")
