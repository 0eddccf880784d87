"""Recordings of speech and what is said in them: folders with a transcript."""

from __future__ import annotations

import csv
from pathlib import Path

from bottega.codecs._sound_files import read_sound
from bottega.core import DataError, Item

__all__ = ["read_spoken"]

_SOUNDS = {".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus"}
_TABLES = ("metadata.csv", "transcript.csv", "transcripts.csv", "metadata.txt", "transcript.txt")


def read_spoken(source: Path, skipped: list[str] | None = None) -> list[Item]:
    """Recordings, of each ``voice|text`` known, sorted by name.

    A folder has a transcript: ``metadata.csv`` or ``transcript.csv``, either with a header that names ``file``, ``text``
    and perhaps ``voice``, or lines ``name|text`` as LJ Speech has them; or beside each ``a.wav`` a text ``a.txt``. Without
    a column of its own, the voice is the folder that a recording lies in, and ``voice`` for those that lie at the top. A
    single file needs its text beside it.

    Args:
        source: folder or recording.
        skipped: takes the messages about recordings that cannot be read, which are then passed over; None stops at them.

    Raises:
        DataError: nothing there, no transcript, a recording without a line in it or with an empty one, a damaged recording.
    """
    if not source.exists():
        raise DataError(f"there is no {source}; give a folder of recordings with their transcript")
    root = source if source.is_dir() else source.parent
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.suffix.lower() in _SOUNDS)
    files = [p for p in files if not any(part.startswith(".") for part in p.relative_to(root).parts)]
    if not files:
        raise DataError(f"{source} holds no recording; give WAV, FLAC, OGG or MP3 files")
    table = next((root / name for name in _TABLES if (root / name).is_file()), None)
    said = {} if table is None else _lines(table)
    out = []
    for path in files:
        try:
            name = path.relative_to(root).as_posix()
            voice, text = said.get(name) or said.get(path.name) or said.get(path.stem) or ("", "")
            if not text:
                text = _beside(path, table)
            voice = voice or (path.parent.name if path.parent != root else "voice")
            if "|" in voice:
                raise DataError(f"the voice {voice!r} of {path} has a | in its name; call it otherwise")
            out.append(Item(read_sound(path), f"{voice}|{text}", name, group=text))
        except DataError as error:
            if skipped is None:
                raise
            skipped.append(str(error))
    if not out:
        raise DataError(f"no recording in {source} could be read: {(skipped or ['nothing there'])[0]}")
    return out


def _beside(path: Path, table: Path | None) -> str:
    text = path.with_suffix(".txt")
    if not text.is_file():
        where = f"has no line in {table.name} and no {text.name} beside it" if table else f"has no transcript: neither metadata.csv nor {text.name}"  # fmt: skip
        raise DataError(f"{path} {where}; write what is said in it")
    said = " ".join(text.read_text(encoding="utf-8", errors="replace").split())
    if not said:
        raise DataError(f"{text} is empty; write what is said in {path.name}")
    return said


def _lines(table: Path) -> dict[str, tuple[str, str]]:
    """``{file: (voice, text)}``."""
    text = table.read_text(encoding="utf-8-sig", errors="replace")
    first = text.partition("\n")[0].lower()
    out = {}
    if "|" in first and "," not in first.partition("|")[0]:
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            name, bar, rest = line.partition("|")
            if not bar:
                raise DataError(f"line {number} of {table} has no |: {line[:60]!r}; write name|text")
            out[name.strip()] = ("", rest.split("|")[-1].strip())
        return out
    rows = csv.DictReader(text.splitlines())
    columns = {(name or "").strip().lower(): name for name in rows.fieldnames or []}
    file = next((columns[k] for k in ("file", "filename", "path", "name", "id") if k in columns), None)
    words = next((columns[k] for k in ("text", "transcript", "sentence", "words") if k in columns), None)
    if file is None or words is None:
        raise DataError(f"{table} names its columns {', '.join(columns) or 'nothing'}; give 'file' and 'text'")
    voice = next((columns[k] for k in ("voice", "speaker") if k in columns), None)
    for row in rows:
        out[(row[file] or "").strip()] = ((row[voice] or "").strip() if voice else "", " ".join((row[words] or "").split()))  # fmt: skip
    return out
