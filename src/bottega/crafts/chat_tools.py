"""Tools that run here: reminders, meetings with their conflicts, dates, tables, and a tutor that never tells its key."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from bottega.codecs.text import csv_rows, utf8
from bottega.core.errors import DataError
from bottega.crafts import chat_dates
from bottega.crafts import chat_tables as t
from bottega.crafts.chat_folder import TableTool
from bottega.crafts.chat_memory import Memory

__all__ = ["Agenda", "Lookup", "Quiz", "Tutor", "next_skill", "trace"]


class Agenda:
    """A user's reminders and meetings.

    Args:
        memory: where they are kept.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def remind(self, user: str, text: str, now: datetime) -> str:
        """Put down a reminder that a sentence asks for, or say what lacks."""
        when = chat_dates.find(text, now)
        if when is None:
            return "When shall I remind you? Say a day or a time, for example “tomorrow at 9”."
        at = when.at if when.timed else when.at.replace(hour=9)
        if at <= now:
            return f"{chat_dates.said(at)} is over. Which time do you mean?"
        what = _what(text, when, _REMIND) or "what you asked for"
        m = self.memory
        with m.writes() as c:
            c.execute(t.REMINDERS.insert().values(bot=m.bot, user=user, due=at, text=what, told=False))
        return f"I will remind you on {chat_dates.said(at)}: {what}."

    def reminders(self, user: str) -> list[tuple[datetime, str]]:
        """Those that were not told yet, in order."""
        r = t.REMINDERS.c
        with self.memory.reads() as c:
            rows = c.execute(sa.select(r.due, r.text).where(r.bot == self.memory.bot, r.user == user, sa.not_(r.told)).order_by(r.due)).all()  # fmt: skip
        return [(row.due, row.text) for row in rows]

    def due(self, user: str, now: datetime) -> list[str]:
        """What is due now; each is told once."""
        r = t.REMINDERS.c
        where = (r.bot == self.memory.bot) & (r.user == user) & sa.not_(r.told) & (r.due <= now)
        with self.memory.reads() as c:
            if not c.execute(sa.select(r.id).where(where).limit(1)).first():
                return []
        with self.memory.writes() as c:
            rows = c.execute(sa.select(r.id, r.text).where(where).order_by(r.due)).all()
            c.execute(t.REMINDERS.update().where(r.id.in_([row.id for row in rows])).values(told=True))
        return [row.text for row in rows]

    def meet(self, user: str, text: str, now: datetime) -> str:
        """Put down a meeting, unless it overlaps with another; the first free time after it is offered then."""
        when = chat_dates.find(text, now)
        if when is None or not when.timed:
            return "When is it? Say a day and a time, for example “Friday at 14:00 for 30 minutes”."
        end = chat_dates.span(text, when.at)
        if end <= when.at:
            return f"It would end at {chat_dates.said(end)}, before it begins. How long is it?"
        what = _what(text, when, _MEET) or "meeting"
        made, against = self.book(user, when.at, end, what)
        if made:
            return f"It stands in your calendar: {what}, {chat_dates.said(when.at)} to {end:%H:%M}."
        free = self.free(user, when.at, end - when.at)
        other = against[0]
        return (
            f"That overlaps with “{other[2]}” ({chat_dates.said(other[0])} to {other[1]:%H:%M}), so I put nothing down. "
            f"You would be free at {chat_dates.said(free)}."
        )

    def book(
        self, user: str, start: datetime, end: datetime, what: str
    ) -> tuple[bool, list[tuple[datetime, datetime, str]]]:
        """Put down what overlaps with nothing; else what it overlaps with. Ends are not part of a meeting."""
        e = t.EVENTS.c
        with self.memory.writes() as c:  # one transaction: nobody books between the look and the entry
            rows = c.execute(
                sa.select(e.start, e.end, e.text)
                .where(e.bot == self.memory.bot, e.user == user, e.start < end, e.end > start).order_by(e.start)
            ).all()  # fmt: skip
            if not rows:
                c.execute(t.EVENTS.insert().values(bot=self.memory.bot, user=user, start=start, end=end, text=what))
        return not rows, [(row.start, row.end, row.text) for row in rows]

    def meetings(self, user: str, since: datetime) -> list[tuple[datetime, datetime, str]]:
        """All that end after ``since``, in order."""
        e = t.EVENTS.c
        with self.memory.reads() as c:
            rows = c.execute(sa.select(e.start, e.end, e.text).where(e.bot == self.memory.bot, e.user == user, e.end > since).order_by(e.start)).all()  # fmt: skip
        return [(row.start, row.end, row.text) for row in rows]

    def free(self, user: str, start: datetime, length: timedelta) -> datetime:
        """The first time from ``start`` on at which ``length`` is free."""
        at = start
        for begin, end, _ in self.meetings(user, start):
            if begin - at >= length:
                break
            at = max(at, end)
        return at


