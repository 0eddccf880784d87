"""Every check of the contract on every registered family and every kind of example it accepts.

``floor.json`` keeps how many checks each family had; fewer is a failure. After a family gained some, write it anew with
``BOTTEGA_WRITE_FLOOR=1 pytest tests/contract -k floor``.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest

from bottega.core import names
from bottega.testing import CHECKS, Check, Subject, parametrize, subjects

FLOOR = Path(__file__).with_name("floor.json")
SUBJECTS = subjects()


@parametrize(SUBJECTS)
def test_contract(subject: Subject, check: Check, record_property) -> None:
    record_property("contract_family", subject.name.partition("-")[0])
    record_property("contract_check", check.name)
    if why := check.why_not(subject):
        record_property("contract_reason", why)
        pytest.skip(why)
    check(subject)


@lru_cache
def applicable() -> dict[str, int]:
    """How many checks apply to each family, whatever their outcome."""
    counts = Counter(
        subject.name.partition("-")[0]
        for subject in SUBJECTS
        for check in CHECKS.values()
        if not check.once and not check.why_not(subject)
    )
    return {name: counts[name] for name in names("families")}


def test_the_number_of_checks_never_falls_below_the_floor():
    if os.environ.get("BOTTEGA_WRITE_FLOOR"):
        FLOOR.write_text(json.dumps(applicable(), indent=2) + "\n")
    floor = json.loads(FLOOR.read_text())
    fewer = {
        name: (applicable().get(name, 0), least) for name, least in floor.items() if applicable().get(name, 0) < least
    }
    assert not fewer, f"(checks now, floor) fell for {fewer}; see the docstring of this file"


@pytest.mark.parametrize("name", names("families"))
def test_every_family_is_checked_on_some_kind_of_example(name):
    assert applicable()[name] >= 15, f"{name} accepts nothing that the suite knows, or keeps next to none of it"
