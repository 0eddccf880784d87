"""ELIZA: a published conversation word by word, ranks, memory, reflection, scripts and what is wrong in them."""

import io
import json

import pytest

from bottega.cli import main
from bottega.core import DataError
from bottega.crafts.eliza import Eliza, doctor, read_script
from helpers import one_line

# The conversation of Weizenbaum's paper of 1966, with our punctuation.
PAPER = [
    ("Men are all alike.", "In what way?"),
    ("They're always bugging us about something or other.", "Can you think of a specific example?"),
    ("Well, my boyfriend made me come here.", "Your boyfriend made you come here."),
    ("He says I'm depressed much of the time.", "I am sorry to hear you are depressed."),
    ("It's true. I am unhappy.", "Do you think coming here will help you not to be unhappy?"),
    ("I need some help, that much seems certain.", "What would it mean to you if you got some help?"),
    ("Perhaps I could learn to get along with my mother.", "Tell me more about your family."),
    ("My mother takes care of me.", "Who else in your family takes care of you?"),
    ("My father.", "Your father?"),
    ("You are like my father in some ways.", "What resemblance do you see?"),
    (
        "You are not very aggressive but I think you don't want me to notice that.",
        "What makes you think I am not very aggressive?",
    ),
    ("You don't argue with me.", "Why do you think I don't argue with you?"),
    ("You are afraid of me.", "Does it please you to believe I am afraid of you?"),
    ("My father is afraid of everybody.", "What else comes to mind when you think of your father?"),
    ("Bullies.", "Does that have anything to do with the fact that your boyfriend made you come here?"),
]

SMALL = """
hello = "Hm?"
otherwise = ["A.", "B."]
[reflect]
my = "your"
[groups]
pet = ["cat", "dog"]
[[keyword]]
word = "cat"
rank = 1
[[keyword.rule]]
match = "* @pet *"
say = ["Which {2}?"]
[[keyword]]
word = "sun"
rank = 7
[[keyword.rule]]
match = "the sun *"
say = ["It {1}."]
"""


def test_the_command(tmp_path, capfd, monkeypatch):
    """Its words are the script's, one answer to each, from arguments or line by line from standard input."""
    some = PAPER[:4]
    assert main(["write", "eliza", *(said for said, _ in some), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert [(e["said"], e["text"]) for e in told["exchanges"]] == some
    monkeypatch.setattr("sys.stdin", io.StringIO("Men are all alike.\n\nbye\nMen are all alike.\n"))
    assert main(["write", "eliza"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == doctor().hello
    assert lines[1] == "In what way?"
    assert len(lines) == 3, "'bye' ends it"
    (tmp_path / "s.toml").write_text(SMALL)
    assert main(["write", "eliza", "--script", str(tmp_path / "s.toml"), "my dog and the cat", "the sun is up"]) == 0
    assert capfd.readouterr().out.splitlines()[1] == "It is up."
    (tmp_path / "s.toml").write_text("hello = 3")
    assert main(["write", "eliza", "--script", str(tmp_path / "s.toml"), "x"]) == 2
    assert "s.toml" in capfd.readouterr().err


def script(tmp_path, text, name="s.toml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_script(path)


def test_the_published_conversation_word_by_word():
    eliza = Eliza()
    assert [eliza.reply(said).text for said, _ in PAPER] == [answer for _, answer in PAPER]
    eliza.reset()
    assert eliza.reply("Men are all alike.").text == "In what way?"  # from the beginning again


@pytest.mark.parametrize(
    ("said", "answer", "why"),
    [
        ("I remember my first school.", "Do you often think of your first school?", "keyword"),  # rank 5 beats 2 and 0
        ("My computer hates me.", "Do computers worry you?", "keyword"),  # rank 50
        ("Why can't I sleep?", "Do you think you should be able to sleep?", "keyword"),
        ("How is it?", "Why do you ask?", "keyword"),  # goes to what
        ("Dont you see? I can't see you.", "We were discussing you, not me.", "keyword"),
        ("Snow.", "Please go on.", "otherwise"),
        ("", "Please go on.", "otherwise"),
        ("?!", "Please go on.", "otherwise"),
        ("Goodbye!", "Goodbye. Thank you for talking to me.", "goodbye"),
    ],
)
def test_what_it_says(said, answer, why):
    reply = Eliza().reply(said)
    assert (reply.text, reply.why) == (answer, why)


def test_replies_take_turns_and_the_memory_is_a_queue():
    eliza = Eliza()
    assert [eliza.reply("Yes.").text for _ in range(5)] == [
        "You seem quite positive.", "You are sure.", "I see.", "I understand.", "You seem quite positive.",
    ]  # fmt: skip
    eliza.reply("My cat sings.")
    eliza.reply("My house is cold.")
    said = [eliza.reply("Rain.") for _ in range(3)]
    assert [r.text for r in said] == [
        "Does that have anything to do with the fact that your cat sings?",
        "Let's discuss further why your house is cold.",
        "Please go on.",
    ]
    assert [r.why for r in said] == ["memory", "memory", "otherwise"]


def test_ranks_groups_and_a_keyword_whose_rules_do_not_fit(tmp_path):
    eliza = Eliza(script(tmp_path, SMALL))
    assert eliza.reply("A cat in the sun").text == "Which cat?"  # the sun ranks higher, but its pattern does not fit
    assert eliza.reply("The sun shines on the cat").text == "It shines on the cat."
    assert eliza.reply("My dog").text == "A."  # dog is in the group, but no keyword
    assert eliza.reply("x").text == "B."


def test_json_scripts(tmp_path):
    table = {"otherwise": "Hm.", "keyword": [{"word": "Tea", "rule": [{"match": "* tea *", "say": "With {1}?"}]}]}
    made = script(tmp_path, json.dumps(table), "s.json")
    assert Eliza(made).reply("Milk tea").text == "With milk?"
    assert made.name == "s"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("[reflect]", "[reflects]"), ("reflects", "did you mean 'reflect'")),
        (('say = ["Which {2}?"]', 'say = ["Which {9}?"]'), ("{9}", "3 parts")),
        (('say = ["Which {2}?"]', ""), ("either 'say' or 'goto'",)),
        (('say = ["Which {2}?"]', 'goto = "sum"'), ("'sum'", "did you mean 'sun'")),
        (('say = ["Which {2}?"]', 'goto = "cat"'), ("circle",)),
        (("@pet", "@pets"), ("@pets", "did you mean 'pet'")),
        (("rank = 7", "rank = 'high'"), ("'high'", "whole number")),
        (('word = "sun"', 'word = "cat"'), ("twice",)),
        (('otherwise = ["A.", "B."]', ""), ("otherwise",)),
        (("rank = 1", "rnk = 1"), ("rnk", "rank")),
        (("hello", "= hello"), ("not TOML",)),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_script_is_said_in_one_line(tmp_path, change, words):
    assert change[0] in SMALL
    with pytest.raises(DataError) as error:
        script(tmp_path, SMALL.replace(*change, 1))
    one_line(error, "s.toml", *words)


def test_a_script_that_is_not_there(tmp_path):
    with pytest.raises(DataError) as error:
        read_script(tmp_path / "none.toml")
    one_line(error, "none.toml")


def test_every_reply_of_the_doctor_can_be_said():
    made = doctor()
    assert len(made.keywords) > 25
    assert all(rule.say or rule.goto for keyword in made.keywords.values() for rule in keyword.rules)


def test_long_input_and_strange_characters():
    eliza = Eliza()
    assert eliza.reply("my " * 300).text
    assert eliza.reply("Ich möchte 日本 🙂 <b>x</b> {0} {1}").text