_REMIND = re.compile(r"^.*?\b(?:remind me|set (?:me )?(?:a |an )?(?:reminder|alarm)|don't let me forget|erinnere? mich|rappelle[- ]moi|recu[eé]rdame)\b", re.I | re.S)  # fmt: skip
_MEET = re.compile(r"^.*?\b(?:schedule|book|set up|arrange|plan|put|add|make|enter|create)\b(?: me)?", re.I | re.S)
_EDGES = re.compile(r"^(?:[\s,.:;!?]|(?:to|that|of|about|for|please|an?|the|dass|daran|de|que|on|at|i have|in my calendar)\b)+|(?:[\s,.:;!?]|\b(?:on|at|by|for|from|in|to|please|um|am|à|a|le|el|the|into|my|calendar|in my calendar|until|till)\b)+$", re.I)  # fmt: skip


def _what(text: str, when: chat_dates.When, begin: re.Pattern[str]) -> str:
    """The sentence without its time and without what asks for the tool."""
    rest = f"{text[: when.start]} \x00 {text[when.end :]}"
    rest = begin.sub("", rest)
    rest = re.sub(
        r"\b(?:for|during) (?:half an?|an?|\w+)(?: and a half)? (?:hours?|minutes?|mins?)\b|\b(?:until|till) \S+",
        "",
        rest,
    )
    parts = [_EDGES.sub("", part).strip() for part in rest.split("\x00")]
    parts = [_EDGES.sub("", part).strip() for part in parts]
    return re.sub(r"\s+", " ", " ".join(part for part in parts if part)).strip(" ,.!?")


class Lookup:
    """A row of a table by its key.

    Args:
        tool: what the folder says of it.
        folder: of the bot.
    """

    def __init__(self, tool: TableTool, folder: Path) -> None:
        self.tool, self.path = tool, folder / tool.table
        self._read: tuple[int, dict[str, dict[str, str]]] = (0, {})

    def __call__(self, slots: Mapping[str, str]) -> tuple[str, bool]:
        """What is said, and whether the row is there."""
        key = slots.get(self.tool.key, "")
        row = self.rows().get(_key(key))
        if row is None:
            return _filled(self.tool.missing, {**slots, self.tool.key: key}), False
        return _filled(self.tool.say, {**slots, **row}), True

    def rows(self) -> dict[str, dict[str, str]]:
        """The table by its keys, read again when it changes."""
        at = self.path.stat().st_mtime_ns
        if at != self._read[0]:
            rows = csv_rows(utf8(self.tool.table, self.path.read_bytes()), self.tool.table, ",")
            self._read = at, {_key(row[self.tool.key]): row for _, row in rows}
        return self._read[1]


def _key(text: str) -> str:
    return re.sub(r"\W", "", text).lower()


def _filled(text: str, slots: Mapping[str, str]) -> str:
    return re.sub(r"\{([a-z_][a-z0-9_]*)\}", lambda f: str(slots.get(f[1], f[0])), text)


# ---- the tutor ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Quiz:
    """One item of a tutor; ``answer`` never leaves this module."""

    skill: str
    question: str
    answer: str
    hint: str


LEARN, SLIP, GUESS, START, MASTERED = 0.15, 0.1, 0.2, 0.3, 0.95


def trace(known: float, right: bool, *, learn: float = LEARN, slip: float = SLIP, guess: float = GUESS) -> float:
    """The probability that a skill is known after one more answer (Corbett and Anderson 1995, equations 1 and 2).

    >>> round(trace(0.3, True), 4), round(trace(0.3, False), 4)
    (0.7098, 0.1932)
    """
    if right:
        after = known * (1 - slip) / (known * (1 - slip) + (1 - known) * guess)
    else:
        after = known * slip / (known * slip + (1 - known) * (1 - guess))
    return after + (1 - after) * learn


