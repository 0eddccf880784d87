"""From words to the sounds of speech: by the program espeak-ng where it is installed, else by a lexicon and a small model."""

from __future__ import annotations

import difflib
import functools
import math
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from bottega.codecs._say import Clause
from bottega.core import DataError, RecipeError

__all__ = ["Letters", "espeak_phones", "has_espeak", "languages"]

Word = tuple[str, ...]
"""The sounds of a word, in espeak-ng's own names; ``'`` and ``,`` before a vowel are its stress."""


def has_espeak() -> bool:
    """Whether the program espeak-ng is installed."""
    return shutil.which("espeak-ng") is not None


def _run(arguments: Sequence[str], text: str = "") -> str:
    done = subprocess.run(
        ["espeak-ng", *arguments], input=text, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise DataError(f"espeak-ng failed: {done.stderr.strip() or done.returncode}; check its installation")
    return done.stdout


@functools.cache
def languages() -> tuple[str, ...]:
    """The languages that the installed espeak-ng speaks; English alone where it is not installed."""
    if not has_espeak():
        return ("en", "en-us")
    return tuple(sorted({line.split()[1] for line in _run(["--voices"]).splitlines()[1:] if len(line.split()) > 1}))


def check_language(language: str) -> None:
    """Raise RecipeError where nothing here speaks ``language``."""
    if language not in languages():
        without = "" if has_espeak() else " (without espeak-ng only English is known; Debian: apt install espeak-ng)"
        raise RecipeError(f"unknown language {language!r}; {_near(language)}{without}")


def _near(language: str) -> str:
    """The codes most like it, and how many there are: too many for one line."""
    known = languages()
    family = [code for code in known if code.partition("-")[0] == language[:2].lower()]
    close = [*difflib.get_close_matches(language.lower(), known, n=4, cutoff=0.6), *family]
    near = ", ".join(dict.fromkeys(close[:6])) or "en-us, de, fr-fr, es"
    return f"near it or common: {near}; {len(known)} are known" + (" (espeak-ng --voices)" if has_espeak() else "")


def espeak_phones(lines: Sequence[Clause], language: str) -> list[list[Word]]:
    """The sounds of clauses, word by word as they are said in them: ``of the`` may be one word.

    Raises:
        DataError: espeak-ng is not installed, or does not say as many lines as it was given.
    """
    if not lines:
        return []
    if not has_espeak():
        raise DataError("espeak-ng is not installed (Debian: apt install espeak-ng); set codec.phones = 'letters'")
    text = "\n\n".join(" ".join(line.words) for line in lines) + "\n"
    said = [part for part in _run(["-v", language, "-q", "-x", "--sep=_", "--stdin"], text).splitlines() if part.strip()]  # fmt: skip
    if len(said) != len(lines):
        if len(lines) == 1:  # it parted what is long
            said = [" ".join(said)]
        else:
            return [words for line in lines for words in espeak_phones([line], language)]
    return [[word for group in line.split() if (word := _sounds(group))] for line in said]


def _sounds(group: str) -> Word:
    group = re.sub(r"\([a-z-]+\)", "", group)
    return tuple(p for p in group.split("_") if p.strip("':;,|%=-") and p not in {"#", "||"})


class Letters:
    """Words to sounds without a program: a lexicon, and for other words a model of pairs of letters and sounds.

    Letters and sounds are aligned by expectation maximisation, each letter to none, one or two sounds; a word is then a row
    of such pairs, of which an n-gram model with Witten-Bell's back-off says how likely each is after those before it; the
    sounds of a new word are those of the most likely row (joint-sequence models: Bisani and Ney 2008; the aligner is the
    many-to-many one of Jiampojamarn, Kondrak and Sherif 2007).

    Args:
        pairs: words, each as a row of (letters, sounds); see ``learn``.
        order: how many pairs the model looks at.
    """

    def __init__(self, pairs: Mapping[str, Sequence[tuple[str, Word]]], order: int = 5) -> None:
        self.pairs = {word: [(l, tuple(s)) for l, s in row] for word, row in pairs.items()}  # noqa: E741
        self.order = order

    @classmethod
    def learn(cls, lexicon: Mapping[str, Word], rounds: int = 3, order: int = 5) -> Letters:
        """From words and their sounds; words that no alignment fits are left out."""
        chance: dict[tuple[str, Word], float] = {}
        rows: dict[str, list[tuple[str, Word]]] = {}
        for _ in range(rounds):  # Viterbi training: the best alignment counts as the only one
            counts: Counter[tuple[str, Word]] = Counter()
            rows = {}
            for word, sounds in lexicon.items():
                row = _aligned(word, sounds, chance)
                if row is not None:
                    rows[word] = row
                    counts.update(row)
            total = sum(counts.values()) + len(counts)
            chance = {pair: math.log((n + 0.1) / total) for pair, n in counts.items()}
        return cls(rows, order)

    @functools.cached_property
    def _model(self) -> tuple[list[dict[tuple, Counter[tuple[str, Word]]]], dict[str, list[tuple[str, Word]]]]:
        grams: list[dict[tuple, Counter[tuple[str, Word]]]] = [defaultdict(Counter) for _ in range(self.order)]
        known: dict[str, set[tuple[str, Word]]] = defaultdict(set)
        for row in self.pairs.values():
            padded = [("^", ())] * (self.order - 1) + row + [("$", ())]
            for i in range(self.order - 1, len(padded)):
                for k in range(self.order):
                    grams[k][tuple(padded[i - k : i])][padded[i]] += 1
            for pair in row:
                known[pair[0]].add(pair)
        return grams, {letters: sorted(found) for letters, found in known.items()}

    def _log_chance(self, context: tuple, pair: tuple[str, Word]) -> float:
        """Witten-Bell: as often as seen, and for what is new as the shorter context says."""
        grams, _ = self._model
        p = 1e-6
        for k in range(self.order):
            seen = grams[k].get(context[len(context) - k :] if k else ())
            if seen is None:
                break
            total, kinds = seen.total(), len(seen)
            p = (seen[pair] + kinds * p) / (total + kinds)
        return math.log(p)

    def sounds(self, word: str, beam: int = 6) -> Word:
        """Of a word: from the lexicon, or the most likely ones; letters that were never seen are silent."""
        if word in self.pairs:
            return tuple(s for _, sounds in self.pairs[word] for s in sounds)
        _, known = self._model
        start: tuple = (("^", ()),) * (self.order - 1)
        found: list[list[tuple[float, tuple, Word]]] = [[] for _ in range(len(word) + 1)]
        found[0] = [(0.0, start, ())]
        for i in range(len(word)):
            for score, context, said in sorted(found[i], key=lambda f: -f[0])[:beam]:
                some = False
                for width in (1, 2):
                    for pair in known.get(word[i : i + width], ()) if i + width <= len(word) else ():
                        some = True
                        new = (*context, pair)[1:]
                        found[i + width].append((score + self._log_chance(context, pair), new, (*said, *pair[1])))
                if not some:
                    found[i + 1].append((score - 20, context, said))
        ends = [(score + self._log_chance(context, ("$", ())), said) for score, context, said in found[-1]]
        return max(ends)[1] if ends else ()

    def state(self) -> dict[str, str]:
        """JSON-ready: each word's pairs as one text."""
        return {w: "|".join(f"{l}={'_'.join(s)}" for l, s in row) for w, row in self.pairs.items()}  # noqa: E741

    @classmethod
    def of_state(cls, state: Mapping[str, str]) -> Letters:
        """The inverse of ``state``."""

        def pair(text: str) -> tuple[str, Word]:
            letters, _, sounds = text.partition("=")
            return letters, tuple(sounds.split("_")) if sounds else ()

        return cls({word: [pair(part) for part in row.split("|")] for word, row in state.items()})


_VOWELS = set("aeiouy")


def _prior(letters: str, sounds: Word) -> float:
    """Before anything was counted: pairs of one to one, vowels to vowels."""
    score = -2.0 - 1.5 * abs(len(letters) - len(sounds)) - 1.0 * (len(letters) > 1)
    if len(letters) == 1 and len(sounds) == 1:
        vowel = sounds[0].lstrip("',")[:1] in "aAeEiIoOuUV@03y&"
        score += 1.0 if vowel == (letters in _VOWELS) else -2.0
        score += 1.0 if sounds[0].lstrip("',")[:1].lower() == letters else 0.0
    return score


def _aligned(word: str, sounds: Word, chance: Mapping[tuple[str, Word], float]) -> list[tuple[str, Word]] | None:
    """The likeliest row of pairs: one or two letters to none, one or two sounds, never two letters to two sounds."""
    n, m = len(word), len(sounds)
    best: dict[tuple[int, int], tuple[float, tuple[int, int]]] = {(0, 0): (0.0, (0, 0))}
    for i in range(n):
        for j in range(m + 1):
            if (i, j) not in best:
                continue
            score = best[i, j][0]
            for a, b in ((1, 0), (1, 1), (1, 2), (2, 1)):
                if i + a > n or j + b > m:
                    continue
                pair = (word[i : i + a], sounds[j : j + b])
                new = score + (chance.get(pair, -14.0) if chance else _prior(*pair))
                if new > best.get((i + a, j + b), (-math.inf, (0, 0)))[0]:
                    best[i + a, j + b] = (new, (i, j))
    if (n, m) not in best:
        return None
    row, at = [], (n, m)
    while at != (0, 0):
        before = best[at][1]
        row.append((word[before[0] : at[0]], sounds[before[1] : at[1]]))
        at = before
    return row[::-1]
