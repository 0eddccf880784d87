"""Scenes and short stories: checkers that name every fault with its line, and a writer that returns only what passes them."""

from __future__ import annotations

import functools
import itertools
import random
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bottega.core import BottegaError, RecipeError, nearest
from bottega.crafts.write import complete
from bottega.workshop.run import Run

__all__ = ["FORMS", "Check", "Element", "Plot", "Scene", "check_scene", "check_story", "parse", "scene", "topics"]

Kind = Literal["heading", "action", "cue", "parenthetical", "dialogue", "transition", "other"]
FORMS = {
    "screenplay": "headings, action, cues with what is said, transitions",
    "story": "an opening, a complication, a turn and an end",
}
_TIMES = ("DAY", "NIGHT", "MORNING", "AFTERNOON", "EVENING", "DAWN", "DUSK", "NOON", "MIDNIGHT", "LATER", "MOMENTS LATER",
          "CONTINUOUS", "SAME TIME")  # fmt: skip
_ENDS = ("FADE OUT.", "FADE TO BLACK.", "CUT TO BLACK.", "THE END", "THE END.")
_TURNS = ("FADE IN:", "CUT TO:", "DISSOLVE TO:", "MATCH CUT TO:", "SMASH CUT TO:", "JUMP CUT TO:", "FADE TO:", "BACK TO:",
          "TIME CUT:", "INTERCUT WITH:")  # fmt: skip
_VOICES = ("V.O.", "O.S.", "O.C.", "CONT'D", "ON PHONE")
_HEADING = re.compile(r"(?P<in>INT\./EXT\.|EXT\./INT\.|INT\.|EXT\.|I/E\.)(?P<gap>\s*)(?P<rest>.*)")
_LIKE_HEADING = re.compile(r"(?:int|ext)(?:\.|\b(?=[ /]))", re.IGNORECASE)
_CUE = re.compile(r"(?P<who>[^()]+?)\s*(?:\((?P<voice>[^()]*)\))?")
_OBSTACLE = re.compile(
    r"\b(?:but|however|yet|though|refused|against|would not|could not|did not want)\b", re.IGNORECASE
)
_TURN = re.compile(r"\b(?:then|until|suddenly|instead|at last|only now|that was when|just as)\b", re.IGNORECASE)
_UNITS = "years|months|weeks|days|hours|miles|crowns|pages|steps|rooms|children|brothers|sisters"
_NUMBERS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred"
)
_AMOUNT = re.compile(rf"\b(\d+|{_NUMBERS.replace(' ', '|')}) ({_UNITS})\b", re.IGNORECASE)
_AGE = re.compile(r"\b([A-Z][A-Za-z]+), (?:aged )?(\d{1,3})(?=[,.;])")
_ROLE = re.compile(r"\b([A-Z][a-z]+), (?:the|an?) ([a-z][a-z ]*?)(?=[,.;])")
_NO_NAMES = frozenset(
    re.findall(
        r"\w+",
        "I Monday Tuesday Wednesday Thursday Friday Saturday Sunday Mondays Tuesdays Wednesdays Thursdays Fridays Saturdays "
        "Sundays January February March April May June July August September October November December Christmas Easter God "
        "English French German Mr Mrs Ms Dr",
    )
)


_STARTS = frozenset(
    re.findall(
        r"\w+",
        "He She It They We You There This That These Those Who What Nobody Everybody Someone Somebody Everyone One All Both "
        "Neither Nothing Something Everything Then Here Now",
    )
)


@dataclass(frozen=True)
class Element:
    """A line of a scene, or several that belong together.

    Attributes:
        kind: what it is.
        line: the number of its first line, from 1.
        text: without the blanks around it.
        who: of a cue, parenthetical or dialogue: who speaks, without ``(V.O.)`` and the like.
    """

    kind: Kind
    line: int
    text: str
    who: str = ""


