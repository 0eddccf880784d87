"""A bot as a folder: ``bot.toml`` and what it names, read and checked, each fault with its line.

::

    bot.toml        who it is, intents with examples and answers, flows, tools, hand-off rules, its model
    knowledge/      Markdown, text, CSV and PDF that it may quote
    tests/*.toml    scripted conversations for ``bottega chat test``

Nothing in the folder is executed: tools are those of ``chat_tools``, and tables that are looked up.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from bottega.core.errors import DataError, RecipeError, nearest

__all__ = [
    "BOT", "Flow", "Folder", "HandOff", "Intent", "Lines", "ModelTable", "Persona", "Router", "Secret", "Step", "TableTool",
    "Tone", "read_folder",
]  # fmt: skip

BOT = "bot.toml"
Tone = Literal["friendly", "formal", "brief"]
Kind = Literal["text", "name", "number", "email", "date", "choice"]
BUILT_IN = ("remind", "reminders", "meet", "meetings", "date", "tutor")
"""Tools that every bot has; see ``chat_tools``."""
END, HUMAN = "end", "human"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_BLANK = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


@dataclass(frozen=True)
class Intent:
    """What people want, and what is said to it.

    Attributes:
        name: lower case.
        examples: as people say it, at least two.
        answers: canned, used in turn or as feedback prefers; ``{slot}`` is filled from what is known.
        say: answers in other languages, by their codes.
        flow: that is begun instead.
        tool: that answers instead.
        hand_off: whether a person is called.
    """

    name: str
    examples: tuple[str, ...]
    answers: tuple[str, ...] = ()
    say: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    flow: str = ""
    tool: str = ""
    hand_off: bool = False


@dataclass(frozen=True)
class Step:
    """One step of a flow: something to ask, to say, or to do.

    Attributes:
        name: for ``next``; ``step 1`` ... where none is given.
        ask: a question whose answer fills ``slot``.
        slot: what is filled.
        kind: what the answer must be.
        pattern: a regular expression that it must hold, case apart; the match is what is kept.
        choices: of kind choice.
        again: said where the answer is none.
        say: a line that is said.
        tool: a tool that is called with the slots; what it says is said.
        when: ``{slot = value}``: the step is passed over unless all hold.
        next: the step that follows; by default the one below, ``"end"`` or ``"human"``.
    """

    name: str
    ask: str = ""
    slot: str = ""
    kind: Kind = "text"
    pattern: str = ""
    choices: tuple[str, ...] = ()
    again: str = ""
    say: str = ""
    tool: str = ""
    when: Mapping[str, str] = field(default_factory=dict)
    next: str = ""


@dataclass(frozen=True)
class Flow:
    """Steps in order."""

    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class TableTool:
    """A table in which a row is looked up by its key; ``say`` and ``missing`` take the row's columns as ``{column}``."""

    name: str
    table: str
    key: str
    say: str
    missing: str


@dataclass(frozen=True)
class Secret:
    """What the bot never says, until a slot has a value.

    Attributes:
        words: any of them gives it away: names, numbers, phrases.
        about: what it is about, for who asks; empty where even that is not said.
        until: ``{slot = value}``; it may be said once all hold. Empty: never.
    """

    words: tuple[str, ...]
    about: str = ""
    until: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Persona:
    """Who speaks, and what it does not know.

    Attributes:
        story: what is told when somebody asks who it is.
        refuse: said where something is asked that it may not tell.
        secrets: see ``Secret``.
    """

    story: str = ""
    refuse: str = "I cannot tell you about that."
    secrets: tuple[Secret, ...] = ()


@dataclass(frozen=True)
class Router:
    """From where on each way to answer is taken; all between 0 and 1.

    Attributes:
        intent: least confidence of a canned answer; 0 is the threshold that training chose.
        passage: least share of a question's words that a passage must have.
        generate: whether the model may answer what nothing else does.
    """

    intent: float = 0.0
    passage: float = 0.6
    generate: bool = True


@dataclass(frozen=True)
class HandOff:
    """When a person is called.

    Attributes:
        misses: so many messages in a row that were not understood.
        minutes: within which somebody should answer.
        say: what the user is told.
    """

    misses: int = 2
    minutes: float = 15.0
    say: str = "I have asked a colleague to take over. They see what we wrote and will answer here."


