"""Tables in words: the checker by hand-made claims and planted errors, the report by the checker."""

from __future__ import annotations

import csv
import random

import pytest

from bottega.core import DataError
from bottega.crafts._claim_words import sentences
from bottega.crafts.write_check import check, passes
from bottega.crafts.write_report import report, selftest
from bottega.crafts.write_table import read_table

MONTHLY = """month,units_sold,price_eur
2024-01,120,3.50
2024-02,125,3.60
2024-03,118,3.40
2024-04,150,3.90
2024-05,141,4.10
2024-06,160,4.05
"""
CITIES = """city,population,area_km2
Berlin,3755251,891.1
Hamburg,1892122,755.1
Munich,1512491,310.7
Cologne,1084831,405.0
Leipzig,616093,297.8
"""


@pytest.fixture
def monthly(tmp_path):
    (tmp_path / "sales.csv").write_text(MONTHLY)
    return read_table(tmp_path / "sales.csv")


@pytest.fixture
def cities(tmp_path):
    (tmp_path / "cities.csv").write_text(CITIES)
    return read_table(tmp_path / "cities.csv")


TRUE = [
    "Units sold rose 33 % to 160 in June 2024, from 120 in January 2024.",
    "In March units sold fell by 7 to 118.",
    "In February 2024, units sold climbed 4.2 % to 125.",
    "The price was highest in May at €4.10 and lowest in March.",
    "On average, units sold came to 135.7 a month.",
    "Units sold totalled 814.",
    "Units sold rose in three of the five months after January 2024.",
    "The biggest fall came in May 2024, when units sold dropped 6 %.",
    "Units sold rose in February 2024 and fell in March 2024.",
    "About 140 units sold is what May 2024 brought.",
    "The price rose from €3.40 in March 2024 to €3.90 in April 2024.",
    "Units sold did not rise in March 2024.",
]
FALSE = [
    ("Units sold rose 34 % to 160 in June 2024, from 120 in January 2024.", "34 %"),
    ("Units sold fell in April 2024.", "fell"),
    ("In March units sold fell by 8 to 118.", "8"),
    ("The price was lowest in May 2024.", "lowest"),
    ("On average, units sold came to 136.7 a month.", "136.7"),
    ("Units sold rose in four of the five months after January 2024.", "four"),
    ("The biggest fall of units sold came in March 2024.", "biggest fall"),
    ("Units sold came to 125 in May 2024.", "125"),
    ("In July 2024 units sold were 160.", "July 2024"),
    ("The price rose from €3.40 in February 2024 to €3.90 in April 2024.", "€3.40"),
    ("Units sold did not rise in April 2024.", "rise"),
    ("The price came to 4.10 km in May 2024.", "4.10"),
]


@pytest.mark.parametrize("said", TRUE)
def test_what_the_table_says_is_proved(said, monthly):
    claims = check(said, monthly)
    assert claims
    assert passes(claims), [(c.text, c.why) for c in claims if c.verdict != "proved"]


@pytest.mark.parametrize(("said", "wrong"), FALSE)
def test_what_it_does_not_say_is_refuted(said, wrong, monthly):
    refuted = [c for c in check(said, monthly) if c.verdict == "refuted"]
    assert wrong in {c.text for c in refuted}, refuted
    assert all(said[c.at : c.at + len(c.text)] == c.text for c in refuted)


@pytest.mark.parametrize(
    "said",
    [
        "Berlin has the largest population, 3.76 million, ahead of Hamburg with 1,892,122.",
        "Munich ranks third by population.",
        "Cologne's area is larger than Munich's.",
        "Berlin accounts for 42.4 % of the total population.",
        "In population, Berlin has 6.1 times as much as Leipzig.",
        "Two of the five cities are above the average population.",
        "The second largest area is Hamburg's, 755.1 km².",
        "Leipzig has the smallest population; Berlin leads in area.",
        "Berlin has the largest area; it has the most population.",
    ],
)
def test_named_rows_are_compared(said, cities):
    claims = check(said, cities)
    assert claims
    assert passes(claims), [(c.text, c.why) for c in claims if c.verdict != "proved"]


