"""A filter of texts: rules with ids that block, warn or redact, and a linear scorer that one trains on one's own texts.

Rules are regular expressions and word lists in ``_filters.toml``; ids are what is told and logged, never the text. They find
wordings, not meanings: who wants to get past them does. Measured in ``benchmarks/filters.py``.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from bottega.core.errors import BottegaError, CheckpointError, DataError, OutputError, RecipeError, nearest

__all__ = [
    "Action",
    "Blocked",
    "Filter",
    "Hit",
    "Labelled",
    "Rule",
    "Scorer",
    "labelled_prompts",
    "read_rules",
    "word_hash",
]

Action = Literal["block", "warn", "redact"]


@dataclass(frozen=True)
class Hit:
    """What a rule found, without the text itself.

    Attributes:
        rule: its id.
        start: of the first character.
        end: behind the last one.
        action: what the rule asks for.
    """

    rule: str
    start: int
    end: int
    action: Action


@dataclass(frozen=True)
class Rule:
    """One rule; see the head of ``_filters.toml`` for what each key means."""

    id: str
    what: str
    action: Action
    patterns: tuple[re.Pattern[str], ...] = ()
    unless: tuple[re.Pattern[str], ...] = ()
    hashed: frozenset[str] = frozenset()
    disguised: bool = False
    find: str = ""
    mark: str = "[removed]"
    help: str = ""


class Blocked(BottegaError):
    """A text that is not to be shown; says by which rules, and nothing of the text.

    Args:
        what: that is blocked: the prompt, the text.
        hits: those that block.
        about: what those rules are about, and whom to turn to.
    """

    def __init__(self, what: str, hits: Sequence[Hit], about: str) -> None:
        self.hits = list(hits)
        super().__init__(f"{what} is blocked by {_ids(hits)}: {about}")


def _ids(hits: Iterable[Hit]) -> str:
    some = list(dict.fromkeys(hit.rule for hit in hits))
    return f"rule{'s' if len(some) > 1 else ''} {', '.join(some)}"


# ---- reading rules ------------------------------------------------------------------------------------------------------

_KEYS = {"id", "what", "action", "patterns", "unless", "hashed", "disguised", "find", "mark", "help"}


def word_hash(word: str) -> str:
    """A word as ``hashed`` has it: the first 16 digits of its SHA-256, without capitals and accents.

    >>> word_hash("Word") == word_hash("wörd"), len(word_hash("word"))
    (True, 16)
    """
    return hashlib.sha256(f"bottega:{_view(word)[0]}".encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=1)
def _ours() -> tuple[tuple[Rule, ...], dict[str, str]]:
    table = tomllib.loads(Path(__file__).with_name("_filters.toml").read_text(encoding="utf-8"))
    return tuple(_rules_of(table, table["words"], "_filters.toml")), table["words"]


def read_rules(path: Path) -> list[Rule]:
    """The rules of a TOML file: ``[[rule]]`` tables, and ``[words]`` of its own beside ours.

    Raises:
        DataError: it cannot be read.
        RecipeError: a rule lacks something, or has what there is not.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the rules in {path}: {error}") from error
    return _rules_of(table, {**_ours()[1], **table.get("words", {})}, str(path))


def _rules_of(table: dict[str, Any], words: dict[str, str], where: str) -> list[Rule]:
    found = table.get("rule")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found) or not found:
        raise RecipeError(f"{where} holds no [[rule]] tables; write one with id, what, action and patterns")
    out = []
    for number, one in enumerate(found, 1):
        name = f"rule {one.get('id', number)} of {where}"
        for key in one:
            if key not in _KEYS:
                raise RecipeError(f"{name} has a key {key!r}{nearest(key, _KEYS)}")
        if not all(isinstance(one.get(key), str) and one[key] for key in ("id", "what", "action")):
            raise RecipeError(f"{name} lacks its id, what it is about, or its action")
        if one["action"] not in get_args(Action):
            raise RecipeError(f"{name}: action is {one['action']!r}{nearest(one['action'], get_args(Action))}")
        if (find := one.get("find", "")) and find not in _FINDERS:
            raise RecipeError(f"{name}: find is {find!r}{nearest(find, _FINDERS)}")
        if not any(one.get(key) for key in ("patterns", "hashed", "find")):
            raise RecipeError(f"{name} looks for nothing; give it patterns, hashed words, or find")
        compiled = {key: tuple(_compiled(p, words, name) for p in one.get(key, ())) for key in ("patterns", "unless")}
        out.append(Rule(**{**one, **compiled, "hashed": frozenset(one.get("hashed", ()))}))
    if len({rule.id for rule in out}) < len(out):
        raise RecipeError(f"{where} has two rules of one id; each needs its own")
    return out


