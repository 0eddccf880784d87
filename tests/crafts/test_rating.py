"""A blind sheet, raters whose agreement is known, and a proxy that they follow or do not."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest

import bottega
from bottega.cli import main
from bottega.core import DataError, Rng
from bottega.crafts.rating import of_texts, proxy, read_sheet, sheet, weigh

NAMES = [f"{a}{b}" for a in "BDGKLM" for b in ("ana", "olo", "iri", "emu")]


def _chain(seed, order=True):
    """Sentences each of which takes up the last one's name; or the same shuffled."""
    rng = Rng(seed)
    names = [NAMES[i] for i in rng.permutation(len(NAMES))[:8].tolist()]
    said = [f"{a} met {b}." for a, b in zip(names, names[1:], strict=False)]
    return " ".join(said if order else [said[i] for i in rng.permutation(7).tolist()])


def _rated(found, folder, who, rule, noise=0, miss=()):
    rng = Rng(len(who))
    ratings = {}
    for i, text in enumerate(found.texts):
        if i not in miss:
            off = int(rng.integers(3, 1)) - 1 if noise else 0
            ratings[text.key] = {scale: max(1, min(5, rule(text) + off)) for scale in found.scales}
    path = folder / f"{who}.json"
    path.write_text(json.dumps({"sheet": found.mark, "rater": who, "ratings": ratings}))
    return path


@pytest.fixture
def mixed():
    return of_texts(
        "mixed", {"good": [_chain(k) for k in range(15)], "bad": [_chain(50 + k, False) for k in range(15)]}
    )


def test_the_proxy_tells_order_from_disorder():
    good, bad = (proxy([_chain(k, order) for k in range(30)], Rng(0)) for order in (True, False))
    assert sum(good) / 30 > 0.95
    assert 0.3 < sum(bad) / 30 < 0.7
    assert proxy(["One. Two."], Rng(0)) == [None]


def test_the_page_does_not_say_whose_texts_are_whose(mixed, tmp_path):
    page = mixed.write(tmp_path).read_text()
    for text in mixed.texts:
        assert text.text in html.unescape(page)
        assert text.key in page
    secret = (
        of_texts("mixed", {"zyzzyva": ["One.", "Two."], "quokka": ["Three."]}).write(tmp_path / "other").read_text()
    )
    assert "zyzzyva" not in secret
    assert "quokka" not in secret
    assert "proxy" not in page
    assert [t.source for t in mixed.texts] != sorted(t.source for t in mixed.texts)
    assert read_sheet(tmp_path) == mixed
    assert mixed.mark != of_texts("mixed", {"x": ["a", "b"]}).mark


def test_raters_who_follow_the_order_agree_with_each_other_and_with_the_proxy(mixed, tmp_path):
    rule = lambda text: 5 if text.source == "good" else 2  # noqa: E731
    files = [_rated(mixed, tmp_path, "anna", rule, 1), _rated(mixed, tmp_path, "benedict", rule, 1, miss=(3, 4))]
    found = {m.name: m for m in weigh(mixed, files)}
    assert found["coherence_good"].low > found["coherence_bad"].high
    assert found["coherence_alpha"].low > 0.6
    assert found["coherence_kappa"].n == 28
    assert found["coherence_proxy_agreement"].low > 0.4
    assert found["coherence_alpha"].low <= found["coherence_alpha"].value <= found["coherence_alpha"].high
    same = {m.name: m for m in weigh(mixed, [files[0]] * 3)}
    assert same["coherence_alpha"].value == pytest.approx(1)
    assert same["coherence_kappa"].value == pytest.approx(1)
    assert "Fleiss" in same["coherence_kappa"].note


def test_raters_who_guess_agree_with_nobody(mixed, tmp_path):
    def guess(seed):
        draws = iter(Rng(seed).integers(5, 500).tolist())
        return lambda text: 1 + next(draws)

    files = [_rated(mixed, tmp_path, f"r{k}", guess(k)) for k in range(3)]
    found = {m.name: m for m in weigh(mixed, files)}
    assert found["coherence_alpha"].low < 0 < found["coherence_alpha"].high
    assert found["coherence_proxy_agreement"].low < 0.1
    assert not [name for name in (m.name for m in weigh(mixed, files[:1])) if "alpha" in name or "kappa" in name]


