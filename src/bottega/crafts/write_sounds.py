"""How English words sound, as far as verse needs it: syllables, their stresses, and what rhymes."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from dataclasses import dataclass

__all__ = ["Sound", "dictionary", "rhymes", "sound", "spelled"]

_VOWELS = "əɪiɛæɑOIAʌɔuɜʊWYᵊᵻaeoɐ"
_STRESS = {"ˈ": 1, "ˌ": 2}


@dataclass(frozen=True)
class Sound:
    """A word, spoken.

    Attributes:
        phones: in the alphabet of misaki's dictionary (IPA, with A I O W Y for the five diphthongs).
        stresses: for each syllable 1 (main), 2 (second) or 0.
        rhyme: from the vowel of the last stressed syllable on.
        onset: the consonants before that vowel: they differ where words rhyme.
        source: ``"dictionary"``, ``"ending"`` (a dictionary word with a regular ending), ``"espeak"`` or ``"spelling"``.
    """

    phones: str
    stresses: tuple[int, ...]
    rhyme: str
    onset: str
    source: str

    @property
    def syllables(self) -> int:
        """How many."""
        return len(self.stresses)


@functools.cache
def dictionary() -> dict[str, str]:
    """Words and phones of misaki's American dictionary (Apache-2.0), empty where it is not installed: ``pip install 'bottega[text]'``."""
    from importlib.resources import files

    try:
        text = (files("misaki.data") / "us_gold.json").read_text(encoding="utf-8")
    except (ModuleNotFoundError, FileNotFoundError):
        return {}
    plain = {}
    for word, phones in json.loads(text).items():
        said = phones.get("DEFAULT") if isinstance(phones, dict) else phones
        if said:
            plain[word.lower() if word.lower() not in plain else word] = said
    return plain


@functools.lru_cache(maxsize=100_000)
def sound(word: str) -> Sound:
    """How a word is spoken: by the dictionary, a dictionary word with an ending, espeak-ng where it is installed, or its spelling.

    >>> sound("Mississippi").syllables, sound("cat").stresses
    (4, (1,))
    """
    word = word.lower().replace("’", "'").strip("'-")
    if "-" in word:
        parts = [sound(part) for part in word.split("-") if part]
        if parts:
            return _made("".join(p.phones for p in parts), parts[-1].source)
    known = dictionary()
    if word in known:
        return _made(known[word], "dictionary")
    if (ended := _ended(word, known)) is not None:
        return _made(ended, "ending")
    if (said := _espeak(word)) is not None:
        return _made(said, "espeak")
    return _made(spelled(word), "spelling")


def rhymes(a: str, b: str) -> bool:
    """Whether two words rhyme: the same from the last stressed vowel on, and not the same before it.

    >>> rhymes("night", "light"), rhymes("night", "knight"), rhymes("night", "day")
    (True, False, False)
    """
    x, y = sound(a), sound(b)
    return x.rhyme == y.rhyme and x.onset != y.onset


def _made(phones: str, source: str) -> Sound:
    phones = phones.replace("ʔn", "tᵊn").replace("ɾ", "t").replace("ᵊ", "ə").replace("ᵻ", "ɪ").replace("ɜ", "ə")
    stresses, places, mark = [], [], 0
    for at, phone in enumerate(phones):
        if phone in _STRESS:
            mark = _STRESS[phone]
        elif phone in _VOWELS:
            stresses.append(mark)
            places.append(at)
            mark = 0
    if not stresses:
        return Sound(phones, (), phones, "", source)
    if 1 not in stresses:  # dictionaries give small words a second stress, or none
        strongest = stresses.index(2) if 2 in stresses else 0
        stresses[strongest] = 1
    last = max(i for i, s in enumerate(stresses) if s)
    bare = re.sub("[ˈˌ]", "", phones[places[last] :])
    before = re.sub("[ˈˌ]", "", phones[: places[last]])
    onset = re.search(rf"[^{_VOWELS}]*$", before)
    return Sound(phones, tuple(stresses), bare, onset[0] if onset else "", source)


def _ended(word: str, known: dict[str, str]) -> str | None:
    """A dictionary word with -s, -ed, -ing, -ly, -er, -est, -ness, -less or -ful."""

    def base(stem: str, *, doubled: bool = True) -> str | None:
        ways = [stem, f"{stem}e"]
        if doubled and len(stem) > 2 and stem[-1] == stem[-2]:
            ways.append(stem[:-1])
        if stem.endswith("i"):
            ways.append(f"{stem[:-1]}y")
        return next((known[w] for w in ways if w in known and len(w) > 1), None)

    if word.endswith(("'s", "s'")):
        stem = known.get(word[:-2]) or known.get(word[:-1])
        return None if stem is None else stem + _s(stem)
    if word.endswith("s") and not word.endswith("ss"):
        stem = known.get(word[:-1]) or (base(word[:-2]) if word.endswith("es") else None)
        return None if stem is None else stem + _s(stem)
    if word.endswith("ed") and (stem := base(word[:-2])):
        return stem + ("ɪd" if stem[-1] in "td" else "t" if stem[-1] in "pkfsʃʧθ" else "d")
    for ending, phones in (
        ("ing", "ɪŋ"),
        ("ly", "li"),
        ("er", "əɹ"),
        ("est", "ɪst"),
        ("ness", "nəs"),
        ("less", "ləs"),
        ("ful", "fəl"),
    ):
        if word.endswith(ending) and (stem := base(word.removesuffix(ending), doubled=ending in ("ing", "er", "est"))):
            return stem + phones
    return None


