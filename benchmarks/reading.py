"""What is told of texts and made of them: classes, spans, answers, translations and summaries, beside counting words.

On made worlds, whose truth is known, and on the data sets beside the project. Every model is trained from nothing but the
data that it is measured on; a linear model on counted words learns from the same rows, and the gain above it says whether
it is beaten. Summaries of scitldr are single sentences that a reader chooses; beside it the first sentence, TextRank and
logistic regression on TF-IDF and places.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from rouge_score.rouge_scorer import RougeScorer

import bottega
from benchmarks._common import keep, kept, options, shared, told
from bottega import Run
from bottega.core import Rng
from bottega.crafts import write_summary
from bottega.crafts.write_given import rewrite, trade_off
from bottega.crafts.write_labels import entities, summarise_by_choice
from bottega.data import worlds
from bottega.judge.labels import span_counts
from bottega.judge.rouge import rouge
from bottega.workshop.training import divide

WANTED = {
    "reviews": ("macro_f1", 0.9), "names": ("span_f1", 0.9), "questions": ("exact_match", 0.7), "velan": ("exact", 0.7),
    "news": ("rouge_l_gain", 0.0), "goemotions": ("macro_f1_gain", 0.0), "restaurant8k": ("span_f1_gain", 0.0),
    "pii": ("span_f1_gain", 0.0), "xquad": ("answer_f1_gain", 0.0), "scitldr": ("rouge_l_gain", 0.0),
}  # fmt: skip


def measures(run: Run, data: Path | None = None, n: int | None = None) -> dict[str, Any]:
    """The judge of labels: scores, those of the linear model, and gains, each with its interval."""
    found = run.judge(data, only=["labels"], n=n).measures
    return {m.name: {"value": m.value, "interval": [m.low, m.high], "n": m.n} for m in found if m.judge == "labels"}


class Tasks:
    """Every task trains a recipe, in a folder, and says what it reached."""

    def __init__(self, here: Path, steps: int | None) -> None:
        self.here, self.steps = here, steps

    def train(self, name: str, recipe: str, data: Path | None = None, changes: Mapping[str, Any] | None = None) -> Run:
        """A run of a recipe, trained to its end or loaded."""
        return bottega.train(recipe, data, self.here / name, steps=self.steps, set=changes, judge=False)

    # ---- made worlds -------------------------------------------------------------------------------------------------

    def reviews(self) -> dict[str, Any]:
        """Row F8."""
        run = self.train("reviews", "reviews")
        return {**told(run), **measures(run)}

    def names(self) -> dict[str, Any]:
        """Row F10: also in texts all of whose names are new."""
        run = self.train("names", "names")
        asked = {k: v for k, v in run.recipe.data.items() if k != "name"}
        fresh = worlds.load("names", **asked).truth["unseen"](400)
        said = entities(run, [item.cond for item in fresh])
        counts = np.array(
            [
                span_counts(item.value, [(e.start, e.end, e.label) for e in one])
                for item, one in zip(fresh, said, strict=True)
            ]
        ).sum(0)
        return {**told(run), **measures(run), "unseen_names": {"span_f1": float(2 * counts[0] / max(1, counts[1] + counts[2])),
                "n": len(fresh)}}  # fmt: skip

    def questions(self) -> dict[str, Any]:
        """Row F9."""
        run = self.train("questions", "questions")
        return {**told(run), **measures(run)}

    def velan(self) -> dict[str, Any]:
        """Rows F11 and F12: whole sentences, and word by word while the source is read."""
        run = self.train("velan", "velan")
        data = worlds.load("translation", **{k: v for k, v in run.recipe.data.items() if k != "name"})
        held = [(item.cond, item.value) for item in divide(run.recipe, data).held]
        known = {item.cond for item in divide(run.recipe, data).train}
        pairs = list(dict.fromkeys(pair for pair in held if pair[0] not in known))[:200]
        rows = trade_off(run, pairs, (1, 3, 5))
        return {**told(run), "sentences": len(pairs), "bleu": rows[0]["bleu"], "exact": rows[0]["exact"], "waits": rows}

    def news(self) -> dict[str, Any]:
        """Row F13: summaries of articles that training never saw, and numbers and names that they invent."""
        run = self.train("news", "news")
        data = worlds.load("news", **{k: v for k, v in run.recipe.data.items() if k != "name"})
        held = list(divide(run.recipe, data).held)[:200]
        texts, right = [str(item.cond) for item in held], [str(item.value) for item in held]
        said = rewrite(run, texts)
        lost = [write_summary.invented(text, one) for text, one in zip(texts, said, strict=True)]
        return {**told(run), **summaries({"seq2seq": said}, texts, [[r] for r in right]), "exact": fmean(
                a.strip() == b.strip() for a, b in zip(said, right, strict=True)), "invents": fmean(bool(w) for w in lost)}  # fmt: skip

    # ---- real data ---------------------------------------------------------------------------------------------------

    def goemotions(self) -> dict[str, Any]:
        """Positive, negative, ambiguous, neutral; comments of one of these, 23,000 to learn and the dev file to test."""
        files = {name: self._single(name) for name in ("train", "dev")}
        run = self.train("goemotions", "classes", files["train"], {"data.held": 0.02})
        return {**told(run), **self._other(run, files["dev"])}

    def restaurant8k(self) -> dict[str, Any]:
        """People, date, time and names in bookings; a tenth kept back."""
        file = shared() / "restaurant8k" / "train.jsonl.gz"
        run = self.train("restaurant8k", "spans", file, {"codec.label": "spans", "data.held": 0.1})
        return {**told(run), **measures(run)}

    def pii(self) -> dict[str, Any]:
        """Twenty kinds of personal data in made sentences; a tenth kept back."""
        file = shared() / "pii_synthetic" / "sentences.jsonl.gz"
        run = self.train("pii", "spans", file, {"codec.label": "spans", "codec.length": 96, "data.held": 0.1})
        return {**told(run), **measures(run)}

    def xquad(self) -> dict[str, Any]:
        """English questions on articles of which training saw none, in no language; it saw other articles in four."""
        folder = self.here / "xquad-data"
        folder.mkdir(parents=True, exist_ok=True)
        for language in ("en", "de", "es", "ro"):
            name = f"xquad.{language}.json.gz"
            (folder / name).write_bytes((shared() / "xquad" / name).read_bytes())
        run = self.train("xquad", "answers", folder, {"codec.length": 320, "data.held": 0.2})
        return {**told(run), **measures(run), "note": "held-out articles in four languages"}

    def scitldr(self) -> dict[str, Any]:
        """One sentence of an abstract of a paper, beside what its authors and readers wrote; learned on train, tested on dev."""
        place = shared() / "scitldr"
        parts, wanted = write_summary.read_pairs(place / "train.jsonl.gz", "source,target")
        file = write_summary.write_rows(self.here / "scitldr.jsonl", write_summary.teach(parts, wanted))
        run = self.train("scitldr", "extract", file)
        texts, right = write_summary.read_pairs(place / "dev.jsonl.gz", "source,target")
        said = {"reader": [summarise_by_choice(run, one, most=1).text for one in texts]}
        said["textrank"] = [write_summary.choose(one, write_summary.METHODS["textrank"], most=1).text for one in texts]
        said["linear"] = linear(parts, wanted, texts)
        best = [max(one, key=lambda s, r=r: best_rouge(s, r)) for one, r in zip(texts, right, strict=True)]
        return {**told(run), **summaries(said | {"best sentence there is": best}, [" ".join(t) for t in texts], right,
                                         [t[0] for t in texts])}  # fmt: skip

    def _single(self, name: str) -> Path:
        """Comments of goemotions of one sentiment, as a table of texts and labels."""
        path = self.here / f"goemotions-{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            gzip.open(shared() / "goemotions" / f"{name}.csv.gz", "rt", encoding="utf8", newline="") as source,
            path.open("w", encoding="utf8", newline="") as file,
        ):
            out = csv.writer(file)
            out.writerow(["text", "label"])
            out.writerows(
                [row["text"], row["sentiment"]] for row in csv.DictReader(source) if "|" not in row["sentiment"]
            )
        return path

    def _other(self, run: Run, data: Path) -> dict[str, Any]:
        """The judge of labels on a file that stands apart: the linear model learns from what the run did."""
        from bottega.judge import Case, run_all
        from bottega.workshop.build import find_data
        from bottega.workshop.judging import rows_of

        train = divide(run.recipe, find_data(run.recipe, run.header["data_argument"], run.codec)).train
        seen = rows_of(run.codec, train, 10**6, 0)
        case = Case(
            medium=run.codec.medium, spec=run.spec, train=seen, held=rows_of(run.codec, run.codec.read(data), 10**6, 0),
            samples=seen.x[:0], model=run.model, decode=run.codec.decode,
        )  # fmt: skip
        found, _ = run_all(case, ["labels"])
        return {m.name: {"value": m.value, "interval": [m.low, m.high], "n": m.n} for m in found}


def best_rouge(said: str, right: Sequence[str]) -> float:
    """F1 of ROUGE-L of a text, with the best of several references."""
    return float(RougeScorer(["rougeL"], use_stemmer=True).score_multi(list(right), said)["rougeL"].fmeasure)


def linear(
    parts: Sequence[Sequence[str]], wanted: Sequence[Sequence[str]], texts: Sequence[Sequence[str]]
) -> list[str]:
    """Single sentences by logistic regression on TF-IDF of words and pairs, and where a sentence stands."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    rows = write_summary.teach(parts, wanted, most=1)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=50_000).fit(
        [s for p in parts for s in p]
    )

    def seen(every: Sequence[Sequence[str]]) -> Any:
        place = [
            [i / len(p), i == 0, i == len(p) - 1, 1 / (1 + i), len(s.split()) / 30]
            for p in every
            for i, s in enumerate(p)
        ]
        return hstack([words.transform([s for p in every for s in p]), csr_matrix(np.array(place, float))]).tocsr()

    line = LogisticRegression(max_iter=300).fit(seen(parts), [row["label"] == write_summary.KEEP for row in rows])
    return [one[int(np.argmax(line.decision_function(seen([one]))))] for one in texts]


