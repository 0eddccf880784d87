"""Scenes and stories against their checkers; every planted fault is named with its line; a model that knows nothing keeps the form."""

from __future__ import annotations

import json
import re

import pytest

import bottega
from bottega.cli import main
from bottega.core import BottegaError, RecipeError
from bottega.crafts.write_scene import FORMS, scene, topics
from bottega.crafts.write_scene_check import check_scene, check_story, parse
from recipes import write_recipe

GOOD = """FADE IN:

INT. KITCHEN - NIGHT

A lamp. MARA, 34, a baker, counts coins. TOMAS waits by the door.

MARA
(quietly)
It is not enough.
It never was.

TOMAS (O.S.)
Then we ask again.

A knock. Neither of them moves.

TOMAS (CONT'D)
Do not open.

CUT TO:

EXT. STREET - CONTINUOUS

Rain. Somebody walks away.

FADE OUT.
"""
STORY = """Mara, the baker, had kept the key for nine years. On Monday Tomas, a teacher, came to ask for it.

Mara wanted to keep it, but Tomas would not leave. "It has been nine years," said Tomas.

Then the door opened by itself. There was no lock in it. "You knew," said Tomas.

They hung the key on a nail. Mara looked at it often, and Tomas never did.
"""


def line_of(text, part):
    return text[: text.index(part)].count("\n") + 1


def test_a_good_scene_passes_and_is_read():
    seen = check_scene(GOOD)
    assert seen.faults == []
    assert seen.people == {"MARA": 1, "TOMAS": 2}
    assert seen.counts == {"transition": 3, "heading": 2, "action": 3, "cue": 3, "parenthetical": 1, "dialogue": 3}
    said = [(e.who, e.text) for e in seen.elements if e.kind == "dialogue"]
    assert said[0] == ("MARA", "It is not enough.\nIt never was.")
    indented = "\n".join(f"      {line}" if line.isupper() else f"  {line}" for line in GOOD.splitlines())
    assert check_scene(indented).ok


@pytest.mark.parametrize(
    ("right", "wrong", "at", "says"),
    [
        ("INT. KITCHEN - NIGHT", "INT. KITCHEN", "INT. K", "lacks its time"),
        ("INT. KITCHEN - NIGHT", "INT. KITCHEN - NIHGT", "INT. K", "did you mean 'NIGHT'"),
        ("INT. KITCHEN - NIGHT", "INT KITCHEN - NIGHT", "INT K", "begins with INT., EXT."),
        ("INT. KITCHEN - NIGHT", "Int. kitchen - night", "Int", "in capitals"),
        ("INT. KITCHEN - NIGHT", "INT. - NIGHT", "INT", "names no place"),
        ("INT. KITCHEN - NIGHT", "INT.KITCHEN - NIGHT", "INT", "a blank follows INT."),
        ("INT. KITCHEN - NIGHT\n\n", "", "A lamp", "begins with a heading"),
        ("INT. KITCHEN - NIGHT\n\n", "INT. KITCHEN - NIGHT\n", "INT", "stands alone"),
        ("MARA\n(quietly)", "Mara\n(quietly)", "Mara\n", "looks like a cue"),
        ("MARA\n(quietly)", "MARA:\n(quietly)", "MARA:", "no colon"),
        ("MARA\n(quietly)", "MARA (SHOUTS)\n(quietly)", "MARA (", "(SHOUTS) is unknown"),
        ("(quietly)", "(quietly", "(qui", "not closed"),
        ("(quietly)", "()", "()", "empty"),
        ("(quietly)\nIt is not enough.\nIt never was.", "(quietly)", "(qui", "nothing is said after"),
        ("MARA\n(quietly)\nIt is", "MARA\n\n(quietly)\n\nIt is", "MARA\n\n", "MARA says nothing"),
        ("MARA\n(quietly)\nIt is", "MARA\n\n(quietly)\n\nIt is", "(qui", "stands below a cue"),
        ("MARA\n(quietly)\nIt is", "Mara: It is", "Mara: It", "begins"),
        ("TOMAS (CONT'D)", "TOMMAS", "TOMMAS", "TOMMAS is nearly TOMAS"),
        ("TOMAS (CONT'D)", "MARA (CONT'D)", "MARA (C", "the last to speak was TOMAS"),
        ("TOMAS (CONT'D)", "VIKTOR", "VIKTOR", "no action says who"),
        ("CUT TO:", "CUT TO", "CUT TO", "written CUT TO:"),
        ("CUT TO:\n\nEXT", "CUT TO:\n\nRain.\n\nEXT", "CUT TO", "leads to no scene"),
        ("Rain. Somebody walks away.\n\n", "", "EXT", "nothing happens"),
        ("FADE OUT.\n", "FADE OUT.\n\nA dog.\n", "A dog", "something follows FADE OUT."),
        ("CUT TO:", "FADE IN:", "FADE IN:\n\nEXT", "at the beginning only"),
    ],
)  # fmt: skip
def test_every_planted_fault_is_named_with_its_line(right, wrong, at, says):
    assert right in GOOD
    text = GOOD.replace(right, wrong)
    if says == "begins":  # a speech on the line of its cue: Mara must speak elsewhere to be known
        text, says = text.replace("FADE OUT.", "MARA\nGone.\n\nFADE OUT."), "stands below the name"
    faults = check_scene(text).faults
    assert any(f.startswith(f"line {line_of(text, at)}: ") and says in f for f in faults), faults