@dataclass(frozen=True)
class Check:
    """What a scene or a story keeps of its form.

    Attributes:
        ok: whether it keeps all of it.
        faults: one line for each thing that it does not, each begins with ``line N:``.
        counts: of each kind of element (of a story: its paragraphs).
        people: who speaks in a scene, how often; who is named in a story, how often.
        elements: those of a scene, in order; of a story its paragraphs as ``other``.
    """

    ok: bool
    faults: list[str]
    counts: dict[str, int]
    people: dict[str, int]
    elements: list[Element] = field(repr=False)


@dataclass(frozen=True)
class Plot:
    """What a piece is about.

    Attributes:
        topic: which quarrel.
        people: the two, as ``(name, age, who that is)``.
        aims: what each of them wants, in the same order.
        turn: what changes it.
        end: what is seen or told last.
    """

    topic: str
    people: tuple[tuple[str, int, str], tuple[str, int, str]]
    aims: tuple[str, str]
    turn: str
    end: str


@dataclass(frozen=True)
class Scene:
    """A scene or story that passed, and what it took.

    Attributes:
        text: the whole.
        form: one of ``FORMS``.
        plot: what it is about.
        check: by ``check_scene`` or ``check_story``.
        lines_tried: lines of dialogue that a model made; ``lines_kept`` of them are used. 0 without a model.
        lines_kept: see there.
        source: ``"grammar"``, or ``"model"`` where a model wrote what is said.
    """

    text: str
    form: str
    plot: Plot
    check: Check
    lines_tried: int
    lines_kept: int
    source: str


# ---- reading a screenplay -----------------------------------------------------------------------------------------------


