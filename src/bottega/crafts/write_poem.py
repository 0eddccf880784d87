"""Verse in a form: a checker that counts syllables, stresses and rhymes, and a writer that returns only what passes it."""

from __future__ import annotations

import functools
import itertools
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from bottega.core import BottegaError, RecipeError, nearest
from bottega.crafts.endpoint import Endpoint
from bottega.crafts.write import go_on
from bottega.crafts.write_sounds import rhymes, sound
from bottega.workshop.run import Run

__all__ = ["FORMS", "Check", "Form", "Poem", "check_poem", "poem", "scan"]


@dataclass(frozen=True)
class Form:
    """What a poem of this kind keeps.

    Attributes:
        about: in a few words.
        metres: for each line a pattern of ``w`` (weak) and ``S`` (strong) as a regular expression; or a number: syllables only.
        scheme: a letter for each line, the same where lines rhyme; empty for none.
        gaps: numbers of lines after which a line is left blank.
    """

    about: str
    metres: tuple[str | int, ...]
    scheme: str = ""
    gaps: tuple[int, ...] = ()


_FIVE, _FOUR = "(wS){5}w?", "(wS){4}w?"
_LONG, _SHORT = "w{1,2}SwwSwwSw{0,2}", "w{1,2}SwwSw{0,2}"
FORMS: dict[str, Form] = {
    "couplet": Form("two lines of five iambs that rhyme", (_FIVE,) * 2, "aa"),
    "quatrain": Form("four lines of four iambs, every other one rhymes", (_FOUR,) * 4, "abab"),
    "limerick": Form("five lines in triple time, aabba", (_LONG, _LONG, _SHORT, _SHORT, _LONG), "aabba"),
    "sonnet": Form("fourteen lines of five iambs, abab cdcd efef gg", (_FIVE,) * 14, "ababcdcdefefgg", (4, 8, 12)),
    "haiku": Form("three lines of five, seven and five syllables", (5, 7, 5)),
}
_LIGHT = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "nor",
        "but",
        "of",
        "in",
        "on",
        "at",
        "to",
        "for",
        "from",
        "by",
        "with",
        "as",
        "if",
        "than",
        "that",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "am",
        "do",
        "does",
        "did",
        "has",
        "have",
        "had",
        "can",
        "could",
        "will",
        "would",
        "shall",
        "should",
        "may",
        "might",
        "must",
        "it",
        "its",
        "i",
        "me",
        "my",
        "we",
        "us",
        "our",
        "you",
        "your",
        "he",
        "him",
        "his",
        "she",
        "her",
        "they",
        "them",
        "their",
        "this",
        "these",
        "those",
        "there",
        "so",
        "no",
        "not",
        "when",
        "where",
        "who",
        "whom",
        "while",
        "upon",
        "into",
        "through",
        "up",
        "down",
        "out",
        "all",
        "some",
        "each",
    ]
)
_NEVER = frozenset({"a", "an", "the"})


@dataclass(frozen=True)
class Check:
    """What a poem keeps of its form.

    Attributes:
        ok: whether it keeps all of it.
        faults: one line for each thing that it does not.
        scansion: for each line its syllables, ``w`` weak, ``S`` strong, ``x`` either.
        guessed: words that no dictionary has, whose sound was guessed from their spelling.
    """

    ok: bool
    faults: list[str]
    scansion: list[str]
    guessed: list[str]


@dataclass(frozen=True)
class Poem:
    """A poem that passed, and what it took.

    Attributes:
        text: lines.
        check: by ``check_poem``.
        lines_tried: lines that were made in all; ``lines_kept`` of them kept the metre alone.
        source: ``"grammar"`` or ``"model"``.
    """

    text: str
    check: Check
    lines_tried: int
    lines_kept: int
    source: str


def _words(line: str) -> list[str]:
    return re.findall(r"[A-Za-zÀ-ÿ]+(?:['’-][A-Za-zÀ-ÿ]+)*", line)


@functools.lru_cache(maxsize=50_000)
def _scan_word(word: str) -> str:
    """``S`` a main stress, ``w`` none, ``x`` either."""
    low = word.lower().replace("’", "'")
    stresses = sound(word).stresses
    if len(stresses) <= 1:
        return "w" if low in _NEVER else "x" if low in _LIGHT else "s" if stresses else ""
    return "".join("S" if s == 1 else "x" if s == 2 else "w" for s in stresses)


def scan(line: str) -> str:
    """Each syllable: ``S`` or ``w`` in words of several, ``s`` a full word of one, ``x`` a small word that may be either.

    >>> scan("The harbour sleeps beneath a silver moon")
    'wSwswSwSws'
    """
    return "".join(_scan_word(word) for word in _words(line))