def _compiled(pattern: str, words: dict[str, str], name: str) -> re.Pattern[str]:
    try:
        for _ in range(3):  # words may be made of words
            pattern = re.sub(r"(?<!\(\?P)<([a-z]+)>", lambda found: words[found[1]], pattern)
        return re.compile(pattern, re.DOTALL)
    except (re.error, TypeError) as error:
        raise RecipeError(f"{name}: {pattern!r:.80} is no regular expression ({error})") from error
    except KeyError as error:
        raise RecipeError(f"{name}: there are no words called {error}{nearest(str(error.args[0]), words)}") from error


# ---- how a text is looked at --------------------------------------------------------------------------------------------

_PLAIN = str.maketrans(
    {"’": "'", "‘": "'", "´": "'", "`": "'", "–": "-", "—": "-", "‐": "-", "‑": "-", "−": "-", "“": '"', "”": '"'}
)
_LETTERS = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i", "*": "", "_": ""}


def _view(text: str, disguised: bool = False) -> tuple[str, list[int]]:
    r"""The text as rules read it, and for each of its characters which one of ``text`` it comes from.

    >>> _view("Café\u200b!")[0], _view("k1lllll", disguised=True)[0]
    ('cafe!', 'kil')
    """
    out: list[str] = []
    at: list[int] = []
    for i, char in enumerate(text):
        for c in unicodedata.normalize("NFKD", char.translate(_PLAIN)).lower():
            if unicodedata.category(c) not in ("Mn", "Cf"):  # accents, and what cannot be seen
                out.append(c if c == "\n" or not c.isspace() else " ")
                at.append(i)
    if disguised:
        inside = [
            c in _LETTERS and (0 < k < len(out) - 1) and (out[k - 1].isalpha() and (out[k + 1].isalpha() or out[k + 1] in _LETTERS))
            for k, c in enumerate(out)
        ]  # fmt: skip
        kept: list[str] = []
        where: list[int] = []
        for _, some in itertools.groupby(range(len(out)), lambda k: out[k]):
            places = list(some)
            drawn_out = len(places) >= 3 and out[places[0]].isalpha()
            for k in places[:1] if drawn_out else places:
                if letter := _LETTERS[out[k]] if inside[k] else out[k]:
                    kept.append(letter)
                    where.append(at[k])
        return "".join(kept), where
    return "".join(out), at


def _cards(text: str) -> Iterator[tuple[int, int]]:
    """Numbers of 12 to 19 digits that a card could have: issuer's digits and check digit (ISO/IEC 7812, Luhn)."""
    for found in re.finditer(r"(?<![\w.])\d(?:[ -]?\d){11,18}(?!\w)", text):
        digits = [int(c) for c in found[0] if c.isdigit()]
        if re.match(r"4|5[0-8]|6|2[2-7]|3[04-9]", found[0]) and len(set(digits)) > 1 and _luhn(digits):
            yield found.span()


def _luhn(digits: Sequence[int]) -> bool:
    """Whether the last digit is the check digit of the others.

    >>> _luhn([int(c) for c in "4111111111111111"]), _luhn([int(c) for c in "4111111111111112"])
    (True, False)
    """
    return sum(d if k % 2 == 0 else sum(divmod(2 * d, 10)) for k, d in enumerate(reversed(digits))) % 10 == 0


_IBAN = {"ad": 24, "at": 20, "be": 16, "bg": 22, "ch": 21, "cy": 28, "cz": 24, "de": 22, "dk": 18, "ee": 20, "es": 24, "fi": 18,
         "fr": 27, "gb": 22, "gr": 27, "hr": 21, "hu": 28, "ie": 22, "il": 23, "is": 26, "it": 27, "li": 21, "lt": 20, "lu": 20,
         "lv": 21, "mc": 27, "mt": 31, "nl": 18, "no": 15, "pl": 28, "pt": 25, "ro": 24, "rs": 22, "sa": 24, "se": 24, "si": 19,
         "sk": 24, "sm": 27, "tr": 26, "ua": 29}  # fmt: skip


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    """Account numbers whose check digits are right (ISO 13616), of the length that their country has where it is known."""
    for found in re.finditer(r"(?<!\w)[a-z]{2}\d{2}(?:[ -]?[a-z0-9]){11,30}", text):
        ends = [k + 1 for k, c in enumerate(found[0]) if c.isalnum()]
        wanted = _IBAN.get(found[0][:2])
        for count in range(len(ends), 14, -1):
            if wanted not in (None, count):
                continue
            bare = re.sub(r"[ -]", "", found[0][: ends[count - 1]])
            if int("".join(str(int(c, 36)) for c in bare[4:] + bare[:4])) % 97 == 1:
                yield found.start(), found.start() + ends[count - 1]
                break


