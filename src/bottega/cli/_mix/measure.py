"""``bottega mix measure``: loudness, true peak and range of recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bottega.cli._mix._sounds import heard
from bottega.cli._shared import Json, Out, Quiet

if TYPE_CHECKING:
    from bottega.core import Sound

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
    """Measure loudness (LUFS, BS.1770-4), true peak (dBTP), loudness range (LU), brightness and noisiness of recordings.

    Of many, those that cannot be measured are named, a line each, after the others are shown; the status is 2 then.
    """
    from bottega.core import BottegaError

    say, real, rows, refused = Out(as_json, quiet), None if to is None else heard(to, 5), [], []
    for path in files:
        try:
            rows.append(_row(path, real, to))
        except BottegaError as error:
            if len(files) == 1:
                raise
            refused.append({"file": str(path), "error": str(error)})
    if rows:
        names = list(max(rows, key=len))
        say.table(names, [[f"{row[n]:.4g}" if isinstance(row.get(n), float) else str(row.get(n, "")) for n in names] for row in rows],
                  numeric=tuple(range(1, len(names))))  # fmt: skip
    for row in refused:
        typer.echo(f"bottega: {row['error']}", err=True)
    say.result({"files": rows, "refused": refused})
    if refused:
        raise typer.Exit(2)


def _row(path: Path, real: Sound | None, to: Path | None) -> dict[str, Any]:
    """What one recording measures."""
    import torch

    from bottega.core import DataError
    from bottega.crafts.mix_design import describe
    from bottega.judge.enhancement import si_sdr_db
    from bottega.judge.loudness import lufs, range_lu, true_peak_db

    sound = heard(path, 5)
    row: dict[str, Any] = {
        "file": str(path), "lufs": lufs(sound.samples, sound.rate), "true_peak_db": true_peak_db(sound.samples),
        "range_lu": range_lu(sound.samples, sound.rate),
    }  # fmt: skip
    if abs(sound.mono()).max() >= 1e-5:  # channels may cancel each other
        seen = describe(sound)
        row |= {"brightness_hz": seen.brightness_hz, "noisiness": seen.noisiness, "attack_seconds": seen.attack_seconds}
    if real is not None:
        if (real.rate, real.samples.shape[1]) != (sound.rate, sound.samples.shape[1]):
            raise DataError(
                f"{path} has {sound.samples.shape[1]} samples at {sound.rate} Hz and {to} {real.samples.shape[1]} at {real.rate} Hz; give the same sound"
            )
        row["si_sdr_db"] = float(si_sdr_db(torch.from_numpy(sound.mono()), torch.from_numpy(real.mono())))
    return row