def _fits(scansion: str, metre: str) -> bool:
    """Whether syllables can be spoken in a metre.

    The main stress of a longer word must fall on a strong place, ``the`` and ``a`` on a weak one. Once in a line a
    syllable without stress may be lifted to a strong place between weak ones, and twice a full word of one syllable
    lowered to a weak one beside another full word (in triple time beside any). A weak syllable at the end of a line is
    one without stress. No syllable is swallowed.
    """
    for pattern in _patterns(metre, len(scansion)):
        lifted = lowered = 0
        ok, triple = True, "SwwS" in pattern
        for at, (have, want) in enumerate(zip(scansion, pattern, strict=True)):
            if want == "S" and have == "w":
                lifted += 1
                ok = ok and at + 1 < len(pattern) and scansion[at + 1 : at + 2] != "S" and at > 0
            elif want == "w" and have == "S":
                ok = False
            elif want == "w" and have == "s":
                around = scansion[max(0, at - 1) : at] + scansion[at + 1 : at + 2]
                lowered += 1 if triple or set(around) & {"s", "S"} and at < len(pattern) - 1 else 2
            elif want == "w" and at == len(pattern) - 1 and at and pattern[at - 1] == "S" and have != "w":
                ok = False  # a line that ends on a weak syllable ends on one that has no stress
        if ok and lifted <= 1 and lowered <= 2:
            return True
    return False


@functools.lru_cache(maxsize=4096)
def _patterns(metre: str, length: int) -> tuple[str, ...]:
    """All sequences of weak and strong of that length that a metre allows."""
    found = [""]
    for _ in range(length):
        found = [p + c for p in found for c in "wS" if _could(metre, p + c)]
    return tuple(p for p in found if re.fullmatch(metre, p))


@functools.lru_cache(maxsize=65536)
def _could(metre: str, begun: str) -> bool:
    whole = _language(metre)
    return any(p.startswith(begun) for p in whole)


@functools.lru_cache(maxsize=64)
def _language(metre: str) -> tuple[str, ...]:
    """Every sequence of a metre: those here are finite and few."""
    parts = re.findall(r"\((\w+)\)\{(\d+)\}|(\w)\{(\d),(\d)\}|(\w)(\?)?", metre)
    out = [""]
    for group, times, char, least, most, one, maybe in parts:
        if group:
            ways = [group * int(times)]
        elif char:
            ways = [char * k for k in range(int(least), int(most) + 1)]
        else:
            ways = [one, ""] if maybe else [one]
        out = [p + w for p in out for w in ways]
    return tuple(dict.fromkeys(out))


def _keeps(line: str, metre: str | int) -> bool:
    scansion = scan(line)
    return len(scansion) == metre if isinstance(metre, int) else _fits(scansion, metre)


def form_of(name: str) -> Form:
    """The form of that name; RecipeError names the nearest."""
    if name not in FORMS:
        raise RecipeError(f"form is {name!r}{nearest(name, FORMS)}")
    return FORMS[name]


def check_poem(text: str, form: str) -> Check:
    """Whether a text keeps a form: number of lines, syllables, metre, rhyme; no word rhymes with itself.

    Args:
        text: a line of verse on each line; blank lines are not counted.
        form: one of ``FORMS``.
    """
    kept = form_of(form)
    lines = [line for line in text.splitlines() if _words(line)]
    faults = []
    if len(lines) != len(kept.metres):
        faults.append(f"{len(lines)} lines, and a {form} has {len(kept.metres)}")
    for at, (line, metre) in enumerate(zip(lines, kept.metres, strict=False)):
        if not _keeps(line, metre):
            wanted = (
                f"{metre} syllables" if isinstance(metre, int) else re.sub(r"\(wS\)\{(\d)\}w\?", r"\1 iambs", metre)
            )
            faults.append(f"line {at + 1} has {scan(line)}, not {wanted}")
    for a, b in _rhyming(kept.scheme):
        if max(a, b) < len(lines):
            x, y = _words(lines[a])[-1], _words(lines[b])[-1]
            if not rhymes(x, y):
                faults.append(f"lines {a + 1} and {b + 1}: {x!r} and {y!r} do not rhyme")
    guessed = sorted({w.lower() for line in lines for w in _words(line) if sound(w).source == "spelling"})
    return Check(not faults, faults, [scan(line) for line in lines], guessed)


def _rhyming(scheme: str) -> Iterator[tuple[int, int]]:
    """Pairs of lines that must rhyme: each with all before it that have its letter."""
    for b, letter in enumerate(scheme):
        for a in range(b):
            if scheme[a] == letter:
                yield a, b


