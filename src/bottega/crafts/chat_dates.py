"""Dates and times as people say them, in English, German, French and Spanish, read by a grammar and without a guess.

What is meant (all from a given now):

- a weekday alone, or "on", "this coming": the first such day after today; "next" one: that of next week (from Monday);
  "this" one: that of this week; "last" one: the latest before today.
- a day and month without a year: the first such day from today on. A day that has a year is taken as it is.
- ``3/4/2026``: day before month, as ``order`` says; ``2026-04-03``: ISO 8601.
- a time alone: today, or tomorrow where it is over; of "at 3" with neither am nor pm the one between 7:00 and 18:59.
- morning 9:00, noon 12:00, afternoon 15:00, evening 19:00, tonight 20:00, midnight 0:00 of the day that begins.
"""

from __future__ import annotations

import calendar
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from bottega.core.english import MONTHS, ONES, TENS

__all__ = ["When", "find", "said", "span"]


@dataclass(frozen=True)
class When:
    """A time that was found.

    Attributes:
        at: local, without a zone; at midnight where only a day is said.
        timed: whether a time of day is said.
        start, end: where it stands in the text.
    """

    at: datetime
    timed: bool
    start: int
    end: int


def _table(text: str) -> dict[str, int]:
    """``"1 one un; 2 two"`` as words with their numbers."""
    return {word: int(row.split()[0]) for row in text.split(";") for word in row.split()[1:]}


_NUMBERS = {word: k for k, word in enumerate(ONES)} | {t: 10 * k for k, t in enumerate(TENS) if t}
_NUMBERS |= {f"{t}{sep}{ONES[k]}": 10 * i + k for i, t in enumerate(TENS) if t for k in range(1, 10) for sep in "- "}
_NUMBERS |= _table("1 a an ein eine einer einem einen un une una uno; 2 zwei deux dos couple; 3 drei trois tres; 4 vier quatre cuatro; 5 funf cinq cinco; "
                   "6 sechs six seis; 7 sieben sept siete; 8 acht huit ocho; 9 neun neuf nueve; 10 zehn dix diez; 11 elf onze once; "
                   "12 zwolf douze doce; 14 vierzehn quatorze catorce; 15 funfzehn quinze quince; 20 zwanzig vingt veinte")  # fmt: skip
_ORDINALS = {
    word: k
    for k, word in enumerate(
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth "
        "seventeenth eighteenth nineteenth twentieth".split(), 1,
    )
} | {f"{t}{sep}{w}": 10 * i + k for i, t in ((2, "twenty"), (3, "thirty")) for k, w in enumerate("first second third fourth fifth sixth seventh eighth ninth".split(), 1) for sep in "- "} | {"thirtieth": 30, "premier": 1, "primero": 1, "erster": 1, "ersten": 1}  # fmt: skip
_WEEKDAYS = _table("0 monday mondays mon montag lundi lunes; 1 tuesday tuesdays tue tues dienstag mardi martes; 2 wednesday wednesdays wed mittwoch mercredi miercoles; "
                   "3 thursday thursdays thu thur thurs donnerstag jeudi jueves; 4 friday fridays fri freitag vendredi viernes; "
                   "5 saturday saturdays sat samstag sonnabend samedi sabado; 6 sunday sundays sun sonntag dimanche domingo")  # fmt: skip
_MONTHS = (
    {m.lower(): k for k, m in enumerate(MONTHS, 1)} | {m.lower()[:3]: k for k, m in enumerate(MONTHS, 1)} | {"sept": 9}
)
_MONTHS |= _table("1 januar janvier enero; 2 februar fevrier febrero; 3 marz mars marzo; 4 avril abril; 5 mai mayo; 6 juni juin junio; 7 juli juillet julio; "
                  "8 aout agosto; 9 septembre septiembre; 10 oktober octobre octubre; 11 novembre noviembre; 12 dezember decembre diciembre")  # fmt: skip
