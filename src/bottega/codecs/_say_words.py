"""English abbreviations, addresses of the web and of mail, Roman numerals and letters that are spelled, as they are said."""

from __future__ import annotations

import re

from bottega.codecs._say_numbers import Step, cardinal, ordinal
from bottega.core.english import ROMAN

__all__ = ["ABBREVIATIONS", "ADDRESSES", "SPELLED"]

# ---- addresses ---------------------------------------------------------------------------------------------------------

_MARKS = {".": "dot", "/": "slash", "-": "dash", "_": "underscore", ":": "colon", "?": "question mark", "=": "equals",
          "&": "and", "#": "hash", "%": "percent", "+": "plus", "~": "tilde", "@": "at"}  # fmt: skip
_ENDS = "com|org|net|edu|gov|mil|int|info|io|dev|app|ai|eu|uk|de|fr|it|es|nl|ch|at|ca|au|jp|cn|in|br"
_SURE = (
    "com|org|net|edu|gov|mil|info|io|dev|app|eu|uk|de|fr|nl|ch|jp"  # no word of a sentence whose blank was forgotten
)
_FILES = "txt|pdf|jpe?g|png|gif|csv|docx?|xlsx?|html?|py|js|zip|tar|gz|mp3|mp4|wav|exe|json|toml|md|xml"


def _address(match: re.Match[str]) -> str:
    text = re.sub(r"^(?i:https?|ftp)://", "", match[0])
    text = re.sub(r"^(?i:mailto):", "", text).rstrip("/")
    behind = re.search(r"[.,;:!?]+$", text)  # the sentence's own
    text, end = (text[: behind.start()], behind[0]) if behind else (text, "")
    text = re.sub(r"^www\.", "w w w dot ", text, flags=re.IGNORECASE)
    said = re.sub(r"[./_:?=&#%+~@-]", lambda m: f" {_MARKS[m[0]]} ", text)
    return " ".join(re.sub(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])", " ", said).split()) + end


ADDRESSES: list[Step] = [  # no part longer than RFC 5321 and RFC 1035 have: a long row is read in time
    (re.compile(r"\b(?:(?i:https?|ftp)://|(?i:mailto):|(?i:www)\.)[^\s<>\"()]+"), _address),
    (re.compile(r"\b[\w.+-]{1,64}@\w[\w-]*(?:\.\w[\w-]*)+"), _address),
    (re.compile(rf"(?<![\w.@/])(?:[A-Za-z0-9][A-Za-z0-9-]{{0,62}}\.)+(?:{_SURE})(?![\w-]|\.\w)(?:/[^\s<>\"()]*)?|(?<![\w.@/])(?:[A-Za-z0-9][A-Za-z0-9-]{{0,62}}\.)+(?:{_ENDS})/[^\s<>\"()]+"), _address),
    (re.compile(rf"(?<=\w)\.(?=(?:{_FILES})\b)"), " dot "),
    (re.compile(r"(?<!\w)#(?=[A-Za-z])"), "hashtag "),
    (re.compile(r"\b([CF])#"), r"\1 sharp"),
]  # fmt: skip
"""First of all: what stands in them is no number, date or range."""

# ---- abbreviations -----------------------------------------------------------------------------------------------------

_STARTS = r"The|This|That|These|Those|There|Then|They|Their|He|She|It|Its|We|Our|I(?!\.)|You|Your|In|On|At|But|And|If|When|While|After|Before|For|From|As|So|No|Not|What|Who|How|Why|Now|One|Some|All|Most|Many|His|Her|My|A(?!\.)|An"  # fmt: skip
_CAPITAL = "[A-Z\u00c0-\u00d6\u00d8-\u00de]"
# What a name goes on with behind an initial: another one, a name, or small words before a name.
_NAME_GOES_ON = (
    rf"(?:(?!(?:{_STARTS})\b){_CAPITAL}|(?:van|von|de|del|della|da|di|du|la|le|ter|bin|al|el)\s(?:[a-z]+\s)?[A-Z])"
)
_TITLES = {
    "dr": "doctor", "mr": "mister", "mrs": "missus", "ms": "miz", "prof": "professor", "gen": "general", "capt": "captain",
    "col": "colonel", "lt": "lieutenant", "rev": "reverend", "hon": "honourable", "sgt": "sergeant", "sen": "senator",
    "gov": "governor", "rep": "representative", "pres": "president", "messrs": "messieurs", "mt": "mount", "ft": "fort", "st": "saint",
}  # fmt: skip
_NUMBERED = {"no": "number", "nos": "numbers", "vol": "volume", "vols": "volumes", "ch": "chapter", "fig": "figure", "figs": "figures",
             "sec": "section", "eq": "equation", "art": "article"}  # fmt: skip
