"""Text from a run: prompts together, stops, forms, log-probabilities, drafts, gaps; and the same from the command line."""

from __future__ import annotations

import json
import math
import re

import pytest
import torch

import bottega
from bottega.cli import main
from bottega.core import Batch, BottegaError, DataError, RecipeError, Rng
from bottega.crafts import write
from bottega.crafts.write_fill import fill
from recipes import write_recipe

FOX = "the quick brown fox jumps over the lazy dog. naïve größe 日本 costs 3 €.\n"


def trained(here, name, family="gpt", tokenizer="bpe", steps=60, size=2, text=FOX * 60, length=32, **codec):
    (here / "fox.txt").write_text(text)
    recipe = write_recipe(
        here, family, name=name, size=size, data={"name": str(here / "fox.txt"), "held": 0.0},
        codec={"name": "text", "tokenizer": tokenizer, "vocab": 300, "length": length, **codec}, steps=steps, batch=16,
    )  # fmt: skip
    return bottega.train(recipe, data=here / "fox.txt", out=here / name, judge=False)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    here = tmp_path_factory.mktemp("fox")
    return {
        "bpe": trained(here, "bpe", steps=150),
        "small": trained(here, "small", steps=30, size=1),
        "char": trained(here, "char", tokenizer="char", steps=5),
        "byte": trained(here, "byte", tokenizer="byte", steps=5),
    }


PROMPTS = ["the quick", "", "lazy dog. naïve größe", "fox"]


def test_each_text_is_what_it_is_alone(runs):
    knobs = {"n": 2, "seed": 3, "max_new": 12, "temperature": 0.9}
    together = write.complete(runs["bpe"], PROMPTS, **knobs)
    alone = [one for prompt in PROMPTS for one in write.complete(runs["bpe"], [prompt], **knobs)]
    assert [(o.prompt, o.text, o.seed, o.finish) for o in together] == [
        (o.prompt, o.text, o.seed, o.finish) for o in alone
    ]
    assert [o.seed for o in together] == [3, 4] * 4
    assert write.generate(runs["bpe"], PROMPTS[0], **knobs) == [o.text for o in together[:2]]


def test_a_stream_is_the_text_in_whole_characters(runs):
    for name in ("byte", "bpe", "char"):
        for stop in ([], ["o"], ["e l", "ï", "本 c"]):
            parts = list(write.stream(runs[name], "the", seed=1, max_new=60, stop=stop))
            assert "".join(parts) == write.generate(runs[name], "the", seed=1, max_new=60, stop=stop)[0]
            assert all(parts)
            assert not any(s in "".join(parts) for s in stop)


def test_log_probabilities_and_tokens(runs):
    run = runs["bpe"]
    one = write.complete(run, ["the quick"], max_new=8, logprobs=2, temperature=0)[0]
    begun = run.codec.encode_prompt("the quick")
    row = torch.cat([begun, torch.tensor(one.tokens)])[None]
    with torch.no_grad():
        whole = run.model.log_prob(Batch(row), Rng(0)) - run.model.log_prob(Batch(begun[None]), Rng(0))
    assert math.isclose(sum(one.logprobs), float(whole), abs_tol=1e-3)
    assert "".join(best[0][0] for best in one.likeliest) == one.text
    assert len(one.tokens) == len(one.logprobs) == 8
    assert write.complete(run, ["the"], max_new=8)[0].logprobs == []


def test_forms(runs):
    pytest.importorskip("llguidance")
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    for one in write.complete(runs["bpe"], ["say: ", "the"], n=3, max_new=20, schema=schema):
        assert isinstance(json.loads(one.text)["a"], int)
        assert one.finish == "complete"
    assert re.fullmatch("[a-c]{4}", write.generate(runs["bpe"], "x", regex="[a-c]{4}")[0])
    assert "".join(write.stream(runs["bpe"], "x", choices=["fox", "dog"])) in {"fox", "dog"}
    with pytest.raises(RecipeError, match="schema and regex are two forms"):
        write.complete(runs["bpe"], ["a"], schema=schema, regex="a")


def test_drafts_of_a_smaller_run_change_nothing(runs):
    for temperature in (0, 1.0):
        knobs = {"max_new": 40, "temperature": temperature, "n": 3}
        plain = write.complete(runs["bpe"], PROMPTS, **knobs)
        assert write.complete(runs["bpe"], PROMPTS, draft=runs["small"], **knobs) == plain
        assert write.complete(runs["bpe"], PROMPTS, lookup=3, **knobs) == plain
    with pytest.raises(RecipeError, match="other tokens"):
        write.complete(runs["bpe"], ["a"], draft=runs["char"])


