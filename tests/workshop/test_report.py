"""The page of a run shows the evidence, needs no other file, is safe, and can be read by everyone."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bottega.core import BottegaError, Measure, OutputError
from bottega.workshop import report
from bottega.workshop.evidence import Evidence, MeasurePart
from bottega.workshop.figures import figure, interval, span, title, unit
from bottega.workshop.report import bar, charts, key_measures, measure_rows, write_index, write_report


class Page(HTMLParser):
    """What a reader, a screen reader and a crawler see of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def page(evidence: Evidence, run_folder: Path) -> Page:
    return Page(write_report(run_folder, evidence).read_text())


def test_shows_every_measure_with_interval_ceiling_n_and_bound(page: Page, evidence: Evidence):
    for m in evidence.measures:
        assert m.name in page.text
        assert figure(m.value) in page.text
        assert interval(m.low, m.high) in page.text
        assert figure(m.ceiling) in page.text
    assert "113.3 lower" in page.text
    assert "n = 1,000" in page.text


def test_shows_data_recipe_cost_notes_and_what_was_skipped(page: Page):
    for told in ("CC-BY-4.0", "412,345", "1 min 33 s", "family.size", "the held-out loss has not improved", "0.00078",
                 "15 W for each of 2 busy cores; not measured", "table_fidelity", "judges table, not image", "nearest_ratio"):  # fmt: skip
        assert told in page.text


def test_needs_nothing_but_itself(page: Page):
    for _, attrs in page.tags:
        for key in ("src", "href", "srcset", "action", "data"):
            value = attrs.get(key, "")
            assert value == "" or value.startswith(("data:", "#")), value[:80]
    assert not page.all("link")
    assert not [s for s in page.all("script") if s.get("src")]


def test_embeds_the_sheets_byte_for_byte_samples_first(page: Page, run_folder: Path):
    pictures = [base64.b64decode(img["src"].partition(",")[2]) for img in page.all("img")]
    assert pictures[:2] == [(run_folder / "samples" / f"{n}.png").read_bytes() for n in ("sheet", "real")]


def test_is_accessible(page: Page):
    assert page.all("html")[0]["lang"] == "en"
    assert all(img["alt"] for img in page.all("img"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False)), "no heading level is skipped"
    for svg in page.all("svg"):
        assert svg["role"] == "img"
        assert svg["tabindex"] == "0"
        assert re.search(r"training [\d.,]+ at step", svg["aria-label"])
    assert {"main", "header", "footer"} <= {tag for tag, _ in page.tags}
    assert [a["href"] for a in page.all("a") if a.get("class") == "skip"] == ["#main"]
    assert all(th.get("scope") for th in page.all("th"))


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_enough_contrast_in_light_and_in_dark():
    """WCAG 2.2, success criterion 1.4.3: at least 4.5 : 1 for text."""
    css = (Path(report.__file__).parent / "templates" / "base.html.j2").read_text()
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6})", part)) for part in css.split("prefers-color-scheme: dark", 1))
    assert set(light) == set(dark)
    for theme in (light, dark):
        for ink in ("ink", "soft", "accent", "held"):
            for ground in ("paper", "card"):
                a, b = sorted((luminance(theme[ink]), luminance(theme[ground])), reverse=True)
                assert (a + 0.05) / (b + 0.05) >= 4.5, (ink, ground, theme)


def test_what_users_wrote_is_text_and_never_markup(evidence: Evidence, run_folder: Path):
    evil = "<script>alert(1)</script>\"' onload=x {{ 7*7 }}"
    evidence.run.name = evidence.data.name = evidence.data.about = evidence.data.licence = evil
    evidence.recipe = {"about": evil, "data": {evil: evil}, "family": {"name": evil}}
    evidence.notes, evidence.skipped, evidence.memorisation = [evil], {evil: evil}, {evil: evil}
    evidence.measures[0].name = evidence.measures[0].note = evil
    (run_folder / "log.jsonl").write_text(
        json.dumps({"step": 1, evil: 0.5}) + "\n" + json.dumps({"step": 2, evil: 0.4})
    )
    (run_folder / "samples" / "real.txt").write_text(evil)
    page = Page(write_report(run_folder, evidence).read_text())
    assert len(page.all("script")) == 1, "only our own"
    assert not [attrs for _, attrs in page.tags if "onload" in attrs]
    assert "{{ 7*7 }}" in page.text
    assert "<script>alert(1)</script>" in page.text


def test_a_table_and_a_text_can_be_shown_too(evidence: Evidence, run_folder: Path, tmp_path: Path):
    (tmp_path / "a.csv").write_text('x,y\n1,"a, b"\n2,c\n')
    (tmp_path / "b.txt").write_text("To be,\nor not")
    page = Page(
        write_report(run_folder, evidence, sheets={"Rows": tmp_path / "a.csv", "Words": tmp_path / "b.txt"}).read_text()
    )
    assert "a, b" in page.text
    assert "To be, or not" in page.text
    assert not page.all("img")


def test_an_empty_run_has_a_page(tmp_path: Path, evidence: Evidence):
    bare = Evidence(run=evidence.run)
    page = Page(write_report(tmp_path, bare).read_text())
    assert "Not judged yet" in page.text


