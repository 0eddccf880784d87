"""How many sentences are called unsupported by a closed corpus: as they stand, and changed as a machine can change them."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._common import keep, options, shared
from bottega.core import Item
from bottega.trust.claims import Corpus, rate, sentences

NUMBER = re.compile(r"(?<![\w.,])\d+(?:,\d{3})*(?![\w,]|\.\d)")
NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+(?: [A-Z][a-z]+)*")  # inside a sentence, so that its capital says something
VERB = re.compile(r"\b(is|are|was|were|can|could|has|had|will|would|did|does)\b(?! not)")
DENIED = re.compile(r"\b(?:not|no|never|neither|nor|none|nobody|nothing|without|cannot)\b|n['’]t\b", re.I)


def articles(path: Path) -> list[Item]:
    """The articles of a file of questions in SQuAD's form, each with its title."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = json.load(file)["data"]
    return [Item("\n".join(p["context"] for p in row["paragraphs"]), name=row["title"]) for row in rows]


def moved(text: str, draw: random.Random, names: Sequence[str]) -> str | None:
    """The part before the first comma put last, or the part behind the last put first."""
    parts = text.rstrip(".!?").split(", ")
    if len(parts) < 2:
        return None
    first, rest = parts[0], ", ".join(parts[1:])
    return f"{rest}, {first}."


def shortened(text: str, draw: random.Random, names: Sequence[str]) -> str | None:
    """15 % of its words left out, at least one."""
    words = text.split()
    gone = set(draw.sample(range(len(words)), max(1, round(0.15 * len(words)))))
    return " ".join(w for i, w in enumerate(words) if i not in gone)


def renumbered(text: str, draw: random.Random, names: Sequence[str]) -> str | None:
    """One digit of one number changed."""
    found = list(NUMBER.finditer(text))
    if not found:
        return None
    chosen = draw.choice(found)
    at = draw.choice([i for i in range(*chosen.span()) if text[i].isdigit()])
    lowest = 1 if at == chosen.start() else 0
    digit = draw.choice([d for d in "0123456789"[lowest:] if d != text[at]])
    return text[:at] + digit + text[at + 1 :]


def renamed(text: str, draw: random.Random, names: Sequence[str]) -> str | None:
    """One name replaced by another of the corpus."""
    found = list(NAME.finditer(text))
    if not found:
        return None
    chosen = draw.choice(found)
    other = draw.choice([n for n in names if not set(n.split()) & set(text.split())])
    return text[: chosen.start()] + other + text[chosen.end() :]


def denied(text: str, draw: random.Random, names: Sequence[str]) -> str | None:
    """Its first verb denied; None of a sentence that denies already."""
    found = VERB.search(text)
    return None if found is None or DENIED.search(text) else f"{text[: found.end()]} not{text[found.end() :]}"


def exchanged(text: str, draw: random.Random, names: Sequence[str]) -> str | None:
    """Two of its names in each other's places."""
    found = list(NAME.finditer(text))
    pairs = [(a, b) for a in found for b in found if a.start() < b.start() and not {*a[0].split()} & {*b[0].split()}]
    if not pairs:
        return None
    a, b = draw.choice(pairs)
    return text[: a.start()] + b[0] + text[a.end() : b.start()] + a[0] + text[b.end() :]


WAYS: dict[str, Callable[[str, random.Random, Sequence[str]], str | None]] = {
    "as it stands": lambda text, draw, names: text,
    "clauses moved": moved,
    "15 % of its words left out": shortened,
    "a number changed": renumbered,
    "a name replaced by another of the corpus": renamed,
    "denied": denied,
    "two names exchanged": exchanged,
}
SUPPORTED = ("as it stands", "clauses moved", "15 % of its words left out")  # what the corpus still says


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("claims", __doc__, "", "--seed 1", "-n 50")
    parser.add_argument("-n", type=int, default=300, help="so many sentences")
    parser.add_argument("--seed", type=int, default=0, help="which")
    parser.add_argument("--data", type=Path, help="a .json.gz in SQuAD's form; by default xquad's English")
    args = parser.parse_args(argv)
    items = articles(args.data or shared() / "xquad" / "xquad.en.json.gz")
    corpus, draw = Corpus(items), random.Random(args.seed)
    every = [(i, s) for i, item in enumerate(items) for s in sentences(str(item.value)) if 6 <= len(s.split()) <= 60]
    chosen = draw.sample(every, min(args.n, len(every)))
    names = sorted({f[0] for item in items for f in NAME.finditer(str(item.value))})
    out: dict[str, Any] = {"articles": len(items), "sentences": len(every)}
    for way, change in WAYS.items():
        texts = [made for _, text in chosen if (made := change(text, draw, names)) is not None]
        found = [corpus.check(text) for text in texts]
        out[way] = _told(found, way)
        missed = [c for c in found if c.supported == (way not in SUPPORTED)]
        out[way]["missed"] = [{"sentence": c.claim, "passage": c.passage, "why": c.why} for c in missed[:3]]
    without = {i: Corpus([item for k, item in enumerate(items) if k != i]) for i in {i for i, _ in chosen}}
    out["its article taken out of the corpus"] = _told([without[i].check(text) for i, text in chosen], "article out")
    keep("claims" if args.seed == 0 else f"claims_{args.seed}", out, args)


def _told(found: Sequence[Any], way: str) -> dict[str, Any]:
    measure = rate(found, way)
    return {"n": len(found), "unsupported": measure.value, "low": measure.low, "high": measure.high}
