"""Splits: training, held-out and test parts that share nothing, not even near copies."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bottega.core import DataError, Item, Sound

__all__ = ["Leak", "Split", "few_labels", "leaks", "split"]


@dataclass(frozen=True)
class Split:
    """Three parts of one data set.

    Attributes:
        train, held, test: the pieces, each part in its original order. ``held`` is what judges compare with.
        how: ``"pieces"`` when whole pieces were divided, ``"position"`` when each text was cut in two (or three).
        clusters: groups of pieces that had to stay together, single pieces included.
        copies: pieces that are a copy, or nearly one, of another.
    """

    train: list[Item]
    held: list[Item]
    test: list[Item]
    how: str = "pieces"
    clusters: int = 0
    copies: int = 0


@dataclass(frozen=True)
class Leak:
    """Two pieces that should stand in one part and stand in two."""

    why: str  # "group", "same" or "near"
    here: str  # the piece in training
    there: str  # the piece in the held-out or test part


def split(items: Sequence[Item], held: float = 0.1, test: float = 0.0, seed: int = 0, group: bool = True) -> Split:
    """Divide ``items`` at random, by ``seed``, so that nothing of one part is seen in another.

    Pieces with the same ``Item.group``, copies and near copies stay together: pictures whose 8x8 thumbnails agree but
    for a change of brightness, texts that share most of their five-word phrases (MinHash, Broder 1997), rows that are
    equal. Which part a piece goes to depends on the seed and the pieces, not on their order.

    A table or a text of short lines may repeat by nature: where more than half of such pieces are copies of others,
    they are no leak, and each goes its own way. Few texts (fewer than two for the smallest part) are each cut by
    position, at a blank line where there is one: the beginning trains, the end is held out.

    Args:
        items: pieces of one medium.
        held: share for judging, in [0, 1).
        test: share for the last word, in [0, 1).
        seed: of the choice.
        group: False lets every piece go its own way (draws of a made world, which are independent and may repeat).

    Raises:
        DataError: the shares are impossible, or too few different pieces to fill each part.

    >>> parts = split([Item({"a": i}) for i in range(20)], held=0.2)
    >>> len(parts.train), len(parts.held), leaks(parts)
    (16, 4, [])
    """
    if not (0 <= held < 1 and 0 <= test < 1 and held + test < 1):
        raise DataError(f"cannot keep back {held} and {test} of the data; each must be at least 0, together below 1")
    if not items:
        raise DataError("there are no pieces to split; give at least one")
    if not held and not test:
        return Split(list(items), [], [], clusters=len(items))
    keys = [_digest(item) for item in items]
    clusters, copies = list(range(len(items))), 0
    if group:
        alike = [*_same(keys), *_near(items, keys)]
        copies = len(items) - len(set(_joined(len(items), alike)))
        by_nature = copies > len(items) / 2 and not isinstance(items[0].value, np.ndarray | Sound)
        clusters = _joined(len(items), [*_groups(items), *([] if by_nature else alike)])
    number = len(set(clusters))
    smallest = min(share for share in (held, test) if share)
    if _may_be_cut(items[0]) and number < 2 / smallest:
        return _cut(items, held, test, number, copies)
    parts = (held > 0) + (test > 0) + 1
    if number < parts:
        raise DataError(
            f"{len(items)} pieces are only {number} different one(s), too few to hold any back; give more data, or set "
            "data.group = false to divide copies too, or data.held = 0"
        )
    return _dealt(items, keys, clusters, held, test, seed, number, copies)


def few_labels(items: Sequence[Item], each: int, seed: int = 0) -> list[Item]:
    """The same pieces, of which only ``each`` of every class, chosen by ``seed``, still say it.

    Raises:
        DataError: no piece has a class, or ``each`` is below 1.

    >>> some = few_labels([Item(i, "even" if i % 2 == 0 else "odd") for i in range(20)], 3)
    >>> [i.value for i in some] == list(range(20)), sum(i.cond == "odd" for i in some), sum(i.cond is None for i in some)
    (True, 3, 14)
    """
    if each < 1 or not any(item.cond is not None for item in items):
        raise DataError(
            f"data.labelled is {each}; it must be at least 1, and pieces must have classes (not a column of a table): "
            "leave it out"
        )
    left: dict[Any, int] = defaultdict(lambda: each)
    out = list(items)
    for i in np.random.default_rng(abs(seed)).permutation(len(items)):
        left[items[i].cond] -= 1
        if left[items[i].cond] < 0:
            out[i] = replace(items[i], cond=None)
    return out


def _dealt(
    items: Sequence[Item],
    keys: list[bytes],
    clusters: list[int],
    held: float,
    test: float,
    seed: int,
    number: int,
    copies: int,
) -> Split:
    """Clusters in an order that the seed decides fill test, then held, then training."""
    sizes = np.array([len(i.value) if isinstance(i.value, str) else 1 for i in items])
    members: dict[int, list[int]] = defaultdict(list)
    for i, c in enumerate(clusters):
        members[c].append(i)
    seen: dict[bytes, int] = defaultdict(int)  # equal pieces that may part ways are told apart by their count
    ranks: dict[int, bytes] = {}
    for c, rows in members.items():
        key = min(keys[i] for i in rows)
        seen[key] += 1
        ranks[c] = hashlib.blake2b(key + f"{seed}/{seen[key]}".encode(), digest_size=8).digest()
    order = sorted(members, key=lambda c: ranks[c])
    weight = {c: int(sizes[members[c]].sum()) for c in order}
    total = sum(weight.values())
    part: dict[int, int] = {}
    for which, share in ((2, test), (1, held)):
        room = share * total
        filled = 0
        for c in order if share else ():
            if c in part or len(part) == number - which:  # leave at least one cluster for each part still to fill
                continue
            if filled == 0 or filled + weight[c] <= room:
                # a first cluster far larger than the part would empty the training side: take a smaller one
                if filled == 0 and weight[c] > max(2 * room, min(weight[d] for d in order if d not in part)):
                    continue
                part[c] = which
                filled += weight[c]
            if filled >= room:
                break
    out: tuple[list[Item], list[Item], list[Item]] = ([], [], [])
    for item, c in zip(items, clusters, strict=True):
        out[part.get(c, 0)].append(item)
    return Split(*out, how="pieces", clusters=number, copies=copies)


def _cut(items: Sequence[Item], held: float, test: float, number: int, copies: int) -> Split:
    """Each text in two or three, by position."""
    out: tuple[list[Item], list[Item], list[Item]] = ([], [], [])
    for item in items:
        text = item.value
        first = _blank(text, round(len(text) * (1 - held - test)))
        second = _blank(text, round(len(text) * (1 - test))) if test else len(text)
        for where, piece in zip(out, (text[:first], text[first:second], text[second:]), strict=True):
            if piece.strip():
                where.append(Item(piece, item.cond, item.name, item.group))
    wanted = (True, held > 0, test > 0)
    if any(want and not got for want, got in zip(wanted, out, strict=True)):
        size = sum(len(i.value) for i in items)
        raise DataError(f"{size} characters of text are too few to hold any back; give more, or set data.held = 0")
    return Split(*out, how="position", clusters=number, copies=copies)


def _blank(text: str, place: int) -> int:
    """The end of the blank line, line or word nearest after ``place``, within a twentieth of the text."""
    last = min(len(text), place + max(1, len(text) // 20))
    for pattern in (r"\n[^\S\n]*\n\s*", r"\n", r"\s"):
        if found := re.compile(pattern).search(text, place, last):
            return found.end()
    return place


# ---- what belongs together ---------------------------------------------------------------------------------------------


def leaks(parts: Split) -> list[Leak]:
    """What of the held-out and test parts stands in training too: same group, same piece, or near copy.

    The check is the one that ``split`` uses, run on the parts as they are; ``split`` with ``group=True`` leaves none,
    unless pieces repeat by nature.
    """
    items = [*parts.train, *parts.held, *parts.test]
    keys = [_digest(item) for item in items]
    border = len(parts.train)
    found: dict[tuple[int, int], str] = {}
    kinds: list[tuple[str, Iterable[tuple[int, int]]]] = [
        ("group", _groups(items)),
        ("same", _same(keys)),
        ("near", _near(items, keys)),
    ]
    for why, pairs in kinds:
        cluster = _joined(len(items), pairs)
        first: dict[int, int] = {}
        for i in range(border):
            first.setdefault(cluster[i], i)
        for j in range(border, len(items)):
            if cluster[j] in first:
                found.setdefault((first[cluster[j]], j), why)
    taken = {j for _, j in found}
    names = [item.name or f"#{i}" for i, item in enumerate(items)]
    out = []
    for (i, j), why in sorted(found.items(), key=lambda pair: pair[0][1]):
        if j in taken:  # one line for each leaking piece: the first reason found
            taken.remove(j)
            out.append(Leak(why, names[i], names[j]))
    return out


def _joined(n: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """For each of ``n`` pieces the first piece it is connected to (union-find)."""
    parent = list(range(n))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in pairs:
        a, b = root(i), root(j)
        if a != b:
            parent[max(a, b)] = min(a, b)
    return [root(i) for i in range(n)]


def _groups(items: Sequence[Item]) -> Iterator[tuple[int, int]]:
    first: dict[str, int] = {}
    for i, item in enumerate(items):
        if item.group is not None:
            yield first.setdefault(item.group, i), i


def _may_be_cut(item: Item) -> bool:
    """Whether a piece is a text of its own, and not one half of a pair or a conversation; a class name is short."""
    return type(item.value) is str and (item.cond is None or 4 * len(str(item.cond)) < len(item.value))


def _told(item: Item) -> Any:
    """What tells whether two pieces are copies: the piece, or a text that is known of it and says more (an article)."""
    if not isinstance(item.cond, str) or isinstance(item.value, np.ndarray | Sound):
        return item.value
    return max(item.value, item.cond, key=len) if isinstance(item.value, str) else item.cond


def _digest(item: Item) -> bytes:
    """A short hash of what a piece says; texts without regard to case and spacing."""
    value = _told(item)
    if isinstance(value, np.ndarray):
        data = f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes()
    elif isinstance(value, str):
        data = " ".join(value.lower().split()).encode("utf-8", "surrogatepass")
    elif isinstance(value, Sound):
        data = value.digest()
    else:
        data = json.dumps(value, default=str, sort_keys=True).encode()
    return hashlib.blake2b(data, digest_size=16).digest()


def _same(keys: list[bytes]) -> Iterator[tuple[int, int]]:
    first: dict[bytes, int] = {}
    for i, key in enumerate(keys):
        yield first.setdefault(key, i), i


def _near(items: Sequence[Item], keys: list[bytes]) -> Iterator[tuple[int, int]]:
    """Near copies; which pairs are found does not depend on the order of the pieces."""
    value = _told(items[0])
    if isinstance(value, np.ndarray) and value.ndim == 3:
        return _near_pictures([item.value for item in items])
    if isinstance(value, str):
        return _near_texts([str(_told(item)) for item in items], sorted(range(len(items)), key=lambda i: keys[i]))
    return iter(())


_SIDE = 8  # of a thumbnail
_NOISE, _PART = 1.0, 0.06  # how far thumbnails may differ: grey levels, and as a part of the picture's own contrast


def _near_pictures(pictures: Sequence[NDArray[np.uint8]]) -> Iterator[tuple[int, int]]:
    """Pairs whose thumbnails agree up to brightness.

    Sorted neighbourhoods: pictures are sorted by their difference hash (Krawetz 2013) read from several beginnings, and
    each is compared with those that follow it closely, so the work is n log n.
    """
    thumbs = _thumbnails(pictures)  # (N, 3 * 64)
    mean = thumbs.mean(1)
    flat = thumbs - mean[:, None]
    limit = _NOISE + _PART * flat.std(1)
    grey = thumbs.reshape(-1, 3, _SIDE, _SIDE).mean(1)
    steps = [np.diff(grey, axis=2).reshape(len(grey), -1), np.diff(grey, axis=1).reshape(len(grey), -1)]
    bits = np.packbits(np.concatenate(steps, 1) > 2, axis=1)  # (N, 14)
    whole = np.concatenate([mean[:, None], thumbs], 1).round().astype(np.uint8)  # decides where hashes are equal
    for turn in range(0, bits.shape[1], 2):
        turned = np.concatenate([np.roll(bits, -turn, 1), whole], 1)
        order = np.argsort(np.ascontiguousarray(turned).view(f"V{turned.shape[1]}").ravel(), kind="stable")
        for lag in (1, 2, 3):
            a, b = order[:-lag], order[lag:]
            for some in np.array_split(np.arange(len(a)), len(a) // 20_000 + 1):
                i, j = a[some], b[some]
                apart = np.sqrt(np.square(flat[i] - flat[j]).mean(1))
                like = (apart < np.minimum(limit[i], limit[j])) & (np.abs(mean[i] - mean[j]) < 12)
                yield from zip(i[like].tolist(), j[like].tolist(), strict=True)


def _thumbnails(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Area averages, ``(N, 3 * 8 * 8)`` float32; grey pictures as colour."""
    out = np.empty((len(pictures), 3, _SIDE, _SIDE), np.float32)
    shapes: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, picture in enumerate(pictures):
        shapes[picture.shape].append(i)
    for (height, width, channels), rows in shapes.items():
        down, across = _averages(height), _averages(width)
        at_once = max(1, 20_000_000 // (height * width * channels))
        for first in range(0, len(rows), at_once):
            some = rows[first : first + at_once]
            stack = np.stack([_plain(pictures[i]) for i in some])
            planes = np.moveaxis(stack, -1, 1).astype(np.float32)  # (n, 1 or 3, H, W)
            out[some] = down @ planes @ across.T
    return out.reshape(len(pictures), -1)


def _plain(picture: NDArray[np.uint8]) -> NDArray[Any]:
    """``(H, W, 1 or 3)``; what is transparent lies on mid-grey, where black and white shapes both show."""
    if picture.shape[-1] < 4:
        return picture[..., :1] if picture.shape[-1] < 3 else picture
    alpha = picture[..., 3:].astype(np.float32) / 255
    out: NDArray[Any] = picture[..., :3] * alpha + 128 * (1 - alpha)
    return out


def _averages(side: int) -> NDArray[np.float32]:
    """``(8, side)``: row k averages the k-th eighth of a side, pixels cut in two counted in part."""
    edges = np.arange(_SIDE + 1) * side / _SIDE
    pixel = np.arange(side)
    share = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return (share.clip(min=0) * _SIDE / side).astype(np.float32)


_PHRASE, _HASHES, _BANDS, _LIKE = 5, 64, 16, 0.7


def _near_texts(texts: Sequence[str], order: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Pairs that share at least about 0.7 of their five-word phrases (Jaccard), by MinHash in bands (Broder 1997)."""
    odd = np.random.default_rng(20_26).integers(1, 2**63, (_HASHES, 2), dtype=np.uint64)  # constants, not randomness
    buckets: dict[tuple[int, bytes], int] = {}
    signatures: dict[int, Any] = {}
    for i in order:
        words = re.findall(r"\w+", texts[i].lower())
        if len(words) < 2 * _PHRASE:  # a short line has too few phrases to be nearly another
            continue
        hashed = np.array([zlib.crc32(w.encode("utf-8", "surrogatepass")) for w in words], np.uint64)
        phrases = np.zeros(len(words) - _PHRASE + 1, np.uint64)
        for k in range(_PHRASE):
            phrases = phrases * np.uint64(0x9E3779B97F4A7C15) + hashed[k : k + len(phrases)]
        phrases ^= phrases >> np.uint64(29)
        signature = np.array([((phrases | np.uint64(1)) * (a | np.uint64(1)) + b).min() for a, b in odd])
        signatures[i] = signature
        for band, part in enumerate(signature.reshape(_BANDS, -1)):
            first = buckets.setdefault((band, part.tobytes()), i)
            if first != i and (signatures[first] == signature).mean() >= _LIKE:
                yield first, i
