"""Perplexity of other people's models on a text of one's own: all of it, under a sliding window, and nothing left behind."""

import json
import math

import pytest
import torch

pytest.importorskip("transformers", reason="needs the extra text")

import transformers

import bottega
from bottega.cli import main
from bottega.core import DataError, RecipeError
from hf import TEXT, directory

KINDS = {"gpt2": {}, "llama": {"spelt": "prepend"}, "gpt_neox": {}}
MINE = "\n".join(f"{k}. {TEXT[0]}{TEXT[1]}" for k in range(6))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    here = tmp_path_factory.mktemp("hf")
    return {kind: directory(here / kind, kind, **more) for kind, more in KINDS.items()}


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.txt").write_text(MINE)
    return tmp_path / "mine.txt"


@torch.no_grad()
def sliding_sum(folder, text, window, stride, start):
    """As the guide of transformers to perplexity has it, with the model's start before each window: nats and tokens."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(folder)
    line = tokens(text, add_special_tokens=False, return_tensors="pt").input_ids[0]
    nats, done, begin = 0.0, 0, 0
    while done < len(line):
        end = min(begin + window, len(line))
        begin = max(0, end - window)
        ids = torch.cat([torch.tensor([start]), line[begin:end]])[None]
        logp = model(ids[:, :-1]).logits[0].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        nats -= float(logp[done - begin :].sum())
        done, begin = end, begin + stride
    return nats, len(line)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("window", "stride"), [(64, 32), (48, 11), (40, 40)])
def test_it_is_the_sum_that_transformers_gives_over_the_whole_file(folders, mine, capsys, kind, window, stride):
    before = sorted(p.name for p in folders[kind].iterdir())
    args = ["judge", str(folders[kind]), "--data", str(mine), "--json"]
    if (window, stride) != (64, 32):  # those are the model's own, and half of it
        args += ["--window", str(window), "--stride", str(stride)]
    assert main(args) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    found = {m["name"]: m for m in told["measures"]}
    run = bottega.load(folders[kind])
    nats, tokens = sliding_sum(folders[kind], MINE, window, stride, run.model.start)
    assert set(found) == {"perplexity_sliding", "bits_per_byte_sliding"}
    assert found["perplexity_sliding"]["value"] == pytest.approx(math.exp(nats / tokens), rel=1e-4)
    want = nats / math.log(2) / len(MINE.encode())
    assert found["bits_per_byte_sliding"]["value"] == pytest.approx(want, rel=1e-4)
    assert f"over all {tokens} tokens" in found["perplexity_sliding"]["note"], "every one, and the last end is none"
    assert found["perplexity_sliding"]["n"] == 1 + math.ceil((tokens - window) / stride), (
        "windows, as the interval has it"
    )
    assert found["perplexity_sliding"]["low"] < math.exp(nats / tokens) < found["perplexity_sliding"]["high"]
    assert told["written"] is None
    assert "nothing was written" in err
    assert sorted(p.name for p in folders[kind].iterdir()) == before
    assert not (folders[kind].parent / ".bottega").exists()


def test_a_stride_matters_and_a_short_text_is_one_window(folders, mine, tmp_path):
    run = bottega.load(folders["gpt2"])
    values = [run.judge(mine, stride=stride).measures[0].value for stride in (8, 64)]
    assert values[0] != values[1]
    (tmp_path / "short.txt").write_text("The north wind")
    one = run.judge(tmp_path / "short.txt").measures[0]
    nats, tokens = sliding_sum(folders["gpt2"], "The north wind", 64, 32, run.model.start)
    assert one.value == pytest.approx(math.exp(nats / tokens), rel=1e-4)
    assert (one.low, one.high) == (None, None), "of one window there is no interval"
    assert "in one window" in one.note


def test_evidence_is_kept_where_it_is_asked_for(folders, mine, tmp_path, capsys):
    out = tmp_path / "kept"
    assert main(["judge", str(folders["llama"]), "--data", str(mine), "--out", str(out), "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == str(out)
    kept = json.loads((out / "evidence.json").read_text())
    assert {m["name"] for m in kept["measures"]} == {"perplexity_sliding", "bits_per_byte_sliding"}
    assert any("the whole of mine" in note for note in kept["notes"])
    assert (out / "report.html").stat().st_size > 0
    assert "perplexity" in (out / "card.md").read_text().lower()
    assert not (folders["llama"] / "evidence.json").exists()


def test_other_judges_are_there_when_they_are_named_and_write_nothing_either(folders, tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for k in range(12):
        (folder / f"{k}.txt").write_text(f"{k} {TEXT[0]}")
    before = sorted(p.name for p in folders["gpt2"].iterdir())
    made = bottega.load(folders["gpt2"]).judge(folder, only=["likelihood", "diversity"], n=4)
    assert {"perplexity", "perplexity_sliding"} <= {m.name for m in made.measures}
    assert sorted(p.name for p in folders["gpt2"].iterdir()) == before


def test_what_cannot_be_judged_is_one_line(folders, mine, tmp_path, capsys):
    run = bottega.load(folders["gpt2"])
    with pytest.raises(DataError, match="not trained here.*--data FILE"):
        run.judge()
    for more, says in (
        ({"window": 65}, "window is 65, and the model reads 64 tokens; give 2 to 64"),
        ({"window": 1}, "window is 1"),
        ({"window": 32, "stride": 33}, "stride is 33, and a window has 32"),
        ({"stride": 0}, "stride is 0"),
        ({"only": ["likelyhood"]}, "likelihood"),
    ):
        with pytest.raises(RecipeError, match=says):
            run.judge(mine, **more)
    (tmp_path / "bad.txt").write_bytes(b"f\xfcr")
    for data, says in ((tmp_path / "bad.txt", "not UTF-8"), (tmp_path / "none.txt", "none.txt")):
        assert main(["judge", str(folders["gpt2"]), "--data", str(data)]) == 2
        err = capsys.readouterr().err
        assert says in err
    (tmp_path / "taken").write_text("")
    assert main(["judge", str(folders["gpt2"]), "--data", str(mine), "--out", str(tmp_path / "taken")]) == 2
    assert "--out" in capsys.readouterr().err
    assert (
        main(["judge", str(folders["gpt2"]), "--data", str(tmp_path / "none.txt"), "--out", str(tmp_path / "new")]) == 2
    )
    assert not (tmp_path / "new").exists(), "a folder is made when there is something to write"
