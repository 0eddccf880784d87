"""Whether a reply gives away words that it may not: as they are, taken apart, turned round, counted, coded, in part, or bit by bit.

It reads a text in many ways and looks for the words in each. What paraphrases a secret ("what casts no light at night") has
none of its letters and is not found; the best guard is that no model is told.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

from bottega.core.english import ONES, TENS

__all__ = ["gives_away"]

_LEET = str.maketrans("013457@$!", "oieastasi")
_BACK, _BACK_DIGITS = 30, 12  # replies that are looked at together; single digits are common
_ALIKE = str.maketrans(
    "аеорсухівкмнтѕјԁοαερικντυχ", "aeopcyxibkmhtsjdoaepikvtux"
)  # Cyrillic and Greek letters that look like ours
_DIGITS = {
    word: str(k)
    for words in (
        ONES[:10], ["oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
        ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"], ["null", "ein", "zwo", "drei", "vier", "fuenf", "sechs", "sieben", "acht", "neun"],
        ["zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"], ["zero", "une", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"],
        ["cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"], ["zero", "uno", "due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove"],
        ["nul", "een", "twee", "drie", "vier", "vijf", "zes", "zeven", "acht", "negen"], ["zero", "um", "dois", "três", "quatro", "cinco", "seis", "sete", "oito", "nove"],
    )
    for k, word in enumerate(words)
}  # fmt: skip
_MORSE = dict(zip(
    [".-", "-...", "-.-.", "-..", ".", "..-.", "--.", "....", "..", ".---", "-.-", ".-..", "--", "-.", "---", ".--.", "--.-", ".-.", "...", "-", "..-", "...-", ".--", "-..-", "-.--", "--..", "-----", ".----", "..---", "...--", "....-", ".....", "-....", "--...", "---..", "----."],
    string.ascii_lowercase + string.digits, strict=True,
))  # fmt: skip
_BRAILLE = dict(zip("⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵", string.ascii_lowercase, strict=True))
_HINTS = re.compile(
    r"\b(?:starts?|begins?|beginning|ends?|ending|first|last|second|third|half|part|syllables?|letters?|digits?|rhymes?|sounds? like|contains?|hints?|clues?|riddle|anagram|synonym|spelled|spelt|spell)\b"
)
_OVERT = re.compile(r"\b(?:rhymes?|sounds? like|hints?|clues?|riddle|anagram|synonym|letters|digits|syllables?|starts? with|begins? with|ends? with|opposite of|think of)\b")  # fmt: skip


def _bare(text: str) -> str:
    """Letters and digits only, without accents and disguises."""
    text = unicodedata.normalize("NFKD", text.lower()).translate(_ALIKE)
    return "".join(c if c.isascii() else _shown(c) for c in text if c.isalnum() or not c.isascii())


@lru_cache(maxsize=4096)
def _shown(c: str) -> str:
    """The letter that a sign shows: of flags, squares, other scripts by their names."""
    if unicodedata.combining(c) or not c.isprintable():
        return ""
    if c in _BRAILLE:
        return _BRAILLE[c]
    named = re.search(r"(?:LETTER|SYMBOL LETTER|DIGIT) ([A-Z0-9])$", unicodedata.name(c, ""))
    return named[1].lower() if named else c if c.isalnum() else ""


@lru_cache(maxsize=1000)
def _forms(word: str) -> frozenset[str]:
    """What a secret may look like among letters and digits: plain, backwards, rotated, as numbers."""
    bare = _bare(word)
    forms = {bare, bare[::-1], codecs.encode(bare, "rot13"), bare.encode().hex()}
    forms |= {_bare(base64.b64encode(w.encode()).decode()) for w in (word, word.lower(), word.upper(), bare)}
    if len(bare) > 4:
        forms.add(bare.translate(str.maketrans("oieast", "013457")))
        forms.add("".join(chr(219 - ord(c)) if "a" <= c <= "z" else c for c in bare))  # Atbash
        for k in (1, 2, 3):
            forms.add("".join(w[k:] + w[:k] + "ay" for w in map(_bare, word.split())))  # pig Latin
    if len(bare) > 5:
        forms |= {_turned(bare, k) for k in range(1, 26)}
        vowelless = re.sub("[aeiou]", "", bare)
        forms |= {vowelless} if len(vowelless) > 4 else set()
    if bare.isdecimal() and len(bare) > 3:
        n = int(bare)
        forms |= {format(n, "b"), format(n, "x"), format(n, "o"), _bare(_roman(n)) if n < 5000 else bare}
        forms |= {str(n + k) for k in range(-3, 4) if n + k >= 1000}  # "one less than"
    return frozenset(f for f in forms if len(f) >= min(3, len(bare)))


def _turned(bare: str, k: int) -> str:
    """Each letter ``k`` further in the alphabet."""
    return "".join(chr((ord(c) - 97 + k) % 26 + 97) if "a" <= c <= "z" else c for c in bare)


def _roman(n: int) -> str:
    out = ""
    for value, sign in zip((1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1), ["M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"], strict=True):  # fmt: skip
        out += sign * (n // value)
        n %= value
    return out


# ---- how a text may be read --------------------------------------------------------------------------------------------


def _readings(text: str, deep: int = 2) -> Iterator[str]:
    """The ways in which a text may be read, as letters and digits."""
    yield _bare(text)
    yield _bare(text.translate(_LEET))
    words = re.findall(r"\w+", text.lower())
    yield _bare("".join(_DIGITS.get(w, w) for w in words))
    yield "".join(_numbered(words))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    sentences = [s for s in re.split(r"[.!?\n]+\s*", text) if s.strip()]
    tails = [re.sub(r"^[\w ]{1,20}[:.)]\s*", "", line) for line in lines]
    for some in (lines, tails, sentences, words, [w for w in re.findall(r"[^\W_]+", text) if w[0].isupper()]):
        if len(some) > 2:
            yield _bare("".join(one[:1] for one in some))  # an acrostic
            yield _bare("".join(re.sub(r"\W", "", one)[-1:] for one in some))
    yield _bare("".join(c for c in text if c.isupper()))
    yield _bare("".join(re.findall(r"(?<!\w)\w(?!\w)", text)))  # what stands alone
    yield _bare("".join(m[1] or m[2] or m[3] or m[4] for m in re.finditer(r"\*\*?(\w)\*\*?|\((\w)\)|\[(\w)\]|[\"“'‘](\w)[\"”'’]", text)))  # fmt: skip
    for every in (2, 3):
        for start in range(every):
            yield _bare(text)[start::every]
            yield "".join(_bare(w)[start::every] for w in words)
    yield from _sums(text)
    if deep:
        for told in set(_decoded(text)):
            yield from _readings(told, deep - 1)


def _numbered(words: Sequence[str]) -> Iterator[str]:
    """Words, with English numbers as digits: "forty-four seventy-one", "four thousand four hundred and seventy-one"."""
    whole = part = 0
    open_ = alone = False  # a number is being read; it is a zero, which stands for itself
    for word in [*words, ""]:
        small = ONES.index(word) if word in ONES else 10 * TENS.index(word) if word and word in TENS else None
        if small is not None:
            fits = part % 100 == 0 or (part % 10 == 0 and part % 100 >= 20 and small < 10)
            if open_ and (not fits or alone or small == 0):
                yield str(whole + part)
                whole = part = 0
            part, open_, alone = part + small, True, small == 0
        elif word == "hundred" and open_:
            part *= 100
        elif word == "thousand" and open_:
            whole, part = (whole + part) * 1000, 0
        elif word == "and" and open_:
            continue
        else:
            if open_:
                yield str(whole + part)
                whole = part = 0
                open_ = False
            yield word


def _sums(text: str) -> Iterator[str]:
    """What little sums come to."""
    for a, sign, b in re.findall(r"(\d{1,9})\s*(\+|-|−|×|\*|x|plus|minus|times)\s*(\d{1,9})", text.lower()):
        yield str(int(a) + int(b) if sign in "+plus" else int(a) * int(b) if sign in "×*xtimes" else int(a) - int(b))


def _decoded(text: str) -> Iterator[str]:
    """What codes in a text say."""
    for way in (html.unescape, _unquoted, _unescaped):
        if (told := way(text)) != text:
            yield told
    for token in re.findall(r"[A-Za-z0-9+/_=-]{6,}", text):
        bare = token.rstrip("=")
        for read, padding in (
            (base64.b64decode, 4),
            (base64.urlsafe_b64decode, 4),
            (base64.b32decode, 8),
            (bytes.fromhex, 1),
        ):
            yield from _ascii(read, bare + "=" * (-len(bare) % padding))
    for token in re.findall(r"\S{5,}", text):
        yield from _ascii(base64.b85decode, token)
        yield from _ascii(base64.a85decode, token)
    for run in re.findall(r"(?:\b\d{1,3}\b[\s,;/.-]*){3,}", text):
        codes = [int(c) for c in re.findall(r"\d+", run)]
        if all(32 <= c < 127 for c in codes):
            yield "".join(map(chr, codes))
        if all(0 < c <= 26 for c in codes):
            yield "".join(chr(96 + c) for c in codes)
        if all(c < 26 for c in codes):
            yield "".join(chr(97 + c) for c in codes)
        octal = [int(str(c), 8) for c in codes if set(str(c)) <= set("01234567")]
        if len(octal) == len(codes) and all(32 <= c < 127 for c in octal):
            yield "".join(map(chr, octal))
    for run in re.findall(r"(?:\b(?:0x)?[0-9a-fA-F]{2}\b[\s,:;-]*){3,}", text):
        codes = [int(c, 16) for c in re.findall(r"(?:0x)?([0-9a-fA-F]{2})\b", run)]
        if all(32 <= c < 127 for c in codes):
            yield "".join(map(chr, codes))
    for run in re.findall(r"(?:[01]{7,8}[\s,]*){3,}", text):
        pieces = re.findall(r"[01]{8}", re.sub(r"\D", "", run)) if " " not in run.strip() else re.findall(r"[01]+", run)
        if all(32 <= int(c, 2) < 127 for c in pieces):
            yield "".join(chr(int(c, 2)) for c in pieces)
    dotted = text.translate(str.maketrans("·•−–—_", "..----"))
    for run in re.findall(r"(?:[.-]{1,5}(?:\s*/\s*|\s+|$)){3,}", dotted):
        yield "".join(_MORSE.get(one, "") for one in re.findall(r"[.-]+", run))


def _ascii(read: Callable[[str], bytes], token: str) -> Iterator[str]:
    """What a code says, where it is one and says something that can be printed."""
    try:
        told = read(token).decode("ascii")
    except (ValueError, binascii.Error):
        return
    if told.isprintable():
        yield told


def _unquoted(text: str) -> str:
    """``%6D%6F`` as the letters that it stands for."""
    return re.sub(
        r"(?:%[0-9a-fA-F]{2})+", lambda f: bytes.fromhex(f[0].replace("%", "")).decode("utf-8", "replace"), text
    )


def _unescaped(text: str) -> str:
    r"""``\x4d``, ``\u004d``, ``U+004D`` as the letters that they stand for."""
    return re.sub(r"(?:\\x|\\u\{?|U\+|0x)([0-9a-fA-F]{2,6})\}?[\s,]*", lambda f: chr(int(f[1], 16)) if int(f[1], 16) < 0x110000 else "", text)  # fmt: skip


# ---- the secrets in them -----------------------------------------------------------------------------------------------


def gives_away(text: str, words: Iterable[str], about: str = "", before: Sequence[str] = ()) -> bool:
    """Whether a reply gives any of some words away, alone or with the replies before it.

    Args:
        text: the reply.
        words: that it may not say.
        about: what they are about: a hint that names it is one.
        before: earlier replies of the conversation, oldest first.
    """
    low = text.lower()
    named = {w for w in re.findall(r"\w+", about.lower()) if len(w) > 3}
    if named and named <= set(re.findall(r"\w+", low)) and _OVERT.search(low):
        return True
    readings = set(_readings(text))
    tokens = [_bare(w) for w in re.findall(r"\w+", low)]
    said = [[_DIGITS.get(w, w) for w in re.findall(r"\w+", one.lower())] for one in [*before[-_BACK:], text]]
    for word in words:
        bare = _bare(word)
        if any(form in reading for form in _forms(word) for reading in readings):
            return True
        if len(bare) > 3 and (_in_part(bare, low, tokens, readings) or _masked(bare, low) or _mixed(bare, tokens) or _bit_by_bit(bare, said)):  # fmt: skip
            return True
    return False


def _in_part(bare: str, low: str, tokens: Sequence[str], readings: Iterable[str]) -> bool:
    """Whether most of a secret is said, or a smaller part with words that say what it is a part of."""
    most = max(5, -(-len(bare) * 7 // 10))
    if most < len(bare) and any(bare[:most] in r or bare[-most:] in r for r in readings):
        return True
    if bare.isdecimal() and any(t in (bare[:-1], bare[1:]) for t in tokens):
        return True
    if not _HINTS.search(low):
        return False
    least = 2 if bare.isdecimal() else max(3, -(-len(bare) * 2 // 5))
    if any(len(t) >= least and (bare.startswith(t) or bare.endswith(t)) for t in tokens):
        return True
    first = re.search(r"(?:starts?|begins?|first letter|initial)\b.{0,20}?[\s\"'“‘(]([a-z])[\"'”’).,!]*(?:\s|$)", low)
    return first is not None and not bare.isdecimal() and first[1] == bare[0] and first[1] not in "ai"


def _masked(bare: str, low: str) -> bool:
    """Whether a word shows at least half of a secret's letters and blanks for the rest."""
    for token in re.findall(r"[a-z0-9_*?#•.]{4,}", re.sub(r"(?<=[a-z0-9_*?#•]) (?=[a-z0-9_*?#•](?:\s|$))", "", low)):
        shown = re.sub(r"[^a-z0-9]", "", token)
        fits = len(token) == len(bare) and len(bare) <= 2 * len(shown) < 2 * len(bare)
        if fits and all(a == b or not a.isalnum() for a, b in zip(token, bare, strict=True)):
            return True
    return False


