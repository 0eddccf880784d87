"""The OpenAI way: against a server of this test, which answers as told, and exchanges recorded with another's."""

import json
import logging
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="needs the extra text")

from answering import chat, parts, server
from bottega.cli import main
from bottega.core import BottegaError, RecipeError
from bottega.crafts import write
from bottega.crafts.endpoint import Endpoint

KEY = "sk-test-0123456789abcdef"
RECORDED = json.loads((Path(__file__).parent / "exchanges" / "chat.json").read_text())


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


SOON = {"retry-after-ms": "10"}


def refusal(message):
    return {"error": {"message": message, "type": "x", "code": None, "param": None}}


@pytest.mark.parametrize("kind", ["chat whole", "chat parts", "completions whole", "completions parts"])
def test_a_recorded_exchange_is_asked_and_understood_word_for_word(key, kind):
    """Of `transformers serve`, which is none of ours: see ``exchanges/chat.json``."""
    exchange, (way, form) = RECORDED[kind], kind.split()
    with server((200, exchange["answer"], {"Content-Type": exchange["type"]})) as at:
        model = Endpoint(at.url, exchange["request"]["model"], way=way)
        asked = {"max_new": 12, "seed": 7, "stop": ["\n\n"], "temperature": 0.0}
        prompt = "The north wind"
        text = model.complete(prompt, **asked) if form == "whole" else "".join(model.stream(prompt, **asked))
        path, body, headers = at.seen[0]
    assert path == exchange["path"]
    assert body == exchange["request"]
    assert headers["authorization"] == f"Bearer {KEY}"
    assert text == " and the sun were disputing which was the stronger. The north" == exchange["text"]


def test_a_recorded_refusal_is_one_line(key):
    exchange = RECORDED["missing"]
    refuses = pytest.raises(BottegaError, match="'no-such-model'.* answered 500 after 1 try")
    with server((exchange["status"], exchange["answer"], {"Content-Type": exchange["type"]})) as at, refuses as told:
        Endpoint(at.url, "no-such-model", tries=1).complete("x")
    assert "\n" not in str(told.value)


def test_the_same_call_writes_by_a_run_or_by_an_endpoint(key):
    with server(chat("One. Two! END three")) as at:
        texts = write.generate(Endpoint(at.url, "m"), "count", n=3, seed=5, stop=["END"], max_new=9, top_p=0.5)
        assert texts == ["One. Two! "] * 3
        assert [body["seed"] for _, body, _ in at.seen] == [5, 6, 7]
        assert {(body["max_tokens"], body["top_p"], tuple(body["stop"])) for _, body, _ in at.seen} == {
            (9, 0.5, ("END",))
        }
    with server((200, list(parts("One. T", "wo! E", "ND", " three")))) as at:
        made = list(write.stream(Endpoint(at.url, "m"), "count", stop=["END"]))
    assert "".join(made) == "One. Two! "
    assert made[0] == "One. T", "shown as it arrives"
    assert not any("E" in part for part in made), "nor is the beginning of a stop string shown"


def test_completions_and_knobs_that_only_some_endpoints_have(key):
    answer = {"id": "c", "object": "text_completion", "created": 1, "model": "m",
              "choices": [{"index": 0, "text": " there", "finish_reason": "length", "logprobs": None}]}  # fmt: skip
    with server((200, answer)) as at:
        assert Endpoint(at.url, "m", way="completions").complete("Hello", top_k=5, min_p=0.1) == " there"
        path, body, _ = at.seen[0]
    assert path == "/v1/completions"
    assert (body["prompt"], body["top_k"], body["min_p"]) == ("Hello", 5, 0.1)
    with pytest.raises(RecipeError, match="did you mean 'temperature'"):
        Endpoint(at.url, "m").complete("x", temprature=1.0)


