"""The space of a run's codes, to look at: a map of it, the way from one piece to another, and versions of one piece."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bottega.codecs._pixels import opaque, rgb, to_pil
from bottega.core import BottegaError, DataError, Item, OutputError, RecipeError, Rng
from bottega.core.files import write_atomically
from bottega.crafts._rows import codes_of, decoded, held_items, need_codes
from bottega.workshop.report import embed, templates
from bottega.workshop.run import Run

__all__ = ["Map", "Way", "Versions", "explore", "flat", "interpolate", "latent_map", "neighbours", "vary", "write_gif"]

THUMB = 40  # pixels of a picture on the map, at most


@dataclass(frozen=True)
class Map:
    """Codes of pieces in the plane.

    Attributes:
        at: ``(N, 2)``; the codes themselves where they are two numbers, else laid out by t-SNE.
        items: the pieces.
        labels: what is known of each; None where nothing is.
        kept: how often the label of a piece is that of most of its ten neighbours on the map; None without labels.
        kept_by_pca: the same of a map of the pixels' principal components.
        how: what the axes are.
    """

    at: Tensor
    items: Sequence[Item]
    labels: list[str | None]
    kept: float | None
    kept_by_pca: float | None
    how: str


@dataclass(frozen=True)
class Way:
    """The way from one piece to another.

    Attributes:
        items: ``steps`` pieces, the first and last being the ends through the code and back.
        roughness: mean step in the pictures over an even step from end to end; 1 is as straight as can be.
        largest: the largest step over the same.
    """

    items: list[Item]
    roughness: float
    largest: float


@dataclass(frozen=True)
class Versions:
    """Versions of one piece.

    Attributes:
        items: the versions.
        apart: mean distance between two versions, root mean square of a pixel in [-1, 1] units.
        from_source: mean distance to the piece.
    """

    items: list[Item]
    apart: float
    from_source: float


def _need_pictures(run: Run) -> None:
    need_codes(run)
    if run.codec.medium != "image" or not run.spec.is_image:
        raise BottegaError(f"{run.recipe.name} models {run.codec.medium}; explore shows runs of pictures")


def _codes(run: Run, items: Sequence[Item]) -> tuple[Tensor, Tensor | None]:
    known = {str(c) for c in getattr(run.codec, "classes", [])}
    batch = run.codec.encode([Item(i.value, i.cond if str(i.cond) in known else None, i.name) for i in items])
    return codes_of(run, batch), batch.cond


def flat(x: Tensor) -> Tensor:
    """Rows ``(N, D)`` in the plane of their two principal components, ``(N, 2)``; two numbers stay as they are."""
    x = x.flatten(1).double()
    if x.shape[1] == 2:
        return x
    x = x - x.mean(0)
    _, _, v = torch.linalg.svd(x, full_matrices=False)
    v = v[:2] * torch.where(v[:2].gather(1, v[:2].abs().argmax(1, keepdim=True)) < 0, -1.0, 1.0)  # one sign, always
    return x @ v.T


def _laid_out(z: Tensor, seed: int) -> Tensor:
    """Rows ``(N, D)`` in the plane so that neighbours stay neighbours (van der Maaten & Hinton 2008), from their PCA."""
    from sklearn.manifold import TSNE

    rows = z.flatten(1).double()
    rows = (rows - rows.mean(0)) / rows.std()
    method = TSNE(2, perplexity=min(30.0, (len(rows) - 1) / 3), init=flat(rows).numpy() * 1e-4, random_state=seed)
    return torch.from_numpy(method.fit_transform(rows.numpy())).double()


def neighbours(at: Tensor, labels: Sequence[str | None], k: int = 10) -> float:
    """How often a row's label is the commonest of its ``k`` nearest others', ``(N, 2)``; rows without one are left out."""
    rows = [i for i, label in enumerate(labels) if label is not None]
    names = sorted({str(labels[i]) for i in rows})
    kind = torch.tensor([names.index(str(labels[i])) for i in rows])
    apart = torch.cdist(at[rows], at[rows]).fill_diagonal_(math.inf)
    near = kind[apart.topk(min(k, len(rows) - 1), largest=False).indices]
    votes = torch.nn.functional.one_hot(near, len(names)).sum(1)
    return (votes.argmax(1) == kind).double().mean().item()


def latent_map(run: Run, items: Sequence[Item], seed: int = 0) -> Map:
    """Where the codes of pieces lie; ``seed`` is of the layout of codes of more than two numbers.

    Raises:
        BottegaError: the model has no codes of real numbers, or it does not model pictures.
        DataError: fewer than three pieces.
    """
    _need_pictures(run)
    if len(items) < 3:
        raise DataError(f"{len(items)} pieces make no map; give at least three")
    z, _ = _codes(run, items)
    at = z.flatten(1).double() if z[0].numel() == 2 else _laid_out(z, seed)
    labels = [None if i.cond is None else str(i.cond) for i in items]
    kept = by_pca = None
    if len({x for x in labels if x is not None}) > 1:
        kept = neighbours(at, labels)
        pixels = run.spec.as_real(run.codec.encode([Item(i.value) for i in items]).x)
        by_pca = neighbours(flat(pixels), labels)
    numbers = z[0].numel()
    how = "the two numbers of the code" if numbers == 2 else f"t-SNE of {numbers} code numbers"
    return Map(at, items, labels, kept, by_pca, how)


def interpolate(run: Run, first: Item, last: Item, steps: int = 9) -> Way:
    """Decode the codes between two pieces, on a straight line in even steps; what is known is the first's.

    Raises:
        BottegaError: the model has no codes of real numbers, or it does not model pictures.
        RecipeError: fewer than two steps.
    """
    _need_pictures(run)
    if steps < 2:
        raise RecipeError(f"steps is {steps}; a way has at least its two ends")
    z, cond = _codes(run, [first, last])
    along = torch.linspace(0, 1, steps).view(-1, *[1] * (z.ndim - 1))
    known = None if cond is None else cond[:1].expand(steps, *cond.shape[1:])
    x = decoded(run, z[:1] * (1 - along) + z[1:] * along, known)
    real = run.spec.as_real(x).flatten(1).double()
    step = (real[1:] - real[:-1]).norm(dim=1)
    even = (real[-1] - real[0]).norm().clamp_min(1e-9) / (steps - 1)
    return Way(run.codec.decode(x), (step.mean() / even).item(), (step.max() / even).item())


def vary(run: Run, source: Item, others: Sequence[Item], n: int = 8, *, spread: float = 0.5, seed: int = 0) -> Versions:
    """``n`` versions of a piece: its code moved by ``spread`` of how far codes of ``others`` lie apart, and decoded.

    Each version belongs to its seed, ``seed``, ``seed + 1``, and so on. What is known of the piece stays.

    Raises:
        BottegaError: the model has no codes of real numbers, or it does not model pictures.
        RecipeError: no versions are asked for, or the spread is negative.
    """
    _need_pictures(run)
    if n < 1 or spread < 0:
        raise RecipeError(f"n is {n} and spread {spread}; at least 1 and 0")
    z, cond = _codes(run, [source])
    scale = _codes(run, others)[0].std(0)
    noise = Rng.for_rows(range(seed, seed + n)).normal(n, *z.shape[1:])
    known = None if cond is None else cond.expand(n, *cond.shape[1:])
    x = decoded(run, z + spread * scale * noise, known)
    real = run.spec.as_real(x).flatten(1).double()
    own = run.spec.as_real(run.codec.encode([Item(source.value)]).x).flatten(1).double()
    apart = torch.pdist(real).mean().item() if n > 1 else 0.0
    side = math.sqrt(real.shape[1])
    return Versions(run.codec.decode(x), apart / side, (real - own).norm(dim=1).mean().item() / side)


# --- files and the page ----------------------------------------------------------------------------------------------


def _pixels(item: Item, side: int) -> Image.Image:
    """A picture enlarged by whole pixels to about ``side``, on white."""
    picture = to_pil(rgb(opaque(item.value, (255, 255, 255)))).convert("RGB")
    times = max(1, round(side / max(picture.size)))
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)


def write_gif(items: Sequence[Item], path: Path, *, side: int = 160, milliseconds: int = 90) -> Path:
    """The pieces one after the other, there and back, for ever; raises OutputError."""
    frames = [_pixels(item, side) for item in [*items, *items[-2:0:-1]]]
    made = io.BytesIO()
    frames[0].save(made, "GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0)
    write_atomically(path, made.getvalue())
    return path


def _grid(rows: Sequence[Sequence[Item]], path: Path, side: int = 64) -> Path:
    tiles = [[np.asarray(_pixels(item, side)) for item in row] for row in rows]
    white = 4
    padded = [[np.pad(t, ((white, 0), (white, 0), (0, 0)), constant_values=255) for t in row] for row in tiles]
    made = io.BytesIO()
    Image.fromarray(np.concatenate([np.concatenate(row, 1) for row in padded])).save(made, "PNG", optimize=True)
    write_atomically(path, made.getvalue())
    return path


def _sprite(items: Sequence[Item]) -> tuple[str, int, int]:
    """All pieces in one picture as a data address; the side of one, and how many stand in a row."""
    small = []
    for item in items:
        picture = to_pil(rgb(opaque(item.value, (255, 255, 255)))).convert("RGB")
        small.append(
            picture.resize((THUMB, THUMB), Image.Resampling.BOX if picture.width > THUMB else Image.Resampling.NEAREST)
        )
    columns = math.ceil(math.sqrt(len(small)))
    whole = Image.new("RGB", (columns * THUMB, math.ceil(len(small) / columns) * THUMB), (255, 255, 255))
    for k, picture in enumerate(small):
        whole.paste(picture, (k % columns * THUMB, k // columns * THUMB))
    made = io.BytesIO()
    whole.save(made, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(made.getvalue()).decode(), THUMB, columns


def explore(
    run: Run,
    out: str | Path | None = None,
    *,
    data: str | Path | None = None,
    n: int = 1000,
    ends: tuple[Item, Item] | None = None,
    source: Item | None = None,
    versions: int = 8,
    spread: float = 0.5,
    steps: int = 9,
    seed: int = 0,
) -> dict[str, Any]:
    """Write ``explore.html`` with the map, ways between pieces and versions of a piece, and their pictures beside it.

    Args:
        run: a run of pictures whose model has codes of real numbers.
        out: the folder; ``explore`` in the run's folder by default.
        data: other pieces than those that the run kept back.
        n: pieces on the map, at most.
        ends: the pieces to go between; five pairs of kept-back pieces by default.
        source: the piece to vary; four kept-back pieces by default.
        versions: of each.
        spread: see ``vary``.
        steps: pieces on each way, ends included.
        seed: of the choice of pieces, and the first of the versions.

    Returns:
        What was measured, and the paths that were written.

    Raises:
        BottegaError: the model has no codes of real numbers, or it does not model pictures.
        DataError: nothing was kept back.
    """
    _need_pictures(run)
    folder = Path(out) if out is not None else run.path / "explore"
    items = held_items(run, data, n, seed)
    if len(items) < 10 and (ends is None or source is None):
        raise DataError(f"{len(items)} pieces were kept back, too few to go between; give more data")
    shown = latent_map(run, items, seed)
    plain = run.codec.decode(run.codec.encode([Item(i.value) for i in items]).x)
    pairs = [ends] if ends is not None else [(items[2 * k], items[2 * k + 1]) for k in range(min(5, len(items) // 2))]
    ways = [interpolate(run, a, b, steps) for a, b in pairs]
    sources = [source] if source is not None else list(items[:4])
    varied = [vary(run, one, items, versions, spread=spread, seed=seed) for one in sources]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}; choose another folder with --out") from error
    files = {
        "interpolation": _grid([way.items for way in ways], folder / "interpolation.png"),
        "animation": write_gif([item for way in ways for item in way.items] if len(ways) == 1 else ways[0].items, folder / "interpolation.gif"),
        "versions": _grid([[_shown(run, one), *some.items] for one, some in zip(sources, varied, strict=True)], folder / "versions.png"),
    }  # fmt: skip
    if source is not None:
        for k, item in enumerate(varied[0].items):
            files[f"version {seed + k}"] = run.codec.write(item, folder / f"version-{seed + k}", run.mark(seed + k))
    told = {
        "pieces": len(items),
        "axes": shown.how,
        "neighbours_of_the_same_label": shown.kept,
        "the_same_by_pca_of_pixels": shown.kept_by_pca,
        "roughness": sum(way.roughness for way in ways) / len(ways),
        "largest_step": max(way.largest for way in ways),
        "versions_apart": sum(v.apart for v in varied) / len(varied),
    }
    page = _page(run, shown, plain, files, told, spread)
    write_atomically(folder / "explore.html", page)
    return {"page": folder / "explore.html", **files, **told}


def _shown(run: Run, item: Item) -> Item:
    """A piece as the model sees it."""
    return run.codec.decode(run.codec.encode([Item(item.value)]).x)[0]


def _page(
    run: Run, shown: Map, plain: Sequence[Item], files: dict[str, Path], told: dict[str, Any], spread: float
) -> str:
    at: NDArray[np.float64] = shown.at.numpy()
    low, high = at.min(0), at.max(0)
    place = (at - low) / np.maximum(high - low, 1e-12)
    names = sorted({x for x in shown.labels if x is not None})
    sprite, side, columns = _sprite(plain)
    points = [
        [round(float(x), 4), round(float(y), 4), names.index(label) if label is not None else -1]
        for (x, y), label in zip(place, shown.labels, strict=True)
    ]
    data = {"points": points, "names": names, "side": side, "columns": columns}
    return templates().get_template("explore.html.j2").render(
        run=run.recipe.name, about=run.recipe.about, data=json.dumps(data).replace("<", "\\u003c"), sprite=sprite, names=names,
        told=told, spread=spread, interpolation=embed(files["interpolation"]), animation=embed(files["animation"]),
        versions=embed(files["versions"]), weights=run.weights_hash,
    )  # fmt: skip