def _blocks(text: str) -> list[list[tuple[int, str]]]:
    """Lines that stand together, each with its number; blanks around a line mean nothing."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    return [list(group) for some, group in itertools.groupby(lines, lambda line: bool(line[1])) if some]


def _capitals(line: str) -> bool:
    return any(c.isalpha() for c in line) and line == line.upper()


def _speaker(line: str) -> tuple[str, str]:
    """Who a cue names, and what stands in brackets behind it."""
    found = _CUE.fullmatch(line)
    return (found["who"].strip(), (found["voice"] or "").strip().replace("’", "'")) if found else (line, "")


def _kind(block: list[tuple[int, str]]) -> Kind:
    first = block[0][1]
    if _LIKE_HEADING.match(first) and (len(block) == 1 or _HEADING.match(first)):
        return "heading"
    bare = first.upper().rstrip(".: ")
    if (
        len(block) == 1
        and bare in {t.rstrip(".:") for t in (*_TURNS, *_ENDS)}
        and (_capitals(first) or first[-1] in ".:")
    ):
        return "transition"
    if len(block) == 1 and _capitals(first) and first.endswith(" TO:"):
        return "transition"
    if _capitals(re.sub(r"\(.*?\)", "", first)) and not re.search(r"[.!?…]$", first) and not first.startswith("("):
        return "cue"
    return "action"


def parse(text: str) -> list[Element]:
    r"""The elements of a screenplay, as far as they can be told; faults are ``check_scene``'s to name.

    A block of lines between blank lines is a heading (begins with INT. or EXT.), a transition (CUT TO:), a cue in capitals
    with what is said below it, or action. Blanks at the beginning of a line do not matter.

    >>> [e.kind for e in parse("INT. ROOM - DAY\n\nA chair.\n\nANN\n(low)\nSit down.\n\nCUT TO:")]
    ['heading', 'action', 'cue', 'parenthetical', 'dialogue', 'transition']
    """
    out: list[Element] = []
    for block in _blocks(text):
        kind, (number, first) = _kind(block), block[0]
        if kind == "cue":
            who, _ = _speaker(first.rstrip(":"))
            out.append(Element("cue", number, first, who))
            said: list[tuple[int, str]] = []
            for at, line in block[1:]:
                if line.startswith("("):
                    out += _joined("dialogue", said, who)
                    said = []
                    out.append(Element("parenthetical", at, line, who))
                else:
                    said.append((at, line))
            out += _joined("dialogue", said, who)
        elif kind == "heading":
            out.append(Element("heading", number, first))
            out += _joined("action", block[1:])
        else:
            out += _joined(kind, block)
    return out


def _joined(kind: Kind, lines: Sequence[tuple[int, str]], who: str = "") -> list[Element]:
    return [Element(kind, lines[0][0], "\n".join(line for _, line in lines), who)] if lines else []


def check_scene(text: str, cast: Collection[str] = ()) -> Check:
    """Whether a text is a screenplay in its form: where scenes begin, who speaks, what stands in brackets, how it ends.

    Args:
        text: the scene or scenes, as plain text; a blank line between elements.
        cast: names (in any case) that alone may speak; empty for anyone whom the action or another cue names.
    """
    elements, faults = parse(text), []
    blocks = {block[0][0]: block for block in _blocks(text)}
    action = " ".join(e.text for e in elements if e.kind == "action")
    known = {word.upper() for word in re.findall(r"[^\W\d_]+", action)}
    spoken = Counter(e.who for e in elements if e.kind == "cue")
    faults += _faults_of_order(elements)
    for at, e in enumerate(elements):
        after = elements[at + 1] if at + 1 < len(elements) else None
        told: list[str] = []
        if e.kind == "heading":
            told = _faults_of_heading(e.text)
            if len(blocks[e.line]) > 1:
                told.append("a heading stands alone; leave a blank line below it")
        elif e.kind == "transition":
            told = [] if e.text in (*_TURNS, *_ENDS) or re.fullmatch(r"[A-Z ]+ TO:", e.text) else [_mended(e.text)]
        elif e.kind == "cue":
            told = _faults_of_cue(e, after, spoken, known, {name.upper() for name in cast})
            told += _continued(elements[:at], e)
        elif e.kind == "parenthetical":
            told = _faults_of_brackets(e, after)
        elif e.kind == "action":
            told = _faults_of_action(blocks.get(e.line, [(e.line, e.text)]), spoken)
        faults += [(e.line, fault) for fault in told]
    counts: dict[str, int] = dict(Counter(str(e.kind) for e in elements))
    told_in_order = [f"line {line}: {fault}" for line, fault in sorted(faults, key=lambda f: f[0])]
    return Check(not faults, told_in_order, counts, dict(spoken), elements)


def _faults_of_order(elements: Sequence[Element]) -> list[tuple[int, str]]:
    """What stands before the first heading, scenes with nothing in them, and what comes after the end."""
    out = []
    if not elements:
        return [(1, "there is nothing here; a scene begins with a heading such as INT. KITCHEN - DAY")]
    first = next((e for e in elements if e.text != "FADE IN:"), elements[0])
    if first.kind != "heading":
        out.append((first.line, "a scene begins with a heading such as INT. KITCHEN - DAY"))
    for a, b in zip(elements, [*elements[1:], None], strict=True):
        if a.kind == "heading" and (b is None or b.kind in ("heading", "transition")):
            out.append((a.line, "nothing happens in this scene; say what is seen"))
        if a.kind == "transition" and a.text in _ENDS and b is not None and b.text not in _ENDS:
            out.append((b.line, f"something follows {a.text}"))
        if a.kind == "transition" and a.text in _TURNS and a.text != "FADE IN:" and (b is None or b.kind != "heading"):
            out.append((a.line, f"{a.text} leads to no scene; a heading follows it"))
        if a.text == "FADE IN:" and a is not elements[0]:
            out.append((a.line, "FADE IN: stands at the beginning only"))
    return out


def _faults_of_heading(text: str) -> list[str]:
    found = _HEADING.match(text.upper())
    out = []
    if text != text.upper():
        out.append("a heading is in capitals")
    if found is None:
        return [*out, f"a heading begins with INT., EXT. or INT./EXT., not {text.split()[0]!r}"]
    place, dash, time = _split(found["rest"])
    if not found["gap"]:
        out.append(f"a blank follows {found['in']}")
    if not place:
        out.append("the heading names no place")
    if not dash:
        out.append("the heading lacks its time; it ends in ' - ' and a time such as DAY or NIGHT")
    elif time not in _TIMES:
        out.append(f"{time or 'nothing'} is no time of day{nearest(time, _TIMES)}")
    return out


def _split(rest: str) -> tuple[str, str, str]:
    place, dash, time = (part.strip() for part in re.sub(r"\s[–—-]{1,2}(?:\s|$)", "\0", f" {rest}").rpartition("\0"))
    return (place, dash, time) if dash else (time, "", "")


def _mended(text: str) -> str:
    for right in (*_TURNS, *_ENDS):
        if text.upper().rstrip(".: ") == right.rstrip(".:"):
            return f"a transition is written {right}"
    return f"{text} is no transition{nearest(text, (*_TURNS, *_ENDS))}"


def _faults_of_cue(
    e: Element, after: Element | None, spoken: Counter[str], known: set[str], cast: set[str]
) -> list[str]:
    out = []
    _, voice = _speaker(e.text.rstrip(":"))
    if after is None or after.kind not in ("dialogue", "parenthetical") or after.who != e.who:
        return [f"{e.who} says nothing; what is said stands on the next line"]
    if e.text.endswith(":"):
        out.append("a cue takes no colon")
    if voice and voice.upper() not in _VOICES:
        out.append(f"({voice}) is unknown behind a name{nearest(voice.upper(), _VOICES)}")
    if len(e.who) > 38:
        out.append("a cue is a name, not a sentence")
    twin = next((other for other in spoken if other != e.who and _near(other, e.who)), "")
    order = list(spoken)
    if twin and (spoken[e.who], -order.index(e.who)) < (spoken[twin], -order.index(twin)):
        out.append(f"{e.who} is nearly {twin}; are they one?")
    elif cast and e.who not in cast:
        out.append(f"{e.who} is none of {', '.join(sorted(cast))}")
    elif not twin and voice.upper() not in ("V.O.", "O.S.", "O.C.", "ON PHONE") and not _words(e.who) & known:
        out.append(f"{e.who} speaks, but no action says who that is")
    return out


def _continued(before: Sequence[Element], e: Element) -> list[str]:
    """``(CONT'D)`` is for one who goes on after a line of action."""
    if not _speaker(e.text)[1].upper().startswith("CONT'D"):
        return []
    for last in reversed(before):
        if last.kind == "cue":
            return [] if last.who == e.who else [f"(CONT'D), but the last to speak was {last.who}"]
        if last.kind == "heading":
            break
    return [f"(CONT'D), but {e.who} has not spoken in this scene"]


def _faults_of_brackets(e: Element, after: Element | None) -> list[str]:
    if not e.text.endswith(")") or e.text.count("(") != e.text.count(")"):
        return ["the parenthesis is not closed on its line"]
    if not e.text[1:-1].strip():
        return ["the parenthesis is empty"]
    if after is None or after.kind != "dialogue" or after.who != e.who:
        return [f"nothing is said after {e.text}"]
    return []


def _faults_of_action(block: list[tuple[int, str]], spoken: Counter[str]) -> list[str]:
    first = block[0][1]
    if first.startswith("("):
        return ["a parenthesis stands below a cue, not alone"]
    name = first.rstrip(":").strip()
    titled = re.fullmatch(r"[A-Z][a-z]+(?: [A-Z][a-z]+)?", name)
    if len(block) > 1 and (name.upper() in spoken or titled):
        return [f"{name!r} looks like a cue, which is in capitals"]
    if (found := re.match(r"([A-Z][\w' ]{1,30}): \S", first)) and found[1].upper() in spoken:
        return [f"what {found[1]} says stands below the name, not behind it"]
    return []


def _words(text: str) -> set[str]:
    return {word.upper() for word in re.findall(r"[^\W\d_]+", text)}


def _near(a: str, b: str) -> bool:
    """Whether one letter is all that tells two names of at least four apart.

    >>> _near("MARA", "MARRA"), _near("MARA", "MARTA"), _near("LEO", "LEA"), _near("MARA", "MARA")
    (True, True, False, False)
    """
    if a == b or min(len(a), len(b)) < 4 or abs(len(a) - len(b)) > 1:
        return False
    short, long = sorted((a, b), key=len)
    same = next((i for i, (x, y) in enumerate(zip(short, long, strict=False)) if x != y), len(short))
    return short[same:] == long[same + 1 :] or (len(a) == len(b) and short[same + 1 :] == long[same + 1 :])


# ---- reading a story ----------------------------------------------------------------------------------------------------


def check_story(text: str, cast: Collection[str] = ()) -> Check:
    """Whether a text is a short story in four parts whose people and numbers stay the same.

    The first paragraph is the opening and the last the end; between them one has an obstacle (but, would not, refused ...)
    and a later one a turn (then, until, at last ...). Two people of the opening come to the end, nobody is first named
    there. A person has one age and one trade, and a unit (years, miles, crowns ...) one number. What it looks for are words,
    so it can be deceived both ways; English.

    Args:
        text: paragraphs, with a blank line between them.
        cast: names that alone may occur; empty for any.
    """
    blocks = _blocks(text)
    parts = [Element("other", block[0][0], " ".join(line for _, line in block)) for block in blocks]
    faults: list[tuple[int, str]] = []
    if len(parts) < 4:
        at = parts[-1].line if parts else 1
        faults.append((at, f"{len(parts)} paragraphs, and a story has at least four: opening, complication, turn, end"))
    for part in parts:
        if part.text.count('"') % 2 or part.text.count("“") != part.text.count("”"):
            faults.append((part.line, "a quotation is not closed"))
        if not re.search(r"[.!?…][\"'”’)]*$", part.text):
            faults.append((part.line, "the paragraph does not end a sentence"))
    if len(parts) >= 4:
        middle = parts[1:-1]
        first = next((i for i, part in enumerate(middle) if _OBSTACLE.search(_told(part.text))), None)
        if first is None:
            faults.append((middle[0].line, "nothing stands in anyone's way (but, would not, refused ...)"))
        elif not any(_TURN.search(_told(part.text)) for part in middle[first + 1 :]):
            faults.append((middle[-1].line, "nothing turns after the complication (then, until, at last ...)"))
    named = _named(parts)
    faults += _faults_of_people(parts, named, cast)
    faults += _facts(parts)
    told = [f"line {line}: {fault}" for line, fault in sorted(faults, key=lambda f: f[0])]
    people = {name: sum(map(len, places.values())) for name, places in named.items()}
    return Check(not faults, told, {"paragraphs": len(parts)}, people, parts)


def _told(text: str) -> str:
    """A paragraph without what is said in it."""
    return re.sub(r"\"[^\"]*\"|“[^”]*”", " ", text)


def _named(parts: Sequence[Element]) -> dict[str, dict[int, list[int]]]:
    """Each name, the paragraphs where it stands, and at which letters."""
    seen: dict[str, dict[int, list[int]]] = {}
    unsure: list[tuple[str, int, int]] = []
    for at, part in enumerate(parts):
        for found in re.finditer(r"\b[A-Z][a-z]+\b(?!')", part.text):
            before = part.text[: found.start()].rstrip()
            if found[0] in _NO_NAMES:
                continue
            if not before or before[-1] in '.!?…"“”:':  # any word is capital here
                unsure.append((found[0], at, found.start()))
            else:
                seen.setdefault(found[0], {}).setdefault(at, []).append(found.start())
    for word, at, place in unsure:
        behind = parts[at].text[place + len(word) :]
        if word not in _STARTS and re.match(r", (?:\d|the |an? |who |with )| (?:said|was|wanted|had|came)\b", behind):
            seen.setdefault(word, {})
    for word, at, place in unsure:
        if word in seen or any(_near(word, name) for name in seen):
            seen.setdefault(word, {}).setdefault(at, []).append(place)
    return seen


def _faults_of_people(
    parts: Sequence[Element], named: dict[str, dict[int, list[int]]], cast: Collection[str]
) -> list[tuple[int, str]]:
    out: list[tuple[int, str]] = []
    last = len(parts) - 1
    opening = [name for name, places in named.items() if 0 in places]
    if parts and len(opening) < 2:
        out.append((parts[0].line, "the opening names fewer than two people"))
    twins = set()
    for a, b in itertools.combinations(named, 2):
        if _near(a, b):
            rare, other = sorted((a, b), key=lambda name: (sum(map(len, named[name].values())), -min(named[name])))
            twins.add(rare)
            out.append((parts[min(named[rare])].line, f"{rare} is nearly {other}; are they one?"))
    for name, places in named.items():
        if name in twins:
            continue
        if cast and name not in cast:
            out.append((parts[min(places)].line, f"{name} is none of {', '.join(sorted(cast))}"))
        elif last >= 3 and min(places) == last:
            out.append((parts[last].line, f"{name} is first named at the end"))
    if last >= 3 and len(opening) >= 2 and sum(last in named[name] for name in opening) < 2:
        out.append((parts[last].line, "fewer than two people of the opening come to the end"))
    return out


def _facts(parts: Sequence[Element]) -> list[tuple[int, str]]:
    """Ages, trades and numbers that are told twice, and differently."""
    out: list[tuple[int, str]] = []
    told: dict[tuple[str, str], tuple[str, int]] = {}
    for part in parts:
        found = [(("age", name), age) for name, age in _AGE.findall(part.text)]
        found += [(("trade", name), trade) for name, trade in _ROLE.findall(part.text)]
        found += [(("number", unit.lower()), amount.lower()) for amount, unit in _AMOUNT.findall(part.text)]
        for (kind, what), value in found:
            before, line = told.setdefault((kind, what), (value, part.line))
            if before == value:
                continue
            if kind == "number":
                out.append((part.line, f"{value} {what}, but line {line} says {before}"))
            else:
                out.append((part.line, f"{what} is {value}, but {before} in line {line}"))
    return out


# ---- writing ------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def _book() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("_scenes.toml").read_text(encoding="utf-8"))


def topics() -> list[str]:
    """What a scene or story can be about.

    >>> topics()
    ['boat', 'bread', 'letter', 'train', 'pass', 'piano', 'report']
    """
    return [quarrel["name"] for quarrel in _book()["quarrel"]]


def scene(
    form: str = "screenplay",
    *,
    topic: str = "",
    run: Run | None = None,
    prompt: str = "",
    choose: Callable[[str, Sequence[str]], list[int]] | None = None,
    tries: int = 200,
    seed: int = 0,
) -> Scene:
    """A scene for two, or a short story of two, which ``check_scene`` or ``check_story`` passes.

    Two people want two things that cannot both be had; something turns up, and it ends in one of several ways. People, place,
    words and end are drawn. With ``run`` a language model writes what is said, each speech bound to the form of a sentence or
    two by a regular expression and checked in its place; who speaks when, and what happens, stay the plot's.

    Args:
        form: ``"screenplay"`` or ``"story"``.
        topic: one of ``topics()``; empty draws one.
        run: a language model that writes what is said.
        prompt: what stands before the piece when the model reads it, such as a scene of one's own.
        choose: orders ways to say a thing by how well they follow (see ``write_report.chooser``).
        tries: at most so many speeches are asked of the model.
        seed: of all that is drawn; the same seed, the same piece.

    Raises:
        RecipeError: no such form or topic.
        BottegaError: so many tries gave no scene.
    """
    if form not in FORMS:
        raise RecipeError(f"form is {form!r}{nearest(form, FORMS)}")
    if topic and topic not in topics():
        raise RecipeError(f"topic is {topic!r}{nearest(topic, topics())}")
    if tries < 1:
        raise RecipeError(f"tries is {tries}; it must be at least 1")
    made = _Draft(seed, topic, choose)
    speak = None if run is None else _Speaker(run, prompt, made.names, tries, seed)
    text, turn, end = made.screenplay(speak) if form == "screenplay" else made.story(speak)
    check = check_scene(text, made.names) if form == "screenplay" else check_story(text, made.names)
    if not check.ok:
        raise BottegaError(f"a {form} that was put together does not pass: {check.faults[0]}; this is a fault of ours")
    plot = Plot(made.quarrel["name"], made.people, tuple(made.quarrel["aims"]), turn, end)
    counted = (0, 0) if speak is None else (speak.tried, speak.kept)
    return Scene(text, form, plot, check, *counted, "grammar" if run is None else "model")


class _Draft:
    """What is drawn for one piece, and how it is put together."""

    def __init__(self, seed: int, topic: str, choose: Callable[[str, Sequence[str]], list[int]] | None) -> None:
        book = _book()
        self.draw, self.choose, self.book = random.Random(seed), choose, book
        named = [q for q in book["quarrel"] if q["name"] == topic]
        self.quarrel: dict[str, Any] = self.draw.choice(named or book["quarrel"])
        a, b = self._two()
        self.names = (a[0], b[0])
        slots = {"A": a[0], "B": b[0], "years": self.draw.choice(book["years"]), "day": self.draw.choice(book["days"])}
        for letter, (_, woman) in (("a", a), ("b", b)):
            slots |= {letter: "she" if woman else "he", f"{letter}_his": "her" if woman else "his",
                      f"{letter}_him": "her" if woman else "him"}  # fmt: skip
        roles = [self.draw.choice(some) for some in self.quarrel["roles"]]
        self.slots = slots | dict(zip(("aim_a", "aim_b"), self.quarrel["aims"], strict=True))
        self.slots |= {"role_a": self._filled(roles[0]), "role_b": self._filled(roles[1])}
        ages = [self.draw.randint(24, 66) for _ in range(2)]
        self.people = ((a[0], ages[0], self.slots["role_a"]), (b[0], ages[1], self.slots["role_b"]))

    def _two(self) -> tuple[tuple[str, bool], tuple[str, bool]]:
        everyone = [(name, True) for name in self.book["women"]] + [(name, False) for name in self.book["men"]]
        while True:
            a, b = self.draw.sample(everyone, 2)
            if a[0][0] != b[0][0]:  # names that begin alike are mixed up by readers
                return a, b

    def _filled(self, text: str) -> str:
        return text.format_map(self.slots)

    def _one(self, ways: Sequence[str], before: str = "") -> str:
        some = [self._filled(way) for way in ways]
        if self.choose is None or len(some) == 1:
            return self.draw.choice(some)
        return some[self.choose(before, some)[0]]

    # ---- the scene

    def screenplay(self, speak: _Speaker | None) -> tuple[str, str, str]:
        """The text, what turned, and what is seen last."""
        q, draw = self.quarrel, self.draw
        (a, age_a, role_a), (b, age_b, role_b) = self.people
        time = draw.choice(("DAY", "NIGHT", "MORNING", "EVENING", "DAWN", "DUSK", "AFTERNOON"))
        self.parts: list[str] = []
        self._speak = speak
        self._moods = draw.sample(self.book["moods"], len(self.book["moods"]))
        self._last = ""
        if draw.random() < 0.4:
            self.parts.append("FADE IN:")
        self.parts.append(f"{draw.choice(q['places'])} - {time}")
        self.parts.append(
            f"{self._one(q['see'])} {a.upper()}, {age_a}, {role_a}, {self._filled(draw.choice(q['does']))}."
        )
        self.parts.append(f"{b.upper()}, {age_b}, {role_b}, {self._filled(draw.choice(self.book['enter']))}.")
        self._says(a, q["open"])
        self._says(b, q["answer"])
        beats = draw.sample(self.book["beats"], 3)
        for round_, at in enumerate(draw.sample(range(len(q["push"])), draw.randint(1, 3))):
            self._says(a, q["push"][at : at + 1])
            self._says(b, q["hold"][at : at + 1])
            if draw.random() < 0.6:
                self.parts.append(self._filled(beats[round_]))
        which = draw.randrange(len(q["turn"]))
        turn = self._filled(q["turn"][which])
        self.parts.append(turn)
        self._says(a, q["see_it"][which : which + 1])
        self._says(b, q["because"][which : which + 1])
        first, second, end = draw.choice(q["ends"])
        self._says(a, [first])
        self._says(b, [second])
        end = self._filled(end)
        self.parts.append(end)
        if draw.random() < 0.5:
            end = self._one(self.book["codas"])
            self.parts += ["CUT TO:", f"{draw.choice(q['later'])} - LATER", end]
        self.parts.append(draw.choice(("FADE OUT.", "CUT TO BLACK.", "FADE TO BLACK.")))
        return "\n\n".join(self.parts) + "\n", turn, end

    def _says(self, who: str, ways: Sequence[str]) -> None:
        cue = who.upper()
        if self._last == who:
            cue += " (CONT'D)"
        self._last = who
        bracket = f"\n({self._moods.pop()})" if self._moods and self.draw.random() < 0.3 else ""
        head = f"{cue}{bracket}"
        said = self._one(
            ways, "\n\n".join(self.parts)
        )  # drawn with a model too, so that the plot stays that of the seed
        if self._speak is not None:
            said = self._speak("\n\n".join([*self.parts, head]) + "\n")
        self.parts.append(f"{head}\n{said}")

    # ---- the story

    def story(self, speak: _Speaker | None) -> tuple[str, str, str]:
        """The text, the paragraph that turns, and the last one."""
        q, draw = self.quarrel, self.draw
        opening = self._one(q["story_open"])
        at = draw.randrange(len(q["push"]))
        lines = {"push_": q["push"][at], "hold_": q["hold"][at], "see_it_": q["see_it"][0], "because_": q["because"][0]}
        paragraphs = [opening]
        for ways in ([*q["story_but"], *self.book["story_but"]], q["story_turn"]):
            told = draw.choice(ways)
            for slot in re.findall(r"\{(\w+_)\}", told):
                before, _, _ = told.partition(f"{{{slot}}}")
                so_far = "\n\n".join([*paragraphs, self._filled(before)])
                said = self._filled(lines[slot]) if speak is None else speak(f'{so_far}"')
                told = told.replace(f"{{{slot}}}", f'"{_quoted(said)}"')
            paragraphs.append(self._filled(told))
        end = self._one(q["story_end"], "\n\n".join(paragraphs))
        paragraphs.append(end)
        return "\n\n".join(paragraphs) + "\n", paragraphs[2], end


def _quoted(said: str) -> str:
    """What is said, as it stands before ``said Mara``.

    >>> _quoted("It rains."), _quoted("Does it?")
    ('It rains,', 'Does it?')
    """
    return f"{said[:-1]}," if said.endswith(".") else said


class _Speaker:
    """Speeches by a language model: each is written in the form of a sentence or two, and kept when it passes."""

    def __init__(self, run: Run, prompt: str, names: Sequence[str], tries: int, seed: int) -> None:
        self.run, self.prompt, self.tries, self.seed = run, prompt, tries, seed
        self.tried = self.kept = 0
        self.said: set[str] = set()
        word = r"([a-z]{1,12}('[a-z]{1,2})?|I|" + "|".join(names) + ")"
        sentence = rf"[A-Z][a-z]{{0,11}}(,? {word}){{1,11}}[.?!]"
        self.form = rf"{sentence}( {sentence})?"
        self.names = set(names)

    def __call__(self, before: str) -> str:
        """The next speech behind what stands before it."""
        told = f"{self.prompt}\n\n{before}" if self.prompt else before
        for line in self._drafts(told):
            self.tried += 1
            if line not in self.said and self._passes(line):
                self.said.add(line)
                self.kept += 1
                return line
        raise BottegaError(
            f"in {self.tried} tries the model wrote {self.kept} speeches that stand, and more are needed; give more tries, "
            "another seed or prompt"
        )

    def _drafts(self, told: str) -> Iterator[str]:
        while self.tried < self.tries:
            made = complete(
                self.run, [told], n=1, seed=self.seed + self.tried, max_new=160, regex=self.form, long="slide",
                temperature=0.8,
            )  # fmt: skip
            yield made[0].text

    def _passes(self, line: str) -> bool:
        """Whether it is whole, and a name in it is one of the two and not a twin of one."""
        if not re.fullmatch(self.form, line):
            return False
        words = re.findall(r"[A-Za-z]+", line)
        return not any(_near(word.upper(), name.upper()) for word in words for name in self.names) and not (
            _AMOUNT.search(line) or _AGE.search(line)
        )
