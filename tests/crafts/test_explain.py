"""The page of an explanation: its tokens join to the text, its numbers are the model's, a browser shows it alone."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch

import bottega
from bottega.cli import main
from bottega.codecs.text import TextCodec
from bottega.core import BottegaError, DataError, Item, RecipeError
from bottega.crafts.explain import explain, token_strings

RECIPE = """
about = "a few lines"
[codec]
name = "text"
tokenizer = "{tokenizer}"
vocab = 270
length = 32
[family]
name = "gpt"
size = 1
heads = 2
depth = 2
[train]
steps = 40
batch = 8
"""
TEXT = 'The cat — "</script><b>" — saw é 𝄞.\nThe dog sat. '


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    here = tmp_path_factory.mktemp("explained")
    (here / "lines.txt").write_text(TEXT * 60)
    (here / "small.toml").write_text(RECIPE.format(tokenizer="bpe"))
    return bottega.train(here / "small.toml", data=here / "lines.txt", out=here / "run", judge=False)


def test_tokens_join_to_the_text_whatever_they_are_made_of():
    for tokenizer in ("byte", "bpe", "char"):
        codec = TextCodec(tokenizer=tokenizer, vocab=270, length=16).fit([Item(TEXT)])
        tokens = codec.tokens([TEXT])[0].tolist()
        strings = token_strings(codec, tokens)
        assert len(strings) == len(tokens)
        assert "".join(strings) == TEXT
        assert token_strings(codec, [*tokens[:3], codec.end, *tokens[:3]]) == [*strings[:3], "∎", *strings[:3]]


def test_numbers_on_the_page_are_the_models(run, tmp_path):
    added = "".join(explain(run, "The cat saw", more=4, points=1).tokens)
    assert added.startswith("The cat saw")
    again = run.edit("The cat saw", temperature=0.0).items[0].value
    assert again.startswith(added.rstrip("\ufffd"))
    found = explain(run, "The cat saw The dog")
    n = len(found.tokens)
    assert found.given == 0
    assert {v.parts.shape for v in found.views} == {(n, n)}
    titles = [v.title for v in found.views]
    assert titles[:3] == ["Integrated gradients", "Gradient times input", "Attention, mean of all heads"]
    assert [t for t in titles if "head 2" in t] == ["Layer 1, head 2", "Layer 2, head 2"]
    parts = found.view("Integrated gradients").parts
    assert parts.triu().abs().max() == 0, "a token is moved by those before it only"
    assert parts.sum(1).tolist() == pytest.approx(found.gains, abs=0.05)
    assert found.gap() < 0.02
    (path := tmp_path / "said.txt").write_text("".join(found.tokens))
    assert sum(found.scores) == pytest.approx(
        -sum(row["nll_nats"] for row in run.score([path])) - _end(run, found.tokens), abs=1e-3
    )
    causes = found.causes(n - 1, 3)
    assert causes[0][2] == pytest.approx(parts[-1][parts[-1].abs().argmax()].item())
    page = found.write(tmp_path / "why.html").read_text()
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])
    view = data["views"][0]
    rows = np.frombuffer(base64.b64decode(view["rows"]), np.int8).reshape(n, n) / 127 * np.array(view["scale"])[:, None]
    assert rows[1:] == pytest.approx(parts.numpy()[1:], abs=float(parts.abs().max()) / 200)


def _end(run, tokens):
    """Nats of the end that closes a document in scoring."""
    from bottega.core import Batch, Rng

    x = torch.tensor([[*run.codec.tokens(["".join(tokens)])[0].tolist(), run.codec.end]])
    p = [run.model.log_prob(Batch(x[:, : x.shape[1] - k]), Rng(0)).item() for k in (0, 1)]
    return p[0] - p[1]


def test_what_cannot_be_explained_is_told(run, digits_like):
    with pytest.raises(DataError, match="nothing|no text to explain"):
        explain(run, "")
    with pytest.raises(DataError, match="reads 32"):
        explain(run, TEXT * 3)
    with pytest.raises(RecipeError, match="points"):
        explain(run, "The", points=0)
    with pytest.raises(BottegaError, match="texts"):
        explain(digits_like, "The")


@pytest.fixture(scope="module")
def digits_like(tmp_path_factory):
    here = tmp_path_factory.mktemp("points")
    return bottega.train("ring-vae", out=here / "ring", steps=2, judge=False)


def test_the_command(run, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main(["explain", str(run.path), "The cat", "--more", "2", "--out", str(out), "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["causes"]) == len(told["tokens"])
    assert told["gap"] < 0.05
    assert out.exists()
    assert main(["explain", str(run.path), "The cat " * 30]) == 2
    assert "shorter" in capsys.readouterr().err


@pytest.mark.system
def test_a_browser_shows_it_without_asking_for_anything(run, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine")
    found = explain(run, TEXT.strip()[:20], more=2)
    path = found.write(tmp_path / "why.html")
    probe = path.read_text().replace("</body>", """<script>
      const tokens = [...document.querySelectorAll(".token.said")];
      tokens.at(-1).dispatchEvent(new PointerEvent("pointerenter"));
      const first = document.querySelector(".side td.t").textContent;
      tokens[3].focus();
      tokens[3].dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true}));
      document.querySelectorAll(".heads button")[1].click();
      document.title = JSON.stringify({
        asked: performance.getEntriesByType("resource").filter(r => !r.name.startsWith("data:")).length,
        first, text: tokens.map(t => t.textContent).join(""), here: tokens.findIndex(t => t.classList.contains("here")),
        lit: [...document.querySelectorAll(".token")].filter(t => t.style.background).length,
        view: document.getElementById("view").selectedOptions[0].textContent,
        wide: document.documentElement.scrollWidth <= window.innerWidth});
    </script></body>""")  # fmt: skip
    path.write_text(probe)
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         "--window-size=390,800", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    told = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", done.stdout).group(1)))
    assert told["asked"] == 0
    assert told["text"].replace("⏎", "") == "".join(found.tokens)
    assert told["first"] == found.causes(len(found.tokens) - 1, 1)[0][1].strip()
    assert told["here"] == 4
    assert told["view"] == "Layer 1, head 2"
    assert 0 < told["lit"] <= 4
    assert told["wide"], "no sideways scrolling on a telephone"


READER = """
about = "labels of a few lines"
[codec]
name = "labelled"
kind = "{kind}"
tokenizer = "char"
length = 24
long = "cut"
[family]
name = "reader"
size = 2
[train]
steps = {steps}
batch = 16
seed = 0
[optim]
lr = 3e-3
"""


def _reader(tmp_path, kind, rows, steps):
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "r.toml").write_text(READER.format(kind=kind, steps=steps))
    return bottega.train(tmp_path / "r.toml", data=tmp_path / "rows.jsonl", out=tmp_path / "run", judge=False)


def test_a_class_is_explained_by_its_text(tmp_path):
    from bottega.core import Rng

    letters = Rng(0).integers(6, 400, 9).tolist()
    rows = []
    for k, row in enumerate(letters):
        text = ["abcdef"[t] for t in row]
        text[1 + k % 7] = "xy"[k % 2]
        rows.append({"text": "".join(text), "label": ("good", "bad")[k % 2]})
    run = _reader(tmp_path, "class", rows, 150)
    hits = 0
    for k in range(10):
        found = explain(run, rows[k]["text"])
        assert "".join(found.tokens[: found.given]).startswith(rows[k]["text"])
        assert found.said == [rows[k]["label"]]
        assert found.view("Integrated gradients").parts.shape == (1, found.given + 1)
        hits += rows[k]["text"].index("xy"[k % 2]) in [i for i, _, _ in found.causes(0, 3)]
    assert hits >= 8
    assert "good" in explain(run, "abxab").write(tmp_path / "why.html").read_text()
    with pytest.raises(RecipeError, match="answers a given text"):
        explain(run, "abc", more=2)
    with pytest.raises(RecipeError, match="said"):
        explain(run, "abc", said="good")


def test_tags_and_spans_are_explained_place_by_place(tmp_path):
    rows = [{"text": f"to {n}, now", "label": [["who", 3, 3 + len(n)]]} for n in ("Ann", "Bob", "Cleo") * 20]
    run = _reader(tmp_path, "tags", rows, 3)
    found = explain(run, "to Ann, now", points=2)
    assert len(found.said) == len("to Ann, now")
    assert found.said[3].startswith("A: ")
    (spans := tmp_path / "spans").mkdir()
    rows = [{"question": "who?", "text": f"to {n}", "label": [3, 3 + len(n)]} for n in ("Ann", "Bob", "Cleo") * 20]
    run = _reader(spans, "span", rows, 3)
    found = explain(run, "who?\nto Ann", points=2)
    assert len(found.said) == 2
    assert found.said[0].startswith("from ")
