"""The studio without a browser: what it tells of run folders, and what it refuses."""

from __future__ import annotations

import base64
import io
import json
import re
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
import torch
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from PIL import Image

import bottega
from bottega.core import BottegaError, RecipeError
from bottega.serve import _studio_runs as shelf
from bottega.serve import studio
from bottega.serve._studio_look import mixed, plane_of
from bottega.serve._studio_training import Trainings
from bottega.serve.app import create_app
from bottega.serve.models import Models
from bottega.serve.roles import Caller
from bottega.serve.settings import Settings
from recipes import write_recipe
from studio_runs import damage, make_pairs, measured


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A VAE on a ring, measured; one that was begun, one damaged, and a file that is no run's."""
    here = tmp_path_factory.mktemp("runs")
    bottega.train(write_recipe(tmp_path_factory.mktemp("recipes"), "vae"), out=here / "ring", judge=False)
    measured(here / "ring")
    damage(here)
    (here / "begun").mkdir()
    (here / "begun" / "recipe.toml").write_text('about = "begun"\n[train]\nsteps = 100\n')
    (here / "secret.txt").write_text("secret")
    (here / "notes").mkdir()
    return here


@pytest.fixture
def client(runs: Path, tmp_path: Path):
    with TestClient(
        create_app(Settings(folder=runs, home=tmp_path, warm=False, device="cpu", threads=1)),
        client=("127.0.0.1", 50000),
    ) as made:
        yield made


def _as(runs: Path, role: str) -> TestClient:
    """The studio alone, asked by somebody of a role."""
    app = FastAPI()

    @app.middleware("http")
    async def who(request: Request, go):
        request.state.caller = Caller("ada", role)
        return await go(request)

    settings = Settings(folder=runs, warm=False)
    app.include_router(studio.router(Models(settings), settings))
    return TestClient(app)


def test_a_damaged_run_is_shown_as_damaged_and_breaks_nothing(client) -> None:
    told = {run["name"]: run for run in client.get("/studio/api/runs").json()["runs"]}
    assert set(told) == {"ring", "broken", "begun"}
    assert told["broken"]["state"] == "damaged"
    assert "truncated" in told["broken"]["wrong"]
    assert "/" not in told["broken"]["wrong"]  # where runs lie is not told
    assert told["begun"]["state"] == "begun"
    assert told["ring"]["state"] == "finished"
    assert (
        told["ring"]["measures"][0].items()
        >= {"value": 0.87, "low": 0.81, "high": 0.92, "interval": "0.81 to 0.92"}.items()
    )


@pytest.mark.parametrize("break_it", [
    ("evidence.json", "{"), ("evidence.json", '{"version": 99}'), ("evidence.json", "[]"), ("recipe.toml", "\xff["), ("model.safetensors", "x" * 40),
    ("model.safetensors", ""), ("log.jsonl", "not json\n[]\n{\n"),
])  # fmt: skip
def test_no_damage_raises(tmp_path: Path, runs: Path, break_it: tuple[str, str]) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(runs / "ring", run)
    (run / break_it[0]).write_text(break_it[1], encoding="latin-1")
    told = shelf.tell("run", run, whole=True)
    json.dumps(told, allow_nan=False)
    assert told["state"] == ("finished" if break_it[0] == "log.jsonl" else "damaged")
    assert shelf.Tail(run / "log.jsonl").read()[0] == [] or break_it[0] != "log.jsonl"


@pytest.mark.parametrize(
    "name", ["..", "../secret.txt", "..%2f..%2fetc", "%2e%2e", "/etc", "notes", "r" * 5000, "ring%00", "~"]
)
def test_names_do_not_lead_out_of_the_folder(client, name: str) -> None:
    for place in ("", "/log", "/events", "/columns", "/samples/sheet.png"):
        assert client.get(f"/studio/api/runs/{name}{place}").status_code in {404, 307}
    for what in ("stop", "resume"):
        assert client.post(f"/studio/api/runs/{name}/{what}").status_code in {404, 405}


@pytest.mark.parametrize(
    "file",
    [
        "../model.safetensors",
        "..%2fmodel.safetensors",
        "%2e%2e%2frecipe.toml",
        "recipe.toml",
        "sheet.png%00",
        "link.png",
    ],
)
def test_only_samples_are_handed_out(client, runs: Path, file: str) -> None:
    link = runs / "ring" / "samples" / "link.png"
    if not link.is_symlink():
        link.symlink_to(runs / "secret.txt")
    assert client.get(f"/studio/api/runs/ring/samples/{file}").status_code == 404
    assert client.get("/studio/api/runs/ring/samples/sheet.png").content[:4] == b"\x89PNG"


@pytest.mark.parametrize("file", ["../studio.py", "..%2fstudio.py", "%2e%2e%2froles.py", "nothing.js", "vendor"])
def test_the_shell_hands_out_only_its_own_files(client, file: str) -> None:
    assert client.get(f"/studio/{file}").status_code == 404