def test_long_prompts_are_a_choice(runs):
    with pytest.raises(DataError, match="the model reads 32") as error:
        write.generate(runs["bpe"], FOX * 5, max_new=4)
    assert "\n" not in str(error.value)
    assert write.complete(runs["bpe"], [FOX * 5, "the"], max_new=4, long="slide")
    with pytest.raises(RecipeError, match="long is 'cut'"):
        write.generate(runs["bpe"], "a", long="cut")


def test_versions_by_beams_are_the_best(runs):
    some = write.complete(runs["bpe"], ["the quick", "lazy"], n=3, max_new=8, beams=4)
    assert len({o.text for o in some[:3]}) == 3
    assert "".join(write.generate(runs["bpe"], "the quick", max_new=8, beams=4)) == some[0].text


@pytest.mark.parametrize("knobs", [{"beams": 5}, {"beams": 6, "beam_groups": 3, "diversity": 4.0}], ids=str)
def test_beams_say_their_log_probabilities(runs, capsys, knobs):
    run = runs["bpe"]
    settings = [part for name, value in knobs.items() for part in ("--set", f"{name}={value}")]
    asked = ["write", "generate", str(run.path), "the quick", "-n", "3", "--max-new", "8", *settings]
    assert main([*asked, "--logprobs", "3", "--json", "-q"]) == 0
    told = json.loads(capsys.readouterr().out)
    begun = run.codec.encode_prompt("the quick")
    assert len(set(told["texts"])) == 3, "of groups too, no text comes twice"
    for text, tokens, logprobs, likeliest in zip(
        told["texts"], told["tokens"], told["logprobs"], told["likeliest"], strict=True
    ):
        assert b"".join(run.codec.spelling[t] for t in tokens).decode("utf-8", "replace") == text
        row = torch.cat([begun, torch.tensor(tokens)])[None]
        with torch.no_grad():
            whole = run.model.log_prob(Batch(row), Rng(0)) - run.model.log_prob(Batch(begun[None]), Rng(0))
        assert len(logprobs) == len(likeliest) == len(tokens)
        assert math.isclose(sum(logprobs), float(whole), abs_tol=1e-3)
        assert all(
            len(place) == 3 and place[0][1] >= own - 1e-6 for place, own in zip(likeliest, logprobs, strict=True)
        )


def test_beams_in_a_form_are_told_complete_each_by_its_own_text(runs):
    pytest.importorskip("llguidance")
    some = write.complete(runs["bpe"], ["x"], n=3, beams=4, regex="[a-c]{2,6}", max_new=8, logprobs=1)
    for one in some:
        assert re.fullmatch("[a-c]{2,6}", one.text)
        assert one.finish == "complete"
        assert len(one.logprobs) == len(one.tokens)


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"stop": 3}, "stop is 3"),
        ({"stop": [""]}, "empty"),
        ({"stop": [4]}, "stop is"),
        ({"n": 0}, "n is 0"),
        ({"max_new": 0}, "max_new is 0"),
        ({"top_p": 0.0}, "top_p"),
        ({"tempature": 1.0}, "temperature"),
        ({"logprobs": -1}, "logprobs"),
    ],
)
def test_bad_knobs_are_one_line(runs, knobs, says):
    with pytest.raises(BottegaError, match=says) as error:
        write.complete(runs["bpe"], ["the"], **knobs)
    assert "\n" not in str(error.value)


def test_sample_and_edit_take_stop_strings(runs):
    run = runs["bpe"]
    for seed in range(4):
        plain = run.sample(1, seed=seed, max_new=60, temperature=0.7).items[0].value
        text = run.sample(1, seed=seed, max_new=60, temperature=0.7, stop=["dog", " f"]).items[0].value
        places = [plain.find(s) for s in ("dog", " f") if s in plain]
        assert text == (plain[: min(places)] if places else plain)
    edited = run.edit("the quick", n=3, max_new=30, stop="fox", temperature=0.7)
    for item in edited.items:
        assert item.value.startswith("the quick")
        assert "fox" not in item.value
    assert "fox" in run.edit("the fox", max_new=5, stop="fox").items[0].value, "a stop in what is given stays"
    for bad, says in ((["a", 1], "stop is"), ("", "empty"), (99999, "tokens of"), ({"a": 1}, "stop is")):
        with pytest.raises(RecipeError, match=says):
            run.sample(1, stop=bad)