def _s(stem: str) -> str:
    return "ɪz" if stem[-1] in "szʃʒʧʤ" else "s" if stem[-1] in "ptkfθ" else "z"


@functools.cache
def _espeak_program() -> str | None:
    return shutil.which("espeak-ng")


def _espeak(word: str) -> str | None:
    program = _espeak_program()
    if program is None or not re.fullmatch(r"[a-z']+", word):
        return None
    done = subprocess.run([program, "-q", "--ipa", "-v", "en-us", word], capture_output=True, text=True, timeout=10)
    said = done.stdout.strip()
    for two, one in (("eɪ", "A"), ("aɪ", "I"), ("oʊ", "O"), ("aʊ", "W"), ("ɔɪ", "Y"), ("dʒ", "ʤ"), ("tʃ", "ʧ"), ("ɚ", "əɹ"), ("ɝ", "ɜɹ"), ("ː", "")):  # fmt: skip
        said = said.replace(two, one)
    return _marks_to_vowels(said) if said else None


def _marks_to_vowels(said: str) -> str:
    """IPA writes stress before the syllable; here it stands before its vowel."""
    return re.sub(rf"([ˈˌ])([^{_VOWELS}]*)", r"\2\1", said)


# ---- letters to sounds ------------------------------------------------------------------------------------------------

_RULES: tuple[tuple[str, str], ...] = tuple((pattern, phones) for pattern, phones in (
    (r"^kn", "n"), (r"^wr", "ɹ"), (r"^gn", "n"), (r"^ps", "s"), (r"^wh", "w"), (r"^x", "z"), (r"^y", "j"), (r"^rh", "ɹ"),
    (r"(?<=.)[tsc]ion", "ʃən"), (r"(?<=.)[tc]ial", "ʃəl"), (r"(?<=.)[tc]ious", "ʃəs"), (r"cian$", "ʃən"), (r"(?<=.)ture(?=s?$)", "ʧəɹ"),
    (r"(?<=.)sure$", "ʒəɹ"), (r"(?<=.)ous$", "əs"), (r"(?<=.)age(?=s?$)", "ɪʤ"), (r"(?<=[td])ed$", "ɪd"), (r"(?<=[pkfsxhc])ed$", "t"),
    (r"(?<=.)ed$", "d"), (r"(?<=[sxzh])es$", "ɪz"), (r"(?<=[^aeiou])le(?=s?$)", "əl"), (r"(?<=[aeiou][^aeiou])ely$", "li"),
    (r"ought", "ɔt"), (r"aught", "ɔt"), (r"eigh", "A"), (r"igh", "I"), (r"ough$", "O"), (r"gh", ""), (r"tch", "ʧ"), (r"sch", "sk"),
    (r"ch", "ʧ"), (r"sh", "ʃ"), (r"th", "θ"), (r"ph", "f"), (r"ck", "k"), (r"cc(?=[ei])", "ks"), (r"qu", "kw"), (r"dge", "ʤ"), (r"dg", "ʤ"),
    (r"ng(?=$|[^aeiouy])", "ŋ"), (r"nk", "ŋk"), (r"mb$", "m"), (r"mn$", "m"), (r"wh", "w"),
    (r"eer", "iɹ"), (r"ear(?=[ltn])", "ɜɹ"), (r"ear", "iɹ"), (r"air", "ɛɹ"), (r"are(?=s?$)", "ɛɹ"), (r"ore(?=s?$)", "ɔɹ"), (r"oar", "ɔɹ"), (r"oor", "ɔɹ"),
    (r"our$", "Wəɹ"), (r"our", "ɔɹ"), (r"ire(?=[sd]?$)", "Iəɹ"), (r"ure(?=s?$)", "jʊɹ"), (r"ower", "Wəɹ"), (r"w(?:or)", "wɜɹ"), (r"war", "wɔɹ"), (r"wa(?=[^aeiouwyl])", "wɑ"),
    (r"ee", "i"), (r"ea(?=d$|th$|lth)", "ɛ"), (r"ea", "i"), (r"ook", "ʊk"), (r"oo", "u"), (r"oa", "O"), (r"ai", "A"), (r"ay", "A"), (r"ey$", "i"), (r"ei", "A"),
    (r"^([^aeiou]+)ie(?=s?$)", ""), (r"ies$", "iz"), (r"ied$", "id"), (r"ie(?=[ldfvc])", "i"), (r"oi", "Y"), (r"oy", "Y"), (r"ould", "ʊd"), (r"ou", "W"),
    (r"own$", "Wn"), (r"ow(?=s?$)", "O"), (r"ow", "W"), (r"au", "ɔ"), (r"aw", "ɔ"), (r"ew", "u"), (r"ue(?=s?$)", "u"), (r"ui", "u"), (r"eu", "u"),
    (r"all", "ɔl"), (r"alk", "ɔk"), (r"ol(?=[dt])", "Ol"), (r"i(?=nd$|ld$)", "I"), (r"ost$", "Ost"),
    (r"ar", "ɑɹ"), (r"er", "əɹ"), (r"ir", "ɜɹ"), (r"ur", "ɜɹ"), (r"or", "ɔɹ"),
    (r"a(?=(?:[bcdfgklmnpstvz]|th|st)e[sd]?$)", "A"), (r"e(?=[bcdfgklmnpstvz]e[sd]?$)", "i"), (r"i(?=(?:[bcdfgklmnpstvz]|th)e[sd]?$)", "I"),
    (r"o(?=(?:[bcdfgklmnpstvz]|th)e[sd]?$)", "O"), (r"u(?=[bcdfgklmnpstvz]e[sd]?$)", "u"), (r"i(?=[aou])", "i"),
    (r"(?<=[aeiouy].)e$", ""), (r"(?<=[aeiou]..)e$", ""), (r"(?<=[aeiouy]...)e$", ""), (r"e$", "i"), (r"(?<=[^aeiou])e(?=s$)", ""), (r"e(?=ly$|ment|ful$|less$|ness$)", ""),
    (r"o$", "O"), (r"y$", "Y_"), (r"a$", "ə"), (r"a", "æ"), (r"e", "ɛ"), (r"i", "ɪ"), (r"o", "ɑ"), (r"u", "ʌ"), (r"y", "ɪ"),
    (r"c(?=[eiy])", "s"), (r"g(?=[eiy])", "ʤ"), (r"bb", "b"), (r"cc", "k"), (r"dd", "d"), (r"ff", "f"), (r"gg", "ɡ"), (r"ll", "l"), (r"mm", "m"),
    (r"nn", "n"), (r"pp", "p"), (r"rr", "ɹ"), (r"ss", "s"), (r"tt", "t"), (r"zz", "z"), (r"(?<=[aeiouy])s(?=[aeiou])", "z"), (r"(?<=[bdglmnrvw])s$", "z"),
    (r"b", "b"), (r"c", "k"), (r"d", "d"), (r"f", "f"), (r"g", "ɡ"), (r"h", "h"), (r"j", "ʤ"), (r"k", "k"), (r"l", "l"), (r"m", "m"), (r"n", "n"),
    (r"p", "p"), (r"q", "k"), (r"r", "ɹ"), (r"s", "s"), (r"t", "t"), (r"v", "v"), (r"w(?=[aeiouyh])", "w"), (r"w", ""), (r"x", "ks"), (r"z", "z"), (r".", ""),
) if phones or not pattern.startswith("^("))  # fmt: skip
_COMPILED = [(re.compile(pattern), phones) for pattern, phones in _RULES]