def summaries(
    said: Mapping[str, Sequence[str]], texts: Sequence[str], right: Sequence[Sequence[str]], lead: Sequence[str] = ()
) -> dict[str, Any]:
    """ROUGE of each way to summarise and of the first sentence; the gain is that of the first way above it."""
    lead = lead or [write_summary.split(text)[0] for text in texts]
    out: dict[str, Any] = {}
    for name, each in {**said, "lead": lead}.items():
        found = rouge(list(each), right, Rng(0))
        out[name] = {m.name: {"value": m.value, "interval": [m.low, m.high]} for m in found} | {"n": len(texts)}
    first = next(iter(said))
    gains = np.array([best_rouge(a, r) - best_rouge(b, r) for a, b, r in zip(said[first], lead, right, strict=True)])
    error = 1.96 * gains.std() / len(gains) ** 0.5
    out["rouge_l_gain"] = {
        "value": float(gains.mean()),
        "interval": [float(gains.mean() - error), float(gains.mean() + error)],
    }
    return out


def reached(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The threshold, and whether it is reached; of a gain its whole interval must be above it."""
    key, least = WANTED[name]
    value = found[key]
    low = value if not isinstance(value, dict) else value["interval"][0] if key.endswith("gain") else value["value"]
    return {"wanted": f"{key} > {least}", "reached": bool(low > least)}


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("reading", __doc__, "", "--only reviews names --runs runs/reading", "--only scitldr", "--steps 5")
    parser.add_argument("--only", nargs="+", choices=sorted(WANTED), default=list(WANTED))
    parser.add_argument("--steps", type=int, help="of every training, instead of the recipes'")
    parser.add_argument("--runs", type=Path, help="keep the runs here; a stopped one goes on")
    args: argparse.Namespace = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        tasks = Tasks(args.runs or Path(folder), args.steps)
        tasks.here.mkdir(parents=True, exist_ok=True)
        for name in args.only:
            task: Callable[[], dict[str, Any]] = getattr(tasks, name)
            found = task()
            result = kept("reading")  # also what another process has measured since
            result[name] = {**found, **reached(name, found)}
            print(name, json.dumps(result[name])[:300], flush=True)
            keep("reading", result, args)
