"""ELIZA: conversation by keywords, patterns and substitution, from a script that anyone can write."""

from __future__ import annotations

import re
import tomllib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bottega.core.errors import DataError, nearest

__all__ = ["Eliza", "Keyword", "Reply", "Rule", "Script", "doctor", "read_script"]

_KEYS = {"name", "hello", "goodbye", "quit", "otherwise", "reflect", "spell", "groups", "breaks", "keyword"}
_KEYWORD = {"word", "rank", "rule", "memory"}
_RULE = {"match", "say", "goto"}


@dataclass(frozen=True)
class Rule:
    """How to take a clause apart, and what to say with the parts.

    Attributes:
        match: words; ``*`` is any number of words, ``@group`` one word of a group, ``[a b]`` one of these words. Each of the
            three is a part, numbered from 1.
        say: replies that are used in turn; ``{2}`` is the second part, spoken back. Empty where ``goto`` is set.
        goto: the keyword whose rules are tried instead.
    """

    match: str
    say: tuple[str, ...] = ()
    goto: str = ""


@dataclass(frozen=True)
class Keyword:
    """A word that replies are made for.

    Attributes:
        word: lower case.
        rank: of several keywords in a clause the one of the highest rank is tried first.
        rules: tried in order.
        memory: rules whose replies are kept for when there is nothing to say.
    """

    word: str
    rank: int
    rules: tuple[Rule, ...]
    memory: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Script:
    """What a bot knows; see ``read_script`` for the file.

    Attributes:
        name: of the script.
        hello, goodbye: the first and the last thing it says.
        quit: what ends the conversation.
        otherwise: what it says in turn when there is neither a keyword nor a memory.
        reflect: words as they are spoken back: ``my`` is ``your``.
        spell: words that are read as others.
        groups: names of groups and their words.
        breaks: words that divide clauses, beside punctuation.
        keywords: by their words.
    """

    name: str
    hello: str
    goodbye: str
    quit: frozenset[str]
    otherwise: tuple[str, ...]
    reflect: Mapping[str, str]
    spell: Mapping[str, str]
    groups: Mapping[str, frozenset[str]]
    breaks: frozenset[str]
    keywords: Mapping[str, Keyword]


@dataclass(frozen=True)
class Reply:
    """What is said, and why.

    Attributes:
        text: the reply.
        keyword: whose rule it is; empty where no keyword led to it.
        pattern: the pattern of that rule.
        why: ``"keyword"``, ``"memory"``, ``"otherwise"`` or ``"goodbye"``.
    """

    text: str
    keyword: str = ""
    pattern: str = ""
    why: str = "keyword"


# ---- scripts ---------------------------------------------------------------------------------------------------------


def doctor() -> Script:
    """The psychotherapist that comes with Bottega."""
    return read_script(Path(__file__).with_name("_eliza.toml"))


def read_script(path: str | Path) -> Script:
    """A script from a TOML or JSON file.

    Keys: ``hello``, ``goodbye`` (text), ``quit``, ``otherwise``, ``breaks`` (lists), ``reflect``, ``spell`` (tables of words),
    ``groups`` (a table of lists) and ``[[keyword]]`` with ``word``, ``rank``, ``[[keyword.rule]]`` and ``[[keyword.memory]]``,
    each of which has ``match`` and ``say`` or ``goto``. ``_eliza.toml`` beside this file is an example.

    Raises:
        DataError: the file cannot be read, or what is wrong in it, in one line.
    """
    import json

    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        table = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot read the script {path}: {getattr(error, 'strerror', None) or error}; give a TOML or JSON file in UTF-8"
        ) from error
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"the script {path} is not {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from error
    if not isinstance(table, dict):
        raise DataError(f"the script {path} is a {type(table).__name__}, not a table; see bottega write eliza --help")
    return _Reader(str(path)).script(table, path.stem.lstrip("_"))