def spelled(word: str) -> str:
    """Phones of a word by rules of English spelling alone, with a guess at its stress.

    Rules are tried in order at each letter, as in Elovitz et al. 1976 (NRL report 7948), in far smaller number. The stress
    is on the first syllable, but for endings that draw it (-tion, -ic, -ity) and prefixes that seldom have it.

    >>> spelled("light"), spelled("make")
    ('lˈIt', 'mˈAk')
    """
    out, at = [], 0
    while at < len(word):
        for pattern, phones in _COMPILED:
            if found := pattern.match(word, at):
                out.append(phones)
                at = max(found.end(), at + 1)
                break
    said = "".join(out)
    syllables = sum(c in _VOWELS for c in said.replace("Y_", "i"))
    said = said.replace("Y_", "i" if syllables > 1 else "I")
    places = [i for i, c in enumerate(said) if c in _VOWELS]
    if not places:
        return said
    n, stress = len(places), 0
    if re.search(r"(?:tion|sion|cian|ics?|ial|ian|ious)s?$", word) and n > 1:
        stress = n - (3 if re.search(r"(?:[^tsc]ial|[^c]ian|[^tc]ious)s?$", word) else 2)
    elif re.search(r"(?:ity|ify|ical|ogy|graphy|ety)$", word) and n > 2:
        stress = n - 3
    elif re.search(r"(?:ee|eer|ette|oon|ade)s?$", word):
        stress = n - 1
    elif n >= 2 and re.match(
        r"(?:a(?=[^aeiouy]{1,2}[aeo])|be|de|re|ex|con|com|un|dis|for(?=[gb])|pro|en|em|mis|with|per|sur)(?=[^aeiou]*[aeiou])",
        word,
    ):
        stress = 1
    elif n > 3:
        stress = n - 3
    stress = max(stress, 0)
    for i in range(n - 1, -1, -1):
        if i == stress:
            said = f"{said[: places[i]]}ˈ{said[places[i] :]}"
    return said
