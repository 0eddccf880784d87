"""Recordings to short files and back, by a model whose code is a few whole numbers for each few milliseconds.

A file (see ``_packed.py``) holds the numbers of the first codebooks, written at the odds the model gives them.
Only those are stored, so what comes back does not depend on how exactly another machine computes the encoder.
"""

from __future__ import annotations

import io
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bottega.codecs._sound_files import SUFFIXES, library, read_sound, resampled, write_sound
from bottega.core import BottegaError, DataError, OutputError, RecipeError, Sound
from bottega.core.files import write_atomically
from bottega.crafts._packed import Envelope, agree, apart, entropy_coding, stack
from bottega.workshop.run import Run

__all__ = ["CompressedSound", "beside", "compress", "decompress", "is_compressed", "pack", "snr_db", "unpack"]

FILE = Envelope(b"BTS1", 1, "IIBBfI")  # rate, samples, channels, codebooks, gain, check
_TILE = 512  # frames that are in memory as numbers at once
_PEAK = 0.95  # what louder recordings are brought to
_WRITTEN = (".wav", ".flac")


@dataclass(frozen=True)
class CompressedSound:
    """What became of a recording.

    Attributes:
        source, path: the recording and the file.
        seconds, channels, rate: of what the model was given; ``rate`` in Hz is its own.
        bytes: of the file, all of it.
        kilobits_a_second: of the file.
        times_smaller: than the same samples as 16-bit PCM.
        snr_db: of what comes back, against what the model was given.
        codebooks: codebooks that are heard.
        dropped: what the recording had and the model was not given.
        model_bits: what the model says the file should take.
        beside: bytes of the same samples by other means, and what they are.
    """

    source: str
    path: str
    seconds: float
    channels: int
    rate: int
    bytes: int
    kilobits_a_second: float
    times_smaller: float
    snr_db: float
    codebooks: int
    dropped: tuple[str, ...]
    model_bits: float
    beside: dict[str, int]


def is_compressed(path: str | Path) -> bool:
    """Whether a file begins as ours of sound do."""
    with Path(path).open("rb") as file:
        return file.read(4) == FILE.magic


def compress(run: Run, source: str | Path, path: str | Path, *, codebooks: int = 0) -> CompressedSound:
    """Write a recording of any length as a short file.

    Args:
        run: of a family that codes waveforms (``rvqvae``).
        source: a recording; its channels are coded one by one.
        path: the file.
        codebooks: how many codebooks are kept, 0 all: fewer make a shorter file and a worse sound.

    Raises:
        DataError: no readable recording, or a silent one.
        BottegaError: the run's model cannot compress sounds.
        RecipeError: it has not so many codebooks.
        OutputError: the file cannot be written, is the recording itself or is called as one.
    """
    apart(source, path)
    if Path(path).suffix.lower() in SUFFIXES:
        raise OutputError(
            f"{path} is called as a recording, and a compressed file is none; give a name that ends in .bts"
        )
    model, rate = _model(run)
    sound = read_sound(source)
    dropped = []
    if sound.rate != rate:
        dropped.append(
            f"what lies above {rate // 2} Hz" if sound.rate > rate else f"its rate of {sound.rate} Hz (now {rate})"
        )
    x = np.stack([resampled(channel, sound.rate, rate) for channel in sound.samples])
    data, bits = pack(run, x, codebooks)
    write_atomically(Path(path), data)
    back = unpack(run, data, str(path)).samples
    seconds, error = x.shape[1] / rate, snr_db(x, back)
    return CompressedSound(
        str(source), str(path), seconds, len(x), rate, len(data), 8 * len(data) / 1000 / seconds, 2 * x.size / len(data),
        error, codebooks or len(model.codebooks), tuple(dropped), bits, beside(x, rate, error),
    )  # fmt: skip


def decompress(run: Run, source: str | Path, path: str | Path) -> Path:
    """The recording of a compressed file, as 16-bit WAV or FLAC by the ending of ``path``.

    Raises:
        DataError: not such a file, cut short, damaged, or written by another model.
        OutputError: the ending is not known, or the file cannot be written.
    """
    source, path = Path(source), Path(path)
    apart(source, path)
    if path.suffix.lower() not in _WRITTEN:
        raise OutputError(f"cannot write a recording as {path}; give a name that ends in {' or '.join(_WRITTEN)}")
    return write_sound(unpack(run, source.read_bytes(), str(source)), path, bits=16)


def pack(run: Run, x: NDArray[np.float32], codebooks: int = 0) -> tuple[bytes, float]:
    """Samples ``(channels, n)`` at the model's rate as bytes, and how many bits the model says that should take."""
    model, rate = _model(run)
    if not 0 <= codebooks <= len(model.codebooks):
        raise RecipeError(f"codebooks is {codebooks}; this model has {len(model.codebooks)}, and 0 keeps them all")
    kept = codebooks or len(model.codebooks)
    peak = float(np.abs(x).max(initial=0.0))
    if not peak:
        raise DataError("the recording is silent; there is nothing to compress")
    gain = _PEAK / peak if peak > _PEAK or run.codec.level == "peak" else 1.0

    def squeezed(part: Tensor) -> Tensor:
        z: Tensor = model.squeeze(part.to(run.device))[:, :, :kept]
        return z.cpu()

    waves = torch.from_numpy(np.ascontiguousarray(x) * np.float32(gain))[:, None]
    waves = torch.nn.functional.pad(waves, (0, -waves.shape[2] % model.hop))
    with torch.no_grad():
        rows = [_by_tiles(squeezed, one[None], model.hop, 1, model.reach, 2, 1) for one in waves]
    symbols = torch.cat(rows).permute(2, 0, 1).flatten(1).numpy().astype(np.int32)  # (codebooks, channels * frames)
    coder, masses = stack(), model.odds().cpu().numpy()
    for one, row in zip(symbols[::-1], masses[:kept][::-1], strict=True):  # the last in is the first out
        coder.encode_reverse(one, entropy_coding().model.Categorical(row, perfect=False))
    bits = -np.log2(np.take_along_axis(masses[:kept], symbols.astype(np.int64), 1)).sum()
    values = (rate, x.shape[1], len(x), kept, gain, _checksum(symbols))
    return FILE.wrap(run, 0, values, coder.get_compressed()), float(bits)


