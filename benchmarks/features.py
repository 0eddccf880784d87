"""Spectra of real recordings beside librosa's: how far apart the largest difference is.

Recordings of ``audio_clips`` (speech, song, birds, whales, a trumpet) at their own rates and at others, and of ``fsdd`` at 8 kHz, each with
several windows, hops and numbers of bands. Compared are complex spectra (the difference as a part of the recording's largest
magnitude), mel filters, mel spectra in decibels in double precision, and in single precision the numbers in [-1, 1] that a model sees.
A wrong window must not pass: librosa's symmetric Hann, which differs by a thousandth, stands beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks._common import keep, options, shared
from bottega.codecs._sound_files import read_sound, read_sounds, resampled
from bottega.core import Rng
from bottega.nets.spectrogram import LogMel, mel_filters, stft

SETTINGS = {8000: ((256, 64, 32), (512, 64, 64)), 16000: ((1024, 128, 128), (1024, 256, 80)), 22050: ((2048, 512, 128), (1024, 256, 80)),
            44100: ((2048, 441, 80), (4096, 1024, 128)), 48000: ((2048, 480, 80),)}  # fmt: skip
WANTED = 1e-4


def apart(x: np.ndarray, rate: int, window: int, hop: int, mels: int) -> dict[str, float]:
    """Largest differences of one recording ``(n,)`` under one setting."""
    import librosa

    double, single = torch.from_numpy(x.astype(np.float64)), torch.from_numpy(x.astype(np.float32))
    shape: dict[str, Any] = {"n_fft": window, "hop_length": hop, "pad_mode": "constant"}
    theirs = librosa.stft(double.numpy(), **shape)
    top = np.abs(theirs).max()
    wrong = librosa.stft(double.numpy(), window=np.hanning(window), **shape)
    power = librosa.feature.melspectrogram(y=double.numpy(), sr=rate, n_mels=mels, **shape)
    oracle = 10 * np.log10(np.maximum(power, 1e-10))
    net = LogMel(rate, window, hop, mels)
    seen = [(2 * (db - oracle.max()) / 80 + 1).clip(-1, 1) for db in (net(single).numpy(), oracle)]
    filters = librosa.filters.mel(sr=rate, n_fft=window, n_mels=mels)
    return {
        "spectrum_double": float(np.abs(stft(double, window, hop).numpy() - theirs).max() / top),
        "spectrum_single": float(np.abs(stft(single, window, hop).numpy() - theirs).max() / top),
        "filters": float(np.abs(mel_filters(rate, window, mels).numpy() - filters).max()),
        "mel_db_double": float(np.abs(net(double).numpy() - oracle).max()),
        "mel_seen_single": float(np.abs(seen[0] - seen[1]).max()),
        "planted_symmetric_window": float(np.abs(stft(double, window, hop).numpy() - wrong).max() / top),
    }


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("features", __doc__, "", "--seconds 2 --digits 10")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each clip, from its middle")
    parser.add_argument("--digits", type=int, default=60, help="recordings of fsdd")
    args = parser.parse_args(argv)
    sounds = {p.name: read_sound(p) for p in sorted((shared() / "audio_clips").glob("*.ogg"))}
    pieces: list[tuple[str, int, np.ndarray]] = []
    for name, sound in sounds.items():
        n = round(args.seconds * sound.rate)
        first = max(0, (sound.samples.shape[1] - n) // 2)
        x = sound.mono()[first : first + n]
        for rate in SETTINGS:
            pieces.append((name, rate, x if rate == sound.rate else resampled(x, sound.rate, rate)))
    digits = read_sounds(shared() / "fsdd" / "fsdd_train_wav.zip", labels="none", skipped=None)
    drawn = Rng(0).permutation(len(digits))[: args.digits].tolist()
    pieces += [("fsdd", digits[k].value.rate, digits[k].value.mono()) for k in drawn]
    worst: dict[str, dict[str, Any]] = {}
    least_planted, compared = np.inf, 0
    for name, rate, x in pieces:
        for window, hop, mels in SETTINGS[rate]:
            if len(x) < window:
                continue
            compared += 1
            for key, value in apart(x, rate, window, hop, mels).items():
                least_planted = min(least_planted, value) if key.startswith("planted") else least_planted
                if value > worst.get(key, {"largest": -1.0})["largest"]:
                    worst[key] = {"largest": value, "of": name, "rate": rate, "window": window, "hop": hop, "mels": mels}  # fmt: skip
    worst["planted_symmetric_window"]["least"] = float(least_planted)
    ours = [v["largest"] for k, v in worst.items() if not k.startswith("planted")]
    found = {
        "differences": worst, "recordings": len(sounds) + len(drawn), "spectra_compared": compared, "rates": sorted(SETTINGS),
        "own_rates": sorted({s.rate for s in sounds.values()}), "wanted": f"I20: at most {WANTED}",
        "reached": max(ours) <= WANTED < least_planted,
    }  # fmt: skip
    keep("features", found, args)


if __name__ == "__main__":
    main()