_UNITS = _table("1 minute minutes min mins minuten minuto minutos; 60 hour hours hr hrs stunde stunden heure heures hora horas; "
                "1440 day days tag tage tagen jour jours dia dias; 10080 week weeks woche wochen semaine semaines semana semanas; "
                "20160 fortnight fortnights; 100001 month months monat monate monaten mois mes meses; "
                "100012 year years jahr jahre jahren an ans annee annees ano anos")  # fmt: skip
_UNITS["an"] = 100012
_PARTS = {"morning": 9, "morgens": 9, "vormittag": 9, "fruh": 9, "matin": 9, "manana": 9, "noon": 12, "midday": 12, "lunchtime": 12, "mittag": 12,
          "mittags": 12, "midi": 12, "mediodia": 12, "afternoon": 15, "nachmittag": 15, "apres-midi": 15, "tarde": 15, "evening": 19,
          "abend": 19, "soir": 19, "night": 20, "nacht": 20, "noche": 20, "tonight": 20, "midnight": 0, "mitternacht": 0, "minuit": 0, "medianoche": 0}  # fmt: skip


def _any(words: object) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))  # type: ignore[call-overload]


_N = rf"(?:\d+|{_any(_NUMBERS)})"
_DAY = rf"(?:\d{{1,2}}(?:st|nd|rd|th|er|\.)?|{_any(_ORDINALS)})"
_WD, _MO, _UN = _any(_WEEKDAYS), _any(_MONTHS), _any(_UNITS)
_PART = _any(_PARTS)