@dataclass(frozen=True)
class ModelTable:
    """What generates: a run, a Hugging Face directory, or an OpenAI-compatible endpoint.

    Attributes:
        base: path (from the folder) or address; empty for none.
        name: the endpoint's name of the model.
        max_new: tokens of a reply.
        temperature: of sampling.
    """

    base: str = ""
    name: str = ""
    max_new: int = 80
    temperature: float = 0.7


@dataclass(frozen=True)
class Folder:
    """A bot as it stands in its folder; all of it is checked.

    Attributes:
        path: the folder.
        fallback: said where nothing answers.
        welcome: the greeting of an empty conversation.
        crisis: added to the safe text of ``chat_safety``: numbers of the place.
        language: of the answers, a code.
        knowledge: the folder of what may be quoted, from ``path``; empty for none.
        reader: a run that finds spans in passages (``write answer --run``); empty for rules.
        items: a CSV of the tutor: skill, question, answer, hint.
        knows: slots that users may set by saying so ("my size is M"): name -> how a question calls it.
    """

    path: Path
    name: str
    purpose: str
    tone: Tone = "friendly"
    language: str = "en"
    welcome: str = "Hello! How can I help?"
    fallback: str = "I am not sure that I understood. Could you say it in other words?"
    crisis: str = ""
    knowledge: str = ""
    reader: str = ""
    items: str = ""
    intents: tuple[Intent, ...] = ()
    flows: tuple[Flow, ...] = ()
    tools: tuple[TableTool, ...] = ()
    persona: Persona = Persona()
    router: Router = Router()
    hand_off: HandOff = HandOff()
    model: ModelTable = ModelTable()

    def intent(self, name: str) -> Intent | None:
        """An intent by name."""
        return next((one for one in self.intents if one.name == name), None)

    def flow(self, name: str) -> Flow | None:
        """A flow by name."""
        return next((one for one in self.flows if one.name == name), None)

    @property
    def state(self) -> Path:
        """Where the bot keeps what it learns, beside what people wrote."""
        return self.path / ".bot"


class Lines:
    """Where the tables and keys of a TOML file stand, which the parser does not tell.

    >>> at = Lines("name = 'x'\\n[[flow]]\\nname = 'a'\\n[[flow.step]]\\nsay = 'b'\\n")
    >>> at.of("name"), at.of("say", ("flow", 0), ("step", 0)), at.of("ask", ("flow", 0), ("step", 0))
    (1, 5, 4)
    """

    def __init__(self, text: str) -> None:
        self.at: dict[tuple[Any, ...], int] = {(): 1}
        counts: dict[tuple[Any, ...], int] = {}
        where: tuple[Any, ...] = ()
        quoted = ""
        for number, line in enumerate(text.split("\n"), 1):
            if quoted:
                quoted = "" if quoted in line else quoted
                continue
            if found := re.match(r"\s*(\[\[?)\s*([\w.\-]+)\s*\]\]?", line):
                where = ()
                parts = found[2].split(".")
                for k, part in enumerate(parts):
                    key = (*where, part)
                    if k == len(parts) - 1 and found[1] == "[[":
                        counts[key] = counts.get(key, -1) + 1
                    where = (*where, (part, counts[key])) if key in counts else key
                self.at[where] = number
            elif found := re.match(r"\s*[\"']?([\w\-]+)[\"']?\s*=", line):
                self.at[(*where, found[1])] = number
            for mark in ('"""', "'''"):
                if line.count(mark) % 2:
                    quoted = mark

    def of(self, key: str = "", *where: Any) -> int:
        """The line of a key, else of its table, else of what holds that."""
        place = (*where, key) if key else where
        while place not in self.at:
            place = place[:-1]
        return self.at[place]


