"""How much the content filter finds in texts that others labelled, and how much of what it finds is rightly found."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._common import keep, options, shared
from bottega.trust.filters import Filter, Hit, Scorer, labelled_prompts

PERSONAL = {"CREDIT_CARD": "personal.card", "EMAIL_ADDRESS": "personal.email", "IBAN_CODE": "personal.iban",
            "PHONE_NUMBER": "personal.phone", "US_SSN": "personal.ssn"}  # fmt: skip


def looked_at(text: str) -> bool:
    """Whether a text is in the half that rules may be written by; the other one is measured."""
    return hashlib.sha256(text.encode()).digest()[0] % 2 == 0


def shares(found: Sequence[bool], wanted: Sequence[bool]) -> dict[str, float]:
    """Precision and recall; precision is null where nothing was found."""
    right = sum(f and w for f, w in zip(found, wanted, strict=True))
    return {
        "n": len(found),
        "wanted": sum(wanted),
        "found": sum(found),
        "precision": right / sum(found) if any(found) else float("nan"),
        "recall": right / sum(wanted) if any(wanted) else float("nan"),
    }


def met(hits: Iterable[Hit], *rooms: str) -> bool:
    """Whether a rule of one of these rooms was met; any where none is named."""
    return any(not rooms or hit.rule.split(".")[0] in rooms for hit in hits)


def rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a packed JSON file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def ordinary(data: Path) -> dict[str, list[str]]:
    """Texts that nobody meant to be filtered: questions to a bank, captions of photographs, speeches of a dramatist."""
    with gzip.open(data / "banking77" / "train.csv.gz", "rt", encoding="utf-8") as file:
        bank = [row["text"] for row in csv.DictReader(file)]
    with gzip.open(data / "multi30k" / "train.en.gz", "rt", encoding="utf-8") as file:
        captions = [line.strip() for line in file][:10000]
    plays = (data / "tiny_shakespeare" / "train.txt").read_text(encoding="utf-8").split("\n\n")
    return {"questions to a bank": bank, "captions": captions, "speeches of Shakespeare": plays}


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("filters", __doc__, "", "--half looked-at")
    parser.add_argument(
        "--half", choices=["kept-back", "looked-at"], default="kept-back", help="which half is measured"
    )
    parser.add_argument("--tweets", type=int, default=0, help="at most so many; 0 for all")
    args = parser.parse_args(argv)
    data, ours = shared(), Filter()

    def mine(text: str) -> bool:
        return looked_at(text) == (args.half == "looked-at")

    out: dict[str, Any] = {}
    prompts = labelled_prompts()
    hits = [ours.check(one.text) for one in prompts]
    out["own prompts"] = shares([bool(h) for h in hits], [bool(one.rules) for one in prompts])
    out["own prompts"]["right_rule"] = sum(
        set(one.rules) <= {h.rule for h in some} for one, some in zip(prompts, hits, strict=True) if one.rules
    ) / sum(bool(one.rules) for one in prompts)

    some = rows(data / "jailbreak_prompts" / "prompts.jsonl.gz")
    held = [row for row in some if mine(row["text"])]
    began = time.process_time()
    seen = [ours.check(row["text"]) for row in held]
    seconds = time.process_time() - began
    kinds = [row["label"] for row in held]
    out["jailbreak prompts"] = {
        "jailbreak rules, jailbreak against benign and harmful requests": shares(
            [met(h, "jailbreak") for h in seen], [k == "jailbreak" for k in kinds]
        ),
        "any rule but profanity, all against benign": shares(
            [any(h.rule != "profanity" for h in some) for some in seen], [k != "benign" for k in kinds]
        ),
        "any rule but profanity, harmful requests": sum(
            any(h.rule != "profanity" for h in s) for s, k in zip(seen, kinds, strict=True) if k == "harmful request"
        ) / max(kinds.count("harmful request"), 1),
        "characters_a_second": sum(len(row["text"]) for row in held) / seconds,
    }  # fmt: skip

    with gzip.open(data / "toxicity" / "tweets.csv.gz", "rt", encoding="utf-8") as file:
        tweets = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    tweets = tweets[: args.tweets] if args.tweets else tweets
    held_tweets = [(text, label) for text, label in tweets if mine(text)]
    seen = [ours.check(text) for text, _ in held_tweets]
    labels = [label for _, label in held_tweets]
    bad, hate = [label != "neither" for label in labels], [label == "hate" for label in labels]
    out["tweets"] = {
        "profanity or hate rules, offensive or hate": shares([met(h, "profanity", "hate") for h in seen], bad),
        "hate rules, hate": shares([met(h, "hate") for h in seen], hate),
        "hate rules, hate or offensive": shares([met(h, "hate") for h in seen], bad),
    }

    def scored(name: str, of: Callable[[str], bool]) -> dict[str, float]:
        """A scorer trained on the other half."""
        began = time.process_time()
        other = [(text, of(label)) for text, label in tweets if not mine(text)]
        scorer = Scorer.fit(
            [t for t, _ in other], [y for _, y in other], id=name, precision=0.9 if name == "bad" else 0.5
        )
        found = [p >= scorer.threshold for p in scorer.score([text for text, _ in held_tweets])]
        return shares(found, [of(label) for label in labels]) | {"seconds": time.process_time() - began}

    out["tweets"]["scorer trained on the other half, offensive or hate"] = scored(
        "bad", lambda label: label != "neither"
    )
    out["tweets"]["scorer trained on the other half, hate"] = scored("hate", lambda label: label == "hate")

    sentences = [row for row in rows(data / "pii_synthetic" / "sentences.jsonl.gz") if mine(row["text"])]
    places = [(row["spans"], ours.check(row["text"])) for row in sentences]
    out["personal data"] = {}
    for kind, rule in PERSONAL.items():
        wanted = [(i, a, b) for i, (spans, _) in enumerate(places) for k, a, b in spans if k == kind]
        found = [(i, h.start, h.end) for i, (_, some) in enumerate(places) for h in some if h.rule == rule]
        out["personal data"][rule] = {
            "wanted": len(wanted),
            "found": len(found),
            "precision": sum(_touches(f, wanted) for f in found) / len(found) if found else float("nan"),
            "recall": sum(_touches(w, found) for w in wanted) / len(wanted) if wanted else float("nan"),
        }
    out["ordinary texts, share that meets a rule"] = {}
    for name, texts in ordinary(data).items():
        texts = [text for text in texts if mine(text)]
        met_by = [{(h.action, h.rule) for h in ours.check(text)} for text in texts]
        rules = Counter(rule for some in met_by for action, rule in some if action == "block")
        out["ordinary texts, share that meets a rule"][name] = {
            "n": len(texts),
            **{action: sum(any(a == action for a, _ in some) for some in met_by) / len(texts) for action in ("block", "redact", "warn")},
            "blocking": dict(rules.most_common()),
        }  # fmt: skip
    keep("filters" if args.half == "kept-back" else "filters_looked_at", out, args)


def _touches(one: tuple[int, int, int], others: list[tuple[int, int, int]]) -> bool:
    return any(one[0] == i and one[1] < b and a < one[2] for i, a, b in others)