def unpack(run: Run, data: bytes, name: str = "the file") -> Sound:
    """The recording that ``pack`` made the bytes of; raises DataError naming ``name``."""
    model, _ = _model(run)
    _, (rate, samples, channels, kept, gain, check), words = FILE.unwrap(run, data, name)
    frames, coder = -(-samples // model.hop), stack(words)
    tables = [entropy_coding().model.Categorical(row, perfect=False) for row in model.odds().cpu().numpy()[:kept]]
    symbols = np.stack([coder.decode(table, channels * frames) for table in tables])
    agree(_checksum(symbols), check, name)
    z = torch.from_numpy(symbols).long().view(kept, channels, frames).permute(1, 2, 0)

    def expanded(part: Tensor) -> Tensor:
        x: Tensor = model.expand(part.to(run.device), kept)
        return x.cpu()

    with torch.no_grad():
        rows = [_by_tiles(expanded, one[None], 1, model.hop, model.reach, 1, 2)[0, 0] for one in z]
    x = torch.stack(rows)[:, :samples].numpy() / np.float32(gain)
    return Sound(np.ascontiguousarray(x, np.float32), rate)


def _checksum(symbols: NDArray[np.int32]) -> int:
    return zlib.crc32(symbols.astype("<i4").tobytes())


def _model(run: Run) -> tuple[Any, int]:
    """The model, and its samples in a second."""
    model: Any = run.model
    if run.codec.medium != "audio" or not run.spec.is_wave or not hasattr(model, "squeeze"):
        raise BottegaError(
            f"a {run.recipe.family['name']} of {run.codec.medium} cannot compress a recording; train a run of family "
            "rvqvae on recordings of your own"
        )
    return model, run.codec.used_rate


def _by_tiles(f: Any, x: Tensor, samples: int, out: int, reach: int, axis: int, made: int) -> Tensor:
    """``f`` of ``x (1, ...)`` in parts along ``axis``, so that long recordings need no more memory; equal to ``f`` at once.

    A frame is ``samples`` along ``axis`` of ``x`` and ``out`` along ``made`` of the result; parts overlap by ``reach`` frames.
    """
    frames, parts = x.shape[axis] // samples, []
    for first in range(0, frames, _TILE):
        low, high = max(0, first - reach), min(frames, first + _TILE + reach)
        part = f(x.narrow(axis, low * samples, (high - low) * samples))
        parts.append(part.narrow(made, (first - low) * out, min(_TILE, frames - first) * out))
    return torch.cat(parts, made)


def snr_db(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    """``10 log10(|x|^2 / |x - y|^2)`` of two ``(channels, n)``, dB; infinite of equal ones."""
    wrong = float(np.square(x.astype(np.float64) - y).sum())
    return 10 * math.log10(float(np.square(x.astype(np.float64)).sum()) / wrong) if wrong else math.inf


def beside(x: NDArray[np.float32], rate: int, least_db: float) -> dict[str, int]:
    """Bytes of the same samples by other means: 16-bit PCM, FLAC, and Vorbis and MP3 at the least quality not below ``least_db``.

    A format that cannot hold so many channels, or such a rate, is left out.
    """
    sf, out = library("soundfile"), {"pcm_16_bits": 2 * x.size}
    loud = x / max(1.0, float(np.abs(x).max(initial=0.0)))

    def saved(**how: Any) -> bytes:
        file = io.BytesIO()
        sf.write(file, loud.T, rate, **how)
        return file.getvalue()

    for name, how, levels in (
        ("flac", {"format": "FLAC", "subtype": "PCM_16"}, (None,)),
        ("vorbis", {"format": "OGG", "subtype": "VORBIS"}, _LEVELS),
        ("mp3", {"format": "MP3", "subtype": "MPEG_LAYER_III"}, _LEVELS),
    ):
        try:
            tried = [saved(**how, compression_level=level) for level in levels]
        except (sf.SoundFileError, RuntimeError, ValueError, TypeError):  # a rate or a kind that this library has not
            continue
        if sizes := [len(data) for data in tried if _snr_of(data, loud) >= least_db]:
            out[name] = min(sizes)
    return out


_LEVELS = tuple(k / 10 for k in range(11))  # of libsndfile: 0 the best, 1 the shortest


def _snr_of(data: bytes, x: NDArray[np.float32]) -> float:
    """Of a file's samples, beside what went in; a delay that a format adds is looked for (MP3's of 1,105 samples, say)."""
    y = library("soundfile").read(io.BytesIO(data), dtype="float32", always_2d=True)[0].T
    y = np.pad(y, ((0, 0), (0, max(0, x.shape[1] - y.shape[1] + 2400))))
    a, b = x[0][: 1 << 16], y[0][: (1 << 16) + 2400]
    spectrum = np.fft.rfft(b, 1 << 18) * np.conj(np.fft.rfft(a, 1 << 18))
    late = int(np.fft.irfft(spectrum)[:2400].argmax())
    return snr_db(x, y[:, late : late + x.shape[1]])