def test_a_place_that_cannot_be_written_is_one_clear_error(evidence: Evidence, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        write_report(tmp_path / "file", evidence)


def test_curves_are_those_of_the_log(run_folder: Path):
    found = {chart.title: chart for chart in charts(run_folder / "log.jsonl")}
    assert list(found) == ["denoise", "scale"]
    assert [label for label, _ in found["denoise"].lines] == ["training", "held out"]
    assert found["scale"].logarithmic
    assert not found["denoise"].logarithmic
    rows = [json.loads(line) for line in (run_folder / "log.jsonl").read_text().splitlines()]
    points = found["scale"].data["series"][0]["at"]
    assert [p[2] for p in points] == [r["step"] for r in rows if "scale" in r]
    assert [p[3] for p in points] == pytest.approx([r["scale"] for r in rows if "scale" in r], rel=1e-3)
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    assert xs == sorted(xs)
    assert ys == sorted(ys), "a falling loss falls on the page: y grows downwards"
    assert all(0 <= x <= 620 and 0 <= y <= 220 for x, y in zip(xs, ys, strict=True))


def test_curves_forgive_a_cut_line_and_numbers_that_are_not(tmp_path: Path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1, "a": 2.0}\n{"step": 2, "a": NaN}\n{"step": 3, "a": 2.0}\n{"step": 4, "a')
    (chart,) = charts(log)
    assert [p[2] for p in chart.data["series"][0]["at"]] == [1, 3]
    assert charts(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(("better", "value", "ceiling"), [("higher", 0.9, 0.95), ("lower", 4.0, 1.0), ("", -3.0, -2.5)])
def test_a_bar_keeps_order_and_stays_inside(better, value, ceiling):
    m = MeasurePart(
        judge="j", name="m", value=value, low=value - 0.05, high=value + 0.05, better=better, ceiling=ceiling
    )
    line = bar(m)
    assert 0 <= line.low < line.at < line.high <= 100
    assert 0 <= line.ceiling <= 100
    assert (line.ceiling > line.at) == (ceiling > value)


def test_a_measure_with_nothing_beside_it_has_no_bar():
    assert bar(MeasurePart(judge="j", name="m", value=7.0)) is None
    assert bar(MeasurePart(judge="j", name="m", value=float("nan"), ceiling=1.0, low=0.0)) is None


def test_what_is_asked_first_stands_first_and_each_judge_speaks_once_before_any_speaks_twice(evidence: Evidence):
    assert [m.name for m in key_measures(evidence.measures, 4)] == [
        "recognised",
        "nll_nats",
        "frechet_distance",
        "recall",
    ]
    evidence.add("recognise", Measure("recognised_too", 0.5))
    assert [m.name for m in key_measures(evidence.measures, 5)][1] == "nll_nats"
    assert {m.name for m in key_measures(evidence.measures, 99)} == {m.name for m in evidence.measures}


def test_rows_for_the_terminal(evidence: Evidence):
    assert measure_rows(evidence)[3] == ("nll_nats", "113.3 nats (lower)", "110.9 to 115.6", "–", "180")


def test_index_links_to_each_run_and_says_what_is_next(evidence: Evidence, run_folder: Path):
    evidence.write(run_folder / "evidence.json")
    write_report(run_folder, evidence)
    path = write_index(
        run_folder.parent / "demo.html", [run_folder, run_folder], following=[("bottega train x", "yours")]
    )
    page = Page(path.read_text())
    links = [a["href"] for a in page.all("a") if a.get("class") != "skip"]
    assert links == ["digits-diffusion/report.html"] * 2
    assert all((path.parent / link).is_file() for link in links)
    assert len(page.all("img")) == 4
    assert "bottega train x" in page.text
    assert "3 min 7 s" in page.text


def test_index_refuses_a_run_that_was_not_judged(tmp_path: Path):
    with pytest.raises(BottegaError, match="judge"):
        write_index(tmp_path / "x.html", [tmp_path / "nothing"])


def test_figures():
    assert [figure(v) for v in (0.94321, 12.0, 1234.5, 123456.7, -0.5, float("inf"))] == [
        "0.9432", "12", "1,234.5", "123,457", "-0.5", "not finite",
    ]  # fmt: skip
    assert (title("tstr_f1"), unit("tstr_f1"), unit("sample_ms")) == ("TSTR F1", "", "ms")
    assert [span(s) for s in (0.5, 59.99, 60, 3600, 172800)] == ["0.5 s", "60 s", "1 min 0 s", "1 h 0 min", "2 d 0 h"]


@pytest.mark.system
def test_a_browser_shows_it_without_asking_for_anything(evidence: Evidence, run_folder: Path, tmp_path: Path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine")
    path = write_report(run_folder, evidence)
    probe = path.read_text().replace("</body>", """<script>
      const svg = document.querySelector("svg[data-chart]");
      svg.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowLeft"}));
      document.title = JSON.stringify({
        asked: performance.getEntriesByType("resource").filter(r => !r.name.startsWith("data:")).length,
        read: svg.parentNode.querySelector(".read").textContent,
        wide: document.documentElement.scrollWidth <= window.innerWidth});
    </script></body>""")  # fmt: skip
    path.write_text(probe)
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         "--window-size=390,800", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    import html

    told = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", done.stdout).group(1)))
    assert told["asked"] == 0
    assert re.match(r"step 1,995: training 0\.\d+", told["read"])
    assert told["wide"], "no sideways scrolling on a telephone"