def _phones(text: str) -> Iterator[tuple[int, int]]:
    """Telephone numbers: of 8 to 15 digits (ITU-T E.164), written as one or said to be one."""
    for found in re.finditer(
        r"(?<![\w./-])(?<!\d,)(?:\+|00)?\(?\d(?:[ ./()-]{0,2}\d){6,14}(?:\s?(?:x|ext\.?) ?\d{1,5})?(?!\w|[ .,/-]\d)",
        text,
    ):
        number = found[0]
        digits = sum(c.isdigit() for c in number)
        said = re.search(r"(?:phone|telephone|tel|call|answering at|mobile|cell|fax|text|whatsapp|reach|(?:my|his|her|our|their) number is|dial|ring)\W{0,3}(?:\w+\W+){0,4}$",
                         text[max(0, found.start() - 40) : found.start()])  # fmt: skip
        said = said or re.match(r"\W{0,2}(?:office|fax|mobile|cell|home|work)\b", text[found.end() : found.end() + 10])
        shaped = re.match(r"\+|00\d|\(\d|0\d{1,4}[ ./-]|\d{3}[-. ]\d{3}[-. ]\d{4}(?!\d)|1[-. ]\d{3}[-. ]\d{3}", number)
        dated = re.match(r"(?:19|20)\d\d[-/.]\d\d?[-/.]\d\d?(?!\d)|\d\d?[-/.]\d\d?[-/.](?:19|20)\d\d(?!\d)", number)
        if (
            (said or shaped)
            and not dated
            and 8 <= digits <= 15
            and "isbn" not in text[max(0, found.start() - 10) : found.start()]
        ):
            yield found.span()


_FINDERS: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {"card": _cards, "iban": _ibans, "phone": _phones}


# ---- the filter ---------------------------------------------------------------------------------------------------------


