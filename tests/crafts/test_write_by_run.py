"""Tasks in which a model writes or chooses: by a run that has learned what to say, and by an endpoint that is told to go on."""

from __future__ import annotations

import json
from functools import partial

import pytest

import bottega
from answering import chat, server
from bottega.cli import main
from bottega.core import BottegaError, CheckpointError, RecipeError
from bottega.crafts import write
from bottega.crafts.endpoint import Endpoint
from bottega.crafts.write_article import article
from bottega.crafts.write_poem import check_poem, poem
from bottega.crafts.write_report import chooser, report
from bottega.crafts.write_scene import scene
from bottega.crafts.write_sounds import dictionary
from bottega.crafts.write_table import read_table
from bottega.crafts.write_taglines import Brief, overlap, taglines, why_banned
from recipes import write_recipe

known = pytest.mark.skipif(not dictionary(), reason="needs the pronunciation dictionary of bottega[text]")

COUPLET = "The harbour sleeps beneath a silver moon,\nAnd all the silent sailors whistle soon.\n"
PUMPS = [
    "Heat pump owners pay less for a warm house in most winters.",
    "Heat pump makers say that old radiators are large enough.",
    "Heat pump fans are heard by a neighbour on quiet nights.",
    "Heat pump prices fell when the new factory opened its gates.",
]
BRIEF = Brief(
    "Norrland", "rucksack", ["keep a map dry", "sleep under the stars", "walk one valley further"],
    ["a frame of bamboo", "straps of felt", "a whistle in the buckle"],
    ["hikers: cross the hills", "students: move every year"],
)  # fmt: skip
CSV = "month,visitors\n2026-01,120\n2026-02,180\n2026-03,150\n2026-04,240\n2026-05,210\n2026-06,90\n"


def learned(here, text, name):
    """n-grams of bytes, which say again what they were told."""
    (here / f"{name}.txt").write_text(text)
    recipe = write_recipe(
        here, "ngram", name=name, size=60, data={"name": str(here / f"{name}.txt"), "held": 0.0},
        codec={"name": "text", "tokenizer": "byte", "length": 256}, steps=6, batch=32,
    )  # fmt: skip
    return bottega.train(recipe, data=here / f"{name}.txt", out=here / name, set={"family.order": 7}, judge=False)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "visits.csv"
    path.write_text(CSV)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory, table):
    """Runs that know a couplet, lines for a product, sentences of heat pumps, and one way to tell the table."""
    here = tmp_path_factory.mktemp("told")
    lines = [line.text for line in taglines(BRIEF, n=30, cap=0.6, seed=1).lines]
    told = {"verse": COUPLET * 40, "lines": "\n".join(lines * 3), "pumps": "\n".join(PUMPS * 20)}
    told["report"] = report(read_table(table), seed=1).text * 8
    return {name: learned(here, text, name) for name, text in told.items()}


@pytest.fixture(scope="module")
def mute(tmp_path_factory):
    """It writes one long line of nothing."""
    return learned(tmp_path_factory.mktemp("mute"), "m" * 6000, "mute")


# --- by a run ----------------------------------------------------------------------------------------------------------


@known
def test_a_couplet_by_a_run(runs, mute):
    made = poem("couplet", run=runs["verse"], prompt=COUPLET, tries=32)
    assert made.source == "model"
    assert check_poem(made.text, "couplet").ok
    assert made.lines_tried == 32 > made.lines_kept >= 2
    assert {line.split()[-1].strip(",.") for line in made.text.splitlines()} == {"moon", "soon"}
    with pytest.raises(BottegaError, match="no couplet in 20 lines, of which 0 keep"):
        poem("couplet", run=mute, tries=20)  # a text of no whole line is a try too


@known
def test_a_chooser_orders_the_grammars_lines():
    asked = []

    def last(before, some):
        asked.append(before)
        return sorted(range(len(some)), key=lambda i: some[i], reverse=True)

    a, b = poem("quatrain", seed=3), poem("quatrain", seed=3, choose=last)
    assert check_poem(b.text, "quatrain").ok
    assert a.text != b.text
    assert asked
    assert any(before for before in asked), "it is told what stands before"


def test_lines_for_a_product_by_a_run(runs):
    made = taglines(BRIEF, n=4, cap=0.6, run=runs["lines"], seed=2)
    texts = [line.text for line in made.lines]
    assert len(set(texts)) == 4
    assert {line.source for line in made.lines} == {"model"}
    assert {line.audience for line in made.lines} <= {"hikers", "students"}
    assert all(line.audience in line.text.lower() and line.text[-1] in ".!?" for line in made.lines)
    assert not any(why_banned(text) for text in texts)
    assert max(overlap(a, b, frozenset({"norrland"})) for a in texts for b in texts if a != b) <= 0.6


def test_an_article_by_a_run(runs, mute):
    run = runs["pumps"]
    made = article(["heat pump"], run=run, length=60, density=(1, 60))
    said = [s for s in PUMPS if s in made.text]
    assert len(said) >= 2
    assert made.audit.faults == []
    assert made.sources == [], "a model's sentences have no file"
    assert not any(s in article(["heat pump"], run=run, length=60, density=(1, 60), against={"old": said[0]}).text
                   for s in said[:1])  # fmt: skip
    with pytest.raises(BottegaError, match="no whole sentence"):
        article(["heat pump"], run=mute, length=60)