def test_other_texts_are_no_scenes():
    assert check_scene("").faults == [
        "line 1: there is nothing here; a scene begins with a heading such as INT. KITCHEN - DAY"
    ]
    for text in (STORY, "One line.", "ROSES\n\nARE RED"):
        assert not check_scene(text).ok
    assert not check_scene(GOOD, cast=["Mara"]).ok
    assert check_scene(GOOD, cast=["Mara", "Tomas"]).ok


def test_a_good_story_passes():
    seen = check_story(STORY)
    assert seen.faults == []
    assert seen.people == {"Mara": 3, "Tomas": 5}


@pytest.mark.parametrize(
    ("right", "wrong", "line", "says"),
    [
        ('"It has been nine years,"', '"It has been ten years,"', 3, "ten years, but line 1 says nine"),
        ("Mara looked", "Marra looked", 7, "Marra is nearly Mara"),
        ("and Tomas never did", "and Viktor never did", 7, "Viktor is first named at the end"),
        ("Mara looked at it often, and Tomas never did", "It hung there", 7, "fewer than two people"),
        ("On Monday Tomas, a teacher, came", "On Monday nobody came", 1, "fewer than two people"),
        ("but Tomas would not leave", "and Tomas agreed", 3, "nothing stands in anyone's way"),
        ("Then the door", "The door", 5, "nothing turns"),
        ('"You knew," said', '"You knew, said', 5, "not closed"),
        ("never did.", "never did", 7, "does not end a sentence"),
        ("Then the door", "Tomas, a doctor, came back. Then the door", 5, "Tomas is doctor, but teacher in line 1"),
        ("\n\nThen the", " Then the", 5, "3 paragraphs"),
    ],
)
def test_every_planted_fault_of_a_story_is_named(right, wrong, line, says):
    assert right in STORY
    faults = check_story(STORY.replace(right, wrong)).faults
    assert any(f.startswith(f"line {line}: ") and says in f for f in faults), faults


