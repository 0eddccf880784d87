"""Read a book aloud: chapters as sound files, with pauses, in one voice, to be gone on with where it was stopped."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from bottega.codecs._say import cardinal, ordinal
from bottega.core import DataError, OutputError, RecipeError, Sound
from bottega.core.english import ROMAN
from bottega.core.files import write_atomically
from bottega.crafts.speak import Manner, Speaker
from bottega.crafts.speak_voice import Profile
from bottega.trust.consent import Consent

__all__ = ["Chapter", "Read", "chapters", "read_book"]

_KEPT = ".bottega-book"
_WORDS = sorted((said for n in range(1, 100) for said in (cardinal(n), ordinal(n))), key=len, reverse=True)
_NUMBER = rf"\d+|(?=[IVXLC])C{{0,3}}{ROMAN}|(?i:(?:the )?(?:{'|'.join(_WORDS)}))".replace(" ", "[ -]")
_TITLE = re.compile(r"#{1,3}\s+(.+?)\s*#*")
_NUMBERED = re.compile(rf"(?:Chapter|CHAPTER|Part|PART|Book|BOOK)\s+(?:{_NUMBER})(?:\s*[.:—-]\s*.*)?")


class Chapter(NamedTuple):
    """A heading, which is read, too (it may be empty), and paragraphs."""

    title: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Read:
    """What was read.

    Attributes:
        files: a sound file for each chapter.
        titles: of the chapters.
        seconds: that each lasts.
        made: paragraphs that were made now; the others were there already.
        kept: paragraphs that were there already.
        left_out: why chapters and paragraphs have no sound, in words: no word in them, or another script than the run's.
    """

    files: list[Path]
    titles: list[str]
    seconds: list[float]
    made: int
    kept: int
    left_out: list[str]


def chapters(text: str) -> list[Chapter]:
    r"""The chapters of plain text or Markdown: a line ``# Title``, or ``Chapter 4`` (in digits, Roman or words), begins one.

    Before a line of the second kind is an empty one, a heading, or nothing: a wrapped line may begin with "Part one." in the midst of a sentence.
    What stands before the first heading is a chapter without a title. Marks of Markdown (emphasis, links, code, rules,
    comments) are not read; a row of a table is.

    Raises:
        DataError: no word in it.

    >>> [(c.title, len(c.paragraphs)) for c in chapters("# One\n\nA *small* b.\n\nC.\n\n# Two\n\nD.")]
    [('One', 2), ('Two', 1)]
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"^```.*?^```\s*$", "", text, flags=re.DOTALL | re.MULTILINE)
    out: list[Chapter] = []
    title, lines = "", list[str]()

    def close() -> None:
        found = [" ".join(p.split()) for p in re.split(r"\n\s*\n", "\n".join(lines))]
        kept = tuple(plain for plain in map(_plain, found) if any(c.isalnum() for c in plain))
        if kept or title:
            out.append(Chapter(title, kept))

    for line in text.split("\n"):
        bare, alone = line.strip(), not lines or not lines[-1].strip()
        heading = _TITLE.fullmatch(bare) or (_NUMBERED.fullmatch(bare) if alone else None)
        if heading and len(bare) <= 120:
            close()
            title, lines = _plain(heading[1] if heading.re is _TITLE else bare), []
        else:
            lines.append(line)
    close()
    if not any(c.isalnum() for chapter in out for part in (chapter.title, *chapter.paragraphs) for c in part):
        raise DataError("the book has no word in it; give text or Markdown")
    return out


