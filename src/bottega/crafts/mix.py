"""Stems to a mix without a hand on the desk: levels, places, equalisers against masking, compression; what was chosen is said."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bottega.codecs._sound_files import SUFFIXES, read_sound, resampled
from bottega.core import DataError, RecipeError, Sound, nearest
from bottega.crafts._ears import Wave, active, bands, checked, frame_size, frames_db, power_frames, third_octaves
from bottega.crafts.mix_effects import Band, Compressor, Effect, Equaliser, response_db, run
from bottega.judge.loudness import lufs, true_peak_db

__all__ = ["Mixed", "Track", "balance_of", "even_out", "masking_index", "mix", "read_stems"]

LOUDNESS = -20.0  # LUFS of a mix, which leaves mastering room
HEADROOM_DB = -3.0  # dBTP that a mix stays below
WIDE = 0.6  # how far from the middle stems are placed, of 1
_SHORTEST = 0.05  # seconds of a stem: a hit is longer, and a few samples have no loudness to be brought to
_MOMENTS = 100  # of a mix by which places and cuts are chosen
_SPREAD_DB = 12.0  # of 0.4 seconds' levels, from which a stem is compressed
_CUT_DB, _CUTS = 3.0, 6  # of one move of the equalisers, and how many there are at most
_POWER = 0.3  # of loudness over intensity (Stevens 1957)


@dataclass(frozen=True)
class Track:
    """What the desk did with one stem.

    Attributes:
        name: the stem's.
        gain_db: of its fader, by the loudness of the stem as it came.
        makeup_db: what gives back the loudness that its equaliser and compressor took; on top of the fader.
        pan: from -1, left, to 1, right (constant power: ``cos a, sin a`` with ``a = (pan + 1) pi / 4``).
        loudness_lufs: of the stem as it came.
        cuts: of its equaliser, against masking.
        compressor: its setting, None where it needed none.
        masking: how much of its loudness the others hide, before and after, 0 to 1.
    """

    name: str
    gain_db: float
    pan: float
    loudness_lufs: float
    cuts: list[Band] = field(default_factory=list)
    compressor: Compressor | None = None
    makeup_db: float = 0.0
    masking: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Mixed:
    """A mix, its tracks, and its masking index: of the stems at one loudness in the middle, and in the mix."""

    sound: Sound
    tracks: list[Track]
    masking_before: float
    masking_after: float


def stem_files(paths: Sequence[Path]) -> list[Path]:
    """The recordings of one folder, else the files themselves."""
    if len(paths) == 1 and paths[0].is_dir():
        return sorted(p for p in paths[0].iterdir() if p.suffix.lower() in SUFFIXES)
    return list(paths)


def read_stems(paths: Sequence[Path]) -> dict[str, Sound]:
    """Stems by name: of one folder every recording in it, else the files themselves.

    Raises:
        DataError: nothing there, fewer than two, two of one name, or one that cannot be read or worked on: its file is named.
    """
    paths = stem_files(paths)
    if len(paths) < 2:
        raise DataError(f"{len(paths)} stem(s) make no mix; give a folder with at least two recordings, or their files")
    out: dict[str, Sound] = {}
    for path in paths:
        if path.stem in out:
            raise DataError(f"two stems are called {path.stem}; rename one")
        out[path.stem] = checked(read_sound(path), str(path), least_seconds=_SHORTEST, least_rate=1)
    return out


def even_out(stems: Mapping[str, Sound], *, pad: bool = False, rate: int = 0) -> dict[str, Sound]:
    """Stems of one rate and length.

    Args:
        stems: as they came.
        pad: shorter ones end in silence.
        rate: all are brought to it, Hz; 0 leaves them.

    Raises:
        DataError: fewer than two; silent, too short (0.05 seconds, with silence 0.4), not finite, more than two channels;
            rates or lengths that differ.
    """
    if len(stems) < 2:
        raise DataError(f"{len(stems)} stem(s) make no mix; give at least two")
    if rate and not 4000 <= rate <= 384_000:
        raise DataError(f"the rate of a mix is {rate}; give 4000 to 384000 Hz")
    for name, sound in stems.items():
        checked(sound, f"stem {name}", least_seconds=_SHORTEST, least_rate=1)
    if rate:
        stems = {name: Sound(resampled(s.samples, s.rate, rate), rate) for name, s in stems.items()}
    rates = {name: sound.rate for name, sound in stems.items()}
    if len(set(rates.values())) > 1:
        told = ", ".join(f"{name} {hz} Hz" for name, hz in rates.items())
        raise DataError(f"stems differ in rate: {told}; bring them to one with --rate (Python: rate=)")
    lengths = {name: sound.samples.shape[1] for name, sound in stems.items()}
    longest = max(lengths.values())
    if min(lengths.values()) < longest and not pad:
        told = ", ".join(f"{name} {n / rates[name]:.3f} s" for name, n in lengths.items())
        raise DataError(f"stems differ in length: {told}; let the shorter end in silence with --pad (Python: pad=True)")
    return {
        name: checked(Sound(np.pad(s.samples, ((0, 0), (0, longest - s.samples.shape[1]))), s.rate), f"stem {name}")
        for name, s in stems.items()
    }


# ---- masking -----------------------------------------------------------------------------------------------------------


def _excitation(stems: Sequence[Sound]) -> tuple[Wave, Wave]:
    """Middles of third octaves, and the power of each stem in each over time, ``(stems, frames, bands)``."""
    rate, middles = stems[0].rate, third_octaves(stems[0].rate)
    size = frame_size(rate, 0.09)
    hz = np.fft.rfftfreq(size, 1 / rate)
    return middles, np.stack([bands(hz, power_frames(s.samples, size), middles) for s in stems])


def _hidden(power: Wave) -> Wave:
    """What share of each stem's loudness the others hide: ``(stems, ears, frames, bands) -> (stems,)``.

    Partial loudness in the manner of Moore, Glasberg and Baer 1997, JAES 45(4): ``(E + M)^0.3 - M^0.3`` of what would be
    ``E^0.3`` alone, in third octaves; maskers spread by 8 dB a band upwards and 20 dB downwards. The ears add up.
    """
    floor = 1e-9 * power.sum(0).mean() * power.shape[0] + 1e-18
    step = np.arange(power.shape[-1])[:, None] - np.arange(power.shape[-1])[None]  # from column to row
    spread = 10 ** (-np.where(step >= 0, 8 * step, -20 * step) / 10.0)
    whole = power.sum(0, keepdims=True) @ spread.T
    others = np.maximum(whole - power @ spread.T, 0) + floor
    alone = ((power + floor) ** _POWER - floor**_POWER).sum((1, 2, 3))
    heard = ((power + others) ** _POWER - others**_POWER).sum((1, 2, 3))
    return np.asarray(1 - heard / np.maximum(alone, 1e-30))


def _ears(pans: Wave) -> Wave:
    """The power of each stem at the left and the right ear, ``(stems, 2)``."""
    angle = (pans + 1) * math.pi / 4
    return np.stack([np.cos(angle) ** 2, np.sin(angle) ** 2], 1)


def masking_index(stems: Sequence[Sound], gains_db: Sequence[float], pans: Sequence[float]) -> float:
    """How much of the stems' loudness is hidden in a mix, the mean over stems: 0 nothing, 1 all.

    Args:
        stems: of one rate and length.
        gains_db: of each.
        pans: of each, -1 to 1.
    """
    _, power = _excitation(stems)
    gain = 10 ** (np.asarray(gains_db) / 10)
    return float(_hidden(power[:, None] * (gain[:, None] * _ears(np.asarray(pans, float)))[:, :, None, None]).mean())


# ---- the desk ----------------------------------------------------------------------------------------------------------


def mix(
    stems: Mapping[str, Sound], *, like: Sound | None = None, trims_db: Mapping[str, float] | None = None, pad: bool = False,
    rate: int = 0, equalise: bool = True, compress: bool = True, pan: bool = True,
) -> Mixed:  # fmt: skip
    """A stereo mix of stems.

    Every stem is brought to one loudness (Perez-Gonzalez and Reiss 2009: what listeners call a balance), low ones stay in
    the middle and those that hide each other most go to opposite sides; then up to six cuts of 3 dB are made where they
    lower the masking index most, and stems whose level wanders by more than 12 dB are compressed. The mix ends at
    -20 LUFS, or where its true peak is -3 dB.

    Args:
        stems: by name, mono or stereo; of a stereo stem its mean is placed.
        like: a mix of these very stems, from their beginning: its gains and places are recovered (least squares) and
            taken; nothing is equalised or compressed then.
        trims_db: how much louder than the others a stem is wished.
        pad: shorter stems end in silence.
        rate: to which stems are brought, Hz; 0 takes theirs.
        equalise: cut against masking.
        compress: stems that need it.
        pan: place stems; else all stay in the middle.

    Raises:
        DataError: as ``even_out``; a ``like`` of another rate or length.
        RecipeError: a trim of a stem that is not there.
    """
    for name in trims_db or {}:
        if name not in stems:
            raise RecipeError(f"there is no stem {name!r} to trim{nearest(name, stems)}")
    given = even_out(stems, pad=pad, rate=rate)
    names = list(given)
    one = [Sound(s.mono()[None], s.rate) for s in given.values()]
    for name, sound in zip(names, one, strict=True):
        checked(sound, f"the middle of stem {name}")
    loud = np.array([_loudness(sound, name) for sound, name in zip(one, names, strict=True)])
    trim = np.array([(trims_db or {}).get(name, 0.0) for name in names])
    if not np.isfinite(trim).all() or np.abs(trim).max() > 120:
        raise DataError(f"trims are {dict(zip(names, trim.tolist(), strict=True))} dB; give numbers from -120 to 120")
    middles, power = _excitation(one)
    flat = power * 10 ** ((-loud)[:, None, None] / 10)
    before = _hidden(flat[:, None] * np.full((1, 2, 1, 1), 0.5))
    if like is not None:
        gains, pans = balance_of(like, one)
        gains, cuts, compressors = gains + trim, [list[Band]() for _ in names], [None] * len(names)
        makeup = np.zeros(len(names))
    else:
        pans = _places(flat, middles) if pan else np.zeros(len(names))
        cuts = _cuts(flat, pans, middles, one[0].rate) if equalise else [[] for _ in names]
        compressors = [_compressor(sound) if compress else None for sound in one]
        for i, sound in enumerate(one):
            chain: list[Effect] = [Equaliser(cuts[i])] if cuts[i] else []
            chain += [compressors[i]] if compressors[i] is not None else []
            one[i] = run(chain, sound) if chain else sound
        now = np.array([_loudness(sound, name) for sound, name in zip(one, names, strict=True)])
        gains, makeup = trim - loud, loud - now
    angle = (pans + 1) * math.pi / 4
    level = 10 ** ((gains + makeup) / 20)
    both = sum(
        g * np.stack([math.cos(a) * s.samples[0], math.sin(a) * s.samples[0]]).astype(np.float64)
        for g, a, s in zip(level, angle, one, strict=True)
    )
    assert isinstance(both, np.ndarray)
    loudness = lufs(both, one[0].rate)
    if loudness < float((loud + gains).max()) - 40:
        raise DataError("these stems cancel each other: their mix is silent; turn the phase of one, or leave it out")
    up = min(LOUDNESS - loudness, HEADROOM_DB - true_peak_db(both)) if like is None else 0.0
    _, power = _excitation(one)
    placed = power[:, None] * ((level**2)[:, None] * _ears(pans))[:, :, None, None]
    after = _hidden(placed)
    tracks = [
        Track(name, float(gains[i] + up), float(pans[i]), float(loud[i]), cuts[i], compressors[i], float(makeup[i]),
              (float(before[i]), float(after[i])))
        for i, name in enumerate(names)
    ]  # fmt: skip
    sound = Sound((both * 10 ** (up / 20)).astype(np.float32), one[0].rate)
    return Mixed(sound, tracks, float(before.mean()), float(after.mean()))


def _loudness(sound: Sound, name: str) -> float:
    found = lufs(sound.samples, sound.rate)
    if not math.isfinite(found):
        raise DataError(f"stem {name} lies below -70 LUFS; leave it out, or record it louder")
    return found


def balance_of(like: Sound, stems: Sequence[Sound]) -> tuple[Wave, Wave]:
    """Gains in dB and places of stems in a finished mix of them, ``(stems,)`` each, by least squares on the samples.

    A stem that is not in it has -120 dB.

    Raises:
        DataError: another rate or length (by more than a hundredth), or it is silent.
    """
    checked(like, "the mix to be like")
    rate, n = stems[0].rate, stems[0].samples.shape[1]
    if like.rate != rate or abs(like.samples.shape[1] - n) > n / 100:
        raise DataError(
            f"the mix to be like has {like.rate} Hz and {like.seconds:.2f} s, the stems {rate} Hz and {n / rate:.2f} s; give a mix of these stems"
        )
    n = min(n, like.samples.shape[1])
    rows = np.stack([s.samples[0, :n] for s in stems]).astype(np.float64)
    target = like.samples[:, :n].astype(np.float64)
    target = np.concatenate([target, target]) / math.sqrt(2) if len(target) == 1 else target
    gram = rows @ rows.T
    found = np.maximum(np.linalg.solve(gram + 1e-9 * np.trace(gram) * np.eye(len(rows)), rows @ target.T), 0)
    gains = 20 * np.log10(np.maximum(np.hypot(found[:, 0], found[:, 1]), 1e-6))
    return gains, np.arctan2(found[:, 1], np.maximum(found[:, 0], 1e-12)) * 4 / math.pi - 1


def _places(power: Wave, middles: Wave) -> Wave:
    """Where each stem stands: low ones (half of their power below 200 Hz) and the steadiest hit in the middle, others to the sides.

    Of all ways to share the sides evenly, the one with the least masking; of more than four stems those that keep their order are tried.
    """
    mean = power.mean(1)
    low = mean[:, middles < 200].sum(1) > 0.5 * mean.sum(1)
    sides = np.flatnonzero(~low)
    pans = np.zeros(len(power))
    if len(sides) < 2:
        return pans
    places = np.linspace(-WIDE, WIDE, len(sides))
    orders = itertools.permutations(range(len(sides))) if len(sides) <= 4 else (np.roll(np.arange(len(sides)), k) for k in range(len(sides)))  # fmt: skip
    small = _moments(power)
    best = math.inf
    for order in orders:
        tried = np.zeros(len(power))
        tried[sides] = places[list(order)]
        index = float(_hidden(small[:, None] * _ears(tried)[:, :, None, None]).mean())
        if index < best - 1e-9:
            best, pans = index, tried
    return pans


def _moments(power: Wave) -> Wave:
    """About a hundred moments, even in time, and the loudest of a stem that they miss: one hit in a long piece, say."""
    even = np.arange(0, power.shape[1], max(1, power.shape[1] // _MOMENTS))
    loudest = np.argsort(power.sum(2), axis=1)[:, -3:]
    rare = power[:, even].sum((1, 2)) / len(even) < 0.1 * power.sum((1, 2)) / power.shape[1]
    return power[:, np.union1d(even, loudest[rare])]


def _cuts(power: Wave, pans: Wave, middles: Wave, rate: int) -> list[list[Band]]:
    """Cuts for each stem: greedily the one that lowers the masking index most, levels made even after each; none twice."""
    small = _moments(power)
    ears = _ears(pans)[:, :, None, None]
    out: list[list[Band]] = [[] for _ in power]
    candidates = [hz for hz in (100, 200, 400, 800, 1600, 3200, 6400) if hz < 0.4 * rate]
    shapes = {hz: 10 ** (response_db([Band("peak", hz, -_CUT_DB, 1.2)], middles, rate) / 10) for hz in candidates}

    def level(now: Wave) -> Wave:
        return now * (small.sum((1, 2)) / np.maximum(now.sum((1, 2)), 1e-30))[:, None, None]

    now = small
    best = float(_hidden(now[:, None] * ears).mean())
    for _ in range(_CUTS):
        found: tuple[float, int, int, Wave] | None = None
        for i, hz in itertools.product(range(len(power)), candidates):
            if any(band.hz == hz for band in out[i]) or len(out[i]) >= 3:
                continue
            tried = now.copy()
            tried[i] = now[i] * shapes[hz]
            tried = level(tried)
            index = float(_hidden(tried[:, None] * ears).mean())
            if index < best - 5e-4 and (found is None or index < found[0]):
                found = (index, i, hz, tried)
        if found is None:
            break
        best, now = found[0], found[3]
        out[found[1]].append(Band("peak", float(found[2]), -_CUT_DB, 1.2))
    return out


def _compressor(sound: Sound) -> Compressor | None:
    """What brings the levels of 0.4 seconds within 12 dB; None where they are."""
    level = frames_db(sound, 0.4)
    level = level[active(level, 40)]
    low, high = np.quantile(level, [0.2, 0.95])
    if high - low <= _SPREAD_DB:
        return None
    ratio = float(min(4.0, (high - low) / _SPREAD_DB * 1.5))
    return Compressor(float(np.clip(low, -90, -1)), round(ratio, 2), knee_db=10, attack_ms=20, release_ms=250)