def _mixed(bare: str, tokens: Sequence[str]) -> bool:
    """Whether a word, or two, have a secret's letters in another order."""
    if len(set(bare)) < 3:
        return False
    pairs = [a + b for a, b in zip(tokens, tokens[1:], strict=False)]
    return any(len(t) == len(bare) and sorted(t) == sorted(bare) for t in (*tokens, *pairs))


def _bit_by_bit(bare: str, said: Sequence[Sequence[str]]) -> bool:
    """Whether letters that stand alone, or pieces in one reply each, make a secret up one after another."""
    said = said[-_BACK_DIGITS:] if bare.isdecimal() else said
    for secret in (bare, bare[::-1]):
        reached: dict[int, int] = {0: -1}  # how far, and the last reply that gave a longer piece
        for k, words in enumerate(said):
            for token in words:
                small = len(token) == 2 and not token.isdecimal()
                for at, last in sorted(reached.items(), reverse=True):
                    if small and at + 2 < len(secret):
                        continue  # "he", "as": too common, but for an end
                    if (len(token) == 1 or last < k) and secret.startswith(token, at):
                        to = at + len(token)
                        reached[to] = min(reached.get(to, k), k if len(token) > 1 else last)
        if max(reached) >= 0.8 * len(secret):
            return True
    return False