def choices(*texts, finish="stop", **more):
    """An answer with several choices, the last first, as nothing forbids."""
    made = [{"index": k, "message": {"role": "assistant", "content": text}, "finish_reason": finish, **more}
            for k, text in enumerate(texts)]  # fmt: skip
    return 200, {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": made[::-1]}


def test_several_are_asked_for_at_once_and_the_rest_again(key):
    with server(choices("a", "b", "c", finish="length")) as at:
        told = write.complete(Endpoint(at.url, "m"), ["x"], n=3, seed=5)
        assert [(w.text, w.seed, w.finish) for w in told] == [
            ("a", 5, "length"),
            ("b", 6, "length"),
            ("c", 7, "length"),
        ]
        assert [(body["n"], body["seed"]) for _, body, _ in at.seen] == [(3, 5)]
    with server(choices("a", "b"), choices("c")) as at:  # it gives two at most
        assert write.generate(Endpoint(at.url, "m"), "x", n=3, seed=5) == ["a", "b", "c"]
        assert [(body.get("n", 1), body["seed"]) for _, body, _ in at.seen] == [(3, 5), (1, 7)]
    with server((400, refusal("n must be 1")), chat("a"), chat("b")) as at:  # it takes no n
        assert write.generate(Endpoint(at.url, "m"), "x", n=2, seed=5) == ["a", "b"]
        assert [(body.get("n", 1), body["seed"]) for _, body, _ in at.seen] == [(2, 5), (1, 5), (1, 6)]
    with (
        server((400, refusal("the prompt is too long"))) as at,
        pytest.raises(BottegaError, match="400: the prompt is"),
    ):
        write.generate(Endpoint(at.url, "m"), "x", n=2)
    with server(choices(*"abcdefghijklmnop")) as at:
        assert len(write.generate(Endpoint(at.url, "m"), "x", n=32)) == 32
        assert [(body["n"], body["seed"]) for _, body, _ in at.seen] == [(16, 0), (16, 16)]


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def test_json_by_a_schema_is_asked_for_and_checked_here(key, capfd):
    with server(chat('{"n": 3}')) as at:
        model = Endpoint(at.url, "m")
        assert model.complete("x", schema=SCHEMA) == '{"n": 3}'
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
        assert at.seen[0][1]["response_format"] == form
        with pytest.raises(RecipeError, match="--way chat"):
            Endpoint(at.url, "m", way="completions").complete("x", schema=SCHEMA)
        for schema, why in (("{", "not JSON"), ("[1]", "give an object"), ({"type": "objekt"}, r"no JSON schema at \$"),
                            ({"$ref": "https://example.org/s.json"}, "refers to https://example.org/s.json")):  # fmt: skip
            with pytest.raises(RecipeError, match=why):
                model.complete("x", schema=schema)
    for said, finish, why in (
        ('{"n": "three"}', "stop", r"at \$.n 'three' is not of type 'integer'; use a model or server that keeps"),
        ("Of course! Here it is:", "stop", "it is not JSON"),
        ('{"n": NaN}', "stop", "NaN is no number of JSON"),
        ("[" * 100_000, "stop", "not JSON"),
        ('{"n": ', "length", "cut at its limit of tokens: it is not JSON .*; allow more tokens"),
        ("", "stop", "it is not JSON"),
    ):
        with server(chat(said, finish)) as at, pytest.raises(BottegaError, match=why) as caught:
            Endpoint(at.url, "m").complete("x", schema=SCHEMA)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 600
    with server((200, list(parts('{"n": ', '"3"}')))) as at:
        made = write.stream(Endpoint(at.url, "m"), "x", schema=SCHEMA)
        assert next(made) == '{"n": '
        with pytest.raises(BottegaError, match="'3' is not of type 'integer'"):
            list(made)
        assert main(["write", "generate", at.url, "x", "--model", "m", "--schema", json.dumps(SCHEMA)]) == 2
        assert "is not of type" in capfd.readouterr().err


DEEP = "[" * 3000 + "]" * 3000


@pytest.mark.parametrize(
    ("schema", "said", "why"),
    [
        ({"$ref": "#"}, "1", "nested too deep to be checked here, or the schema refers to itself without end"),
        ({"type": "array", "items": {"$ref": "#"}}, "[" * 400 + "]" * 400, "nested too deep"),
        ('{"a": ' * 3000 + "1" + "}" * 3000, "1", "nested too deep"),
        ('{"enum": ' + DEEP + "}", "1", "nested too deep"),
        ({"$schema": []}, "1", r"no JSON schema at \$.\$schema"),
        ({"multipleOf": 3}, "1e400", "1e400 is too large a number"),
        ({"multipleOf": 0.5}, "1" + "0" * 400, "too large to be checked"),
        ('{"minimum": 1e400}', "1", "the schema is not JSON: Out of range"),
        ({"additionalProperties": {"type": "null"}}, '{"a\\nb": 1}', "is not of type 'null'"),
        ({"properties": {"a\nb": {"type": "objekt"}}}, "1", "no JSON schema at"),
        ({"pattern": r"^\p{L}+$"}, '"a"', "cannot be checked here, for Python's regular expressions do not know it"),
        ({"patternProperties": {r"^\p{L}+$": {}}}, '{"a": 1}', "cannot be checked here, for Python's"),
        ({"required": ["x"], "$ref": "#/required"}, "{}", "the schema cannot be checked here"),
    ],
    ids=range(13),
)
def test_a_schema_or_an_answer_that_cannot_be_checked_is_one_line(key, schema, said, why):
    with server(chat(said)) as at, pytest.raises(BottegaError, match=why) as caught:
        Endpoint(at.url, "m").complete("x", schema=schema)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def whole(way, **choice):
    """An answer whose one choice has these in place of what it should have."""
    made = {"index": 0, "finish_reason": "stop"} | ({"message": {"content": "Hi"}} if way == "chat" else {"text": "Hi"})
    return 200, {"id": "c1", "object": "x", "created": 1, "model": "m", "choices": [made | choice]}


PLACE = {"token": "Hi", "logprob": -0.1, "bytes": None, "top_logprobs": None}


@pytest.mark.parametrize(
    ("way", "choice"),
    [
        ("chat", {"message": None}),
        ("chat", {"message": {"content": 5}}),
        ("chat", {"logprobs": {"content": [PLACE | {"logprob": None}]}}),
        ("chat", {"logprobs": {"content": [PLACE | {"token": None}]}}),
        ("chat", {"logprobs": {"content": [PLACE | {"top_logprobs": [{"token": "a", "logprob": None}]}]}}),
        ("completions", {"logprobs": {"tokens": ["H", "i"], "token_logprobs": [-1.0], "top_logprobs": None}}),
        ("completions", {"logprobs": {"tokens": ["Hi"], "token_logprobs": [None], "top_logprobs": None}}),
    ],
)
def test_an_answer_in_which_something_is_missing_is_one_line(key, way, choice):
    with (
        server(whole(way, **choice)) as at,
        pytest.raises(BottegaError, match="does not answer as an OpenAI-compatible endpoint: .*; check") as caught,
    ):
        write.complete(Endpoint(at.url, "m", way=way), ["x"], logprobs=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("choice", [{"delta": None}, {"delta": {"content": 5}}, None])
def test_a_part_in_which_something_is_missing_is_one_line(key, choice):
    part = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choices = [None if choice is None else {"index": 0, "finish_reason": None, **choice}]
    with (
        server((200, [part | {"choices": choices if choice else 5}])) as at,
        pytest.raises(BottegaError, match="does not answer as an OpenAI-compatible endpoint"),
    ):
        list(Endpoint(at.url, "m").stream("x"))


@pytest.mark.parametrize("way", ["chat", "completions"])
def test_of_an_empty_answer_there_are_no_log_probabilities_to_tell(key, way):
    empty = {"message": {"content": None}} if way == "chat" else {"text": ""}
    with server(whole(way, **empty, logprobs=None)) as at:
        (one,) = write.complete(Endpoint(at.url, "m", way=way), ["x"], logprobs=1)
    assert (one.text, one.tokens, one.logprobs, one.likeliest) == ("", [], [], [])


def test_log_probabilities_in_either_form(key, capfd):
    def place(token, p, *best):
        top = [{"token": t, "logprob": q, "bytes": None} for t, q in best]
        return {"token": token, "logprob": p, "bytes": list(token.encode()), "top_logprobs": top}

    told = {"content": [place("Hi", -0.1, ("Hi", -0.1), ("Ho", -2.5)), place("!", -0.5, ("!", -0.5), ("?", -1.5))]}
    with server(choices("Hi!", logprobs=told)) as at:
        (one,) = write.complete(Endpoint(at.url, "m"), ["x"], logprobs=1)
        assert (one.tokens, one.logprobs) == (["Hi", "!"], [-0.1, -0.5])
        assert one.likeliest == [[("Hi", -0.1)], [("!", -0.5)]]
        assert (at.seen[0][1]["logprobs"], at.seen[0][1]["top_logprobs"]) == (True, 1)
        five = ["a", "b", "c", "d", "!"]  # the fifth is cut here
        (one,) = write.complete(Endpoint(at.url, "m"), ["x"], logprobs=0, stop=five)
        assert (one.text, one.finish, one.tokens, one.logprobs, one.likeliest) == ("Hi", "stop", ["Hi"], [-0.1], [[]])
        assert "top_logprobs" not in at.seen[1][1]
        assert main(["write", "generate", at.url, "x", "--model", "m", "--logprobs", "1", "--json"]) == 0
        found = json.loads(capfd.readouterr().out)
        assert (found["tokens"], found["finish"]) == ([["Hi", "!"]], ["stop"])
        with pytest.raises(RecipeError, match="logprobs -1"):
            write.complete(Endpoint(at.url, "m"), ["x"], logprobs=-1)
    old = {"tokens": ["a", "b"], "token_logprobs": [-1.0, -2.0], "top_logprobs": [{"c": -3.0, "a": -1.0}, None]}
    answer = {"id": "c", "object": "text_completion", "created": 1, "model": "m",
              "choices": [{"index": 0, "text": "ab", "finish_reason": "length", "logprobs": old}]}  # fmt: skip
    with server((200, answer)) as at:
        (one,) = write.complete(Endpoint(at.url, "m", way="completions"), ["x"], logprobs=2)
        assert (one.tokens, one.logprobs, one.finish) == (["a", "b"], [-1.0, -2.0], "length")
        assert one.likeliest == [[("a", -1.0), ("c", -3.0)], []]
        assert at.seen[0][1]["logprobs"] == 2
    with server(chat("Hi!")) as at, pytest.raises(BottegaError, match="tells no log-probabilities"):
        write.complete(Endpoint(at.url, "m"), ["x"], logprobs=1)


def test_too_many_requests_are_made_again_and_then_told_in_one_line(key):
    busy = (429, refusal("slow down"), SOON)
    with server(busy, (503, refusal("loading"), SOON), chat("at last")) as at:
        assert Endpoint(at.url, "m").complete("x") == "at last"
        assert len(at.seen) == 3
    with server(busy) as at:
        with pytest.raises(BottegaError, match=r"429\) after 3 tries: slow down; wait") as caught:
            Endpoint(at.url, "m", tries=3).complete("x")
        assert len(at.seen) == 3
    assert "\n" not in str(caught.value)


def test_waits_grow(key, monkeypatch):
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    with server((500, refusal("broken"))) as at, pytest.raises(BottegaError, match="answered 500 after 4 tries"):
        Endpoint(at.url, "m", tries=4).complete("x")
    waits = [w for w in waits if w > 0.1]
    assert len(waits) == 3
    assert all(0.75 * most <= wait <= most for wait, most in zip(waits, (0.5, 1.0, 2.0), strict=True))


def test_an_endpoint_that_says_nothing(key, monkeypatch):
    with server((200, None)) as at:
        with pytest.raises(BottegaError, match=r"did not answer within 0.2 s in 2 tries"):
            Endpoint(at.url, "m", tries=2, timeout=0.2).complete("x")
        assert len(at.seen) == 2
    with pytest.raises(BottegaError, match="no connection to .* in 1 try"):
        Endpoint(at.url, "m", tries=1).complete("x")


def test_a_connection_that_breaks_in_the_middle(key):
    with server((200, [*parts("half"), None])) as at:
        made = Endpoint(at.url, "m", tries=1).stream("x")
        assert next(made) == "half"
        # the server closed without an end mark; what was sent is what there is
        assert list(made) == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((401, refusal(f"Incorrect API key provided: {KEY}")), "wants a key"),
        ((404, refusal("The model `m` does not exist")), "does not exist; check the address and --model"),
        ((400, refusal(f"bad {KEY} bad")), r"answered 400: bad \*\*\* bad"),
        ((200, "<html>a page</html>"), "does not answer as an OpenAI-compatible endpoint"),
        ((200, {"hello": 1, "choices": []}), "without a choice"),
    ],
)  # fmt: skip
def test_answers_that_say_no(key, answer, told, caplog):
    caplog.set_level(logging.DEBUG)
    with server(answer) as at:
        model = Endpoint(at.url, "m", tries=1)
        with pytest.raises(BottegaError, match=told) as caught:
            model.complete("x")
        with pytest.raises(BottegaError):
            list(model.stream("x"))
    assert KEY not in f"{caught.value} {model!r} {model.about()} {caught.value.__cause__} {caplog.text}"
    assert "\n" not in str(caught.value)