# ``I`` is a person where a verb follows that goes with no number: the third person would have an s, or it can be no participle.
_PERSON = (
    r"I\b(?:(?=\s(?:am|think|thought|know|knew|have|had|love|loved|want|wanted|do|did|don't|can|could|will|would|should|saw|met|"
    r"see|mean|must|may|might|believe|guess|hope|wish|like|need|hate|say|tell|write|wrote|read|feel|get|go|went|take|took|give|"
    r"gave|remember)\b)|(?='(?:m|d|ll|ve)\b))"
)
_SMALL = {"p": "page", "pp": "pages", "ca": "circa", "c": "circa"}
_BEHIND = {"jr": "junior", "sr": "senior", "etc": "et cetera", "inc": "incorporated", "ltd": "limited", "corp": "corporation", "co": "company",
           "ave": "avenue", "blvd": "boulevard", "rd": "road", "st": "street", "dr": "drive", "ln": "lane", "hwy": "highway"}  # fmt: skip
_ANYWHERE = {"vs": "versus", "approx": "approximately", "dept": "department", "cf": "compare", "incl": "including"}


def _ends_here(match: re.Match[str]) -> bool:
    """Whether the dot of an abbreviation ends the sentence, too: what sentences begin with follows."""
    return re.match(rf"[\"')\]]*\s+(?:{_STARTS})\b", match.string[match.end() :]) is not None


def _behind(match: re.Match[str]) -> str:
    word = match[1].lower()
    return _BEHIND[word] + ("." if _ends_here(match) else "")


def _either(match: re.Match[str]) -> str:
    """``St.`` and ``Dr.`` after a name: of a street, unless a name follows (``Mount St. Helens``)."""
    before, word = match[1], match[2].lower()
    behind = match.string[match.end() :]
    name_follows = re.match(rf"\s+(?!(?:{_STARTS})\b)[A-Z]", behind) is not None
    if name_follows:
        return f"{before}{_TITLES[word]}"
    return f"{before}{_BEHIND[word]}" + ("." if _ends_here(match) else "")


def _initials(match: re.Match[str]) -> str:
    return " ".join(re.findall("[A-Za-z]", match[0])) + ("." if _ends_here(match) else "")


_THINGS = (
    "Act|Apollo|Appendix|Article|Book|Bowl|Canto|Chapter|Class|Episode|Grade|Hall|Level|Part|Phase|Schedule|Scene|"
    "Section|Stage|Table|Figure|Title|Type|Unit|Vatican|Volume|War|number|volume|chapter|section|figure|article|page"
)


