"""The contract suite, for this house's families and for other people's.

In a plugin's tests::

    from bottega.testing import check_family, specs

    def test_my_family():
        print(check_family(MyFamily, specs()["points"]))

or, one test for each check, under pytest::

    @parametrize([Subject(MyFamily, spec, name) for name, spec in specs().items() if not MyFamily.accepts(spec)])
    def test_contract(subject, check):
        check(subject)

One check starts two processes by spawning: guard a plain script with ``if __name__ == "__main__":``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import bottega.testing.checks
import bottega.testing.checks_capabilities  # noqa: F401 - both fill CHECKS
from bottega.core import Batch, Family, Rng, Spec
from bottega.testing.cases import Registered, Subject, examples, specs, subjects
from bottega.testing.checking import CHECKS, Check

if TYPE_CHECKING:
    import pytest

__all__ = [
    "CHECKS",
    "Check",
    "Registered",
    "Report",
    "Subject",
    "check_family",
    "check_subject",
    "examples",
    "parametrize",
    "plan",
    "specs",
    "subjects",
]


@dataclass
class Report:
    """What ``check_family`` found: names of checks that passed; why others were skipped or failed."""

    passed: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{len(self.passed)} checks passed, {len(self.skipped)} skipped, {len(self.failed)} failed"]
        lines += [f"  failed   {name}: {why}" for name, why in self.failed.items()]
        lines += [f"  skipped  {name}: {why}" for name, why in self.skipped.items()]
        return "\n".join(lines)


def check_family(
    make: Callable[[Spec], Family],
    spec: Spec,
    *,
    data: Callable[[Spec, int, Rng], Batch] = examples,
    checks: Sequence[str] | None = None,
) -> Report:
    """Run the contract suite over one family on one kind of example.

    Args:
        make: the family's class, or a function that turns a Spec into a tiny model.
        spec: what one example is; ``specs()`` has one of every kind.
        data: ``(spec, n, rng) -> Batch`` of valid examples, where random ones will not do.
        checks: names out of ``CHECKS``; all by default.

    Raises:
        AssertionError: a check failed; the message is the whole report.
    """
    report = check_subject(Subject(make, spec, data=data), checks)
    if report.failed:
        raise AssertionError(str(report))
    return report


def check_subject(subject: Subject, checks: Sequence[str] | None = None) -> Report:
    """The same of one subject, raising nothing: the report names what failed."""
    report = Report()
    for name in CHECKS if checks is None else checks:
        check = CHECKS[name]
        if why := check.why_not(subject):
            report.skipped[name] = why
            continue
        try:
            check(subject)
        except Exception as error:  # a check that cannot even run has found something
            report.failed[name] = f"{'' if isinstance(error, AssertionError) else type(error).__name__ + ': '}{error}"
        else:
            report.passed.append(name)
    return report


def plan(of: Sequence[Subject] | None = None) -> list[tuple[Subject, list[str]]]:
    """Which checks to run on each subject, by default on every registered family, so that none says a thing twice.

    Names of subjects are read as ``family-kind`` or ``family-kind-variant``. A check that looks at the class only is on
    the family's first subject; one that looks at the loop is not on a kind without a class whose twin has one.
    """
    of = subjects() if of is None else of
    named = {subject.name for subject in of}
    out, seen = [], set()
    for subject in of:
        family, has_twin = subject.name.partition("-")[0], f"{subject.name}_class" in named
        out.append((subject, [
            name for name, check in CHECKS.items()
            if not (check.once and (family, name) in seen) and not (check.fullest and has_twin)
        ]))  # fmt: skip
        seen |= {(family, name) for name in CHECKS}
    return out


def parametrize(of: Sequence[Subject] | None = None) -> pytest.MarkDecorator:
    """Mark a test ``(subject, check)`` to run every check on each subject, by default on every registered family."""
    import pytest

    params = [
        pytest.param(subject, CHECKS[name], id=f"{subject.name}-{name}")
        for subject, names in plan(of)
        for name in names
    ]
    return pytest.mark.parametrize(("subject", "check"), params)