# Each pattern is one way to say a day; the first that matches at the earliest place wins, longer ways stand first.
_DAYS: list[tuple[str, str]] = [
    ("iso", r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})"),
    ("slash", r"(?P<a>\d{1,2})[/.](?P<b>\d{1,2})[/.](?P<y>\d{4}|\d{2})"),
    ("nth", rf"(?:the |le |el )?(?P<n>first|second|third|fourth|last) (?P<w>{_WD}) (?:of|in) (?:(?P<m>{_MO})(?:,? (?P<y>\d{{4}}))?|(?P<rel>this month|next month))"),
    ("end", r"(?:the )?(?P<edge>end|last day|beginning|start|first day) of (?:the |this )?(?P<what>next month|next week|next year|month|week|year)"),
    ("after", r"(?:the )?day after tomorrow|ubermorgen|apres-demain|pasado manana"),
    ("before", r"(?:the )?day before yesterday|vorgestern|avant-hier|anteayer"),
    ("weeks_on", rf"(?:a|one|1) week (?:from|on) (?P<w>{_WD})|(?P<w2>{_WD}) week\b|a week from (?P<t>today|tomorrow)"),
    ("month_day", rf"(?:the |am |le |el |den |on )*(?P<d>{_DAY})(?: of| de)? (?P<m>{_MO})\b(?:,? (?:de )?(?P<y>\d{{4}}))?"),
    ("day_month", rf"(?P<m>{_MO})\.? (?:the )?(?P<d>{_DAY})(?!\d)(?:,? (?P<y>\d{{4}}))?"),
    ("in", rf"(?:in|within|dans|en|dentro de) (?:a |about )?(?P<n>half an?|{_N}(?: and a half)?)(?: of)? (?P<u>{_UN})(?:,? (?:and|und|et|y) (?P<n2>{_N}) (?P<u2>{_UN}))?\b"),
    ("hence", rf"(?P<n>{_N}) (?P<u>{_UN}) (?:from now|from today|later|hence)"),
    ("ago", rf"(?:vor|il y a|hace) (?P<n>{_N}) (?P<u>{_UN})\b|(?P<n2>{_N}) (?P<u2>{_UN}) ago"),
    ("mod_unit", r"(?P<mod>next|last|this|nachste|nachsten|nachstes|la|el) (?P<u>weekend|week|month|year|woche|monat|jahr|semaine prochaine|mois prochain|proxima semana|proximo mes)"),
    ("post_week", rf"(?P<w>{_WD}) (?:of )?(?P<mod>next week|this week|last week|prochain|nachste woche|que viene)"),
    ("weekday", rf"(?:(?P<mod>this coming|coming|next|last|this|on|am|kommenden|nachsten|nachster|el proximo|el|le|ce|diesen) )?(?P<w>{_WD})(?P<post> prochain| dernier| pasado)?\b"),
    ("rel", r"today|tomorrow|yesterday|tonight|heute|morgen|gestern|aujourd'hui|demain|hier|hoy|manana|ayer"),
    ("dom", r"(?:the |on the )(?P<d>\d{1,2})(?:st|nd|rd|th)\b"),
]  # fmt: skip
_TIME = [
    ("clock", r"(?:at |um |a las |a la |a |@ ?)?(?P<h>\d{1,2})[:h](?P<m>\d{2})(?: ?(?P<ap>am|pm|a\.m\.|p\.m\.))?(?: uhr)?"),
    ("dot", r"(?:at |um |a las )(?P<h>\d{1,2})\.(?P<m>\d{2})(?: ?(?P<ap>am|pm))?(?: uhr)?"),
    ("ap", rf"(?:at |@ ?)?(?P<h>\d{{1,2}}|{_any(ONES[1:13])}) ?(?P<ap>am|pm|a\.m\.|p\.m\.)"),
    ("past", rf"(?:at )?(?P<q>half|a quarter|quarter|\d{{1,2}}|five|ten|twenty|twenty-five) (?:minutes )?(?P<dir>past|to|after|before) (?P<h>\d{{1,2}}|{_any(ONES[1:13])})(?: ?(?P<ap>am|pm))?(?: in the (?P<part>morning|afternoon|evening))?"),
    ("halb", rf"(?:um )?halb (?P<h>\d{{1,2}}|{_any(_NUMBERS)})"),
    ("uhr", r"(?:um |gegen )?(?P<h>\d{1,2}) uhr(?: (?P<m>\d{2}))?|(?:a |vers )?(?P<h2>\d{1,2}) ?h(?:eures?)?\b"),
    ("oclock", rf"(?:at )?(?P<h>\d{{1,2}}|{_any(ONES[1:13])}) o'?clock(?: in the (?P<part>morning|afternoon|evening)| at (?P<night>night))?"),
    ("at", rf"(?:at|@|a las|a la|um) (?P<h>\d{{1,2}}|{_any(ONES[1:13])})\b(?! (?:{_UN})\b)(?: (?:in the|de la|por la) (?P<part>morning|afternoon|evening|manana|tarde|noche))?"),
    ("part", rf"(?:(?:in the|at|this|um|am|de la|por la|le|du|au|a|ce|al) )?(?P<part>{_PART})\b"),
]  # fmt: skip
_DAY_RE = [(name, re.compile(rf"(?<![\w/.-]){pattern}(?!\w)")) for name, pattern in _DAYS]
_TIME_RE = [(name, re.compile(rf"(?<![\w:.]){pattern}(?!\w)")) for name, pattern in _TIME]


def _plain(text: str) -> str:
    """Small letters without accents, one for each character of the text."""
    out = []
    for char in text.translate({0x2019: "'", 0x2018: "'"}):
        base = unicodedata.normalize("NFKD", char)[0].lower()
        out.append(base if len(base) == 1 else char)
    return "".join(out)


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _NUMBERS[word]


def _shift(at: datetime, n: float, unit: int) -> datetime:
    """``n`` units on; months and years keep the day where there is one, else take the last."""
    if unit < 100_000:
        return at + timedelta(minutes=n * unit)
    months = at.year * 12 + at.month - 1 + round(n * (unit - 100_000))
    year, month = divmod(months, 12)
    return at.replace(year=year, month=month + 1, day=min(at.day, calendar.monthrange(year, month + 1)[1]))


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _ordinal(word: str) -> int:
    return _ORDINALS[word] if word in _ORDINALS else int(re.match(r"\d+", word)[0])  # type: ignore[index]


def _coming(today: date, month: int, day: int) -> date | None:
    """The first such day from today on."""
    return next((d for k in range(9) if (d := _day(today.year + k, month, day)) and d >= today), None)


