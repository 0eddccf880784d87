"""In which room a recording sounds, heard by how its sounds die away, and the reverb that gives another recording that room."""

from __future__ import annotations

import numpy as np

from bottega.core import DataError, Sound
from bottega.crafts._ears import Wave, checked, db, frame_size, power_frames
from bottega.crafts.mix_effects import Reverb, run

__all__ = ["DRY_DB", "dryness_db", "in_room"]

DRY_DB = 3.0
"""How far below a room's a recording's decays may lie and still be in it; two dry voices differ by as much."""

_LAGS = np.arange(0.04, 0.301, 0.02)  # seconds after a loud moment; pauses of speech last about as long
_SHARES = (0.02, 0.05, 0.15)  # of loud moments: those after which it falls fastest
_DEEPEST = -35.0  # dB: what has fallen further is gone
_GAPS_DB = -10.0  # how far the room's recording must fall by the end, or its sounds leave no gaps to hear a room in
_NOISE_DB = 3.0  # above the quietest moments: below it a decay is hidden
_SECONDS, _WETTEST = np.geomspace(0.2, 4.0, 12), 0.8
_HEARD = 30.0  # seconds by which a reverb is chosen


def _decays(sound: Sound) -> tuple[Wave, float]:
    """How far the sound has fallen so long after loud moments, dB, ``(shares, lags)``, and the level of its quietest moments.

    In a dry recording what follows a loud moment may fall as fast as its source; in a room no faster than the room lets it.
    So the fastest falls tell the room (the idea of Ratnam et al. 2003, JASA 114(5), and of Wen, Habets and Naylor 2008,
    ICASSP, who fit slopes of decays; here the whole curve is kept). Levels are those of 20 ms from 300 to 4,000 Hz.
    """
    size = frame_size(sound.rate, 0.02)
    hop = max(1, round(0.01 * sound.rate))
    hz = np.fft.rfftfreq(size, 1 / sound.rate)
    level = db(power_frames(sound.samples, size, hop)[:, (hz >= 300) & (hz < 4000)].sum(1))
    top = float(np.quantile(level, 0.95))
    loud = np.flatnonzero(level > top - 12)
    rows = []
    for lag in _LAGS:
        later = round(lag * sound.rate / hop)
        at = loud[loud + later < len(level)]
        rows.append(np.quantile(level[at + later] - level[at], _SHARES) if len(at) else np.zeros(len(_SHARES)))
    return np.stack(rows, 1), float(np.quantile(level, 0.02)) - top


def _both(sound: Sound, room: Sound) -> tuple[Wave, Wave, float]:
    """Decays of a sound and of a room's recording, and the level below which neither is looked at."""
    (mine, quiet), (theirs, silent) = _decays(sound), _decays(room)
    return mine, theirs, max(_DEEPEST, quiet + _NOISE_DB, silent + _NOISE_DB)


def _drier(mine: Wave, theirs: Wave, floor: float) -> float:
    return float((np.maximum(theirs, floor) - np.maximum(mine, floor)).mean())


def dryness_db(sound: Sound, room: Sound, what: str = "the recording of the room") -> float:
    """How much faster a recording's sounds die away than those of a recording in the wished room.

    The mean, in dB, of the difference of their levels 0.04 to 0.3 seconds after loud moments. Above 0 it is drier, below 0 it
    is more in a room.

    Args:
        sound: one or two channels, at least 1 second.
        room: of the same kind (speech, a drum), in the room; of any rate.
        what: the room's recording is called in errors, its file say.

    Raises:
        DataError: either is silent, too short or not finite; the room's leaves no gaps in which a room could be heard.
    """
    checked(sound, least_seconds=1.0)
    checked(room, what, least_seconds=1.0)
    mine, theirs, floor = _both(sound, room)
    if theirs[1, -1] > _GAPS_DB:
        raise DataError(
            f"{what} leaves no gaps in which its room could be heard; give one with pauses: speech, single notes"
        )
    return _drier(mine, theirs, floor)


def in_room(sound: Sound, room: Sound) -> tuple[Sound, Reverb]:
    """The sound through the reverb with which its decays are nearest to the room's, as loud as before, and that reverb.

    For each of twelve lengths (T60) from 0.2 to 4 seconds the share of the hall is found at which the mean of both decays is
    the same; of these the one whose decays differ least (root mean square) is taken. The end of the last hall is cut where
    the recording ends.

    Args:
        sound: as ``dryness_db`` has checked it.
        room: as well.
    """
    part = Sound(sound.samples[:, : round(_HEARD * sound.rate)], sound.rate)
    _, theirs, floor = _both(part, room)
    best: tuple[float, float, float] | None = None
    for seconds in _SECONDS:
        hall = run(Reverb(float(seconds), 1.0), part).samples
        low, high = 0.0, _WETTEST
        for _ in range(7):
            wet = (low + high) / 2
            mine, _ = _decays(Sound((1 - wet) * part.samples + wet * hall, part.rate))
            low, high = (wet, high) if _drier(mine, theirs, floor) > 0 else (low, wet)
        away = float(np.sqrt(np.mean((np.maximum(mine, floor) - np.maximum(theirs, floor)) ** 2)))
        if best is None or away < best[0]:
            best = (away, float(seconds), wet)
    assert best is not None
    reverb = Reverb(best[1], best[2])
    made = run(reverb, sound)
    up = float(
        np.sqrt(
            np.mean(np.square(sound.samples, dtype=np.float64))
            / max(1e-12, float(np.mean(np.square(made.samples, dtype=np.float64))))
        )
    )
    up = min(up, max(1.0, sound.peak) / max(made.peak, 1e-9))
    return Sound(made.samples * np.float32(up), sound.rate), reverb
