"""The mark of a piece: that a machine made it, which weights, which seed; and reading it back from a file.

Codecs write the mark in the format's own metadata: PNG in an iTXt chunk ``bottega`` (and in XMP, for other people's
readers), a GIF, WAV or FLAC in its comment, MIDI as a text of its first track, MusicXML as a field of its identification, a
table in the CSVW description ``<file>-metadata.json``, anything else in ``<file>.meta.json``. This is a label, not a proof:
anyone may strip or forge it. A signed manifest has its place under the key ``manifest``.
"""

from __future__ import annotations

import html
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

from bottega.core.errors import DataError

__all__ = ["MADE_BY_A_MODEL", "mark", "read"]

MADE_BY_A_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's Digital Source Type of media made by a trained model (IPTC Photo Metadata Standard 2023.1)."""


_MOST = 1 << 24  # bytes of a comment


def mark(weights: str, seed: int, *, recipe: str = "", manifest: str = "") -> dict[str, str]:
    """What is written into a piece; the same weights, seed and recipe give the same mark, so files are reproducible.

    Args:
        weights: SHA-256 of the weights that made it.
        seed: from which it was made.
        recipe: that the weights were trained by.
        manifest: a signed manifest, or where one lies; left out when empty.

    >>> mark("ab12", 7)["seed"], "manifest" in mark("ab12", 7)
    ('7', False)
    """
    out = {
        "machine_made": "true",
        "digital_source_type": MADE_BY_A_MODEL,
        "software": f"bottega {version('bottega')}",
        "weights": weights,
        "seed": str(seed),
    }
    if recipe:
        out["recipe"] = recipe
    if manifest:
        out["manifest"] = manifest
    return out


def read(path: Path) -> dict[str, str]:
    """The mark of a file: its own metadata first, then the files beside it; empty when there is none.

    No mark means nothing: it says neither that a person made the file nor that a machine did.

    Raises:
        DataError: there is no such file, or the mark is damaged.
    """
    if not path.is_file():
        raise DataError(f"no file at {path}; give a picture, sound, score, text or table to look at")
    for place in (_sound, _music, _picture, _beside, _table):
        if found := place(path):
            return {str(key): str(value) for key, value in found.items() if value is not None}
    return {}


def _sound(path: Path) -> dict[str, Any]:
    """The comment of a WAV (RIFF INFO, ICMT) or a FLAC (Vorbis comment), read without a library of sound."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"WAVE":
            return _comment(_riff_comment(file))
        if head[:4] == b"fLaC":
            file.seek(4)
            return _comment(_flac_comment(file))
    return {}


def _riff_comment(file: BinaryIO) -> bytes:
    while len(head := file.read(8)) == 8:
        size = int.from_bytes(head[4:], "little")
        if head[:4] != b"LIST" or size > _MOST:
            file.seek(size + size % 2, 1)
            continue
        body, at = file.read(size), 4
        while at + 8 <= len(body):
            many = int.from_bytes(body[at + 4 : at + 8], "little")
            if body[at : at + 4] == b"ICMT":
                return body[at + 8 : at + 8 + many].rstrip(b"\0")
            at += 8 + many + many % 2
        file.seek(size % 2, 1)
    return b""


def _flac_comment(file: BinaryIO) -> bytes:
    last = False
    while not last and len(head := file.read(4)) == 4:
        last, kind, size = bool(head[0] & 128), head[0] & 127, int.from_bytes(head[1:], "big")
        body = file.read(size)
        if kind != 4:  # a Vorbis comment: its vendor, then each entry, all with their length before them
            continue
        at = 8 + int.from_bytes(body[:4], "little")
        while at + 4 <= len(body):
            many = int.from_bytes(body[at : at + 4], "little")
            entry = body[at + 4 : at + 4 + many]
            if entry[:8].lower() == b"comment=":
                return entry[8:]
            at += 4 + many
    return b""


def _comment(text: bytes) -> dict[str, Any]:
    try:
        return _ours(json.loads(text))
    except ValueError:  # what other programs write there
        return {}


def _picture(path: Path) -> dict[str, Any]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            picture.load()  # chunks after the pixels count too
            text = getattr(picture, "text", {}).get("bottega", "")
            comment = picture.info.get("comment", b"")  # where a GIF has it; other programs write there, too
    except UnidentifiedImageError:
        return {}  # not a picture
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is a damaged picture ({error}); its mark cannot be trusted") from error
    if text:
        return _ours(_parse(text, path))
    try:
        return _ours(json.loads(comment))
    except ValueError:
        return {}


_MUSIC = {b"MThd": b"\xff\x01", b"<?xm": b"<miscellaneous-field"}


def _music(path: Path) -> dict[str, Any]:
    """The mark in MIDI or MusicXML: an object of JSON behind the bytes that begin such a text there."""
    with path.open("rb") as file:
        begins = _MUSIC.get(file.read(4))
        if begins is None:
            return {}
        data = begins + b"".join(file.read().split(begins)[1:2])
    if begins == b"\xff\x01":
        said = data[data.find(b"bottega {") + 8 :] if b"bottega {" in data[:16] else b""
    else:
        field = data.partition(b"</")[0]
        said = (
            html.unescape(field.partition(b">")[2].decode("utf-8", "replace")).encode()
            if b'"bottega"' in field
            else b""
        )
    if not said.startswith(b"{"):
        return {}
    try:  # behind the object of a MIDI file its next event follows
        return _ours(json.JSONDecoder().raw_decode(said.decode("utf-8", "replace"))[0])
    except ValueError as error:
        raise DataError(f"the mark in {path} is damaged ({error}); do not rely on it") from error


def _beside(path: Path) -> dict[str, Any]:
    side = path.with_name(f"{path.name}.meta.json")
    return _ours(_parse(side.read_text(encoding="utf-8"), side)) if side.is_file() else {}


def _table(path: Path) -> dict[str, Any]:
    side = path.with_name(f"{path.name}-metadata.json")
    if not side.is_file():
        return {}
    notes = _parse(side.read_text(encoding="utf-8"), side).get("notes", [])
    return next((note for note in map(_ours, notes if isinstance(notes, list) else [notes]) if note), {})


def _ours(found: Any) -> dict[str, Any]:
    """``found`` when it is a mark: other programs write notes and sidecars too."""
    return found if isinstance(found, dict) and "machine_made" in found else {}


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DataError(f"the mark in {path} is damaged ({error}); do not rely on it") from error
    if not isinstance(found, dict):
        raise DataError(f"the mark in {path} is damaged (not an object); do not rely on it")
    return found