def _monday(today: date) -> date:
    return today - timedelta(days=today.weekday())


def _weekday(today: date, w: int, mod: str) -> date:
    if mod in ("next", "next week", "prochain", "nachste woche", "nachsten", "nachster", "que viene", "el proximo"):
        return _monday(today) + timedelta(days=7 + w)
    if mod in ("this", "this week", "ce", "diesen"):
        return _monday(today) + timedelta(days=w)
    if mod == "last week":
        return _monday(today) + timedelta(days=w - 7)
    if mod in ("last", "dernier", "pasado"):
        return today - timedelta(days=(today.weekday() - w) % 7 or 7)
    return today + timedelta(days=(w - today.weekday()) % 7 or 7)


def _read_day(name: str, f: re.Match[str], now: datetime, order: str) -> date | datetime | None:
    """The day, or the moment, that a match says; None for one that there is not."""
    today, g = now.date(), {k: v for k, v in f.groupdict().items() if v is not None}
    year = int(g["y"]) + (2000 if len(g["y"]) == 2 else 0) if "y" in g else None
    if name == "iso":
        return _day(int(g["y"]), int(g["m"]), int(g["d"]))
    if name == "slash":
        a, b = int(g["a"]), int(g["b"])
        return _day(year or 0, b, a) if order == "dmy" else _day(year or 0, a, b)
    if name in ("month_day", "day_month"):
        month, day = _MONTHS[g["m"]], _ordinal(g["d"])
        return _day(year, month, day) if year else _coming(today, month, day)
    if name == "dom":
        for k in range(13):
            base = _shift(datetime(today.year, today.month, 1), k, 100_001)
            if (d := _day(base.year, base.month, int(g["d"]))) and d >= today:
                return d
        return None
    if name == "nth":
        if "rel" in g:
            base = _shift(datetime(today.year, today.month, 1), g["rel"] == "next month", 100_001)
            return _nth(base.year, base.month, _WEEKDAYS[g["w"]], g["n"])
        month = _MONTHS[g["m"]]
        years = [year] if year else [today.year, today.year + 1]
        return next(
            (d for y in years if (d := _nth(y, month, _WEEKDAYS[g["w"]], g["n"])) and (year or d >= today)), None
        )
    if name == "end":
        return _edge(today, g["edge"] in ("end", "last day"), g["what"])
    if name == "after":
        return today + timedelta(days=2)
    if name == "before":
        return today - timedelta(days=2)
    if name == "weeks_on":
        if "t" in g:
            return today + timedelta(days=7 + (g["t"] == "tomorrow"))
        return _weekday(today, _WEEKDAYS[g.get("w") or g["w2"]], "") + timedelta(days=7)
    if name in ("in", "hence"):
        return _later(g, now, 1)
    if name == "ago":
        return _later({"n": g.get("n") or g["n2"], "u": g.get("u") or g["u2"]}, now, -1)
    if name == "mod_unit":
        return _unit(today, g["mod"], g["u"])
    if name in ("weekday", "post_week"):
        if g["w"] in ("sat", "sun", "wed", "mon") and not g.get("mod"):  # words of their own
            return None
        return _weekday(today, _WEEKDAYS[g["w"]], g.get("post", "").strip() or g.get("mod", ""))
    word = f.group()
    away = {
        "tomorrow": 1,
        "morgen": 1,
        "demain": 1,
        "manana": 1,
        "yesterday": -1,
        "gestern": -1,
        "hier": -1,
        "ayer": -1,
    }
    return today + timedelta(days=away.get(word, 0))


def _later(g: dict[str, str], now: datetime, sign: int) -> date | datetime:
    """So much later, or earlier: a moment in hours and minutes, a day in longer units."""
    half = 0.5 if "and a half" in g["n"] else 0.0
    n = 0.5 if g["n"].startswith("half") else _number(g["n"].removesuffix(" and a half")) + half
    unit = _UNITS[g["u"]]
    at = _shift(now, sign * n, unit)
    if "n2" in g and "u2" in g:
        at = _shift(at, sign * _number(g["n2"]), _UNITS[g["u2"]])
        unit = min(unit, _UNITS[g["u2"]])
    return at if unit < 1440 else at.date()


