"""What the documentation shows is run here, so that it stays true."""

from __future__ import annotations

import re
import types
from pathlib import Path

import pytest

from bottega.testing import check_family, specs

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def shown() -> types.ModuleType:
    """The family of ``docs/contract.md``, as it stands there."""
    (source,) = re.findall(r"```python\n(.*?)```", (DOCS / "contract.md").read_text(encoding="utf-8"), re.DOTALL)
    module = types.ModuleType("shown")
    exec(compile(source, "docs/contract.md", "exec"), module.__dict__)
    return module


def test_the_family_of_the_contract_page_keeps_the_contract(shown):
    report = check_family(shown.Gaussian, specs()["points"])
    assert {"only_the_player_moves", "a_sample_belongs_to_its_seed", "a_density_integrates_to_one"} <= {*report.passed}
    assert len(report.passed) > 10
    assert not report.failed


def test_it_says_no_to_tokens_and_names_the_mend(shown):
    assert "codec" in shown.Gaussian.accepts(specs()["text"])
