"""The card says what the evidence says: every number in it is looked for in the evidence (row Q17)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bottega.core import BottegaError
from bottega.workshop.card import check_card, render_card, write_card
from bottega.workshop.evidence import Evidence

NUMBER = re.compile(r"(?<![\w.#-])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]*[A-Za-z-])")


def numbers_in(value: object) -> set[float]:
    """Every number that the evidence holds, in fields and inside its texts."""
    if isinstance(value, dict):
        return set().union(*(numbers_in(v) for v in value.values())) if value else set()
    if isinstance(value, list):
        return set().union(*(numbers_in(v) for v in value)) if value else set()
    if isinstance(value, bool) or value is None:
        return set()
    if isinstance(value, int | float):
        return {float(value)}
    return {float(found.replace(",", "")) for found in NUMBER.findall(str(value))}


def rows_of(card: str) -> dict[str, list[str]]:
    table = [line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("| ")]
    return {row[1]: row for row in table if len(row) == 10}


def test_every_measure_is_there_with_its_interval_ceiling_and_n(evidence: Evidence):
    rows = rows_of(render_card(evidence))
    names = {"Recognised": "recognised", "Fréchet distance": "frechet_distance", "Recall": "recall",
             "NLL": "nll_nats", "Sample": "sample_ms"}  # fmt: skip
    assert set(names) <= set(rows)
    for shown, name in names.items():
        m = evidence.find(name)
        judge, _, unit, value, bound, interval, ceiling, better, n, seed = rows[shown]
        assert judge == m.judge
        assert float(value) == pytest.approx(m.value, rel=1e-3)
        assert (bound, better) == (m.bound or "–", m.better or "–")
        assert interval == "–" if m.low is None else [float(v) for v in interval.split(" to ")] == pytest.approx([m.low, m.high], rel=1e-3)  # fmt: skip
        assert ceiling == "–" if m.ceiling is None else float(ceiling) == pytest.approx(m.ceiling, rel=1e-3)
        assert (float(n.replace(",", "")), int(seed)) == (m.n, m.seed)
    assert rows["NLL"][2] == "nats"


def test_every_number_in_the_card_is_a_number_of_the_evidence(evidence: Evidence):
    known = numbers_in(evidence.model_dump()) | {1, 33}  # training time is written as 1 min 33 s
    known |= {95}  # per cent: what the intervals are
    card = render_card(evidence)
    body = "\n".join(line for line in card.splitlines() if not line.startswith(("Written from", "| created")))
    found = [float(text.replace(",", "")) for text in NUMBER.findall(body)]
    assert len(found) > 40
    strays = [v for v in found if not any(v == pytest.approx(k, rel=1e-3) for k in known)]
    assert strays == []


def test_a_changed_number_in_either_file_is_found(evidence: Evidence, tmp_path: Path):
    evidence.write(tmp_path / "evidence.json")
    card = write_card(tmp_path, evidence)
    assert check_card(tmp_path) == []
    honest = card.read_text()
    card.write_text(honest.replace("0.9437", "0.9937"))
    assert any("0.9937" in line for line in check_card(tmp_path))
    card.write_text(honest)
    evidence.measures[0].value = 0.5
    evidence.write(tmp_path / "evidence.json")
    assert any("0.9437" in line for line in check_card(tmp_path))


def test_says_what_was_not_measured(evidence: Evidence):
    card = render_card(evidence)
    assert "Not audited: what it gives away about those the data is about (privacy)." in card
    assert "Not audited: whether it copies" not in card
    assert "Not measured, table_fidelity: judges table, not image." in card
    assert "the held-out loss has not improved" in card


def test_says_so_when_nothing_was_measured(evidence: Evidence):
    evidence.measures = []
    assert "Nothing was measured yet" in render_card(evidence)


def test_what_users_wrote_cannot_break_the_page(evidence: Evidence):
    evidence.data.name = "a | b\n# <script>alert(1)</script> [x](javascript:1)"
    evidence.run.name = '"quoted": *x*'
    card = render_card(evidence)
    body = card.split("---", 2)[2]
    assert "<script>" not in body
    assert "\n# <" not in body
    assert "a \\| b # &lt;script&gt;" in body
    assert "](javascript" not in body.replace("\\](", "")


def test_a_missing_card_names_the_mend(evidence: Evidence, tmp_path: Path):
    evidence.write(tmp_path / "evidence.json")
    with pytest.raises(BottegaError, match="bottega show"):
        check_card(tmp_path)