class _Reader:
    """Makes a Script of a table, naming the place of what is wrong."""

    def __init__(self, where: str) -> None:
        self.where = where

    def wrong(self, what: str) -> DataError:
        return DataError(f"the script {self.where}: {what}")

    def known(self, table: Mapping[str, Any], keys: set[str], what: str) -> None:
        if not isinstance(table, Mapping):
            raise self.wrong(f"{what} is {table!r}, not a table")
        for key in table:
            if key not in keys:
                raise self.wrong(f"{what} has an unknown key {key!r}{nearest(key, keys)}")

    def texts(self, value: Any, what: str) -> tuple[str, ...]:
        some = [value] if isinstance(value, str) else value
        if not isinstance(some, list) or not all(isinstance(s, str) and s.strip() for s in some):
            raise self.wrong(f"{what} is {value!r}; give a text, or a list of texts")
        return tuple(some)

    def words(self, value: Any, what: str) -> frozenset[str]:
        return frozenset(word.lower() for word in self.texts(value, what))

    def pairs(self, value: Any, what: str) -> dict[str, str]:
        if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
            raise self.wrong(f"{what} must be a table of words, such as my = 'your'")
        return {k.lower(): v for k, v in value.items()}

    def script(self, table: Mapping[str, Any], stem: str) -> Script:
        self.known(table, _KEYS, "the file")
        for needed in ("otherwise", "keyword"):
            if not table.get(needed):
                raise self.wrong(f"there is no {needed!r}; say what it answers")
        groups = table.get("groups", {})
        if not isinstance(groups, Mapping):
            raise self.wrong("groups must be a table of lists of words")
        self.groups = {name.lower(): self.words(words, f"groups.{name}") for name, words in groups.items()}
        keywords: dict[str, Keyword] = {}
        for entry in table["keyword"]:
            keyword = self.keyword(entry)
            if keyword.word in keywords:
                raise self.wrong(f"the keyword {keyword.word!r} is there twice; join its rules")
            keywords[keyword.word] = keyword
        for keyword in keywords.values():
            self.leads_somewhere(keyword, keywords)
        return Script(
            str(table.get("name", stem)), str(table.get("hello", "")), str(table.get("goodbye", "Goodbye.")),
            self.words(table.get("quit", ["bye", "goodbye", "quit"]), "quit"), self.texts(table["otherwise"], "otherwise"),
            self.pairs(table.get("reflect", {}), "reflect"), self.pairs(table.get("spell", {}), "spell"), self.groups,
            self.words(table.get("breaks", []), "breaks") if table.get("breaks") else frozenset(), keywords,
        )  # fmt: skip

    def leads_somewhere(self, keyword: Keyword, keywords: Mapping[str, Keyword]) -> None:
        for rule in keyword.rules:
            if rule.goto and rule.goto not in keywords:
                raise self.wrong(f"keyword {keyword.word!r} goes to {rule.goto!r}{nearest(rule.goto, keywords)}")

        def walk(word: str, path: tuple[str, ...]) -> None:
            if word in path:
                raise self.wrong(f"the keywords {' -> '.join((*path, word))} go round in a circle")
            for rule in keywords[word].rules:
                if rule.goto:
                    walk(rule.goto, (*path, word))

        walk(keyword.word, ())

    def keyword(self, entry: Any) -> Keyword:
        self.known(entry, _KEYWORD, "a keyword")
        word, rank = entry.get("word"), entry.get("rank", 0)
        if not isinstance(word, str) or not re.fullmatch(r"\S+", word):
            raise self.wrong(f"a keyword has the word {word!r}; give one word")
        if not isinstance(rank, int):
            raise self.wrong(f"keyword {word!r} has the rank {rank!r}; give a whole number")
        parts = {
            part: tuple(self.rule(rule, f"{part} of keyword {word!r}") for rule in entry.get(part, ()))
            for part in ("rule", "memory")
        }
        if not parts["rule"]:
            raise self.wrong(f"keyword {word!r} has no rule; add [[keyword.rule]] with match and say")
        if any(rule.goto for rule in parts["memory"]):
            raise self.wrong(f"a memory of keyword {word!r} goes elsewhere; give it something to say")
        return Keyword(word.lower(), rank, parts["rule"], parts["memory"])

    def rule(self, entry: Any, what: str) -> Rule:
        self.known(entry, _RULE, what)
        match, goto = entry.get("match"), entry.get("goto", "")
        if not isinstance(match, str) or not match.strip():
            raise self.wrong(f"a {what} has the pattern {match!r}; write words and *, such as '* my *'")
        if bool(goto) == bool(entry.get("say")):
            raise self.wrong(f"the {what} with the pattern {match!r} needs either 'say' or 'goto'")
        say = () if goto else self.texts(entry["say"], f"say of {match!r}")
        parts = 0
        for piece in _pieces(match):
            parts += piece[0] in "*@["
            if piece[0] == "@" and piece[1:] not in self.groups:
                raise self.wrong(f"the {what} names a group {piece!r}{nearest(piece[1:], self.groups)}")
        for text in say:
            for number in re.findall(r"\{(.*?)\}", text):
                if not number.isdecimal() or not 1 <= int(number) <= parts:
                    raise self.wrong(f"{text!r} uses {{{number}}}, but the pattern {match!r} has {parts} parts")
        return Rule(match.lower(), say, str(goto).lower())


def _pieces(match: str) -> list[str]:
    return re.findall(r"\[[^\]]*\]|\S+", match.lower())


# ---- conversation ----------------------------------------------------------------------------------------------------


