"""The crisis detector: learnt from composed sentences and ordinary texts, judged on sentences that were written before.

`crisis_unseen.toml` was committed before the detector was changed and is judged by totals only. What was tuned, was tuned by
leaving whole templates of `crisis_phrases.toml` out, and on the older sets of `benchmarks/chatbot.py`. Ordinary texts are split by
their hash: half are learnt from, a quarter sets the threshold, and false alarms are counted on the last quarter.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import re
import tomllib
import zlib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from benchmarks._common import keep, options, shared
from bottega.core.measure import wilson
from bottega.crafts import _crisis, chat_safety
from bottega.crafts._chat_shop import FILES

HERE = Path(__file__).parent
PHRASES, UNSEEN = HERE / "crisis_phrases.toml", HERE / "crisis_unseen.toml"
DRAWN = {"en": 70, "de": 45, "fr": 45, "es": 45, "it": 35, "nl": 35, "pt": 35}  # of each template
_LANGUAGES = frozenset({"english", "german", "french", "spanish", "italian", "dutch", "portuguese"})
ASKED = (
    0.0005,
    0.001,
    0.002,
    0.004,
    0.006,
    0.008,
)  # false alarms of the scorer alone, among requests of the third quarter


# ---- sentences ---------------------------------------------------------------------------------------------------------


def drawn(template: str, rng: random.Random) -> str:
    """One sentence of a template."""
    while found := re.search(r"\(([^()]*)\)", template):
        template = template[: found.start()] + rng.choice(found[1].split("|")) + template[found.end() :]
    return " ".join(template.split())


def slips(text: str, rng: random.Random) -> str:
    """The text with a slip of the keyboard in some words, and short spellings."""
    words = []
    for word in text.split(" "):
        if len(word) > 3 and word.isalpha() and rng.random() < 0.12:
            i = rng.randrange(1, len(word) - 1)
            word = rng.choice([word[:i] + word[i + 1 :], word[:i] + word[i] + word[i:], word[: i - 1] + word[i] + word[i - 1] + word[i + 1 :]])  # fmt: skip
        words.append(word)
    return " ".join(words)


_SHORT = (("i am", "im"), ("i have", "ive"), ("do not", "dont"), ("cannot", "cant"), ("going to", "gonna"), ("i would", "id"), ("i will", "ill"), ("is not", "isnt"), ("would not", "wouldnt"))  # fmt: skip
_BEFORE = ("", "", "", "", "hi ", "please ", "honestly ", "ok so ", "sorry but ", "tbh ", "um ", "well ", "and ", "hallo ", "bonjour ", "hola ")  # fmt: skip


_SAME = (
    ("die", ("pass away", "perish", "be no more")), ("kill myself", ("take my life", "end myself", "end my own life")), ("forever", ("for good", "for ever")),
    ("life", ("existence",)), ("alive", ("breathing", "around")), ("dead", ("gone", "in the ground", "deceased")), ("want to", ("would love to", "really want to", "just want to")),
    ("pills", ("meds", "tabs", "capsules")), ("reason", ("good reason", "cause")), ("tonight", ("this evening", "later")), ("my friend", ("a mate of mine", "somebody i know")),
    ("cannot", ("am not able to", "just cannot")), ("family", ("parents", "folks")), ("hurt", ("injure", "damage")), ("pain", ("ache", "suffering")), ("jump", ("leap", "throw myself down")),
)  # fmt: skip


def varied(text: str, rng: random.Random) -> str:
    """The same in other words, or with a word left out."""
    for word, others in _SAME:
        if rng.random() < 0.15 and f" {word} " in f" {text} ":
            text = f" {text} ".replace(f" {word} ", f" {rng.choice(others)} ", 1).strip()
    words = text.split(" ")
    if len(words) > 6 and rng.random() < 0.2:
        words.pop(rng.randrange(len(words)))
    return " ".join(words)


def composed(templates: dict[str, list[str]], seed: int, languages: Iterable[str] = DRAWN) -> list[tuple[str, str]]:
    """Sentences with the template that each is of."""
    rng = random.Random(seed)
    out: list[tuple[str, str]] = []
    for language in languages:
        for template in templates[language]:
            for text in dict.fromkeys(drawn(template, rng) for _ in range(DRAWN[language])):
                if language == "en" and rng.random() < 0.3:
                    for whole, short in _SHORT:
                        text = text.replace(whole, short)
                if language == "en" and rng.random() < 0.4:
                    text = varied(text, rng)
                text = rng.choice(_BEFORE) + text
                out.append((slips(text, rng) if rng.random() < 0.25 else text, template))
    return out


def _csv(path: Path) -> list[dict[str, str]]:
    with gzip.open(path) as file:
        return list(csv.DictReader(io.TextIOWrapper(file, encoding="utf-8")))


def ordinary() -> dict[str, list[str]]:
    """Texts in which nobody is in danger, but for some of goemotions."""
    with gzip.open(shared() / "clinc150" / "data.json.gz") as file:
        clinc = [text for part in json.load(file).values() for text, _ in part]
    with gzip.open(shared() / "restaurant8k" / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        tables = [json.loads(line) for line in lines]
    with gzip.open(shared() / "chatterbot" / "conversations.jsonl.gz", "rt", encoding="utf-8") as lines:
        talks = [row for row in map(json.loads, lines) if row["lang"] in _LANGUAGES]
    texts = {
        "clinc150": clinc,
        "banking77": [row["text"] for row in _csv(shared() / "banking77" / "train.csv.gz")],
        "restaurant8k": [str(row.get("text") or row.get("userInput", {}).get("text", "")) for row in tables],
        "goemotions": [row["text"] for row in _csv(shared() / "goemotions" / "train.csv.gz")],
        "chatterbot": [turn for row in talks for turn in row["turns"]],
    }
    return {name: list(dict.fromkeys(t for t in some if t.strip())) for name, some in texts.items()}


def shop() -> list[str]:
    """What customers of the example bot say."""
    return [text for one in tomllib.loads(FILES["bot.toml"])["intent"] for text in one["examples"]]


def quarter(text: str) -> int:
    """0 and 1 are learnt from, 2 sets the threshold, 3 is judged on."""
    return zlib.crc32(text.encode()) >> 3 & 3


# ---- learning ----------------------------------------------------------------------------------------------------------


@cache
def looked_at(text: str) -> tuple[tuple[Any, Any], ...]:
    """The features of all that the detector would look at in a text."""
    parts = _crisis.parts(chat_safety.without_idioms(text))
    return tuple((np.array(a, np.int32), np.array(b, np.int32)) for a, b in map(_crisis.hashed, parts))


def matrix(texts: Iterable[str]) -> tuple[Any, list[int]]:
    """Features of all sentences of some texts, scaled as ``_crisis.score`` scales them, and how many each text has."""
    rows = [looked_at(text) for text in texts]
    flat = [found for some in rows for pair in some for found in pair]
    sizes = np.array([len(found) for found in flat])
    places = np.concatenate(flat)
    values = np.repeat(1 / np.sqrt(sizes), sizes).astype(np.float32)
    at = np.concatenate([[0], np.cumsum(sizes.reshape(-1, 2).sum(1))])
    made = sp.csr_matrix((values, places, at), shape=(len(at) - 1, 2 * _crisis.PLACES))
    made.sum_duplicates()  # two features of one place
    return made, [len(some) for some in rows]


def learn(bad: Sequence[str], calm: Sequence[str], fine: Sequence[str], c: float, heavy: float) -> tuple[Any, float]:
    """Weights and bias. Where a composed sentence begins with other talk, its last part is the one in danger, and no other is told."""
    x, counts = matrix([*bad, *calm, *fine])
    labels = np.repeat([1] * len(bad) + [0] * (len(calm) + len(fine)), counts)
    weight = np.repeat([1.0] * len(bad) + [heavy] * len(calm) + [1.0] * len(fine), counts)
    ends = np.cumsum(counts)
    used = np.ones(len(labels), bool)
    for end, n in zip(ends[: len(bad)], counts, strict=False):
        used[end - n : end - 1] = False
    made = LogisticRegression(C=c, solver="liblinear", max_iter=200, tol=1e-3).fit(x[used], labels[used], weight[used])
    return made.coef_[0], float(made.intercept_[0])


def scores(texts: Sequence[str], weights: Any, bias: float) -> Any:
    """As ``_crisis.score``, of many texts at once."""
    x, counts = matrix(texts)
    ends = np.cumsum(counts)
    flat = x @ weights + bias
    return np.array([flat[end - n : end].max() if n else -np.inf for end, n in zip(ends, counts, strict=True)])


def corpus(seed: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]], dict[str, list[str]]]:
    """Composed sentences, in danger and calm, and ordinary texts."""
    with PHRASES.open("rb") as file:
        phrases = tomllib.load(file)
    texts = ordinary()
    for name in ("goemotions", "chatterbot"):  # in some of which somebody is in danger
        texts[name] = [text for text in texts[name] if not chat_safety.heard(text)]
    return composed(phrases["crisis"], seed), composed(phrases["calm"], seed + 1), texts


def _share(hits: Sequence[bool]) -> dict[str, Any]:
    low, high = wilson(sum(hits) / len(hits), len(hits))
    return {"value": sum(hits) / len(hits), "low": low, "high": high, "n": len(hits)}


def _learnt(bad: Any, calm: Any, texts: dict[str, list[str]], c: float, heavy: float) -> tuple[Any, float, list[float]]:
    """Weights, bias, and the thresholds at which requests of the third quarter are mistaken as rarely as ``ASKED`` says."""
    fine = [text for some in texts.values() for text in some if quarter(text) < 2] + shop()
    weights, bias = learn([t for t, _ in bad], [t for t, _ in calm], fine, c, heavy)
    requests = [text for name in ("clinc150", "banking77") for text in texts[name] if quarter(text) == 2]
    said = scores(requests, weights, bias)
    return weights, bias, [float(np.quantile(said, 1 - share)) for share in ASKED]


def develop(seed: int, c: float, heavy: float, folds: int) -> dict[str, Any]:
    """What choices would do on templates that were left out and on the older sets; nothing of crisis_unseen is looked at."""
    bad, calm, texts = corpus(seed)
    order = {template: k % 5 for k, template in enumerate(dict.fromkeys(t for _, t in bad + calm))}
    found: dict[str, list[list[bool]]] = {"scorer": [], "with_patterns": [], "calm": []}
    for fold in range(folds):
        inside = [[row for row in rows if order[row[1]] != fold] for rows in (bad, calm)]
        outside = [[text for text, template in rows if order[template] == fold][::3] for rows in (bad, calm)]
        weights, bias, limits = _learnt(*inside, texts, c, heavy)
        for rows, name in zip(outside, ("scorer", "calm"), strict=True):
            found[name] += (scores(rows, weights, bias)[:, None] >= limits).tolist()
        known = [chat_safety.heard(text) for text in outside[0]]
        found["with_patterns"] += [[x or yes for x in row] for row, yes in zip(found["scorer"][-len(known) :], known, strict=True)]  # fmt: skip
    return {
        "false_alarms_allowed": ASKED, "sentences": [len(bad), len(calm)],
        **{name: [_share([row[k] for row in rows]) for k in range(len(ASKED))] for name, rows in found.items()},
    }  # fmt: skip


def write(seed: int, c: float, heavy: float, allowed: float) -> Path:
    """Learn from everything but the quarters that are judged on, and put the weights into the package."""
    weights, bias, limits = _learnt(*corpus(seed), c, heavy)
    print(dict(zip(ASKED, limits, strict=True)), bias)
    scale = float(np.abs(weights).max()) / 127
    out = Path(_crisis.__file__).with_name(_crisis.WEIGHTS)
    limit = limits[ASKED.index(allowed)]
    np.savez_compressed(out, weights=np.rint(weights / scale).astype(np.int8), scale=scale, bias=bias - limit)
    return out


# ---- judging -----------------------------------------------------------------------------------------------------------


def judge() -> dict[str, Any]:
    """Totals of the sentences that were kept apart, and false alarms among ordinary texts that nothing was learnt from."""
    with UNSEEN.open("rb") as file:
        unseen = tomllib.load(file)
    heard = {name: {code: [chat_safety.crisis(t) for t in some] for code, some in part.items()} for name, part in unseen.items()}  # fmt: skip
    told: dict[str, Any] = {
        name: {"all": _share([x for some in part.values() for x in some]), **{code: _share(some) for code, some in part.items()}}
        for name, part in heard.items()
    }  # fmt: skip
    told["false_alarms"] = {
        name: _share([chat_safety.crisis(text) for text in some if quarter(text) == 3])
        for name, some in ordinary().items()
    }
    return told


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep; or choose, or learn."""
    parser = options("crisis", __doc__, "", "--develop")
    parser.add_argument(
        "--develop", action="store_true", help="print what a choice does on what it was not learnt from"
    )
    parser.add_argument("--write", action="store_true", help="learn the weights anew and put them into the package")
    parser.add_argument("--folds", type=int, default=5, help="of templates that are left out, for --develop")
    parser.add_argument(
        "--allowed", type=float, default=0.004, choices=ASKED, help="false alarms among requests, for --write"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sentences that are drawn")
    parser.add_argument("--c", type=float, default=20.0, help="how closely the sentences are followed")
    parser.add_argument("--heavy", type=float, default=6.0, help="weight of a calm composed sentence")
    args = parser.parse_args(argv)
    if args.develop:
        print(json.dumps(develop(args.seed, args.c, args.heavy, args.folds), indent=1, ensure_ascii=False))
    elif args.write:
        print(write(args.seed, args.c, args.heavy, args.allowed))
    else:
        keep("crisis", judge(), args)