def test_edit_cuts_no_beginning(runs):
    run, text = runs["bpe"], FOX * 4
    with pytest.raises(RecipeError, match="tokens, but this model sees"):
        run.edit(text)
    longer = run.edit(text, overflow="slide").items[0].value
    assert longer.startswith(text)
    assert len(longer) > len(text)


def test_gaps_are_filled_with_what_goes_with_both_sides(runs):
    found = fill(runs["bpe"], "the quick ___ fox jumps", n=4, longest=3, tries=24, temperature=0.9)
    assert found[0].text == "the quick brown fox jumps"
    assert [f.logprob for f in found] == sorted((f.logprob for f in found), reverse=True)
    assert len({f.text for f in found}) == len(found)
    for f in found:
        assert f.text == f"the quick {f.parts[0]} fox jumps"
    two = fill(runs["bpe"], "the ___ brown ___ jumps", n=2, longest=2)
    assert all(len(f.parts) == 2 for f in two)
    for text, says in (("no gap", "no gap"), (FOX * 9 + "___", "shorten")):
        with pytest.raises(DataError, match=says):
            fill(runs["bpe"], text)
    with pytest.raises(RecipeError, match="tries=0"):
        fill(runs["bpe"], "a ___", tries=0)


def test_the_command_line(runs, tmp_path, capsys):
    path = str(runs["bpe"].path)

    def call(*args):
        capsys.readouterr()
        status = main(["write", *args])
        return status, *capsys.readouterr()

    status, out, _ = call("generate", path, "the quick", "--max-new", "8", "--set", "temperature=0")
    assert status == 0
    assert out.startswith("the quick")
    status, out, _ = call(
        "generate", path, "the quick", "-n", "2", "--max-new", "8", "--logprobs", "2", "--json", "-q", "--stop", "fox"
    )
    told = json.loads(out)
    assert status == 0
    assert len(told["logprobs"]) == 2
    assert set(told["finish"]) <= {"end", "stop", "length"}
    (tmp_path / "s.json").write_text('{"type": "integer", "minimum": 3, "maximum": 7}')
    status, out, _ = call("generate", path, "", "--schema", str(tmp_path / "s.json"), "--json", "-q")
    assert 3 <= json.loads(json.loads(out)["texts"][0]) <= 7
    (tmp_path / "begun.txt").write_text(FOX * 3 + "the")
    status, out, _ = call(
        "continue", path, str(tmp_path / "begun.txt"), "-n", "2", "--max-new", "8", "--out", str(tmp_path / "o")
    )
    assert status == 0
    written = sorted((tmp_path / "o").glob("begun-*.txt"))
    assert len(written) == 2
    assert all(p.read_text().startswith(FOX * 3 + "the") for p in written)
    status, out, _ = call("fill", path, "the quick ___ fox", "-n", "2", "--longest", "3", "--tries", "24")
    assert status == 0
    assert out.splitlines()[0] == "the quick brown fox"
    for args, says in (
        (["generate", path, "a", "--set", "temperature=-1"], "temperature"),
        (["generate", path, "a", "--schema", '{"type": "nothing"}'], "nothing"),
        (["generate", path, FOX * 9], "shorten"),
        (["continue", path, str(tmp_path / "absent.txt")], "absent"),
        (["fill", path, "no gap here"], "gap"),
    ):
        status, _, err = call(*args)
        assert status == 2
        assert says in err
        assert len(err.strip().splitlines()) == 1


