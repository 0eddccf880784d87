"""Rows M6 and M7: thumbs become pairs, pairs another model, with a comparison, a record that cannot be changed, and a way back."""

from __future__ import annotations

import json

import pytest

import bottega
from bottega.core import BottegaError, DataError
from bottega.crafts import chat_feedback as craft
from bottega.crafts._chat_world import Shopper, conversations, questions, right
from bottega.crafts.chat import Bot
from bottega.crafts.chat_speaker import RunSpeaker, live
from bottega.workshop.run import load
from helpers import bot_of, one_line


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    here = tmp_path_factory.mktemp("base")
    (here / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in conversations(300)))
    small = {
        "codec.vocab": 300,
        "codec.length": 48,
        "family.size": 1,
        "train.steps": 25,
        "train.batch": 16,
        "optim.lr": 3e-3,
        "train.patience": 0,
    }
    bottega.train("chat", data=here / "log.jsonl", out=here / "run", set=small, judge=False)
    return here / "run"


@pytest.fixture
def bot(base, tmp_path):
    return Bot.open(bot_of(tmp_path / "bot", base, 8))


def told(bot, n):
    """Questions with an answer and an edit of it each."""
    for k, question in enumerate(questions()[:n]):
        made = bot.memory.begin(f"u{k}")
        with bot.memory.writes() as c:
            bot.memory.add(c, made.id, 0, "user", question)
            number = bot.memory.add(c, made.id, 0, "bot", "Look it up.", route="generated")
        craft.rate(bot.memory, number, f"u{k}", -1, "Gladly: it is there.")


def test_thumbs_and_edits_become_pairs(bot):
    talk = bot.memory.begin("u")
    said = [
        ("Where?", "Here.", 1, ""),
        ("where", "There!", -1, ""),
        ("Who?", "Me.", -1, "You."),
        ("Why?", "So.", 1, ""),
        ("x", "canned", -1, "y"),
    ]
    for turn, (asked, answer, thumb, edit) in enumerate(said):
        with bot.memory.writes() as c:
            bot.memory.add(c, talk.id, turn, "user", asked)
            number = bot.memory.add(
                c, talk.id, turn, "bot", answer, route="canned" if answer == "canned" else "generated"
            )
        craft.rate(bot.memory, number, "u", thumb, edit)
    pairs, good = craft.preferences(bot.memory)
    assert set(pairs) == {craft.Pair("Where?", "Here.", "There!"), craft.Pair("Who?", "You.", "Me.")}
    assert set(good) == {("Where?", "Here."), ("Who?", "You."), ("Why?", "So.")}
    for bad in (
        (number, "v", 1, ""),
        (number, "u", 0, " "),
        (number, "u", 2, ""),
        (10**9, "u", 1, ""),
        (number, "u", 1, "x" * 4001),
    ):
        with pytest.raises(DataError):
            craft.rate(bot.memory, *bad)


def test_retrained_promoted_and_taken_back(bot, base):
    with pytest.raises(BottegaError) as error:
        craft.retrain(bot.folder, bot.memory)
    one_line(error, "too few")
    told(bot, 24)
    out = craft.retrain(bot.folder, bot.memory, steps=30, lr=1e-3)
    old, new = load(base), load(out)
    assert new.evidence.measures[-2].name == "preferred"
    assert new.header["reward"]["after"]["preferred"][0] >= new.header["reward"]["before"]["preferred"][0]
    assert old.weights_hash != new.weights_hash
    with pytest.raises(BottegaError, match="no better"):
        craft.promote(bot.folder, out, craft.Win.of(52, 100, 0, "x"))
    line = craft.promote(bot.folder, out, craft.Win.of(90, 100, 0, "x"))
    assert line["weights"] == new.weights_hash
    assert Bot.open(bot.folder.path).speaker.version == new.weights_hash[:16]
    back = craft.rollback(bot.folder)
    assert back["weights"] == old.weights_hash
    assert live(bot.folder) == str(base)
    with pytest.raises(BottegaError, match="nothing was promoted"):
        craft.rollback(bot.folder)
    record = bot.folder.state / craft.VERSIONS
    assert [one["what"] for one in craft.history(bot.folder)] == ["retrained", "promoted", "rolled back"]
    lines = record.read_text().splitlines()
    for changed in (
        [lines[0], lines[2]],
        [lines[1], lines[0], lines[2]],
        [lines[0], lines[1].replace("0.9", "1.0"), lines[2]],
        [*lines[:2], "{"],
    ):
        record.write_text("\n".join(changed) + "\n")
        with pytest.raises(DataError):
            craft.history(bot.folder)


def test_a_comparison_is_blind_and_counts_ties(bot, base):
    speaker = RunSpeaker(load(base))
    seen = []

    def first_is_better(prompt, a, b):
        seen.append((a, b))
        return 1.0

    same = craft.compare(speaker, speaker, bot.folder, questions()[:10], first_is_better, judge="x")
    assert (same.rate, same.ties, same.n) == (0.5, 10, 10)

    class Says(RunSpeaker):
        def stream(self, prompt, folder, *, seed=0):
            yield "Gladly"

    drawn = craft.compare(Says(load(base)), speaker, bot.folder, questions()[:40], first_is_better, judge="x")
    assert 0.2 < drawn.rate < 0.8  # who likes whatever comes first likes neither
    shopper = craft.compare(
        Says(load(base)),
        speaker,
        bot.folder,
        questions()[:40],
        lambda p, a, b: float(a == "Gladly") - float(b == "Gladly"),
        judge="x",
    )
    assert shopper.rate == 1.0
    assert shopper.low > 0.9


def test_the_learned_judge_knows_how_good_it_is():
    pairs = [craft.Pair(q, f"Gladly: it is in aisle {k}.", f"Aisle {k}.") for k, q in enumerate(questions()[:60])]
    taste = craft.Taste(pairs)
    assert taste.held > 0.9
    assert taste("q", "Gladly: here.", "Here.") > 0
    noise = craft.Taste([craft.Pair("q", f"{'ab'[k % 2]} {k}", f"{'ba'[k % 2]} {k}") for k in range(60)])
    assert noise.held < 0.8


def test_users_votes_of_two_versions(bot):
    for version, thumbs in (("new", [1, 1, 1, -1]), ("old", [-1, -1, 1, -1])):
        for k, thumb in enumerate(thumbs):
            talk = bot.memory.begin(f"{version}{k}")
            with bot.memory.writes() as c:
                bot.memory.add(c, talk.id, 0, "user", "x")
                number = bot.memory.add(c, talk.id, 0, "bot", "y", route="generated", version=version)
            craft.rate(bot.memory, number, f"{version}{k}", thumb)
    win = craft.live_win(bot.memory, "new", "old")
    assert win.rate == (3 * 3 + 0.5 * 3 * 1 + 0.5 * 1 * 3) / 16
    assert win.n == 4
    assert craft.live_win(bot.memory, "new", "none").n == 0


def test_the_made_shopper():
    assert right("Where is the soap?", "It is in aisle one.")
    assert not right("Where is the soap?", "In aisle two.")
    assert Shopper.prefers("I need soap.", "Gladly: you find it in aisle one.", "Aisle one.") > 0
    unsure = Shopper(0.5)
    assert abs(sum(unsure.thumb("I need soap.", "Aisle one.") for _ in range(400))) < 80
