"""``bottega anomalies``: which files are unlike what a run was trained on, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bottega.cli._shared import Device, Json, Out, Quiet, whole_run

__all__ = ["anomalies"]

PANEL, PLACE = "Judge", 21
EXAMPLES = """\
  bottega anomalies runs/scans new/*.png                          at most 1 in 20 ordinary ones is called an anomaly
  bottega anomalies runs/scans new/ --false-alarms 0.01 --json    1 in 100
  bottega anomalies runs/scans new/ --by place                    for small spots
  bottega anomalies runs/table rows.csv --by error
"""


def anomalies(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, or its model.safetensors.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What to look at: files or folders.")],
    false_alarms: Annotated[float, typer.Option("--false-alarms", metavar="SHARE", help="The share of ordinary pieces that may be called anomalies.")] = 0.05,
    by: Annotated[str, typer.Option("--by", metavar="HOW", help="likelihood, error (through the code and back), place (the hottest place of a picture), or auto.")] = "auto",
    data: Annotated[str | None, typer.Option("--data", metavar="PATH|NAME", help="Where ordinary pieces lie; what the run was trained on by default.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where heat maps of pictures go; RUN/anomalies by default.")] = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Find pieces unlike what a run was trained on, at a chosen rate of false alarms.

    The threshold comes from the pieces that the run kept back: of ordinary pieces no more than the chosen share is
    called an anomaly, however good or bad the model is. Pictures that are called so get a heat map of where.
    """
    from bottega.core import Item
    from bottega.crafts import anomalies as craft
    from bottega.workshop.run import load

    say, made = Out(as_json, quiet), load(whole_run(run), device=device)
    items = [item for file in files for item in made.codec.read(file)]
    settings: dict[str, Any] = {"false_alarms": false_alarms, "by": by}
    seen = craft.detector(made, data, **settings)
    found = seen.look(items)
    strange = [i for i, finding in enumerate(found) if finding.anomaly]
    pictures: list[Path] = []
    if strange and made.spec.is_image and hasattr(seen, "usual"):
        folder = out or made.path / "anomalies"
        chosen = [items[i] for i in strange]
        plain = made.codec.decode(made.codec.encode([Item(item.value) for item in chosen]).x)
        for item, shown, heat in zip(chosen, plain, seen.heat(chosen), strict=True):
            name = Path(item.name).stem or f"piece-{len(pictures)}"
            pictures.append(made.codec.write(craft.heat_item(shown, heat), folder / f"{name}-heat"))
    if not as_json:
        rows = [(f.name, f"{f.score:.4g}", f"{f.p:.3g}", "anomaly" if f.anomaly else "") for f in found]
        say.table(("piece", f"score by {seen.by}", "p", ""), rows, numeric=(1, 2))
    say.note(
        f"{len(strange)} of {len(found)} above {seen.threshold:.4g}; of {len(seen.scores)} ordinary ones at most "
        f"{false_alarms:.3g} would be; p-values are off by {seen.calibration():.3f} on average"
    )
    if pictures:
        say.note(f"where: {pictures[0].parent}")
    say.result(
        {"run": made.path, "by": seen.by, "false_alarms": false_alarms, "threshold": seen.threshold,
         "ordinary": len(seen.scores), "calibration_error": seen.calibration(), "findings": [f.__dict__ for f in found],
         "heat_maps": pictures}
    )  # fmt: skip
