"""Consent: what a person allows to be done with their voice, as a record that says so and until when.

A record is a small TOML file. Its ``seal`` is the SHA-256 of everything else in it, so that a record that was changed by
hand is noticed; it is not a signature, and anyone can make a new one: it keeps honest people honest, as the mark does.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

from bottega.core.errors import DataError
from bottega.core.files import write_atomically

__all__ = ["Consent", "check", "read_consent", "write_consent"]

PURPOSES = ("clone", "convert")
_FIELDS = {"who": str, "purpose": str, "uses": list, "voices": list, "from": str, "until": str, "revoked": str, "seal": str}  # fmt: skip


@dataclass(frozen=True)
class Consent:
    """What a person allows.

    Attributes:
        who: the person.
        voices: SHA-256 of the recordings of their voice that it is about, as ``Sound.digest`` has it, in hexadecimal digits.
        purpose: what for, in words; it is written into what is made.
        uses: of ``"clone"`` and ``"convert"``.
        since: the first day.
        until: the last day.
        revoked: the day on which it was taken back; empty while it holds.
    """

    who: str
    voices: tuple[str, ...]
    purpose: str
    uses: tuple[str, ...]
    since: date
    until: date
    revoked: str = ""

    @property
    def seal(self) -> str:
        """64 hexadecimal digits that are others as soon as anything else is."""
        said = {k: str(v) if isinstance(v, date) else v for k, v in asdict(self).items()}
        return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def write_consent(consent: Consent, path: Path) -> Path:
    """As TOML; returns the path.

    Raises:
        DataError: it says nothing of who, of which voice, what for, has what is no character in it, or ends before it begins.
        OutputError: the place cannot be written.
    """
    if not consent.who.strip() or not consent.purpose.strip():
        raise DataError("a consent says who gives it and what for; both are wanted")
    if any(
        "\ud800" <= c <= "\udfff" for c in consent.who + consent.purpose
    ):  # bytes of a command line that are no UTF-8
        raise DataError("who gives a consent, or what for, has a character that is none; write it in UTF-8")
    if not consent.voices:
        raise DataError("a consent is about recordings of a voice; give at least one")
    if consent.until < consent.since:
        raise DataError(f"a consent from {consent.since} until {consent.until} ends before it begins")
    text = json.dumps
    lines = [
        f"who = {text(consent.who, ensure_ascii=False)}",
        f"purpose = {text(consent.purpose, ensure_ascii=False)}",
        f"uses = {text(list(consent.uses))}",
        f"from = {text(str(consent.since))}",
        f"until = {text(str(consent.until))}",
        f"revoked = {text(consent.revoked)}",
        "# SHA-256 of the samples of each recording that this is about",
        "voices = [" + ", ".join(text(v) for v in consent.voices) + "]",
        f"seal = {text(consent.seal)}",
    ]
    write_atomically(path, "\n".join(lines) + "\n")
    return path


def read_consent(path: Path) -> Consent:
    """A record from its file.

    Raises:
        DataError: no such file, no TOML, a field that is missing or of another kind, or a seal that does not fit.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"there is no consent record at {path}; make one: bottega speak consent --help") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"cannot read the consent record {path}: {error}") from error
    for name, kind in _FIELDS.items():
        if name not in found:
            raise DataError(f"the consent record {path} has no {name!r}; make it anew: bottega speak consent --help")
        if not isinstance(found[name], kind):
            raise DataError(f"the consent record {path} says {name} = {found[name]!r}, which is no {kind.__name__}")
    try:
        since, until = date.fromisoformat(found["from"]), date.fromisoformat(found["until"])
    except ValueError as error:
        raise DataError(f"the consent record {path} has a date that is none ({error}); write 2026-12-31") from error
    out = Consent(found["who"], tuple(map(str, found["voices"])), found["purpose"], tuple(map(str, found["uses"])), since,
                  until, found["revoked"])  # fmt: skip
    if out.seal != found["seal"]:
        raise DataError(f"the consent record {path} was changed after it was made: its seal does not fit; make it anew")
    return out


def check(consent: Consent | None, voices: Sequence[str], use: str, today: date | None = None) -> Consent:
    """The consent, where it allows ``use`` of all ``voices`` today.

    Args:
        consent: the record; None where there is none.
        voices: SHA-256 of the recordings that the voice was taken from.
        use: ``"clone"`` or ``"convert"``.
        today: another day than today, for tests.

    Raises:
        DataError: there is none, it was revoked, is over or has not begun, is about another voice, or for another use.
    """
    day = today or date.today()
    if consent is None:
        raise DataError(f"to {use} a voice needs the consent of whose voice it is; give --consent FILE (bottega speak consent)")  # fmt: skip
    whose = f"the consent of {consent.who}"
    if consent.revoked:
        raise DataError(f"{whose} was revoked on {consent.revoked}; nothing may be made with this voice")
    if day > consent.until:
        raise DataError(f"{whose} expired on {consent.until}; ask for a new one")
    if day < consent.since:
        raise DataError(f"{whose} begins on {consent.since}, and today is {day}")
    if use not in consent.uses:
        raise DataError(f"{whose} allows to {' and '.join(consent.uses) or 'do nothing'}, not to {use}; ask for that")
    if not voices or not set(voices) <= set(consent.voices):
        raise DataError(f"{whose} is for another voice than this recording's; ask for one that names it")
    return consent


def revoke(consent: Consent, today: date | None = None) -> Consent:
    """The same, taken back."""
    return replace(consent, revoked=str(today or date.today()))