def _nth(year: int, month: int, weekday: int, word: str) -> date | None:
    days = [
        d for k in range(1, calendar.monthrange(year, month)[1] + 1) if (d := date(year, month, k)).weekday() == weekday
    ]
    k = {"first": 0, "second": 1, "third": 2, "fourth": 3, "last": -1}[word]
    return days[k] if k < len(days) else None


def _edge(today: date, last: bool, what: str) -> date:
    step = 1 if what.startswith("next") else 0
    unit = what.removeprefix("next ")
    if unit == "week":
        return _monday(today) + timedelta(days=7 * step + (6 if last else 0))
    if unit == "year":
        return date(today.year + step, 12, 31) if last else date(today.year + step, 1, 1)
    base = _shift(datetime(today.year, today.month, 1), step, 100_001)
    return date(base.year, base.month, calendar.monthrange(base.year, base.month)[1] if last else 1)


def _unit(today: date, mod: str, unit: str) -> date | None:
    """Next week is its Monday, next month its first; the weekend is Saturday."""
    if mod in ("la", "el") and not unit.startswith("prox") and "prochain" not in unit:
        return None
    step = -1 if mod == "last" else 0 if mod == "this" else 1
    if unit == "weekend":
        return _monday(today) + timedelta(days=5 + 7 * step)
    if unit in ("week", "woche", "semaine prochaine", "proxima semana"):
        return today if not step else _monday(today) + timedelta(days=7 * step)
    if unit in ("year", "jahr"):
        return date(today.year + step, 1, 1)
    base = _shift(datetime(today.year, today.month, 1), step, 100_001)
    return today if not step else base.date()


def _hour(word: str, ap: str = "", part: str = "") -> int | None:
    h = int(word) if word.isdigit() else _NUMBERS[word]
    ap = ap.replace(".", "")
    if h > 24 or (ap and not 1 <= h <= 12):
        return None
    if ap:
        return h % 12 + (12 if ap == "pm" else 0)
    if part:
        return h if part in ("morning", "manana") else h % 12 + 12
    return h % 24