class _Reader:
    """One reading of one file."""

    def __init__(self, path: Path) -> None:
        self.file = path / BOT if path.is_dir() else path
        self.folder = self.file.parent
        try:
            text = self.file.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise DataError(f"there is no {self.file}; bottega chat new {path} writes one") from error
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read {self.file}: {error}; it must be a file of UTF-8") from error
        try:
            self.table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"{self.file} is not TOML: {error}") from error
        self.lines = Lines(text)

    def fail(self, why: str, key: str, *where: Any) -> RecipeError:
        return RecipeError(f"{self.file}, line {self.lines.of(key, *where)}: {why}")

    def value(self, table: Mapping[str, Any], key: str, kind: type, default: Any, *where: Any) -> Any:
        """One value of its kind; texts may not be empty, numbers not negative."""
        if key not in table:
            if default is ...:
                raise self.fail(f"{key} is missing", "", *where)
            return default
        value = table[key]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            said = {str: "a text", float: "a number", int: "a whole number", bool: "true or false", list: "a list", dict: "a table"}[kind]  # fmt: skip
            raise self.fail(f"{key} is {value!r}, not {said}", key, *where)
        if kind is str and default is ... and not value.strip():
            raise self.fail(f"{key} is empty", key, *where)
        if kind in (int, float) and value < 0:
            raise self.fail(f"{key} is {value}; it may not be negative", key, *where)
        return value

    def texts(self, table: Mapping[str, Any], key: str, *where: Any) -> tuple[str, ...]:
        """A list of texts, none empty."""
        value = self.value(table, key, list, [], *where)
        for one in value:
            if not isinstance(one, str) or not one.strip():
                raise self.fail(f"{key} holds {one!r}; every entry is a text with words in it", key, *where)
        return tuple(value)

    def pairs(self, table: Mapping[str, Any], key: str, *where: Any) -> dict[str, str]:
        """A table of texts."""
        value = self.value(table, key, dict, {}, *where)
        return {str(k): str(v) for k, v in value.items()}

    def keys(self, table: Mapping[str, Any], known: Sequence[str], *where: Any) -> None:
        """Refuse keys that there are not."""
        for key in table:
            if key not in known:
                raise self.fail(f"there is no key {key!r}{nearest(key, known)}", key, *where)

    def rows(self, table: Mapping[str, Any], key: str, *where: Any) -> Iterator[tuple[dict[str, Any], tuple[Any, ...]]]:
        """The tables of an array, each with its place."""
        for k, one in enumerate(self.value(table, key, list, [], *where)):
            here = (*where, (key, k))
            if not isinstance(one, dict):
                raise self.fail(f"{key} is a list of tables; write [[{key}]]", key, *where)
            yield one, here

    def flat(self, made: type, key: str) -> Any:
        """A table whose keys are the fields of a dataclass of plain values."""
        table = self.value(self.table, key, dict, {})
        known = {f.name: f for f in fields(made)}
        self.keys(table, list(known), key)
        return made(**{
            name: self.value(table, name, type(f.default), f.default, key) for name, f in known.items() if name in table
        })  # fmt: skip

    # ---- parts ---------------------------------------------------------------------------------------------------

    def read(self) -> Folder:
        """All of it."""
        top = self.table
        plain = ("name", "purpose", "tone", "language", "welcome", "fallback", "crisis", "knowledge", "reader", "items")
        self.keys(top, [*plain, "intent", "flow", "tool", "persona", "router", "hand_off", "model"])
        said = {k: self.value(top, k, str, ...) for k in ("name", "purpose")}
        said |= {k: self.value(top, k, str, ...) for k in plain[2:] if k in top}
        if said.get("tone", "brief") not in get_args(Tone):
            raise self.fail(f"tone is {said['tone']!r}{nearest(said['tone'], get_args(Tone))}", "tone")
        for key in ("knowledge", "items"):
            if key in said and not (self.folder / said[key]).exists():
                raise self.fail(f"{key} is {said[key]!r}, and there is no such place in {self.folder}", key)
            if key in said and not (self.folder / said[key]).resolve().is_relative_to(self.folder.resolve()):
                raise self.fail(f"{key} is {said[key]!r}, which lies outside {self.folder}; move it there", key)
        tools = tuple(self.tool(*row) for row in self.rows(top, "tool"))
        flows = tuple(self.flow(row, here, {t.name for t in tools}) for row, here in self.rows(top, "flow"))
        intents = tuple(self.intent(row, here, {f.name for f in flows}, {t.name for t in tools}) for row, here in self.rows(top, "intent"))  # fmt: skip
        for what, every in (("intent", intents), ("flow", flows), ("tool", tools)):
            seen: set[str] = set()
            for k, one in enumerate(every):
                if one.name in seen:
                    raise self.fail(f"there are two {what}s called {one.name!r}", "name", (what, k))
                seen.add(one.name)
        router, hand_off, model = self.flat(Router, "router"), self.flat(HandOff, "hand_off"), self.flat(ModelTable, "model")  # fmt: skip
        for key in ("intent", "passage"):
            if getattr(router, key) > 1:
                raise self.fail(f"{key} is {getattr(router, key)}; it is a share, from 0 to 1", key, "router")
        if hand_off.misses < 1:
            raise self.fail("misses is 0; a person is called after 1 or more", "misses", "hand_off")
        if not intents and "knowledge" not in said and not model.base:
            raise self.fail("the bot has neither intents nor knowledge nor a model, so it can say nothing", "")
        return Folder(self.folder, **said, intents=intents, flows=flows, tools=tools, persona=self.persona(), router=router,
                      hand_off=hand_off, model=model)  # fmt: skip

    def named(self, table: Mapping[str, Any], where: tuple[Any, ...]) -> str:
        name: str = self.value(table, "name", str, ..., *where)
        if not _NAME.fullmatch(name):
            raise self.fail(f"name is {name!r}; use small letters, digits and _", "name", *where)
        return name

    def tool(self, table: dict[str, Any], where: tuple[Any, ...]) -> TableTool:
        """A table that is looked up; its columns must be there."""
        from bottega.codecs.text import csv_rows, utf8

        self.keys(table, [f.name for f in fields(TableTool)], *where)
        made = TableTool(self.named(table, where), *(self.value(table, k, str, ..., *where) for k in ("table", "key", "say", "missing")))  # fmt: skip
        if made.name in BUILT_IN:
            raise self.fail(f"a tool called {made.name!r} is built in; choose another name", "name", *where)
        path = self.folder / made.table
        if not path.resolve().is_relative_to(self.folder.resolve()) or not path.is_file():
            raise self.fail(f"there is no {made.table} in {self.folder}", "table", *where)
        row = next((row for _, row in csv_rows(utf8(made.table, path.read_bytes()), made.table, ",")), None)
        columns = list(row or {})
        for key, wanted in (("key", [made.key]), ("say", _BLANK.findall(made.say))):
            for one in wanted:
                if one not in columns:
                    raise self.fail(f"{made.table} has no column {one!r}{nearest(one, columns)}", key, *where)
        return made

    def intent(self, table: dict[str, Any], where: tuple[Any, ...], flows: set[str], tools: set[str]) -> Intent:
        """One intent."""
        self.keys(table, [f.name for f in fields(Intent)], *where)
        name = self.named(table, where)
        examples, answers = self.texts(table, "examples", *where), self.texts(table, "answers", *where)
        if len(examples) < 2:
            raise self.fail(f"intent {name} has {len(examples)} examples; give two or more", "examples", *where)
        say = {}
        for code, some in self.value(table, "say", dict, {}, *where).items():
            say[code] = self.texts({code: some}, code, *where, "say")
        flow, tool = (self.value(table, key, str, "", *where) for key in ("flow", "tool"))
        if flow and flow not in flows:
            raise self.fail(
                f"intent {name} begins flow {flow!r}, and there is none{nearest(flow, flows)}", "flow", *where
            )
        if tool and tool not in tools | set(BUILT_IN):
            raise self.fail(f"intent {name} calls tool {tool!r}, and there is none{nearest(tool, tools | set(BUILT_IN))}", "tool", *where)  # fmt: skip
        hand_off = self.value(table, "hand_off", bool, False, *where)
        if not (answers or flow or tool or hand_off):
            raise self.fail(
                f"intent {name} leads nowhere; give it answers, a flow, a tool or hand_off = true", "", *where
            )
        return Intent(name, examples, answers, say, flow, tool, hand_off)

    def flow(self, table: dict[str, Any], where: tuple[Any, ...], tools: set[str]) -> Flow:
        """A flow whose steps follow each other and end."""
        self.keys(table, ["name", "step"], *where)
        name = self.named(table, where)
        steps = [self.step(row, here, tools, k) for k, (row, here) in enumerate(self.rows(table, "step", *where))]
        if not steps:
            raise self.fail(f"flow {name} has no steps; write [[flow.step]] below it", "", *where)
        names = [step.name for step in steps]
        slots = {step.slot for step in steps if step.slot}
        for k, step in enumerate(steps):
            here = (*where, ("step", k))
            if names.index(step.name) != k:
                raise self.fail(f"flow {name} has two steps called {step.name!r}", "name", *here)
            if step.next and step.next not in (*names, END, HUMAN):
                raise self.fail(f"flow {name}: next is {step.next!r}, and there is no such step{nearest(step.next, [*names, END, HUMAN])}", "next", *here)  # fmt: skip
            for slot in step.when:
                if slot not in slots:
                    raise self.fail(f"flow {name}: when asks for slot {slot!r}, which no step of it fills{nearest(slot, slots)}", "when", *here)  # fmt: skip
        self.ends(name, steps, where)
        return Flow(name, tuple(steps))

    def ends(self, name: str, steps: list[Step], where: tuple[Any, ...]) -> None:
        """Refuse steps that are never reached, and rounds in which nothing is asked."""
        at = {step.name: k for k, step in enumerate(steps)}

        def after(k: int) -> set[int]:
            step = steps[k]
            to = {at[step.next]} if step.next in at else set() if step.next else {k + 1} & set(range(len(steps)))
            return to | ({k + 1} & set(range(len(steps))) if step.when else set())

        reached, todo = set[int](), [0]
        while todo:
            k = todo.pop()
            if k not in reached:
                reached.add(k)
                todo += after(k)
        for k, step in enumerate(steps):
            if k not in reached:
                raise self.fail(f"flow {name}: step {step.name!r} is never reached", "", *where, ("step", k))
        for k, step in enumerate(steps):  # a round without a question would never come to an end
            seen, todo = set[int](), [k]
            while todo:
                for j in after(todo.pop()):
                    if j == k and not step.ask:
                        raise self.fail(f"flow {name}: from step {step.name!r} it comes back without a question", "next" if step.next else "", *where, ("step", k))  # fmt: skip
                    if j not in seen and not steps[j].ask:
                        seen.add(j)
                        todo.append(j)

    def step(self, table: dict[str, Any], where: tuple[Any, ...], tools: set[str], k: int) -> Step:
        """One step, which asks, says or calls."""
        self.keys(table, [f.name for f in fields(Step)], *where)
        texts = {key: self.value(table, key, str, "", *where) for key in ("ask", "slot", "kind", "pattern", "again", "say", "tool", "next")}  # fmt: skip
        texts["kind"] = texts["kind"] or "text"
        does = [key for key in ("ask", "say", "tool") if texts[key]]
        if len(does) != 1:
            raise self.fail(f"a step asks, says or calls a tool, one of them; this one has {' and '.join(does) or 'none'}", does[-1] if does else "", *where)  # fmt: skip
        if texts["kind"] not in get_args(Kind):
            raise self.fail(f"kind is {texts['kind']!r}{nearest(texts['kind'], get_args(Kind))}", "kind", *where)
        if bool(texts["ask"]) != bool(texts["slot"]):
            raise self.fail("ask and slot belong together: what is asked fills a slot", "ask" if texts["ask"] else "slot", *where)  # fmt: skip
        if texts["slot"] and not _NAME.fullmatch(texts["slot"]):
            raise self.fail(f"slot is {texts['slot']!r}; use small letters, digits and _", "slot", *where)
        choices = self.texts(table, "choices", *where)
        if (texts["kind"] == "choice") != bool(choices):
            raise self.fail("choices and kind = 'choice' belong together", "choices" if choices else "kind", *where)
        if texts["tool"] and texts["tool"] not in tools | set(BUILT_IN):
            raise self.fail(f"there is no tool {texts['tool']!r}{nearest(texts['tool'], tools | set(BUILT_IN))}", "tool", *where)  # fmt: skip
        try:
            re.compile(texts["pattern"])
        except re.error as error:
            raise self.fail(
                f"pattern {texts['pattern']!r} is no regular expression ({error})", "pattern", *where
            ) from error
        name = self.value(table, "name", str, f"step {k + 1}", *where)
        return Step(name, **texts, choices=choices, when=self.pairs(table, "when", *where))

    def persona(self) -> Persona:
        """Who speaks."""
        table = self.value(self.table, "persona", dict, {})
        self.keys(table, [*(f.name for f in fields(Persona) if f.name != "secrets"), "secret"], "persona")
        secrets = []
        for row, here in self.rows(table, "secret", "persona"):
            self.keys(row, [f.name for f in fields(Secret)], *here)
            if not (words := self.texts(row, "words", *here)):
                raise self.fail("a secret needs its words, any of which gives it away", "words", *here)
            secrets.append(Secret(words, self.value(row, "about", str, "", *here), self.pairs(row, "until", *here)))
        plain = {k: self.value(table, k, str, ..., "persona") for k in ("story", "refuse") if k in table}
        return Persona(**plain, secrets=tuple(secrets))


def read_folder(path: str | Path) -> Folder:
    """The bot in a folder, or of a ``bot.toml``.

    Raises:
        DataError: it cannot be read.
        RecipeError: something in it is wrong; the message names the file, the line and the mend.
    """
    return _Reader(Path(path)).read()
