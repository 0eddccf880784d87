"""Answers from a folder of texts and tables, with the place that each stands at, or none where nothing says."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from bottega.core import DataError, Item
from bottega.crafts._claim_words import sentences
from bottega.crafts._question_words import IDLE, NAME, stem, terms, ways
from bottega.crafts._town import PAGES, QUESTIONS, TABLE
from bottega.crafts.write_article import SUFFIXES
from bottega.crafts.write_sheet import Sheet, parse_sheet, read_sheet
from bottega.crafts.write_summary import words
from bottega.crafts.write_table import MONTHS, read_text
from bottega.trust.claims import Corpus, Label

__all__ = ["QUESTIONS", "Answer", "Exam", "Library", "alike", "exam", "label", "town", "whole"]

TABLES = (".csv", ".tsv")
_LIMITS = {
    "text": "quoted, not proved: the confidence is the share of the question's words that the passage has, no probability; "
    "whether the file is right, and whether others say otherwise, was not looked at",
    "reader": "quoted, not proved: the confidence is what the reader gives to the span; whether the file is right, and whether "
    "others say otherwise, was not looked at",
    "table": "the cells are as the table has them: every word of the question was found in it, its meaning was not; whether "
    "the table is right or still holds was not looked at",
    "none": "that nothing was found does not say that nothing is there: questions are matched by their words",
}


@dataclass(frozen=True)
class Answer:
    """What is said, and where.

    Attributes:
        text: the answer, words of the source or a number of a table; empty when nothing says. Where several rows of a table
            answer, all of what they say, with semicolons.
        source: the file.
        start, end: of the answer in the file's text; of a table the first and the last line (its head is line 1).
        passage: the sentence, or the cells with their rows' names.
        confidence: from 0 to 1: the share of the question's words, weighed by how rare they are, that the passage has.
        why: how it was found, or why there is no answer.
        column: of a table.
        lines: of a table, all that the answer follows from.
    """

    text: str
    source: str = ""
    start: int = 0
    end: int = 0
    passage: str = ""
    confidence: float = 0.0
    why: str = ""
    column: str = ""
    lines: tuple[int, ...] = ()

    @property
    def place(self) -> str:
        """Where it stands, as people read it: ``"staff.csv, line 3, column manager"``; empty where there is no answer."""
        if not self.lines:
            return f"{self.source}, characters {self.start}-{self.end}" if self.source else ""
        if len(self.lines) == 1:
            return f"{self.source}, line {self.start}, column {self.column}"
        told = ", ".join(map(str, self.lines[:12])) if len(self.lines) <= 12 else f"{self.start} to {self.end}"
        return f"{self.source}, lines {told}, column {self.column}"


@dataclass(frozen=True)
class _Passage:
    source: str
    start: int
    text: str
    around: str  # with the title of its page and the sentence before, which say what "it" is


_ASKED = re.compile(r"\b(who|whom|whose|when|where|why|how (?:many|much|long|tall|deep|old|far|high|wide|large|big|often|heavy)|how|what|which)\b", re.I)  # fmt: skip
_UNITS = r"(?:metres?|meters?|kilomet(?:re|er)s?|miles?|feet|minutes?|hours?|days?|years?|weeks?|months?|seconds?|tonnes?|tons?|kg|km²|km|m|hectares?|square (?:kilometres|miles|metres)|crowns?|euros?|pounds?|dollars?|per ?cent|%)"  # fmt: skip
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s(?:million|billion|thousand))?"
_WORDED = r"(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|one|a dozen)"  # fmt: skip
_MONTH = "|".join(MONTHS)
_DATE = rf"(?:\d{{1,2}} (?:{_MONTH})(?: \d{{4}})?|(?:{_MONTH}) \d{{1,2}}(?:, \d{{4}})?|(?:{_MONTH}) \d{{4}}|(?<![\d,.])1\d{{3}}(?![\d,])|(?<![\d,.])20\d{{2}}(?![\d,]))"
_DAYS = r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)days?"
_BREAK = re.compile(
    r"[,;:.!?()\"“”]|\b(?:is|are|was|were|be|been|has|have|had|of|in|on|at|to|for|from|by|with|as|that|which|who|when|where|because|since|"
    r"between|near|under|over|than|after|before|it|its|the|a|an|their|his|her|called|named|but|while|will|can|may|not)\b", re.I
)  # fmt: skip


class Library:
    """Texts and tables that can be asked.

    Sentences are found by BM25 (Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75) over the words of each, of its page's
    title and of the sentence before; what the question asks for (a person, a date, a number with its unit, a place, a
    reason, a thing) says which spans of a sentence can be the answer. Questions of cells, sums and extremes are looked up
    in the tables. There is no answer where a name of the question, or too much of what it asks, is nowhere.

    Args:
        texts: by file name.
        tables: by file name.
        left_out: files that could not be read, with the reason; told where the answer may have stood there.
        least: an answer's passage must have this share of the question's words, weighed by rarity.
    """

    def __init__(self, texts: dict[str, str], tables: dict[str, Sheet] | None = None, *, left_out: dict[str, str] | None = None, least: float = 0.6) -> None:  # fmt: skip
        self.texts, self.tables, self.left_out, self.least = texts, tables or {}, left_out or {}, least
        self.passages: list[_Passage] = []
        for source, text in texts.items():
            title, before = Path(source).stem.replace("-", " ").replace("_", " "), ""
            for at, sentence in sentences(text):
                if sentence.startswith("#"):
                    title, before = sentence.lstrip("# "), ""
                    continue
                self.passages.append(_Passage(source, at, sentence, f"{title}. {before}"))
                before = sentence
        if not self.passages and not self.tables:
            raise DataError("there is neither a sentence nor a table to answer from")
        self._counts = [Counter(terms(p.text)) for p in self.passages]
        self._context = [set(terms(p.around)) for p in self.passages]
        self._pages = {source: set(terms(text)) for source, text in texts.items()}
        df = Counter(t for own, around in zip(self._counts, self._context, strict=True) for t in {*own, *around})
        n = max(len(self.passages), 1)
        self._idf = {t: math.log(1 + (n - k + 0.5) / (k + 0.5)) for t, k in df.items()}
        self._unseen = math.log(1 + (n + 0.5) / 0.5)
        self._mean = fmean(sum(c.values()) for c in self._counts) if self._counts else 1.0

    @classmethod
    def read(cls, folder: str | Path, *, least: float = 0.6, without: Path | None = None) -> Library:
        """The .txt, .md, .rst, .csv and .tsv files of a folder, or one of them. What cannot be read is ``left_out``.

        Args:
            folder: where they are.
            least: see the class.
            without: a file that is not read, as one that is to be compared with the others.

        Raises:
            DataError: there are none, or none can be read.
        """
        folder = Path(folder)
        if not folder.exists():
            raise DataError(f"there is no {folder}; give a folder of .txt, .md and .csv files")
        files = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
        texts: dict[str, str] = {}
        tables: dict[str, Sheet] = {}
        left_out: dict[str, str] = {}
        for path in files:
            name = path.relative_to(folder).as_posix() if folder.is_dir() else path.name
            kind = path.suffix.lower()
            if not path.is_file() or kind not in (*SUFFIXES, *TABLES) or (without and path.samefile(without)):
                continue
            try:
                if kind in TABLES:
                    tables[name] = read_sheet(path)
                else:
                    texts[name] = read_text(path)
            except DataError as error:
                left_out[name] = str(error)
        if not texts and not tables:
            if left_out:
                more = f" (and {len(left_out) - 1} more files that cannot be read)" if len(left_out) > 1 else ""
                raise DataError(next(iter(left_out.values())) + more)
            raise DataError(f"{folder} holds neither texts nor tables; put .txt, .md or .csv files into it")
        return cls(texts, tables, left_out=left_out, least=least)

    def corpus(self) -> Corpus:
        """The texts, and every cell of the tables as a sentence by itself, as all that may be claimed.

        Raises:
            DataError: there is no sentence in them.
        """
        told = [Item("\n".join(whole(text)), name=name) for name, text in self.texts.items()]
        cells = [Item(said, name=f"{name}, line {at}") for name, t in self.tables.items() for at, said in t.claims()]
        return Corpus([*told, *cells])

    # ---- finding ---------------------------------------------------------------------------------------------------

    def search(self, question: str, k: int = 5) -> list[tuple[float, int]]:
        """The best sentences: score and number."""
        asked = set(terms(question))
        out = []
        for i, (own, around) in enumerate(zip(self._counts, self._context, strict=True)):
            size = sum(own.values()) / self._mean
            score = 0.0
            for term in asked:
                for way in ways(term):
                    f = own[way] + (0.5 if way in around else 0.0)
                    if f:
                        score += (
                            self._idf.get(way, 0.0)
                            * f
                            * 2.2
                            / (f + 1.2 * (0.25 + 0.75 * size))
                            * (1.0 if way == term else 0.7)
                        )
            if score > 0:
                out.append((score, i))
        return sorted(out, key=lambda pair: (-pair[0], pair[1]))[:k]

    def _covered(self, question: str, at: int) -> float:
        """The share of the question's words, by rarity, that a sentence and what stands around it have."""
        asked = set(terms(question))
        weight = {t: max(self._idf.get(w, self._unseen if w == t else 0.0) for w in ways(t)) for t in asked}
        own, page = self._counts[at], self._pages[self.passages[at].source]
        have = 0.0
        for term in asked:
            near = ways(term)
            if any(w in own for w in near) or any(w in self._context[at] for w in near):
                have += weight[term]
            elif any(w in page for w in near):
                have += 0.6 * weight[term]
        return have / max(sum(weight.values()), 1e-9)

    def ask(self, question: str, k: int = 8) -> Answer:
        """The answer to a question, or an Answer whose text is empty and that says why.

        Raises:
            DataError: an empty question.
        """
        if not words(question):
            raise DataError("the question is empty; ask for something")
        cell = self._ask_tables(question)
        if cell is not None and cell.text:
            return cell
        kind = _kind(question)
        names = list(re.findall(NAME, re.sub(r"^\W*\w+", "", question)))
        best: tuple[float, Answer] | None = None
        found = self.search(question, k)
        top = found[0][0] if found else 1.0
        why = "no sentence shares a word with the question"
        for score, i in found:
            passage = self.passages[i]
            lost = [
                n
                for n in names
                if not set(terms(n)) <= set(self._counts[i]) | self._context[i] | self._pages[passage.source]
            ]
            if lost:
                why = f"what there is does not speak of {lost[0]}"
                continue
            covered = self._covered(question, i)
            if covered < self.least:
                why = f"the nearest sentence has {100 * covered:.0f} % of what is asked, and {100 * self.least:.0f} % are needed"
                continue
            asked = set(terms(question)) - {t for n in names for t in terms(n)}
            said_here = fmean(any(w in self._counts[i] for w in ways(t)) for t in asked) if asked else 1.0
            said_here += 0.6 * fmean(set(terms(n)) <= set(self._counts[i]) for n in names) if names else 0.0
            for fit, start, end in _spans(passage.text, question, kind):
                value = score / top + fit + 0.5 * said_here
                if best is None or value > best[0] + 1e-9:
                    at = passage.start + start
                    said = passage.text[start:end]
                    best = value, Answer(said, passage.source, at, at + len(said), passage.text, covered, f"a {kind} in the sentence nearest to the question")  # fmt: skip
            if best is None:
                why = f"the nearest sentences name no {kind}"
        return best[1] if best is not None else cell or Answer("", why=why)

    # ---- tables ----------------------------------------------------------------------------------------------------

    def _ask_tables(self, question: str) -> Answer | None:
        """The first table's answer, with what others say; else why a table that speaks of it has none."""
        found = [(source, said) for source, table in self.tables.items() if (said := table.ask(question)) is not None]
        told = [(source, said) for source, said in found if said.text]
        if not told:
            return Answer("", why=found[0][1].why) if found else None
        source, said = told[0]
        others = "".join(f"; {name} says {other.text}" for name, other in told[1:] if not alike(other.text, said.text))
        return Answer(said.text, source, said.lines[0], said.lines[-1], said.passage, 1.0, said.why + others, said.column, said.lines)  # fmt: skip


