"""Real data that already lies inside the installed packages: digits, tables, photographs, English, code, chorales."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bottega.core import DataError, Item, lookup, nearest
from bottega.core.score import Part, Score
from bottega.data._kept import kept_scores
from bottega.data.dataset import Dataset

__all__ = ["load", "names"]

PATCH, PHOTO = 32, 640  # pixels: the side of a patch, the longest side of a photograph
CODE_BYTES = 3_000_000  # of the standard library's source


def names() -> list[str]:
    """The data sets that need no download, sorted.

    >>> names()
    ['bach', 'breast_cancer', 'code', 'diabetes', 'digits', 'english', 'iris', 'photos', 'wine']
    """
    return sorted(_MAKERS)


@lru_cache(maxsize=4)
def load(name: str) -> Dataset:
    """A data set by name; raises DataError with the nearest name when there is none.

    >>> digits = load("digits")
    >>> len(digits.items), digits.items[0].value.shape, digits.items[0].cond
    (1797, (8, 8, 1), '0')
    """
    if name not in _MAKERS:
        raise DataError(f"no built-in data called {name!r}{nearest(name, _MAKERS)}")
    return _MAKERS[name]()


def _digits() -> Dataset:
    """Grey levels 0 .. 16 become ``v * 255 // 16``; ``(u * 16 + 127) // 255`` is the way back, exactly."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = (found.images.astype(np.int64) * 255 // 16).astype(np.uint8)[..., None]
    items = [Item(x, str(y), f"digits#{i}") for i, (x, y) in enumerate(zip(pixels, found.target, strict=True))]
    return Dataset(
        "digits", "image", items, "CC-BY-4.0",
        "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (1998), UCI, doi:10.24432/C50P49; the test "
        "part, in scikit-learn",
        "1,797 handwritten digits, 8x8 pixels of 17 grey levels, by 13 people",
    )  # fmt: skip


def _table(name: str, target: str, licence: str, source: str, about: str, **options: Any) -> Dataset:
    import sklearn.datasets

    found = getattr(sklearn.datasets, f"load_{name}")(**options)
    classes = getattr(found, "target_names", None)
    columns = [str(c).replace(" (cm)", "_cm").replace(" ", "_").replace("/", "_per_") for c in found.feature_names]
    items = []
    for i, (x, y) in enumerate(zip(found.data.tolist(), found.target.tolist(), strict=True)):
        row: dict[str, Any] = dict(zip(columns, x, strict=True))
        row[target] = y if classes is None else str(classes[int(y)])
        items.append(Item(row, None, f"{name}#{i}"))
    for column, first in items[0].value.items():  # whole-numbered columns as whole numbers
        if isinstance(first, float) and all(item.value[column].is_integer() for item in items):
            for item in items:
                item.value[column] = int(item.value[column])
    return Dataset(name, "table", items, licence, source, about, target=target)


def _iris() -> Dataset:
    return _table(
        "iris", "species", "CC-BY-4.0",
        "R. A. Fisher, The use of multiple measurements in taxonomic problems (1936); UCI, doi:10.24432/C56C76; in scikit-learn",
        "150 irises of three species, four measurements each",
    )  # fmt: skip


def _wine() -> Dataset:
    return _table(
        "wine", "cultivar", "CC-BY-4.0",
        "S. Aeberhard and M. Forina, Wine (1992); UCI, doi:10.24432/C5PC7J; in scikit-learn",
        "178 wines of three cultivars, 13 chemical measurements each",
    )  # fmt: skip


def _breast_cancer() -> Dataset:
    return _table(
        "breast_cancer", "diagnosis", "CC-BY-4.0",
        "W. Wolberg and others, Breast Cancer Wisconsin (Diagnostic) (1995); UCI, doi:10.24432/C5DW2B; in scikit-learn",
        "569 tumours, malignant or benign, 30 measurements of cell nuclei each",
    )  # fmt: skip


def _diabetes() -> Dataset:
    return _table(
        "diabetes", "progression", "not stated by its owner",
        "B. Efron, T. Hastie, I. Johnstone, R. Tibshirani, Least Angle Regression (2004); in scikit-learn",
        "442 diabetes patients, ten measurements and the progression of the disease a year later",
        scaled=False,
    )  # fmt: skip


_PHOTOS = {  # scikit-image's own notes on each; no picture of a recognisable person
    "chelsea.png": ("cat", "CC0-1.0, Stefan van der Walt"),
    "coffee.png": ("coffee", "CC0-1.0, Rachel Michetti"),
    "hubble_deep_field.jpg": ("galaxies", "public domain, NASA"),
    "rocket.jpg": ("rocket", "public domain, SpaceX"),
}


def _photos() -> Dataset:
    """Patches side by side, none overlapping another."""
    from sklearn.datasets import load_sample_images

    found = load_sample_images()
    photos = [
        ("temple" if "china" in str(f) else "flower", x) for f, x in zip(found.filenames, found.images, strict=True)
    ]
    said = ["china.jpg (CC-BY-2.0, danielbuechele) and flower.jpg (CC-BY-2.0, vultilion) in scikit-learn"]
    for file, (name, licence) in _PHOTOS.items():
        path = _skimage_folder() / file
        if path.is_file():
            photos.append((name, _read_photo(path)))
            said.append(f"{file} ({licence}) in scikit-image")
    items = []
    for name, photo in photos:
        for top in range(0, photo.shape[0] - PATCH + 1, PATCH):
            for left in range(0, photo.shape[1] - PATCH + 1, PATCH):
                patch = np.ascontiguousarray(photo[top : top + PATCH, left : left + PATCH])
                items.append(Item(patch, name, f"{name}@{left},{top}"))
    return Dataset(
        "photos", "image", items, "CC-BY-2.0 AND CC0-1.0 AND public domain" if len(said) > 1 else "CC-BY-2.0", "; ".join(said),
        f"{len(items):,} patches of {PATCH}x{PATCH} pixels from {len(photos)} photographs, named after the photograph",
    )  # fmt: skip