def test_a_chooser_prefers_what_its_run_was_told(runs, table):
    order = chooser(runs["verse"])
    ways = [COUPLET.splitlines()[1], COUPLET.splitlines()[1][::-1], "And all the violent tailors thistle loon."]
    for turned in (ways, ways[::-1]):
        best = [turned[i] for i in order("The harbour sleeps beneath a silver moon,", turned)]
        assert best[0] == ways[0]
        assert best[-1] == ways[1]
    rows = read_table(table)
    plain, told = report(rows, seed=5), report(rows, seed=1)
    assert plain.text != told.text
    assert report(rows, seed=5, choose=chooser(runs["report"])).text == told.text, (
        "each thing is said as the run was told it"
    )


def test_the_commands_with_a_run(runs, table, tmp_path, capfd):
    path = {name: str(run.path) for name, run in runs.items()}
    assert main(["write", "report", str(table), "--run", path["report"], "--seed", "5", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["text"] == report(read_table(table), seed=1).text
    assert {claim["verdict"] for claim in told["claims"]} == {"proved"}
    brief = ["--kind", "rucksack", *(word for b in BRIEF.benefits for word in ("--benefit", b)),
             *(word for f in BRIEF.features for word in ("--feature", f)),
             *(word for a in BRIEF.audiences for word in ("--audience", a))]  # fmt: skip
    asked = [
        "write",
        "taglines",
        "Norrland",
        *brief,
        "-n",
        "3",
        "--cap",
        "0.6",
        "--run",
        path["lines"],
        "--seed",
        "2",
        "--json",
    ]
    assert main(asked) == 0
    lines = json.loads(capfd.readouterr().out)["lines"]
    assert [line["text"] for line in lines] == [
        line.text for line in taglines(BRIEF, n=3, cap=0.6, run=runs["lines"], seed=2).lines
    ]
    asked = ["write", "article", "heat pump", "--run", path["pumps"], "--words", "60", "--density", "1-60", "--out"]
    assert main([*asked, str(tmp_path / "a.md")]) == 0
    assert (tmp_path / "a.md").read_text() == article(["heat pump"], run=runs["pumps"], length=60, density=(1, 60)).text
    assert json.loads((tmp_path / "a.md.meta.json").read_text())["made_from"] == path["pumps"]
    if dictionary():
        capfd.readouterr()
        assert (
            main(["write", "poem", "couplet", "--run", path["verse"], "--prompt", COUPLET, "--tries", "32", "--json"])
            == 0
        )
        assert json.loads(capfd.readouterr().out)["source"] == "model"
        assert main(["write", "poem", "couplet", "--choose", path["verse"], "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["source"] == "grammar"


# --- by an endpoint ----------------------------------------------------------------------------------------------------


@pytest.fixture
def nobody(monkeypatch):
    pytest.importorskip("openai", reason="needs the extra text")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_a_model_that_is_spoken_to_is_told_to_go_on(nobody):
    begun = "The harbour sleeps"
    with server(chat("beneath a moon."), chat(f"{begun}, and so do I."), chat(", too.")) as at:
        model = Endpoint(at.url, "m")
        said = [write.go_on(model, begun)[0].text for _ in range(3)]
        assert said == [" beneath a moon.", ", and so do I.", ", too."]
        system, user = at.seen[0][1]["messages"]
        assert (system["role"], system["content"], user["content"]) == ("system", write.GO_ON, begun)
        with server(chat("Line one\nLine two")) as again:
            assert write.go_on(Endpoint(again.url, "m"), "Line one\n")[0].text == "Line two"
        write.go_on(model, "", ask="Write verse.")
        assert at.seen[-1][1]["messages"] == [{"role": "user", "content": "Write verse."}]


@pytest.mark.parametrize(
    ("begun", "said", "rest"),
    [("It rains ", "It rains and pours.", "and pours."), ("It rains ", "It rains, and", ", and"),
     ("One\n", "One\n\nTwo", "\nTwo"), ("One\n\n", "One\nTwo", "Two"), (" One \n", "One\nTwo", "Two"), ("One", "One\nTwo", "\nTwo")],
)  # fmt: skip
def test_white_space_at_the_end_of_a_beginning_is_not_said_again(begun, said, rest):
    assert write._behind(begun, said) == rest


def test_tokens_that_no_longer_spell_a_text_are_left_out(nobody):
    def told(*words):
        content = [{"token": w, "logprob": -1.0, "bytes": None, "top_logprobs": []} for w in words]
        status, answer = chat("".join(words))
        answer["choices"][0]["logprobs"] = {"content": content}
        return status, answer

    with server(told("It", " rains", ", too"), told(" too")) as at:
        cut, whole = (write.go_on(Endpoint(at.url, "m"), "It rains", logprobs=0)[0] for _ in range(2))
    assert (cut.text, cut.tokens, cut.logprobs, cut.likeliest) == (", too", [], [], [])
    assert (whole.text, whole.tokens, whole.logprobs) == (" too", [" too"], [-1.0])


def test_tasks_by_an_endpoint(nobody, tmp_path, capfd, table):
    """What comes back passes the same checks; what does not is not used."""
    with server(chat("cross the hills and keep a map dry. We promise.")) as at:
        made = taglines(BRIEF, n=2, cap=1.0, run=Endpoint(at.url, "m"))
        assert all(line.text.endswith("keep a map dry.") and line.source == "model" for line in made.lines)
    with server(chat("owners pay less for a warm house in winter. They are quiet. It hums.")) as at:
        asked = ["write", "article", "heat pump", "--run", at.url, "--model", "m", "--density", "1-60", "--json"]
        assert main([*asked, "--words", "50"]) == 0
        told = json.loads(capfd.readouterr().out)
        assert "Heat pump owners pay less for a warm house in winter." in told["text"]
        assert at.seen[0][1]["n"] == 6
    speeches = [f"It rains in {place} and nobody {does} the {thing}." for place in ("town", "bed", "spring", "winter")
                for does, thing in (("sees", "door"), ("mends", "roof"), ("owns", "boat"), ("sells", "bread"))]  # fmt: skip
    with server(chat("(laughs) No!"), *(chat(f"{s}\n\nMORE\nAnd so on") for s in speeches)) as at:
        made = scene("screenplay", run=Endpoint(at.url, "m"), seed=1, topic="train")
        assert made.source == "model"
        assert made.lines_tried == made.lines_kept + 1, "what is in no form of a speech is not used"
        assert speeches[0] in made.text
        assert "MORE" not in made.text
        assert all("regex" not in body for _, body, _ in at.seen)
    with server(chat("and the sun.")) as at:
        draft = tmp_path / "draft.txt"
        draft.write_text("The north wind")
        asked = ["write", "continue", at.url, str(draft), "--model", "m", "--out", str(tmp_path / "new"), "--json"]
        assert main([*asked, "--seed", "4"]) == 0
        told = json.loads(capfd.readouterr().out)
        assert (told["texts"], told["finish"], told["endpoint"]) == ([" and the sun."], ["stop"], at.url)
        assert (tmp_path / "new" / "draft-4.txt").read_text() == "The north wind and the sun.\n"
        note = json.loads((tmp_path / "new" / "draft-4.txt.meta.json").read_text())
        assert (note["endpoint"], note["model"], note["machine_made"]) == (at.url, "m", "true")
    if dictionary():
        with server(chat(COUPLET)) as at:
            made = poem("couplet", run=Endpoint(at.url, "m"), tries=8)
            assert sorted(made.text.splitlines()) == sorted(COUPLET.splitlines())
            assert "two lines" in at.seen[0][1]["messages"][0]["content"]
        prose = server(chat("No verse is this at all.\nNor is that."))
        with prose as at, pytest.raises(BottegaError, match="no couplet in 400 lines"):  # each may cost
            poem("couplet", run=Endpoint(at.url, "m"))


def test_what_needs_the_model_itself_says_so(nobody, table, tmp_path, capfd):
    url = "http://127.0.0.1:9/v1"
    for asked in (["report", str(table), "--run", url], ["poem", "couplet", "--choose", url], ["translate", url, "Hello."],
                  ["summarise", "One a. Two b.", "--run", url], ["fill", url, "a [...] b"], ["sentiment", url, "Good."]):  # fmt: skip
        assert main(["write", *asked]) == 2, asked
        told = capfd.readouterr().err
        assert "is an address; here the model itself is needed" in told, (asked, told)
    with pytest.raises(CheckpointError, match="is an address"):
        bottega.load(url)
    model = Endpoint(url, "m")
    for name, value in (("regex", "a+"), ("grammar", 'start: "a"'), ("choices", ["a"]), ("draft", "x"), ("cond", "1")):
        for way in (
            write.generate,
            partial(write.complete, prompts=["x"]),
            lambda run, **k: list(write.stream(run, **k)),
        ):
            with pytest.raises(BottegaError, match=f"leave out {name}"):
                way(model, **{name: value})
    for option in ("regex", "choice", "draft", "grammar"):
        (tmp_path / "a").write_text("x")
        assert main(["write", "generate", url, "x", "--model", "m", f"--{option}", str(tmp_path / "a")]) == 2
        assert f"--{option}" in capfd.readouterr().err
    for way in (write.generate, lambda run, **k: list(write.stream(run, **k))):
        with pytest.raises(RecipeError, match="long is 'slid'; use 'error' or 'slide'"):
            way(model, long="slid")
    (tmp_path / "d.txt").write_text("x")
    for asked in (["poem", "couplet"], ["scene"], ["article", "a"]):
        assert main(["write", *asked, "--run", "runs/none", "--model", "m"]) == 2
        assert "leave out --model" in capfd.readouterr().err
    assert main(["write", "continue", url, str(tmp_path / "d.txt")]) == 2
    assert "name it with --model" in capfd.readouterr().err
