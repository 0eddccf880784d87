"""A bot folder with a fault: one line, with the number of the line at fault."""

from __future__ import annotations

import pytest

from bottega.core import BottegaError
from bottega.crafts._chat_shop import FILES
from bottega.crafts.chat_folder import Lines, read_folder
from bottega.crafts.chat_scripts import new
from helpers import one_line

SHOP = FILES["bot.toml"]


@pytest.fixture
def shop(tmp_path):
    new(tmp_path / "shop")
    return tmp_path / "shop"


def test_the_example_is_whole_and_not_written_over(shop):
    bot = read_folder(shop)
    assert bot.flow("track").steps[0].slot == "order"
    with pytest.raises(BottegaError) as error:
        new(shop)
    one_line(error, "not empty")


@pytest.mark.parametrize(
    ("old", "put", "words"),
    [
        ('name = "Fern"', "name = Fern", ("TOML", "line 2")),
        ('name = "Fern"', 'nam = "Fern"', ("'nam'", "'name'")),
        ('tone = "friendly"', 'tone = "freindly"', ("friendly",)),
        ('slot = "order"', 'slotted = "order"', ("'slotted'", "'slot'")),
        ('tool = "orders"', 'tool = "order"', ("'order'", "'orders'")),
        ('flow = "track"', 'flow = "trakc"', ("'trakc'", "'track'")),
        ('pattern = "FM\\\\d{4}"', 'pattern = "FM(\\\\d{4}"', ("regular expression",)),
        ('next = "end"', 'next = "why"\nsay2 = "x"', ("say2",)),
        ('when = { reason = "damaged" }', 'when = { reasons = "damaged" }', ("'reasons'", "'reason'")),
        ('key = "order"', 'key = "number"', ("'number'", "orders.csv")),
        ('say = "Order {order} ({items})', 'say = "Order {order} ({item})', ("'item'", "'items'")),
        ('kind = "choice"', 'kind = "chioce"', ("choice",)),
        ("misses = 2", "misses = 0", ("misses",)),
        ("passage = 0.6", "passage = 1.6", ("share",)),
        ('knowledge = "knowledge"', 'knowledge = "../.."', ("outside",)),
        ('knowledge = "knowledge"', 'knowledge = "nowhere"', ("nowhere",)),
        ('words = ["Greenhouse Nine", "wholesale price"]', "words = []", ("secret",)),
        ('answers = ["Goodbye, and happy growing!"]', "", ("leads nowhere",)),
        ('name = "thank"', 'name = "greet"', ("two intents",)),
        ('name = "Fern"', "name = 3", ("not a text",)),
    ],
)  # fmt: skip
def test_faults_name_their_line(shop, old, put, words):
    assert old in SHOP
    text = SHOP.replace(old, put, 1)
    (shop / "bot.toml").write_text(text)
    with pytest.raises(BottegaError) as error:
        read_folder(shop)
    message = one_line(error, "bot.toml", *words)
    at = int(message.split("line ")[1].split(":")[0].split(",")[0])
    changed = next(
        (k for k, (a, b) in enumerate(zip(SHOP.split("\n"), text.split("\n"), strict=False), 1) if a != b), 0
    )
    assert abs(at - changed) <= 4  # the key, or the head of its table where the key is what lacks


def test_flows_that_do_not_end_or_are_never_reached(shop):
    head = (
        'name = "x"\npurpose = "y"\n[[intent]]\nname = "a"\nexamples = ["b", "c"]\nflow = "f"\n[[flow]]\nname = "f"\n'
    )
    for steps, word, line in (
        ('[[flow.step]]\nname = "s"\nsay = "b"\nnext = "s"\n', "without a question", 12),
        ('[[flow.step]]\nsay = "b"\nnext = "end"\n[[flow.step]]\nsay = "c"\n', "never reached", 12),
        ("", "no steps", 7),
        ('[[flow.step]]\nsay = "b"\nask = "c"\nslot = "d"\n', "one of them", 10),
        ('[[flow.step]]\nask = "c"\n', "belong together", 10),
        ('[[flow.step]]\nsay = "c"\nnext = "nowhere"\n', "no such step", 11),
    ):
        (shop / "bot.toml").write_text(head + steps)
        with pytest.raises(BottegaError) as error:
            read_folder(shop)
        one_line(error, word, f"line {line}")


def test_lines_are_not_misled_by_texts():
    at = Lines('a = """\n[[flow]]\nb = 1\n"""\n[[flow]]\nname = "x"\n[flow.sub]\nb = 2\n')
    assert at.of("name", ("flow", 0)) == 6
    assert at.of("b", ("flow", 0), "sub") == 8
