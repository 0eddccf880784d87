"""Bytes and error of compressed photographs beside JPEG, WebP and PNG, on photographs that no model has seen.

``photos-compressor`` is trained on the built-in photographs once for each ``sigma``; the rate-distortion points are of
photographs of scikit-image that are not among them. ``photos-levels`` keeps every pixel, by bits back.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import bottega
from benchmarks._common import keep, options
from bottega.crafts import compress as craft

STRANGERS = ("astronaut.png", "motorcycle_left.png")  # none of these is in the data set ``photos``


def photographs() -> dict[str, Path]:
    """Photographs of scikit-image that are not trained on."""
    from importlib.util import find_spec

    found = find_spec("skimage")
    if found is None or found.origin is None:
        raise SystemExit("this benchmark needs scikit-image's photographs: pip install 'bottega[image]'")
    folder = Path(found.origin).parent / "data"
    return {name: folder / name for name in STRANGERS if (folder / name).is_file()}


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("compression", __doc__, "", "--sigmas 0.05 --steps 200 --side 128")
    parser.add_argument("--sigmas", type=float, nargs="+", default=[0.02, 0.05, 0.1])
    parser.add_argument("--steps", type=int, help="instead of the recipes'")
    parser.add_argument("--side", type=int, default=384, help="the middle so many pixels of each photograph")
    parser.add_argument("--runs", type=Path, help="keep the runs here; a stopped one goes on")
    args = parser.parse_args(argv)
    result: dict[str, Any] = {"lossy": [], "lossless": []}
    with tempfile.TemporaryDirectory() as folder:
        here = args.runs or Path(folder)
        cut = {}
        for name, path in photographs().items():
            value = np.asarray(Image.open(path).convert("RGB"))
            top, left = (max(0, (n - args.side) // 2) for n in value.shape[:2])
            cut[name] = value[top : top + args.side, left : left + args.side]
        plans = [("lossy", "photos-compressor", {"family.sigma": s}) for s in args.sigmas] + [
            ("lossless", "photos-levels", {})
        ]
        for kind, recipe, changes in plans:
            label = "-".join([recipe, *(str(v) for v in changes.values())])
            run = bottega.train(recipe, out=here / label, steps=args.steps, set=changes, judge=False)
            for name, pixels in cut.items():
                data, bits = craft.pack(run, pixels)
                error, area = craft.psnr(pixels, craft.unpack(run, data)), pixels.shape[0] * pixels.shape[1]
                row = {"photograph": name, **changes, "bytes": len(data), "bits_per_pixel": 8 * len(data) / area}
                row["psnr_db"] = None if math.isinf(error) else error
                row["over_the_model"] = 8 * len(data) / bits - 1
                row["train_minutes"] = round(run.header["seconds"] / 60, 1)
                result[kind].append({**row, "beside_bytes": craft.beside(pixels, error)})
                print(result[kind][-1], flush=True)
    keep("compression", result, args)
