"""Articles and summaries: what was asked is measured on what comes out, and planted faults are found."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bottega.cli import main
from bottega.core import BottegaError, DataError, RecipeError
from bottega.crafts.write_article import article, audit, folder_texts
from bottega.crafts.write_summary import (
    KEEP,
    METHODS,
    choose,
    invented,
    placed,
    read_pairs,
    score,
    split,
    summarise,
    teach,
    words,
)
from bottega.data import builtin
from bottega.data._draw import Draw


@pytest.fixture(scope="module")
def pages():
    return {item.name: item.value for item in builtin.load("english").items}


@pytest.fixture(scope="module")
def folder(pages, tmp_path_factory):
    place = tmp_path_factory.mktemp("pages")
    for name, text in list(pages.items())[:60]:
        (place / f"{name.replace('/', '-')}.txt").write_text(text)
    return place


# --- summaries -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ratio", [0.05, 0.2, 0.5])
def test_a_summary_is_sentences_of_the_text_within_the_ratio(method, ratio, pages):
    for text in [t for t in pages.values() if len(split(t)) > 20][:4]:
        made = summarise(text, ratio=ratio, method=method)
        parts = split(text)
        assert made.text == " ".join(parts[i] for i in sorted(made.chosen))
        assert made.ratio <= ratio
        assert made.ratio == len(words(made.text)) / sum(len(words(p)) for p in parts)
        assert made.ratio > ratio / 3 or method == "lead"


def test_the_sentence_that_others_resemble_is_chosen():
    text = (
        "The harbour of Norton froze in January. Ships could not leave the frozen harbour of Norton for weeks. My aunt likes tea. "
        "Merchants of Norton lost money while the harbour was frozen and ships waited. Bells rang."
    )
    for method in ("textrank", "centroid"):
        assert "harbour" in summarise(text, ratio=0.4, method=method).text
        assert "aunt" not in summarise(text, ratio=0.6, method=method).text
    assert summarise(text, ratio=0.2, method="lead").chosen == [0]


def test_so_many_sentences_stay_as_are_asked_for():
    text = "The harbour of Norton froze. My aunt likes tea. Ships left the harbour of Norton late. Bells rang."
    made = summarise(text, most=2)
    assert made.chosen == [0, 2]
    assert (
        choose(split(text), lambda parts: np.array([0, 1, 0, 2]), most=2, name="own").text
        == "My aunt likes tea. Bells rang."
    )
    assert len(summarise(text, most=9).chosen) == 4
    with pytest.raises(RecipeError, match="sentences is -1"):
        summarise(text, most=-1)


def test_what_people_kept_is_found_in_their_texts():
    pytest.importorskip("rouge_score", reason="needs the extra text")
    parts = [
        "Norton lies in the north.",
        "The harbour froze in January.",
        "Bells rang.",
        "Ships could not leave for weeks.",
    ]
    rows = teach(
        [parts, parts],
        [["In January the harbour froze and ships could not leave."], ["Bells rang all day.", "Nothing."]],
    )
    assert [row["label"] == KEEP for row in rows] == [False, True, False, True, False, False, True, False]
    assert [row["text"] for row in rows[:4]] == placed(parts)
    assert sum(row["label"] == KEEP for row in teach([parts], [[" ".join(parts)]], most=2)) == 2
    assert all(row["label"] != KEEP for row in teach([parts], [["Zebras!"]])), "nothing is like it"
    with pytest.raises(DataError, match="1 texts and 2 summaries"):
        teach([parts], [["a"], ["b"]])


def test_pairs_are_read_from_tables(tmp_path):
    rows = [{"source": ["One a.", "Two b."], "target": ["One.", "Two."]}, {"source": "Only one.", "target": "x"}]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_pairs(tmp_path / "p.jsonl", "source,target") == ([["One a.", "Two b."]], [["One.", "Two."]])
    (tmp_path / "p.csv").write_text('text,summary\n"It rained. It poured.",Rain.\n')
    assert read_pairs(tmp_path / "p.csv", "text,summary") == ([["It rained.", "It poured."]], [["Rain."]])
    for file, columns, error in (("p.csv", "text,sumary", "no column 'sumary'.*summary"), ("p.csv", "text", "name two"),
                                 ("no.csv", "text,summary", "no file of texts"), ("p.txt", "text,summary", "no file of texts")):  # fmt: skip
        with pytest.raises(BottegaError, match=error):
            read_pairs(tmp_path / file, columns)


def test_every_method_is_scored_beside_what_people_wrote(tmp_path, capfd):
    """A lead that people kept is found to be right, and the others are as far as they are."""
    pytest.importorskip("rouge_score", reason="needs the extra text")
    parts = [
        ["We built a mill.", "Rain fell for days.", f"Rain fell on the {n} roofs in those days."] for n in range(12)
    ]
    found = {one.method: one for one in score(parts, [[p[0]] for p in parts], most=1)}
    assert set(found) == set(METHODS)
    assert [m.name for m in found["lead"].rouge] == ["rouge_1", "rouge_2", "rouge_l"]
    assert [m.value for m in found["lead"].rouge] == [1.0, 1.0, 1.0]
    assert found["textrank"].rouge[0].value < 0.3
    held = score(parts, [[p[0]] for p in parts], ratio=0.3)
    assert all(one.ratio <= 0.3 and one.over == 0 for one in held), "the asked share is kept"
    tight = score(parts, [[p[0]] for p in parts], ratio=0.1)
    assert all(one.over == 12 for one in tight), "no sentence is so short, and that is told"
    with pytest.raises(BottegaError, match="ratio is 2"):
        score(parts, [[p[0]] for p in parts], ratio=2)
    with pytest.raises(BottegaError, match="a summary of each"):
        score(parts, [])
    (tmp_path / "p.jsonl").write_text("".join(json.dumps({"text": p, "summary": p[0]}) + "\n" for p in parts))
    assert main(["write", "summarise", str(tmp_path / "p.jsonl"), "--score", "--sentences", "1"]) == 0
    out, err = capfd.readouterr()
    assert "1.000 (1.000 to 1.000)" in next(line for line in out.splitlines() if line.startswith("lead"))
    assert "12 texts" in err
    assert main(["write", "summarise", "some text", "--score"]) == 2
    assert "no file of texts" in capfd.readouterr().err
    for more in (
        ["--out", "o.txt"],
        ["--method", "lead"],
        ["--method", "textrank"],
        ["--of", "s.txt"],
        ["--teach", "t.jsonl"],
    ):
        assert main(["write", "summarise", str(tmp_path / "p.jsonl"), "--score", *more]) == 2
        out, err = capfd.readouterr()
        assert not out
        assert " ".join(more) in err
        assert len(err.splitlines()) == 1, "said in one line, not ignored"


def test_a_reader_learns_which_sentences_stay(tmp_path, capsys):
    """Where the kept sentence is the one that says what was done, a small reader finds it; a run of another kind is refused."""
    pytest.importorskip("rouge_score", reason="needs the extra text")
    draw = Draw(0)
    pairs = []
    for _ in range(60):
        thing = draw.of(("boat", "mill", "tower", "bridge"))
        parts = [f"The {draw.of(('old', 'red', 'tall'))} town is far.", f"We built a {thing}.", "Rain fell for days."]
        parts = draw.some(parts, 3)
        pairs.append({"text": parts, "summary": f"We built a {thing}."})
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    assert main(["write", "summarise", str(tmp_path / "pairs.jsonl"), "--teach", str(tmp_path / "kept.jsonl")]) == 0
    out = tmp_path / "run"
    changes = ("codec.vocab=300", "codec.length=24", "family.size=1", "train.batch=16", "family.lose=0")
    train = [
        "train",
        "extract",
        "--data",
        str(tmp_path / "kept.jsonl"),
        "--steps",
        "60",
        "--out",
        str(out),
        "--no-judge",
    ]
    assert main([*train, *(word for change in changes for word in ("--set", change))]) == 0
    capsys.readouterr()
    pairs_file, reader = str(tmp_path / "pairs.jsonl"), str(out)
    assert main(["write", "summarise", pairs_file, "--score", "--sentences", "1", "--run", reader, "--json"]) == 0
    told = {m["method"]: m["rouge"][2]["value"] for m in json.loads(capsys.readouterr().out)["methods"]}
    assert told[reader] > 0.9 > max(told[m] for m in ("textrank", "centroid", "lead")), told
    text = "Rain fell for days. The red town is far. We built a mill."
    assert main(["write", "summarise", text, "--run", str(out), "--sentences", "1"]) == 0
    assert capsys.readouterr().out.strip() == "We built a mill."
    assert main(["write", "summarise", str(tmp_path / "pairs.jsonl"), "--teach", str(tmp_path / "kept.csv")]) == 2
    assert "jsonl" in capsys.readouterr().err


def test_invented_numbers_and_names_are_found():
    source = "Anna Lind of Norton Shipping sold 1,200 boats in May, twelve of them to the EU. Profit was 3.5 million."
    assert invented(source, "Lind sold 1.2 thousand boats; 12 went to the EU. Profit: 3,500,000.") == []
    assert invented(source, "Anna Berg sold 1,300 boats to NATO.") == ["1,300", "Berg", "NATO"]
    assert invented(source, "The firm sold thirteen boats.") == ["thirteen"]


@pytest.mark.parametrize(
    ("text", "settings", "error"),
    [("One sentence only.", {}, DataError), ("A b. C d.", {"method": "best"}, RecipeError), ("A b. C d.", {"ratio": 1.5}, RecipeError)],
)  # fmt: skip
def test_bad_wishes_are_refused(text, settings, error):
    with pytest.raises(error):
        summarise(text, **settings)


# --- articles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("density", [(0.5, 3.0), (1.0, 2.0)])
def test_an_article_has_its_keywords_as_dense_as_asked(density, folder):
    material = folder_texts(folder)
    made = article(["exception", "class"], material=material, length=350, density=density, seed=2)
    assert made.audit.faults == []
    assert all(density[0] <= d <= density[1] for d in made.audit.density.values())
    assert made.audit.headings == ["Exception and class", "Exception", "Class"]
    assert 200 < made.audit.words < 500
    for sentence, name in made.sources:
        assert sentence in split(material[name])
        assert sentence in made.text


def test_no_sentence_that_was_published_is_taken(folder):
    material = folder_texts(folder)
    first = article(["exception"], material=material, length=200)
    again = article(["exception"], material=material, length=200, against={"first.md": first.text})
    assert again.audit.copied < 0.1  # the frame of an article is the grammar's
    assert not {s for s, _ in first.sources} & {s for s, _ in again.sources}
    assert audit(first.text, ["exception"], against={"first.md": first.text}).copied == 1.0


def test_an_audit_finds_each_fault():
    text = "# Pumps\n\nHeat pumps warm a house. A heat pump needs current.\n"
    old = {"old.txt": "We wrote: heat pumps warm a house. A heat pump needs current. Much more stands here."}
    seen = audit(text, ["heat pump", "boiler"], headings=["Cost"], density=(1, 10), against=old, copied=0.3)
    assert seen.missing == ["boiler"]
    assert seen.density["heat pump"] == pytest.approx(100 * 4 / 11)
    assert len(seen.faults) == 4
    assert seen.nearest[0][1] == pytest.approx(6 / 7)


def test_what_cannot_be_written_is_refused(folder):
    with pytest.raises(DataError, match="nothing to say"):
        article(["pump"])
    with pytest.raises(DataError, match="'zeppelin'"):
        article(["zeppelin"], material=folder_texts(folder))
    with pytest.raises(RecipeError, match="no keywords"):
        article([" "], material={"a": "b"})


def test_the_commands(folder, tmp_path, capfd):
    draft = tmp_path / "draft.md"
    told = ["write", "article", "exception", "--from", str(folder), "--words", "200", "--out", str(draft), "--json"]
    assert main(told) == 0
    first = json.loads(capfd.readouterr().out)
    assert draft.read_text() == first["text"]
    assert json.loads((tmp_path / "draft.md.meta.json").read_text())["machine_made"] == "true"
    assert main(["write", "article", "zeppelin", "--check", str(draft)]) == 2
    assert "does not occur" in capfd.readouterr().err
    assert main(["write", "summarise", str(draft), "--ratio", "0.3", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["ratio"] <= 0.3
    (tmp_path / "bad.txt").write_bytes(b"caf\xe9 is closed. It is late.")
    assert main(["write", "summarise", str(tmp_path / "bad.txt")]) == 2
    assert "byte 0xe9 at offset 3" in capfd.readouterr().err
    assert main(["write", "summarise", " "]) == 2
    assert "empty" in capfd.readouterr().err
