"""The watermark in sound: how often it is found, by length and by what was done to the sound, and how often where there is none.

Sentences of espeak-ng in its 24 voices of ``bottega train speech`` and the 8 that no run met, joined to 40 seconds; with ``--run`` also what
a run says. Each is marked as a whole and cut at a random place, as a listener would meet it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._common import keep, options
from benchmarks.speech import real
from bottega.codecs._sound_files import library
from bottega.core import Sound
from bottega.core.measure import wilson
from bottega.crafts.speak import Speaker
from bottega.data._voices import CASTS, sentences
from bottega.trust.watermark import find_watermark, watermarked

LENGTHS = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0)
WORN = 10.0  # seconds of what something is done to
Wave = NDArray[np.float32]


def _noise(db: float) -> Callable[[Wave, int], tuple[Wave, int]]:
    def worn(x: Wave, rate: int) -> tuple[Wave, int]:
        loud = np.square(x[np.abs(x) > 0.01 * np.abs(x).max()]).mean()
        return x + np.random.default_rng(len(x)).normal(size=len(x)) * (loud / 10 ** (db / 10)) ** 0.5, rate

    return worn


def _rate(to: int) -> Callable[[Wave, int], tuple[Wave, int]]:
    return lambda x, rate: (library("soxr").resample(x, rate, to), to)


def _coded(kind: str, subtype: str, level: float | None = None) -> Callable[[Wave, int], tuple[Wave, int]]:
    def worn(x: Wave, rate: int) -> tuple[Wave, int]:
        sf, file = library("soundfile"), io.BytesIO()
        sf.write(file, x, rate, format=kind, subtype=subtype, **({} if level is None else {"compression_level": level}))
        file.seek(0)
        made, rate = sf.read(file, dtype="float32")
        return made, rate

    return worn


WAYS: dict[str, Callable[[Wave, int], tuple[Wave, int]]] = {
    "16 bits, a third as loud": lambda x, rate: (np.rint(x / 3 * 32767) / 32767, rate),
    "noise 20 dB down": _noise(20),
    "noise 10 dB down": _noise(10),
    "at 44100 Hz": _rate(44100),
    "at 22050 Hz": _rate(22050),
    "at 8000 Hz": _rate(8000),
    "OGG Vorbis": _coded("OGG", "VORBIS"),
    "OGG Vorbis, smallest": _coded("OGG", "VORBIS", 1.0),
    "MP3": _coded("MP3", "MPEG_LAYER_III"),
    "5 % faster": lambda x, rate: (library("soxr").resample(x, rate, rate / 1.05), rate),
}


def _found(sounds: Sequence[Sound]) -> dict[str, Any]:
    heard = [find_watermark(s) for s in sounds]
    share = sum(h.there for h in heard) / len(heard)
    deviations = np.array([h.deviations for h in heard])
    return {
        "found": share, "interval": wilson(share, len(heard)), "n": len(heard),
        "deviations": {"5 %": float(np.quantile(deviations, 0.05)), "median": float(np.median(deviations)), "largest": float(deviations.max())},
    }  # fmt: skip


def measure(plain: Sequence[Sound], cuts: int, worn: bool = True) -> dict[str, Any]:
    """What is found in cuts of sounds, with the watermark and without."""
    draw = np.random.default_rng(0)
    both = {"with it": [watermarked(s) for s in plain], "without": list(plain)}

    def cut(sound: Sound, seconds: float) -> Sound:
        n = round(seconds * sound.rate)
        at = int(draw.integers(0, sound.samples.shape[1] - n + 1))
        return Sound(np.ascontiguousarray(sound.samples[:, at : at + n]), sound.rate)

    out: dict[str, Any] = {}
    for name, sounds in both.items():
        out[name] = {"seconds": {f"{s:g}": _found([cut(x, s) for x in sounds for _ in range(cuts)]) for s in LENGTHS}}
        for way, wear in WAYS.items() if worn else ():
            parts = [cut(x, WORN) for x in sounds]
            made = [wear(p.samples[0], p.rate) for p in parts]
            rows = [Sound(np.asarray(x, np.float32)[None], rate) for x, rate in made]
            out[name].setdefault(f"{WORN:g} seconds", {})[way] = _found(rows)
    return out


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("watermark", __doc__, "", "--cuts 2", "--run runs/speech")
    parser.add_argument("--cuts", type=int, default=5, help="of each sound and length")
    parser.add_argument("--sentences", type=int, default=16, help="a voice, joined")
    parser.add_argument("--run", type=Path, help="of bottega train speech: its own speech, too")
    args = parser.parse_args(argv)
    names = sorted([*CASTS["known"], *CASTS["new"]])
    plain = []
    for k, name in enumerate(names):
        parts = real(sentences(args.sentences, 9100 + k), [name] * args.sentences)
        plain.append(Sound(np.concatenate([p.samples for p in parts], 1), parts[0].rate))
    plain = [s for s in plain if s.seconds >= LENGTHS[-1]]
    result = {"espeak-ng": measure(plain, args.cuts) | {"voices": len(plain)}}
    if args.run is not None:
        speaker = Speaker.of(args.run, device="cpu")
        own = []
        for k, name in enumerate(speaker.voices):
            pieces = speaker.pieces(" ".join(sentences(args.sentences, 9300 + k)))
            wave = np.concatenate(list(speaker.parts(pieces, name, seed=k)))
            own.append(Sound(wave[None] / max(1.0, float(np.abs(wave).max())), speaker.codec.rate))
        own = [s for s in own if s.seconds >= LENGTHS[-1]]
        result[args.run.name] = measure(own, args.cuts, worn=False) | {"voices": len(own)}
    keep("watermark", result, args, beside=True)


if __name__ == "__main__":
    main()
