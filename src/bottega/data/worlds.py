"""Made worlds whose truth is known: densities, modes, entropies and dependences to hold a model against."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bottega.core import DataError, Item, Rng, nearest
from bottega.data import _effects, _formal, _languages, _sounds, _texts, _tunes, _voices
from bottega.data._draw import LICENCE, SOURCE, at_least_one, uniforms
from bottega.data._faces import Look, Person, draw_face
from bottega.data.dataset import Dataset

__all__ = ["Grammar", "caption_attributes", "draw_shapes", "load", "names", "read_shapes", "world"]


def names() -> list[str]:
    """The worlds, sorted.

    >>> names()
    ['copying', 'counting', 'dependence', 'dialogues', 'effects', 'espeak', 'faces', 'grammar', 'grid', 'hidden', 'languages',
     'moons', 'multitrack', 'names', 'news', 'noises', 'questions', 'reviews', 'ring', 'shapes', 'speech', 'stripes', 'tones',
     'translation', 'tunes']
    """
    return sorted(_WORLDS)


def world(name: str) -> Callable[..., Dataset]:
    """The function that makes a world; its keyword arguments are what a recipe's ``[data]`` may say."""
    if name not in _WORLDS:
        raise DataError(f"no made world called {name!r}{nearest(name, _WORLDS)}")
    return _WORLDS[name]


def load(name: str, **arguments: Any) -> Dataset:
    """A world by name; its ``truth`` says what is known of it.

    >>> ring = load("ring", n=100)
    >>> len(ring.items), ring.truth["modes"].shape
    (100, (8, 2))
    """
    return world(name)(**arguments)


# ---- points --------------------------------------------------------------------------------------------------------


def _points(x: Tensor, known: Sequence[Any] | None = None) -> list[Item]:
    labels = known if known is not None else [None] * len(x)
    rows = zip(x.double().numpy(), labels, strict=True)
    return [Item(row, None if label is None else str(label), f"point {i}") for i, (row, label) in enumerate(rows)]


def _gaussians(modes: Tensor, sigma: float) -> dict[str, Any]:
    """The truth of a mixture of round Gaussians of equal weight, in the units of the data."""
    k, d = modes.shape

    def log_density(x: Tensor) -> Tensor:
        """``(N, d) -> (N,)`` nats."""
        away = torch.cdist(torch.as_tensor(x).double(), modes.double(), compute_mode="donot_use_mm_for_euclid_dist")
        return torch.logsumexp(-((away / sigma) ** 2) / 2, 1) - math.log(k) - d * math.log(sigma * math.sqrt(math.tau))

    def good(x: Tensor) -> tuple[float, int]:
        """Share of points within 4 sigma of a mode, and modes that have at least a tenth of their fair share of such."""
        away, closest = torch.cdist(torch.as_tensor(x).double(), modes.double()).min(1)
        near = away <= 4 * sigma
        counts = torch.bincount(closest[near], minlength=k)
        return near.double().mean().item(), int((counts >= max(1.0, 0.1 * len(x) / k)).sum())

    def is_member(x: Tensor) -> Tensor:
        """Which points lie within 4 sigma of a mode, ``(N,)`` bool."""
        return torch.cdist(torch.as_tensor(x).double(), modes.double()).min(1).values <= 4 * sigma

    # The Gaussians lie so far apart that the entropy of the mixture is that of the choice and of one Gaussian.
    entropy = math.log(k) + d / 2 * math.log(math.tau * math.e * sigma**2)
    return {
        "modes": modes.numpy(), "sigma": sigma, "log_density": log_density, "good": good, "is_member": is_member,
        "entropy_nats": entropy,
    }  # fmt: skip


