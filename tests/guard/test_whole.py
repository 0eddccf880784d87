"""The guard before the whole server: every endpoint names its permission or is public; fuzz."""

from __future__ import annotations

import os

import pytest
from starlette.testclient import TestClient

import bottega
from bottega.crafts.chat_scripts import new
from bottega.serve.gate import is_public
from bottega.serve.keys import Keys
from bottega.serve.roles import PERMISSIONS
from bottega.serve.state import open_state
from fuzzing import fuzz
from guarded_app import endpoints
from recipes import write_recipe

app_of = pytest.importorskip("bottega.serve.app")
settings_of = pytest.importorskip("bottega.serve.settings")


@pytest.fixture
def whole(tmp_path):
    keys = Keys(open_state(tmp_path / "serve.sqlite"))
    made = {role: keys.add(role, role).key for role in PERMISSIONS}
    app = app_of.create_app(settings_of.Settings(home=tmp_path, warm=False))
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield app, client, made


def test_every_endpoint_names_a_permission_or_is_public_and_keeps_it(whole):
    app, client, keys = whole
    marks = [(m, p, permission) for m, p, permission in endpoints(app) if m != "MOUNT"]
    assert {(m, p) for m, p, permission in marks if permission is None and not is_public(p)} == set()
    assert len(marks) > 40
    for method, path, permission in marks:
        if permission is None or "/studio" in path and "{" in path:
            continue
        filled = path
        while "{" in filled:
            filled = filled[: filled.index("{")] + "nothing" + filled[filled.index("}") + 1 :]
        if path != "/metrics":
            assert client.request(method, filled).status_code == 401, path
        for role, key in keys.items():
            told = client.request(method, filled, headers={"authorization": f"Bearer {key}"})
            assert (told.status_code not in (401, 403)) == (permission in PERMISSIONS[role]), (
                role,
                method,
                path,
                told.text,
            )
            assert told.status_code < 500, (method, path, told.text)


@pytest.mark.slow
def test_ten_thousand_requests_to_the_whole_server(tmp_path):
    """Two runs of seconds, points and texts, and a bot; whatever the document allows and much that it does not."""
    new(tmp_path / "shop")
    (tmp_path / "fox.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 60)
    text = {"name": "text", "tokenizer": "bpe", "vocab": 280, "length": 32}
    ring = bottega.train(write_recipe(tmp_path, "vae"), out=tmp_path / "ring", judge=False).path
    recipe = write_recipe(tmp_path, "gpt", data={"name": "fox", "held": 0.0}, codec=text, size=1)
    fox = bottega.train(recipe, str(tmp_path / "fox.txt"), tmp_path / "fox", judge=False).path
    key = Keys(open_state(tmp_path / "serve.sqlite")).add("the-fuzzer", "admin", per_minute=1_000_000_000).key
    app = app_of.create_app(
        settings_of.Settings(runs=(str(ring), str(fox)), home=tmp_path, deadline=20.0, max_n=4, bot=tmp_path / "shop")
    )
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        client.headers["authorization"] = f"Bearer {key}"
        count = len([e for e in endpoints(app) if e[0] != "MOUNT"])
        statuses = fuzz(app, client, max(2, int(os.environ.get("BOTTEGA_FUZZ", "11000")) // count))
    assert statuses[200] > 0