def _skimage_folder() -> Path:
    """Where scikit-image keeps its samples; a place that does not exist when it is not installed."""
    from importlib.util import find_spec

    found = find_spec("skimage")
    return Path(found.origin).parent / "data" if found and found.origin else Path("scikit-image is not installed")


def _read_photo(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB")
        small.thumbnail((PHOTO, PHOTO), Image.Resampling.LANCZOS)
        return np.asarray(small)


def _english() -> Dataset:
    """Topics whose text stands for the most part in a longer one are left out: held-out pages must be new ones."""
    from pydoc_data.topics import topics

    seen: set[str] = set()
    items = []
    for name, text in sorted(topics.items(), key=lambda topic: (-len(topic[1]), topic[0])):
        paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
        if 2 * sum(len(p) for p in paragraphs if p not in seen) < sum(map(len, paragraphs)):
            continue
        seen.update(paragraphs)
        items.append(Item(text.strip() + "\n", None, name))
    items.sort(key=lambda item: item.name)
    return Dataset(
        "english", "text", items, "PSF-2.0", "The Python Language Reference, as pydoc_data.topics of this CPython",
        f"{len(items)} chapters on how Python works, {sum(len(i.value) for i in items):,} characters of technical English",
    )  # fmt: skip


def _code() -> Dataset:
    """Modules in alphabetical order until ``CODE_BYTES`` are full: tests, generated tables and tools left out."""
    root = Path(sysconfig.get_path("stdlib"))
    left_out = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "encodings", "pydoc_data"}
    found = []
    for folder, inside, files in os.walk(root):
        inside[:] = [name for name in inside if name not in left_out]  # other packages are not even looked through
        found += [Path(folder, name) for name in files if name.endswith(".py")]
    items, total = [], 0
    for path in sorted(found, key=lambda p: p.relative_to(root).as_posix()):
        name = path.relative_to(root)
        if name.name.startswith(("test_", "_sysconfigdata", "__phello__")):
            continue
        data = path.read_bytes()
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:  # a module may declare another encoding
            continue
        if not text.strip():
            continue
        total += len(data)
        if total > CODE_BYTES:
            break
        items.append(Item(text, None, name.as_posix()))
    return Dataset(
        "code", "text", items, "PSF-2.0", "The source of this CPython's standard library",
        f"{len(items)} modules of the standard library, {sum(len(i.value) for i in items):,} characters of Python",
    )  # fmt: skip


def _bach() -> Dataset:
    """Chorales in four voices: pieces with instruments of their own, or two notes at once in a voice, are left out.

    Settings of one tune are one group, so that a tune is never both learned and held out: the intervals between the
    first eight different notes of the soprano.
    """
    from importlib.util import find_spec

    found = find_spec("music21")
    if found is None or not found.origin:
        raise DataError("the data set bach lies in music21, which is not installed; pip install 'bottega[music]'")
    paths = sorted((Path(found.origin).parent / "corpus" / "bach").glob("bwv*.mxl"))
    made_by = sys.modules[lookup("codecs", "music").__module__].__file__
    code = [Path(__file__), *sorted(Path(str(made_by)).parent.glob("*music*.py"))]
    items = kept_scores("bach", [*paths, *code], lambda: _chorales(paths))
    return Dataset(
        "bach", "music", items, "music in the public domain; the encoding's owner states no licence",
        "J. S. Bach, chorales encoded by M. Greentree (jsbchorales.net), in the corpus of music21",
        f"{len(items)} chorales by J. S. Bach in four voices, {sum(len(i.value) for i in items):,} notes",
    )  # fmt: skip


def _chorales(paths: Sequence[Path]) -> list[Item]:
    codec = lookup("codecs", "music")(tokens="voices")
    items = []
    for path in paths:
        try:
            (item,) = codec.read(path)
        except DataError:  # one or two files of the corpus hold no notes that we read
            continue
        score: Score = item.value
        if [p.name.lower()[:1] for p in score.parts] != ["s", "a", "t", "b"]:
            continue
        lines = score.voices()
        if lines is None or len(lines) != 4:
            continue
        parts = tuple(Part(name, 52) for name in ("Soprano", "Alto", "Tenor", "Bass"))
        tempos = ((0, 750_000),)  # the files say none; 80 quarters a minute
        score = Score.of(
            score.notes, ticks=score.ticks, parts=parts, tempos=tempos, metres=score.metres, keys=score.keys,
            length=score.length, genre="chorale",
        )  # fmt: skip
        tune = [n.pitch for n in lines[0]]
        tune = [p for i, p in enumerate(tune) if i == 0 or tune[i - 1] != p][:9]
        items.append(Item(score, name=path.stem, group=str(tuple(np.diff(tune).tolist()))))
    return items


_MAKERS: dict[str, Callable[[], Dataset]] = {
    "bach": _bach,
    "digits": _digits,
    "iris": _iris,
    "wine": _wine,
    "breast_cancer": _breast_cancer,
    "diabetes": _diabetes,
    "photos": _photos,
    "english": _english,
    "code": _code,
}
