"""What ``bottega mix repair`` mends: defects planted into healthy recordings at known levels, SI-SDR to the healthy one before and after.

Recordings: parts of the real clips beside the project, made mixes and made talks with pauses; those that are healthy as they are.
False alarms are counted on all of them, those of hum also on single instruments (sonic_loops) and on machine-made bars that repeat exactly.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks._common import keep, options, shared
from bottega.codecs._sound_files import read_sound, read_sounds
from bottega.core import Sound, mean_interval
from bottega.crafts._hum import find_hum
from bottega.crafts.mix_effects import Band, Denoise, Equaliser, run
from bottega.crafts.mix_repair import repair
from bottega.data._sounds import multitrack, speech
from bottega.judge.enhancement import si_sdr_db

Draw = np.random.Generator
Plant = Callable[[NDArray[np.float64], int, Draw], NDArray[np.float64]]


# ---- recordings --------------------------------------------------------------------------------------------------------


def _real(seconds: float) -> dict[str, Sound]:
    """Up to three parts of each clip, from its beginning, one part apart."""
    out = {}
    for path in sorted((shared() / "audio_clips").glob("*.ogg")):
        whole = read_sound(path)
        size = round(seconds * whole.rate)
        for k in range(3):
            part = whole.samples[:, 2 * k * size : (2 * k + 1) * size]
            if k == 0 or part.shape[1] == size:
                out[f"{path.stem[:20]}, part {k}"] = Sound(part, whole.rate)
    return out


def _talk(seed: int, gap: float = 0.6) -> Sound:
    said = [i.value.samples[0] for i in speech(n=6, words=3, seed=seed).items]
    return Sound(np.concatenate([np.concatenate([x, np.zeros(round(gap * 16000))]) for x in said])[None].astype(np.float32), 16000)  # fmt: skip


def _made(seconds: float) -> dict[str, Sound]:
    mixes = {f"made mix {i}": item.value for i, item in enumerate(multitrack(n=4, seconds=seconds, seed=21).items)}
    return mixes | {f"made talk {k}": _talk(30 + k) for k in range(6)}


def _bar(beats: float, seed: int, seconds: float = 12.0, rate: int = 22050) -> Sound:
    """A beat of struck tones and noise, so many a minute, each the same to the bit."""
    draw = np.random.default_rng(seed)
    at = np.arange(round(60 / beats * rate)) / rate
    x = 0.1 * draw.standard_normal(len(at)) * np.exp(-20 * at)
    for hz, fall, part in zip(draw.uniform(40, 300, 6), draw.uniform(3, 12, 6), draw.uniform(0.2, 1, 6), strict=True):
        x += part * np.exp(-fall * at) * np.sin(math.tau * hz * at)
    return Sound(0.3 * np.resize(x, round(seconds * rate))[None].astype(np.float32) / np.float32(np.abs(x).max()), rate)


# ---- defects -----------------------------------------------------------------------------------------------------------


def _beside(x: NDArray[np.float64], other: NDArray[np.float64], decibels: float) -> NDArray[np.float64]:
    return x + other * 10 ** (decibels / 20) * np.sqrt(np.mean(x**2) / np.mean(other**2))


def _hum(decibels: float, base: float, drift: float, swell: float = 0.0) -> Plant:
    """Eight lines of random levels and phases; ``drift``: Hz by which the fundamental swings to both sides, once in 12 to 40 seconds; ``swell``: dB by which all rises."""

    def plant(x: NDArray[np.float64], rate: int, draw: Draw) -> NDArray[np.float64]:
        at, k = np.arange(x.shape[1]) / rate, np.arange(1, 9)[:, None]
        hz = base + draw.uniform(-0.05, 0.05) + drift * np.sin(math.tau * (at / draw.uniform(12, 40) + draw.uniform()))
        levels = draw.uniform(0.3, 1, (8, 1)) / k ** draw.uniform(0.3, 1.2)
        hum = (levels * np.sin(k * math.tau * np.cumsum(hz) / rate + draw.uniform(0, math.tau, (8, 1)))).sum(0)
        return _beside(x, hum[None] * 10 ** (swell * at / at[-1] / 20), decibels)

    return plant


def _swells(n: int, rate: int, draw: Draw) -> NDArray[np.float64]:
    """Noise that comes and goes twice a second or three times, by 20 dB."""
    at = np.arange(n) / rate
    return draw.standard_normal(n) * 10 ** (-0.5 * (1 + np.sin(math.tau * (draw.uniform(2, 3) * at + draw.uniform()))))


def _rustle(decibels: float) -> Plant:
    return lambda x, rate, draw: _beside(x, _swells(x.shape[1], rate, draw)[None], decibels)


def _noise(decibels: float) -> Plant:
    return lambda x, rate, draw: _beside(x, draw.standard_normal((1, x.shape[1])), decibels)


def _clicks(x: NDArray[np.float64], rate: int, draw: Draw) -> NDArray[np.float64]:
    """Two a second, of one to four samples, half to all of the peak."""
    y = x.copy()
    for start in draw.integers(rate // 10, x.shape[1] - rate // 10, 2 * x.shape[1] // rate):
        y[:, start : start + draw.integers(1, 5)] += np.abs(x).max() * draw.uniform(0.5, 1) * draw.choice([-1, 1])
    return y


def _clipped(x: NDArray[np.float64], rate: int, draw: Draw) -> NDArray[np.float64]:
    """By 6 dB."""
    top = np.abs(x).max()
    return np.clip(x, -top / 2, top / 2)


def _through(*bands: Band) -> Plant:
    return lambda x, rate, draw: run(Equaliser(list(bands)), Sound(x.astype(np.float32), rate)).samples.astype(float)


def _wide(x: NDArray[np.float64], rate: int, draw: Draw) -> NDArray[np.float64]:
    """34 dB up and down in 6 seconds."""
    return x * 10 ** (-17 * (1 + np.sin(math.tau * np.arange(x.shape[1]) / rate / 6)) / 20)


OTHERS: dict[str, tuple[str, Plant]] = {
    "clicks, two a second": ("clicks", _clicks),
    "noise at -20 dB": ("noise", _noise(-20)),
    "noise at -30 dB": ("noise", _noise(-30)),
    "rustle at -20 dB": ("rustle", _rustle(-20)),
    "rustle at -25 dB": ("rustle", _rustle(-25)),
    "clipped by 6 dB": ("clipping", _clipped),
    "lows alone, below 2.5 kHz": ("muffled", _through(*[Band("low_pass", 2500)] * 2)),
    "18 dB more at 160 Hz": ("boomy", _through(Band("peak", 160, 18, 1.0))),
    "26 dB more at 6.5 kHz": ("sibilance", _through(Band("peak", 6500, 26, 0.7))),
    "34 dB up and down": ("dynamics", _wide),
}


# ---- measures ----------------------------------------------------------------------------------------------------------


def _mean(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"n": 0}
    value, low, high = mean_interval(torch.tensor(values, dtype=torch.float64))
    return {"value": value, "low": low, "high": high, "least": min(values), "most": max(values), "n": len(values)}


def _near(made: Sound, clean: Sound) -> float:
    """SI-SDR in dB, the mean of its channels."""
    return float(si_sdr_db(torch.from_numpy(made.samples), torch.from_numpy(clean.samples)).mean())


def _planted(sounds: dict[str, Sound], name: str, plant: Plant) -> dict[str, Any]:
    """The defect in every recording: how often it is found and mended, SI-SDR before, its gain where something was done to it, what else was found."""
    found, mended, kept, before, gains, noticed = 0, 0, 0, [], [], Counter[str]()
    for seed, sound in enumerate(sounds.values()):
        bad = plant(sound.samples.astype(np.float64), sound.rate, np.random.default_rng(seed))
        given = Sound(bad.astype(np.float32), sound.rate)
        made = repair(given)
        seen = {f.name: f for f in made.findings}
        noticed.update(seen.keys() - {name})
        kept += made.sound is given
        if name in seen:
            found, mended = found + 1, mended + seen[name].mended
            if seen[name].after is not None:
                before.append(_near(given, sound))
                gains.append(_near(made.sound, sound) - before[-1])
    return {
        "recordings": len(sounds), "found": found, "within_its_limit_after": mended, "left_alone": kept,
        "si_sdr_before": _mean(before), "si_sdr_gain_where_treated": _mean(gains), "worse_by_more_than_0.1_dB": sum(g < -0.1 for g in gains),
        "also_found": dict(noticed),
    }  # fmt: skip


def _moment_db(sound: Sound, inside: NDArray[np.bool_]) -> float:
    """The level of the median moment of 20 ms that lies wholly where it is asked for, dB of full scale."""
    size = sound.rate // 50
    many = sound.samples.shape[1] // size
    power = np.square(sound.samples[0, : many * size], dtype=np.float64).reshape(many, size).mean(1)
    return 10 * math.log10(np.median(power[inside[: many * size].reshape(many, size).all(1)]) + 1e-12)


def _gate(talks: int) -> dict[str, Any]:
    """Rustle in talks with pauses: where a gate is chosen, what it gains, what one that knew the pauses would, and what ``Denoise`` does."""
    out = {}
    names = (
        "si_sdr_gain",
        "of_a_gate_that_knows_the_pauses",
        "of_denoise",
        "pauses_lowered_db",
        "by_denoise_db",
        "share_of_pauses",
    )
    made_talks = [_talk(60 + seed, gap=0.3 + 0.1 * (seed % 6)) for seed in range(talks)]
    healthy = [talk for talk in made_talks if not repair(talk).findings]
    for decibels in (-20.0, -25.0):
        rows = []
        for seed, clean in enumerate(healthy):
            x = clean.samples.astype(np.float64)
            bad = Sound(_rustle(decibels)(x, clean.rate, np.random.default_rng(seed)).astype(np.float32), clean.rate)
            made = repair(bad)
            if not any("gate" in f.done for f in made.findings):
                continue
            silent = np.convolve(np.abs(x[0]), np.ones(160), "same") < 1e-4
            other, best = run(Denoise(24), bad), Sound(np.where(silent, 0, bad.samples).astype(np.float32), clean.rate)
            gains = [_near(sound, clean) - _near(bad, clean) for sound in (made.sound, best, other)]
            down = [_moment_db(bad, silent) - _moment_db(sound, silent) for sound in (made.sound, other)]
            rows.append((*gains, *down, float(silent.mean())))
        found = {name: _mean([row[i] for row in rows]) for i, name in enumerate(names)}
        out[f"rustle at {decibels:g} dB"] = {"talks": len(healthy), "gate_chosen": len(rows)} | found
    return out


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("repair", __doc__, "", "--seconds 6 --talks 6")
    parser.add_argument("--seconds", type=float, default=12.0, help="of a part of a real clip, and of a made mix")
    parser.add_argument("--talks", type=int, default=24, help="made talks, of which those that are healthy get rustle")
    args = parser.parse_args(argv)
    sounds = _real(args.seconds) | _made(args.seconds)
    made = {name: repair(sound) for name, sound in sounds.items()}
    ill = {name: [f.name for f in m.findings] for name, m in made.items() if m.findings}
    assert all(m.findings or m.sound is sounds[name] for name, m in made.items())
    healthy = {name: sound for name, sound in sounds.items() if name not in ill}
    loops = [i for i in read_sounds(shared() / "sonic_loops" / "samples_flac.zip", labels="none", skipped=[]) if i.value.seconds >= 2]  # fmt: skip
    bars = [_bar(beats, seed) for beats in (60, 90, 93.75, 100, 120, 125, 130, 150, 180, 187.5) for seed in range(3)]
    result: dict[str, Any] = {
        "healthy": {"recordings": len(sounds), "left_alone": len(healthy), "found_in_the_others": ill},
        "hum_where_none_was_planted": {
            "single instruments": {"recordings": len(loops), "found": [f"{i.name}, {h.base:g} Hz, lines {h.lines}" for i in loops if (h := find_hum(i.value))]},
            "bars that repeat exactly": {"recordings": len(bars), "found": sum(find_hum(b) is not None for b in bars)},
        },
        "hum": {
            f"{base:g} Hz at {level:g} dB, {f'swinging by {drift} Hz' if drift else 'steady'}": _planted(healthy, "hum", _hum(level, base, drift))
            for level in (-40.0, -30.0, -20.0, -10.0)
            for base, drift in ((50.0, 0.0), (60.0, 0.2))
        },
    }  # fmt: skip
    result["hum"]["50 Hz at -20 dB, rising by 6 dB"] = _planted(healthy, "hum", _hum(-20, 50, 0.05, 6.0))
    result["others"] = {told: _planted(healthy, name, plant) for told, (name, plant) in OTHERS.items()}
    result["gate"] = _gate(args.talks)
    keep("repair", result, args)


if __name__ == "__main__":
    main()
