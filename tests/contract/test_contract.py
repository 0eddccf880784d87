"""Every check of the contract on every registered family and every kind of example it accepts.

``floor.json`` keeps how many checks each family had; fewer is a failure. After a family gained some, write it anew with
``BOTTEGA_WRITE_FLOOR=1 pytest tests/contract -k floor``.

Grey pictures where a family takes colour ones, and pictures of two levels where it takes those of more, are for ``make
test-all``: their twins say nearly the same.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from bottega.core import names
from bottega.testing import CHECKS, Subject, check_subject, plan, subjects

FLOOR = Path(__file__).with_name("floor.json")
TWINS = {"image": "colour", "binary": "levels"}
LONG = {
    "bert-text-paper", "cyclegan-levels_class", "diffusion-colour_picture", "energy-points-dsm", "gpt-levels",
    "masked-table_tokens", "pixelcnn-levels", "reader-class_text-careful", "reader-class_text-paper", "seq2seq-text_other", "seq2seq-text_text-learned", "seq2seq-text_text-t5", "seq2seq-text_text",
    "seqgan-text-pure",
}  # fmt: skip  # the same of these, which take longest
SUBJECTS = subjects()
NAMES = {subject.name for subject in SUBJECTS}


def later(subject: Subject) -> bool:
    """Whether another subject of the family, which is not left to the slow tests, says nearly the same."""
    family, _, kind = subject.name.partition("-")
    what, _, given = kind.partition("_")
    return subject.name in LONG or what in TWINS and f"{family}-{TWINS[what]}{'_' * bool(given)}{given}" in NAMES


PLAN = plan(sorted(SUBJECTS, key=later))  # a check that is made once is made on one of the fast


@pytest.mark.parametrize(
    ("subject", "checks"),
    [pytest.param(*row, marks=[pytest.mark.slow] * later(row[0]), id=row[0].name) for row in PLAN],
)
def test_contract(subject: Subject, checks: list[str], record_property) -> None:
    report = check_subject(subject, checks)
    told = {"passed": len(report.passed), "failed": len(report.failed), "skipped": report.skipped}
    record_property("contract", {"family": subject.name.partition("-")[0], **told})
    assert not report.failed, str(report)


def test_the_number_of_checks_never_falls_below_the_floor():
    """Whatever their outcome; and every family is checked on some kind of example."""
    counts = Counter(
        subject.name.partition("-")[0]
        for subject, checks in PLAN
        for name in checks
        if not CHECKS[name].once and not CHECKS[name].why_not(subject)
    )
    now = {name: counts[name] for name in names("families")}
    if os.environ.get("BOTTEGA_WRITE_FLOOR"):
        FLOOR.write_text(json.dumps(now, indent=2) + "\n")
    floor = json.loads(FLOOR.read_text())
    fewer = {name: (now.get(name, 0), least) for name, least in floor.items() if now.get(name, 0) < least}
    assert not fewer, f"(checks now, floor) fell for {fewer}; see the docstring of this file"
    few = [name for name, count in now.items() if count < 15]
    assert not few, f"{few} accept nothing that the suite knows, or keep next to none of it"
