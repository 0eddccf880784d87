"""The demo: three kinds of real data, three families, trained, judged and shown in a few minutes, offline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bottega.workshop.run import Progress, Run, train

DEMO = ("digits-diffusion", "english", "wine")


@dataclass(frozen=True)
class Shown:
    """What the demo made: the runs in order, their pieces, and the page to open first."""

    runs: list[Run]
    pieces: list[list[Path]]
    page: Path


def demo(
    out: str | Path = "runs",
    *,
    seed: int | None = None,
    device: str = "auto",
    progress: Callable[[str, Progress], None] | None = None,
) -> Shown:
    """Train, judge and sample the three demo recipes under ``out/demo-*``; a second call finds them done.

    Args:
        out: where runs go.
        seed: of all three; the recipes' own by default.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        progress: told the recipe and where it stands.

    Raises:
        BottegaError: ``out`` cannot be written, or holds other runs under these names.
    """
    from bottega.workshop.report import write_index

    out = Path(out)
    runs, pieces = [], []
    for name in DEMO:

        def tell(where: Progress, name: str = name) -> None:
            if progress is not None:
                progress(name, where)

        run = train(name, out=out / f"demo-{name}", seed=seed, device=device, progress=tell)
        made = run.sample(200 if hasattr(run.codec, "write_all") else 16)
        runs.append(run)
        pieces.append(made.save(run.path / "pieces"))
    page = write_index(out / "demo.html", [run.path for run in runs])
    return Shown(runs, pieces, page)
