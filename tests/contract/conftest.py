"""The table at the end: for each family how many checks ran, and which did not apply and why."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
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