class Filter:
    """Looks for what the rules say, and for what the scorers find likely.

    Args:
        rules: those to keep to; ours where nothing is given.
        scorers: trained by ``Scorer.fit``.
        log: a file to which each hit is added as a line of JSON: when, rule, action, and where in how long a text; never
            the text.

    >>> Filter().clean("Write to ann@example.com today.")
    'Write to [e-mail address] today.'
    """

    def __init__(
        self, rules: Sequence[Rule] | None = None, scorers: Sequence[Scorer] = (), log: Path | None = None
    ) -> None:
        self.rules = list(_ours()[0] if rules is None else rules)
        self.scorers, self.log = list(scorers), log
        named = [one.id for one in (*self.rules, *self.scorers)]
        if twice := next((name for name in named if named.count(name) > 1), ""):
            raise RecipeError(f"two rules are called {twice!r}; give one another id")

    @classmethod
    def of(cls, files: Sequence[Path] = (), log: Path | None = None) -> Filter:
        """Our rules, and those of ``files``: ``.toml`` of rules (one with an id of ours takes its place), or saved scorers."""
        rules = {rule.id: rule for rule in _ours()[0]}
        scorers = []
        for file in files:
            if file.suffix == ".safetensors":
                scorers.append(Scorer.load(file))
            else:
                rules |= {rule.id: rule for rule in read_rules(file)}
        return cls(list(rules.values()), scorers, log)

    def check(self, text: str) -> list[Hit]:
        """All that is found, in the order of the text; a rule's hits do not overlap. Nothing is logged."""
        views = [_view(text), _view(text, disguised=True)]
        out: list[Hit] = []
        for rule in self.rules:
            spans: list[tuple[int, int]] = []
            for seen, at in views[: 2 if rule.disguised else 1]:
                spans += [(at[a], at[b - 1] + 1) for a, b in _found(rule, seen) if b > a]
            out += [Hit(rule.id, a, b, rule.action) for a, b in _apart(spans)]
        for scorer in self.scorers:
            if text.strip() and scorer.score([text])[0] >= scorer.threshold:
                out.append(Hit(scorer.id, 0, len(text), scorer.action))
        return sorted(out, key=lambda hit: (hit.start, hit.end, hit.rule))

    def clean(self, text: str, *, before: str = "", what: str = "the text", warned: list[Hit] | None = None) -> str:
        """The text with what is to be redacted replaced by marks; every hit is logged by its rule.

        Args:
            text: to be cleaned.
            before: what stands before it and was looked at already; what begins there and reaches into ``text`` is found.
            what: how a message names the text.
            warned: a list to which hits that only warn, or redact, are added; their places are those in ``before + text``.

        Raises:
            Blocked: a rule blocks it; the message names the rules and tells nothing of the text.
        """
        size = len(before)
        hits = [hit for hit in self.check(before + text) if hit.end > size]
        self._note(hits, size + len(text))
        if blocking := [hit for hit in hits if hit.action == "block"]:
            raise Blocked(what, blocking, self.about(blocking))
        if warned is not None:
            warned += hits
        marks = {rule.id: rule.mark for rule in self.rules}
        for start, end, mark in reversed(
            _joined([(h.start, h.end, marks.get(h.rule, "[removed]")) for h in hits if h.action == "redact"])
        ):
            text = text[: max(start - size, 0)] + mark + text[end - size :]
        return text

    def about(self, hits: Iterable[Hit]) -> str:
        """What the rules of some hits are about, and the help that they name."""
        known: dict[str, Any] = {one.id: one for one in (*self.rules, *self.scorers)}
        some = [known[name] for name in dict.fromkeys(hit.rule for hit in hits)]
        told = "; ".join(one.what for one in some)
        return " ".join([told, *dict.fromkeys(f"({one.help})" for one in some if getattr(one, "help", ""))])

    def _note(self, hits: Sequence[Hit], size: int) -> None:
        if self.log is None or not hits:
            return
        when = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a", encoding="utf-8") as file:
                for hit in hits:
                    row = {
                        "when": when,
                        "rule": hit.rule,
                        "action": hit.action,
                        "start": hit.start,
                        "end": hit.end,
                        "of": size,
                    }
                    file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self.log}: {error.strerror or error}; choose another place") from error


def _found(rule: Rule, seen: str) -> Iterator[tuple[int, int]]:
    if rule.find:
        yield from _FINDERS[rule.find](seen)
    seen = seen.replace("\n", " ")
    exempt: list[tuple[int, int]] | None = None
    for pattern in rule.patterns:
        for found in pattern.finditer(seen):
            if exempt is None:
                exempt = [one.span() for some in rule.unless for one in some.finditer(seen)]
            if not any(a < found.end() and found.start() < b for a, b in exempt):
                yield found.span()
    if rule.hashed:
        for found in re.finditer(r"[a-z]+", seen):
            if any(word_hash(word) in rule.hashed for word in _singulars(found[0])):
                yield found.span()


def _singulars(word: str) -> list[str]:
    return [word] + [word.removesuffix(end) for end in ("s", "z") if word.endswith(end)]


