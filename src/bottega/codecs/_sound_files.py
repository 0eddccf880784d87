"""Recordings as files have them: WAV, FLAC, OGG and the rest of libsndfile's kinds; resampling; writing with a mark."""

from __future__ import annotations

import importlib
import io
import json
import math
import re
import struct
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bottega.codecs._files import contents, is_archive, read_bytes
from bottega.codecs._labels import labelled, no_empty_class
from bottega.core import DataError, Item, OutputError, Sound
from bottega.core.files import check_place, write_atomically

__all__ = [
    "SUFFIXES",
    "decoded",
    "full_scale",
    "library",
    "named",
    "read_sound",
    "read_sounds",
    "resampled",
    "sound_path",
    "sound_place",
    "write_sound",
]

SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64"}
)
_WHOLE = {".wav": ("WAV", {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"}), ".flac": ("FLAC", {16: "PCM_16", 24: "PCM_24"})}
_NO_WHOLE = SUFFIXES - set(_WHOLE) | {".m4a", ".aac", ".wma"}
_UNSAID = {0, 0xFFFFFFFF}  # what a program that writes to a pipe puts where the length should be


def library(name: str) -> Any:
    """A library of the extra ``audio``, imported on first use.

    Raises:
        DataError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: the library is there, and libsndfile is not
        raise DataError(f"sound needs {name}; pip install 'bottega[audio]'") from error


def read_sound(path: str | Path) -> Sound:
    """One recording, all its channels at its own rate; raises DataError where it cannot be read."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"there is no {path}; give a recording: {', '.join(sorted(SUFFIXES))}")
    if path.is_dir():
        raise DataError(f"{path} is a folder; give one recording: {', '.join(sorted(SUFFIXES))}")
    return decoded(read_bytes(path), str(path))


def read_sounds(source: Path, *, labels: str, skipped: list[str] | None) -> list[Item]:
    """Recordings with their classes, sorted by name.

    Args:
        source: a recording, a folder or an archive of them.
        labels: of ``AudioCodec``, which says what there is.
        skipped: takes the message of each recording that cannot be read; None stops at the first.

    Raises:
        DataError: nothing there, no recording in it, one that cannot be read, one without the label that is asked for.
    """
    if not source.exists():
        raise DataError(f"there is no {source}; give a recording, a folder or an archive of them")
    one = source.is_file() and not is_archive(source)
    if one:
        if source.suffix.lower() not in SUFFIXES:
            raise DataError(f"{source} is no recording that is known; supported: {', '.join(sorted(SUFFIXES))}")
        found = [(source.name, str(source), read_bytes(source))]
    else:
        inside = contents(source, lambda name: PurePosixPath(name).suffix.lower() in SUFFIXES)
        found = [(name, f"{source}/{name}", data) for name, data in inside]
    items = []
    for name, where, data in found:
        try:
            items.append(Item(decoded(data, where), name=name))
        except DataError as error:
            if skipped is None:
                also = "" if one else "; training passes over it with codec.on_error = 'skip'"
                raise DataError(f"{error}{also}") from error
            skipped.append(str(error))
    if not items:
        lost = f" ({len(skipped)} unreadable)" if skipped else ""
        raise DataError(f"{source} holds no recording{lost}; supported: {', '.join(sorted(SUFFIXES))}")
    items.sort(key=lambda item: item.name)
    if re.fullmatch(r"name(:\d+)?", labels):
        return [Item(item.value, named(item.name, labels), item.name) for item in items]
    root = source if source.is_dir() else source.parent
    items = labelled(root, items, labels, skipped, "recording", one=one)
    if source.is_dir() and labels in {"auto", "folder"}:
        no_empty_class(source, items, skipped, "recording")
    return items


def named(name: str, labels: str) -> str:
    """What a file's name says of it, its parts at ``_`` and ``-``; a number at the end is that of the take.

    Raises:
        DataError: it has not so many parts.

    >>> named("recordings/7_jackson_32.wav", "name"), named("7_jackson_32.wav", "name:2")
    ('7 jackson', 'jackson')
    """
    parts = [part for part in re.split(r"[_\-\s]+", PurePosixPath(name).stem) if part]
    if len(parts) > 1 and parts[-1].isdecimal():
        parts = parts[:-1]
    which = labels.partition(":")[2]
    if not which:
        return " ".join(parts)
    if not 1 <= int(which) <= len(parts):
        raise DataError(
            f"{name} has {len(parts)} part(s) in its name ({', '.join(parts)}), and codec.labels is {labels!r}; count from 1"
        )
    return parts[int(which) - 1]


def decoded(data: bytes, where: str) -> Sound:
    """The recording in ``data``.

    Raises:
        DataError: names ``where``; empty, of no known kind, damaged, cut short, or with samples that are no numbers.
    """
    sf = library("soundfile")
    if not data:
        raise DataError(f"{where} is empty; replace or remove it")
    if why := _cut_short(data):
        raise DataError(f"{where} is cut short: {why}; replace or remove it")
    try:
        with sf.SoundFile(io.BytesIO(data)) as file:
            announced, rate = file.frames, file.samplerate
            samples = file.read(dtype="float32", always_2d=True).T
    except (sf.SoundFileError, RuntimeError, ValueError, TypeError) as error:
        why = str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__
        raise DataError(f"{where} is not a readable recording ({why}); replace or remove it") from error
    if not samples.shape[1]:
        raise DataError(f"{where} holds no samples; replace or remove it")
    if 0 < samples.shape[1] < announced < 2**62:
        raise DataError(
            f"{where} is cut short: its head announces {announced} samples and {samples.shape[1]} are there; replace or remove it"
        )
    odd = ~np.isfinite(samples)
    if odd.any():
        at = int(odd.any(0).argmax()) / rate
        raise DataError(
            f"{where} has {int(odd.sum())} samples that are not finite numbers, the first at {at:.3f} seconds; export it anew"
        )
    return Sound(np.ascontiguousarray(samples), rate)


def _cut_short(data: bytes) -> str:
    """Why a file is not whole, which libsndfile passes over; empty where it is, or says nothing of its length."""
    if data[:4] == b"OggS":
        return _ogg_cut_short(data)
    lengths = {
        b"FORM": (">I", 4, 8),
        b"riff": ("<Q", 16, 0),
        b"RF64": ("<Q", 20, 8),
        b".snd": (">I", 8, 0),
    }  # how, where, plus
    if data[:4] in lengths and len(data) >= 28:
        how, place, more = lengths[data[:4]]
        said = struct.unpack_from(how, data, place)[0]
        more = struct.unpack_from(">I", data, 4)[0] if data[:4] == b".snd" else more
        if said not in _UNSAID and said + more > len(data) + 1:  # an odd one may lack its padding
            return f"its head announces {said + more} bytes and {len(data)} are there"
    if data[:4] == b"caff":
        at, how, head, even = 8, ">q", 12, 1
    elif data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        at, how, head, even = 12, "<I", 8, 2
    else:
        return ""
    while at + head <= len(data):
        kind, size = data[at : at + 4], struct.unpack_from(how, data, at + 4)[0]
        if kind == b"data":
            there = len(data) - at - head
            return (
                f"its head announces {size} bytes of sound and {there} are there" if there < size not in _UNSAID else ""
            )
        at += head + max(0, size) + size % even
    return "no sound follows its head"


def _ogg_cut_short(data: bytes) -> str:
    """The last page must be whole and say that it is the last (RFC 3533, section 6)."""
    at = data.rfind(b"OggS")
    if at + 27 > len(data):
        return "its last page breaks off"
    table = data[at + 27 : at + 27 + data[at + 26]]
    if len(table) < data[at + 26] or at + 27 + len(table) + sum(table) > len(data):
        return "its last page breaks off"
    return "" if data[at + 5] & 4 else "its last page is missing"


def resampled(samples: NDArray[np.float32], rate: int, to: int) -> NDArray[np.float32]:
    """``(..., n)`` at another rate, ``ceil(n * to / rate)`` samples, by band-limited interpolation (soxr, high quality).

    The same as ``librosa.resample`` with its default ``res_type="soxr_hq"``.
    """
    if rate == to:
        return samples
    soxr = library("soxr")
    many = math.ceil(samples.shape[-1] * to / rate)
    flat = samples.reshape(-1, samples.shape[-1])
    if flat.shape[1] < 256:  # of so little the filter alone would be left
        flat = np.pad(flat, ((0, 0), (0, 256 - flat.shape[1])))
    rows = [soxr.resample(np.ascontiguousarray(row), rate, to, quality="HQ") for row in flat]
    out = np.zeros((len(rows), many), np.float32)
    for row, made in zip(out, rows, strict=True):
        row[: len(made)] = made[:many]
    return out.reshape(*samples.shape[:-1], many)


def full_scale(sound: Sound) -> tuple[Sound, float]:
    """The sound, turned down as far as it must be to stay within full scale, and by how many decibels (0 or below)."""
    if sound.peak <= 1:
        return sound, 0.0
    return Sound(sound.samples / sound.peak, sound.rate), -20 * math.log10(sound.peak)


def sound_path(path: Path) -> Path:
    """Where ``write_sound`` puts what is to go to ``path``: WAV where the name ends in no way of a sound.

    Raises:
        OutputError: the name ends as another kind of sound does.

    >>> sound_path(Path("a.flac")).name, sound_path(Path("v1.2")).name
    ('a.flac', 'v1.2.wav')
    """
    if path.suffix.lower() in _NO_WHOLE:
        raise OutputError(f"{path}: sounds are not written as {path.suffix}; let its name end in .wav or .flac")
    return path if path.suffix.lower() in _WHOLE else path.with_name(path.name + ".wav")


def sound_place(path: Path, bits: int) -> Path:
    """``sound_path``, of what can be written there with so many bits; to be asked before work is done for it.

    Raises:
        OutputError: as ``sound_path``; the format has no such bits, or the place cannot be written.
    """
    path = sound_path(path)
    _kind(path, bits)
    check_place(path)
    return path


def _kind(path: Path, bits: int) -> tuple[str, str]:
    """What libsndfile calls a format and its samples."""
    kind, subtypes = _WHOLE[path.suffix.lower()]
    if bits not in subtypes:
        raise OutputError(f"{path}: {kind} is written with {' or '.join(map(str, subtypes))} bits, not {bits}")
    return kind, subtypes[bits]


def write_sound(sound: Sound, path: Path, *, bits: int = 16, mark: dict[str, str] | None = None) -> Path:
    """Write WAV or FLAC, as the name ends (WAV where it ends in neither); returns the path.

    What is louder than full scale is turned down to it, never clipped: the file's comment says by how much, as
    ``gain_db``, and ``full_scale`` tells beforehand. 32 bits are floats and take any level. Nothing half-written stays.

    Args:
        sound: what is to be written.
        path: where to.
        bits: 16, 24, or 32 (float, WAV only).
        mark: goes into the comment as JSON (RIFF INFO ``ICMT``, or FLAC's Vorbis comment), its software also where
            the format keeps that.

    Raises:
        OutputError: as ``sound_path``; the place cannot be written, the format has no such bits, or samples are not finite.
    """
    sf = library("soundfile")
    path = sound_path(path)
    kind, subtype = _kind(path, bits)
    if not np.isfinite(sound.samples).all():
        raise OutputError(f"{path}: the sound has samples that are not finite numbers; nothing was written")
    said = dict(mark or {})
    if bits < 32:
        sound, gain = full_scale(sound)
        if gain:
            said["gain_db"] = f"{gain:.2f}"
    data = io.BytesIO()
    try:
        with sf.SoundFile(data, "w", sound.rate, sound.channels, subtype, format=kind) as file:
            if said:
                file.comment = json.dumps(said)
            if "software" in said:
                file.software = said["software"]
            file.write(_levels(sound.samples, bits).T)
    except (sf.SoundFileError, ValueError, TypeError) as error:
        raise OutputError(
            f"{path}: {kind} cannot hold {sound.channels} channels of {bits} bits at {sound.rate} Hz ({error}); write .wav"
        ) from error
    write_atomically(path, data.getvalue())
    return path


def _levels(samples: NDArray[np.float32], bits: int) -> NDArray[Any]:
    """What soundfile writes without touching it: whole numbers, of 24 bits in the upper part of 32."""
    if bits == 32:
        return samples
    top = 2 ** (bits - 1)
    levels = np.clip(np.rint(samples.astype(np.float64) * top), -top, top - 1)
    return levels.astype(np.int16) if bits == 16 else levels.astype(np.int32) << 8