# ---- writing ------------------------------------------------------------------------------------------------------------

_TOPICS: dict[str, dict[str, str]] = {
    "sea": {
        "N": "harbour tide sailor lantern shore wave gull anchor mast horizon sand water island foam current captain net salt pebble "
             "lighthouse storm vessel rope deck bay moon wind night tower breeze sky sea hand shell pier",
        "A": "silver silent salty weary distant hollow grey open narrow patient drifting bitter gentle broken endless cold bright deep steady "
             "pale wild dark lonely restless",
        "V": "drifts returns remembers waits breaks rises falls carries whispers sleeps turns glimmers wanders sings fades burns gathers follows "
             "rolls calls grows shines",
        "T": "holds takes keeps leaves forgets finds knows hides lifts greets guards meets",
        "M": "slowly again tonight alone below away ashore forever softly by day once more unseen before at sea at last for you and me",
    },
    "city": {
        "N": "window street station morning engine signal river corner market neon tram bridge tower crowd pavement neighbour coffee traffic "
             "stranger rain roof stair bell square light wall evening train door night glass town name room stone clock",
        "A": "electric crowded yellow narrow early hurried empty golden restless concrete broken quiet tired late hollow bright cold loud slow "
             "thin dark wet old",
        "V": "opens hurries glitters trembles passes wakens rattles murmurs lingers closes shines hums flows turns sleeps ends begins sways "
             "glows falls",
        "T": "holds counts keeps leaves forgets finds knows hides lifts greets meets fills",
        "M": "slowly again tonight alone below away inside forever softly by day once more unseen before in rain at last at half past nine",
    },
    "winter": {
        "N": "garden snow branch river chimney field raven feather mirror orchard fire candle stone meadow frost sparrow window shadow valley "
             "bell hill wind star door ice lake hearth tree night light wood road ground moon sky pine",
        "A": "frozen silent silver hidden naked patient brittle ancient hollow bitter gentle sleeping white cold slow pale clear deep small grey "
             "long dark bright",
        "V": "glitters hardens slumbers listens settles darkens waits falls gleams burns drifts rests lies fades sinks shivers melts stays bends",
        "T": "holds takes keeps leaves forgets finds knows hides lifts covers guards meets",
        "M": "slowly again tonight alone below away asleep forever softly by day once more unseen before till spring at last all night",
    },
}  # fmt: skip
_PLACES = [
    "beneath",
    "above",
    "beyond",
    "beside",
    "across",
    "around",
    "against",
    "over",
    "under",
    "behind",
    "along",
    "near",
]
_LINES = (
    "The A N V P the A N", "The N V M", "A N V P the N", "And P the N the A N V", "The A N V and the N V", "No N V P the A N",
    "The N T the A N M", "A A N T the N", "I know the N that V P the N", "And still the A N V M", "The N that V P the N", "We heard the A N P the N",
    "P the N the N V M", "Each A N T the A N", "You were the N P the A N", "So let the N be A as the N", "The N is A and the N is A",
    "And M the N V P the A N", "I leave the A N P the N", "When M the A N V", "And all the N V P the A N", "How A the N that V M",
    "O A N that V P the N", "I saw the N P the A N",
)  # fmt: skip
_TALES = (
    ("There once was a J W from L", "A J young W from L", "An elderly W of L", "A J old W of L"),
    ("Who was fond of a Y and a Y", "Who was known to be fond of a Y", "Had a Y that was kept in a Y", "Was alarmed by a Y on the Y",
     "Who had traded a Y for a Y", "Had decided to sit on a Y", "Who was often in love with a Y"),
    ("When it fell on a Y", "When they asked for the Y", "As it rolled to the Y", "But it fell from the Y", "When it started to Z"),
    ("They were given a Y", "It was gone with the Y", "It came back with a Y", "There was only a Y", "They were glad of the Y", "It could do with a Y"),
    ("And the W went back to L", "So the W set out for L", "And that was the end of the Y", "That remarkable W of L",
     "And went home with a Y and a Y", "And they never again saw the Y", "Now the W is living in L"),
)  # fmt: skip
_TALE_WORDS = {
    "J": "cheerful stubborn clever nervous peculiar jolly careful sleepy grumpy curious",
    "W": "baker painter sailor tailor lawyer teacher farmer widow plumber drummer barber singer poet",
    "L": "Spain Maine Lisbon Crete Kent Leeds Ghent Rome Prague Nice York Perth Peru Japan Madrid Milan Berlin Ukraine Bahrain Brazil Siam "
    "Leith Dundee Capri Torquay Bombay Calais Marseille",
    "Y": "cat hat bat spoon tune moon crane drain brain pain chain mane street sheet seat clock sock rock fan man plan can pan van bean "
    "queen screen pie tie sky fly cake lake snake rake train lane cane plane tree bee tea key knee sea bay tray play cream dream scheme "
    "bell shell well tent cent bed bread shed ship whip tip mouse house blouse pen hen den door floor store",
    "Z": "sway sing swing shake bake race chase pray wait creep sleep weep",
}


