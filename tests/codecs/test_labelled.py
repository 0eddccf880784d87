"""Labels of texts: classes, tags, answers; files, windows, errors, and a run from file to sample."""

import json

import pytest
import torch

from bottega.codecs.labelled import LabelledCodec
from bottega.codecs.text import TextCodec
from bottega.core import DataError, Item, RecipeError, Spec
from bottega.data import worlds
from bottega.data.splits import leaks, split

CLASSES = [Item("good", "I like it"), Item("bad", "I hate it"), Item("good", "so nice")]


@pytest.mark.parametrize("tokenizer", ["bpe", "char", "byte"])
def test_tags_of_made_names_come_back(tokenizer):
    items = list(worlds.load("names", n=60).items)
    codec = LabelledCodec(kind="tags", tokenizer=tokenizer, vocab=400, length=400).fit(items)
    batch = codec.encode(items)
    assert codec.spec == Spec((400,), vocab=1 + 2 * len(codec.names), cond=Spec((400,), vocab=codec.text.end + 1))
    back = codec.decode(batch.x, batch.cond)
    if tokenizer == "bpe":  # a token may hold a comma beside a word: spans are those of whole tokens
        exact = sum(list(a.value) == [tuple(s) for s in b.value] for a, b in zip(back, items, strict=True))
        assert exact >= 0.9 * len(items)
    else:
        assert [i.value for i in back] == [[tuple(s) for s in i.value] for i in items]
    assert [i.cond for i in back] == [i.cond for i in items]
    assert (batch.x[~batch.mask] == 0).all()


@pytest.mark.parametrize("tokenizer", ["bpe", "char"])
def test_answers_of_made_questions_come_back(tokenizer):
    items = list(worlds.load("questions", n=80).items)
    codec = LabelledCodec(kind="span", tokenizer=tokenizer, vocab=400, length=400).fit(items)
    batch = codec.encode(items)
    back = codec.decode(batch.x, batch.cond)
    assert [i.cond for i in back] == [i.cond for i in items]
    for made, item in zip(back, items, strict=True):
        passage = item.cond.split("\n")[1]
        if item.value is None:
            assert made.value is None
        else:
            assert passage[slice(*item.value)] in passage[slice(*made.value)]
            assert made.value[1] - made.value[0] <= item.value[1] - item.value[0] + 2
    assert torch.equal(codec.encode_cond([items[3].cond]), batch.cond[3:4])


def test_a_long_passage_is_read_in_windows():
    passage = " ".join(f"w{i}" for i in range(40)) + " gold " + " ".join(f"v{i}" for i in range(40))
    start = passage.index("gold")
    item = Item((start, start + 4), f"what?\n{passage}")
    with pytest.raises(DataError, match="'window'"):
        LabelledCodec(kind="span", tokenizer="byte", length=64).fit([item]).encode([item])
    codec = LabelledCodec(kind="span", tokenizer="byte", length=64, long="window").fit([item])
    batch = codec.encode([item])
    assert len(batch) > 5
    back = codec.decode(batch.x, batch.cond)
    said = [i.cond.split("\n")[1][slice(*i.value)] for i in back if i.value is not None]
    assert said
    assert set(said) == {"gold"}
    assert {i.cond.split("\n")[0] for i in back} == {"what?"}
    rows, bounds, size = codec.windows(item.cond)
    assert (len(rows), size) == (len(batch), 6 + len(passage))
    covered = set().union(*(range(a, b) for first, last, _ in bounds for a, b in zip(first, last, strict=True)))
    assert covered == {i for i, c in enumerate(passage) if c != " "}


def test_classes_and_their_state():
    codec = LabelledCodec(tokenizer="byte", length=12).fit(CLASSES)
    assert codec.spec == Spec((), vocab=2, cond=Spec((12,), vocab=257))
    batch = codec.encode(CLASSES)
    assert batch.x.tolist() == [1, 0, 1]
    assert [(i.value, i.cond) for i in codec.decode(batch.x, batch.cond)] == [(i.value, i.cond) for i in CLASSES]
    again = LabelledCodec(tokenizer="byte", length=12).load_state(json.loads(json.dumps(codec.state())))
    assert again.spec == codec.spec
    assert again.classes == ["bad", "good"]
    with pytest.raises(DataError, match="did you mean 'good'"):
        codec.encode([Item("goood", "x")])
    with pytest.raises(DataError, match="at least two classes"):
        codec.fit(CLASSES[:1])


