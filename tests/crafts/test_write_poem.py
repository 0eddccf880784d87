"""Sounds against known words, forms against known verse, and poems against the checker; prose does not pass."""

from __future__ import annotations

import json
import random

import pytest

from bottega.cli import main
from bottega.core import BottegaError, RecipeError
from bottega.crafts import write_sounds
from bottega.crafts.write_poem import FORMS, check_poem, poem
from bottega.crafts.write_sounds import dictionary, rhymes, sound, spelled

known = pytest.mark.skipif(not dictionary(), reason="needs the pronunciation dictionary of bottega[text]")

SHAKESPEARE = [
    ("Shall I compare thee to a summer's day", "When I do count the clock that tells the time", False),
    ("Rough winds do shake the darling buds of May", "Since brass, nor stone, nor earth, nor boundless sea", False),
    ("So long as men can breathe or eyes can see", "So long lives this, and this gives life to thee", True),
    ("So long as men can breathe or eyes can see", "Since brass, nor stone, nor earth, nor boundless sea", False),
]
LIMERICK = """There was an old man with a beard,
Who said, "It is just as I feared!
Two owls and a hen,
Four larks and a wren,
Have all built their nests in my beard!"
"""


@known
@pytest.mark.parametrize(
    ("word", "stresses"),
    [
        ("light", (1,)),
        ("harbour", (1, 0)),
        ("beneath", (0, 1)),
        ("lanterns", (1, 0)),
        ("remembered", (0, 1, 0)),
        ("well-known", (1, 1)),
    ],
)
def test_syllables_and_stresses(word, stresses):
    assert tuple(min(s, 1) for s in sound(word).stresses) == stresses


@known
def test_rhymes_and_what_only_looks_like_it():
    for a, b in (
        ("night", "light"),
        ("shore", "door"),
        ("through", "blue"),
        ("returning", "burning"),
        ("sea", "me"),
        ("bough", "now"),
    ):
        assert rhymes(a, b), (a, b)
    for a, b in (("night", "knight"), ("cough", "bough"), ("sea", "sea"), ("night", "day"), ("love", "move")):
        assert not rhymes(a, b), (a, b)


@known
def test_spelling_alone_is_right_for_most_words():
    """A random part of the dictionary; the measured shares are in the docs."""
    plain = sorted(w for w in dictionary() if w.isalpha() and w.islower() and 3 <= len(w) <= 12)
    some = random.Random(1).sample(plain, 1500)
    right = stressed = 0
    for word in some:
        a, b = write_sounds._made(dictionary()[word], "d"), write_sounds._made(spelled(word), "s")
        right += a.syllables == b.syllables
        stressed += a.syllables == b.syllables and a.stresses.index(1) == b.stresses.index(1)
    assert right / len(some) >= 0.87
    assert stressed / len(some) >= 0.65


@known
@pytest.mark.parametrize(("a", "b", "rhyme"), SHAKESPEARE)
def test_famous_lines_scan(a, b, rhyme):
    faults = check_poem(f"{a}\n{b}", "couplet").faults
    assert [f for f in faults if "iambs" in f] == []
    assert (faults == []) == rhyme


@known
def test_forms_find_what_is_wrong():
    good = "The harbour sleeps beneath a silver moon,\nAnd all the silent sailors whistle soon."
    assert check_poem(good, "couplet").ok
    assert "do not rhyme" in check_poem(good.replace("soon", "late"), "couplet").faults[0]
    assert "line 1" in check_poem(good.replace("harbour", "big harbour"), "couplet").faults[0]
    assert "line 2" in check_poem(good.replace("silent", "sublime"), "couplet").faults[0]
    assert "1 lines" in check_poem(good.splitlines()[0], "couplet").faults[0]
    same = good.replace("soon", "moon")
    assert "'moon' and 'moon' do not rhyme" in check_poem(same, "couplet").faults[0]
    assert check_poem("The bay burns ashore,\nThe night fades for you and me;\nThe gull sleeps tonight.", "haiku").ok
    assert not check_poem("The bay burns ashore,\nThe night fades for you;\nThe gull sleeps tonight.", "haiku").ok


@known
def test_a_limerick_of_lear_but_for_its_repeated_word():
    assert check_poem(LIMERICK, "limerick").faults == ["lines 1 and 5: 'beard' and 'beard' do not rhyme"]


@known
def test_prose_is_seldom_verse():
    from bottega.data import builtin

    lines = [line for item in builtin.load("english").items[:20] for line in item.value.splitlines() if line.strip()]
    pairs = list(zip(lines, lines[1:], strict=False))
    assert sum(check_poem("\n".join(pair), "couplet").ok for pair in pairs) / len(pairs) < 0.01


@known
@pytest.mark.parametrize("form", FORMS)
def test_every_poem_that_is_returned_keeps_its_form(form):
    made = [poem(form, topic=("sea", "city", "winter")[seed % 3], seed=seed) for seed in range(6)]
    assert all(check_poem(p.text, form).ok for p in made)
    assert len({p.text for p in made}) == 6
    assert all(p.lines_tried >= p.lines_kept >= len(FORMS[form].metres) for p in made)
    ends = [line.rstrip(",;.").split()[-1] for line in made[0].text.splitlines() if line]
    assert len(set(ends)) == len(ends) or form == "haiku"


def test_a_form_or_topic_that_there_is_not():
    with pytest.raises(RecipeError, match="did you mean 'sonnet'"):
        poem("sonet")
    with pytest.raises(RecipeError, match="topic"):
        poem("couplet", topic="space")
    with pytest.raises(BottegaError, match="in 3 lines"):
        poem("sonnet", tries=3)


@known
def test_without_a_dictionary_sounds_are_guessed_and_said(monkeypatch):
    monkeypatch.setattr(write_sounds, "dictionary", dict)
    monkeypatch.setattr(write_sounds, "_espeak_program", lambda: None)
    sound.cache_clear()
    try:
        assert sound("night").source == "spelling"
        assert rhymes("night", "light")
    finally:
        sound.cache_clear()


@known
def test_the_command(capfd):
    assert main(["write", "poem", "haiku", "--json", "--seed", "2"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert [len(s) for s in told["scansion"]] == [5, 7, 5]
    assert main(["write", "poem", "haiku", "--check", told["text"]]) == 0
    capfd.readouterr()
    assert main(["write", "poem", "couplet", "--check", told["text"]]) == 2
    assert "3 lines, and a couplet has 2" in capfd.readouterr().out