def _read_time(name: str, f: re.Match[str]) -> time | None:
    g = {k: v for k, v in f.groupdict().items() if v is not None}
    if name == "part":
        return time(_PARTS[g["part"]])
    h = _hour(g.get("h") or g.get("h2", "0"), g.get("ap", ""), g.get("part", "") or g.get("night", ""))
    if h is None:
        return None
    bare = not (g.get("ap") or g.get("part") or g.get("night"))
    if name == "past":
        minutes = {"half": 30, "quarter": 15, "a quarter": 15}.get(g["q"]) or _number(g["q"].replace("-", " "))
        h = _daily(h) if bare else h
        at = 60 * h + (minutes if g["dir"] in ("past", "after") else -minutes)
        return time(at // 60 % 24, at % 60)
    if name == "halb":
        return time((_daily(h) - 1) % 24, 30)
    minute = int(g.get("m", 0))
    if minute > 59:
        return None
    if name in ("at", "oclock") and bare:
        h = _daily(h)
    return time(h, minute)


def _daily(h: int) -> int:
    """Of an hour from 1 to 12 the one in the day, from 7 to 18."""
    return h + 12 if 1 <= h < 7 else h


def _hits(patterns: list[tuple[str, re.Pattern[str]]], text: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Matches from the left, at each place by the first pattern."""
    at = 0
    while at < len(text):
        found = [(f.start(), k, name, f) for k, (name, p) in enumerate(patterns) if (f := p.search(text, at))]
        if not found:
            return
        _, _, name, first = min(found, key=lambda row: row[:2])
        yield name, first
        at = max(first.end(), at + 1)


def find(text: str, now: datetime, *, order: str = "dmy") -> When | None:
    """The first day or time of a text, or None. A day and a time that belong together are one.

    Args:
        text: what was said.
        now: local, without a zone.
        order: of ``3/4/2026``: ``"dmy"`` or ``"mdy"``.

    >>> find("call me next Friday at half past three", datetime(2026, 3, 11, 10)).at.isoformat()
    '2026-03-20T15:30:00'
    """
    plain = _plain(text)
    day: tuple[date | datetime, int, int] | None = None
    word = ""
    for name, f in _hits(_DAY_RE, plain):
        value = _read_day(name, f, now, order)
        if value is not None:
            day, word = (value, f.start(), f.end()), f.group()
            break
    if day is not None and isinstance(day[0], datetime):
        return When(day[0].replace(second=0, microsecond=0), True, day[1], day[2])
    clock: tuple[time, int, int] | None = None
    inside = (day[1], day[2]) if day else (0, 0)
    rest = (
        plain
        if day is None or word == "tonight"
        else plain[: inside[0]] + "\x00" * (inside[1] - inside[0]) + plain[inside[1] :]
    )
    late = ""
    found = [(name, f) for name, f in _hits(_TIME_RE, rest) if _read_time(name, f) is not None]
    found.sort(key=lambda row: row[0] == "part")  # a clock says more than a part of the day
    for name, f in found:
        at = _read_time(name, f)
        assert at is not None
        near = next((p for n, p in found if n == "part" and p is not f), None)
        late = near["part"] if near is not None and name != "part" else ""
        bare = name in ("at", "oclock", "past") and not any(f.groupdict().get(k) for k in ("ap", "part", "night"))
        if late and bare and _PARTS[late] >= 15 and at.hour < 12:
            at = at.replace(hour=at.hour + 12)
        elif late and bare and _PARTS[late] == 9 and at.hour >= 12:
            at = at.replace(hour=at.hour - 12)
        clock = (at, f.start(), f.end())
        break
    if day is None and clock is None:
        return None
    if day is None:
        assert clock is not None
        moment = datetime.combine(now.date(), clock[0])
        if moment <= now:
            moment += timedelta(days=1)
        return When(moment, True, clock[1], clock[2])
    assert not isinstance(day[0], datetime)
    if clock is None:
        return When(datetime.combine(day[0], time()), False, day[1], day[2])
    on = (
        day[0] + timedelta(days=1) if clock[0] == time() and "midnight" in late + plain[clock[1] : clock[2]] else day[0]
    )
    return When(datetime.combine(on, clock[0]), True, min(day[1], clock[1]), max(day[2], clock[2]))


_SPAN = re.compile(rf"\b(?:for|during|fur|pendant|durante) (?P<n>half an?|{_N}(?: and a half)?) (?P<u>{_UN})\b|\b(?:until|till|to|bis) (?P<to>(?:\d{{1,2}}[:.]\d{{2}}|\d{{1,2}} ?[ap]m|noon|midnight))")  # fmt: skip


def span(text: str, start: datetime, *, default: timedelta = timedelta(hours=1)) -> datetime:
    """When what begins at ``start`` ends, as the text says ("for two hours", "until 17:00"), else after ``default``.

    >>> span("meet Ann at 3pm for 45 minutes", datetime(2026, 3, 11, 15)).isoformat()
    '2026-03-11T15:45:00'
    """
    found = _SPAN.search(_plain(text))
    if found is None:
        return start + default
    if found["n"]:
        later = _later({"n": found["n"], "u": found["u"]}, start, 1)
        return later if isinstance(later, datetime) else datetime.combine(later, start.time())
    until = find(found["to"], start)
    return until.at if until is not None else start + default


def said(at: datetime, timed: bool = True) -> str:
    """A moment in words.

    >>> said(datetime(2026, 3, 20, 15, 30))
    'Friday 20 March 2026, 15:30'
    """
    days = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
    told = f"{days[at.weekday()]} {at.day} {MONTHS[at.month - 1]} {at.year}"
    return f"{told}, {at:%H:%M}" if timed else told