def next_skill(known: Mapping[str, float], asked: Mapping[str, int] | None = None) -> str | None:
    """The skill to ask of next: of those not mastered, the one whose answer is least certain; None when all are mastered.

    Entropy of the answer is largest where its probability is a half. Of equals, the one asked less often, then by name.
    """
    left = [skill for skill, p in known.items() if p < MASTERED]

    def entropy(skill: str) -> float:
        p = known[skill] * (1 - SLIP) + (1 - known[skill]) * GUESS
        return -p * math.log(p) - (1 - p) * math.log(1 - p)

    return min(left, key=lambda s: (-round(entropy(s), 9), (asked or {}).get(s, 0), s)) if left else None


class Tutor:
    """Asks, marks and chooses the next question; the key is compared with, never said.

    Args:
        path: a CSV with skill, question, answer and hint.
        memory: where mastery is kept.
    """

    def __init__(self, path: Path, memory: Memory) -> None:
        rows = csv_rows(utf8(path.name, path.read_bytes()), path.name, ",")
        if not rows or not {"skill", "question", "answer", "hint"} <= set(rows[0][1]):
            raise DataError(f"{path} needs the columns skill, question, answer and hint, and a row")
        self.items = [Quiz(*(row[k].strip() for k in ("skill", "question", "answer", "hint"))) for _, row in rows]
        for (line, _), item in zip(rows, self.items, strict=True):
            if not item.question or not item.answer:
                raise DataError(f"{path}, line {line}: a question and its answer may not be empty")
            if (
                _key(item.answer)
                and _key(item.answer) in _key(item.question + " " + item.hint)
                and len(_key(item.answer)) > 1
            ):
                raise DataError(
                    f"{path}, line {line}: the question or the hint gives the answer away; write them in other words"
                )
        self.memory = memory

    @property
    def answers(self) -> Sequence[str]:
        """For the guard alone, which keeps them out of replies."""
        return [item.answer for item in self.items]

    def known(self, user: str) -> tuple[dict[str, float], dict[str, int]]:
        """Mastery of each skill, and how often it was asked."""
        m = t.MASTERY.c
        with self.memory.reads() as c:
            rows = c.execute(sa.select(m.skill, m.known, m.asked).where(m.bot == self.memory.bot, m.user == user)).all()
        kept = {row.skill: (row.known, row.asked) for row in rows}
        skills = dict.fromkeys(item.skill for item in self.items)
        return {s: kept.get(s, (START, 0))[0] for s in skills}, {s: kept.get(s, (START, 0))[1] for s in skills}

    def ask(self, user: str) -> tuple[str, int]:
        """The next question and its number; -1 when everything is mastered."""
        known, asked = self.known(user)
        skill = next_skill(known, asked)
        if skill is None:
            return "You have mastered everything that I can ask. Well done.", -1
        of = [k for k, item in enumerate(self.items) if item.skill == skill]
        k = of[asked[skill] % len(of)]
        return self.items[k].question, k

    def mark(self, user: str, k: int, said: str) -> tuple[str, bool]:
        """Whether an answer is right, in words that do not tell the key; mastery is kept."""
        item = self.items[k]
        right = _same(said, item.answer)
        known, asked = self.known(user)
        m = t.MASTERY.c
        after = {"known": trace(known[item.skill], right), "asked": asked[item.skill] + 1}
        with self.memory.writes() as c:
            mine = (m.bot == self.memory.bot) & (m.user == user) & (m.skill == item.skill)
            if c.execute(t.MASTERY.update().where(mine).values(**after)).rowcount == 0:
                c.execute(t.MASTERY.insert().values(bot=self.memory.bot, user=user, skill=item.skill, **after))
        return ("Right." if right else f"Not quite. {item.hint}".strip()), right


def _same(said: str, right: str) -> bool:
    """Whether an answer is the key: numbers by value, words without articles, case and marks; in a sentence it may be the last."""
    try:
        return math.isclose(float(said.replace(",", ".")), float(right.replace(",", ".")), rel_tol=1e-9)
    except ValueError:
        pass
    bare = [w for w in re.findall(r"[\w.\-/]+", said.lower()) if w not in ("a", "an", "the", "it", "is", "its", "i", "think", "answer", "equals", "to", "be", "would")]  # fmt: skip
    want = [w for w in re.findall(r"[\w.\-/]+", right.lower()) if w not in ("a", "an", "the")]
    return [w.strip(".") for w in bare] == [w.strip(".") for w in want]
