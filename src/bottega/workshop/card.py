"""The model card: generated from the evidence alone, so that its numbers cannot differ from what was measured.

After Mitchell et al. 2019, *Model Cards for Model Reporting*, arXiv:1810.03993: details, use, data, measures, limits.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from bottega.core import BottegaError
from bottega.core.files import write_atomically
from bottega.workshop.evidence import Evidence
from bottega.workshop.figures import figure, interval, rows_of, title, unit
from bottega.workshop.report import tuning_rows

__all__ = ["check_card", "render_card", "write_card"]

_KINDS = {"image": "pictures", "text": "texts", "table": "table rows", "points": "points", "music": "scores"}
_AUDITS = {
    "memorisation": "whether it copies its training data",
    "privacy": "what it gives away about those the data is about",
    "bias": "whether it treats groups alike",
    "robustness": "how it takes unusual input",
}


def plain(text: object) -> str:
    r"""Any text as one line of Markdown that can neither end a table cell nor begin markup.

    >>> print(plain("a|b <b>c</b>"))
    a\|b &lt;b&gt;c&lt;/b&gt;
    """
    line = " ".join(str(text).split())
    for character in "\\`*[]|":
        line = line.replace(character, "\\" + character)
    line = "\\" + line if line.startswith(("#", "-", "+", "_")) else line
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def render_card(evidence: Evidence) -> str:
    """The card as Markdown with a front matter that model hubs read; a pure function of the evidence."""
    e = evidence
    family = e.recipe.get("family", {}).get("name", "")
    digest = hashlib.sha256(e.model_dump_json(indent=1).encode()).hexdigest()
    tags = [tag for tag in ("bottega", e.data.medium, family) if tag]
    out = [
        "---",
        "library_name: bottega",
        f"tags: {json.dumps(tags, ensure_ascii=False)}",
        f"datasets: {json.dumps([e.data.name], ensure_ascii=False)}",
        "---",
        "",
        f"# {plain(e.run.name)}",
        "",
        plain(e.recipe.get("about", "")),
        "",
        f"Written from `evidence.json` (SHA-256 `{digest}`); do not edit, the numbers are checked against it.",
        "",
        "## The model",
        "",
        *_table(("", ""), [("family", family or "–"), *rows_of(e.run)]),
        "",
        "## Use",
        "",
        f"Makes new {_KINDS.get(e.data.medium, 'pieces')} like its training data; each is marked as machine-made.",
        "Its pieces are no record of anything real. Outside the kind of data described below, nothing was measured.",
        "",
        "## Data",
        "",
        *_table(("", ""), rows_of(e.data, without=("files",))),
        "",
        "## Measures",
        "",
        "Each with its 95 % interval; *held-out data* is the same measure of real data that the model never saw.",
        "",
    ]
    if e.measures:
        out += _table(
            ("judge", "measure", "unit", "value", "bound", "95 % interval", "held-out data", "better", "n", "seed"),
            [
                (m.judge, title(m.name), unit(m.name) or "–", figure(m.value), m.bound or "–", interval(m.low, m.high),
                 figure(m.ceiling), m.better or "–", f"{m.n:,}", str(m.seed))
                for m in e.measures
            ],
        )  # fmt: skip
        notes = [f"- {plain(title(m.name))}: {plain(m.note)}" for m in e.measures if m.note]
        out += ["", *notes] if notes else []
    else:
        out.append("Nothing was measured yet: `bottega judge` does.")
    if rows := tuning_rows(e):
        out += [
            "",
            "## Before and after",
            "",
            "Where it began, and what it is now; on what neither had learned from.",
            "",
        ]
        out += _table(("of", "before", "after", "change", "95 % interval", "n"), rows)
    out += ["", "## Limits", ""]
    out += [f"- {plain(note)}" for note in e.notes]
    out += [f"- Not measured, {name}: {plain(why)}." for name, why in e.skipped.items()]
    out += [f"- Not audited: {what} ({name})." for name, what in _AUDITS.items() if not getattr(e, name)]
    for name in _AUDITS:
        out += [
            f"- {name.capitalize()}, {plain(key)}: {plain(_text(value))}" for key, value in getattr(e, name).items()
        ]
    out += [
        "",
        "## Cost",
        "",
        *_table(("", ""), [*rows_of(e.cost), *rows_of(e.machine)]),
        "",
        "## Software",
        "",
        ", ".join(f"{plain(name)} {plain(version)}" for name, version in e.software.items()) or "–",
    ]
    return "\n".join(out) + "\n"


def _text(value: object) -> str:
    return figure(value) if isinstance(value, float) else json.dumps(value) if isinstance(value, dict) else str(value)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *(tuple(map(plain, row)) for row in rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def write_card(run: Path, evidence: Evidence) -> Path:
    """Write ``card.md`` into the folder of a run and return its path; raises OutputError."""
    path = run / "card.md"
    write_atomically(path, render_card(evidence))
    return path


def check_card(run: Path) -> list[str]:
    """How ``card.md`` differs from what ``evidence.json`` says, line by line; empty when it does not.

    Raises:
        BottegaError: one of the two is missing.
    """
    path = run / "card.md"
    wanted = render_card(Evidence.read(run / "evidence.json")).splitlines()
    try:
        found = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BottegaError(f"cannot read {path}: {error.strerror}; write it with bottega show {run}") from error
    differing = difflib.unified_diff(wanted, found, "evidence.json", "card.md", lineterm="", n=0)
    return [line for line in differing if not line.startswith(("---", "+++", "@@"))]