def poem(
    form: str = "quatrain",
    *,
    topic: str = "sea",
    run: Run | Endpoint | None = None,
    prompt: str = "",
    choose: Callable[[str, Sequence[str]], list[int]] | None = None,
    tries: int | None = None,
    seed: int = 0,
) -> Poem:
    """A poem in a form, which ``check_poem`` passes.

    Lines come from a small grammar about a topic, or from a language model: every line that it writes is scanned, those
    that keep a metre are kept, and a set of them that rhymes is looked for. The count of what was tried is told.

    Args:
        form: one of ``FORMS``.
        topic: sea, city or winter; of the grammar, except in a limerick, which tells of a person.
        run: a language model that writes the lines; a run, or at an endpoint.
        prompt: what the model goes on from; a line of its own. One that is spoken to is asked for the form without it.
        choose: orders grammar lines by how well they follow (see ``write_report.chooser``).
        tries: at most so many lines are made; None is 20,000, and 400 at an endpoint, where each may cost.
        seed: of the choices.

    Raises:
        RecipeError: no such form or topic.
        BottegaError: so many lines gave no poem; the message says how far it came.
    """
    kept = form_of(form)
    if run is None and topic not in _TOPICS:
        raise RecipeError(f"topic is {topic!r}{nearest(topic, _TOPICS)}")
    if tries is None:
        tries = 400 if isinstance(run, Endpoint) else 20_000
    if tries < 1:
        raise RecipeError(f"tries is {tries}; it must be at least 1")
    draw = random.Random(seed)
    offers = _model_lines(run, prompt, kept.about, seed) if run is not None else _grammar_lines(form, topic, draw)
    pools: list[list[str]] = [[] for _ in kept.metres]
    tried = keep = 0
    seen: set[str] = set()
    for line, places in offers:
        tried += 1
        if line not in seen:
            seen.add(line)
            fresh = False
            good = {metre: _keeps(line, metre) for metre in set(kept.metres)}
            for at, metre in enumerate(kept.metres):
                if good[metre] and (places is None or at in places):
                    pools[at].append(line)
                    fresh = True
            keep += fresh
            if fresh and keep >= 2 * len(kept.metres) and (keep % 8 == 0 or tried >= tries):
                enough = run is not None or keep >= 40 * len(set(kept.scheme or "a"))
                if enough and (found := _assemble(kept, pools, draw, choose)) is not None:
                    return _finished(found, kept, form, tried, keep, "grammar" if run is None else "model")
        if tried >= tries:
            break
    if (found := _assemble(kept, pools, draw, choose)) is not None:
        return _finished(found, kept, form, tried, keep, "grammar" if run is None else "model")
    raise BottegaError(
        f"no {form} in {tried} lines, of which {keep} keep its metre but too few of those rhyme; give more tries, another seed or prompt"
    )


def _finished(lines: list[str], kept: Form, form: str, tried: int, keep: int, source: str) -> Poem:
    out = []
    for at, line in enumerate(lines):
        if at in kept.gaps:
            out.append("")
        out.append(_ended(line, at, len(lines)) if source == "grammar" else line)
    text = "\n".join(out)
    check = check_poem(text, form)
    if not check.ok:
        raise BottegaError(f"a {form} that was put together does not pass: {check.faults[0]}; this is a fault of ours")
    return Poem(text, check, tried, keep, source)


def _ended(line: str, at: int, n: int) -> str:
    line = line[:1].upper() + line[1:]
    if n == 5:
        return line + ",;,,."[at]
    return f"{line}." if at == n - 1 or (n > 4 and at % 4 == 3) else f"{line};" if at % 2 else f"{line},"


