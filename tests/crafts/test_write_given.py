"""Texts of texts and labels of texts, by runs of a few steps: what must hold whatever they have learned."""

from __future__ import annotations

import json

import pytest

import bottega
from bottega.cli import main
from bottega.core import BottegaError, DataError, RecipeError
from bottega.crafts.write_answer import Library
from bottega.crafts.write_given import average_lagging, delayed, rewrite, summarise_by, trade_off
from bottega.crafts.write_labels import answer_by, entities, sentiment
from bottega.crafts.write_summary import invented
from bottega.data import worlds
from recipes import write_recipe

SENTENCES = [item.cond for item in worlds.load("translation", n=6).items]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A translator and three readers that have hardly learned anything."""
    here = tmp_path_factory.mktemp("texts")
    pairs = {"name": "text", "vocab": 300, "unit": "item", "given": "source", "length": 48, "given_length": 48}
    made = {}
    for name, family, codec in (
        ("translation", "seq2seq", pairs),
        ("reviews", "reader", {"name": "labelled", "kind": "class", "vocab": 300, "length": 64, "long": "cut"}),
        ("names", "reader", {"name": "labelled", "kind": "tags", "vocab": 300, "length": 48, "long": "cut"}),
        ("questions", "reader", {"name": "labelled", "kind": "span", "vocab": 300, "length": 96, "long": "window"}),
    ):
        data, own = {"name": name, "n": 120}, None
        if name == "reviews":  # the world has classes beside texts; a table of them is read as labels
            own = here / "reviews.csv"
            lines = [f"{item.value},{item.cond}" for item in worlds.load(name, n=120).items if "," not in item.value]
            own.write_text("\n".join(["text,label", *lines]))
            data = {}
        path = write_recipe(here, family, name=name, size=2, data=data, codec=codec, steps=6, batch=8)
        made[name] = bottega.train(path, own, out=here / name, judge=False)
    return made


def test_texts_alone_and_together_are_the_same(runs):
    run = runs["translation"]
    together = rewrite(run, SENTENCES)
    assert together == [rewrite(run, [one])[0] for one in SENTENCES]


def test_waiting_for_all_is_the_whole_sentence_at_once(runs):
    """Greedy word by word, when all of the source was read first, is greedy decoding."""
    run = runs["translation"]
    for text, whole in zip(SENTENCES[:3], rewrite(run, SENTENCES[:3]), strict=True):
        said = delayed(run, text, k=100)
        assert said.text.split() == whole.split()
        assert said.read == [len(text.split())] * len(said.read)


def test_a_word_is_written_for_each_that_is_read(runs):
    text = SENTENCES[0]
    n = len(text.split())
    said = delayed(runs["translation"], text, k=2)
    assert said.read == sorted(said.read)
    assert all(g >= min(2 + t, n) for t, g in enumerate(said.read))
    assert len(said.seconds) == len(said.text.split()) or not said.text
    assert said.lagging == average_lagging(said.read, n)


def test_lagging_of_an_ideal_wait():
    assert average_lagging([1, 2, 3, 4], 4) == 1.0
    assert average_lagging([3, 4, 4, 4], 4) == 3.0
    assert average_lagging([], 4) == 0.0


def test_quality_beside_delay(runs):
    pytest.importorskip("sacrebleu")
    pairs = [(item.cond, item.value) for item in worlds.load("translation", n=3).items]
    rows = trade_off(runs["translation"], pairs, ks=(1,))
    assert [row["k"] for row in rows] == [0, 1]
    assert all(0 <= row["bleu"] <= 100 and row["seconds_a_word"] >= 0 for row in rows)


def test_what_a_summary_invents_is_told(runs):
    for source, said in zip(SENTENCES[:2], summarise_by(runs["translation"], SENTENCES[:2], tries=3), strict=True):
        assert said.invented == invented(source, said.text)
        assert 1 <= said.tried <= 3
        assert said.tried == 3 or not said.invented


def test_classes_have_shares_that_add_up(runs):
    found = sentiment(runs["reviews"], ["The food was great.", "The room was awful and loud."])
    for one in found:
        assert sum(one.shares.values()) == pytest.approx(1, abs=1e-5)
        assert one.probability == max(one.shares.values()) == one.shares[one.label]


def test_names_are_cut_from_the_text_itself(runs):
    texts = ["Rarora Bank opened an office in Palstad.", "  Élise met Dorek."]
    for text, some in zip(texts, entities(runs["names"], texts), strict=True):
        for one in some:
            assert text[one.start : one.end] == one.text == one.text.strip() != ""


def test_a_reader_cites_the_place_or_says_why_not(runs):
    text = "# Town\n\nDorek keeps a goat. Gerna was born in 1990. A lizard belongs to Gerna."
    library = Library({"town.md": text})
    said = answer_by(runs["questions"], "Which animal does Dorek keep?", library, margin=-1e9)
    assert said.text or said.why  # what has hardly learned anything may point into the question
    assert text[said.start : said.end] == said.text
    none = answer_by(runs["questions"], "Which animal does Dorek keep?", library, margin=1e9)
    assert (none.text, none.source) == ("", "")
    assert none.why


def test_runs_of_another_kind_and_empty_texts_are_refused(runs):
    with pytest.raises(BottegaError, match="makes no text of a text"):
        rewrite(runs["reviews"], ["a"])
    with pytest.raises(BottegaError, match="codec.kind = 'tags'"):
        entities(runs["reviews"], ["a"])
    with pytest.raises(DataError, match="text 2 is empty"):
        rewrite(runs["translation"], ["a", " "])
    with pytest.raises(RecipeError, match="k is 0"):
        delayed(runs["translation"], "a", k=0)
    with pytest.raises(RecipeError, match="tokens"):
        rewrite(runs["translation"], ["word " * 200])


def test_a_summary_by_a_run_and_what_it_invents(runs, capfd, tmp_path, monkeypatch):
    """The status is 2 when a number or name is not in the text, and only then."""
    path = str(runs["translation"].path)
    for source in SENTENCES[:3]:
        (said,) = summarise_by(runs["translation"], [source], tries=2, seed=3)
        asked = ["write", "summarise", source, "--run", path, "--tries", "2", "--seed", "3", "--json"]
        assert main(asked) == (2 if said.invented else 0)
        told = json.loads(capfd.readouterr().out)
        assert (told["text"], told["invented"], told["tried"]) == (said.text, said.invented, said.tried)
    text = "Anna Lind sold 12 boats in Norton. It rained."
    for words, wrong in (("Lind sold 12 boats.", []), ("In May, Lind sold 13 boats.", ["13", "May"])):
        monkeypatch.setattr("bottega.crafts.write_given.rewrite", lambda run, texts, **_: [words] * len(texts))
        asked = ["write", "summarise", text, "--run", path, "--tries", "2", "--out", str(tmp_path / "s.txt")]
        assert main(asked) == (2 if wrong else 0)
        told = capfd.readouterr().err
        assert (tmp_path / "s.txt").read_text() == f"{words}\n", "what was invented is told, not hidden"
        assert [one for one in ("13", "May", "12", "Lind") if f"the text does not have {one}" in told] == wrong


def test_an_answer_by_a_run(runs, capfd, tmp_path, monkeypatch):
    """The reader's span with its place, or no answer and status 3."""
    (tmp_path / "town.md").write_text(
        "# Town\n\nDorek keeps a goat. Gerna was born in 1990. A lizard belongs to Gerna."
    )
    path, question = str(runs["questions"].path), "Which animal does Dorek keep?"
    asked = ["write", "answer", question, "--from", str(tmp_path), "--run", path, "--json"]
    wanted = answer_by(runs["questions"], question, Library.read(tmp_path))
    assert main(asked) == (0 if wanted.text else 3)
    told = json.loads(capfd.readouterr().out)
    assert (told["text"], told["source"], told["start"]) == (wanted.text, wanted.source, wanted.start)
    whole = answer_by
    for margin, status in ((-1e9, 0), (1e9, 3)):
        monkeypatch.setattr("bottega.crafts.write_labels.answer_by", lambda *a: whole(*a, margin=margin))
        sure = whole(runs["questions"], question, Library.read(tmp_path), margin=margin)
        assert main(asked) == (status if sure.text or status else 3)
        told = json.loads(capfd.readouterr().out)
        assert told["text"] == sure.text
        assert told["text"] in (tmp_path / "town.md").read_text()
    assert main(["write", "answer", question, "--from", str(tmp_path), "--run", str(runs["names"].path)]) == 2
    assert "kind" in capfd.readouterr().err


