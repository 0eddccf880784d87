"""Screenplays and short stories, read: every fault of their form with its line."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bottega.core import nearest

__all__ = ["Check", "Element", "check_scene", "check_story", "names_a_number", "near", "parse"]

Kind = Literal["heading", "action", "cue", "parenthetical", "dialogue", "transition", "other"]
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
            told = _faults_of_cue(e, after, spoken, _words(action), {name.upper() for name in cast})
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
    twin = next((other for other in spoken if other != e.who and near(other, e.who)), "")
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


def near(a: str, b: str) -> bool:
    """Whether one letter is all that tells two names of at least four apart.

    >>> near("MARA", "MARRA"), near("MARA", "MARTA"), near("LEO", "LEA"), near("MARA", "MARA")
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
        if word in seen or any(near(word, name) for name in seen):
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
        if near(a, b):
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


def names_a_number(text: str) -> bool:
    """Whether a text tells an age or an amount, which another place may tell otherwise.

    >>> names_a_number("I waited ten years."), names_a_number("I waited.")
    (True, False)
    """
    return bool(_AMOUNT.search(text) or _AGE.search(text))