def _ring(*, modes: int = 8, radius: float = 1.0, sigma: float = 0.05, n: int = 10_000, seed: int = 0,
          labels: bool = False) -> Dataset:  # fmt: skip
    """Gaussians on a circle (the usual test of mode collapse; Metz et al. 2016, arXiv:1611.02163).

    Args:
        modes: how many.
        radius: of the circle.
        sigma: standard deviation of each Gaussian.
        n: points.
        seed: of the draws.
        labels: whether each point says its mode, as a class to condition on.
    """
    if modes < 1 or n < 1 or not sigma > 0:
        raise DataError(f"ring with modes={modes}, n={n}, sigma={sigma}: all must be above 0")
    if modes > 1 and 2 * radius * math.sin(math.pi / modes) < 8 * sigma:
        raise DataError(f"ring with {modes} modes of sigma {sigma} on radius {radius} overlap; take a smaller sigma")
    angle = torch.arange(modes, dtype=torch.float64) * math.tau / modes
    centers = radius * torch.stack([angle.cos(), angle.sin()], 1)
    rng = Rng(seed)
    which = rng.integers(modes, n)
    x = centers[which] + sigma * rng.normal(n, 2)
    about = f"{modes} Gaussians (sigma {sigma:g}) on a circle of radius {radius:g}"
    return Dataset("ring", "points", _points(x, which.tolist() if labels else None), LICENCE, SOURCE, about,
                   _gaussians(centers, sigma))  # fmt: skip


def _grid(*, side: int = 5, spacing: float = 1.0, sigma: float = 0.05, n: int = 10_000, seed: int = 0,
          labels: bool = False) -> Dataset:  # fmt: skip
    """Gaussians on a square grid.

    Args:
        side: Gaussians along each side.
        spacing: distance between neighbours.
        sigma: standard deviation of each Gaussian.
        n: points.
        seed: of the draws.
        labels: whether each point says its mode, as a class to condition on.
    """
    if side < 1 or n < 1 or not sigma > 0 or spacing < 8 * sigma:
        raise DataError(
            f"grid with side={side}, n={n}, sigma={sigma}, spacing={spacing}: spacing must be 8 sigma or more"
        )
    line = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2) * spacing
    centers = torch.cartesian_prod(line, line)
    rng = Rng(seed)
    which = rng.integers(side**2, n)
    x = centers[which] + sigma * rng.normal(n, 2)
    about = f"{side**2} Gaussians (sigma {sigma:g}) on a square grid"
    return Dataset("grid", "points", _points(x, which.tolist() if labels else None), LICENCE, SOURCE, about,
                   _gaussians(centers, sigma))  # fmt: skip


