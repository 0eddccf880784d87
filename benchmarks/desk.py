"""The desk: gains of known mixes recovered, masters that meet their numbers, designed sounds, and how fast effects are.

Made stems (world ``multitrack``) of known gains; masters of made mixes and, where the data sets beside the project are, of real
recordings; the effects in blocks of 512 at 44.1 kHz, stereo. Beside `matchering` (GPL, never a dependency) where it is installed.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks._common import keep, options, shared
from bottega.codecs._sound_files import read_sound, write_sound
from bottega.core import BottegaError, Sound
from bottega.crafts import mix_effects
from bottega.crafts.mix import mix
from bottega.crafts.mix_design import design
from bottega.crafts.mix_effects import Band, Chain, Compressor, Denoise, Equaliser, Gate, Limiter, Reverb, run
from bottega.crafts.mix_master import master
from bottega.crafts.mix_repair import diagnose
from bottega.data._sounds import multitrack
from bottega.judge.loudness import lufs, true_peak_db
from bottega.judge.real_time import real_time_factor

WISHES = ((2000, 0.01, 1.0, 0.02), (4000, 0.1, 0.5, 0.05), (1000, 0.0002, 1.0, 0.1), (3000, 2e-3, 0.5, 0.05))


def _gains(n: int) -> dict[str, Any]:
    band = multitrack(n=n, seconds=6.0, rate=22050, seed=11)
    errors, fell, like = [], [], []
    for item, stems, truth in zip(band.items, band.truth["stems"], band.truth["gains_db"], strict=True):
        made = mix(stems)
        away = np.array([t.gain_db - truth[t.name] for t in made.tracks])
        errors += list(np.abs(away - away.mean()))
        fell.append((made.masking_before, made.masking_after))
        like += [abs(t.gain_db - truth[t.name]) for t in mix(stems, like=item.value).tracks]
    return {
        "mixes": n, "gains": len(errors), "mean_error_db": float(np.mean(errors)), "largest_error_db": float(np.max(errors)),
        "share_within_1.5_db": float(np.mean(np.array(errors) <= 1.5)), "largest_error_db_with_the_mix_given": float(np.max(like)),
        "masking_before": float(np.mean([b for b, _ in fell])), "masking_after": float(np.mean([a for _, a in fell])),
        "mixes_whose_masking_fell": sum(a < b for b, a in fell),
    }  # fmt: skip


def _bent_db(plain: Sound, made: Sound, seconds: float = 0.02) -> float:
    """What no gain of 20 ms explains of a sound, in dB of the whole: distortion, and gains that change within them."""
    size = round(seconds * plain.rate)
    x, y = (
        s.samples[:, : s.samples.shape[1] // size * size].astype(float).reshape(s.channels, -1, size)
        for s in (plain, made)
    )
    gain = (x * y).sum(2, keepdims=True) / np.maximum((x * x).sum(2, keepdims=True), 1e-12)
    return float(10 * np.log10(np.sum((y - gain * x) ** 2) / np.sum(y**2)))


def _masters(
    sounds: dict[str, Sound], references: Sequence[Sound], targets: Sequence[float] = (-14.0, -9.0)
) -> dict[str, Any]:
    rows = {}
    for name, sound in sounds.items():
        quiet = master(sound, references, target_lufs=-30.0).sound  # so soft that nothing is limited
        for target in targets:
            began = time.process_time()
            made = master(sound, references, target_lufs=target)
            rows[f"{name} to {target:g}"] = {
                "lufs_error": abs(lufs(made.sound.samples, made.sound.rate) - target), "true_peak_db": true_peak_db(made.sound.samples),
                "bent_db": _bent_db(quiet, made.sound), "about": made.stages[-1].about,
                "distance_db": [made.stages[0].distance_db, made.stages[-1].distance_db], "reached": made.reached,
                "real_time_factor": (time.process_time() - began) / sound.seconds,
            }  # fmt: skip
    return {
        "masters": rows, "largest_lufs_error": max(r["lufs_error"] for r in rows.values()),
        "reached": sum(r["reached"] for r in rows.values()), "largest_bent_db": max(r["bent_db"] for r in rows.values()),
        "largest_true_peak_db": max(r["true_peak_db"] for r in rows.values()),
    }  # fmt: skip


def _speed(seconds: float, block: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = 0.1 * rng.standard_normal((2, round(44100 * seconds)))
    sound = Sound(x.astype(np.float32), 44100)
    parts = {
        "equaliser of 4": Equaliser([Band("high_pass", 80), Band("peak", 300, -4), Band("peak", 3000, 2), Band("high_shelf", 8000, 3)]),
        "gate": Gate(-50), "denoise": Denoise(), "compressor": Compressor(-30, 3), "reverb": Reverb(), "limiter": Limiter(-12),
    }  # fmt: skip
    out: dict[str, Any] = {}
    for name, effect in {**parts, "all": Chain(list(parts.values()))}.items():
        found = real_time_factor(lambda effect=effect: run(effect, sound, block), seconds, clock=time.process_time, most_seconds=10)  # type: ignore[misc]  # fmt: skip
        out[name] = {"factor": statistics.median(found), "low": min(found), "high": max(found), "times": len(found),
                     "latency_ms": 1000 * effect.latency / 44100}  # fmt: skip
    chain = Chain(list(parts.values()))
    with patch.object(mix_effects, "loops", return_value=None):
        found = real_time_factor(lambda: run(chain, sound, block), seconds, clock=time.process_time, most_seconds=10)
    out["all by arrays"] = {
        "factor": statistics.median(found), "low": min(found), "high": max(found), "times": len(found),
        "of_the_loops": statistics.median(found) / out["all"]["factor"],
    }  # fmt: skip
    return {"block": block, "rate": 44100, "channels": 2, "clock": "processor time", **out}


def _designs() -> dict[str, Any]:
    out = []
    for hz, flat, seconds, attack in WISHES:
        for seed in range(3):
            made = design(brightness_hz=hz, noisiness=flat, seconds=seconds, attack_seconds=attack, seed=seed)
            out.append(made.off_percent)
    return {"sounds": len(out), "largest_error_percent": max(out), "within_10_percent": sum(o <= 10 for o in out)}


def _peer(sound: Sound, reference: Sound) -> dict[str, Any]:
    if find_spec("matchering") is None:
        return {"matchering": "not installed"}
    import matchering

    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        target, liked = write_sound(sound, here / "a.wav"), write_sound(reference, here / "b.wav")
        matchering.process(target=str(target), reference=str(liked), results=[matchering.pcm24(str(here / "c.wav"))])
        made = read_sound(here / "c.wav")
    return {"matchering": {"lufs": lufs(made.samples, made.rate), "true_peak_db": true_peak_db(made.samples)}}


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("desk", __doc__, "", "--mixes 3 --seconds 4")
    parser.add_argument("--mixes", type=int, default=12, help="made mixes whose gains are recovered")
    parser.add_argument("--seconds", type=float, default=5.0, help="of sound through the effects")
    parser.add_argument("--block", type=int, default=512, help="samples at once")
    args = parser.parse_args(argv)
    result: dict[str, Any] = {
        "speed": _speed(args.seconds, args.block),
        "gains": _gains(args.mixes),
        "design": _designs(),
    }
    sounds = {f"made mix {i}": item.value for i, item in enumerate(multitrack(n=2, seconds=8.0, seed=12).items)}
    clips = {}
    for path in sorted((shared() / "audio_clips").glob("*.ogg")):
        whole = read_sound(path)
        clips[path.stem[:24]] = Sound(whole.samples[:, : 12 * whole.rate], whole.rate)
    music = {name: s for name, s in clips.items() if name.startswith(("Kevin", "Karissa"))}
    result["masters"] = _masters({**sounds, **music}, list(music.values())[:2])
    result["masters_too_loud"] = _masters(music, list(music.values())[:2], targets=(-7.0,))  # more than they can have
    healthy = {}
    for name, sound in clips.items():
        try:
            healthy[name] = [f.name for f in diagnose(sound)]
        except BottegaError as error:
            healthy[name] = [str(error)]
    result["found_in_real_recordings"] = healthy
    result["peer"] = _peer(next(iter(sounds.values())), next(iter(music.values())))
    keep("desk", result, args)