@pytest.mark.parametrize("form", FORMS)
def test_two_hundred_pieces_all_pass_and_differ(form):
    made = [scene(form, seed=seed) for seed in range(200)]
    check = check_scene if form == "screenplay" else check_story
    assert all(check(one.text).ok for one in made), "also without being told the cast"
    assert len({one.text for one in made}) == 200
    assert {one.plot.topic for one in made} == set(topics())
    assert scene(form, seed=7) == made[7]
    for one in made:
        names = [name for name, _, _ in one.plot.people]
        assert {n.upper() for n in one.check.people} == {n.upper() for n in names}
        assert one.plot.turn in one.text
        assert one.plot.end in one.text
        assert not re.search(r"[{}]|\s{3}|[^.]\.\.[^.]| ,", one.text), one.text


@pytest.mark.parametrize("topic", topics())
def test_a_topic_is_kept(topic):
    one = scene("story", topic=topic, seed=3)
    assert one.plot.topic == topic
    assert one.plot.aims[0] != one.plot.aims[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A byte model after one step: it knows nothing."""
    here = tmp_path_factory.mktemp("tiny")
    (here / "fox.txt").write_text("the quick brown fox jumps over the lazy dog.\n" * 60)
    codec = {"name": "text", "tokenizer": "byte", "length": 64}
    recipe = write_recipe(
        here,
        "gpt",
        name="tiny",
        size=1,
        data={"name": str(here / "fox.txt"), "held": 0.0},
        codec=codec,
        steps=1,
        batch=4,
    )
    return bottega.train(recipe, data=here / "fox.txt", out=here / "run", judge=False)


@pytest.mark.parametrize("form", FORMS)
def test_a_model_that_knows_nothing_keeps_the_form(run, form):
    pytest.importorskip("llguidance")
    one = scene(form, run=run, seed=1, topic="train")
    assert one.source == "model"
    assert one.lines_tried >= one.lines_kept >= 4
    assert check_scene(one.text).ok if form == "screenplay" else check_story(one.text).ok
    written = scene(form, seed=1, topic="train").text
    assert one.text != written
    if form == "screenplay":  # what happens and who speaks are the plot's
        kept = [(e.kind, e.text) for e in parse(written) if e.kind != "dialogue"]
        assert [(e.kind, e.text) for e in parse(one.text) if e.kind != "dialogue"] == kept
        assert one.lines_kept == one.check.counts["dialogue"]
    with pytest.raises(BottegaError, match="in 1 tries"):
        scene(form, run=run, tries=1)


def test_a_chooser_is_asked_and_kept_to():
    asked = []

    def last(before, some):
        asked.append(len(some))
        return list(range(len(some)))[::-1]

    a, b = (scene(seed=seed, topic="boat", choose=last) for seed in (1, 2))
    assert set(asked) == {3, 4}
    assert "because" not in a.text
    assert a.text != b.text


def test_what_there_is_not():
    for call, says in ((lambda: scene("sceen"), "form is 'sceen'"), (lambda: scene(topic="bota"), "did you mean 'boat'"),
                       (lambda: scene(tries=0), "tries is 0")):  # fmt: skip
        with pytest.raises(RecipeError, match=says):
            call()


def test_the_command(capfd, tmp_path):
    assert main(["write", "scene", "--json", "--seed", "2", "--quiet"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert len(told["plot"]["people"]) == 2
    (tmp_path / "s.txt").write_text(told["text"])
    assert main(["write", "scene", "--check", str(tmp_path / "s.txt")]) == 0
    assert main(["write", "scene", "story", "--seed", "4", "--out", str(tmp_path / "story.txt"), "-q"]) == 0
    assert (tmp_path / "story.txt.meta.json").exists()
    assert main(["write", "scene", "story", "--check", str(tmp_path / "story.txt")]) == 0
    capfd.readouterr()
    (tmp_path / "s.txt").write_text(GOOD.replace("KITCHEN - NIGHT", "KITCHEN"))
    assert main(["write", "scene", "--check", str(tmp_path / "s.txt")]) == 2
    assert capfd.readouterr().out.startswith("line 3: the heading lacks its time")
    assert main(["write", "scene", "play", "--check", str(tmp_path / "s.txt")]) == 2
    assert "form is 'play'" in capfd.readouterr().err
