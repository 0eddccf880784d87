"""An article about keywords from one's own material: headings, each keyword as dense as asked, nothing that was published before."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bottega.core import DataError, RecipeError
from bottega.crafts.endpoint import Endpoint
from bottega.crafts.write import go_on
from bottega.crafts.write_summary import relevance, split, words
from bottega.crafts.write_table import read_text
from bottega.workshop.run import Run

__all__ = ["Article", "Audit", "article", "audit", "folder_texts", "shingles"]

SUFFIXES = frozenset({".txt", ".md", ".rst"})


@dataclass(frozen=True)
class Audit:
    """What was asked of a draft, and what it has.

    Attributes:
        words: of the draft, headings included.
        density: for each keyword, its words for each hundred words of the draft.
        missing: keywords that do not occur.
        headings: in order; ``missing_headings`` are those that were asked for and are not there.
        nearest: for the texts that share most with it: name, and the share of the draft's runs of five words that stand in it.
        copied: the largest of these shares.
        faults: one line for each thing that is not as asked; empty when all is well.
    """

    words: int
    density: dict[str, float]
    missing: list[str]
    headings: list[str]
    missing_headings: list[str]
    nearest: list[tuple[str, float]]
    copied: float
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Article:
    """A draft.

    Attributes:
        text: Markdown.
        audit: what was asked, measured on it.
        sources: for each sentence taken from material, its file.
    """

    text: str
    audit: Audit
    sources: list[tuple[str, str]]


def folder_texts(folder: str | Path) -> dict[str, str]:
    """The ``.txt``, ``.md`` and ``.rst`` files of a folder (and of its folders) by name, or one file.

    Raises:
        DataError: nothing there, or a file that is not UTF-8.
    """
    folder = Path(folder)
    if not folder.exists():
        raise DataError(f"there is no {folder}; give a folder of .txt or .md files")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES) if folder.is_dir() else [folder]
    found = {str(p.relative_to(folder)) if folder.is_dir() else p.name: read_text(p) for p in files}
    found = {name: text for name, text in found.items() if text.strip()}
    if not found:
        raise DataError(f"{folder} holds no text; put .txt, .md or .rst files into it")
    return found


def shingles(text: str, size: int = 5) -> set[tuple[str, ...]]:
    """Runs of ``size`` words, in lower case (Broder 1997).

    >>> len(shingles("the cat sat on the mat today"))
    3
    """
    all_words = [w.lower() for w in words(text)]
    return {tuple(all_words[i : i + size]) for i in range(len(all_words) - size + 1)}


def audit(
    text: str,
    keywords: Sequence[str],
    *,
    headings: Sequence[str] = (),
    density: tuple[float, float] = (0.5, 3.0),
    against: dict[str, str] | None = None,
    copied: float = 0.2,
) -> Audit:
    """Whether a draft has its keywords, at which density, its headings, and how much of it stands elsewhere.

    Args:
        text: the draft, Markdown.
        keywords: words or phrases; found in any case, with or without a plural s.
        headings: that must be there.
        density: the least and the most, words of a keyword for each hundred words.
        against: texts that were published before, by name.
        copied: at most this share of the draft's runs of five words may stand in one of them.
    """
    total = len(words(text))
    found = {k: _dense(text, k) for k in keywords}
    heads = [h.strip() for h in re.findall(r"^#+\s+(.+)$", text, re.MULTILINE)]
    own = shingles(text)
    shares = [(name, len(own & shingles(other)) / max(len(own), 1)) for name, other in (against or {}).items()]
    shares.sort(key=lambda pair: -pair[1])
    missing = [k for k, d in found.items() if d == 0]
    absent = [h for h in headings if h.lower() not in {x.lower() for x in heads}]
    faults = [f"the keyword {k!r} does not occur" for k in missing]
    for k, d in found.items():
        if d and not density[0] <= d <= density[1]:
            faults.append(f"the keyword {k!r} has a density of {d:.2f} %, outside {density[0]:g}-{density[1]:g} %")
    faults += [f"the heading {h!r} is missing" for h in absent]
    most = shares[0][1] if shares else 0.0
    if most > copied:
        faults.append(f"{100 * most:.0f} % of its runs of five words stand in {shares[0][0]}")
    return Audit(total, found, missing, heads, absent, shares[:3], most, faults)


def _count(text: str, keyword: str) -> int:
    """How often a keyword occurs, as whole words.

    >>> _count("Solar panels, a solar panel and panelling", "solar panel")
    2
    """
    phrase = r"[\s-]+".join(map(re.escape, keyword.split()))
    return len(re.findall(rf"(?<!\w){phrase}(?:s|es)?(?!\w)", text, re.IGNORECASE))


def _dense(text: str, keyword: str) -> float:
    """Words of a keyword for each hundred words of a text."""
    return 100 * _count(text, keyword) * len(words(keyword)) / max(len(words(text)), 1)


_LEADS = (
    "This part is about {k}.",
    "What does the material say about {k}?",
    "A word on {k} first.",
    "Next, {k}.",
    "Now to {k}.",
    "The following is known about {k}.",
    "Who asks about {k} will find this.",
)
_MORE = (
    "So much for {k}.",
    "All of this bears on {k}.",
    "For {k}, that is the point to remember.",
    "None of it can be understood without {k}.",
    "It is one more reason to look closely at {k}.",
    "In short, {k} is more than a detail.",
)
_OPENINGS = (
    "This article puts together what the material says about {all}.",
    "Here is what can be said about {all}.",
    "{All}: what they are, and what follows from them.",
)


def article(
    keywords: Sequence[str],
    *,
    headline: str = "",
    material: dict[str, str] | None = None,
    run: Run | Endpoint | None = None,
    headings: Sequence[str] = (),
    length: int = 400,
    density: tuple[float, float] = (0.5, 3.0),
    against: dict[str, str] | None = None,
    seed: int = 0,
) -> Article:
    """A draft with a part for each keyword (or heading), at most ``length`` words and every keyword within its density.

    What is said comes from ``material``: the sentences that are nearest to a part's keyword and unlike each other (maximal
    marginal relevance, Carbonell and Goldstein 1998), each with its file, or from a language model, whose sentences are
    kept where they are whole and not repeated; the sentences between come from a small grammar. Then sentences are
    exchanged until each keyword is as dense as asked.

    Args:
        keywords: words or phrases that must occur.
        headline: the title; made of the keywords by default.
        material: texts by name.
        run: a language model, where there is no material; a run, or at an endpoint.
        headings: of the parts, in place of one for each keyword.
        length: about so many words.
        density: the least and the most, words of a keyword for each hundred words.
        against: texts that it must not repeat, by name: a sentence that stands in one of them is not taken.
        seed: of the choices.

    Raises:
        RecipeError: no keywords, a density that is none.
        DataError: neither material nor a model, material that never speaks of a keyword, a model that writes no sentence.
    """
    keywords = [k.strip() for k in keywords if k.strip()]
    if not keywords:
        raise RecipeError("there are no keywords; give at least one word that the article must have")
    if not 0 < density[0] < density[1]:
        raise RecipeError(
            f"density is {density[0]:g}-{density[1]:g}; give the least and the most in per cent, 0.5-3 say"
        )
    if not material and run is None:
        raise DataError(
            "an article from keywords alone would have nothing to say; give material (a folder of texts) or a language model's run"
        )
    draw = random.Random(seed)
    parts = list(headings) or [_title(k) for k in keywords]
    about = [keywords[i % len(keywords)] for i in range(len(parts))] if not headings else _shared_out(parts, keywords)
    if material:
        pool = [(s, name) for name, text in material.items() for s in split(text) if 5 <= len(words(s)) <= 45]
        for k in keywords:
            if not any(_count(s, k) for s, _ in pool):
                raise DataError(
                    f"no sentence of the material speaks of {k!r}; leave it out, or give material that does"
                )
    else:
        assert run is not None
        pool = [(s, "") for s in _model_sentences(run, keywords, length, seed)]
        if not pool:
            raise DataError("the model wrote no whole sentence of 5 to 45 words; take another, or give material")
    old = set().union(*(shingles(text) for text in (against or {}).values())) if against else set()
    pool = [(s, name) for s, name in dict(reversed(pool)).items() if not shingles(s) & old]
    if not pool:
        raise DataError("every sentence there is was published before; give other material")
    each = max(1, length // len(parts))
    taken: set[int] = set()
    body: list[list[tuple[str, str]]] = []
    leads = draw.sample(_LEADS, min(len(parts), len(_LEADS)))
    for at, keyword in enumerate(about):
        lead = _say(leads[at % len(leads)], keyword)
        chosen = _pick(pool, f"{parts[at]} {keyword}", each - len(words(lead)), taken)
        body.append([(lead, "")] + [pool[i] for i in chosen])
    listed = f"{', '.join(keywords[:-1])} and {keywords[-1]}" if len(keywords) > 1 else keywords[0]
    opening = _say(draw.choice(_OPENINGS[:2] if len(keywords) == 1 else _OPENINGS), listed, "all")
    title = headline or _title(listed)
    _balance(title, opening, parts, body, about, pool, taken, keywords, density, draw)
    text = _text(title, opening, parts, body)
    sources = [(s, name) for part in body for s, name in part if name]
    return Article(text, audit(text, keywords, headings=headings, density=density, against=against), sources)


def _title(text: str) -> str:
    return text[:1].upper() + text[1:]


def _say(template: str, keyword: str, name: str = "k") -> str:
    return template.format(**{name: keyword, name.capitalize(): _title(keyword)})


def _shared_out(parts: Sequence[str], keywords: Sequence[str]) -> list[str]:
    """A keyword for each heading: one that the heading names, else in turn."""
    out = []
    for at, part in enumerate(parts):
        named = [k for k in keywords if _count(part, k)]
        out.append(named[0] if named else keywords[at % len(keywords)])
    return out


def _pick(pool: Sequence[tuple[str, str]], query: str, room: int, taken: set[int], balance: float = 0.7) -> list[int]:
    """Sentences near the query and unlike those chosen, until the room is used."""
    texts = [s for s, _ in pool]
    near = relevance(texts, query)
    chosen: list[int] = []
    sets = [set(map(str.lower, words(s))) for s in texts]
    while room > 0:
        gain = np.full(len(texts), -math.inf)
        for i, own in enumerate(sets):
            if i in taken or near[i] <= 0 or len(own) > 1.3 * room + 8:
                continue
            like = max((len(own & sets[j]) / len(own | sets[j]) for j in taken), default=0.0)
            if like < 0.6:
                gain[i] = balance * near[i] - (1 - balance) * like
        best = int(gain.argmax())
        if gain[best] == -math.inf:
            break
        chosen.append(best)
        taken.add(best)
        room -= len(words(texts[best]))
    by_source = (
        sorted(chosen, key=lambda i: (pool[i][1], i)) if len({pool[i][1] for i in chosen}) > 1 else sorted(chosen)
    )
    return by_source


def _text(title: str, opening: str, parts: Sequence[str], body: Sequence[Sequence[tuple[str, str]]]) -> str:
    out = [f"# {title}", opening]
    for head, said in zip(parts, body, strict=True):
        out += [f"## {head}", " ".join(s for s, _ in said)]
    return "\n\n".join(out) + "\n"


def _balance(
    title: str,
    opening: str,
    parts: Sequence[str],
    body: list[list[tuple[str, str]]],
    about: Sequence[str],
    pool: Sequence[tuple[str, str]],
    taken: set[int],
    keywords: Sequence[str],
    density: tuple[float, float],
    draw: random.Random,
) -> None:
    """Exchange sentences until every keyword is within its density, or nothing more can be done."""
    spare = {k: draw.sample(_MORE, len(_MORE)) for k in keywords}
    for _ in range(200):
        text = _text(title, opening, parts, body)
        share = {k: _dense(text, k) for k in keywords}
        low = [k for k in keywords if share[k] < density[0]]
        high = [k for k in keywords if share[k] > density[1]]
        if low:
            k = low[0]
            place = about.index(k) if k in about else 0
            fresh = [i for i, (s, _) in enumerate(pool) if i not in taken and _count(s, k)]
            if fresh:
                taken.add(fresh[0])
                body[place].append(pool[fresh[0]])
            elif spare[k]:
                body[place].append((_say(spare[k].pop(), k), ""))
            else:
                return
        elif high:
            k = high[0]
            spot = [
                (p, i) for p, part in enumerate(body) for i, (s, _) in enumerate(part) if _count(s, k) and len(part) > 1
            ]
            if not spot:
                return
            p, i = max(spot, key=lambda at: (bool(body[at[0]][at[1]][1]), at))  # rather a sentence of the material
            rest = [j for j, (s, _) in enumerate(pool) if j not in taken and not any(_count(s, x) for x in high)]
            near = relevance([pool[j][0] for j in rest], " ".join(s for s, _ in body[p])) if rest else np.zeros(0)
            if len(near) and near.max() > 0.05:
                best = rest[int(near.argmax())]
                taken.add(best)
                body[p][i] = pool[best]
            else:  # to leave a sentence out helps where it has more of the keyword than the rest
                dense = [(p, i) for p, i in spot if _dense(body[p][i][0], k) > share[k]]
                if not dense:
                    return
                p, i = max(dense, key=lambda at: (bool(body[at[0]][at[1]][1]), at))
                del body[p][i]
        else:
            return


def _model_sentences(run: Run | Endpoint, keywords: Sequence[str], length: int, seed: int) -> list[str]:
    """Whole sentences that a model writes behind each keyword, none twice."""
    out: dict[str, None] = {}
    for at, keyword in enumerate(keywords):
        start = _title(keyword)
        made = go_on(run, start, n=6, seed=seed + 100 * at, temperature=0.8, top_p=0.95, long="slide")
        for one in made:
            for sentence in split(f"{start}{one.text}"):
                if 5 <= len(words(sentence)) <= 45:
                    out.setdefault(sentence)
        if sum(len(words(s)) for s in out) > 3 * length:
            break
    return list(out)
