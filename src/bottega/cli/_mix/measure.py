"""``bottega mix measure``: loudness, true peak and range of recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet

__all__ = ["measure"]

PANEL, PLACE = "Single sounds", 6
EXAMPLES = """\
  bottega mix measure *.wav
  bottega mix measure cleaned.wav --to clean.wav            SI-SDR: how near it comes to the real one
"""


def measure(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings of at most five channels.")],
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="The real sound, of the same rate and length.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Measure loudness (LUFS, BS.1770-4), true peak (dBTP), loudness range (LU), brightness and noisiness of recordings."""
    import torch

    from bottega.codecs._sound_files import read_sound
    from bottega.core import DataError
    from bottega.crafts.mix_design import describe
    from bottega.judge.enhancement import si_sdr_db
    from bottega.judge.loudness import lufs, range_lu, true_peak_db

    say, real, rows = Out(as_json, quiet), None if to is None else read_sound(to), []
    for path in files:
        sound = read_sound(path)
        row = {"file": str(path), "lufs": lufs(sound.samples, sound.rate), "true_peak_db": true_peak_db(sound.samples),
               "range_lu": range_lu(sound.samples, sound.rate)}  # fmt: skip
        if sound.peak >= 1e-5:
            seen = describe(sound)
            row |= {
                "brightness_hz": seen.brightness_hz,
                "noisiness": seen.noisiness,
                "attack_seconds": seen.attack_seconds,
            }
        if real is not None:
            if (real.rate, real.samples.shape[1]) != (sound.rate, sound.samples.shape[1]):
                raise DataError(
                    f"{path} has {sound.samples.shape[1]} samples at {sound.rate} Hz and {to} {real.samples.shape[1]} at {real.rate} Hz; give the same sound"
                )
            row["si_sdr_db"] = float(si_sdr_db(torch.from_numpy(sound.mono()), torch.from_numpy(real.mono())))
        rows.append(row)
    names = list(max(rows, key=len))
    say.table(names, [[f"{row[n]:.4g}" if isinstance(row.get(n), float) else str(row.get(n, "")) for n in names] for row in rows],
              numeric=tuple(range(1, len(names))))  # fmt: skip
    say.result({"files": rows})