def _listed(words: dict[str, str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_ABBREVIATIONS: list[Step] = [
    (re.compile(r"\be\.g\.,?", re.IGNORECASE), "for example"),
    (re.compile(r"\bi\.e\.,?", re.IGNORECASE), "that is"),
    (re.compile(r"\bet al\."), "et al"),
    (re.compile(r"\bw/o\b"), "without"),
    (re.compile(r"\bw/(?=\s?\w)"), "with "),
    (re.compile(r"\b[Pp]h\.?\s?[Dd]\b\.?"), lambda m: "P H D" + ("." if m[0].endswith(".") and _ends_here(m) else "")),
    (re.compile(r"(?<![\w.])(?:(?:[A-Z]\.){2,}|(?![ap]\.m\.)(?:[a-z]\.){2,})(?!\w)"), _initials),
    (re.compile(r"((?:\b[A-Z][a-z]+|\b\d+(?:st|nd|rd|th))\s)(St|Dr)\.(?=\s|$|[,;:!?)])"), _either),
    (re.compile(rf"(?<![\w.])((?i:{_listed(_TITLES)}))\.(?=\s+[A-Z])"), lambda m: _TITLES[m[1].lower()] if m[1][0].isupper() else m[0]),
    (re.compile(r"(?<![\w.])(Mr|Mrs|Ms|Dr|Prof)\.(?=\s(?:and|&)\s)"), lambda m: _TITLES[m[1].lower()]),
    (re.compile(r"\bWW(I|II|1|2)(?!\w)"), lambda m: f"World War {'one' if m[1] in {'I', '1'} else 'two'}"),
    (re.compile(r"\b([Tt])el\.(?=[:\s])"), r"\1elephone"),
    (re.compile(r"(?<=\()([bd])\.\s(?=\d{4})"), lambda m: "born " if m[1] == "b" else "died "),
    (re.compile(r"(?<![\w.])(Mr|Mrs|Ms|Dr|Prof|St)(?=\s[A-Z][a-z])"), lambda m: _TITLES[m[1].lower()]),
    (re.compile(rf"(?<![\w.])(?!(?i:no)\.\sI\b)((?i:{_listed(_NUMBERED)}))\.\s?(?=\d|(?!{_PERSON})[IVX]+\b)"), lambda m: _NUMBERED[m[1].lower()] + " "),
    (re.compile(rf"(?<![\w.])({_listed(_SMALL)})\.\s?(?=\d)"), lambda m: _SMALL[m[1]] + " "),
    (re.compile(rf"(?<=[\s,])((?i:{_listed(_BEHIND)}))\.(?=\s|$|[,;:!?)])"), lambda m: _behind(m) if m[1][0].isupper() or m[1] == "etc" else m[0]),
    (re.compile(rf"(?<![\w.])((?i:{_listed(_ANYWHERE)}))\.(?=\s|,|$)"), lambda m: _ANYWHERE[m[1].lower()]),
]  # fmt: skip
_INITIALS: list[Step] = [
    (re.compile(rf"\b((?!(?:{_THINGS}|Plan|Vitamin)\b|(?:{_STARTS})\sI\b){_CAPITAL}[^\W\d_]*[a-z\u00df-\u00ff]\s)({_CAPITAL})\.(?=\s+{_NAME_GOES_ON})"), r"\1\2"),
    (re.compile(rf"(?:^|(?<=[\s(\"]))(?!(?<!\b[A-Z]\s)I\.\s(?![A-Z]\.))((?:[A-Z]\.\s?)+)(?=(?!(?:{_STARTS})\b)[A-Z][a-z])"), lambda m: " ".join(re.findall("[A-Z]", m[1])) + " "),
]  # fmt: skip

# ---- Roman numerals ----------------------------------------------------------------------------------------------------

_RULERS = (
    "Abdul|Adrian|Albert|Alexander|Alexios|Alfonso|Amenhotep|Anastasius|Artaxerxes|Baldwin|Benedict|Boniface|Carl|Carlos|"
    "Casimir|Catherine|Celestine|Charles|Christian|Clement|Cleopatra|Constans|Constantine|Conrad|Cyrus|Darius|David|Edward|"
    "Elizabeth|Emmanuel|Eric|Eugene|Felipe|Ferdinand|Francis|Franz|Frederick|George|Gregory|Gustav|Haakon|Harald|Harold|"
    "Henry|Innocent|Ivan|James|John|Joseph|Juan|Julius|Justin|Justinian|Leo|Leopold|Louis|Manuel|Margrethe|Mary|Matthias|"
    "Maximilian|Mehmed|Michael|Murad|Mustafa|Napoleon|Nicholas|Olav|Olaf|Osman|Oscar|Otto|Paul|Peter|Philip|Philippe|Pius|"
    "Ptolemy|Rama|Ramesses|Richard|Robert|Rudolf|Seleucus|Selim|Sigismund|Sixtus|Stephen|Stanislaus|Suleiman|Sylvester|"
    "Theodosius|Thutmose|Umberto|Urban|Valentinian|Victor|Vladimir|Wilhelm|Willem|William|Xerxes"
)
_CROWNS = "King|Queen|Pope|Emperor|Empress|Tsar|Czar|Kaiser|Sultan|Shah|Prince|Duke"
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
_ROMAN = rf"(?=[IVXL]){ROMAN}(?<=[IVXLC])"
_NUMERAL = rf"(?!{_PERSON})({_ROMAN})\b"


def _value(roman: str) -> int:
    values = [_VALUES[c] for c in roman]
    return sum(-v if v < after else v for v, after in zip(values, [*values[1:], 0], strict=True))


_BEHIND_INITIAL = re.compile(rf"\.\s*{_NAME_GOES_ON}")


def _initial(roman: str, match: re.Match[str]) -> bool:
    """Whether a numeral of one letter is an initial: a dot and what a name goes on with follow (``Francis X. Bushman``)."""
    return len(roman) == 1 and _BEHIND_INITIAL.match(match.string, match.end()) is not None


def _ruler(match: re.Match[str]) -> str:
    """``George V`` is a king; ``George V. Higgins`` is none, unless he is called one (``King George V. Britain``)."""
    crown, name, roman = match.groups()
    if not crown and _initial(roman, match):
        return match[0]
    return f"{crown or ''}{name} the {ordinal(_value(roman))}"


def _mark(match: re.Match[str]) -> str:
    """``Mark V`` is a model, ``Mark V. Shaney`` is a man."""
    return match[0] if _initial(match[2], match) else _thing(match)


def _thing(match: re.Match[str]) -> str:
    return f"{match[1]} {cardinal(_value(match[2]))}"


# ---- letters -----------------------------------------------------------------------------------------------------------

# Said letter by letter although they have a vowel; those without one are found by that.
_SPELLED = re.compile(
    "AA|AI|AP|API|ATM|BCE|CE|CEO|CFO|CIA|CIO|COO|CPU|CTO|DIY|DNA|EDT|EEG|EKG|EPA|ESA|EST|EU|EUR|FAQ|FBI|FDA|GPA|GPU|HIV|IBM|ID|IMF|"
    "IOU|IP|IPO|IQ|ISBN|ISP|IV|NBA|NCAA|NGO|NY|NYC|OECD|PDT|QA|RNA|SUV|UAE|UCLA|UFC|UFO|UI|UK|UN|UNHCR|URL|US|USA|USB|USD|USSR|UTC|UV|VIP"
)
_GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "ο": "omicron", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega"}  # fmt: skip


def _letters(match: re.Match[str]) -> str:
    word, many = match[1], "'s" if match[0].endswith("s") else ""
    around = re.findall(r"[^\W\d_]{2,}", match.string[max(0, match.start() - 40) : match.end() + 40])
    loud = len(around) > 2 and not any(any(c.islower() for c in w) for w in around)
    if not re.search("[AEIOUY]", word) or _SPELLED.fullmatch(word) and not loud:
        return " ".join(word) + many
    return match[0]


ABBREVIATIONS: list[Step] = [
    (re.compile(rf"\b((?:{_CROWNS})\s(?:[A-Z][a-z]+\s)?)?({_RULERS})\s(?!L){_NUMERAL}(?!-)"), _ruler),
    (re.compile(rf"\b(Mark)\s{_NUMERAL}"), _mark),
    *_ABBREVIATIONS,
    (re.compile(r"(?<![\w.])(?:AD|BC)(?=\s\d)|(?<=\d\s)(?:AD|BC)(?![\w.])"), lambda m: " ".join(m[0])),
    (re.compile(rf"\b({_THINGS})\s{_NUMERAL}"), _thing),
    (re.compile(r"\b((?!(?:An?|The|This|That|With|From|By|In|On)\b)[A-Z][a-z]{2,})\s(X{0,2}(?:I{2,3}|IV|VI{1,3}|IX)|XI|XX)\b(?!-)"), _thing),
    *_INITIALS,
]  # fmt: skip
"""Before the numbers. Initials lose their dots last: numerals are told from them by these. Numerals of things come behind
the abbreviations, which may have named the thing (``ch. IV``)."""

SPELLED: list[Step] = [
    (re.compile(f"(?<![^\\W\\d_])([{''.join(_GREEK)}])(?![^\\W\\d_])"), lambda m: f" {_GREEK[m[1]]} "),
    (re.compile(r"\b([A-Z]{2,5})(?:s\b|\b)"), _letters),
]
"""Behind the numbers: letters that are said by their names."""
