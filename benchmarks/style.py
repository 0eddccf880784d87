"""Style on real pictures: how far the Gram loss falls, how a film flickers and how fast it is painted, how a tile ends."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks._common import keep, options, shared
from bottega.codecs.image import ImageCodec
from bottega.core import Item
from bottega.crafts import art
from bottega.crafts._features import photographs
from bottega.crafts._frames import pixels

SIDE = 128


def _square(photo: art.Pixels) -> art.Pixels:
    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    return art.sized(np.ascontiguousarray(photo[top : top + side, left : left + side]), SIDE)


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("style", __doc__, "", "--steps 100 --learn 200 --pictures /tmp/look")
    parser.add_argument("--steps", type=int, default=150, help="of L-BFGS, for pictures and tiles")
    parser.add_argument("--learn", type=int, default=400, help="of Adam, to learn a style")
    parser.add_argument("--frames", type=int, default=60, help="of the film")
    parser.add_argument("--pictures", type=Path, default=None, help="a folder for the pictures, to look at")
    args = parser.parse_args(argv)
    net = art.features()
    photos = [_square(pixels(photo[None])) for photo in photographs()]
    shown = [Item(photo, "photo") for photo in photos[:2]]

    painted = []
    for content, style in ((0, 1), (1, 0), (2 % len(photos), 0)):
        began = time.perf_counter()
        found = art.stylise(photos[content], photos[style], net, steps=args.steps)
        painted.append(
            {
                "fell": found.fell, "content_distance": found.content_distance, "content_apart": found.content_apart,
                "seconds": time.perf_counter() - began,
            }
        )  # fmt: skip
        shown.append(Item(found.picture, f"fell {found.fell:.2f}"))

    film = np.load(shared() / "video_clips" / "bigbuckbunny_128x72.npz")["frames"]
    frames = list(film[: args.frames])
    began = time.perf_counter()
    painter = art.learn_style(photos[1], net, steps=args.learn)
    learned = time.perf_counter() - began
    alone, held = painter.film(frames, hold=0.0), painter.film(frames)
    times = []
    for _ in range(30):
        began = time.perf_counter()
        painter(photos[0])
        times.append(time.perf_counter() - began)
    began = time.perf_counter()
    painter.film(frames)
    with_motion = len(frames) / (time.perf_counter() - began)
    shown += [Item(frames[-1], "frame"), Item(held[-1], "painted"), Item(painter(photos[0]), "in one pass")]

    tiles = {}
    for name, photo in (("first", photos[0]), ("second", photos[1])):
        tile = art.tile(photo, net, size=96, steps=args.steps)
        tiles[name] = {"seam": art.seam(tile), "seam_of_the_photo": art.seam(photo)}
        shown.append(Item(np.tile(tile, (2, 2, 1)), "tile, 2 by 2"))
    result = {
        "pictures": painted,
        "film": {
            "learned_seconds": learned,
            "frames_per_second_at_128": 1 / statistics.median(times),
            "film_frames_per_second_128x72_with_motion": with_motion,
            "flicker": art.flicker(held, frames),
            "flicker_frame_by_frame": art.flicker(alone, frames),
            "flicker_of_the_original": art.flicker(frames, frames),
        },
        "tiles": tiles,
    }
    if args.pictures is not None:
        ImageCodec().show(shown, args.pictures / "style")
    keep("style", result, args)