def whole(text: str) -> list[str]:
    r"""The sentences of a text, each on one line however the text is wrapped, without headings.

    >>> whole("# The bridge\n\nIt was\nopened in 1932. It is long.")
    ['It was opened in 1932.', 'It is long.']
    """
    return [" ".join(said.split()) for _, said in sentences(text) if not said.startswith("#")]


def label(answer: Answer) -> Label:
    """What stands under an answer: where it comes from, how sure that is, and what was not looked at.

    >>> label(Answer("", why="nothing speaks of Atlantis")).source
    'none of the files'
    """
    if not answer.text:
        return Label("none of the files", f"no answer; {answer.why}", _LIMITS["none"], ())
    kind = "table" if answer.lines else "reader" if "reader" in answer.why else "text"
    return Label(answer.place, f"{answer.confidence:.2f}; {answer.why}", _LIMITS[kind], ())


def _kind(question: str) -> str:
    found = _ASKED.search(question)
    word = found[1].lower() if found else "what"
    rest = question[found.end() :].lower() if found else ""
    if word.startswith("who"):
        return "person"
    if word == "when" or re.match(r"\s(?:year|date|century|month)\b", rest):
        return "date"
    if re.match(r"\s(?:day|weekday)\b", rest):
        return "day"
    if word in ("where",) or re.match(r"\s(?:city|country|town|place|street|state|island)\b", rest):
        return "place"
    if word == "why":
        return "reason"
    if word == "how many":
        return "count"
    if word.startswith("how ") or re.search(r"\b(cost|percentage|distance|height|length|weight|price)\b", rest):
        return "amount"
    return "thing"


