"""Lines in quantity: counted, compared in pairs, and read by the filter; planted claims are held back."""

from __future__ import annotations

import json
from itertools import combinations

import pytest

from bottega.cli import main
from bottega.core import BottegaError, DataError
from bottega.crafts.write_taglines import Brief, overlap, taglines, why_banned

BRIEF = Brief(
    "Norrland 40",
    "rucksack",
    ["carry a tent and a stove", "keep a map dry", "sleep under the stars", "leave the car at home", "walk one valley further"],
    ["a frame of bamboo", "straps of felt", "a lid that locks out rain", "two pockets for wet boots", "a whistle in the buckle"],
    ["hikers: cross the hills", "students: move every year", "parents: pack for four", "commuters: change trains twice"],
)  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
def test_a_hundred_different_lines_for_all_audiences(seed):
    made = taglines(BRIEF, n=100, cap=0.5, seed=seed)
    texts = [line.text for line in made.lines]
    assert len(set(texts)) == 100
    fixed = frozenset({"norrland", "40"})
    assert max(overlap(a, b, fixed) for a, b in combinations(texts, 2)) == made.overlap <= 0.5
    assert all(
        line.audience in line.text.lower() or line.text.startswith("You") or "you" in line.text for line in made.lines
    )
    assert min([line.audience for line in made.lines].count(a.partition(":")[0]) for a in BRIEF.audiences) >= 15
    assert not any(why_banned(text) for text in texts)
    assert not any(c in "{}" for text in texts for c in text)


def test_a_seed_gives_its_lines_again():
    assert (
        taglines(BRIEF, n=20, seed=3).lines
        == taglines(BRIEF, n=20, seed=3).lines
        != taglines(BRIEF, n=20, seed=4).lines
    )


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("The best rucksack of all", "superlative"),
        ("Dry boots, guaranteed!", "guarantee"),
        ("Risk-free for 30 days", "guarantee"),
        ("100% waterproof", "guarantee"),
        ("Cures a bad back", "health"),
        ("Clinically proven straps", "health"),
        ("Studies show you will walk further", "proof"),
        ("A climate-neutral frame", "green"),
        ("Act now", "urgency"),
    ],
)
def test_claims_that_need_proof_are_held_back(text, rule):
    assert why_banned(text).rule == rule


@pytest.mark.parametrize(
    "text", ["A curve in the road", "Treat yourself kindly", "Free as a bird", "It leads home", "Hurricane lamp"]
)
def test_plain_words_are_not(text):
    assert why_banned(text) is None


def test_a_planted_claim_in_the_brief_never_comes_out():
    bad = Brief(
        "N",
        "rucksack",
        [*BRIEF.benefits, "get the best sleep guaranteed"],
        [*BRIEF.features, "an Alpine buckle"],
        BRIEF.audiences,
    )
    made = taglines(bad, n=60, banned=["alpine"])
    assert {one.rule for one in made.refused} == {"superlative", "own"}
    assert not any("best" in line.text or "Alpine" in line.text for line in made.lines)


def test_what_cannot_be_made_is_said():
    with pytest.raises(BottegaError, match="lines of which no two share"):
        taglines(Brief("N", "cup", ["drink"], ["a handle"], ["people"]), n=500, cap=0.3)
    with pytest.raises(DataError, match="no benefits"):
        Brief("N", "cup", [], ["a handle"], ["people"])


def test_the_command(tmp_path, capfd):
    (tmp_path / "b.toml").write_text(
        'benefits = ["keep a map dry", "walk far"]\nfeatures = ["a lid", "a strap"]\naudiences = ["hikers"]\n'
    )
    asked = [
        "write",
        "taglines",
        "Norrland",
        "--kind",
        "rucksack",
        "--brief",
        str(tmp_path / "b.toml"),
        "-n",
        "12",
        "--json",
    ]
    assert main(asked) == 0
    told = json.loads(capfd.readouterr().out)
    assert len(told["lines"]) == 12
    (tmp_path / "b.toml").write_text("wishes = [1]\n")
    assert main(asked) == 2
    assert "'wishes'" in capfd.readouterr().err