def test_the_shell_keeps_to_itself(client) -> None:
    page = client.get("/studio")
    policy = page.headers["content-security-policy"]
    script = next(part for part in policy.split(";") if "script-src" in part)
    assert script.split() == ["script-src", "'self'"]
    assert "default-src 'none'" in policy
    assert "onclick=" not in page.text
    assert re.findall(r"<script(?![^>]*src=)", page.text) == []
    for path in studio.PAGE.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, path
        assert "https://" not in text, path
        assert client.get(f"/studio/{path.name}").headers["x-content-type-options"] == "nosniff"
    assert client.get("/studio/vendor/plotly.min.js").headers["content-type"].startswith("text/javascript")


def test_the_log_is_followed_from_where_it_was_left(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    tail = shelf.Tail(log)
    assert tail.read() == ([], False)
    log.write_text('{"step": 1, "rec": 2.0}\n{"step": 2, "rec": NaN}\nbroken\n{"step": 3')
    assert tail.read() == ([{"step": 1, "rec": 2.0}, {"step": 2, "rec": None}], False)
    with log.open("a") as file:
        file.write(', "rec": 1.0}\n')
    assert tail.read() == ([{"step": 3, "rec": 1.0}], False)
    assert tail.read() == ([], False)
    log.write_text('{"step": 1, "rec": 2.0}\n')  # cut back to a checkpoint
    assert tail.read() == ([{"step": 1, "rec": 2.0}], True)


def test_events_of_a_finished_run_end(client) -> None:
    text = client.get("/studio/api/runs/ring/events").text
    kinds = re.findall(r"^event: (\w+)$", text, re.M)
    assert kinds[0] == "rows"
    assert kinds[-2:] == ["state", "end"]
    at = int(re.findall(r"^id: (\d+)$", text, re.M)[-1])
    assert at == client.get("/studio/api/runs/ring/log").json()["at"]
    assert "event: rows" not in client.get(f"/studio/api/runs/ring/events?after={at}").text


def test_time_left() -> None:
    rows = [{"step": 100 * i, "seconds": 2.0 * i} for i in range(1, 6)]
    assert shelf.left(rows, 1000) == (50.0, 10.0)


def test_the_plane_has_its_corners_and_keeps_to_the_sphere(runs: Path) -> None:
    z = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    got = mixed(z, [(0, 0), (1, 0), (0, 1), (0.5, 0.5)])
    torch.testing.assert_close(got[:3], z)
    lengths = z.norm(dim=1)
    torch.testing.assert_close(got[3].norm(), (lengths[1] + lengths[2]) / 2)
    run = bottega.load(runs / "ring", device="cpu")
    alone = plane_of(run, [1, 2, 3], [[0.3, 0.6]])[0]
    among = plane_of(run, [1, 2, 3], [[0, 0], [0.3, 0.6]])[1]
    torch.testing.assert_close(torch.as_tensor(alone.value), torch.as_tensor(among.value))


def test_the_plane_over_http(client) -> None:
    got = client.post("/studio/api/plane", json={"model": "ring", "seeds": [0, 1, 2], "at": [[0, 0], [0.5, 0.5]]})
    assert got.status_code == 200, got.text
    assert len(got.json()["pieces"]) == 2
    assert got.json()["pieces"][0]["provenance"]["model_sha256"]
    for wrong in (
        {"seeds": [1, 2]},
        {"at": []},
        {"at": [[1]]},
        {"at": [[9, 0]]},
        {"model": "nothing"},
        {"seeds": ["a", 1, 2]},
        {"condition": "7"},
    ):
        said = client.post("/studio/api/plane", json={"model": "ring", "seeds": [0, 1, 2], "at": [[0, 0]]} | wrong)
        assert said.status_code in {400, 404}, wrong
        assert said.json()["error"]["message"]


def test_what_was_trained_since_is_served(client, runs: Path) -> None:
    import shutil

    shutil.copytree(runs / "ring", runs / "later")
    try:
        assert client.get("/studio/api/me").status_code == 200
        assert "later" in [m["id"] for m in client.get("/v1/models").json()["data"]]
        assert client.post("/v1/pieces", json={"model": "later"}).status_code == 200
    finally:
        shutil.rmtree(runs / "later")


def test_roles(runs: Path) -> None:
    viewer, maker, trainer = (_as(runs, role) for role in ("viewer", "maker", "trainer"))
    plane = {"model": "ring", "seeds": [0, 1, 2], "at": [[0, 0]]}
    begin = {"recipe": "nothing", "name": "x"}
    assert viewer.get("/studio/api/runs").status_code == 200
    assert viewer.post("/studio/api/plane", json=plane).status_code == 403
    assert maker.post("/studio/api/trainings", json=begin).status_code == 403
    assert maker.post("/studio/api/runs/ring/resume").status_code == 403
    assert trainer.post("/studio/api/trainings", json=begin).status_code == 400
    assert trainer.get("/studio/api/me").json()["here"] is False


def test_every_endpoint_but_the_shell_names_its_permission(runs: Path) -> None:
    settings = Settings(folder=runs, warm=False)
    open_ = []
    for route in studio.router(Models(settings), settings).routes:
        named = [d.call for d in route.dependant.dependencies if hasattr(d.call, "permission")]
        if not named:
            open_.append(route.path)
    assert sorted(open_) == ["/studio", "/studio/", "/studio/vendor/plotly.min.js", "/studio/{file}"]


@pytest.mark.parametrize(("asked", "why"), [
    ({"recipe": "ring-vaee"}, "did you mean"), ({"recipe": "../x.toml"}, "no recipe"), ({"recipe": "/etc/passwd"}, "no recipe"), ({"name": "../x"}, "cannot be called"),
    ({"name": "ring"}, "already"), ({"name": ""}, "cannot be called"), ({"set": {"family.sise": 3}}, "family"), ({"set": {"nonsense": 3}}, "nonsense"), ({"steps": 0}, "steps"),
    ({"unknown": 1}, "unknown"),
])  # fmt: skip
def test_a_training_that_cannot_begin_says_why_and_leaves_nothing(client, runs: Path, asked: dict, why: str) -> None:
    before = sorted(p.name for p in runs.iterdir())
    said = client.post("/studio/api/trainings", json={"recipe": "ring-vae", "name": "new"} | asked)
    assert said.status_code in {400, 409}
    assert why in said.json()["error"]["message"]
    assert sorted(p.name for p in runs.iterdir()) == before


def test_files_of_the_server_are_named_only_from_the_server(tmp_path: Path) -> None:
    for told in (
        {"data": "/etc"},
        {"data": "../x"},
        {"settings": {"data.name": "/etc"}},
        {"settings": {"train.start": "/x/y"}},
    ):
        with pytest.raises(RecipeError, match="only from the server"):
            Trainings().start("ring-vae", tmp_path, "new", **told)


@pytest.mark.slow
def test_a_training_is_stopped_with_a_checkpoint_and_goes_on(tmp_path: Path) -> None:
    trainings, run = Trainings(), tmp_path / "new"
    trainings.start(
        "ring-flow", tmp_path, "new", steps=100_000, settings={"data.n": 400, "family.size": 8}, judge=False
    )
    with pytest.raises(BottegaError, match="is being trained"):
        trainings.start("ring-flow", tmp_path, "other")
    until = time.time() + 120
    while len(shelf.Tail(run / "log.jsonl").read()[0]) < 2 and time.time() < until:
        time.sleep(0.2)
    assert shelf.tell("new", run, training=trainings.running(run))["state"] == "training"
    trainings.stop(run)
    trainings.at_work[run.resolve()].wait(60)
    told = shelf.tell("new", run, training=trainings.running(run), whole=True)
    assert told["state"] == "paused"
    assert not trainings.ended_badly(run)
    assert 0 < told["step"] < 100_000
    assert "stopped at step" in told["console"]
    with pytest.raises(BottegaError, match="no training"):
        trainings.stop(run)
    trainings.resume(run)
    assert trainings.running(run)
    trainings.close()
    assert not trainings.running(run)
    assert shelf.tell("new", run)["recipe"] == "ring-flow"  # its name stays, whichever file it went on from


def test_a_finished_run_is_not_trained_again(runs: Path) -> None:
    with pytest.raises(BottegaError, match="trained already"):
        Trainings().resume(runs / "ring")
    with pytest.raises(BottegaError, match="no recipe.toml"):
        Trainings().resume(runs / "notes")


def test_a_run_of_pairs_says_that_it_is_given_a_picture_and_takes_one(tmp_path):
    make_pairs(tmp_path / "shapes")
    app = create_app(Settings(runs=(str(tmp_path / "shapes"),), home=tmp_path / "home", warm=False))
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/v1/models/shapes").json()["given"] == "picture"  # before it is loaded, too
        made = {}
        for shade in (0, 255):
            held = io.BytesIO()
            Image.new("L", (20, 12), shade).save(held, "PNG")
            given = {"data": "data:image/png;base64," + base64.b64encode(held.getvalue()).decode()}
            told = client.post("/v1/pieces", json={"model": "shapes", "seed": 1, "condition": given}).json()["pieces"][
                0
            ]
            assert told["condition"] == "a picture"
            made[shade] = Image.open(io.BytesIO(base64.b64decode(told["data"]))).tobytes()
        assert made[0] != made[255]
        assert client.get("/v1/models/shapes").json()["given"] == "picture"
        wrong = client.post("/v1/pieces", json={"model": "shapes", "condition": {"data": "bm8gcGljdHVyZQ=="}})
        assert (wrong.status_code, "no picture that can be read" in wrong.text) == (400, True)