def test_foreign_and_broken_ratings_are_refused(mixed, tmp_path):
    path = _rated(mixed, tmp_path, "anna", lambda text: 3)
    with pytest.raises(DataError, match="another sheet"):
        weigh(of_texts("other", {"x": ["one", "two"]}), [path])
    told = json.loads(path.read_text())
    told["ratings"][mixed.texts[0].key]["fluency"] = 9
    path.write_text(json.dumps(told))
    with pytest.raises(DataError, match="not on this sheet"):
        weigh(mixed, [path])
    path.write_text("[]")
    with pytest.raises(DataError, match="holds no ratings"):
        weigh(mixed, [path])
    with pytest.raises(DataError, match="no ratings were given"):
        weigh(mixed, [])
    with pytest.raises(DataError, match="no sheet"):
        read_sheet(tmp_path / "nowhere")
    with pytest.raises(DataError, match="at least two"):
        of_texts("x", {"a": ["one", "  "]})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    here = tmp_path_factory.mktemp("rated")
    (here / "lines.txt").write_text("\n".join(_chain(k) for k in range(120)))
    (here / "small.toml").write_text(
        'about = "chains"\n[codec]\nname = "text"\ntokenizer = "char"\nlength = 48\nunit = "line"\n'
        '[family]\nname = "gpt"\nsize = 1\n[train]\nsteps = 3\nbatch = 4\n'
    )
    return bottega.train(here / "small.toml", data=here / "lines.txt", out=here / "run", judge=False)


def test_from_a_run_to_the_table(run, tmp_path, capsys):
    found = sheet(run, n=4, temperature=0.7)
    assert sorted({t.source for t in found.texts}) == ["made", "real"]
    assert main(["rate", str(run.path), "-n", "4", "--out", str(tmp_path), "--json", "--quiet"]) == 0
    capsys.readouterr()
    here = read_sheet(tmp_path)
    files = [_rated(here, tmp_path, who, lambda t: 4 if t.source == "real" else 2) for who in ("a", "bb")]
    command = ["rate", str(run.path), "--out", str(tmp_path), "--json", "--quiet"]
    assert main([*command, *(part for f in files for part in ("--ratings", str(f)))]) == 0
    told = {m["name"]: m for m in json.loads(capsys.readouterr().out)["measures"]}
    assert told["coherence_real"]["value"] == 4
    assert told["coherence_made"]["value"] == 2
    assert told["fluency_alpha"]["value"] == pytest.approx(1)


@pytest.mark.system
def test_a_browser_saves_what_was_clicked(mixed, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine")
    path = mixed.write(tmp_path)
    probe = path.read_text().replace("</body>", """<script>
      document.querySelectorAll(".textcard").forEach((card, i) => card.querySelectorAll(".five").forEach((five, k) =>
        five.querySelectorAll("input")[(i + k) % 5].click()));
      who.value = "Anna B."; who.dispatchEvent(new Event("input"));
      document.title = JSON.stringify({
        asked: performance.getEntriesByType("resource").filter(r => !r.name.startsWith("data:")).length,
        left: document.getElementById("left").textContent, name: document.getElementById("save").download,
        saved: decodeURIComponent(document.getElementById("save").href.split(",").slice(1).join(",")),
        wide: document.documentElement.scrollWidth <= window.innerWidth});
    </script></body>""")  # fmt: skip
    path.write_text(probe)
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         "--window-size=390,800", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    told = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", done.stdout, re.S).group(1)))
    assert told["asked"] == 0
    assert told["left"] == "All rated."
    assert told["name"] == "Anna-B-.json"
    assert told["wide"]
    (saved := tmp_path / "anna.json").write_text(told["saved"])
    assert {m.name for m in weigh(mixed, [saved])} >= {"coherence_good", "fluency_bad"}
