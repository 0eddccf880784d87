"""Rows M6, M7, O10: a retrained model speaks beside the old one, users' thumbs decide, and every step is in the signed log."""

from __future__ import annotations

import json
import shutil

import pytest

pytest.importorskip("fastapi")
from starlette.testclient import TestClient

import bottega
from bottega.cli import main
from bottega.core import BottegaError
from bottega.crafts import chat_feedback as feedback
from bottega.crafts._chat_world import conversations
from bottega.crafts.chat import Bot
from bottega.crafts.chat_folder import read_folder
from bottega.serve.app import create_app
from bottega.serve.audit import read, verify
from bottega.serve.keys import Keys
from bottega.serve.settings import Settings
from bottega.serve.signing import server_key
from bottega.serve.state import open_state
from helpers import bot_of


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    here = tmp_path_factory.mktemp("models")
    (here / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in conversations(40)))
    small = {"codec.vocab": 280, "codec.length": 64, "family.size": 1, "train.steps": 2, "train.batch": 4}
    for k, name in enumerate(("old", "new")):
        told = {**small, "train.patience": 0, "train.seed": k}
        bottega.train("chat", data=here / "log.jsonl", out=here / name, set=told, judge=False)
    return here


@pytest.fixture
def shop(models, tmp_path):
    made = bot_of(tmp_path / "shop", models / "old", 3)
    shutil.copytree(models / "new", made / ".bot" / "models" / "1")
    return made


def test_thumbs_decide_which_model_speaks(shop, tmp_path):
    state = open_state(tmp_path / "serve.sqlite")
    keys = {role: Keys(state).add(role, role).key for role in ("maker", "trainer")}
    app = create_app(Settings(bot=shop, home=tmp_path, warm=False, filters="off", per_minute=0))

    with TestClient(app, base_url="http://127.0.0.1") as client:

        def ask(method, path, role="trainer", status=200, user="", **body):
            headers = {"authorization": f"Bearer {keys[role]}", "x-bottega-user": user}
            said = client.request(method, path, json=body or None, headers=headers)
            assert said.status_code == status, said.text
            return said.json()

        def talked(n):
            """Conversations of two turns; of each its user and its generated answers."""
            for k in range(n):
                chat = ask("POST", "/v1/chats", "maker", 201, f"u{k}")["id"]
                for text in ("Where is the soap?", "And the tea?"):
                    ask("POST", f"/v1/chats/{chat}/messages", "maker", user=f"u{k}", text=text)
                said = ask("GET", f"/v1/chats/{chat}/messages", "maker", user=f"u{k}")["data"]
                yield f"u{k}", [row for row in said if row["route"] == "generated"]

        old = ask("GET", "/v1/chats/versions")["speaks"]
        ask("POST", "/v1/chats/trial", "maker", 403, model="1")
        ask("POST", "/v1/chats/trial", status=404, model="9")
        ask("POST", "/v1/chats/trial", status=400, model="../1")
        ask("POST", "/v1/chats/trial", status=400, model="1", share=1)
        ask("POST", "/v1/chats/trial/promote", status=409)
        new = ask("POST", "/v1/chats/trial", status=201, model="1", share=0.5)["weights"][:16]
        assert new != old
        assert "may be no better" in ask("POST", "/v1/chats/trial/promote", status=409)["error"]["message"]

        spoke = []
        for user, answers in talked(24):
            versions = {row["version"] for row in answers}
            assert len(versions) <= 1  # a conversation has one model
            spoke += versions
            for row in answers:
                thumb = 1 if row["version"] == new else -1
                ask("POST", f"/v1/messages/{row['id']}/feedback", "maker", user=user, thumb=thumb)
        assert set(spoke) == {old, new}
        trial = ask("GET", "/v1/chats/versions")["trial"]
        assert (trial["new"]["up"], trial["new"]["down"]) == (spoke.count(new), 0)
        assert (trial["old"]["up"], trial["old"]["down"]) == (0, spoke.count(old))
        assert trial["new"]["low"] < trial["new"]["rate"] == 1.0
        assert trial["win"]["rate"] == 1.0
        assert trial["win"]["n"] == min(spoke.count(new), spoke.count(old))

        made = ask("POST", "/v1/chats/trial/promote")
        assert made["weights"][:16] == new
        now = ask("GET", "/v1/chats/versions")
        assert (now["speaks"], now["trial"]) == (new, None)
        assert {row["version"] for _, answers in talked(4) for row in answers} == {new}
        ask("POST", "/v1/chats/rollback")
        assert ask("GET", "/v1/chats/versions")["speaks"] == old
        ask("POST", "/v1/chats/rollback", status=409)
        ask("POST", "/v1/chats/trial", status=201, model="1", share=0.1)
        ask("POST", "/v1/chats/trial/drop")
        ask("POST", "/v1/chats/trial/drop", status=409)

        ask("POST", "/chat", "maker", user="eve", message="I want to die")
        (waits,) = ask("GET", "/v1/handoffs")["data"]
        ask("POST", f"/v1/handoffs/{waits['id']}/take")

    log = tmp_path / "audit.jsonl"
    assert verify(log, server_key(state, "audit").public_key()).problems == []
    lines = list(read(log))
    steps = {line["event"]: line for line in lines}
    assert {"bot", "model on trial", "model promoted", "model rolled back", "model dropped", "hand-off taken"} <= set(
        steps
    )
    assert steps["model promoted"]["weights"][:16] == new
    assert steps["model promoted"]["win"]["rate"] == 1.0
    assert steps["model promoted"]["by"] == steps["hand-off taken"]["by"] == "key:trainer"
    record = {line["hash"] for line in feedback.history(read_folder(shop))}
    assert steps["model promoted"]["record"] in record


def test_a_trial_by_the_command_line_holds_over_a_restart(shop, models, capsys):
    assert main(["chat", "trial", str(shop)]) == 2
    assert "nothing is on trial" in capsys.readouterr().err
    assert main(["chat", "trial", str(shop), str(models / "old")]) == 2
    assert "speaks already" in capsys.readouterr().err
    assert main(["chat", "trial", str(shop), str(models / "new"), "--share", "0"]) == 2
    assert main(["chat", "trial", str(shop), str(models / "new"), "--share", "0.25"]) == 0
    bot = Bot.open(shop)
    assert bot.challenger[1] == 0.25
    assert bot.versions[1] == bot.challenger[0].version != bot.versions[0]
    capsys.readouterr()
    assert main(["chat", "trial", str(shop), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["trial"]["win"]["n"] == 0
    assert main(["chat", "trial", str(shop), "--promote"]) == 2
    assert "may be no better" in capsys.readouterr().err
    (shop / ".bot" / "trial.json").write_text("{")
    with pytest.raises(BottegaError, match="remove it to end the trial"):
        Bot.open(shop)
    (shop / ".bot" / "trial.json").write_text(json.dumps({"run": str(models / "new"), "weights": "0", "share": 0.5}))
    with pytest.raises(BottegaError, match="other weights"):
        Bot.open(shop)
    assert main(["chat", "trial", str(shop), "--drop"]) == 0
    assert Bot.open(shop).challenger is None