def test_a_file_of_prompts_and_each_text_is_what_it_is_alone(runs, tmp_path, capsys):
    path, asked = str(runs["bpe"].path), ["the quick", "lazy dog. naïve größe", "fox", "the quick"]
    (tmp_path / "asked.txt").write_text("\r\n".join(asked) + "\r\n")
    knobs = ["--max-new", "9", "--seed", "5", "--set", "temperature=0.9", "--stop", "dog", "-q"]
    alone = []
    for prompt in asked:
        assert main(["write", "generate", path, prompt, "-n", "2", "--logprobs", "1", "--json", *knobs]) == 0
        alone.append(json.loads(capsys.readouterr().out))
    file = ["write", "generate", path, "--prompts", str(tmp_path / "asked.txt"), "-n", "2", *knobs]
    assert main([*file, "--logprobs", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seeds"] == [5, 6]
    assert told["weights"] == runs["bpe"].weights_hash
    assert [one["prompt"] for one in told["results"]] == asked
    for one, own in zip(told["results"], alone, strict=True):
        for name in ("texts", "finish", "tokens"):
            assert one[name] == own[name]
        for a, b in zip(one["logprobs"], own["logprobs"], strict=True):
            assert a == pytest.approx(b, abs=1e-4)
    assert len({text for one in told["results"] for text in one["texts"]}) > 3, "seeds and prompts tell apart"
    assert main(file) == 0
    assert capsys.readouterr().out == "".join(f"{o['prompt']}{t}\n\n" for o in told["results"] for t in o["texts"])
    assert main([*file, "--out", str(tmp_path / "told.jsonl")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "told.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    assert [(line["prompt"], line["text"]) for line in lines] == [
        (o["prompt"], t) for o in told["results"] for t in o["texts"]
    ]
    assert [line["seed"] for line in lines] == [5, 6] * 4
    assert json.loads((tmp_path / "told.jsonl.meta.json").read_text())["weights"] == runs["bpe"].weights_hash
    (tmp_path / "asked.jsonl").write_text("\n".join(json.dumps({"prompt": p, "id": 1}) for p in asked) + "\n\n")
    assert write.prompts_of(tmp_path / "asked.jsonl") == asked == write.prompts_of(tmp_path / "asked.txt")
    (tmp_path / "nothing.jsonl").write_text('{"prompt": ""}')
    assert write.prompts_of(tmp_path / "nothing.jsonl") == [""]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [("a.txt", b"the\n\nfox\n", "line 2 is empty; write a prompt there"), ("a.txt", b"the\n  \n", "line 2 is empty"),
     ("a.txt", b"the\nf\xfcr\n", "not UTF-8: byte 0xfc at offset 5"), ("a.txt", b" \n", "holds no prompts"),
     ("a.jsonl", b"", "holds no prompts"), ("a.jsonl", b"{\n", "line 1 is not JSON"), ("a.jsonl", b"[1]\n", "not an object"),
     ("a.jsonl", b'{"prompt": "a"}\n{"promt": "a"}', "line 2 has no prompt"), ("a.jsonl", b'{"prompt": 3}', "has 3 for a prompt"),
     ("a.txt", ("fox\n" + FOX.strip() * 9).encode(), "prompt 2: the prompt has")],
)  # fmt: skip
def test_files_that_are_no_prompts_are_told_before_anything_is_written(runs, tmp_path, capsys, name, data, says):
    (tmp_path / name).write_bytes(data)
    status = main(["write", "generate", str(runs["bpe"].path), "--prompts", str(tmp_path / name), "--max-new", "3"])
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_prompts_come_from_one_place_and_go_to_one(runs, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("fox\n")
    path, file = str(runs["bpe"].path), str(tmp_path / "a.txt")
    for args, says in (
        ([path, "the", "--prompts", file], "two sources"),
        ([path, "the", "--out", str(tmp_path / "o")], "--prompts"),
        ([path, "--prompts", str(tmp_path / "b.txt")], "b.txt"),
        ([str(runs["char"].path), "--prompts", file, "--set", "seed=3"], "seed"),
    ):
        assert main(["write", "generate", *args]) == 2
        assert says in capsys.readouterr().err
    (tmp_path / "a.txt").write_text("fox\nЖ\n")
    assert main(["write", "generate", str(runs["char"].path), "--prompts", file]) == 2
    assert "prompt 2: the character 'Ж'" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_told_before_anything_is_made(runs, tmp_path, capsys, monkeypatch):
    (tmp_path / "a.txt").write_text("fox\n")
    monkeypatch.setattr(write, "complete", lambda *a, **k: pytest.fail("texts were made"))
    for place in (tmp_path, tmp_path / "a.txt" / "b.jsonl", "/dev/null"):
        args = ["write", "generate", str(runs["bpe"].path), "--prompts", str(tmp_path / "a.txt"), "--out", str(place)]
        assert main(args) == 2
        err = capsys.readouterr().err
        assert f"cannot write {place}: " in err
        assert len(err.strip().splitlines()) == 1


def test_what_was_written_stays_where_writing_fails(runs, tmp_path, capsys, monkeypatch):
    (tmp_path / "a.txt").write_text("fox\n")
    (tmp_path / "o.jsonl").write_text("before")

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    file = ["--prompts", str(tmp_path / "a.txt"), "--max-new", "2", "--out", str(tmp_path / "o.jsonl")]
    assert main(["write", "generate", str(runs["bpe"].path), *file]) == 2
    assert "No space left" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "o.jsonl"]
    assert (tmp_path / "o.jsonl").read_text() == "before"


@pytest.mark.parametrize(("n", "prompts", "rows"), [(2, 3, 6), (2, 50, 64), (3, 0, 3)])
def test_weights_are_packed_for_as_many_texts_as_are_made_at_once(runs, tmp_path, monkeypatch, n, prompts, rows):
    (tmp_path / "a.txt").write_text("fox\n" * prompts)
    seen = []
    monkeypatch.setattr(bottega.Run, "lighter", lambda self, kind, rows=1: seen.append(rows) or self)
    monkeypatch.setattr(write, "complete", lambda *a, **k: pytest.fail("too far"))
    what = ["--prompts", str(tmp_path / "a.txt")] if prompts else ["fox"]
    with pytest.raises(pytest.fail.Exception):
        main(["write", "generate", str(runs["bpe"].path), *what, "-n", str(n), "--weights", "fp32"])
    assert seen == [rows]


SETTINGS = (
    "seed draft notes keep batch prompt prompts guides n stop max_new long overflow schema choices logprobs run rng"
)


@pytest.mark.parametrize("task", ["generate", "continue", "fill"])
def test_what_has_an_option_of_its_own_is_no_setting(runs, tmp_path, capsys, task):
    (tmp_path / "t.txt").write_text("the quick ___ fox")
    text = str(tmp_path / "t.txt") if task == "continue" else "the quick ___ fox"
    for name in SETTINGS.split():
        for more in ([], ["-n", "2"]):
            status = main(["write", task, str(runs["bpe"].path), text, "--set", f"{name}=3", *more])
            out, err = capsys.readouterr()
            assert (status, out) == (2, ""), name
            assert len(err.strip().splitlines()) == 1
            assert name in err
    for said, option in (
        ("seed=3", "--seed"),
        ('stop="e"', "--longest" if task == "fill" else "--stop"),
        ("n=2", "-n"),
    ):
        assert main(["write", task, str(runs["bpe"].path), text, "--set", said]) == 2
        assert option in capsys.readouterr().err


def test_every_argument_of_the_crafts_is_refused_as_a_setting():
    """So that none can be told twice when one is added."""
    import inspect

    from bottega.cli._write._texts import apart
    from bottega.crafts.endpoint import Endpoint

    named = {
        p.name
        for made in (write.complete, write.generate, write.stream, Endpoint.stream, Endpoint.complete)
        for p in inspect.signature(made).parameters.values()
        if p.kind is not p.VAR_KEYWORD
    }
    assert named - set(apart()) == {"cond"}, "cond is a setting: what to ask a model for that was trained with classes"
    own = {p.name for p in inspect.signature(fill).parameters.values() if p.kind is not p.VAR_KEYWORD}
    assert not own - set(apart(blank="", longest="", tries=""))


def test_the_knobs_that_are_told_are_knobs(runs):
    for call in (write.complete, lambda *a, **k: fill(runs["bpe"], "a ___", **k)):
        with pytest.raises(RecipeError, match="no knob called 'zzz'") as error:
            call(runs["bpe"], ["the"], zzz=1)
        listed = str(error.value).partition("known: ")[2].split(", ")
        assert "temperature" in listed
        assert not {"batch", "draft", "guides", "keep", "notes", "stop", "max_new", "overflow"} & set(listed)
    for name in ("batch", "guides", "keep", "notes"):
        with pytest.raises(RecipeError, match=f"no knob called '{name}'"):
            write.complete(runs["bpe"], ["the"], **{name: None})
    with pytest.raises(RecipeError, match="no knob called 'max_new'"):
        fill(runs["bpe"], "a ___", max_new=3)


def test_nothing_is_shown_of_what_cannot_be_done(runs, capsys):
    for args in (["--set", "temperature=-1"], ["--set", "zzz=1"], ["--regex", "("]):
        assert main(["write", "generate", str(runs["bpe"].path), "the quick", *args]) == 2
        assert capsys.readouterr().out == ""
    assert main(["write", "generate", str(runs["bpe"].path), FOX * 9]) == 2
    assert capsys.readouterr().out == ""


def test_what_the_filter_blocks_is_not_shown(runs, tmp_path, capsys):
    path = str(runs["bpe"].path)
    (tmp_path / "fox.toml").write_text(
        '[[rule]]\nid = "own.fox"\nwhat = "foxes"\naction = "block"\npatterns = ["jumps over the lazy dog"]\n'
        '[[rule]]\nid = "own.colour"\nwhat = "colours"\naction = "redact"\nmark = "[colour]"\npatterns = ["brown"]\n'
    )
    own = ["--filter-with", str(tmp_path / "fox.toml"), "--filter-log", str(tmp_path / "log.jsonl")]
    for form in ([], ["--json"]):  # the prompt: nothing is loaded, nothing shown
        assert main(["write", "generate", "runs/none", "how to build a pipe bomb", "--filter", *form]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "the prompt is blocked by rule violence.weapons" in err
        assert "pipe" not in err
    asked = ["write", "generate", path, "the quick", "--set", "temperature=0", "--max-new", "30", "--choice"]
    assert main([*asked, " brown fox jumps over the lazy dog", *own, "--json", "--logprobs", "1"]) == 2
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["texts"], told["rules"], told["tokens"], told["likeliest"]) == ([None], [["own.fox"]], [None], [None])
    assert "blocked by rule own.fox: foxes" in err
    assert "lazy" not in out + err + (tmp_path / "log.jsonl").read_text()
    assert main([*asked, " brown fox runs", *own]) == 0
    out, err = capsys.readouterr()
    assert out == "the quick [colour] fox runs\n\n"
    assert "own.colour (redact)" in err
    assert main([*asked, " brown fox runs", "--filter"]) == 0
    assert capsys.readouterr() == ("the quick brown fox runs\n\n", "")
    rows = [json.loads(line)["rule"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows == ["own.colour", "own.fox", "own.colour"]


def test_what_the_filter_blocks_of_a_file_leaves_a_gap(runs, tmp_path, capsys):
    (tmp_path / "asked.txt").write_text("fox\nthe lazy dog\nthe\n")
    (tmp_path / "rules.toml").write_text(
        '[[rule]]\nid = "own.lazy"\nwhat = "lazy"\naction = "block"\npatterns = ["lazy"]\n'
    )
    args = ["write", "generate", str(runs["bpe"].path), "--prompts", str(tmp_path / "asked.txt"), "--max-new", "4"]
    status = main([*args, "--filter-with", str(tmp_path / "rules.toml"), "--json"])
    out, _ = capsys.readouterr()
    told = json.loads(out)["results"]
    assert status == 2
    assert [one["prompt"] for one in told] == ["fox", None, "the"]
    assert told[1]["texts"] == [None]
    assert "rules" in told[0]
    place = tmp_path / "told.jsonl"
    assert main([*args, "-n", "2", "--filter-with", str(tmp_path / "rules.toml"), "--out", str(place)]) == 2
    lines = [json.loads(line) for line in place.read_text().splitlines()]
    assert [line["prompt"] for line in lines] == ["fox", "fox", None, None, "the", "the"]
    assert lines[3] == {"prompt": None, "seed": 1, "text": None, "finish": None}


def test_the_filter_of_a_text_that_goes_on(runs, tmp_path, capsys):
    path = str(runs["bpe"].path)
    (tmp_path / "mail.txt").write_text("mail fox@example.com: the quick")
    told = ["--max-new", "6", "--out", str(tmp_path / "o"), "--filter", "-n", "2"]
    assert main(["write", "continue", path, str(tmp_path / "mail.txt"), *told]) == 0
    written = sorted((tmp_path / "o").glob("*.txt"))
    assert len(written) == 2
    assert all(p.read_text().startswith("mail [e-mail address]: the quick") for p in written)
    (tmp_path / "all.toml").write_text('[[rule]]\nid = "own.all"\nwhat = "all"\naction = "block"\npatterns = ["."]\n')
    capsys.readouterr()
    (tmp_path / "the.txt").write_text("the")
    assert (
        main(["write", "continue", path, str(tmp_path / "the.txt"), "--filter-with", str(tmp_path / "all.toml")]) == 2
    )
    assert capsys.readouterr().out == ""