def test_a_file_is_translated_line_by_line_with_beams(runs, capfd, tmp_path):
    run, lines = runs["translation"], SENTENCES[:3]
    (tmp_path / "in.txt").write_text("\n\n".join(lines))
    out = tmp_path / "new" / "out.txt"
    asked = ["write", "translate", str(run.path), str(tmp_path / "in.txt"), "--out", str(out), "--json"]
    for beams in (1, 3):
        assert main([*asked, "--beams", str(beams)]) == 0
        texts = rewrite(run, lines, **({"beams": beams} if beams > 1 else {}))
        assert json.loads(capfd.readouterr().out)["texts"] == texts
        assert out.read_text().rstrip("\n") == "\n".join(texts).rstrip("\n")
        assert json.loads(out.with_name("out.txt.meta.json").read_text())["weights"] == run.weights_hash
    assert main([*asked, "--wait", "2"]) == 0
    told = json.loads(capfd.readouterr().out)["lines"]
    assert [one["text"] for one in told] == [delayed(run, line, k=2).text for line in lines]
    assert out.read_text().rstrip("\n") == "\n".join(one["text"] for one in told).rstrip("\n")
    assert main([*asked, "--beams", "0"]) == 2
    (tmp_path / "in.txt").write_bytes(b"caf\xe9")
    assert main(asked) == 2
    assert "byte 0xe9" in capfd.readouterr().err


def test_the_commands(runs, capfd):
    assert main(["write", "translate", str(runs["translation"].path), SENTENCES[0], "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["texts"] == rewrite(runs["translation"], SENTENCES[:1])
    assert main(["write", "translate", str(runs["translation"].path), SENTENCES[0], "--wait", "2", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["lines"][0]["read"][:1] in ([2], [3], [4], [5], [6], [])
    assert main(["write", "translate", str(runs["translation"].path), "a", "--wait", "2", "--beams", "3"]) == 2
    assert main(["write", "sentiment", str(runs["reviews"].path), "The food was great."]) == 0
    assert main(["write", "entities", str(runs["names"].path), "Rarora Bank.", "--json"]) == 0
    assert main(["write", "sentiment", str(runs["reviews"].path), ""]) == 2
    assert "the text is empty" in capfd.readouterr().err
