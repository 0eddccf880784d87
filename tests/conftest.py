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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests, those of one file stay together, as what they train is trained once.

    The contract's tests train nothing that they share, and are a third of all: they stay together by subject.
    """
    for item in items:
        group = str(item.path)
        if item.path.name == "test_contract.py" and isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            group = item.callspec.id.partition("-")[0]
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """For each family how many checks of the contract ran, and which did not apply and why."""
    ran: defaultdict[str, Counter[str]] = defaultdict(Counter)
    why: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.getreports(outcome):
            told = dict(report.user_properties)
            if "contract_family" not in told or (outcome == "passed" and report.when != "call"):
                continue
            family = told["contract_family"]
            ran[family][outcome] += 1
            if outcome == "skipped":
                why[family][f"{told['contract_check']}: {told['contract_reason']}"] += 1
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
