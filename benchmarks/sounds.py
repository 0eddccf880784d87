"""Recordings cleared, compressed and made, measured on recordings that no training saw.

- ``cleared``: trains recipe ``voice-enhancer``; SI-SDR gained at 0 dB by the listener, as ``bottega mix enhance`` has it: new sentences of the
  voices it learned, voices of espeak-ng it never heard, and real speech beside the project; also behind music in place of noise.
- ``compressed``: trains recipe ``sounds-codec`` on spoken digits beside the project; bytes and signal-to-noise ratio of held-out recordings,
  for fewer codebooks too, beside FLAC, and Vorbis at the least quality that is as near.
- ``effects`` (row E7) and ``chapter23``: trains recipe ``effects``, and ``ch23-audio-vae`` and ``ch23-audio-gan``, on their made sounds; how often
  samples are heard as the class that was asked for, by the judge's network, which real sounds alone taught and held-out ones try.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import bottega
from benchmarks._common import keep, options, shared, told
from bottega import Run
from bottega.codecs._noise import noisy
from bottega.codecs._sound_files import read_sound, resampled, write_sound
from bottega.codecs.audio import AudioCodec
from bottega.core import Rng, Sound, mean_interval
from bottega.crafts import compress_sound
from bottega.crafts.mix_enhance import enhance
from bottega.data import worlds
from bottega.judge import loudness, recognise
from bottega.judge._recogniser import recogniser
from bottega.judge.enhancement import si_sdr_db
from bottega.workshop.build import find_data
from bottega.workshop.judging import case_of
from bottega.workshop.training import divide

DIGITS = Path("fsdd", "fsdd_train_wav.zip")
READ = ("198-209-0000.ogg", "3436-172162-0000.ogg")  # two people who read aloud
MUSIC = "Kevin_MacLeod_-_Vibe_Ace.ogg"
PART = 4.0  # seconds of the long recordings that are cleared at once


def _mean(values: Sequence[float]) -> dict[str, Any]:
    value, low, high = mean_interval(torch.tensor(values, dtype=torch.float64))
    return {"value": value, "low": low, "high": high, "n": len(values)}


def _gained(run: Run, clean: Sequence[Sound], others: Sequence[np.ndarray[Any, Any]] | None = None) -> dict[str, Any]:
    """SI-SDR before and after, at 0 dB of noise, or of a part of ``others`` at the same rate."""
    before, after, factors, latency = [], [], [], 0.0
    for k, sound in enumerate(clean):
        x = torch.from_numpy(np.ascontiguousarray(sound.mono()))[None]
        if others is None:
            given = noisy(x, Rng(1000 + k), 0.0, 0.0)
        else:
            other = torch.from_numpy(others[k % len(others)][: x.shape[1]])[None]
            given = x + other * (x.square().mean() / other.square().mean()).sqrt()
        made = enhance(run, Sound(given.numpy(), sound.rate))
        before.append(si_sdr_db(given, x).item())
        after.append(si_sdr_db(torch.from_numpy(made.sound.samples), x).item())
        factors.append(made.real_time_factor)
        latency = made.latency_ms
    gain = [b - a for a, b in zip(before, after, strict=True)]
    return {
        "gain_db": _mean(gain), "before_db": statistics.mean(before), "after_db": _mean(after),
        "least_gain_db": min(gain), "real_time_factor": statistics.median(factors), "latency_ms": latency,
    }  # fmt: skip


def _parts(path: Path, rate: int) -> list[Sound]:
    """The whole parts of a recording, at ``rate``."""
    sound = read_sound(path)
    x, n = resampled(sound.mono(), sound.rate, rate), round(PART * rate)
    return [Sound(x[None, i : i + n], rate) for i in range(0, len(x) - n + 1, n)]


def cleared(args: argparse.Namespace) -> dict[str, Any]:
    """SI-SDR gained at 0 dB (row B3)."""
    run = bottega.train("voice-enhancer", None, args.runs / "voice-enhancer", judge=False)
    rate = run.codec.used_rate  # type: ignore[attr-defined]
    new = {
        f"espeak-ng, {what}": [i.value for i in worlds.load("espeak", n=args.n, voices=cast, seed=77).items]
        for what, cast in (("voices it learned", "known"), ("voices never heard", "new"))
    }
    items = AudioCodec(labels="name").read(shared() / DIGITS)
    chosen = Rng(0).permutation(len(items))[: args.n].tolist()
    clips = shared() / "audio_clips"
    voices: dict[str, list[Any]] = {}
    for i in Rng(1).permutation(len(items)).tolist():
        voices.setdefault(str(items[i].cond).split()[-1], []).append(items[i].value)
    rows = [
        Sound(np.concatenate([s.samples for s in said[10 * k : 10 * k + 10]], 1), said[0].rate)
        for said in voices.values()
        for k in range(max(1, args.n // 20))
    ]
    read = [part for name in READ for part in _parts(clips / name, rate)]
    music = [p.mono() for p in _parts(clips / MUSIC, rate)]
    return {
        **told(run), "noise": "any colour, half of it rising and falling, a quarter with a hum; 0 dB", "wanted": 5.0,
        **{name: _gained(run, sounds) for name, sounds in new.items()},
        "spoken digits (real)": _gained(run, [items[i].value for i in chosen]),
        "ten digits of a speaker in a row (real)": _gained(run, rows),
        "people who read aloud (real)": _gained(run, read),
        "the same behind music at 0 dB, of which it learned nothing": _gained(run, read, music),
    }  # fmt: skip


def compressed(args: argparse.Namespace) -> dict[str, Any]:
    """Bytes and signal-to-noise ratio of held-out spoken digits."""
    run = bottega.train("sounds-codec", shared() / DIGITS, args.runs / "sounds-codec", judge=False)
    codec: Any = run.codec
    items = list(divide(run.recipe, find_data(run.recipe, shared() / DIGITS, codec)).held)
    items = [items[i] for i in Rng(0).permutation(len(items))[: args.n].tolist()]
    found: dict[str, Any] = {}
    books = len(run.model.codebooks)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as here:
        for kept in sorted({max(1, books // 4), books // 2, books}):
            rows, began = [], time.process_time()
            for k, item in enumerate(items):
                source = write_sound(item.value, Path(here, f"{k}.wav"))
                rows.append(compress_sound.compress(run, source, Path(here, f"{k}.bts"), codebooks=kept))
            spent = time.process_time() - began
            seconds = sum(r.seconds for r in rows)
            ours, pcm = sum(r.bytes for r in rows), sum(r.beside["pcm_16_bits"] for r in rows)
            some = [r for r in rows if "vorbis" in r.beside]
            found[f"{kept} codebooks"] = {
                "recordings": len(rows), "seconds": seconds, "bytes": ours, "bytes_a_recording": ours / len(rows),
                "times_smaller_than_pcm": pcm / ours, "kilobits_a_second": 8 * ours / 1000 / seconds,
                "snr_db": _mean([r.snr_db for r in rows]), "least_snr_db": min(r.snr_db for r in rows),
                "file_over_what_the_model_says": 8 * ours / sum(r.model_bits for r in rows),
                "bytes_of": {name: sum(r.beside[name] for r in rows if name in r.beside) for name in ("pcm_16_bits", "flac")},
                "where_vorbis_reaches_the_ratio": {
                    "recordings": len(some), "ours": sum(r.bytes for r in some),
                    **{name: sum(r.beside[name] for r in some) for name in ("pcm_16_bits", "vorbis")},
                },
                "processor_seconds_a_second": spent / seconds,
            }  # fmt: skip
        joined = np.concatenate([i.value.mono() for i in items[:60]])
        source = write_sound(Sound(joined[None], items[0].value.rate), Path(here, "long.wav"))
        one = compress_sound.compress(run, source, Path(here, "long.bts"))
    found["sixty of them as one file"] = {
        "seconds": one.seconds, "bytes": one.bytes, "times_smaller_than_pcm": one.times_smaller, "snr_db": one.snr_db, "beside": one.beside,
    }  # fmt: skip
    wanted = {"times_smaller_than_pcm": 8.0}
    return {**told(run), "mean_of": "recordings, each with its header", "wanted": wanted, **found}


def _told(measures: Sequence[Any]) -> dict[str, Any]:
    return {m.name: {"value": m.value, "interval": [m.low, m.high], "real_ones": m.ceiling, "n": m.n} for m in measures}


def _levels(codec: Any, x: torch.Tensor, labels: torch.Tensor) -> dict[str, list[float]]:
    """Of each class the level, and that of the last quarter: decibels of full scale."""
    waves = codec.waves(x.cpu()).square()
    each = {name: waves[labels.cpu() == k] for k, name in enumerate(codec.classes)}
    return {
        name: [10 * math.log10(float(part.mean()) + 1e-12) for part in (power, power[:, 3 * power.shape[1] // 4 :])]
        for name, power in each.items()
    }


def asked(run: Run, n: int, guidances: Sequence[float]) -> dict[str, Any]:
    """What the judges hear in samples of randomly drawn classes, the same for each ``guidance``."""
    codec: Any = run.codec
    model: Any = run.model
    case, _ = case_of(run, find_data(run.recipe, None, codec), n, 0)
    assert case.held.cond is not None
    assert case.sample_cond is not None
    names, wanted = [*codec.classes, "none"], case.sample_cond
    out: dict[str, Any] = {"level_and_last_quarter_db, real": _levels(codec, case.held.x, case.held.cond)}
    for guidance in guidances:
        rng, began = Rng(0), time.process_time()
        parts = [model.sample(len(part), rng, part, guidance=guidance) for part in torch.split(wanted, 50)]
        spent = time.process_time() - began
        one = replace(case, samples=torch.cat(parts))  # the ears are kept in the case's cache, and shared
        measures = [*recognise.measure(one), *loudness.measure(one)]
        heard = recogniser(one).probs(one.samples).argmax(1)
        out[f"guidance {guidance:g}"] = {
            **_told(measures),
            "heard_as": {
                name: {names[k]: many for k, many in sorted(Counter(heard[wanted == i].tolist()).items())}
                for i, name in enumerate(codec.classes)
            },
            "level_and_last_quarter_db": _levels(codec, one.samples, wanted),
            "processor_seconds_a_second": spent / (n * codec.samples / codec.used_rate),
        }  # fmt: skip
        print(guidance, out[f"guidance {guidance:g}"], flush=True)
    return out


def effects(args: argparse.Namespace) -> dict[str, Any]:
    """How often sound effects are heard as the kind that was asked for."""
    run = bottega.train("effects", None, args.runs / "effects", judge=False)
    return {"wanted": 0.8} | told(run) | asked(run, 4 * args.n, (1.0, 2.0))


def chapter23(args: argparse.Namespace) -> dict[str, Any]:
    """How often notes are heard as the pitch that was asked for."""
    out: dict[str, Any] = {}
    for recipe in ("ch23-audio-vae", "ch23-audio-gan"):
        run = bottega.train(recipe, None, args.runs / recipe, judge=False)
        out[recipe] = told(run) | _told(run.judge(only=["recognise", "loudness", "pitch_error"], n=4 * args.n).measures)
        print(recipe, out[recipe]["class_agreement"], flush=True)
    return out


MEASURES = (cleared, compressed, effects, chapter23)


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("sounds", __doc__, "", "--only cleared --n 20", "--only effects")
    parser.add_argument("--only", choices=[measure.__name__ for measure in MEASURES])
    parser.add_argument("--n", type=int, default=100, help="recordings of each kind")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are kept; a stopped one goes on")
    args = parser.parse_args(argv)
    for measure in MEASURES:
        if args.only in {None, measure.__name__}:
            keep("sounds", {measure.__name__: measure(args)}, args, beside=True)


if __name__ == "__main__":
    main()
