"""Made languages: a pair with an exact reference translator, and three that are told apart by their words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bottega.core import DataError, Item
from bottega.data._draw import LICENCE, SOURCE, Draw, at_least_one, items_of
from bottega.data.dataset import Dataset

__all__ = ["LANGUAGES", "Phrase", "Sentence", "languages", "translate", "translation"]

# ---- a pair of languages ---------------------------------------------------------------------------------------------

# English noun: (Velan stem, gender). "o" and "a" are Velan's two genders, and the endings that show them. Some words have
# no single word on the other side: a grandmother is an old mother, a greenhouse one word for what a glass house would be.
NOUNS = {
    "man": ("gar", "o"), "woman": ("mel", "a"), "child": ("pit", "o"), "friend": ("sod", "a"), "king": ("ruv", "o"),
    "teacher": ("dok", "a"), "dog": ("vaf", "o"), "cat": ("min", "a"), "horse": ("torm", "o"), "bird": ("cir", "a"),
    "book": ("lib", "o"), "letter": ("skrip", "a"), "apple": ("pom", "o"), "flower": ("flur", "a"), "stone": ("pek", "o"),
    "boat": ("nav", "a"), "song": ("kan", "o"), "lamp": ("lum", "a"), "grandmother": ("mad sen", "a"),
    "bicycle": ("duorot", "o"),
}  # fmt: skip
PLURALS = {"man": "men", "woman": "women", "child": "children"}
ADJECTIVES = {
    "old": "sen", "young": "nov", "big": "gran", "small": "pik", "red": "rub", "green": "ver", "happy": "jol",
    "sad": "tris", "quick": "rap", "quiet": "tak",
}  # fmt: skip
# base: (third person, past, what follows the verb in English, Velan stem, word before the Velan verb).
# "look at" is one verb there; "borrow" is "take" with a particle.
VERBS = {
    "see": ("sees", "saw", "", "vid", ""), "hear": ("hears", "heard", "", "aud", ""),
    "love": ("loves", "loved", "", "am", ""), "find": ("finds", "found", "", "trov", ""),
    "carry": ("carries", "carried", "", "port", ""), "paint": ("paints", "painted", "", "ping", ""),
    "buy": ("buys", "bought", "", "komp", ""), "look": ("looks", "looked", "at", "spek", ""),
    "wait": ("waits", "waited", "for", "tend", ""), "borrow": ("borrows", "borrowed", "", "pren", "zu"),
    "sing": ("sings", "sang", None, "kant", ""), "sleep": ("sleeps", "slept", None, "dorm", ""),
    "laugh": ("laughs", "laughed", None, "rid", ""),
}  # fmt: skip
PLACES = {
    "in the garden": "jardim", "at the river": "fluvim", "on the bridge": "pontim", "in the town": "vilim",
    "behind the house": "domirum", "under the tree": "arbusum",
}  # fmt: skip
TIMES = {"today": "hodi", "often": "multi", "in the morning": "matutin"}
PAST_TIMES = {"yesterday": "ieri", "last year": "anopas"}
DETERMINERS = (
    ("the", False),
    ("a", False),
    ("this", False),
    ("my", False),
    ("the", True),
    ("these", True),
    ("two", True),
    ("my", True),
)  # and whether what they stand before is many
ARTICLES = {"the": "l", "this": "k", "these": "k", "my": "m"}


@dataclass(frozen=True)
class Phrase:
    """A noun with what stands around it."""

    determiner: str
    adjective: str
    noun: str
    plural: bool


@dataclass(frozen=True)
class Sentence:
    """What a sentence says, in no language; ``object`` is None behind verbs that take none, "" is no place or time."""

    subject: Phrase
    verb: str
    object: Phrase | None
    past: bool
    negated: bool
    place: str
    time: str


def _draw_phrase(draw: Draw) -> Phrase:
    determiner, plural = draw.of(DETERMINERS)
    adjective = draw.of(list(ADJECTIVES)) if draw.chance(0.5) else ""
    return Phrase(determiner, adjective, draw.of(list(NOUNS)), plural)


def _draw_sentence(draw: Draw) -> Sentence:
    subject, verb, past = _draw_phrase(draw), draw.of(list(VERBS)), draw.chance(0.5)
    object = None if VERBS[verb][2] is None else _draw_phrase(draw)
    place = draw.of(list(PLACES)) if draw.chance(0.4) else ""
    times = list(TIMES | PAST_TIMES if past else TIMES)
    return Sentence(subject, verb, object, past, draw.chance(0.25), place, draw.of(times) if draw.chance(0.4) else "")


def _english_phrase(p: Phrase) -> str:
    noun = PLURALS.get(p.noun, p.noun + "s") if p.plural else p.noun
    words = [p.determiner, p.adjective, noun]
    if p.determiner == "a" and (p.adjective or noun)[0] in "aeiou":
        words[0] = "an"
    return " ".join(filter(None, words))


def english(s: Sentence) -> str:
    """Subject, verb, object, place, time."""
    third, past, particle, _, _ = VERBS[s.verb]
    if s.negated:
        verb = f"{'did' if s.past else 'do' if s.subject.plural else 'does'} not {s.verb}"
    else:
        verb = past if s.past else s.verb if s.subject.plural else third
    words = [_english_phrase(s.subject), verb, particle or "", _english_phrase(s.object) if s.object else "", s.place]
    return " ".join(filter(None, [*words, s.time])) + "."


def _velan_phrase(p: Phrase, case: str) -> str:
    """Noun, then adjective, then what determines it; all show gender, number and case, and "a" is not said."""
    stem, gender = NOUNS[p.noun]
    end = ({"o": "i", "a": "e"} if p.plural else {"o": "o", "a": "a"})[gender] + case
    words = [part + end for part in stem.split()]
    if p.adjective:
        words.append(ADJECTIVES[p.adjective] + end)
    if p.determiner == "two":
        words.append("duo")
    elif p.determiner != "a":
        words.append(ARTICLES[p.determiner] + end)
    return " ".join(words)


def velan(s: Sentence) -> str:
    """Time, subject, place, object, verb: the verb comes last, agrees with its subject, and its object ends in n."""
    _, _, _, stem, particle = VERBS[s.verb]
    verb = stem + ("il" if s.past else "at") + ("ur" if s.subject.plural else "")
    parts = [
        {**TIMES, **PAST_TIMES}.get(s.time, ""), _velan_phrase(s.subject, ""), PLACES.get(s.place, ""),
        _velan_phrase(s.object, "n") if s.object else "", "ne" if s.negated else "", particle, verb,
    ]  # fmt: skip
    return " ".join(filter(None, parts)) + "."


def _either(options: Any) -> str:
    return "|".join(re.escape(o) for o in sorted(options, key=len, reverse=True))


def _phrase_pattern(name: str) -> str:
    nouns = {*NOUNS, *(PLURALS.get(n, n + "s") for n in NOUNS)}
    return (
        rf"(?P<{name}d>the|an?|this|these|my|two) (?:(?P<{name}a>{_either(ADJECTIVES)}) )?(?P<{name}n>{_either(nouns)})"
    )


_FORMS = {form: verb for verb, (third, past, *_) in VERBS.items() for form in (verb, third, past)}
_ENGLISH = re.compile(
    rf"{_phrase_pattern('s')} (?P<do>(?:do|does|did) not )?(?P<v>{_either(_FORMS)})"
    rf"(?: (?P<p>at|for))?(?: {_phrase_pattern('o')})?"
    rf"(?: (?P<place>{_either(PLACES)}))?(?: (?P<time>{_either(TIMES | PAST_TIMES)}))?\."
)


def parse(text: str) -> Sentence | None:
    """What an English sentence of this world says; None for any other text."""
    found = _ENGLISH.fullmatch(text)
    if found is None:
        return None
    get = found.groupdict(default="")
    singular = {PLURALS.get(n, n + "s"): n for n in NOUNS}

    def phrase(at: str) -> Phrase:
        determiner = "a" if get[f"{at}d"] == "an" else get[f"{at}d"]
        noun = get[f"{at}n"]
        return Phrase(determiner, get[f"{at}a"], singular.get(noun, noun), noun in singular)

    verb = _FORMS[get["v"]]
    past = get["do"].startswith("did") if get["do"] else get["v"] == VERBS[verb][1]
    said = Sentence(
        phrase("s"), verb, phrase("o") if get["on"] else None, past, bool(get["do"]), get["place"], get["time"]
    )
    return said if english(said) == text and _sound(said) else None  # agreement and all: what it says is how it is said


def _sound(s: Sentence) -> bool:
    """Whether ``_draw_sentence`` could have drawn it."""
    phrases = [s.subject] + ([s.object] if s.object else [])
    fits = all((p.determiner, p.plural) in DETERMINERS for p in phrases)
    return fits and (s.object is None) == (VERBS[s.verb][2] is None) and (s.past or s.time not in PAST_TIMES)


def translate(text: str) -> str:
    """The one right translation of an English sentence of this world.

    Raises:
        DataError: it is none.

    >>> translate("the old woman does not look at these red apples.")
    'mela sena la pomin rubin kin ne spekat.'
    """
    said = parse(text)
    if said is None:
        raise DataError(f"{text!r} is no sentence of the world translation; take one of its own")
    return velan(said)


def translation(*, n: int = 10_000, reverse: bool = False, seed: int = 0) -> Dataset:
    """A little English, and the same in Velan, a made language with gender, case, agreement, and the verb at the end.

    No sentence comes twice, so held-out ones were never seen. Each piece is a translation, and what is known of it
    (``cond``) is the text that it translates.

    Args:
        n: pairs.
        reverse: from Velan into English, instead of from English into Velan.
        seed: of the draws.
    """
    if not 1 <= n <= 1_000_000:
        raise DataError(f"translation with n={n}: it must lie between 1 and 1000000")
    pairs: dict[str, str] = {}
    draw = Draw(seed)
    while len(pairs) < n:
        said = _draw_sentence(draw)
        pairs[english(said)] = velan(said)

    def unseen(k: int, seed: int = 1) -> list[Item]:
        """``k`` different pairs that are not among the items."""
        more, draw = {}, Draw(seed + 7919)
        while len(more) < k:
            said = _draw_sentence(draw)
            if english(said) not in pairs:
                more[english(said)] = velan(said)
        return made(more)

    def made(of: Mapping[str, str]) -> list[Item]:
        return items_of([(a, b) if reverse else (b, a) for a, b in of.items()], "sentence")

    back = {b: a for a, b in pairs.items()}

    def backwards(text: str) -> str:
        """The English that has this translation, of the sentences here; KeyError for others."""
        return back[text]

    truth: dict[str, Any] = {
        "translate": backwards if reverse else translate,
        "is_member": lambda text: parse(text) is not None,  # of the English side
        "unseen": unseen,
    }
    about = "a little English and a made language with agreement, case and another word order, exactly translated"
    return Dataset("translation", "text", made(pairs), LICENCE, SOURCE, about, truth)


# ---- three languages to tell apart -----------------------------------------------------------------------------------

_SYLLABLES = {
    "arin": (("l", "r", "m", "n", "s", "t", "v", "k"), ("a", "i", "e", "o"), ("", "", "n", "r", "l")),
    "belu": (("b", "d", "l", "m", "n", "s", "t", "k"), ("u", "e", "o", "a"), ("", "", "s", "n", "t")),
    "coth": (("th", "k", "r", "s", "t", "m", "d", "l"), ("o", "i", "a", "e"), ("", "th", "s", "n", "k")),
}  # letters overlap almost wholly: what differs is how they follow each other
LANGUAGES = tuple(_SYLLABLES)
WORDS, SHARED = 80, 20  # words of each language, and how many of them are words of the others, too
SHORTEST, LONGEST = 3, 8  # words in a sentence


def _lexicons() -> dict[str, list[str]]:
    """The words of each language, commonest first; every fourth is a loan word that all three share."""
    draw = Draw(2026)

    def word(language: str) -> str:
        begin, middle, end = _SYLLABLES[language]
        return "".join(draw.of(begin) + draw.of(middle) + draw.of(end) for _ in range(draw.between(1, 3)))

    taken: set[str] = set()

    def fresh(language: str) -> str:
        while (made := word(language)) in taken or len(made) < 2:
            pass
        taken.add(made)
        return made

    loans = [fresh(draw.of(LANGUAGES)) for _ in range(SHARED)]
    every = WORDS // SHARED
    return {
        language: [loans[i // every] if i % every == every - 1 else fresh(language) for i in range(WORDS)]
        for language in LANGUAGES
    }


def languages(*, n: int = 6_000, seed: int = 0) -> Dataset:
    """Sentences of three made languages, each with its name to condition on; a fifth of the words are common to all.

    A sentence has 3 to 8 words, all numbers equally likely, each word drawn by its rank (Zipf's law), at least one of
    them no loan word, so that every sentence is of one language only.

    Args:
        n: sentences.
        seed: of the draws.
    """
    at_least_one("languages", n=n)
    lexicons = _lexicons()
    weights = [1 / (rank + 1) for rank in range(WORDS)]
    total = sum(weights)
    own = [i for i in range(WORDS) if i % (WORDS // SHARED) != WORDS // SHARED - 1]
    loan = 1 - sum(weights[i] for i in own) / total  # chance that a word is a loan word
    draw = Draw(seed)

    def sentence(language: str) -> str:
        k = draw.between(SHORTEST, LONGEST)
        while True:
            ranks = [draw.weighed(weights) for _ in range(k)]
            if any(i in own for i in ranks):
                return " ".join(lexicons[language][i] for i in ranks) + "."

    rows = [(sentence(language), language) for language in (draw.of(LANGUAGES) for _ in range(n))]

    def log_prob(text: str, language: str = "") -> float:
        """Nats of a sentence given its language, or with all three equally likely; minus infinity outside."""
        if not language:
            language = identify(text)  # no sentence is of two
            return log_prob(text, language) - math.log(len(LANGUAGES)) if language else -math.inf
        words = text.removesuffix(".").split(" ")
        rank = {word: i for i, word in enumerate(lexicons[language])}
        places = [rank.get(word, -1) for word in words]
        if not text.endswith(".") or not SHORTEST <= len(words) <= LONGEST or min(places) < 0:
            return -math.inf
        if not any(i in own for i in places):
            return -math.inf
        nats = sum(math.log(weights[i] / total) for i in places)
        return nats - math.log(LONGEST - SHORTEST + 1) - math.log1p(-(loan ** len(words)))

    def identify(text: str) -> str:
        """The language of which a text is a sentence; empty when it is of none."""
        return next((each for each in LANGUAGES if log_prob(text, each) > -math.inf), "")

    truth = {
        "lexicons": lexicons,
        "log_prob": log_prob,
        "identify": identify,
        "is_member": lambda text: bool(identify(text)),
    }
    return Dataset(
        "languages", "text", items_of(rows, "sentence"), LICENCE, SOURCE,
        "sentences of three made languages that share letters and a fifth of their words", truth,
    )  # fmt: skip
