"""Encryption at rest: AES-256-GCM under keys derived from one master key; a wrong key or a changed byte opens nothing.

AES-GCM is NIST SP 800-38D. Each purpose has its own key by HKDF-SHA-256 (RFC 5869). Files are sealed in segments whose nonce
counts them and says which is the last (STREAM; Hoang, Reyhanitabar, Rogaway and Vizár 2015), so none can be cut off,
left out or moved.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bottega.core import BottegaError, OutputError

__all__ = ["ENVIRONMENT", "Seal", "master_key", "new_master_key"]

ENVIRONMENT = "BOTTEGA_MASTER_KEY"
_MAGIC, _FILE_MAGIC = b"btg1", b"btgf1\n"
_SEGMENT = 1 << 20


class SealError(BottegaError):
    """Something sealed cannot be opened: by a wrong key, or it was changed."""


def new_master_key(path: Path) -> Path:
    """Write 32 random bytes as base64 to a file that only its owner may read; an old one is never written over.

    Raises:
        OutputError: it exists already, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(32)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise OutputError(
            f"{path} exists; a master key is never written over, since what it sealed would be lost"
        ) from error
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    return path


def master_key(path: Path | None = None) -> bytes | None:
    """The 32 bytes of the file, else of the environment variable ``BOTTEGA_MASTER_KEY``; None where there is neither.

    Raises:
        BottegaError: it cannot be read, others may read it, or it is not 32 bytes in base64.
    """
    if path is None:
        said = os.environ.get(ENVIRONMENT, "")
        return _decoded(said, f"the environment variable {ENVIRONMENT}") if said else None
    try:
        text = path.read_text(encoding="ascii")
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise BottegaError(f"cannot read the master key {path}: {getattr(error, 'strerror', error)}; make one with bottega keys master {path}") from error  # fmt: skip
    if os.name == "posix" and mode & 0o077:
        raise BottegaError(f"others may read the master key {path}; close it: chmod 600 {path}")
    return _decoded(text, str(path))


def _decoded(text: str, where: str) -> bytes:
    try:
        found = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != 32:
        raise BottegaError(f"{where} is no master key: 32 bytes in base64; make one with bottega keys master FILE")
    return found


class Seal:
    """Seals small secrets and files.

    Args:
        master: 32 bytes.

    >>> seal = Seal(bytes(32))
    >>> seal.open(seal.close(b"secret", "totp:ann"), "totp:ann")
    b'secret'
    """

    def __init__(self, master: bytes) -> None:
        if len(master) != 32:
            raise ValueError(f"a master key has 32 bytes, not {len(master)}")
        self._small, self._files = (AESGCM(_derived(master, what)) for what in (b"bottega state 1", b"bottega file 1"))

    def close(self, secret: bytes, name: str) -> bytes:
        """Sealed bytes; they open only under the same name, so that one cannot stand in for another."""
        nonce = secrets.token_bytes(12)
        return _MAGIC + nonce + self._small.encrypt(nonce, secret, name.encode())

    def open(self, sealed: bytes, name: str) -> bytes:
        """What was sealed; raises BottegaError by a wrong master key, another name or a changed byte."""
        if not sealed.startswith(_MAGIC):
            raise SealError(f"{name} is not sealed by bottega; restore it from a copy")
        try:
            return self._small.decrypt(sealed[4:16], sealed[16:], name.encode())
        except InvalidTag as error:
            raise SealError(
                f"{name} does not open: another master key sealed it, or it was changed; give the key it was sealed with"
            ) from error

    def close_file(self, source: Path, target: Path) -> Path:
        """Seal a file of any size; raises OutputError."""
        prefix = secrets.token_bytes(7)

        def parts(file: BinaryIO) -> Iterator[bytes]:
            yield _FILE_MAGIC + prefix
            for i, (part, last) in enumerate(_segments(file, _SEGMENT)):
                yield self._files.encrypt(_nonce(prefix, i, last), part, None)

        return _through(source, target, parts)

    def open_file(self, source: Path, target: Path) -> Path:
        """Open a sealed file. ``target`` is written whole or not at all; raises BottegaError as ``open`` does."""

        def parts(file: BinaryIO) -> Iterator[bytes]:
            head = file.read(len(_FILE_MAGIC) + 7)
            if not head.startswith(_FILE_MAGIC) or len(head) < len(_FILE_MAGIC) + 7:
                raise SealError(f"{source} is no file sealed by bottega; give one from bottega keys seal")
            for i, (part, last) in enumerate(_segments(file, _SEGMENT + 16)):
                try:
                    yield self._files.decrypt(_nonce(head[-7:], i, last), part, None)
                except InvalidTag as error:
                    raise SealError(
                        f"{source} does not open: another master key sealed it, or it was changed or cut off; give the "
                        "key it was sealed with"
                    ) from error

        return _through(source, target, parts)


def _derived(master: bytes, what: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=what).derive(master)


def _nonce(prefix: bytes, number: int, last: bool) -> bytes:
    return prefix + number.to_bytes(4, "big") + bytes([last])


def _segments(file: BinaryIO, size: int) -> Iterator[tuple[bytes, bool]]:
    """Parts of a file and whether each is the last; an empty file is one empty part."""
    part = file.read(size)
    while True:
        following = file.read(size)
        yield part, not following
        if not following:
            return
        part = following


def _through(source: Path, target: Path, parts: object) -> Path:
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with (
            source.open("rb") as read,
            os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out,
        ):
            for part in parts(read):  # type: ignore[operator]
                out.write(part)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(target)
    except OSError as error:
        raise OutputError(f"cannot write {target} from {source}: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)
    return target
