"""For every test: one thread, and the helpers beside this file importable; at the end the table of the contract's checks."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)
if (here := str(Path(__file__).parent)) not in sys.path:
    sys.path.insert(0, here)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests, those that share what was trained stay together: it is trained once.

    That is the tests of one file; those of all crafts that look at the runs on digits; the contract's of one family,
    which train nothing that they share, and are a third of all.

    Slow tests may take half an hour: on an ordinary processor some train for seven minutes.
    """
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1800))
        group = str(item.path)
        if isinstance(item, pytest.Function) and "digits" in item.fixturenames:
            group = "digits"
        if item.path.name == "test_contract.py" and isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            group = item.callspec.id.partition("-")[0]
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """For each family how many checks of the contract ran, and which did not apply and why."""
    ran: defaultdict[str, Counter[str]] = defaultdict(Counter)
    why: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        told = dict(report.user_properties).get("contract")
        if told is None or report.when != "call":
            continue
        ran[told["family"]] += Counter(passed=told["passed"], failed=told["failed"], skipped=len(told["skipped"]))
        why[told["family"]] += Counter(f"{check}: {reason}" for check, reason in told["skipped"].items())
    if not ran:
        return
    say = terminalreporter.write_line
    terminalreporter.write_sep("=", "the contract: checks run and skipped")
    say(f"{'family':<16}{'passed':>8}{'failed':>8}{'skipped':>9}")
    for family, counts in sorted(ran.items()):
        say(f"{family:<16}{counts['passed']:>8}{counts['failed']:>8}{counts['skipped']:>9}")
    terminalreporter.write_sep("-", "skipped, because")
    for family, reasons in sorted(why.items()):
        for reason, count in sorted(reasons.items()):
            say(f"{family:<16}{count:>4} x  {reason}")