def _spans(sentence: str, question: str, kind: str) -> Iterator[tuple[float, int, int]]:
    """Parts of a sentence that may be the answer: how well each fits, and where."""
    asked = {w for t in terms(question) for w in ways(t)}
    hits = [
        (f.start(), f.end()) for f in re.finditer(r"[^\W_]+(?:['’-][^\W_]+)*", sentence) if stem(f.group()) in asked
    ]

    def near(start: int, end: int) -> float:
        gaps = sorted(max(start - b, a - end, 0) for a, b in hits if b <= start or a >= end)
        return 0.5 / (1 + sum(gaps[:3]) / (20 * max(len(gaps[:3]), 1))) if gaps else 0.0

    def new(text: str) -> bool:
        return any(stem(w) not in asked and w.lower() not in IDLE for w in words(text))

    if kind == "reason":
        for found in re.finditer(
            r"\b(?:because of|because|so that|due to|owing to|in order to)\s(?P<why>[^.;!?]+)", sentence
        ):
            yield 0.6, found.start("why"), found.end("why")
        for found in re.finditer(r"\bto (?P<why>[a-z]+ [^.;!?]+)", sentence):
            yield 0.1, found.start(), found.end("why")
        return
    if kind == "person":
        for found in re.finditer(NAME, sentence):
            text = found.group()
            if (
                not new(text)
                or text.split()[0].lower() in IDLE
                and len(text.split()) == 1
                or re.fullmatch(rf"{_DAYS}|{_MONTH}", text)
            ):
                continue
            start = found.start()
            if text.split()[0].lower() in IDLE:  # the sentence's first word, not a part of the name
                start += len(text.split()[0]) + 1
            before, after = sentence[:start], sentence[found.end() :]
            fit = near(start, found.end())
            fit += 0.35 if re.search(r"\bby (?:the )?(?:[a-z]+ ){0,2}$", before) else 0.0
            fit += 0.25 if re.match(r",? who\b", after) else 0.0
            fit += 0.15 if len(sentence[start : found.end()].split()) > 1 else -0.1
            fit -= 0.3 if re.search(r"\b(?:in|at|on|of|from|to|near) (?:the )?$", before) else 0.0
            yield fit, start, found.end()
        return
    if kind == "date":
        for found in re.finditer(_DATE, sentence):
            fit = near(*found.span()) + 0.02 * len(found.group())
            fit += 0.1 if re.search(r"\b(?:in|on|since)\s$", sentence[: found.start()]) else 0.0
            yield fit, *found.span()
        return
    if kind == "day":
        for found in re.finditer(_DAYS, sentence):
            yield 0.5, *found.span()
        return
    if kind in ("count", "amount"):
        noun = re.search(r"\bhow many\s+(?:\w+\s)??(\w+)", question, re.I)
        for found in re.finditer(rf"(?<![\w,.])(?:{_NUMBER}|{_WORDED})(?:\s{_UNITS}(?!\w))?", sentence):
            text, end = found.group(), found.end()
            measured = bool(re.search(rf"\s{_UNITS}$", text))
            fit = near(found.start(), end)
            if kind == "count":
                follows = {stem(w) for w in words(sentence[end : end + 40])[:3]}
                fit += 0.5 if noun and set(ways(stem(noun[1]))) & follows else -0.1
                fit -= 0.3 if measured else 0.0
                if measured and noun and stem(text.split()[-1]) == stem(noun[1]):
                    end = found.start() + len(text.rsplit(" ", 1)[0])
                    fit += 0.6
            else:
                fit += 0.5 if measured else -0.3
            fit -= 0.5 if re.fullmatch(r"1\d{3}|20\d{2}", text) else 0.0
            yield fit, found.start(), end
        return
    if kind == "place":
        for found in re.finditer(
            rf"\b(?:in|at|on|near|to|from)\s(?P<p>(?:the |an? |its )?(?:(?:[a-z]+ ){{0,5}})?{NAME}(?:\s(?:on|in|of)\s(?:the )?{NAME})?)",
            sentence,
        ):
            text = found["p"]
            if not new(text) or re.search(rf"\b(?:{_MONTH})\b|\b\d{{4}}\b|{_DAYS}", text):
                continue
            whole = bool(re.search(r"^(?:the |an? )?[a-z]", text)) and found.group().startswith(("in ", "on ", "at "))
            yield near(*found.span("p")) + 0.3, found.start() if whole and question.lower().startswith("where is") else found.start("p"), found.end("p")  # fmt: skip
        for found in re.finditer(
            r"\b(?:stands?|lies?|lie|is|are)\s(?P<p>[^.,;]*\b(?:north|south|east|west|near|next to|inside|behind)\b[^.,;]*)",
            sentence,
        ):
            yield near(*found.span("p")), found.start("p"), found.end("p")
        return
    yield from _things(sentence, question, asked, near)