def _apart(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order, those that overlap made one.

    >>> _apart([(4, 6), (0, 2), (5, 9)])
    [(0, 2), (4, 9)]
    """
    return [(a, b) for a, b, _ in _joined([(a, b, "") for a, b in spans])]


def _joined(spans: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    out: list[tuple[int, int, str]] = []
    for start, end, mark in sorted(spans):
        if out and start < out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]), out[-1][2])
        else:
            out.append((start, end, mark))
    return out


# ---- a scorer of one's own ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scorer:
    """Logistic regression on counts of letter sequences, trained on one's own labelled texts.

    Attributes:
        id: what hits are called.
        what: it is about.
        action: of a hit.
        weight: a number for each of the features, which are hashed 2- to 5-letter sequences within words.
        bias: added to their sum.
        threshold: from which probability a text is a hit.
        about: how many texts it was trained on, and what it found among those kept back: ``precision``, ``recall``.
    """

    id: str
    what: str
    action: Action
    weight: Any = field(repr=False)
    bias: float
    threshold: float
    about: dict[str, float] = field(default_factory=dict)

    @classmethod
    def fit(
        cls, texts: Sequence[str], labels: Sequence[bool], *, id: str = "own", what: str = "like texts that were marked",
        action: Action = "block", precision: float = 0.9, held: float = 0.25, features: int = 16384, seed: int = 0,
    ) -> Scorer:  # fmt: skip
        """A scorer of texts and whether each is to be found.

        Copies of a text count once. The threshold is the lowest at which so large a share of those it finds, among texts
        kept back, is rightly found.

        Args:
            texts: at least 20 different ones.
            labels: whether each is to be found; at least 5 of either.
            id: of its hits.
            what: it is about.
            action: of its hits.
            precision: the share, 0 to 1, of its finds that are right.
            held: the share, 0 to 1, of texts kept back.
            features: how many numbers it has.
            seed: of which texts are kept back.

        Raises:
            DataError: too few texts.
            RecipeError: a number is out of range, or no threshold is as precise as asked.
        """
        import numpy as np
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import train_test_split

        if len(texts) != len(labels):
            raise RecipeError(f"{len(texts)} texts and {len(labels)} labels; give one for each")
        if action not in get_args(Action) or not 0 < precision <= 1 or not 0 < held < 1 or features < 16:
            raise RecipeError(
                f"action={action!r}, precision={precision}, held={held}, features={features}: out of range"
            )
        some = dict(zip(texts, map(bool, labels), strict=True))
        marked = sum(some.values())
        if len(some) < 20 or min(marked, len(some) - marked) < 5:
            raise DataError(f"{len(some)} different texts, {marked} of them marked; 20 and 5 of either are the least")
        x, y = _counts(list(some), features), np.array(list(some.values()))
        fitted, kept = train_test_split(np.arange(len(y)), test_size=held, random_state=seed, stratify=y)
        model = LogisticRegression(C=10.0, max_iter=1000, class_weight="balanced").fit(x[fitted], y[fitted])
        weight, bias = model.coef_[0].astype(np.float32), float(model.intercept_[0])
        sure = _sigmoid(x[kept] @ weight + bias)
        best, least = None, min(5, int(y[kept].sum()))  # one lucky find is no threshold
        for threshold in np.unique(sure):
            found = sure >= threshold
            right = float(y[kept][found].mean())
            if right >= precision and found.sum() >= least:
                best = (float(threshold), right, float(found[y[kept]].mean()))
                break
        if best is None:
            raise RecipeError(
                f"no threshold is right in {precision:.0%} of what it finds; ask for less, or give more texts"
            )
        about = {"texts": len(some), "marked": marked, "held": len(kept), "precision": best[1], "recall": best[2]}
        return cls(id, what, action, weight, bias, best[0], about)

    def score(self, texts: Sequence[str]) -> list[float]:
        """The probability, 0 to 1, of each text."""
        return [float(p) for p in _sigmoid(_counts(texts, len(self.weight)) @ self.weight + self.bias)]

    def save(self, path: Path) -> Path:
        """Numbers as safetensors, all else as JSON in its header."""
        from safetensors.numpy import save_file

        header = {"id": self.id, "what": self.what, "action": self.action, "bias": self.bias, "threshold": self.threshold,
                  "about": self.about}  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"weight": self.weight}, path, metadata={"bottega_scorer": json.dumps(header)})
        return path

    @classmethod
    def load(cls, path: Path) -> Scorer:
        """A saved one.

        Raises:
            CheckpointError: missing, damaged, or something else.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "numpy") as opened:
                header = json.loads((opened.metadata() or {})["bottega_scorer"])
                return cls(weight=opened.get_tensor("weight"), **header)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise CheckpointError(f"{path} holds no scorer ({error}); save one with Scorer.save") from error

    def at(self, threshold: float) -> Scorer:
        """The same with another threshold."""
        return replace(self, threshold=threshold)


def _counts(texts: Sequence[str], features: int) -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer

    hashed = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 5), n_features=features, alternate_sign=False)
    return hashed.transform([_view(text)[0] for text in texts])


def _sigmoid(x: Any) -> Any:
    from scipy.special import expit

    return expit(x)


# ---- prompts that come with it ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Labelled:
    """A made-up prompt, and the ids of the rules that should meet it; none for one that should pass."""

    text: str
    rules: tuple[str, ...]


def labelled_prompts() -> list[Labelled]:
    """Prompts of our own that the rules are tested on; near misses are among those that pass.

    They were written beside the rules, so what the rules find here says that they work as meant, not how many of other
    people's texts they find.
    """
    table = tomllib.loads(Path(__file__).with_name("_filter_prompts.toml").read_text(encoding="utf-8"))
    return [Labelled(text, () if rule == "pass" else (rule,)) for rule, texts in table.items() for text in texts]
