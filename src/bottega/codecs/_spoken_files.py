"""Recordings of speech and what is said in them: folders or archives with a transcript."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from bottega.codecs._files import contents, is_archive, read_bytes
from bottega.codecs._sound_files import SUFFIXES, decoded
from bottega.core import DataError, Item, Sound
from bottega.core.sound import audible

__all__ = ["QUIET", "read_spoken", "spoken_sound"]

QUIET = 1e-4  # a peak below which there is no speech

_TABLES = ("metadata.csv", "transcript.csv", "transcripts.csv", "metadata.txt", "transcript.txt")


def read_spoken(source: Path, skipped: list[str] | None = None) -> list[Item]:
    """Recordings, of each ``voice|text`` known, sorted by name.

    A folder, or an archive of one (which is never unpacked to disk), has a transcript: ``metadata.csv`` or
    ``transcript.csv``, either with a header that names ``file``, ``text`` and perhaps ``voice``, or lines ``name|text`` as LJ
    Speech has them; or beside each ``a.wav`` a text ``a.txt``. Without a column of its own, the voice is the folder that a
    recording lies in, and ``voice`` for those that lie at the top. A single file needs its text beside it.

    Args:
        source: folder, archive or recording.
        skipped: takes the messages about recordings that cannot be read or used, which are then passed over; None stops at them.

    Raises:
        DataError: nothing there, no transcript, a recording without a line in it or with an empty one, a damaged recording
            or archive, and a recording that ``spoken_sound`` refuses.
    """
    if not source.exists():
        raise DataError(f"there is no {source}; give a folder of recordings with their transcript")
    texts = {name: data.decode("utf-8-sig", "replace") for name, data in _files(source, {".txt", ".csv"})}
    names = [name for name, _ in _files(source, SUFFIXES)] if is_archive(source) else []
    top = _top([*texts, *names]) if names else ""
    texts = {name.removeprefix(top): text for name, text in texts.items()}
    table = next((name for name in _TABLES if name in texts), "")
    said = _lines(f"{source}/{top}{table}", texts[table]) if table else {}
    out = []
    for whole, data in _files(source, SUFFIXES):
        name, where = whole.removeprefix(top), str(source) if source.name == whole else f"{source}/{whole}"
        path = PurePosixPath(name)
        try:
            voice, text = said.get(name) or said.get(path.name) or said.get(path.stem) or ("", "")
            if not text:
                text = _beside(where, path, texts, table)
            voice = voice or path.parent.name or "voice"
            if "|" in voice:
                raise DataError(f"the voice {voice!r} of {where} has a | in its name; call it otherwise")
            out.append(Item(spoken_sound(decoded(data, where), where), f"{voice}|{text}", name, group=text))
        except DataError as error:
            if skipped is None:
                raise
            skipped.append(str(error))
    if not out and not skipped:
        raise DataError(f"{source} holds no recording; supported: {', '.join(sorted(SUFFIXES))}")
    if not out:
        raise DataError(f"no recording in {source} could be read: {(skipped or ['nothing there'])[0]}")
    return sorted(out, key=lambda item: PurePosixPath(item.name)) if is_archive(source) else out


def spoken_sound(sound: Sound, what: str) -> Sound:
    """The recording, when there may be speech in it: at least 0.1 seconds, finite, not silent, nor as the mean of its channels."""
    return audible(sound, what, 0.1, QUIET, mono=True)


def _files(source: Path, suffixes: frozenset[str] | set[str]) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of those files; of a single recording its own, or of what lies beside it."""
    if source.is_dir() or is_archive(source):
        yield from contents(source, lambda name: PurePosixPath(name).suffix.lower() in suffixes)
    elif suffixes is SUFFIXES:
        yield source.name, read_bytes(source)
    else:
        for path in [source.with_suffix(".txt"), *(source.parent / name for name in _TABLES)]:
            if path.is_file():
                yield path.name, read_bytes(path)


def _top(names: list[str]) -> str:
    """The folder that an archive puts everything into, with its ``/``; empty where there is none."""
    first = {name.partition("/")[0] for name in names}
    return f"{first.pop()}/" if len(first) == 1 and all("/" in name for name in names) else ""


def _beside(where: str, path: PurePosixPath, texts: dict[str, str], table: str) -> str:
    name = path.with_suffix(".txt")
    if str(name) not in texts:
        why = f"has no line in {table} and no {name.name} beside it" if table else f"has no transcript: neither metadata.csv nor {name.name}"  # fmt: skip
        raise DataError(f"{where} {why}; write what is said in it")
    said = " ".join(texts[str(name)].split())
    if not said:
        raise DataError(f"{where}: {name.name} is empty; write what is said in {path.name}")
    return said


def _lines(table: str, text: str) -> dict[str, tuple[str, str]]:
    """``{file: (voice, text)}``."""
    first = text.partition("\n")[0].lower()
    out = {}
    if "|" in first and "," not in first.partition("|")[0]:
        for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
            if not line.strip():
                continue
            name, bar, rest = line.partition("|")
            if not bar:
                raise DataError(f"line {number} of {table} has no |: {line[:60]!r}; write name|text")
            out[name.strip()] = ("", rest.split("|")[-1].strip())
        return out
    rows = csv.DictReader(io.StringIO(text, newline=""))  # a quoted text may go over several lines
    try:
        columns = {(name or "").strip().lower(): name for name in rows.fieldnames or []}
        file = next((columns[k] for k in ("file", "filename", "path", "name", "id") if k in columns), None)
        words = next((columns[k] for k in ("text", "transcript", "sentence", "words") if k in columns), None)
        if file is None or words is None:
            raise DataError(f"{table} names its columns {', '.join(columns) or 'nothing'}; give 'file' and 'text'")
        voice = next((columns[k] for k in ("voice", "speaker") if k in columns), None)
        for row in rows:
            out[(row[file] or "").strip()] = ((row[voice] or "").strip() if voice else "", " ".join((row[words] or "").split()))  # fmt: skip
    except csv.Error as error:
        raise DataError(f"line {rows.line_num} of {table} is no CSV: {error}; check its quotes") from error
    return out