def _things(
    sentence: str, question: str, asked: set[str], near: Callable[[int, int], float]
) -> Iterator[tuple[float, int, int]]:
    """Chunks between function words that the question does not have."""
    cuts = [0, *(x for f in _BREAK.finditer(sentence) for x in f.span()), len(sentence)]
    called = re.search(r"\b(?:called|named|name)\b", question, re.I)
    for a, b in zip(cuts, cuts[1:], strict=False):
        if _BREAK.fullmatch(sentence[a:b]):
            continue
        pieces = list(re.finditer(r"[^\W_]+(?:['’-][^\W_]+)*", sentence[a:b]))
        while pieces and (
            stem(pieces[0].group()) in asked or pieces[0].group().lower() in IDLE | {"and", "most", "some", "about"}
        ):
            pieces = pieces[1:]
        while pieces and (stem(pieces[-1].group()) in asked or pieces[-1].group().lower() in IDLE):
            pieces = pieces[:-1]
        if not pieces:
            continue
        start, end = a + pieces[0].start(), a + pieces[-1].end()
        text = sentence[start:end]
        fit = near(start, end) + (0.15 if text[0].isupper() and start > 0 else 0.0)
        fit += 0.4 if called and re.search(r"\b(?:called|named)\s(?:the\s)?$", sentence[:start]) else 0.0
        fit += 0.2 if re.search(r"\b(?:is|are|was|were)\s(?:the\s|an?\s)?$", sentence[:start]) and re.match(r"\W*what\s(?:is|are|was|were)\b", question, re.I) else 0.0  # fmt: skip
        fit -= 0.02 * max(0, len(text.split()) - 4)
        yield fit, start, end


