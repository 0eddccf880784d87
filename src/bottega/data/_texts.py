"""Made texts whose truth is known, from sentences that can be read back: news, reviews, names, questions, dialogues."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bottega.core import Conversation, DataError, Item, Message
from bottega.data._draw import LICENCE, SOURCE, Draw, at_least_one, items_of
from bottega.data.dataset import Dataset

__all__ = ["dialogues", "names", "news", "questions", "reviews"]

# ---- templates that can be read back ---------------------------------------------------------------------------------


class _Patterns:
    """Sentences with slots in braces, which can be filled and read back.

    Args:
        sentences: with ``{slot}`` where a value stands.
        forms: the regular expression of each slot's values, by name; others are words.
    """

    def __init__(self, sentences: Iterable[str], forms: Mapping[str, str]) -> None:
        self.compiled = []
        for sentence in sentences:
            parts = re.split(r"\{(\w+)\}", sentence)
            seen: set[str] = set()
            out = ""
            for i, part in enumerate(parts):
                if i % 2 == 0:
                    out += re.escape(part)
                elif part in seen:
                    out += f"(?P={part})"
                else:
                    seen.add(part)
                    out += f"(?P<{part}>{forms.get(part, _WORD)})"
            self.compiled.append(re.compile(out))

    def read(self, sentence: str) -> dict[str, str] | None:
        """The slots of a sentence; None when it is none of these."""
        for pattern in self.compiled:
            if (found := pattern.fullmatch(sentence)) is not None:
                return found.groupdict()
        return None


_WORD = r"[A-Z][a-z]+(?: [A-Z][a-z]+)*"
_SENTENCE = re.compile(r"(?<=[.!?]) ")

# ---- news ------------------------------------------------------------------------------------------------------------

TOWNS = ("Arlen", "Borvik", "Calder", "Dunmore", "Estrel", "Farrow", "Gilden", "Harth", "Ilmar", "Jorvin", "Kestel",
         "Lanford", "Merrow", "Norwick", "Ostrava", "Penrith", "Quarry", "Rosmund", "Selby", "Tarrant")  # fmt: skip
FIRMS = ("Alder Foods", "Beacon Glass", "Cobalt Rail", "Delta Paper", "Ember Steel", "Fjord Energy", "Garnet Motors",
         "Harbor Textiles", "Indigo Media", "Juniper Health", "Keystone Bank", "Lumen Optics")  # fmt: skip
PLAYERS = ("Abel", "Bruno", "Cato", "Dario", "Emil", "Felix", "Goran", "Hugo", "Ivo", "Jonas", "Kaspar", "Luka")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_FORMS = {
    "winner": "|".join(TOWNS), "loser": "|".join(TOWNS), "town": "|".join(TOWNS), "firm": "|".join(FIRMS),
    "scorer": "|".join(PLAYERS), "day": "|".join(DAYS), "trend": "rose|fell", "sky": "rain|snow|fog|sunshine",
    **dict.fromkeys(("high", "low", "crowd", "revenue", "percent", "staff", "warm", "cold", "wind"), r"\d+"),
}  # fmt: skip

_NEWS: dict[str, dict[str, Any]] = {
    "match": {
        "lead": (
            "It was a long afternoon for everyone who had come to the stadium.",
            "Football was back on {day}, and the town talked of little else.",
            "The season goes on, and so do its surprises.",
        ),
        "facts": (
            ("{winner} beat {loser} by {high} goals to {low}.", "With {high} goals against {low}, {winner} overcame {loser}."),
            ("{scorer} scored the decisive goal.", "The last goal was shot by {scorer}."),
            ("{crowd} people watched the match on {day}.", "On {day} the match drew a crowd of {crowd}."),
        ),
        "tail": ("The coach asked for patience.", "The teams meet again in spring.", "Nobody was hurt."),
        "summary": "{winner} won {high}-{low} against {loser} on {day} thanks to {scorer}.",
    },
    "company": {
        "lead": (
            "Analysts had waited for the figures with some unease.",
            "Shareholders met on {day} to hear how the quarter had gone.",
            "Markets were quiet this week, with few surprises.",
        ),
        "facts": (
            ("{firm} reported a revenue of {revenue} million.", "At {firm}, revenue came to {revenue} million."),
            ("Profit {trend} by {percent} percent.", "Compared with last year, profit {trend} by {percent} percent."),
            ("The firm announced on {day} that it employs {staff} people.", "It has a staff of {staff}, it said on {day}."),
        ),
        "tail": ("The outlook was left unchanged.", "A dividend will be discussed later.", "Shares hardly moved."),
        "summary": "{firm}, with {revenue} million in revenue, said on {day} that profit {trend} {percent} percent.",
    },
    "weather": {
        "lead": (
            "People looked at the sky more often than usual.",
            "Farmers have been talking of nothing but the weather.",
            "The forecast for {day} kept the phones busy.",
        ),
        "facts": (
            ("In {town} there was {sky}.", "The people of {town} saw {sky}."),
            ("On {day} it was between {cold} and {warm} degrees.", "Degrees on {day} ranged from {cold} to {warm}."),
            ("The wind reached {wind} kilometres an hour.", "Gusts of {wind} kilometres an hour were measured."),
        ),
        "tail": ("Trains ran on time.", "Schools stayed open.", "More of the same is expected."),
        "summary": "{sky} in {town} on {day}, {cold} to {warm} degrees with wind up to {wind}.",
    },
}  # fmt: skip


def _slots_of(kind: str, draw: Draw) -> dict[str, str]:
    if kind == "match":
        winner, loser = draw.some(TOWNS, 2)
        low = draw.between(0, 4)
        slots: dict[str, Any] = {
            "winner": winner, "loser": loser, "high": low + draw.between(1, 4), "low": low,
            "scorer": draw.of(PLAYERS), "crowd": draw.between(3, 98) * 100,
        }  # fmt: skip
    elif kind == "company":
        slots = {
            "firm": draw.of(FIRMS), "revenue": draw.between(11, 980), "trend": draw.of(("rose", "fell")),
            "percent": draw.between(1, 40), "staff": draw.between(2, 99) * 50,
        }  # fmt: skip
    else:
        cold = draw.between(1, 15)
        slots = {
            "town": draw.of(TOWNS), "sky": draw.of(("rain", "snow", "fog", "sunshine")), "cold": cold,
            "warm": cold + draw.between(2, 12), "wind": draw.between(5, 95),
        }  # fmt: skip
    return {k: str(v) for k, v in {**slots, "day": draw.of(DAYS)}.items()}


_ARTICLES = {
    kind: _Patterns([*t["lead"], *(form for fact in t["facts"] for form in fact), *t["tail"]], _FORMS)
    for kind, t in _NEWS.items()
}
_SUMMARIES = {kind: _Patterns([t["summary"]], _FORMS) for kind, t in _NEWS.items()}


def _table(kind: str, slots: Mapping[str, str]) -> str:
    """A row of a table as text: ``match | winner: Arlen | ...``."""
    return " | ".join([kind, *(f"{k}: {v}" for k, v in slots.items())])


def _of_table(table: str) -> dict[str, str]:
    kind, *cells = table.split(" | ")
    return {"kind": kind, **dict(cell.split(": ", 1) for cell in cells)}


def news(*, n: int = 5_000, task: str = "summary", seed: int = 0) -> Dataset:
    """Short news of matches, companies and the weather, made from slots; the first sentence says next to nothing.

    Each piece is an article (``task = "article"``), the summary of an article, or the report of a row of a table
    (``"report"``); the text that it is made from is what is known of it (``cond``).

    Args:
        n: pieces.
        task: ``"summary"``, ``"article"`` or ``"report"``.
        seed: of the draws.
    """
    at_least_one("news", n=n)
    if task not in {"summary", "article", "report"}:
        raise DataError(f"news with task={task!r}; use 'summary', 'article' or 'report'")
    draw, rows, every, articles, summaries = Draw(seed), [], [], [], []
    for _ in range(n):
        kind = draw.of(list(_NEWS))
        form, slots = _NEWS[kind], _slots_of(kind, draw)
        facts = [draw.of(fact) for fact in form["facts"]]
        article = " ".join([draw.of(form["lead"]), *facts, draw.of(form["tail"])]).format(**slots)
        report, summary = " ".join(facts).format(**slots), form["summary"].format(**slots)
        summary = summary[0].upper() + summary[1:]
        every.append({"kind": kind, **slots})
        articles.append(article)
        summaries.append(summary)
        rows.append(
            {"summary": (summary, article), "article": (article, None), "report": (report, _table(kind, slots))}[task]
        )

    def read(text: str) -> dict[str, str] | None:
        """The slots that an article, a report or a summary states; None when a sentence of it is none of this world.

        A text that contradicts itself is none either.
        """
        for kind in _NEWS:
            whole = _SUMMARIES[kind].read(text) or _SUMMARIES[kind].read(text[:1].lower() + text[1:])
            if whole is not None:
                return {"kind": kind, **whole}
            found: dict[str, str] = {"kind": kind}
            for sentence in _SENTENCE.split(text):
                slots = _ARTICLES[kind].read(sentence)
                if slots is None or any(found.get(k, v) != v for k, v in slots.items()):
                    break
                found |= slots
            else:
                return found
        return None

    truth = {
        "slots": every, "articles": articles, "summaries": summaries, "read": read, "read_table": _of_table,
        "is_member": lambda text: read(text) is not None,
    }  # fmt: skip
    return Dataset("news", "text", items_of(rows, "news"), LICENCE, SOURCE,
                   "short news made from slots, with summaries and tables", truth)  # fmt: skip


# ---- reviews ---------------------------------------------------------------------------------------------------------

ASPECTS = ("food", "service", "room", "view", "music", "staff", "soup", "bread", "coffee", "garden", "bed", "price")
GOOD = ("good", "lovely", "excellent", "friendly", "perfect", "great", "charming", "fresh")
BAD = ("bad", "awful", "terrible", "rude", "broken", "poor", "dirty", "stale")
_CLAIMS = ("the {aspect} was {word}", "I found the {aspect} {word}", "the {aspect} seemed {word} to us")
_DENIALS = ("the {aspect} was not {word} at all", "nobody could call the {aspect} {word}")
_ASIDES = ("although {aside}, {main}", "{main}, even if {aside}", "we had heard that {aside}, but {main}")
_FILLERS = ("We stayed for two nights", "It was a Sunday", "My sister came along", "We had booked early")


def _claim_patterns() -> list[tuple[re.Pattern[str], int]]:
    words = {"aspect": "|".join(ASPECTS)}
    return [
        (_Patterns([form], {**words, "word": "|".join(side)}).compiled[0], sign * way)
        for forms, way in ((_CLAIMS, 1), (_DENIALS, -1))
        for form in forms
        for side, sign in ((GOOD, 1), (BAD, -1))
    ]


_CLAIM = _claim_patterns()
_ASIDE = [
    re.compile(re.escape(form).replace(r"\{aside\}", "(?P<aside>.+)").replace(r"\{main\}", "(?P<main>.+)"))
    for form in _ASIDES
]


def _claimed(clause: str) -> int:
    """1 praises, -1 blames, 0 is no claim."""
    clause = clause if clause.startswith("I ") else clause[:1].lower() + clause[1:]
    return next((sign for pattern, sign in _CLAIM if pattern.fullmatch(clause)), 0)


def _verdict(sentence: str) -> int | None:
    """What a sentence counts for: what is only granted or heard does not count. None when it is none of this world."""
    if sentence in _FILLERS:
        return 0
    if sign := _claimed(sentence):
        return sign
    for pattern in _ASIDE:
        found = pattern.fullmatch(sentence if sentence[:2] == "I " else sentence[0].lower() + sentence[1:])
        if found and _claimed(found["aside"]) and (sign := _claimed(found["main"])):
            return sign
    return None


def _sentiment(text: str) -> str:
    """``"positive"`` or ``"negative"``; empty for texts that are no review of this world."""
    signs = [_verdict(sentence) for sentence in text.removesuffix(".").split(". ")]
    if None in signs or not (total := sum(sign or 0 for sign in signs)):
        return ""
    return "positive" if total > 0 else "negative"


def reviews(*, n: int = 4_000, task: str = "text", seed: int = 0) -> Dataset:
    """Reviews that praise or blame, with negations, and with asides that a bag of words takes for verdicts.

    Args:
        n: reviews.
        task: ``"text"``: pieces are texts, each with its sentiment to condition on; ``"label"``: pieces are sentiments,
            and what is known of each is the text.
        seed: of the draws.
    """
    at_least_one("reviews", n=n)
    if task not in {"text", "label"}:
        raise DataError(f"reviews with task={task!r}; use 'text' or 'label'")
    draw, rows = Draw(seed), []

    def claim(sign: int) -> str:
        aspect, denied = draw.of(ASPECTS), draw.chance(0.3)
        word = draw.of(GOOD if (sign > 0) != denied else BAD)
        return draw.of(_DENIALS if denied else _CLAIMS).format(aspect=aspect, word=word)

    def sentence(sign: int) -> str:
        main = claim(sign)
        if draw.chance(0.4):
            main = draw.of(_ASIDES).format(main=main, aside=claim(-sign))
        return main[0].upper() + main[1:]

    for _ in range(n):
        sign = draw.of((1, -1))
        said = [sentence(sign) for _ in range(draw.between(1, 3))]
        if draw.chance(0.4):
            said.insert(draw.below(len(said) + 1), draw.of(_FILLERS))
        text, label = ". ".join(said) + ".", "positive" if sign > 0 else "negative"
        rows.append((text, label) if task == "text" else (label, text))
    truth = {"sentiment": _sentiment, "is_member": lambda text: bool(_sentiment(text))}
    return Dataset("reviews", "text" if task == "text" else "labels", items_of(rows, "review"), LICENCE, SOURCE,
                   "reviews that praise or blame, with negations and asides", truth)  # fmt: skip


# ---- names in texts --------------------------------------------------------------------------------------------------

KINDS = ("person", "place", "organisation", "date")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip
_ONSETS = ("B", "D", "F", "G", "H", "K", "L", "M", "N", "P", "R", "S", "T", "V", "Br", "Kr", "St", "Tr")
_MIDDLES = ("al", "an", "ar", "el", "en", "er", "il", "in", "ol", "on", "or", "ul")
_ENDS = {"first": ("a", "o", "us", "ia", "ek"), "last": ("sen", "etti", "ov", "man", "ski"),
         "place": ("ton", "burg", "stad", "ville", "mouth"), "firm": ("ex", "ora", "ium", "is")}  # fmt: skip
_TRADES = ("Bank", "Works", "Institute", "Airlines", "Press")
_TOLD = (
    "{person} moved to {place} on {date}.", "On {date}, {person} joined {organisation}.",
    "{organisation} opened an office in {place}.", "{organisation} was founded by {person} in {place}.",
    "{person} and {person} met in {place}.", "The mayor of {place} thanked {person}.",
    "Since {date} {organisation} has sold nothing in {place}.", "{person} says that {organisation} will pay.",
    "Tickets to {place} cost more on {date}.", "A letter from {person} reached {organisation} on {date}.",
    "Nothing happened that week.", "The weather in {place} was mild.", "Two trains were late.",
)  # fmt: skip


def _name(kind: str, draw: Draw) -> str:
    def one(end: str) -> str:
        return (
            draw.of(_ONSETS) + draw.of(_MIDDLES) + (draw.of(_MIDDLES) if draw.chance(0.4) else "") + draw.of(_ENDS[end])
        )

    if kind == "person":
        return one("first") + (f" {one('last')}" if draw.chance(0.7) else "")
    if kind == "place":
        return one("place")
    if kind == "organisation":
        return f"{one('firm')} {draw.of(_TRADES)}"
    return f"{draw.between(1, 28)} {draw.of(MONTHS)} {draw.between(1950, 2029)}"


def _own_words(kind: str, name: str) -> set[str]:
    """What must be new in a new name: its words, but not its trade; of a date all together."""
    return {name} if kind == "date" else set(name.split()) - set(_TRADES)


Span = tuple[int, int, str]


def _tell(draw: Draw, bank: Mapping[str, Sequence[str]] | None, taken: set[str]) -> tuple[str, list[Span]]:
    """One to three sentences and the names in them, as ``(first, last + 1, kind)`` in characters."""
    text, spans = "", []
    for template in draw.some(_TOLD, draw.between(1, 3)):
        text += " " if text else ""
        for i, part in enumerate(re.split(r"\{(\w+)\}", template)):
            if i % 2 == 0:
                text += part
                continue
            said = draw.of(bank[part]) if bank is not None else _name(part, draw)
            while bank is None and not taken.isdisjoint(_own_words(part, said)):
                said = _name(part, draw)
            spans.append((len(text), len(text) + len(said), part))
            text += said
    return text, spans


def names(*, n: int = 4_000, known: int = 300, task: str = "tags", seed: int = 0) -> Dataset:
    """Texts with persons, places, organisations and dates in them, whose places in the text are known.

    Args:
        n: texts.
        known: how many different names of each kind there are in them; ``truth["unseen"]`` makes texts with others.
        task: ``"tags"``: pieces are lists of ``(first, last + 1, kind)``, counted in characters, and what is known of each
            is the text; ``"text"``: pieces are the texts.
        seed: of the draws.
    """
    at_least_one("names", n=n, known=known)
    if task not in {"tags", "text"}:
        raise DataError(f"names with task={task!r}; use 'tags' or 'text'")
    if known > 5000:
        raise DataError(f"names with known={known}: it must be at most 5000, or none would be new")
    draw = Draw(seed)
    bank: dict[str, list[str]] = {}
    for kind in KINDS:
        found: dict[str, None] = {}
        while len(found) < known:
            found[_name(kind, draw)] = None
        bank[kind] = list(found)
    told = [_tell(draw, bank, set()) for _ in range(n)]
    taken = {word for kind, each in bank.items() for name in each for word in _own_words(kind, name)}

    def as_items(told: Sequence[tuple[str, list[Span]]]) -> list[Item]:
        return items_of([(text, None) if task == "text" else (spans, text) for text, spans in told], "text")

    def unseen(k: int, seed: int = 1) -> list[Item]:
        """``k`` texts whose names have no word that the names in the items have; their dates are others, too."""
        more = Draw(seed + 7919)
        return as_items([_tell(more, None, taken) for _ in range(k)])

    truth = {"spans": [spans for _, spans in told], "names": bank, "unseen": unseen}
    return Dataset("names", "labels" if task == "tags" else "text", as_items(told), LICENCE, SOURCE,
                   "texts with persons, places, organisations and dates in known places", truth)  # fmt: skip


# ---- questions -------------------------------------------------------------------------------------------------------

_ATTRIBUTES: dict[str, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    "town": (("{name} lives in {v}.", "The home of {name} is in {v}."), "Where does {name} live?",
             tuple(t for t in TOWNS if t not in {"Quarry"})),
    "job": (("{name} works as a {v}.", "By trade {name} is a {v}."), "What does {name} do for a living?",
            ("baker", "pilot", "nurse", "painter", "farmer", "lawyer", "singer", "carpenter", "gardener", "barber")),
    "year": (("{name} was born in {v}.", "In {v}, {name} was born."), "When was {name} born?",
             tuple(str(y) for y in range(1930, 2005))),
    "pet": (("{name} keeps a {v}.", "A {v} belongs to {name}."), "Which animal does {name} keep?",
            ("parrot", "tortoise", "hamster", "donkey", "goat", "ferret", "rabbit", "lizard")),
    "colour": (("{name} painted the house {v}.", "The house of {name} is {v}."), "Which colour is the house of {name}?",
               ("red", "green", "yellow", "white", "blue", "orange", "purple")),
    "drink": (("{name} drinks only {v}.", "At noon {name} asks for {v}."), "What does {name} drink?",
              ("tea", "coffee", "milk", "cider", "water", "lemonade")),
}  # fmt: skip


def questions(*, n: int = 6_000, unanswerable: float = 0.2, task: str = "span", seed: int = 0) -> Dataset:
    r"""Passages about two people, each with a question; some of these the passage does not answer.

    What is known of each piece is ``"question\npassage"``.

    Args:
        n: questions.
        unanswerable: the share that the passage does not answer, in [0, 1].
        task: ``"span"``: pieces are ``(first, last + 1)`` in characters of the passage, None where it has no answer;
            ``"text"``: pieces are the answers as text, ``"unknown"`` where there is none.
        seed: of the draws.
    """
    at_least_one("questions", n=n)
    if task not in {"span", "text"} or not 0 <= unanswerable <= 1:
        raise DataError(
            f"questions with task={task!r}, unanswerable={unanswerable}: task is 'span' or 'text', the share in [0, 1]"
        )
    draw, rows, asked_of = Draw(seed), [], []
    people = [
        f"{a}{b}"
        for a in ("An", "Ber", "Cor", "Dor", "El", "Fin", "Ger", "Han")
        for b in ("na", "do", "win", "ia", "ek")
    ]
    for _ in range(n):
        two = draw.some(people, 2)
        told = [(name, attribute) for name in two for attribute in draw.some(list(_ATTRIBUTES), 3)]
        told = draw.some(told, len(told))
        passage, places = "", {}
        for name, attribute in told:
            forms, _, values = _ATTRIBUTES[attribute]
            form, value = draw.of(forms), draw.of(values)
            sentence = form.format(name=name, v=value)
            start = len(passage) + bool(passage) + (
                form.index("{v}") if form.index("{v}") < form.index("{name}") else len(form.split("{v}")[0]) - 6 + len(name)
            )  # fmt: skip
            passage += (" " if passage else "") + sentence
            places[name, attribute] = (start, start + len(value))
        missing = [(name, a) for name in two for a in _ATTRIBUTES if (name, a) not in places]
        name, attribute = draw.of(missing) if draw.chance(unanswerable) else draw.of(told)
        question = _ATTRIBUTES[attribute][1].format(name=name)
        span = places.get((name, attribute))
        answer = passage[span[0] : span[1]] if span else "unknown"
        rows.append((span if task == "span" else answer, f"{question}\n{passage}"))
        asked_of.append({"question": question, "passage": passage, "answer": answer if span else None, "span": span})

    def answer_of(question: str, passage: str) -> str | None:
        """What a passage of this world says to a question; None when it says nothing."""
        for forms, asks, values in _ATTRIBUTES.values():
            who = re.fullmatch(re.escape(asks).replace(r"\{name\}", "(.+)"), question)
            if who:
                every = {form.format(name=who[1], v=v): v for form in forms for v in values}
                return next((every[s] for s in _SENTENCE.split(passage) if s in every), None)
        return None

    truth = {"asked": asked_of, "answer": answer_of}
    return Dataset("questions", "text" if task == "text" else "labels", items_of(rows, "question"), LICENCE, SOURCE,
                   "passages with a question each, some of which they do not answer", truth)  # fmt: skip


# ---- dialogues -------------------------------------------------------------------------------------------------------

_FACTS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "name": ("My name is {v}.", "What is my name?", "Your name is {v}.", PLAYERS),
    "town": ("I live in {v}.", "Where do I live?", "You live in {v}.", TOWNS),
    "pet": ("I have a {v}.", "Which pet do I have?", "You have a {v}.", ("cat", "dog", "parrot", "goat", "rabbit")),
    "colour": ("My favourite colour is {v}.", "What is my favourite colour?", "Your favourite colour is {v}.",
               ("red", "green", "blue", "yellow", "white")),
    "day": ("We meet on {v}.", "On which day do we meet?", "We meet on {v}.", DAYS),
    "number": ("My lucky number is {v}.", "What is my lucky number?", "Your lucky number is {v}.",
               tuple(str(k) for k in range(2, 100))),
}  # fmt: skip
_SMALL_TALK = (
    ("How are you?", "Well, thank you."), ("It rains again.", "It does."), ("I am tired today.", "Then rest a little."),
    ("Do you like music?", "I like to listen."), ("The train was late.", "That happens."), ("I had soup.", "Soup is good."),
    ("What a day!", "Tell me more."), ("I have read a book.", "Was it good?"),
)  # fmt: skip


def dialogues(
    *,
    n: int = 4_000,
    facts: int = 3,
    talk: int = 4,
    least: int = 0,
    changes: float = 0.2,
    asks: int = 1,
    echo: float = 0.0,
    seed: int = 0,
) -> Dataset:
    """Dialogues in which facts are told, other things talked of, and one of the facts asked for at the end.

    Lines begin with ``A:`` (who tells and asks) and ``B:`` (who answers). To the codec of conversations A is the user and B
    the assistant.

    Args:
        n: dialogues.
        facts: how many facts are told, 1 to 6.
        talk: the most turns of other talk between telling and asking; their number is drawn.
        least: the fewest.
        changes: the chance that the fact that is asked for was told twice, the later time otherwise.
        asks: how many of the facts are asked for, one after another; ``truth`` is of the last.
        echo: the chance that B says a fact back when it is told, which teaches to look back.
        seed: of the draws.
    """
    at_least_one("dialogues", n=n, facts=facts, asks=asks)
    shares = 0 <= changes <= 1 and 0 <= echo <= 1
    if facts > len(_FACTS) or not 0 <= least <= talk or not shares or asks > facts:
        raise DataError(
            f"dialogues with facts={facts}, talk={talk}, least={least}, changes={changes}, asks={asks}, echo={echo}: facts is "
            f"at most {len(_FACTS)} and asks at most facts, least from 0 to talk, changes and echo in [0, 1]"
        )
    draw, rows, truths = Draw(seed), [], []

    def heard(kind: str, value: str) -> str:
        return _FACTS[kind][2].format(v=value) if echo and draw.chance(echo) else "I see."

    for _ in range(n):
        chosen = draw.some(list(_FACTS), facts)
        asked = draw.of(chosen)
        told = {k: draw.of(_FACTS[k][3]) for k in chosen}
        lines = [(_FACTS[k][0].format(v=told[k]), heard(k, told[k])) for k in chosen]
        last = chosen.index(asked)
        if changes and draw.chance(changes):
            told[asked] = draw.of([v for v in _FACTS[asked][3] if v != told[asked]])
            last = len(lines)
            lines.append(("I was wrong. " + _FACTS[asked][0].format(v=told[asked]), heard(asked, told[asked])))
        lines += [draw.of(_SMALL_TALK) for _ in range(draw.between(least, talk))]
        turns = len(lines) - last
        others = draw.some([k for k in chosen if k != asked], asks - 1) if asks > 1 else []
        lines += [(_FACTS[k][1], _FACTS[k][2].format(v=told[k])) for k in (*others, asked)]
        talked = "\n".join(f"A: {a}\nB: {b}" for a, b in lines)
        answer = lines[-1][1]
        said = [Message(role, text) for line in lines for role, text in zip(("user", "assistant"), line, strict=True)]
        rows.append((Conversation(said, talked), None))
        truths.append(
            {
                "prompt": talked.removesuffix(f" {answer}"),
                "answer": answer,
                "value": told[asked],
                "asked": asked,
                "turns": turns,
            }
        )

    def answer_of(prompt: str) -> str | None:
        """What B must say to the last question; None when it was never told."""
        *before, last, _ = prompt.split("\n")
        for told, asks, replies, _ in _FACTS.values():
            if last == f"A: {asks}":
                said = re.compile("A: (?:I was wrong. )?" + re.escape(told).replace(r"\{v\}", "(.+)"))
                found = [m[1] for line in before if (m := said.fullmatch(line))]
                return replies.format(v=found[-1]) if found else None
        return None

    values = {k: of for k, (*_, of) in _FACTS.items()}
    truth = {"asked": truths, "answer": answer_of, "values": values}
    return Dataset("dialogues", "text", items_of(rows, "dialogue"), LICENCE, SOURCE,
                   "dialogues with a fact to recall at the end", truth)  # fmt: skip