@pytest.mark.parametrize(
    "said",
    [
        "Hamburg has the largest population.",
        "Munich ranks second by population.",
        "Munich's area is larger than Cologne's.",
        "Berlin accounts for 43.4 % of the total population.",
        "Three of the five cities are above the average population.",
        "Berlin has a population of 1,892,122.",
        "Leipzig has the smallest population; it has the largest area.",
    ],
)
def test_wrong_comparisons_are_refuted(said, cities):
    assert any(c.verdict == "refuted" for c in check(said, cities))


def test_a_clause_is_not_judged_by_what_stands_behind_a_semicolon(cities):
    claims = check("Munich leads; Berlin has the largest area.", cities)
    assert [(c.text, c.verdict) for c in claims] == [("leads", "open"), ("largest", "proved")]


def test_what_the_table_does_not_speak_of_is_open(cities):
    claims = check("The trains were 14 minutes late.", cities)
    assert [(c.text, c.verdict) for c in claims] == [("14", "open")]


def test_planted_errors_are_caught_and_reports_differ(monthly, cities):
    """Every wrong digit and name; a turned word may still be true, so of those nine in ten."""
    for table in (monthly, cities):
        made = [report(table, seed=seed) for seed in range(4)]
        assert len({r.text for r in made}) == 4
        for r in made:
            assert passes(r.claims)
            assert sum(c.kind == "number" for c in r.claims) > 12
        found = selftest(table, made[0].text, n=60)
        assert all(planted >= 5 for _, planted in found.values())
        assert found["number"][0] == found["number"][1]
        assert found["row"][0] >= 0.97 * found["row"][1]
        assert found["direction"][0] >= 0.9 * found["direction"][1]


def test_reports_of_random_tables_are_proved(tmp_path):
    rng, path = random.Random(5), tmp_path / "t.csv"
    for k in range(6):
        with path.open("w", newline="") as file:
            rows = [[1990 + i, rng.randint(100, 9000), f"{rng.uniform(5, 60):.1f}"] for i in range(rng.randint(3, 12))]
            csv.writer(file).writerows([["year", "births", "share_pct"], *rows])
        made = report(read_table(path), seed=k)
        assert passes(made.claims)
        assert made.text.count("## ") == 2


def test_sums_are_only_told_of_what_counts_something(monthly):
    text = report(monthly).text
    assert "814" in text
    assert "22.55" not in text  # the sum of prices means nothing


@pytest.mark.parametrize(
    ("content", "asked", "hint"),
    [
        (MONTHLY, {"columns": ["unitssold"]}, "did you mean 'units_sold'"),
        (MONTHLY, {"key": "day"}, "no column 'day'"),
        ("", {}, "is empty"),
        ("a,b\n", {}, "no rows"),
        ("month,x\n2024-01,1\n2024-01,2\n", {}, "2 times"),
        ("month,x\n2024-01,1,5\n", {}, "line 2 has 3 cells"),
        ("name,word\nA,b\nB,c\n", {}, "no column of numbers"),
        ("name,x\nA,1\nB,b\n", {"columns": ["x"]}, "'b', which is no number"),
        ("x,x\nA,1\n", {}, "twice"),
        ("x,y\n1,1\n2,2\n", {}, "--key"),
        (b"name,x\nA\xff,1\n", {}, "byte 0xff at offset 8"),
        ("name,x\n,1\nB,2\n", {"key": "name"}, "line 2"),
    ],
)
def test_a_bad_table_is_one_line_with_the_mend(tmp_path, content, asked, hint):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=".") as told:
        read_table(path, **asked)
    assert hint in str(told.value)
    assert "\n" not in str(told.value)


def test_rows_of_one_name_are_grouped(tmp_path):
    (tmp_path / "t.csv").write_text("month,shop,sales\n2024-01,A,1\n2024-01,B,2\n2024-02,A,5\n")
    table = read_table(tmp_path / "t.csv", group="sum")
    assert table.columns[0].values == (3.0, 5.0)


def test_sentences_keep_decimals_and_titles_whole():
    said = [s for _, s in sentences("# A title\n\nIt rose 3.5 %. St. Ives won!\n\nNext.")]
    assert said == ["# A title", "It rose 3.5 %.", "St. Ives won!", "Next."]