def _moons(*, noise: float = 0.1, n: int = 10_000, seed: int = 0, labels: bool = False) -> Dataset:
    """Two half circles with Gaussian noise, laid out as scikit-learn's ``make_moons``.

    ``p(x) = 1/2 sum_arcs 1/pi int_0^pi N(x; c(t), noise^2) dt``, the integral by Gauss-Legendre quadrature to about 1e-12.

    Args:
        noise: standard deviation around the arcs, at least 0.01.
        n: points.
        seed: of the draws.
        labels: whether each point says its moon, as a class to condition on.
    """
    if noise < 0.01 or n < 1:
        raise DataError(f"moons with noise={noise}, n={n}: noise must be at least 0.01 and n at least 1")
    rng = Rng(seed)
    which = rng.integers(2, n)
    t = rng.uniform(n).double() * math.pi
    x = torch.where((which == 0)[:, None], _arc(t, 0), _arc(t, 1)) + noise * rng.normal(n, 2)

    nodes, weights = np.polynomial.legendre.leggauss(max(64, math.ceil(4 * math.pi / noise)))
    at = torch.from_numpy((nodes + 1) * math.pi / 2)
    arcs = torch.cat([_arc(at, 0), _arc(at, 1)])
    log_weight = torch.from_numpy(np.log(np.tile(weights, 2) / 4)) - math.log(math.tau * noise**2)

    def log_density(x: Tensor) -> Tensor:
        """``(N, 2) -> (N,)`` nats."""
        parts = torch.as_tensor(x).double().split(4096)
        near = (torch.cdist(part, arcs).square() / (2 * noise**2) for part in parts)
        return torch.cat([torch.logsumexp(log_weight - away, 1) for away in near])

    def is_member(x: Tensor) -> Tensor:
        """Which points lie within 4 noise of an arc, ``(N,)`` bool."""
        return torch.cdist(torch.as_tensor(x).double(), arcs).min(1).values <= 4 * noise

    def good(x: Tensor) -> tuple[float, int]:
        """Share of points within 4 noise of an arc, and how many of the two arcs have a tenth of their fair share."""
        away, closest = torch.cdist(torch.as_tensor(x).double(), arcs).min(1)
        near = away <= 4 * noise
        counts = torch.bincount(closest[near] // len(at), minlength=2)
        return near.double().mean().item(), int((counts >= max(1.0, 0.05 * len(x))).sum())

    truth = {"noise": noise, "log_density": log_density, "is_member": is_member, "good": good}
    return Dataset("moons", "points", _points(x, which.tolist() if labels else None), LICENCE, SOURCE,
                   f"two interleaved half circles, noise {noise:g}, with exact density", truth)  # fmt: skip


def _arc(t: Tensor, which: int) -> Tensor:
    """Points at angles ``t`` of the outer (0) or inner (1) half circle, ``(N, 2)``."""
    outer = torch.stack([t.cos(), t.sin()], 1)
    return outer if which == 0 else torch.tensor([1.0, 0.5], dtype=t.dtype) - outer


# ---- a grammar -----------------------------------------------------------------------------------------------------


class Grammar:
    """A probabilistic context-free grammar without recursion, so that all sentences are finite.

    Args:
        rules: nonterminal -> its expansions, each with a weight and symbols; a symbol without rules is a word.
        start: the nonterminal that a sentence is.

    >>> coin = Grammar({"S": [(1, ("heads",)), (1, ("tails",))]}, "S")
    >>> round(coin.entropy_nats, 4), round(coin.log_prob(("heads",)), 4), coin.log_prob(("edge",))
    (0.6931, -0.6931, -inf)
    """

    def __init__(self, rules: Mapping[str, Sequence[tuple[float, tuple[str, ...]]]], start: str) -> None:
        self.start = start
        self.rules = {
            symbol: [(weight / sum(w for w, _ in options), right) for weight, right in options]
            for symbol, options in rules.items()
        }

    def _expect(self, symbol: str, of_rule: Callable[[float], float], of_word: Callable[[str], float]) -> float:
        """``E(A) = sum_r p_r (of_rule(p_r) + sum_B E(B))``, and ``of_word`` of a word."""
        if symbol not in self.rules:
            return of_word(symbol)
        return sum(
            p * (of_rule(p) + sum(self._expect(s, of_rule, of_word) for s in right)) for p, right in self.rules[symbol]
        )

    @property
    def entropy_nats(self) -> float:
        """Of one sentence: the expected cost of its choices (Grenander 1976), exact when no sentence has two derivations."""
        return self._expect(self.start, lambda p: -math.log(p), lambda _: 0.0)

    def mean(self, of_word: Callable[[str], float]) -> float:
        """The expectation of a sum over the words of a sentence."""
        return self._expect(self.start, lambda _: 0.0, of_word)

    def longest(self, symbol: str = "") -> int:
        """The most words that a sentence can have."""
        symbol = symbol or self.start
        if symbol not in self.rules:
            return 1
        return max(sum(map(self.longest, right)) for _, right in self.rules[symbol])

    def sample(self, draw: Iterator[float]) -> tuple[str, ...]:
        """A sentence, its choices made by uniform numbers in [0, 1)."""

        def expand(symbol: str) -> Iterator[str]:
            if symbol not in self.rules:
                yield symbol
                return
            options = self.rules[symbol]
            bounds = list(itertools.accumulate(p for p, _ in options))
            _, right = options[min(bisect.bisect(bounds, next(draw)), len(options) - 1)]
            for s in right:
                yield from expand(s)

        return tuple(expand(self.start))

    def log_prob(self, words: Sequence[str]) -> float:
        """Log probability in nats, summed over all derivations; minus infinity outside the language."""
        words = tuple(words)

        @cache
        def inside(symbol: str, at: int) -> dict[int, float]:
            """Where the symbol can end when it begins at a word, each with its probability."""
            if symbol not in self.rules:
                return {at + 1: 1.0} if at < len(words) and words[at] == symbol else {}
            ends: dict[int, float] = {}
            for p, right in self.rules[symbol]:
                reached = {at: p}
                for s in right:
                    onward: dict[int, float] = {}
                    for middle, q in reached.items():
                        for end, r in inside(s, middle).items():
                            onward[end] = onward.get(end, 0.0) + q * r
                    reached = onward
                for end, q in reached.items():
                    ends[end] = ends.get(end, 0.0) + q
            return ends

        p = inside(self.start, 0).get(len(words), 0.0)
        return math.log(p) if p > 0 else -math.inf


def _english(depth: int) -> Grammar:
    """A little English: relative clauses nest to ``depth``; every choice shows in the next word, so none is ambiguous."""

    def by_rank(*words: str) -> list[tuple[float, tuple[str, ...]]]:
        return [(1 / (rank + 1), (word,)) for rank, word in enumerate(words)]

    rules: dict[str, list[tuple[float, tuple[str, ...]]]] = {
        "Det": by_rank("the", "a", "every"),
        "Noun": by_rank("painter", "apprentice", "sculptor", "patron", "singer", "cat"),
        "Adj": by_rank("old", "young", "patient", "proud"),
        "Does": by_rank("sleeps", "works", "laughs", "waits"),
        "Verb": by_rank("praises", "paints", "teaches", "follows", "hears"),
    }
    for d in range(depth + 1):
        rules[f"NP{d}"] = [(0.6, ("Det", "Noun")), (0.25, ("Det", "Adj", "Noun"))]
        rules[f"VP{d}"] = [(0.4, ("Does",))]
        if d:
            rules[f"NP{d}"].append((0.15, ("Det", "Noun", "that", f"VP{d - 1}")))
            rules[f"VP{d}"].append((0.6, ("Verb", f"NP{d - 1}")))
    rules["S"] = [(1.0, (f"NP{depth}", f"VP{depth}", "."))]
    return Grammar(rules, "S")


def _grammar(*, n: int = 10_000, depth: int = 2, seed: int = 0) -> Dataset:
    """Sentences of a probabilistic grammar of exactly known entropy; each ends with a full stop, so none begins another.

    Args:
        n: sentences.
        depth: how deep relative clauses nest.
        seed: of the draws.
    """
    if n < 1 or not 0 <= depth <= 6:
        raise DataError(f"grammar with n={n}, depth={depth}: n must be at least 1, depth 0 to 6")
    grammar = _english(depth)
    draw = uniforms(Rng(seed))
    items = [Item(_sentence(grammar.sample(draw)), name=f"sentence {i}") for i in range(n)]

    def log_prob(sentence: str) -> float:
        """Nats of one sentence as it is written; minus infinity outside the language."""
        words = _words(sentence)
        return grammar.log_prob(words) if _sentence(words) == sentence else -math.inf

    characters = grammar.mean(lambda word: len(word) + 1) - 2  # no space before the stop, none after it
    truth = {
        "entropy_nats": grammar.entropy_nats,  # of a sentence
        "mean_characters": characters,
        "mean_words": grammar.mean(lambda word: float(word != ".")),
        "entropy_nats_per_character": grammar.entropy_nats / characters,
        "most_words": grammar.longest() - 1,
        "log_prob": log_prob,
        "is_member": lambda sentence: log_prob(sentence) > -math.inf,
    }
    about = f"sentences of a probabilistic grammar, {grammar.entropy_nats:.4f} nats each"
    return Dataset("grammar", "text", items, LICENCE, SOURCE, about, truth)


def _sentence(words: Sequence[str]) -> str:
    return " ".join(words).replace(" .", ".")


def _words(sentence: str) -> tuple[str, ...]:
    return (*sentence.removesuffix(".").split(" "), ".") if sentence.endswith(".") else tuple(sentence.split(" "))


# ---- captioned shapes ----------------------------------------------------------------------------------------------

SIDE = 32
BACKGROUND = (245, 245, 245)
SHAPES = ("circle", "square", "triangle", "cross")
COLOURS = {
    "red": (214, 39, 40), "green": (44, 160, 44), "blue": (31, 98, 201), "orange": (255, 140, 14),
    "purple": (140, 70, 190), "black": (35, 35, 35),
}  # fmt: skip
PLACES = {
    f"{v} {h}".strip() or "centre": (x, y)
    for v, y in (("top", 9.0), ("", 16.0), ("bottom", 23.0))
    for h, x in (("left", 9.0), ("", 16.0), ("right", 23.0))
}
SIZES = {"small": 3.0, "large": 4.6}  # radius of the circle of equal area, in pixels
_LONGEST_ERROR = 0.08


def draw_shapes(shape: Sequence[int], x: np.ndarray, y: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """How much of each pixel a shape covers, ``(N, 32, 32)`` in [0, 1], from its distance to the edge.

    All shapes of one ``radius`` have the area of the circle of that radius.

    Args:
        shape: index into ``SHAPES``, ``(N,)``.
        x: of the centroid, in pixels from the left.
        y: of the centroid, in pixels from the top.
        radius: in pixels.
    """
    at = np.arange(SIDE) + 0.5
    shape, x, y, radius = np.asarray(shape), np.asarray(x, float), np.asarray(y, float), np.asarray(radius, float)
    cover = np.empty((len(shape), SIDE, SIDE))
    for kind in range(len(SHAPES)):  # each shape on its own rows only
        rows = np.flatnonzero(shape == kind)
        u, v = at[None, None, :] - x[rows, None, None], at[None, :, None] - y[rows, None, None]
        cover[rows] = np.clip(0.5 - _distance(kind, u, v, radius[rows, None, None]), 0, 1)
    return cover


def _distance(kind: int, u: np.ndarray, v: np.ndarray, r: np.ndarray) -> np.ndarray:
    """From the edge of ``SHAPES[kind]``, negative inside; ``u`` to the right of its centroid, ``v`` below it."""
    across, down = np.abs(u), np.abs(v)
    if kind == 0:
        return np.sqrt(u**2 + v**2) - r
    if kind == 1:
        return np.maximum(across, down) - r * math.sqrt(math.pi) / 2
    if kind == 2:
        inner = r * math.sqrt(math.pi / math.sqrt(27))  # of the triangle's inscribed circle
        return np.maximum(v, across * math.sqrt(0.75) - v / 2) - inner
    arm = r * math.sqrt(math.pi / 5)
    return np.minimum(np.maximum(across - 1.5 * arm, down - arm / 2), np.maximum(across - arm / 2, down - 1.5 * arm))


def _caption(attributes: Mapping[str, str]) -> str:
    return "a {size} {colour} {shape} at the {position}".format(**attributes)


def caption_attributes(caption: str) -> dict[str, str]:
    """What a caption of the ``shapes`` world says; raises DataError when it is none.

    >>> caption_attributes("a small red circle at the top left")
    {'size': 'small', 'colour': 'red', 'shape': 'circle', 'position': 'top left'}
    """
    words = caption.split(" ", 6)
    if len(words) == 7:
        _, size, colour, shape, _, _, position = words
        found = {"size": size, "colour": colour, "shape": shape, "position": position}
        if (
            size in SIZES
            and colour in COLOURS
            and shape in SHAPES
            and position in PLACES
            and _caption(found) == caption
        ):
            return found
    raise DataError(f"{caption!r} is no caption of shapes; write like {_caption(_EXAMPLE)!r}")


_EXAMPLE = {"size": "small", "colour": "red", "shape": "circle", "position": "top left"}


def _match(image: np.ndarray) -> tuple[dict[str, str], float]:
    """The attributes of the likeliest drawing, and how badly it fits: squared error over the shape's area."""
    back = np.array(BACKGROUND, float)
    away = np.asarray(image, float).reshape(SIDE, SIDE, 3) - back
    strength = np.sqrt((away**2).sum(2))
    if strength.max() < 60:
        return {}, math.inf
    mean = away[strength > 0.7 * strength.max()].mean(0)
    palette = np.array(list(COLOURS.values()), float) - back
    colour = int(((palette - mean) ** 2).sum(1).argmin())
    cover = away @ palette[colour] / (palette[colour] ** 2).sum()
    padded = np.pad(strength > 0.5 * strength.max(), 2)
    near = np.lib.stride_tricks.sliding_window_view(padded, (5, 5)).any((2, 3))  # within two pixels of the shape
    drawn_there = np.where(near, cover, 0)  # elsewhere there is only noise, whose sum would move the moments
    area = max(drawn_there.sum(), 1.0)
    at = np.arange(SIDE) + 0.5
    x, y = (drawn_there.sum(0) @ at) / area, (drawn_there.sum(1) @ at) / area
    radius = math.sqrt(area / math.pi)
    count = len(SHAPES)
    drawn = draw_shapes(range(count), np.full(count, x), np.full(count, y), np.full(count, radius))
    pixels = drawn[..., None] * palette[colour]
    errors = ((pixels - away) ** 2).sum((1, 2, 3)) / (area * (palette[colour] ** 2).sum())
    place = min(PLACES, key=lambda name: (PLACES[name][0] - x) ** 2 + (PLACES[name][1] - y) ** 2)
    found = {
        "size": min(SIZES, key=lambda name: abs(SIZES[name] - radius)),
        "colour": list(COLOURS)[colour],
        "shape": SHAPES[int(errors.argmin())],
        "position": place,
    }
    return found, float(errors.min())


def read_shapes(image: np.ndarray) -> dict[str, str]:
    """Size, colour, shape and position of a picture ``(32, 32, 3)`` uint8 of the ``shapes`` world; empty when it is blank."""
    return _match(image)[0]


def _shapes(*, n: int = 4000, seed: int = 0) -> Dataset:
    """One shape on a light ground with a caption: 4 shapes x 6 colours x 9 positions x 2 sizes, 432 captions.

    Positions vary by up to a pixel either way and sizes by 6 %, so pictures of one caption differ.

    Args:
        n: pictures, 32 x 32 in colour.
        seed: of the draws.
    """
    at_least_one("shapes", n=n)
    rng = Rng(seed)
    shape, colour = rng.integers(len(SHAPES), n).numpy(), rng.integers(len(COLOURS), n).numpy()
    place, size = rng.integers(len(PLACES), n).numpy(), rng.integers(len(SIZES), n).numpy()
    shift = 2 * rng.uniform(n, 3).double().numpy() - 1
    centers = np.array(list(PLACES.values()))[place] + shift[:, :2]
    radius = np.array(list(SIZES.values()))[size] * (1 + 0.06 * shift[:, 2])
    cover = draw_shapes(shape, centers[:, 0], centers[:, 1], radius)[..., None]
    ink = np.array(list(COLOURS.values()), float)[colour][:, None, None, :]
    pixels = (cover * ink + (1 - cover) * np.array(BACKGROUND, float)).round().astype(np.uint8)
    items = []
    for i in range(n):
        known = {
            "size": list(SIZES)[size[i]], "colour": list(COLOURS)[colour[i]], "shape": SHAPES[shape[i]],
            "position": list(PLACES)[place[i]],
        }  # fmt: skip
        items.append(Item(pixels[i], _caption(known), f"shape {i}"))

    def is_member(image: np.ndarray) -> bool:
        """Whether a picture shows one shape of this world and nothing else."""
        return _match(image)[1] <= _LONGEST_ERROR

    def good(images: Sequence[np.ndarray], captions: Sequence[str]) -> dict[str, float]:
        """The share of pictures whose size, colour, shape, position (and ``all`` of them) are what the caption asks for."""
        found = [(read_shapes(image), caption_attributes(c)) for image, c in zip(images, captions, strict=True)]
        shares = {key: sum(a.get(key) == b[key] for a, b in found) / len(found) for key in _EXAMPLE}
        return {**shares, "all": sum(a == b for a, b in found) / len(found)}

    truth = {"read": read_shapes, "attributes": caption_attributes, "is_member": is_member, "good": good}
    return Dataset(
        "shapes", "image", items, LICENCE, SOURCE, "captioned shapes: shape x colour x position x size", truth
    )


def _stripes(*, n: int = 1500, seed: int = 0) -> Dataset:
    """Soft grey blobs, 16 x 16, of which half carry horizontal stripes two pixels wide: two domains without pairs.

    Args:
        n: pictures.
        seed: of the draws.
    """
    at_least_one("stripes", n=n)
    rng = Rng(seed)
    soft = F.interpolate(0.35 * rng.normal(n, 1, 3, 3), (16, 16), mode="bicubic").clamp(-0.5, 0.5)
    label = rng.integers(2, n)
    bands = 0.4 * torch.where(torch.arange(16) // 2 % 2 == 0, 1.0, -1.0)[:, None].expand(16, 16)
    x = soft + bands * label.view(-1, 1, 1, 1)
    pixels = ((x + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    names = ("plain", "striped")
    items = [Item(v, names[k], f"stripes {i}") for i, (v, k) in enumerate(zip(pixels, label.tolist(), strict=True))]

    def striped(images: Sequence[np.ndarray]) -> np.ndarray:
        """How much of the stripes is in each picture ``(16, 16, 1)`` uint8: 1 where they are, 0 where they are not."""
        grey = torch.from_numpy(np.stack(images)).double()[..., 0] / 127.5 - 1
        return ((grey * bands).sum((1, 2)) / bands.square().sum()).numpy()

    about = "soft blobs with and without horizontal stripes, unpaired"
    return Dataset("stripes", "image", items, LICENCE, SOURCE, about, {"striped": striped})


# ---- faces ---------------------------------------------------------------------------------------------------------


def _faces(*, n: int = 2000, people: int = 0, side: int = 32, seed: int = 0) -> Dataset:
    """Drawn faces of so many people, each seen in other poses, lights and moods; the label is the person.

    Args:
        n: pictures, in colour.
        people: among whom they are shared out evenly; 0 means one for twenty pictures.
        side: of a picture, pixels; at most 128.
        seed: of people and looks.
    """
    people = people or max(1, n // 20)
    if not 1 <= people <= n or not 8 <= side <= 128:
        raise DataError(
            f"faces with people={people}, n={n}, side={side}: at least one person, a picture of each, and 8 to 128 pixels"
        )
    rng = Rng(seed)
    persons = [Person(*row) for row in rng.uniform(people, len(fields(Person))).double().tolist()]
    looks = [Look(*row) for row in (2 * rng.uniform(n, len(fields(Look))).double() - 1).tolist()]
    drawn = [draw_face(persons[i % people], look, side) for i, look in enumerate(looks)]
    items = [Item(pixels, f"person {i % people}", f"face {i}") for i, (pixels, _) in enumerate(drawn)]
    truth = {"people": persons, "looks": looks, "landmarks": np.stack([points for _, points in drawn])}
    return Dataset("faces", "image", items, LICENCE, SOURCE, "drawn faces of so many people, with landmarks", truth)


# ---- a table with known dependence ---------------------------------------------------------------------------------

SEASONS = {"winter": 0.3, "spring": 0.2, "summer": 0.3, "autumn": 0.2}
WEATHERS = ("sun", "cloud", "rain")
WEATHER_GIVEN = np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3], [0.75, 0.2, 0.05], [0.15, 0.35, 0.5]])
UMBRELLA_GIVEN = np.array([0.02, 0.25, 0.9])
WARMTH = np.array([2.0, 12.0, 24.0, 11.0])  # mean temperature of a season
SPREAD, RHO, GAP = 3.0, 0.8, 0.05


def _dependence(*, n: int = 5000, seed: int = 0) -> Dataset:
    """Rows of a Bayesian network: season -> weather -> umbrella, season -> temperature, length - width, and a lone coin.

    ``truth["mutual_information"]`` has every pair of columns, in nats: sums for categories, ``-log(1 - rho^2) / 2`` for
    length and width, one-dimensional quadrature for temperature; 0 for the pairs that are independent.

    Args:
        n: rows.
        seed: of the draws.
    """
    at_least_one("dependence", n=n)
    rng = Rng(seed)
    prior = np.array(list(SEASONS.values()))
    season = _draw(rng, np.tile(prior, (n, 1)))
    weather = _draw(rng, WEATHER_GIVEN[season])
    umbrella = rng.uniform(n).double().numpy() < UMBRELLA_GIVEN[weather]
    coin = rng.integers(2, n).numpy()
    noise = rng.normal(n, 3).double().numpy()
    temperature = (WARMTH[season] + SPREAD * noise[:, 0]).round(1)
    length = (50 + 10 * noise[:, 1]).round(2)
    width = (20 + 4 * (RHO * noise[:, 1] + math.sqrt(1 - RHO**2) * noise[:, 2])).round(2)
    gone = rng.uniform(n).double().numpy() < GAP
    items = [
        Item(
            {
                "season": list(SEASONS)[season[i]], "weather": WEATHERS[weather[i]], "umbrella": bool(umbrella[i]),
                "temperature": float(temperature[i]), "length": float(length[i]),
                "width": None if gone[i] else float(width[i]), "coin": ("heads", "tails")[coin[i]],
            },
            name=f"row {i}",
        )
        for i in range(n)
    ]  # fmt: skip
    truth = {
        "mutual_information": _information(), "missing": {"width": GAP}, "log_density": _row_log_density,
    }  # fmt: skip
    about = "a Bayesian network of categories and numbers whose mutual information is known"
    return Dataset("dependence", "table", items, LICENCE, SOURCE, about, truth, target="umbrella")


def _draw(rng: Rng, p: np.ndarray) -> np.ndarray:
    """One index for each row of probabilities."""
    u = rng.uniform(len(p)).double().numpy()[:, None]
    return np.minimum((u >= p.cumsum(1)).sum(1), p.shape[1] - 1)


def _information() -> dict[str, float]:
    """Mutual information of each pair of columns, nats; the key is ``"a|b"`` with a and b in the table's order."""
    prior = np.array(list(SEASONS.values()))
    umbrella = np.stack([1 - UMBRELLA_GIVEN, UMBRELLA_GIVEN], 1)  # (weather, no or yes)
    given = {"season": np.eye(4), "weather": WEATHER_GIVEN, "umbrella": WEATHER_GIVEN @ umbrella}

    def plain(joint: np.ndarray) -> float:
        independent = np.outer(joint.sum(1), joint.sum(0))
        seen = joint > 0
        return float((joint[seen] * np.log(joint[seen] / independent[seen])).sum())

    t = np.linspace(WARMTH.min() - 8 * SPREAD, WARMTH.max() + 8 * SPREAD, 4001)
    density = np.exp(-(((t - WARMTH[:, None]) / SPREAD) ** 2) / 2) / (SPREAD * math.sqrt(math.tau))  # (season, t)

    def warm(of_season: np.ndarray) -> float:
        weighed = of_season * prior[:, None]  # (season, value)
        joint = weighed.T @ density  # (value, t)
        marginal = weighed.sum(0)[:, None] * (prior @ density)
        terms = np.where(joint > 0, joint * np.log(np.maximum(joint, 1e-300) / np.maximum(marginal, 1e-300)), 0)
        return float(np.trapezoid(terms.sum(0), t))

    weather_umbrella = (prior @ WEATHER_GIVEN)[:, None] * umbrella
    known = {
        "season|weather": plain(prior[:, None] * WEATHER_GIVEN),
        "season|umbrella": plain(prior[:, None] * given["umbrella"]),
        "weather|umbrella": plain(weather_umbrella),
        **{f"{name}|temperature": warm(table) for name, table in given.items()},
        "length|width": -0.5 * math.log(1 - RHO**2),
    }
    columns = ("season", "weather", "umbrella", "temperature", "length", "width", "coin")
    pairs = [f"{a}|{b}" for i, a in enumerate(columns) for b in columns[i + 1 :]]
    return {pair: known.get(pair, 0.0) for pair in pairs}


def _row_log_density(row: Mapping[str, Any]) -> float:
    """Log probability of a row's names times the density of its numbers, nats; minus infinity outside the world."""
    try:
        season, weather = list(SEASONS).index(row["season"]), WEATHERS.index(row["weather"])
    except ValueError:
        return -math.inf
    if row["coin"] not in {"heads", "tails"} or row["temperature"] is None or row["length"] is None:
        return -math.inf
    p = UMBRELLA_GIVEN[weather]
    total = math.log(SEASONS[row["season"]] * WEATHER_GIVEN[season, weather] * (p if row["umbrella"] else 1 - p) * 0.5)
    z = (row["length"] - 50) / 10
    total += _normal((row["temperature"] - WARMTH[season]) / SPREAD, SPREAD) + _normal(z, 10)
    if row["width"] is None:
        return total + math.log(GAP)
    spread = math.sqrt(1 - RHO**2)
    return total + math.log(1 - GAP) + _normal(((row["width"] - 20) / 4 - RHO * z) / spread, 4 * spread)


def _normal(z: float, scale: float) -> float:
    return -z * z / 2 - math.log(scale * math.sqrt(math.tau))


_WORLDS: dict[str, Callable[..., Dataset]] = {
    "ring": _ring,
    "grid": _grid,
    "moons": _moons,
    "grammar": _grammar,
    "shapes": _shapes,
    "stripes": _stripes,
    "dependence": _dependence,
    "faces": _faces,
    "counting": _formal.counting,
    "copying": _formal.copying,
    "hidden": _formal.hidden,
    "news": _texts.news,
    "reviews": _texts.reviews,
    "names": _texts.names,
    "questions": _texts.questions,
    "dialogues": _texts.dialogues,
    "translation": _languages.translation,
    "languages": _languages.languages,
    "tunes": _tunes.tunes,
    "tones": _sounds.tones,
    "noises": _sounds.noises,
    "effects": _effects.effects,
    "speech": _sounds.speech,
    "multitrack": _sounds.multitrack,
    "espeak": _voices.espeak,
}
