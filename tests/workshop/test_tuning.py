"""Row M6: from logs of conversations in one command, with before and after, and a way back."""

from __future__ import annotations

import json
import math
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file

import bottega
from bottega.cli import main
from bottega.core import BottegaError, CheckpointError, DataError, RecipeError, Rng
from bottega.crafts import write
from bottega.crafts.write_fill import fill
from bottega.workshop import tuning, versions
from bottega.workshop.evidence import Evidence
from bottega.workshop.run import WEIGHTS
from bottega.workshop.versions import FILES, rollback
from helpers import interrupted_at, one_line
from recipes import write_recipe

GOODS = {"tea": "3", "salt": "1", "rice": "2", "oil": "9"}
QUICK = {"train.steps": 40, "train.checks": 2, "train.patience": 0, "judge.n": 8}


def logs(path, n=60, seed=0):
    """A shop: what is asked differs, the answer follows from the goods."""
    pick = [Rng(seed).integers(4, n).tolist(), Rng(seed + 1).integers(100, n).tolist()]
    rows = []
    for k, number in zip(*pick, strict=True):
        name, price = list(GOODS.items())[k]
        said = [("user", f"{number}: what is {name}?"), ("assistant", f"{name} is {price}.")]
        rows.append({"messages": [{"role": role, "content": text} for role, text in said]})
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A small model of the built-in English."""
    here = tmp_path_factory.mktemp("base")
    changes = {"codec.vocab": 300, "codec.length": 64, "family.size": 2, "train.batch": 8, "data.limit": 30,
               "optim.warmup": 0.1, "train.ema": 0.0, "train.checks": 0}  # fmt: skip
    return bottega.train("english", out=here / "english", steps=30, set=changes, judge=False)


@pytest.fixture(scope="module")
def tuned(base, tmp_path_factory):
    """It after the logs of the shop, by the command line."""
    here = tmp_path_factory.mktemp("tuned")
    file = logs(here / "shop.jsonl")
    sets = [word for key, value in (QUICK | {"optim.lr": 3e-3, "judge.only": "likelihood,self_bleu"}).items()
            for word in ("--set", f"{key}={value}")]  # fmt: skip
    words = ["train", str(file), "--base", str(base.path), "--out", str(here / "shop"), "--quiet", *sets]
    assert main(words) == 0
    return bottega.load(here / "shop")


# ---- before and after ------------------------------------------------------------------------------------------------


def test_one_command_learns_the_answers_and_says_what_was_gained_and_forgotten(base, tuned):
    assert tuned.recipe.name == "chat"
    evidence = Evidence.read(tuned.path / "evidence.json")
    answers, known, f1 = evidence.tuning["measures"]
    assert (answers["of"], known["of"], f1["name"]) == ("the held-out answers", "english", "f1")
    assert answers["after"][0] < 0.2 * answers["before"][0]
    assert known["after"][0] > known["before"][0], "something is forgotten, and said"
    for row in (answers, known):
        assert row["before"][1] < row["before"][0] < row["before"][2]
        assert row["change"][0] == pytest.approx(row["after"][0] / row["before"][0] - 1)
        assert row["change"][1] <= row["change"][0] <= row["change"][2]
    assert f1["change"][0] == pytest.approx(f1["after"][0] - f1["before"][0])
    assert f1["after"][0] > f1["before"][0] + 0.2
    written = evidence.tuning["answers"]
    assert len(written) == f1["n"] == f1["rows"]
    assert all(re.fullmatch(r"\d+: what is \w+\?", one["asked"]) for one in written)
    # what is written down is what the model says
    some = [write.generate(tuned, one["asked"], max_new=32, temperature=0.0)[0] for one in written[:3]]
    assert some == [one["after"] for one in written[:3]]
    assert evidence.find("perplexity").value == pytest.approx(answers["after"][0], rel=1e-3)
    assert evidence.find("self_bleu").n == 6, "as many as were held back"


def test_the_page_the_card_and_the_notes_show_both(tuned):
    page, card = ((tuned.path / name).read_text() for name in ("report.html", "card.md"))
    for row in tuned.evidence.tuning["measures"]:
        for when in ("before", "after"):
            assert f"{row[when][0]:.4g}" in page
            assert f"{row[when][0]:.4g}" in card
    one = tuned.evidence.tuning["answers"][0]
    assert f"<td>{one['real']}</td>" in page
    assert "bottega rollback" in page
    (note,) = [n for n in tuned.evidence.notes if n.startswith("perplexity of the held-out answers")]
    assert f"{tuned.evidence.tuning['measures'][0]['before'][0]:.4g} before" in note
    assert (tuned.path / "samples" / "sheet.txt").read_text().startswith("User: ")


def test_the_figures_are_those_of_the_formula():
    before = {"texts": {"x": {"nats": [2.0, 4.0], "tokens": [2, 2]}}, "answers": ["a red cat", "no"]}
    after = {"texts": {"x": {"nats": [1.0, 3.0], "tokens": [2, 2]}}, "answers": ["red cat", "yes"]}
    made = tuning.compare(before, after, [("q", "red cat"), ("r", "yes")])
    perplexity, f1 = made["measures"]
    assert perplexity["before"][0] == pytest.approx(math.exp(1.5))
    assert perplexity["after"][0] == pytest.approx(math.exp(1.0))
    assert perplexity["change"] == pytest.approx([math.exp(-0.5) - 1] * 3), (
        "both rows changed alike: no doubt of the change"
    )
    assert perplexity["n"] == 4
    assert (f1["before"][0], f1["after"][0]) == (0.5, 1.0)
    assert made["answers"][1] == {"asked": "r", "real": "yes", "before": "no", "after": "yes"}
    assert tuning.compare({}, {}, []) == {}
    one = {"texts": {"x": {"nats": [2.0], "tokens": [2]}}, "answers": ["a"]}
    assert [
        m[k][1:] for m in tuning.compare(one, one, [("q", "a")])["measures"] for k in ("before", "after", "change")
    ] == [[None, None]] * 6
    assert [note.split(":")[0] for note in tuning.told(made)] == ["perplexity of x", "F1 of words of written answers"]


def test_adapters_on_a_hugging_face_directory_with_its_own_template(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("peft")
    from hf import directory

    there = directory(tmp_path / "qwen2", "qwen2")
    settings = json.loads((there / "tokenizer_config.json").read_text())
    template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
    (there / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": template}))
    start = bottega.load(there)
    changes = QUICK | {"train.steps": 6, "train.lora": 4, "optim.lr": 1e-2, "codec.length": 64}
    run = bottega.train(logs(tmp_path / "shop.jsonl"), out=tmp_path / "run", base=str(there), set=changes, judge=False)
    answers, known, _ = run.evidence.tuning["measures"]
    assert answers["after"][0] < answers["before"][0]
    assert known["of"] == "english"
    prompt = run.codec.encode_prompt("1: what is tea?")
    assert run.codec.decode(prompt[None])[0].value == "[user] 1: what is tea?[assistant]"
    from bottega.shrink.export import to_huggingface

    to_huggingface(run.model, run.codec, tmp_path / "hf")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    asked = [{"role": "user", "content": "1: what is tea?"}]
    assert theirs.apply_chat_template(asked, add_generation_prompt=True, return_dict=False) == prompt.tolist()
    assert rollback(run.path).number == 1
    back = bottega.load(run.path)
    assert back.weights_hash == start.weights_hash
    assert torch.equal(back.codec.encode_prompt("tea"), start.codec.encode_prompt("tea"))


def test_stopped_and_resumed_it_is_the_same_to_the_bit(base, tmp_path):
    file = logs(tmp_path / "shop.jsonl", 40)
    changes = QUICK | {"train.steps": 6, "train.remember": "english"}

    def play(name):
        return bottega.train(file, out=tmp_path / name, base=str(base.path), set=changes, judge=False)

    whole = play("whole")
    from bottega.workshop.training import Training

    with interrupted_at(Training, 2):
        play("cut")
    with pytest.raises(BottegaError) as error:
        rollback(tmp_path / "cut")
    one_line(error, "still being trained")
    again = play("cut")
    assert again.weights_hash == whole.weights_hash
    assert again.evidence.tuning == whole.evidence.tuning
    assert [v.number for v in versions.versions(tmp_path / "cut")] == [1, 2]


# ---- use -------------------------------------------------------------------------------------------------------------


def test_it_answers_whole_in_parts_and_in_samples(tuned, capsys):
    asked = "7: what is oil?"
    (whole,) = write.generate(tuned, asked, seed=3, max_new=12)
    assert whole == whole.strip()
    assert "".join(write.stream(tuned, asked, seed=3, max_new=12)) == whole
    made = tuned.sample(2, seed=3, cond=asked, max_new=12)
    assert made.items[0].value == f"User: {asked}\nAssistant: {whole}"
    known = tuned.sample(3).items
    assert all(re.match(r"User: \d+: what is \w+\?\nAssistant:", item.value) for item in known)
    assert main(["write", "generate", str(tuned.path), asked, "--max-new", "12", "--seed", "3", "--quiet"]) == 0
    assert capsys.readouterr().out == f"{asked}\n{whole}\n"
    with pytest.raises(DataError, match="nothing is"):
        write.generate(tuned, "")
    assert main(["write", "continue", str(tuned.path), __file__]) == 2
    assert "answers what is asked" in capsys.readouterr().err
    with pytest.raises(BottegaError, match="answers what is asked"):
        fill(tuned, "a ___ b")
    (row,) = tuned.score([logs(tuned.path / "more.jsonl", 5)])
    (tuned.path / "more.jsonl").unlink()
    assert row["pieces"] == 5
    assert 0 < row["nats_per_dim"] < 3


def test_only_families_that_read_what_is_given_learn_answers(tmp_path):
    with pytest.raises(RecipeError) as error:
        bottega.train("chat", logs(tmp_path / "shop.jsonl"), tmp_path / "run", judge=False,
                      set={"family.name": "hmm", "family.size": 8})  # fmt: skip
    one_line(error, "a hmm cannot learn answers", "gpt", "rnn")
    assert not (tmp_path / "run").exists()


# ---- the way back ----------------------------------------------------------------------------------------------------


def files(run):
    """Everything of a version but the versions themselves."""
    return {
        str(p.relative_to(run)): p.read_bytes()
        for name in FILES
        for p in sorted([run / name, *(run / name).rglob("*")])
        if p.is_file()
    }


@pytest.fixture
def shop(tuned, tmp_path):
    """A copy of the tuned run that may be changed."""
    shutil.copytree(tuned.path, tmp_path / "shop")
    return tmp_path / "shop"


def test_back_and_forth_nothing_is_lost(base, tuned, shop, capsys):
    (shop / "mine.txt").write_text("a file of one's own")
    before = files(shop)
    assert main(["rollback", str(shop), "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["before"], told["current"]) == (2, 1)
    back = bottega.load(shop)
    assert back.weights_hash == base.weights_hash
    assert back.evidence.tuning == {}
    assert not (shop / "report.html").exists()
    assert (shop / "mine.txt").exists()
    assert write.generate(back, "The class", max_new=5) == write.generate(base, "The class", max_new=5)
    assert main(["rollback", str(shop), "--to", "2", "--quiet"]) == 0
    assert files(shop) == before
    assert bottega.load(shop).weights_hash == tuned.weights_hash
    for _ in range(2):  # there and back again makes no version more
        rollback(shop)
        rollback(shop, 2)
    assert [v.number for v in versions.versions(shop)] == [1, 2]


def test_a_version_is_not_touched_by_what_comes_after(shop):
    rollback(shop)
    kept = {p: p.read_bytes() for p in (shop / "versions").rglob("*") if p.is_file()}
    bottega.load(shop).show()
    (shop / "log.jsonl").open("a").write("more\n")
    assert {p: p.read_bytes() for p in kept} == kept


@pytest.mark.parametrize("at", [0, 4, 8])
def test_broken_off_anywhere_it_is_whole_and_the_same_call_completes_it(base, tuned, shop, monkeypatch, at):
    done = []

    def breaks(source, target, real=versions._replace):
        if len(done) == at:
            raise KeyboardInterrupt
        done.append(target)
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(versions, "_replace", breaks)
        with pytest.raises(KeyboardInterrupt):
            rollback(shop)
    assert bottega.load(shop).weights_hash in {base.weights_hash, tuned.weights_hash}
    assert rollback(shop, 1).number == 1
    assert bottega.load(shop).weights_hash == base.weights_hash
    rollback(shop, 2)
    assert bottega.load(shop).weights_hash == tuned.weights_hash
    assert bottega.load(shop).evidence.tuning == tuned.evidence.tuning


def test_a_version_is_put_away_whole_or_not_at_all(shop, monkeypatch):
    def breaks(source, target, real=versions._copy):
        if target.name == "card.md":
            raise OSError(28, "No space left on device", str(target))
        real(source, target)

    before = files(shop)
    with monkeypatch.context() as patch:
        patch.setattr(versions, "_copy", breaks)
        assert main(["rollback", str(shop)]) == 2
    assert files(shop) == before
    assert [v.number for v in versions.versions(shop) if v.path != shop] == [1]
    assert rollback(shop).number == 1


def test_a_judgement_between_two_rollbacks_is_kept(shop):
    rollback(shop)
    assert not (shop / "evidence.json").exists()
    measured = {}
    for number in (1, 2, 1, 2):
        run = bottega.load(shop)
        if number in measured:
            assert (shop / "evidence.json").read_bytes() == measured[number]
        else:
            run.judge(n=4, only=["likelihood"])
            measured[number] = (shop / "evidence.json").read_bytes()
        rollback(shop, 3 - number)


def test_what_cannot_be_kept_is_one_line(base, tmp_path, monkeypatch, capsys):
    def breaks(source, target):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(versions, "_copy", breaks)
    words = [
        "train",
        str(logs(tmp_path / "shop.jsonl", 20)),
        "--base",
        str(base.path),
        "--out",
        str(tmp_path / "run"),
        "--quiet",
    ]
    assert main([*words, "--steps", "1", "--no-judge"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "No space left" in said
    assert not list(versions._kept(tmp_path / "run"))


def test_a_table_of_questions_is_learned_and_remembered(base, tmp_path):
    rows = [f"what is {k}?,it is {k}." for k in range(30)]
    (tmp_path / "faq.csv").write_text("\n".join(["question,reply", *rows]))
    columns = {"codec.prompt": "question", "codec.answer": "reply"}
    quick = QUICK | {"train.steps": 1}
    faq = bottega.train(
        "chat", tmp_path / "faq.csv", tmp_path / "faq", base=str(base.path), set=quick | columns, judge=False
    )
    for name, more, known in (("a", columns, str(tmp_path / "faq.csv")), ("b", {}, None)):
        file = logs(tmp_path / f"{name}.jsonl", 20)
        run = bottega.train("chat", file, tmp_path / name, base=str(faq.path), set=quick | more, judge=False)
        told = [row["of"] for row in run.evidence.tuning["measures"] if row["name"] == "perplexity"]
        assert told == ["the held-out answers", *([known] if known else [])]
    with pytest.raises(RecipeError, match=r"whose \[codec\] is"):
        bottega.train(
            "chat", file, tmp_path / "c", base=str(faq.path), set=quick | {"codec.template": "plain"}, judge=False
        )


def test_each_training_is_a_step_of_the_way_back(tuned, tmp_path):
    more = bottega.train(logs(tmp_path / "more.jsonl", seed=5), out=tmp_path / "again", base=str(tuned.path),
                         set=QUICK | {"train.steps": 2}, judge=False)  # fmt: skip
    assert more.recipe.codec["name"] == "chat"
    found = versions.versions(more.path)
    assert [(v.number, v.current, v.header["recipe"]["name"]) for v in found] == [
        (1, False, "english"), (2, False, "chat"), (3, True, "chat")
    ]  # fmt: skip
    rollback(more.path)
    assert bottega.load(more.path).weights_hash == tuned.weights_hash
    assert bottega.load(more.path).evidence.tuning == tuned.evidence.tuning
    rollback(more.path)
    with pytest.raises(BottegaError, match="first version already"):
        rollback(more.path)
    assert bottega.load(more.path / "versions" / "3").weights_hash == more.weights_hash


def test_adapters_are_put_back_merged(base, tmp_path):
    pytest.importorskip("peft")
    file = logs(tmp_path / "shop.jsonl")
    changes = QUICK | {"train.steps": 2, "train.lora": 2}
    first = bottega.train(file, out=tmp_path / "first", base=str(base.path), set=changes, judge=False)
    assert load_file(first.path / "adapters.safetensors")
    second = bottega.train(file, out=tmp_path / "second", base=str(first.path), set=changes, judge=False)
    rollback(second.path)
    assert bottega.load(second.path).weights_hash == first.weights_hash
    rollback(first.path)
    assert bottega.load(first.path).weights_hash == base.weights_hash
    assert not (first.path / "adapters.safetensors").exists()


def test_what_a_rollback_refuses(base, shop, tmp_path, capsys):
    for run, more, words in (
        (base.path, [], ("nothing to go back to", "train --base")), (tmp_path / "none", [], ("no run at",)),
        (shop, ["--to", "7"], ("no version 7", "1, 2")), (shop, ["--to", "2"], ("version 2 already",)),
    ):  # fmt: skip
        assert main(["rollback", str(run), *more]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert all(word in said for word in words), said
    assert main(["rollback", str(base.path), "--list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["versions"] == []
    with pytest.raises(CheckpointError):
        versions.versions(tmp_path)


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"messages": [', ("line 61", "not JSON")), ('{"messages": [{"role": "user", "content": "Hi"}]}', ("line 61", "nobody answers")),
        ('{"messages": [{"role": "robot", "content": "Hi"}]}', ("line 61", "'robot'")),
    ],
)  # fmt: skip
def test_bad_logs_are_one_line_and_leave_nothing(base, tmp_path, capsys, line, words):
    file = logs(tmp_path / "shop.jsonl")
    file.write_text(file.read_text() + line + "\n")
    out = tmp_path / "run"
    assert main(["train", str(file), "--base", str(base.path), "--out", str(out), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(word in said for word in words), said
    assert not out.exists()
    if "robot" in line:
        settings = QUICK | {"train.steps": 1, "codec.on_error": "skip"}
        run = bottega.train(file, out=out, base=str(base.path), set=settings, judge=False)
        assert any("1 unreadable pieces were left out" in note and "line 61" in note for note in run.evidence.notes)


def test_an_empty_file_and_bases_that_do_not_fit(base, tuned, tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no conversations"):
        bottega.train("chat", tmp_path / "empty.jsonl", tmp_path / "a", base=str(base.path))
    ring = bottega.train(write_recipe(tmp_path), out=tmp_path / "ring", steps=1, judge=False)
    shop = logs(tmp_path / "shop.jsonl")
    for recipe, start, words in (
        ("chat", ring.path, ("reads points",)), ("digits-vae", base.path, ("recipe 'digits-vae'", "recipe text or chat")),
        ("english", tuned.path, ("learned to answer", "go on with recipe chat")),
    ):  # fmt: skip
        with pytest.raises(RecipeError) as error:
            bottega.train(recipe, shop if recipe == "chat" else None, tmp_path / "b", base=str(start), judge=False)
        assert all(re.search(word, str(error.value)) for word in words), error.value
    with pytest.raises(CheckpointError, match="no directory of a Hugging Face model .* and no run"):
        bottega.train(shop, out=tmp_path / "c", base=str(tmp_path / "nowhere"))
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "c" / WEIGHTS).exists()


def test_other_texts_begin_with_a_run_too(base, tmp_path):
    text = tmp_path / "harbour.txt"
    text.write_text("The Aurora lands 12 tons of salt at quay 3.\n" * 60)
    run = bottega.train("text", text, tmp_path / "run", base=str(base.path), steps=4, judge=False,
                        set={"optim.name": "adamw", "optim.schedule": "linear", "train.ema": 0.0, "train.patience": 0})  # fmt: skip
    assert run.recipe.family == base.recipe.family
    assert [row["of"] for row in run.evidence.tuning["measures"]] == ["the held-out text", "english"]
    assert run.evidence.tuning["answers"] == []
