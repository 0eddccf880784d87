"""Drawn faces: people who differ in bone, hair and colour, seen in other poses, lights and moods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = ["LANDMARKS", "Look", "Person", "draw_face"]

LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
_SKINS = ((255, 224, 196), (234, 190, 150), (198, 140, 98), (141, 92, 60), (92, 58, 40))
_HAIRS = ((35, 26, 22), (90, 56, 34), (160, 110, 60), (222, 190, 120), (170, 70, 40), (150, 150, 150))
_EYES = ((70, 45, 30), (60, 100, 150), (70, 120, 70), (110, 110, 115))
_SIDE = 128  # drawn at this size, then made small


@dataclass(frozen=True)
class Person:
    """Who it is; every number lies in [0, 1], the first three are choices."""

    skin: float
    hair: float
    eyes: float
    width: float
    height: float
    apart: float
    eye_size: float
    brow: float
    nose: float
    mouth: float
    lips: float
    hairline: float
    long: float
    beard: float

    def colour(self, part: str) -> tuple[int, int, int]:
        """Of ``"skin"``, ``"hair"`` or ``"eyes"``."""
        table = {"skin": _SKINS, "hair": _HAIRS, "eyes": _EYES}[part]
        return table[min(len(table) - 1, int(getattr(self, part) * len(table)))]


@dataclass(frozen=True)
class Look:
    """How the person is seen; every number lies in [-1, 1].

    Attributes:
        across: a shift to the right, up to 5 % of the side.
        down: a shift down, likewise.
        roll: of the head, up to 12 degrees.
        near: size, 8 % either way.
        light: from the left (-1) to the right (1); the dark side loses 35 %.
        smile: of the mouth.
        open: of the eyes.
        ground: brightness of the background.
    """

    across: float
    down: float
    roll: float
    near: float
    light: float
    smile: float
    open: float
    ground: float


def draw_face(who: Person, look: Look, side: int = 32) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The picture ``(side, side, 3)`` and where its `LANDMARKS` are, ``(5, 2)`` as x, y in pixels of it."""
    half, size = _SIDE / 2, 1 + 0.08 * look.near
    ground = int(150 + 70 * look.ground)
    canvas = Image.new("RGB", (_SIDE, _SIDE), (ground, ground, ground))
    draw = ImageDraw.Draw(canvas)
    skin, hair = who.colour("skin"), who.colour("hair")
    dark = tuple(int(0.6 * c) for c in skin)

    def oval(x: float, y: float, rx: float, ry: float, fill: tuple[int, ...]) -> None:
        """An ellipse about ``(x, y)``, counted from the middle of the face."""
        draw.ellipse((half + x - rx, half + y - ry, half + x + rx, half + y + ry), fill=fill)

    wide, tall = size * (30 + 10 * who.width), size * (40 + 10 * who.height)
    if who.long > 0.5:  # hair behind the face
        oval(0, 0.1 * tall, 1.25 * wide, (0.9 + 0.5 * who.long) * tall, hair)
    oval(-wide, 0, 5 * size, 8 * size, skin)
    oval(wide, 0, 5 * size, 8 * size, skin)
    line = (0.15 + 0.5 * who.hairline) * tall
    oval(0, -0.12 * tall, 1.06 * wide, tall, hair)
    oval(0, 0, wide, tall, skin)
    draw.pieslice((half - wide, half - tall, half + wide, half + tall), 180 + 25, 360 - 25, fill=hair)
    oval(0, 0.5 * line - 0.05 * tall, 0.9 * wide, tall - line, skin)
    if who.beard > 0.6:
        draw.chord((half - 0.8 * wide, half - 0.2 * tall, half + 0.8 * wide, half + tall), 20, 160, fill=hair)
    gap, eye = size * (11 + 6 * who.apart), size * (4 + 3 * who.eye_size)
    lid = eye * (0.55 + 0.35 * look.open)
    for x in (-gap, gap):
        oval(x, -0.12 * tall, 1.5 * eye, lid, (250, 250, 250))
        oval(x, -0.12 * tall, 0.75 * eye, min(0.75 * eye, lid), who.colour("eyes"))
        thick, top = size * (1 + 3 * who.brow), -0.12 * tall - 1.9 * eye
        draw.line((half + x - 1.6 * eye, half + top, half + x + 1.6 * eye, half + top), fill=hair, width=int(1 + thick))
    tip = (0.1 + 0.15 * who.nose) * tall
    draw.line((half, half - 0.05 * tall, half, half + tip), fill=dark, width=int(2 + 2 * size))
    oval(0, tip, size * (3 + 3 * who.nose), 2.5 * size, dark)
    lip, low = size * (9 + 8 * who.mouth), 0.5 * tall
    bow = 9 * size * look.smile  # how far the corners stand above the middle
    xs = np.linspace(-1, 1, 21)
    curve = [(half + lip * x, half + low - bow * (x * x - 0.5)) for x in xs]
    draw.line(curve, fill=(170, 60, 60), width=int(2 + 5 * who.lips), joint="curve")
    angle, move = 12 * look.roll, 0.05 * _SIDE * np.array([look.across, look.down])
    canvas = canvas.rotate(
        angle, Image.Resampling.BICUBIC, translate=(int(move[0]), int(move[1])), fillcolor=(ground,) * 3
    )
    points = np.array(
        [(-gap, -0.12 * tall), (gap, -0.12 * tall), (0, tip), (-lip, low - bow / 2), (lip, low - bow / 2)]
    )
    turn = np.deg2rad(-angle)  # PIL turns against the clock, with y down
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = points @ rotation.T + half + move.astype(int)
    shade = 1 - 0.175 * (1 + np.sign(look.light) * np.linspace(-1, 1, _SIDE)) * abs(look.light)
    lit = np.asarray(canvas, np.float64) * shade[None, ::-1, None]
    small = Image.fromarray(lit.round().astype(np.uint8)).resize((side, side), Image.Resampling.BOX)
    return np.asarray(small), points * side / _SIDE
