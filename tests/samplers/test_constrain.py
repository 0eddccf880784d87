"""Text in a given form: always whole, always valid, whatever the model would rather say."""

import json
import re

import pytest
import torch

from bottega.codecs.text import TextCodec
from bottega.core import Item, RecipeError, Rng, Spec
from bottega.families.gpt import GPT
from bottega.samplers.constrain import Form, choices, json_schema, lark, regex
from bottega.samplers.tokens import Notes, generate

pytest.importorskip("llguidance")
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 5}},
        "place": {
            "type": "object",
            "properties": {"x": {"type": "number"}, "kind": {"enum": ["alpha", "beta", "gamma"]}},
            "required": ["x", "kind"],
            "additionalProperties": False,
        },
    },
    "required": ["name", "age", "tags", "place"],
    "additionalProperties": False,
}
TEXT = (
    " ".join(str(k) for k in range(50))
    + '{"name": "Ada", "age": 36, "tags": ["a"], "place": {"x": 1.5e-3, "kind": "beta"}} [] yes no. alpha gamma.' * 3
)


def codec(kind):
    return TextCodec(tokenizer=kind, vocab=320, length=64, unit="item").fit([Item(TEXT)])


def write(grammar, kind, n=20, most=100, seed=0, **knobs):
    """Texts of a model that knows nothing, with why they ended."""
    words = codec(kind)
    torch.manual_seed(0)
    model = GPT(Spec((64,), vocab=words.end + 1), size=1, width=16)
    form, notes = Form(grammar, words.spelling, words.end, most), Notes()
    knobs = {"stop": words.end, "max_new": most, **knobs}
    rows = torch.cat(list(model.stream(n, Rng(seed), guides=[form], notes=notes, **knobs)), 1)
    return [item.value for item in words.decode(rows)], [form.whole(i) for i in range(n)], notes


@pytest.mark.parametrize("kind", ["byte", "char", "bpe"])
def test_json_of_any_tokeniser_is_valid(kind):
    jsonschema = pytest.importorskip("jsonschema")
    texts, whole, _ = write(json_schema(PERSON), kind)
    for text in texts:
        jsonschema.validate(json.loads(text), PERSON)
    assert all(whole)
    assert len(set(texts)) > 10


@pytest.mark.parametrize("pattern", ["[a-z]{3,9}( [a-z]+)*[.!]", "[0-9]{4}-[0-9]{2}-[0-9]{2}", "(ab|c)*d", "x{50}"])
def test_what_is_written_matches_the_expression(pattern):
    texts, whole, notes = write(regex(pattern), "byte", most=60)
    assert all(re.fullmatch(pattern, text) for text in texts)
    assert all(whole)
    assert set(notes.finish) <= {"complete", "end"}


def test_a_grammar_and_choices():
    texts, whole, _ = write(lark('start: "(" start ")" | /[a-z]/'), "byte", most=15)
    assert all(whole)
    for text in texts:
        depth = len(text) // 2
        assert text[:depth] == "(" * depth
        assert text[depth + 1 :] == ")" * depth
    options = ["yes", "no", 'per"haps\n', "größer"]
    texts, whole, _ = write(choices(options), "byte", n=60, most=20)
    assert set(texts) == set(options)
    assert all(whole)


def test_endless_forms_end_in_time():
    for schema in (
        {"type": "array"},
        {"type": "object"},
        {"type": "string"},
        {"type": "array", "items": {"type": "array"}},
    ):
        for most in (12, 40):
            texts, whole, _ = write(json_schema(schema), "byte", most=most, n=40)
            assert all(whole)
            for text in texts:
                json.loads(text)


def test_a_choice_that_cannot_be_ended_in_time_is_not_taken():
    """One way on is short, the other needs 80 more: with 30 left only the short one remains."""
    texts, whole, _ = write(regex("(a|b[0-9]{80})z"), "byte", n=30, most=30)
    assert set(texts) == {"az"}
    assert all(whole)


def test_beams_and_greedy_keep_the_form():
    for knobs in ({"temperature": 0}, {"beams": 3}, {"lookup": 3}):
        texts, _, _ = write(json_schema({"type": "array", "items": {"type": "integer"}}), "byte", n=1, most=30, **knobs)
        assert isinstance(json.loads(texts[0]), list)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: json_schema({"type": "integer", "minimum": 5, "maximum": 3}), "minimum"),
        (lambda: json_schema({"allOf": [{"type": "string"}, {"type": "integer"}]}), "incompatible"),
        (lambda: json_schema({"enum": []}), "nothing can be written"),
        (lambda: json_schema({"type": "foo"}), "foo"),
        (lambda: json_schema("{"), "not JSON"),
        (lambda: json_schema("[1]"), "object"),
        (lambda: regex("[a-z"), "unclosed"),
        (lambda: lark("start: nobody"), "nobody"),
        (lambda: lark('start: "a" start'), "no text of up to"),
        (lambda: choices([]), "choices"),
        (lambda: choices(["a", ""]), "choices"),
        (lambda: json_schema({"type": "string", "minLength": 40}), "max_new"),
    ],
)
def test_what_cannot_be_met_is_one_line(make, says):
    with pytest.raises(RecipeError, match=says) as error:
        Form(make(), codec("byte").spelling, 256, 20)
    assert "\n" not in str(error.value)


def test_characters_that_the_tokeniser_lacks():
    words = TextCodec(tokenizer="char", length=8, unit="item").fit([Item("ab")])
    with pytest.raises(RecipeError, match="characters") as error:
        Form(regex("acb"), words.spelling, words.end)
    assert "\n" not in str(error.value)


def test_log_probabilities_are_those_before_the_form():
    words = codec("byte")
    notes = Notes()
    given, keep = torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 1, dtype=torch.bool)
    form = Form(choices(["a"]), words.spelling, words.end)
    list(generate(lambda fresh: torch.zeros(1, 257), given, keep, Rng(0), None, [form], notes, stop=256))
    assert notes.logprobs[0][0] == pytest.approx(-torch.tensor(257.0).log().item())
