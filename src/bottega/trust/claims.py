"""Is what is said in the text it is said to come from? Claims checked against a closed corpus, and labelled."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from bottega.core import DataError, Item, Measure
from bottega.core.measure import wilson

__all__ = ["LIMITS", "Corpus", "Label", "Support", "rate", "sentences"]

ENOUGH = 0.75  # of a claim's weight that stands in one passage; measured in docs/explaining.md
LIMITS = (
    "words, names, numbers and negation were compared with the corpus; who did what to whom, and what the corpus does not "
    "say, were not"
)
_SENTENCE = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[A-Z0-9])|\n+")
_WORD = re.compile(r"\d+(?:[.,:]\d+)*%?|[^\W\d_]+(?:['’][^\W\d_]+)?")
_NOT = {"not", "no", "never", "neither", "nor", "none", "nobody", "nothing", "without", "cannot"}
_PLAIN = frozenset(re.findall(
    r"\w+",
    "a an the of to in on at by for from with and or but as is are was were be been being am it its this that these those "
    "he she they we you i his her their our your my him them who whom which what when where there here has have had do does "
    "did will would can could may might shall should also then than so very just into over under about between after before "
    "during while if because such s yes"
))  # fmt: skip


def sentences(text: str) -> list[str]:
    """A text cut into sentences: at line ends, and where a stop is followed by white space and a capital or a digit.

    >>> sentences("He paid 3.5 euros. She left! Why?")
    ['He paid 3.5 euros.', 'She left!', 'Why?']
    """
    return [part.strip() for part in _SENTENCE.split(text) if part and part.strip()]


def _stem(word: str) -> str:
    """One spelling for a word's forms, roughly: endings off, no dictionary."""
    for ending in ("ingly", "edly", "ies", "ing", "ed", "es", "ly", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word


@dataclass(frozen=True)
class _Said:
    """What a sentence says, as far as it is compared."""

    words: frozenset[str]
    hard: frozenset[str]  # numbers and names: words with a capital that do not begin the sentence
    denied: bool


def _said(text: str, common: AbstractSet[str] | None = None) -> _Said:
    """What a sentence says; its first word is a name where ``common`` is given and does not hold it."""
    words, hard, denied, first = set(), set(), False, True
    for raw in _WORD.findall(text):
        low = raw.lower().replace("’", "'")
        if low in _NOT or low.endswith("n't"):
            denied = not denied
        elif raw[0].isdigit():
            hard.add(raw.replace(",", "").rstrip("."))
        elif low.removesuffix("'s") not in _PLAIN:
            stem = _stem(low.removesuffix("'s"))
            words.add(stem)
            if raw[0].isupper() and (not first or (common is not None and stem not in common)):
                hard.add(stem)
        first = False
    return _Said(frozenset(words), frozenset(hard), denied)


@dataclass(frozen=True)
class Support:
    """What the corpus says to one claim.

    Attributes:
        claim: the sentence.
        supported: whether some passage says it.
        source: the name of the document that says most of it; empty where none says anything of it.
        passage: the sentences there.
        share: of the claim's weight (rare words weigh more), what stands in that passage; 0 to 1.
        why: what is wrong, in a few words; empty where nothing is.
    """

    claim: str
    supported: bool
    source: str
    passage: str
    share: float
    why: str


@dataclass(frozen=True)
class Label:
    """What stands under an answer: where it comes from, how sure that is, and what was not looked at.

    Attributes:
        source: documents that support it, or that none does.
        confidence: ``"supported"``, ``"partly supported"`` or ``"unsupported"``, with the shares behind it.
        limits: what this does not say.
        claims: every sentence of the answer with its support.
    """

    source: str
    confidence: str
    limits: str
    claims: tuple[Support, ...]

    def __str__(self) -> str:
        return f"source: {self.source}\nconfidence: {self.confidence}\nlimits: {self.limits}"


class Corpus:
    """Documents that are all that may be claimed.

    A claim is supported when one passage (a sentence, or two that stand side by side) of one document holds at least
    three quarters of the weight of its words, every number and every name in it, and denies as often as it does. Weights
    are inverse document frequencies over sentences; a word the corpus does not know weighs most. This compares words: it
    sees changed numbers, names, negations and inventions, and it does not see that subject and object were exchanged.

    Args:
        documents: texts with their names.

    Raises:
        DataError: there is no sentence in them.

    >>> corpus = Corpus([Item("The bridge was opened in 1932. It is 503 metres long.", name="bridge.txt")])
    >>> corpus.check("In 1932 the bridge was opened.").supported, corpus.check("It is 530 metres long.").why
    (True, '530 does not stand there')
    """

    def __init__(self, documents: Sequence[Item]) -> None:
        self.passages: list[tuple[str, str, _Said, bool]] = []  # the last: whether it is one sentence
        counts: Counter[str] = Counter()
        many = 0
        self._common: set[str] = set()  # words that somewhere begin with a small letter: no names
        for item in documents:
            self._common |= {_stem(word) for word in _WORD.findall(str(item.value)) if word[0].islower()}
            parts = sentences(str(item.value))
            said = [_said(part) for part in parts]
            for i, (part, own) in enumerate(zip(parts, said, strict=True)):
                many += 1
                counts.update(own.words | own.hard)
                self.passages.append((item.name, part, own, True))
                if i + 1 < len(parts):
                    after = said[i + 1]
                    joint = _Said(own.words | after.words, own.hard | after.hard, own.denied != after.denied)
                    self.passages.append((item.name, f"{part} {parts[i + 1]}", joint, False))
        if not self.passages:
            raise DataError("the corpus holds no sentence; give texts with words in them")
        self._weight = {word: math.log((1 + many) / (1 + n)) + 0.1 for word, n in counts.items()}
        self._unknown = math.log(1 + many) + 0.1
        self._where: dict[str, list[int]] = {}
        for k, (_, _, said_there, _) in enumerate(self.passages):
            for word in said_there.words | said_there.hard:
                self._where.setdefault(word, []).append(k)

    def check(self, claim: str) -> Support:
        """What the corpus says to one sentence; one of no content (``"Yes."``) claims nothing and is supported."""
        said = _said(claim, self._common)
        wanted = said.words | said.hard
        if not wanted:
            return Support(claim, True, "", "", 1.0, "")
        weight = {word: self._weight.get(word, self._unknown) for word in wanted}
        found: dict[int, float] = {}
        for word in wanted:
            for k in self._where.get(word, ()):
                found[k] = found.get(k, 0.0) + weight[word]
        if not found:
            return Support(claim, False, "", "", 0.0, "nothing of it stands in the corpus")
        total = sum(weight.values())

        def order(k: int) -> tuple[bool, float, bool, bool, int]:  # one sentence before two, which may deny as a pair
            _, _, there, alone = self.passages[k]
            return (
                not said.hard - (there.words | there.hard),
                round(found[k], 9),
                alone,
                there.denied == said.denied,
                -k,
            )

        best = max(found, key=order)
        name, text, there, _ = self.passages[best]
        share = min(1.0, found[best] / total)
        missing = sorted(said.hard - (there.words | there.hard))
        why = ""
        if missing:
            why = f"{', '.join(missing)} does not stand there"
        elif share < ENOUGH:
            why = f"only {100 * share:.0f} % of it stands in one passage"
        elif there.denied != said.denied:
            why = "one of the two denies it"
        return Support(claim, not why, name, text, share, why)

    def label(self, answer: str) -> Label:
        """An answer's sentences, each checked, and the label that goes under it."""
        claims = tuple(self.check(sentence) for sentence in sentences(answer) if _WORD.search(sentence))
        good = [claim for claim in claims if claim.supported]
        sources = list(dict.fromkeys(claim.source for claim in good if claim.source))
        if not claims or not good:
            confidence = "unsupported"
        else:
            confidence = "supported" if len(good) == len(claims) else "partly supported"
        share = sum(claim.share for claim in claims) / max(1, len(claims))
        told = f"{confidence} ({len(good)} of {len(claims)} sentences; {100 * share:.0f} % of their words stand in one passage)"
        wrong = "".join(f"; not supported: {c.claim!r} ({c.why})" for c in claims if not c.supported)
        return Label("; ".join(sources) or "none in the corpus", told + wrong, LIMITS, claims)

    def unsupported(self, answers: Sequence[str], *, seed: int = 0) -> Measure:
        """``unsupported_claims``: of all sentences of some answers, the share that the corpus does not support.

        The interval is Wilson's; sentences of one answer are taken as independent.
        """
        claims = [claim for answer in answers for claim in self.label(answer).claims]
        return rate(claims, f"{len(answers)} answers", seed=seed)


def rate(claims: Sequence[Support], of: str, *, seed: int = 0) -> Measure:
    """``unsupported_claims`` of sentences that were checked already: see ``Corpus.unsupported``.

    Args:
        claims: the sentences.
        of: what they are of, for the note.
        seed: noted in the measure.
    """
    n, bad = len(claims), sum(not claim.supported for claim in claims)
    low, high = wilson(bad / n, n) if n else (0.0, 1.0)
    note = f"share of the sentences of {of} that no passage supports: {LIMITS}"
    return Measure("unsupported_claims", bad / max(1, n), low, high, n=n, seed=seed, better="lower", note=note)