def alike(said: str, right: str) -> bool:
    """Whether two answers are the same but for case, articles and punctuation (SQuAD's exact match).

    >>> alike("The old mill.", "old mill"), alike("", "mill")
    (True, False)
    """

    def bare(text: str) -> list[str]:
        return [w for w in re.sub(r"[^\w\s]", "", text.lower()).split() if w not in ("a", "an", "the")]

    return bare(said) == bare(right)


@dataclass(frozen=True)
class Exam:
    """How questions were answered.

    Attributes:
        exact: share of all questions answered exactly, or rightly not answered.
        answered: share of those that have an answer and were answered exactly.
        abstained: share of those that have none and were not answered.
        wrong: question, what was said, what is right.
    """

    exact: float
    answered: float
    abstained: float
    wrong: list[tuple[str, str, str]]


def exam(library: Library, questions: Sequence[tuple[str, str | None]]) -> Exam:
    """Ask all, and compare with what is right; None is right where nothing says."""
    good: dict[bool, list[bool]] = {True: [], False: []}
    wrong = []
    for question, right in questions:
        said = library.ask(question).text
        ok = not said if right is None else alike(said, right)
        good[right is None].append(ok)
        if not ok:
            wrong.append((question, said, right or ""))
    every = good[True] + good[False]
    return Exam(
        fmean(every),
        fmean(good[False]) if good[False] else math.nan,
        fmean(good[True]) if good[True] else math.nan,
        wrong,
    )


def town(*, least: float = 0.6) -> Library:
    """The built-in town: twelve pages and a table, to which ``QUESTIONS`` belong."""
    return Library(PAGES, {"districts.csv": parse_sheet(TABLE, "districts.csv")}, least=least)