def test_the_key_is_never_said_and_travels_nowhere_else(key, monkeypatch, capfd):
    with server(chat("hello")) as at:
        assert main(["write", "generate", at.url, "hi", "--model", "m", "-n", "2", "--json"]) == 0
        told = capfd.readouterr()
        assert json.loads(told.out)["texts"] == ["hello", "hello"]
        assert json.loads(told.out)["endpoint"] == at.url
        assert KEY not in told.out + told.err
        monkeypatch.delenv("OPENAI_API_KEY")
        assert Endpoint(at.url, "m").complete("x") == "hello"
        assert "authorization" not in at.seen[-1][2], "without a key none is sent"
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for address, why in (
        ("http://example.org/v1", "would travel in the open"),
        (f"https://me:{KEY}@example.org/v1", "holds a name, password"),
        (f"https://example.org/v1?key={KEY}", "holds a name, password"),
        ("ftp://example.org", "no address"),
    ):
        with pytest.raises(RecipeError, match=why) as caught:
            Endpoint(address, "m")
        assert KEY not in str(caught.value)
    with pytest.raises(RecipeError, match="name it with --model"):
        Endpoint("https://example.org/v1", "")
    with pytest.raises(RecipeError, match="tries=0"):
        Endpoint("https://example.org/v1", "m", tries=0)


def test_a_run_has_no_models_to_choose_from(capfd):
    assert main(["write", "generate", "runs/none", "hi", "--model", "m"]) == 2
    assert "--model" in capfd.readouterr().err
