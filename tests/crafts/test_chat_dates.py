"""Row M11: a hundred phrases and more, each with the answer that its construction gives, from several nows."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from dateutil.relativedelta import FR, MO, SA, SU, TH, TU, WE, relativedelta

from bottega.crafts.chat_dates import find, said, span

NOWS = [
    datetime(2026, 3, 11, 10, 0),
    datetime(2024, 2, 28, 23, 30),
    datetime(2025, 12, 31, 8, 15),
    datetime(2026, 11, 29, 17, 5),
]
DAYS = {"monday": MO, "tuesday": TU, "wednesday": WE, "thursday": TH, "friday": FR, "saturday": SA, "sunday": SU}
OTHER = {
    "de": ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"],
    "fr": ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"],
    "es": ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"],
}


def midnight(now):
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def coming(now, day):
    """The first such day after today, by dateutil."""
    return midnight(now) + relativedelta(days=1, weekday=day(1))


def of_next_week(now, k):
    return midnight(now) + relativedelta(days=1, weekday=MO(1)) + timedelta(days=k)


def first_from(now, month, day):
    """The first such day from today on, by trying every day."""
    at = midnight(now)
    while (at.month, at.day) != (month, day):
        at += timedelta(days=1)
    return at


def phrases(now):
    """Phrase, what it means, whether a time is said."""
    day = midnight(now)
    out = [
        ("today", day, False), ("tomorrow", day + timedelta(1), False), ("the day after tomorrow", day + timedelta(2), False),
        ("yesterday", day - timedelta(1), False), ("heute", day, False), ("übermorgen", day + timedelta(2), False),
        ("demain", day + timedelta(1), False), ("après-demain", day + timedelta(2), False), ("mañana", day + timedelta(1), False),
        ("pasado mañana", day + timedelta(2), False), ("vorgestern", day - timedelta(2), False), ("hier", day - timedelta(1), False),
        ("tomorrow at noon", day + timedelta(1, hours=12), True), ("tomorrow morning", day + timedelta(1, hours=9), True),
        ("tomorrow at 5pm", day + timedelta(1, hours=17), True), ("tomorrow at 5 am", day + timedelta(1, hours=5), True),
        ("at 3 tomorrow", day + timedelta(1, hours=15), True), ("tomorrow at 9", day + timedelta(1, hours=9), True),
        ("tomorrow at half past three", day + timedelta(1, hours=15, minutes=30), True),
        ("quarter to five tomorrow", day + timedelta(1, hours=16, minutes=45), True),
        ("twenty past eight tomorrow", day + timedelta(1, hours=8, minutes=20), True),
        ("tomorrow at 14:05", day + timedelta(1, hours=14, minutes=5), True), ("tomorrow evening at 6", day + timedelta(1, hours=18), True),
        ("tomorrow at seven o'clock in the evening", day + timedelta(1, hours=19), True), ("midnight tomorrow", day + timedelta(2), True),
        ("morgen um 15 Uhr", day + timedelta(1, hours=15), True), ("morgen um halb vier", day + timedelta(1, hours=15, minutes=30), True),
        ("morgen Abend", day + timedelta(1, hours=19), True), ("morgen um 9 Uhr 40", day + timedelta(1, hours=9, minutes=40), True),
        ("demain à 14h30", day + timedelta(1, hours=14, minutes=30), True), ("demain matin", day + timedelta(1, hours=9), True),
        ("demain à 15 heures", day + timedelta(1, hours=15), True), ("mañana a las 3", day + timedelta(1, hours=15), True),
        ("mañana por la mañana", day + timedelta(1, hours=9), True), ("mañana por la tarde", day + timedelta(1, hours=15), True),
        ("in two hours", now + timedelta(hours=2), True), ("in half an hour", now + timedelta(minutes=30), True),
        ("in an hour and 30 minutes", now + timedelta(minutes=90), True), ("in 45 minutes", now + timedelta(minutes=45), True),
        ("in 2 Stunden", now + timedelta(hours=2), True), ("dans deux heures", now + timedelta(hours=2), True),
        ("dentro de dos horas", now + timedelta(hours=2), True), ("two hours from now", now + timedelta(hours=2), True),
        ("in 3 days", day + timedelta(3), False), ("in ten days", day + timedelta(10), False), ("in two weeks", day + timedelta(14), False),
        ("in a fortnight", day + timedelta(14), False), ("in a month", day + relativedelta(months=1), False),
        ("in six months", day + relativedelta(months=6), False), ("in a year", day + relativedelta(years=1), False),
        ("three days ago", day - timedelta(3), False), ("a week ago", day - timedelta(7), False), ("vor drei Tagen", day - timedelta(3), False),
        ("il y a deux semaines", day - timedelta(14), False), ("hace tres días", day - timedelta(3), False),
        ("in einer Woche", day + timedelta(7), False), ("dans trois mois", day + relativedelta(months=3), False),
        ("en dos semanas", day + timedelta(14), False), ("a week from today", day + timedelta(7), False),
        ("a week from tuesday", coming(now, TU) + timedelta(7), False), ("friday week", coming(now, FR) + timedelta(7), False),
        ("next week", of_next_week(now, 0), False), ("next month", midnight(now) + relativedelta(months=1, day=1), False),
        ("next year", datetime(now.year + 1, 1, 1), False), ("end of the month", day + relativedelta(day=31), False),
        ("the end of next month", day + relativedelta(months=1, day=31), False), ("end of the year", datetime(now.year, 12, 31), False),
        ("the beginning of next month", day + relativedelta(months=1, day=1), False),
        ("last monday of march", next(d for y in (now.year, now.year + 1) if (d := datetime(y, 3, 31) + relativedelta(weekday=MO(-1))) >= day), False),
        ("first friday of next month", day + relativedelta(months=1, day=1, weekday=FR(1)), False),
        ("second tuesday of may 2027", datetime(2027, 5, 1) + relativedelta(weekday=TU(2)), False),
        ("5 May", first_from(now, 5, 5), False), ("May 5th", first_from(now, 5, 5), False), ("the third of June", first_from(now, 6, 3), False),
        ("on the 3rd of June at 7 pm", first_from(now, 6, 3) + timedelta(hours=19), True), ("1 January", first_from(now, 1, 1), False),
        ("Dec 24", first_from(now, 12, 24), False), ("am 3. Oktober", first_from(now, 10, 3), False), ("le 14 juillet", first_from(now, 7, 14), False),
        ("el 12 de octubre", first_from(now, 10, 12), False), ("le 1er mai", first_from(now, 5, 1), False),
        ("May 5th, 2027 at 9:15", datetime(2027, 5, 5, 9, 15), True), ("5 May 2027", datetime(2027, 5, 5), False),
        ("2027-12-01 18:30", datetime(2027, 12, 1, 18, 30), True), ("25/12/2027", datetime(2027, 12, 25), False),
        ("3.4.2027", datetime(2027, 4, 3), False), ("29 February 2028", datetime(2028, 2, 29), False),
        ("this weekend", of_next_week(now, -7) + timedelta(5), False), ("next weekend", of_next_week(now, 5), False),
        ("tonight", day + timedelta(hours=20), True), ("tonight at 8", day + timedelta(hours=20), True),
        ("wednesday next week at 11", of_next_week(now, 2) + timedelta(hours=11), True),
    ]  # fmt: skip
    for k, (name, rule) in enumerate(DAYS.items()):
        out += [
            (f"on {name}", coming(now, rule), False), (f"next {name}", of_next_week(now, k), False),
            (f"last {name}", day - timedelta(1) + relativedelta(weekday=rule(-1)), False),
            (f"{name} at 16:45", coming(now, rule) + timedelta(hours=16, minutes=45), True),
            (f"am {OTHER['de'][k]} um 10 Uhr", coming(now, rule) + timedelta(hours=10), True),
            (f"{OTHER['fr'][k]} prochain", of_next_week(now, k), False),
            (f"el {OTHER['es'][k]} a las 5", coming(now, rule) + timedelta(hours=17), True),
        ]  # fmt: skip
    return out


@pytest.mark.parametrize("now", NOWS)
def test_every_phrase_means_what_it_says(now):
    every = phrases(now)
    assert len(every) >= 130
    wrong = []
    for phrase, right, timed in every:
        for frame in ("{}", "Please remind me {} to call", "{}, if you can"):
            found = find(frame.format(phrase), now)
            if found is None or (found.at, found.timed) != (right.replace(second=0), timed):
                wrong.append((frame.format(phrase), found and found.at, right))
    assert wrong == []


@pytest.mark.parametrize(
    "text", ["", "I may come", "what is it", "the second chair", "sit down", "30 February 2027", "99/99/2026", "call 5551234", "version 2.10 of the app",
             "I have 3 questions", "it costs 12.50", "12345", "marching", "sunday's child"[:3]]
)  # fmt: skip
def test_what_is_no_date_is_none(text):
    assert find(text, NOWS[0]) is None


def test_order_and_spans_and_words():
    assert find("4/3/2026", NOWS[0]).at == datetime(2026, 3, 4)
    assert find("4/3/2026", NOWS[0], order="mdy").at == datetime(2026, 4, 3)
    at = datetime(2026, 3, 11, 15)
    assert span("for two and a half hours", at) == at + timedelta(minutes=150)
    assert span("for 45 minutes", at) == at + timedelta(minutes=45)
    assert span("until 17:00", at) == at + timedelta(hours=2)
    assert span("with Ann", at) == at + timedelta(hours=1)
    assert said(at, timed=False) == "Wednesday 11 March 2026"
    assert find("at 9:00", datetime(2026, 3, 11, 8)).at == datetime(2026, 3, 11, 9)
    assert find("at 9:00", datetime(2026, 3, 11, 10)).at == datetime(2026, 3, 12, 9)