def _assemble(
    kept: Form, pools: list[list[str]], draw: random.Random, choose: Callable[[str, Sequence[str]], list[int]] | None
) -> list[str] | None:
    """Lines of the pools that keep the scheme; None where there are not enough that rhyme."""
    chosen: dict[int, str] = {}
    used: set[str] = set()
    order = sorted(range(len(kept.metres)), key=lambda i: kept.scheme.index(kept.scheme[i]) if kept.scheme else i)
    letters = list(dict.fromkeys(kept.scheme)) if kept.scheme else []
    if not kept.scheme:
        for at in order:
            free = [line for line in pools[at] if line not in used and not _shares(line, chosen.values())]
            if not free:
                return None
            chosen[at] = _one(free, chosen, at, draw, choose)
            used.add(chosen[at])
        return [chosen[i] for i in range(len(kept.metres))]
    for letter in letters:
        places = [i for i, x in enumerate(kept.scheme) if x == letter]
        done = False
        firsts = draw.sample(pools[places[0]], min(len(pools[places[0]]), 60))
        if choose is not None and firsts:  # what is chosen here is only a wish: it must still have its rhymes
            said = "\n".join(chosen[i] for i in sorted(chosen) if i < places[0])
            firsts = [firsts[i] for i in choose(said, firsts)]
        for first in firsts:
            taken = {_words(line)[-1] for line in chosen.values()}
            if first in used or _words(first)[-1] in taken or _shares(first, chosen.values()):
                continue
            got = {places[0]: first}
            for place in places[1:]:
                tails = [_words(line)[-1] for line in got.values()]
                free = [
                    line for line in pools[place]
                    if line not in used and line not in got.values() and _words(line)[-1] not in taken and all(rhymes(_words(line)[-1], t) for t in tails)
                    and not _shares(line, [*chosen.values(), *got.values()])
                ]  # fmt: skip
                if not free:
                    break
                got[place] = _one(free, {**chosen, **got}, place, draw, choose)
            if len(got) == len(places):
                chosen.update(got)
                used |= set(got.values())
                done = True
                break
        if not done:
            return None
    return [chosen[i] for i in range(len(kept.metres))]


def _one(
    free: Sequence[str],
    before: dict[int, str],
    at: int,
    draw: random.Random,
    choose: Callable[[str, Sequence[str]], list[int]] | None,
) -> str:
    some = draw.sample(list(free), min(len(free), 6))
    if choose is None or len(some) == 1:
        return some[0]
    said = "\n".join(before[i] for i in sorted(before) if i < at)
    return some[choose(said, some)[0]]


def _shares(line: str, others: Iterable[str], most: float = 0.4) -> bool:
    """Whether a line says much of what another one does: the full words of either."""
    own = {w.lower() for w in _words(line)} - _LIGHT
    for other in others:
        theirs = {w.lower() for w in _words(other)} - _LIGHT
        if own and len(own & theirs) / len(own) >= most:
            return True
    return False


def _grammar_lines(form: str, topic: str, draw: random.Random) -> Iterator[tuple[str, tuple[int, ...] | None]]:
    """Lines, each with the places that it is for; None is all."""
    if form == "limerick":
        bags = {kind: text.split() for kind, text in _TALE_WORDS.items()}
        for place in itertools.cycle(range(len(_TALES))):
            parts = draw.choice(_TALES[place]).split()
            yield " ".join(draw.choice(bags[part]) if part in bags else part for part in parts), (place,)
    bag = {kind: text.split() for kind, text in _TOPICS[topic].items() if kind != "M"}
    manner = re.findall(
        r"by day|once more|at sea|at last|for you and me|in rain|at half past nine|till spring|all night|\w+",
        _TOPICS[topic]["M"],
    )
    while True:
        line, last = [], ""
        for part in draw.choice(_LINES).split():
            if part in bag:
                word = draw.choice([w for w in bag[part] if w not in line])
            elif part == "M":
                word = draw.choice(manner)
            elif part == "P":
                word = draw.choice(_PLACES)
            else:
                word = part
            if last in ("a", "A") and word[0] in "aeiou":
                line[-1] = f"{last}n"
            line.append(word)
            last = word
        yield " ".join(line), None


def _model_lines(run: Run | Endpoint, prompt: str, about: str, seed: int) -> Iterator[tuple[str, None]]:
    """Lines that a model writes, and the whole clauses inside them."""
    at = 0
    ask = f"Write verse without a title: {about}. Then write as much again, of other things, and again."
    while True:
        made = go_on(run, prompt, ask=ask, n=16, seed=seed + at, temperature=0.8, top_p=0.95, long="slide")
        for one in made:
            lines = one.text.splitlines()
            if one.finish == "length":  # the last one was cut off
                lines = lines[:-1]
            for line in lines or [""]:  # a text without a line is a try too, or a model of none would be asked for ever
                line = " ".join(line.split())
                if len(_words(line)) >= 3 and not re.search(r"[A-Z]{3}|[\d_<>*=#]|:$", line) and line[:1].isalpha():
                    yield line, None
                else:
                    yield "", None
        at += 16