def test_files(tmp_path):
    (tmp_path / "a.csv").write_text("text,kind\nI like it,good|funny\nno,bad\n")
    items = LabelledCodec(label="kind", between="|").read(tmp_path / "a.csv")
    assert [(i.value, i.cond) for i in items] == [("good", "I like it"), ("funny", "I like it"), ("bad", "no")]
    (tmp_path / "b.jsonl").write_text('{"text": "Ann ran", "spans": [["who", 0, 3]]}\n{"text": "no", "spans": []}\n')
    tagged = LabelledCodec(kind="tags", label="spans").read(tmp_path / "b.jsonl")
    assert [i.value for i in tagged] == [[(0, 3, "who")], []]
    (tmp_path / "c.jsonl").write_text('{"text": "Ann ran", "question": "who\\nran?", "label": [0, 3]}\n')
    assert LabelledCodec(kind="span").read(tmp_path / "c.jsonl")[0] == Item((0, 3), "who ran?\nAnn ran", "c.jsonl#1")
    qa = {"id": "q1", "question": "Who?", "answers": [{"text": "Ann", "answer_start": 0}]}
    squad = {
        "data": [{"paragraphs": [{"context": "Ann ran", "qas": [qa, {"id": "q0", "question": "Why?", "answers": []}]}]}]
    }
    (tmp_path / "d.json").write_text(json.dumps(squad))
    asked = LabelledCodec(kind="span").read(tmp_path / "d.json")
    assert [(i.value, i.group) for i in asked] == [((0, 3), "q0"), (None, "q0")]


@pytest.mark.parametrize(
    ("name", "content", "options", "why"),
    [
        ("x.csv", "text,kind\na,b\n", {}, "no column 'label'"),
        ("x.csv", "text,label\na,b\n", {"kind": "tags"}, "cannot hold tags"),
        ("x.jsonl", '{"text": "ab", "label": [["n", 1, 9]]}', {"kind": "tags"}, "outside a text of 2 characters"),
        ("x.jsonl", '{"text": "ab", "label": "n"}', {"kind": "tags"}, "not a list"),
        ("x.jsonl", '{"text": "ab", "label": [1, "n"]}', {"kind": "tags"}, "give \\[name, start, end\\]"),
        ("x.jsonl", '{"text": "ab", "label": [1], "question": "?"}', {"kind": "span"}, "or null"),
        ("x.jsonl", '{"text": 3, "label": "a"}', {}, "is not text"),
        ("x.json", "{}", {"kind": "span"}, "SQuAD"),
        ("x.json", "{}", {}, "codec.kind = 'span'"),
    ],
)
def test_bad_files_are_told_in_one_line(tmp_path, name, content, options, why):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=why) as error:
        LabelledCodec(**options).read(tmp_path / name)
    assert "\n" not in str(error.value)
    assert name in str(error.value)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"kind": "tag"}, "did you mean 'tags'"),
        ({"long": "window"}, "only passages"),
        ({"kind": "tags", "between": "|"}, "in a cell"),
    ],
)
def test_settings_that_do_not_fit(options, why):
    with pytest.raises(RecipeError, match=why):
        LabelledCodec(**options)


def test_long_texts_are_never_cut_in_silence():
    items = [*CLASSES, Item("bad", "x" * 30)]
    with pytest.raises(DataError, match="1 of 4 texts are longer"):
        LabelledCodec(tokenizer="byte", length=12).fit(items).encode(items)
    assert len(LabelledCodec(tokenizer="byte", length=12, long="skip").fit(items).encode(items)) == 3
    assert len(LabelledCodec(tokenizer="byte", length=12, long="cut").fit(items).encode(items)) == 4
    with pytest.raises(RecipeError, match="longer than the 12 tokens"):
        LabelledCodec(tokenizer="byte", length=12).fit(CLASSES).encode_cond(["x" * 30])


def test_the_tokens_of_a_text_codec_are_taken_over():
    text = TextCodec(tokenizer="bpe", vocab=280, unit="item").fit([Item("I like it and so on " * 9)])
    codec = LabelledCodec(vocab=999)
    codec.adopt({"name": "text"}, text.state())
    codec.fit(CLASSES)
    assert codec.text.tokens(["I like it"])[0].tolist() == text.tokens(["I like it"])[0].tolist()
    with pytest.raises(RecipeError, match="set it as there"):
        LabelledCodec().adopt({"name": "text", "tokenizer": "char"}, text.state())


def test_one_text_with_two_labels_stands_on_one_side():
    items = [Item(label, f"text number {i} of them all") for i in range(40) for label in ("good", "bad")]
    parts = split(items, held=0.25)
    assert not {i.cond for i in parts.train} & {i.cond for i in parts.held}
    assert 10 <= len(parts.held) <= 30
    assert leaks(parts) == []


def test_it_is_written_and_shown(tmp_path):
    codec = LabelledCodec(kind="tags", tokenizer="byte", length=12)
    item = Item([(0, 3, "who")], "Ann ran")
    path = codec.write(item, tmp_path / "one", {"seed": "1"})
    assert json.loads(path.read_text()) == {"text": "Ann ran", "label": [[0, 3, "who"]], "mark": {"seed": "1"}}
    assert codec.told(item).value == "[who: Ann] ran"
    assert codec.show([item], tmp_path / "page").exists()
