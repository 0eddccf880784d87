"""Mouths that move with speech: how the curve of opening goes with the sound's envelope, on clips that nobody drew.

Clips are sentences that espeak-ng says in many voices, people who read aloud (audio_clips beside the project), spoken digits (fsdd), and
with ``--run`` what a run of speech says. The envelope is the magnitude of the analytic signal over all bands, the curve is
made of loudness between 150 Hz and 4 kHz and, where the aligner of codec ``speech`` knows what is said, of each sound's own opening.
A curve of another clip must not pass: each is also held against the envelope of the next clip of its kind, of the length both have.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.signal import hilbert

from benchmarks._common import keep, options, shared
from bottega.codecs._sound_files import read_sound, read_sounds
from bottega.codecs.speech import SpeechCodec
from bottega.core import DataError, Rng, Sound
from bottega.core.measure import mean_interval, wilson
from bottega.crafts.speak import Speaker
from bottega.crafts.speak_mouth import aligned, mouth
from bottega.data import worlds
from bottega.data._voices import sentences

WANTED = 0.8


def envelope(sound: Sound, fps: float = 25.0) -> np.ndarray:
    """The amplitude of a sound in each frame, ``(frames,)``: the mean of its analytic signal's magnitude, all bands."""
    level = np.abs(hilbert(sound.mono().astype(np.float64)))
    at = ((np.arange(len(level)) + 0.5) / sound.rate * fps).astype(int)
    return np.asarray(np.bincount(at, level) / np.bincount(at))


def together(curve: np.ndarray, level: np.ndarray) -> float:
    """Pearson's correlation over the frames that both have."""
    n = min(len(curve), len(level))
    return float(np.corrcoef(curve[:n], level[:n])[0, 1])


def summed(values: Sequence[float], *, planted: bool = False) -> dict[str, Any]:
    """Mean with interval, the lowest, and how many reach what is wanted."""
    mean, low, high = mean_interval(torch.tensor(values))
    passing = sum(v >= WANTED for v in values)
    share = wilson(passing / len(values), len(values))
    out = {"mean": round(mean, 4), "interval": [round(low, 4), round(high, 4)], "least": round(min(values), 4),
           "most": round(max(values), 4), "reach_0.8": passing / len(values),
           "reach_interval": [round(v, 4) for v in share], "of": len(values)}  # fmt: skip
    return out | {"wanted": "none reaches 0.8" if planted else f"mean {WANTED}"}


def measured(clips: Sequence[Sound], fps: float, codec: Any = None, texts: Sequence[str] = ()) -> dict[str, Any]:
    """Of clips of one kind: by level, by level and sounds, and the planted failures of both."""
    ways: dict[str, list[np.ndarray]] = {"level": [mouth(c, fps).opening for c in clips]}
    left_out = 0
    levels = [envelope(c, fps) for c in clips]
    if codec is not None:
        ways["level_and_sounds"] = []
        for clip, text, plain in zip(clips, texts, ways["level"], strict=True):
            try:
                ways["level_and_sounds"].append(mouth(clip, fps, aligned(codec, clip, text)).opening)
            except DataError:
                left_out += 1
                ways["level_and_sounds"].append(plain)
    out: dict[str, Any] = {"clips": len(clips), "seconds": round(sum(c.seconds for c in clips), 1)}
    for name, curves in ways.items():
        own = [together(c, e) for c, e in zip(curves, levels, strict=True)]
        others = [together(c, e) for c, e in zip(curves, [*levels[1:], levels[0]], strict=True)]
        out[name] = {"own": summed(own), "of_another_clip": summed(others, planted=True)}
        out[name]["reached"] = bool(np.mean(own) >= WANTED) and max(others) < WANTED
        print(name, out[name], flush=True)
    return out | ({"not_aligned": left_out} if codec is not None else {})


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("mouth", __doc__, "", "--n 20 --run runs/speech")
    parser.add_argument("--n", type=int, default=60, help="clips of espeak-ng, and of digits")
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--run", type=Path, help="a run of speech that says a third as many")
    parser.add_argument("--vocoder", type=Path)
    args = parser.parse_args(argv)
    found: dict[str, Any] = {}
    items = worlds.load("espeak", n=args.n, voices="known", seed=41).items
    codec = SpeechCodec().fit(items)
    texts = [i.cond.partition("|")[2] for i in items]
    found["espeak"] = measured([i.value for i in items], args.fps, codec, texts)
    read = sorted((shared() / "audio_clips").glob("*-*-0000.ogg"))
    if read:
        cut = [read_sound(p) for p in read]
        parts = [Sound(s.samples[:, k : k + 4 * s.rate], s.rate) for s in cut for k in range(0, s.samples.shape[1] - 3 * s.rate, 4 * s.rate)]  # fmt: skip
        found["people_who_read"] = measured(parts, args.fps)
    digits = shared() / "fsdd" / "fsdd_train_wav.zip"
    if digits.exists():
        some = read_sounds(digits, labels="name", skipped=None)
        drawn = [some[k] for k in Rng(0).permutation(len(some))[: 8 * args.n].tolist()]
        strung = [Sound(np.concatenate([i.value.mono() for i in drawn[k : k + 8]])[None], drawn[k].value.rate) for k in range(0, len(drawn), 8)]  # fmt: skip
        found["digits_in_eights"] = measured(strung, args.fps)
    if args.run is not None:
        speaker = Speaker.of(args.run, args.vocoder)
        asked = sentences(max(4, args.n // 3), seed=4321)
        said = [speaker.say(t, speaker.voices[k % len(speaker.voices)], seed=k) for k, t in enumerate(asked)]
        found["said_by_a_run"] = measured(said, args.fps, speaker.codec, asked)
    keep("mouth", found, args, beside=True)


if __name__ == "__main__":
    main()
