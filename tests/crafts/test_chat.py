"""Rows M2 to M6, M10, M12 to M14: the bot's routes, memory, flows, queue and safety, on the example shop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from datetime import datetime

import pytest
import sqlalchemy as sa

from bottega.core import DataError
from bottega.crafts import chat_scripts
from bottega.crafts import chat_tables as t
from bottega.crafts.chat import LIMITS, LONGEST, Bot, Repeated, Reply
from bottega.crafts.chat_feedback import rate
from bottega.crafts.chat_report import clusters, redacted, report
from bottega.crafts.chat_router import Facing, choose
from helpers import one_line

NOW = datetime(2026, 3, 11, 10, 0)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bots") / "shop"
    chat_scripts.new(folder)
    Bot.open(folder)  # trains the intents once; later ones read them
    return folder


@pytest.fixture
def bot(shop, tmp_path):
    return Bot.open(shop, tmp_path / "state.db", clock=lambda: NOW)


class Says:
    """A speaker that says what a test wants."""

    version = "test"

    def __init__(self, *parts):
        self.parts, self.asked = parts, []

    def prompt(self, folder, text, history, passages, facts, language):
        from bottega.crafts.chat_speaker import system_text

        self.asked.append(system_text(folder, passages, facts, language))
        return text

    def stream(self, prompt, folder, *, seed=0):
        yield from self.parts


def test_its_own_scripted_conversations_go_as_they_should(shop):
    cases = list(chat_scripts.run_scripts(shop))
    assert len(cases) == 8
    assert [c.faults for c in cases] == [[]] * 8


def test_a_script_that_is_not_met_is_told(shop, tmp_path):
    script = tmp_path / "x.toml"
    script.write_text('[[conversation]]\n[[conversation.turn]]\nsay = "Hello"\nhas = "goodbye"\nroute = "tool"\n')
    (case,) = chat_scripts.run_scripts(shop, [script])
    assert len(case.faults) == 2


def test_every_route_is_reached_and_none_is_empty(bot):
    bot.speaker = Says("A cactus is a plant.")
    seen = {}
    for text in ("Hello", "Which plants are poisonous for cats?", "where is FM1234", "how do I knit a jumper", "what is your supplier",
                 "my name is Bo", "I want to talk to a person"):  # fmt: skip
        made = bot.reply(text, "u")
        assert made.text.strip()
        assert made.limits == LIMITS[made.route]
        seen[made.route] = made
    bot.speaker = None
    seen["fallback"] = bot.reply("how do I knit a jumper", "v")
    assert set(seen) == {"canned", "retrieved", "tool", "generated", "safety", "memory", "human", "fallback"}
    assert seen["retrieved"].source == "care.md, line 14, “Pets”"
    assert seen["human"].handed_off


@pytest.mark.parametrize(
    ("facing", "way"),
    [
        (Facing(intent=0.5, least_intent=0.5), "canned"), (Facing(intent=0.49, least_intent=0.5), "fallback"),
        (Facing(passage=0.6), "retrieved"), (Facing(passage=0.59), "fallback"), (Facing(generates=True), "generated"),
        (Facing(intent=0.9, passage=0.8, generates=True), "canned"), (Facing(intent=0.7, passage=0.8, generates=True), "retrieved"), (Facing(misses=1), "human"), (Facing(misses=1, most_misses=3), "fallback"),
    ],
)  # fmt: skip
def test_thresholds_of_the_router(facing, way):
    assert choose(facing) == way


@pytest.mark.parametrize(
    "said", [(), ("",), ("  \n",), ("Yes, I am a real person.",), ("The supplier is Greenhouse Nine.",)]
)
def test_a_model_that_may_not_say_what_it_says_is_not_heard(bot, said):
    bot.speaker = Says(*said)
    made = bot.reply("how do I knit a jumper", "u")
    assert made.route == "fallback"
    assert made.text == bot.folder.fallback


def test_what_was_streamed_is_what_is_kept_and_stops_before_what_may_not_be_said(bot):
    bot.speaker = Says("Knit in rows. ", "Count them. ", "I am a human like you. ", "Trust me.")
    parts = list(bot.stream("how do I knit a jumper", "u"))
    assert isinstance(parts[-1], Reply)
    assert "".join(parts[:-1]) == parts[-1].text
    assert parts[-1].text.strip() == "Knit in rows. Count them."


def test_an_endpoint_that_is_down_falls_back(bot):
    from bottega.core import BottegaError

    class Down(Says):
        def stream(self, prompt, folder, *, seed=0):
            raise BottegaError("nobody there")
            yield

    bot.speaker = Down()
    assert bot.reply("how do I knit a jumper", "u").route == "fallback"


def test_a_slot_after_twenty_turns_and_a_restart_and_for_nobody_else(shop, tmp_path):
    state = tmp_path / "s.db"
    bot = Bot.open(shop, state)
    bot.reply("my shoe size is 43", "ada")
    bot.reply("where is my order FM2345", "ada")
    for k in range(20):
        bot.reply("thanks" if k % 2 else "hello", "ada")
    assert "43" in bot.reply("What is my shoe size?", "ada").text
    again = Bot.open(shop, state)
    assert "43" in again.reply("What is my shoe size?", "ada").text
    assert "FM2345" in again.reply("What is my order number?", "ada").text
    for other in ("bob", "ada/x", "Ada", "", "ad_", "ada%"):
        assert "43" not in again.reply("What is my shoe size?", other).text
        assert not again.memory.facts(other)
    talk = again.memory.latest("ada").id
    with pytest.raises(DataError):
        again.reply("hello", "bob", talk)


def test_memory_can_be_read_edited_and_erased(bot):
    bot.reply("My name is Ada and my pot size is 12", "ada")
    assert "Ada" in bot.reply("What do you know about me?", "ada").text
    assert "Hello Ada" in bot.reply("hello", "ada").text
    bot.memory.remember("ada", {"name": "Grace"})
    assert "Grace" in bot.reply("What is my name?", "ada").text
    bot.reply("forget my name", "ada")
    assert "Grace" not in bot.reply("What is my name?", "ada").text
    bot.reply("forget everything", "ada")
    assert bot.memory.facts("ada") == {}
    bot.memory.erase("ada")
    with bot.memory.reads() as c:
        assert c.execute(sa.select(sa.func.count()).select_from(t.MESSAGES)).scalar() == 0


def test_likes_choose_the_answer_each_user_likes(bot):
    arms = ["long", "short"]
    with bot.memory.writes() as c:
        for _ in range(3):
            bot.memory.liked("ada", "long", True, c)
            bot.memory.liked("bob", "short", True, c)
            bot.memory.liked("bob", "long", False, c)
    assert bot.memory.choose("ada", arms) == 0
    assert bot.memory.choose("bob", arms) == 1
    assert bot.memory.choose("new", arms) == 1  # as everybody on the whole


def test_the_queue_has_the_transcript_a_clock_and_one_owner(bot):
    made = bot.reply("I want to talk to a person", "ada")
    bot.reply("I want to die", "bob")
    urgent, calm = bot.queue.waiting()
    assert urgent.urgent
    assert urgent.why == "crisis"
    assert urgent.left_seconds < calm.left_seconds < 15 * 60
    assert [m["text"] for m in calm.transcript] == ["I want to talk to a person", made.text]
    bot.queue.take(calm.id, "eve")
    with pytest.raises(DataError):
        bot.queue.take(calm.id, "mallory")
    with pytest.raises(DataError):
        bot.queue.say(calm.id, "mallory", "x")
    assert bot.reply("hello?", "ada", made.conversation).route == "human"
    bot.queue.say(calm.id, "eve", "I am Eve. What is it?")
    assert bot.memory.transcript(made.conversation)[-1]["role"] == "human"
    bot.queue.close(calm.id, "eve")
    assert bot.reply("hello", "ada", made.conversation).route == "canned"
    with bot.memory.writes() as c:
        c.execute(t.HANDOFFS.update().values(due=time.time() - 60))
    assert bot.queue.waiting()[0].left_seconds < 0
    assert report(bot.memory).late == 2  # one was taken too late, one not at all


def test_flows_take_detours_and_give_up(bot):
    first = bot.reply("my parcel is late", "u")
    assert "order number" in first.text
    aside = bot.reply("when are you open?", "u")
    assert "9:00" in aside.text
    assert "order number" in aside.text
    assert "packed" in bot.reply("FM2345", "u").text
    bot.reply("I want to return a plant", "v")
    for text in ("hm", "hm hm"):
        assert not bot.reply(text, "v").handed_off
    assert bot.reply("hmm", "v").handed_off
    bot.reply("I want to return a plant", "w")
    assert "leave that" in bot.reply("never mind", "w").text


def test_answers_in_the_users_language(bot):
    assert bot.reply("Wann habt ihr geöffnet?", "u").text.startswith("Wir haben")
    assert bot.reply("Quels sont vos horaires ?", "u").text.startswith("Nous sommes")


def test_reminders_are_told_once_and_meetings_do_not_overlap(bot):
    bot.reply("remind me in two hours to water the fern", "u")
    assert bot.agenda.reminders("u") == [(datetime(2026, 3, 11, 12), "water the fern")]
    bot.clock = lambda: datetime(2026, 3, 11, 12, 1)
    assert "water the fern" in bot.reply("hello", "u").text
    assert "water the fern" not in bot.reply("hello", "u").text
    assert "stands in your calendar" in bot.agenda.meet(
        "u", "schedule lunch with Ann on Friday at 12:00 for two hours", NOW
    )
    said = bot.agenda.meet("u", "book a call on Friday at 13:30", NOW)
    assert "lunch with Ann" in said
    assert "14:00" in said
    assert "stands in" in bot.agenda.meet("u", "book a call on Friday at 14:00", NOW)
    assert "stands in" in bot.agenda.meet("other", "book a call on Friday at 12:30", NOW)


def test_bad_messages_and_repeated_ones(bot):
    for bad in ("", "   ", "x" * (LONGEST + 1)):
        with pytest.raises(DataError):
            bot.reply(bad, "u")
    assert bot.reply("x" * LONGEST, "u").text
    assert bot.reply("\x00hello\ud83d"[:6], "u").text
    bot.reply("hello", "u", once=("slack", "1"))
    before = len(bot.memory.transcript(bot.memory.latest("u").id))
    with pytest.raises(Repeated):
        bot.reply("hello", "u", once=("slack", "1"))
    assert len(bot.memory.transcript(bot.memory.latest("u").id)) == before


def test_an_acknowledged_message_and_feedback_survive_kill_9(shop, tmp_path):
    program = textwrap.dedent(f"""
        import sys
        from bottega.crafts.chat import Bot
        from bottega.crafts.chat_feedback import rate
        bot = Bot.open({str(shop)!r}, {str(tmp_path / "s.db")!r})
        for k in range(10_000):
            made = bot.reply(f"hello {{k}}", "u")
            rate(bot.memory, made.message, "u", 1, f"edit {{k}}")
            print(made.message, flush=True)
    """)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        told = [int(process.stdout.readline()) for _ in range(8)]
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout.read().split()]
    bot = Bot.open(shop, tmp_path / "s.db")
    with bot.memory.reads() as c:
        kept = set(c.execute(sa.select(t.MESSAGES.c.id)).scalars())
        rated = set(c.execute(sa.select(t.FEEDBACK.c.message)).scalars())
    assert set(told) <= kept
    assert set(told) <= rated
    assert bot.reply("hello", "u").text


def test_the_report_counts_clusters_and_redacts(bot):
    for k in range(3):
        bot.reply(f"can you teach me to knit a jumper number {k}?", f"u{k}")
    bot.reply("please knit a jumper for ann@example.com", "u4")
    made = bot.reply("when are you open", "u5")
    rate(bot.memory, made.message, "u5", 1)
    with pytest.raises(DataError):
        rate(bot.memory, made.message, "somebody else", 1)
    found = report(bot.memory)
    assert found.frequent[0] == ("opening_hours", 1)
    assert found.thumbs_up == 1
    assert found.misunderstood[0].size >= 3
    assert "ann@example.com" not in found.markdown()
    assert found.milliseconds["canned_p95"] > 0
    assert report(bot.memory, since=time.time() + 1, until=time.time() + 2).messages == 0


def test_clusters_of_made_topics():
    topics = [
        "how do I knit a jumper",
        "can I knit a jumper",
        "my cat eats grass",
        "a cat that eats grass",
        "is mars a planet",
    ]
    assert sorted(c.size for c in clusters(topics)) == [1, 2, 2]
    assert "@" not in redacted("I am bo@example.org, 4111 1111 1111 1111")


def test_a_folder_of_something_else_is_told(tmp_path):
    with pytest.raises(DataError) as error:
        Bot.open(tmp_path / "none")
    one_line(error, "bottega chat new")
