"""The audit log: lines of JSON, each of which carries the hash of the one before; only ever added to.

Who edits, deletes or moves a line breaks the chain (Haber and Stornetta 1991; RFC 6962 has the same aim with a tree). Whoever
cuts lines off its end is found out by the head beside it, ``<log>.head``, which says how many there are and is signed. When
``record`` returns, the line and the head are on the disk: what was acknowledged survives kill -9 and a power cut. A line that
was torn by either is taken off again at the next start; it was never acknowledged.

Several processes may write one log (the server, and ``bottega keys`` beside it): each takes the file's lock to add lines.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bottega.core import BottegaError, DataError, OutputError

try:
    import fcntl
except ImportError:  # Windows has no flock; there one process writes a log
    fcntl = None  # type: ignore[assignment]

__all__ = ["Audit", "Verified", "read", "verify"]

_GENESIS = "0" * 64
_OWN = frozenset({"n", "at", "before", "hash"})
_SLOT = 512  # bytes; the head has two, written in turn, so that a torn one leaves the other
_MOST = 64 * 1024  # bytes of a line
_BATCH = 256


class DamagedLogError(BottegaError):
    """The log is not what was written."""


@dataclass(frozen=True)
class Verified:
    """What came of looking through a log.

    Attributes:
        lines: that follow one another rightly from the first.
        hash: of the last of those; noted elsewhere, it shows later whether log and head were both put back.
        problems: in words, with line numbers; empty when all is well.
        signed: whether the head's signature was checked.
    """

    lines: int
    hash: str
    problems: list[str]
    signed: bool


# ---- writing ---------------------------------------------------------------------------------------------------------


class Audit:
    """Adds to a log. One thread writes; whoever waits at the same time shares its two flushes to the disk.

    Args:
        path: of the log.
        key: signs the head.
        clock: seconds since 1970.

    Raises:
        DamagedLogError: lines that were acknowledged are missing or changed at its end.
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, key: Ed25519PrivateKey, clock: Callable[[], float] = time.time) -> None:
        self.path, self.clock, self._key = path, clock, key
        self._n, self._hash, self._end = 0, _GENESIS, 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            self._head = os.open(_head_of(path), os.O_RDWR | os.O_CREAT, 0o600)
            _sync_folder(path.parent)
        except OSError as error:
            raise OutputError(f"cannot write the audit log {path}: {error.strerror or error}") from error
        self._queue: queue.SimpleQueue[tuple[dict[str, Any], Future[int]] | None] = queue.SimpleQueue()
        self._closed = False
        with self._locked():
            self._catch_up()
        self._thread = threading.Thread(target=self._write_all, name="audit", daemon=True)
        self._thread.start()

    def submit(self, event: str, **fields: Any) -> Future[int]:
        """Add a line; the future is done when it is on the disk, and gives its number.

        Args:
            event: what happened, a word.
            **fields: JSON values; None is left out. Texts of people must be redacted already.

        Raises:
            ValueError: a field has the name of one that every line has, which would break the chain.
        """
        if own := _OWN & fields.keys():
            raise ValueError(f"a line of the log has {', '.join(sorted(own))} of its own; give the field another name")
        record = {"event": event, **{k: v for k, v in fields.items() if v is not None}}
        done: Future[int] = Future()
        if self._closed:
            done.set_exception(OutputError(f"the audit log {self.path} is closed"))
        else:
            self._queue.put((record, done))
        return done

    def record(self, event: str, **fields: Any) -> int:
        """Add a line and wait until it is on the disk; returns its number. Raises OutputError."""
        return self.submit(event, **fields).result()

    def close(self) -> None:
        """Write what waits, and end."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()
            os.close(self._file)
            os.close(self._head)

    def _write_all(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            ends = False
            while len(batch) < _BATCH:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ends = True
                    break
                batch.append(more)
            try:
                numbers = self._append([record for record, _ in batch])
            except BaseException as error:  # every waiting request must hear of it
                for _, done in batch:
                    done.set_exception(error)
            else:
                for (_, done), number in zip(batch, numbers, strict=True):
                    done.set_result(number)
            if ends:
                return

    def _append(self, records: list[dict[str, Any]]) -> list[int]:
        try:
            with self._locked():
                if os.fstat(self._file).st_size != self._end:
                    self._catch_up()
                n, before, lines, numbers = self._n, self._hash, [], []
                for record in records:
                    line, before = _line(n + 1, _time(self.clock()), before, record)
                    n += 1
                    lines.append(line)
                    numbers.append(n)
                data = b"".join(lines)
                try:
                    _write(self._file, data)
                    os.fsync(self._file)
                except OSError:
                    os.ftruncate(self._file, self._end)  # no half line, also where the disk is full
                    raise
                self._n, self._hash, self._end = n, before, self._end + len(data)
                self._write_head()
                return numbers
        except OSError as error:
            raise OutputError(
                f"cannot write the audit log {self.path}: {error.strerror or error}; free some space"
            ) from error

    def _write_head(self) -> None:
        said = _head_words(self._n, self._hash)
        head = json.dumps({"n": self._n, "hash": self._hash, "signature": self._key.sign(said).hex()}).encode()
        os.lseek(self._head, (self._n % 2) * _SLOT, os.SEEK_SET)
        _write(self._head, head.ljust(_SLOT - 1) + b"\n")
        os.fsync(self._head)

    def _catch_up(self) -> None:
        """Read what is there: all at the start, then only what other processes added; take a torn last line off."""
        if os.fstat(self._file).st_size < self._end:
            raise DamagedLogError(f"the audit log {self.path} became shorter while it was written; see bottega log verify {self.path}")  # fmt: skip
        public = self._key.public_key()
        good = self._end
        with self.path.open("rb") as file:
            file.seek(self._end)
            for raw in file:
                found = _follows(raw, self._n, self._hash)
                if isinstance(found, str):
                    if file.read(1) or raw.endswith(b"\n"):  # not the torn end of a killed process
                        raise DamagedLogError(f"line {self._n + 1} of the audit log {self.path} {found}; see bottega log verify {self.path}")  # fmt: skip
                    break
                self._n, self._hash = self._n + 1, found["hash"]
                good += len(raw)
        heads, _ = _heads(self.path, public)
        if heads and max(heads)[0] > self._n:
            raise DamagedLogError(
                f"the audit log {self.path} ends at line {self._n}, but {max(heads)[0]} were written; lines were cut off "
                "(put the log back, or move it and its head away to begin a new one)"
            )
        if good < os.fstat(self._file).st_size:
            os.ftruncate(self._file, good)
            os.fsync(self._file)
        self._end = good

    def _locked(self) -> _Lock:
        return _Lock(self._file)


class _Lock:
    """The lock of the file among processes."""

    def __init__(self, file: int) -> None:
        self.file = file

    def __enter__(self) -> None:
        if fcntl is not None:
            fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        if fcntl is not None:
            fcntl.flock(self.file, fcntl.LOCK_UN)


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _sync_folder(folder: Path) -> None:
    """So that the names of new files survive a power cut too."""
    if os.name == "posix":
        at = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(at)
        finally:
            os.close(at)


# ---- the form of a line ----------------------------------------------------------------------------------------------


def _time(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(n: int, at: str, before: str, record: dict[str, Any]) -> tuple[bytes, str]:
    """The bytes of a line, and its hash: of the whole line as it stands, but for the hash."""
    text = json.dumps({"n": n, "at": at, "before": before, **record}, separators=(",", ":"), default=str)
    if len(text) > _MOST:
        text = json.dumps({"n": n, "at": at, "before": before, "event": record["event"], "left_out": len(text)})
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{text[:-1]},"hash":"{digest}"}}\n'.encode(), digest


_TAIL = len(',"hash":""}\n') + 64


def _follows(raw: bytes, n: int, before: str) -> dict[str, Any] | str:
    """The record of a line that follows line ``n`` with the hash ``before``, or what is wrong with it."""
    if not raw.endswith(b"\n"):
        return "is torn"
    try:
        record = json.loads(raw)
        body = raw[:-_TAIL] + b"}"
        right = hashlib.sha256(body).hexdigest()
        if raw[-_TAIL:] != f',"hash":"{right}"}}\n'.encode():
            return "was changed: its hash does not fit"
    except ValueError:
        return "is no JSON"
    if record.get("before") != before or record.get("n") != n + 1:
        return f"does not follow line {n}: lines were taken out, put in or moved"
    return {**record, "hash": right}


def _head_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.head")


def _head_words(n: int, hash_: str) -> bytes:
    return f"bottega audit head {n} {hash_}".encode()


def _heads(path: Path, key: Ed25519PublicKey | None) -> tuple[list[tuple[int, str]], bool]:
    """The slots of the head that can be read (and, given a key, are signed by it), and whether any was refused."""
    out, refused = [], False
    try:
        data = _head_of(path).read_bytes()
    except OSError:
        return [], False
    for slot in (data[:_SLOT], data[_SLOT:]):
        if not slot.strip(b"\0 \n"):
            continue
        try:
            head = json.loads(slot.rstrip(b"\0"))
            if key is not None:
                key.verify(bytes.fromhex(head["signature"]), _head_words(head["n"], head["hash"]))
            out.append((int(head["n"]), str(head["hash"])))
        except (ValueError, KeyError, TypeError, InvalidSignature):
            refused = True
    return out, refused


# ---- reading ---------------------------------------------------------------------------------------------------------


_NUMBER = re.compile(rb'\{"n":(\d{1,15}),')


def read(path: Path, after: int = 0) -> Iterator[dict[str, Any]]:
    """The records of a log behind number ``after``, oldest first, unproven; raises DataError where there is no such file."""
    try:
        with path.open("rb") as file:
            for raw in file:
                said = _NUMBER.match(raw)
                if said is not None and int(said[1]) <= after:
                    continue
                try:
                    record = json.loads(raw)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record
    except OSError as error:
        raise DataError(f"cannot read the log {path}: {error.strerror or error}") from error


def verify(path: Path, key: Ed25519PublicKey | None = None, expect: tuple[int, str] | None = None) -> Verified:
    """Look through a whole log and its head, in constant memory.

    Args:
        path: of the log.
        key: the public key of the server's log; without one the head is believed as it is.
        expect: a line number and its hash that were noted earlier.

    Raises:
        DataError: there is no such file.
    """
    n, before, problems = 0, _GENESIS, []
    marks, refused = _heads(path, key)
    wanted = dict(marks) | (dict([expect]) if expect is not None else {})
    met: dict[int, str] = {}
    broken = False
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                found = _follows(raw, n, before)
                if isinstance(found, str):
                    problems.append(f"line {number} {found}")
                    broken = True
                    break
                n, before = n + 1, found["hash"]
                if n in wanted:
                    met[n] = before
    except OSError as error:
        raise DataError(f"cannot read the log {path}: {error.strerror or error}") from error
    if refused and not marks:
        problems.append("the head beside the log is damaged, or not signed by the key of this state")
    elif not marks:
        problems.append(
            f"there is no head beside it ({_head_of(path).name}), so lines may have been cut off at the end"
        )
    if not broken and wanted and max(wanted) > n:
        problems.append(f"it ends at line {n}, but {max(wanted)} were written: lines were cut off at the end")
    problems += [f"line {k} is another than was written" for k, h in wanted.items() if k in met and met[k] != h]
    return Verified(n, before, problems, key is not None and bool(marks))