def _take_apart(pieces: Sequence[str], words: Sequence[str], groups: Mapping[str, frozenset[str]]) -> list[str] | None:
    """The parts of a clause that a pattern names, the shortest first; None where it does not fit."""
    if not pieces:
        return None if words else []
    piece, rest = pieces[0], pieces[1:]
    if piece == "*":
        for k in range(len(words) + 1):
            found = _take_apart(rest, words[k:], groups)
            if found is not None:
                return [" ".join(words[:k]), *found]
        return None
    if not words:
        return None
    one = piece[0] in "@["
    if one:
        fits = words[0] in (groups[piece[1:]] if piece[0] == "@" else piece[1:-1].split())
    else:
        fits = words[0] == piece
    found = _take_apart(rest, words[1:], groups) if fits else None
    return found if found is None or not one else [words[0], *found]


@dataclass
class Eliza:
    """A conversation (Weizenbaum 1966, Communications of the ACM 9(1), 36-45), without a model and without chance.

    What is said is cut into clauses, of which the first that has a keyword counts. Its keywords are tried from the highest
    rank down; a keyword's rules take the clause apart, and the first that fits is answered with its next reply, in which the
    parts are spoken back (my mother is your mother). Some keywords also keep a reply in mind. It is used, the oldest first,
    when there is no keyword to go by; when nothing was kept, something is said that always fits.

    Args:
        script: what it knows; ``doctor()`` by default.

    >>> eliza = Eliza()
    >>> eliza.reply("Men are all alike.").text
    'In what way?'
    >>> eliza.reply("Well, my boyfriend made me come here.").text
    'Your boyfriend made you come here.'
    """

    script: Script = field(default_factory=doctor)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the conversation."""
        self.memory: deque[Reply] = deque()
        self.turns: dict[tuple[str, str, str], int] = {}

    def clauses(self, text: str) -> list[list[str]]:
        """What is said as clauses of lower-case words, read as ``spell`` says."""
        words: list[str] = []
        for token in re.findall(r"[\w'’-]+|[.,;:!?()\n]", text.lower()):
            token = token.replace("’", "'").strip("'-") or "."
            words += self.script.spell.get(token, token).split()
        out: list[list[str]] = [[]]
        for word in words:
            if word in self.script.breaks or not word[0].isalnum():
                out.append([])
            else:
                out[-1].append(word)
        return [clause for clause in out if clause]

    def is_over(self, text: str) -> bool:
        """Whether this ends the conversation."""
        return " ".join(word for clause in self.clauses(text) for word in clause) in self.script.quit

    def reply(self, text: str) -> Reply:
        """What is answered; the conversation goes on from there."""
        if self.is_over(text):
            return Reply(self.script.goodbye, why="goodbye")
        known = self.script.keywords
        for clause in self.clauses(text):
            found = sorted(dict.fromkeys(w for w in clause if w in known), key=lambda w: -known[w].rank)  # stable
            for word in found:
                made = self._by(known[word], clause)
                if made is None:
                    continue
                kept = self._first(known[word].memory, word, clause, "memory")
                if kept is not None:
                    self.memory.append(kept)
                return made
            if found:
                break  # what follows the clause of the keywords is not looked at
        if self.memory:
            return self.memory.popleft()
        return Reply(self._next(("", "", "otherwise"), self.script.otherwise), why="otherwise")

    def _by(self, keyword: Keyword, clause: list[str]) -> Reply | None:
        for rule in keyword.rules:
            if rule.goto:
                if _take_apart(_pieces(rule.match), clause, self.script.groups) is not None:
                    return self._by(self.script.keywords[rule.goto], clause)
            elif (made := self._first((rule,), keyword.word, clause, "keyword")) is not None:
                return made
        return None

    def _first(self, rules: Sequence[Rule], word: str, clause: list[str], why: str) -> Reply | None:
        for rule in rules:
            parts = _take_apart(_pieces(rule.match), clause, self.script.groups)
            if parts is not None:
                text = self._next((word, rule.match, why), rule.say)
                for number, part in enumerate(parts, 1):
                    text = text.replace(f"{{{number}}}", self._back(part))
                text = re.sub(r" +(?=[ .,;:!?]|$)", "", text).strip()
                return Reply(text[:1].upper() + text[1:], word, rule.match, why)
        return None

    def _next(self, key: tuple[str, str, str], replies: Sequence[str]) -> str:
        turn = self.turns.get(key, 0)
        self.turns[key] = turn + 1
        return replies[turn % len(replies)]

    def _back(self, part: str) -> str:
        """A part of what was said, spoken back."""
        return " ".join(self.script.reflect.get(word, "I" if word == "i" else word) for word in part.split())