def _plain(text: str) -> str:
    text = re.sub(r"!\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"(?<!\w)[*_]{1,3}(\S(?:.*?\S)?)[*_]{1,3}(?!\w)", r"\1", text)
    text = re.sub(r"`([^`]*)`", r"\1", text)
    text = re.sub(r"^(?:>|[-*+]\s|\d+\.\s)\s*", "", text)
    return re.sub(r"^[-*_=\s|]+$", "", text).replace("|", ", ").strip()


def read_book(
    speaker: Speaker,
    book: Path,
    out: Path,
    *,
    who: str | Profile | None = None,
    how: Manner | None = None,
    ending: str = ".flac",
    seed: int = 0,
    only: tuple[int, ...] = (),
    consent: Consent | None = None,
    said: dict[str, str] | None = None,
    tell: Callable[[int, int, str], None] | None = None,
) -> Read:
    """Read a book into ``out``, a file for each chapter.

    Every paragraph is kept as soon as it is made, so that a reading that was stopped goes on where it was: the same text,
    voice, manner and run. The kept parts of a chapter go when its file is written.

    Args:
        speaker: a run that speaks.
        book: UTF-8 text or Markdown.
        out: a folder.
        who: a voice of the run, or a profile.
        how: the manner; pauses of it, too.
        ending: ``.flac`` or ``.wav``.
        seed: of a decoder that draws.
        only: numbers of chapters, from 1; all by default.
        consent: of whose voice a profile is; voices of the run need none.
        said: goes into each file's mark, as who consented.
        tell: told the paragraphs done, how many there are, and the chapter.

    Raises:
        DataError: no such book, not UTF-8, nothing in it that the run can say, a profile without a consent that allows to clone it.
        OutputError: the folder cannot be written.
        RecipeError: an unknown voice or ending, or a chapter that is not there.
    """
    how = how or Manner()
    if ending not in {".flac", ".wav"}:
        raise RecipeError(f"unknown format {ending!r}; .flac or .wav")
    try:
        text = book.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot read {book}: {error.strerror}; give a file of text or Markdown") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{book} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error
    found = chapters(text)
    for number in only:
        if not 1 <= number <= len(found):
            raise RecipeError(f"there is no chapter {number}; the book has {len(found)}")
    speaker.voice(who, consent)  # raises before anything is made
    wanted, left_out = [], []
    for k, chapter in enumerate(found):
        if only and k + 1 not in only:
            continue
        texts = (chapter.title, *chapter.paragraphs)
        reasons = [(text, speaker.cannot(text)) for text in texts]
        if all(why for _, why in reasons):
            left_out.append(f"chapter {k + 1} is left out: {next((w for t, w in reasons[::-1] if t), reasons[0][1])}")
        else:
            wanted.append(k)
            left_out += [f"a paragraph of chapter {k + 1} is left out: {why}" for text, why in reasons if text and why]
    if not wanted:
        raise DataError(f"nothing in {book} can be said: {left_out[0]}")
    name = who.name if isinstance(who, Profile) else who or speaker.voices[0]
    key = {"weights": speaker.run.weights_hash, "voice": name, "how": list(how), "seed": seed,
           "vector": list(who.vector) if isinstance(who, Profile) else [],
           "vocoder": speaker.vocoder.weights_hash if speaker.vocoder else "", "rate": speaker.codec.rate}  # fmt: skip
    many, done, made, kept = sum(1 + len(found[k].paragraphs) for k in wanted), 0, 0, 0
    files, seconds = [], []
    for k in wanted:
        chapter = found[k]
        path = out / f"{k + 1:02d}-{_slug(chapter.title) or 'text'}{ending}"
        finished = _Kept(out, f"{path.name}.json")
        whole = _digest({**key, "chapter": [chapter.title, *chapter.paragraphs]})
        if path.is_file() and finished.read().get("whole") == whole:
            done, kept = done + 1 + len(chapter.paragraphs), kept + 1 + len(chapter.paragraphs)
            files.append(path)
            seconds.append(float(finished.read()["seconds"]))
            continue
        parts = []
        for i, paragraph in enumerate((chapter.title, *chapter.paragraphs)):
            if tell is not None:
                tell(done, many, chapter.title)
            done += 1
            if speaker.cannot(paragraph):
                continue
            place = _folder(out) / f"{_digest({**key, 'text': paragraph, 'title': i == 0})}.safetensors"
            samples = _load(place)
            if samples is None:
                samples = np.concatenate(
                    list(speaker.parts(speaker.pieces(paragraph), who, how, seed, consent=consent))
                )
                if not i:  # after a heading, a breath
                    samples = np.concatenate(
                        [samples, np.zeros(round(0.6 * how.pause * speaker.codec.rate), np.float32)]
                    )
                _store(place, samples)
                made += 1
            else:
                kept += 1
            parts.append((place, samples))
        sound: Sound = speaker.joined([samples for _, samples in parts])
        about = {"voice": name, "chapter": str(k + 1), "title": chapter.title, "book": book.name, **(said or {})}
        files.append(speaker.save(sound, path, seed=seed, task="read", said=about))
        seconds.append(sound.seconds)
        finished.write({"whole": whole, "seconds": sound.seconds})
        for place, _ in parts:
            place.unlink(missing_ok=True)
    return Read(files, [found[k].title for k in wanted], seconds, made, kept, left_out)


class _Kept:
    """What is known of a finished chapter."""

    def __init__(self, out: Path, name: str) -> None:
        self.path = _folder(out) / name

    def read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) and "seconds" in found else {}

    def write(self, value: dict[str, Any]) -> None:
        write_atomically(self.path, json.dumps(value))


def _folder(out: Path) -> Path:
    place = out / _KEPT
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write into {out}: {error.strerror}; choose another place with --out") from error
    return place


def _load(place: Path) -> np.ndarray | None:
    try:
        return np.asarray(load_file(place)["samples"], np.float32)
    except (OSError, SafetensorError, KeyError):
        return None


def _store(place: Path, samples: np.ndarray) -> None:
    write_atomically(place, save({"samples": np.ascontiguousarray(samples, np.float32)}))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40]
