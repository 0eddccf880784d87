"""What the documentation shows is run here, so that it stays true."""

from __future__ import annotations

import re
import types
from pathlib import Path

import pytest

from bottega.cli._app import verbs
from bottega.core import Spec
from bottega.testing import check_family, specs
from bottega.workshop.build import make_codec, make_family
from bottega.workshop.recipe import load_recipe, shipped
from bottega.workshop.training import optim_table

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


def test_the_recipe_of_the_tutorial_is_one(tmp_path: Path):
    (text,) = re.findall(r"```toml\n(.*?)```", (DOCS / "tutorial.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "cats.toml").write_text(text)
    recipe = load_recipe(tmp_path / "cats.toml")
    assert make_codec(recipe.codec).medium == "image"
    assert make_family(recipe.family, Spec((3, 32, 32)), seed=0).turns()
    assert optim_table(recipe.optim)["beta1"] == 0.0


def test_every_command_of_the_pages_is_one():
    """Verbs, options and recipes that the pages name exist; what they name of one's own is not looked at."""
    pages = [DOCS.parent / "README.md", *DOCS.glob("*.md")]
    said = [line for page in pages for line in re.findall(r"bottega [a-z]+[^\n`#]*", page.read_text(encoding="utf-8"))]
    commands = [line.split() for line in said if line.split()[1] in verbs()]
    assert len(commands) > 20
    for _, verb, *words in commands:
        takes = set(re.findall(r"(--?[a-z][a-z-]*)", text_of(verb)))
        assert {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)} <= takes, (verb, words)
        if verb == "train" and words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
            assert words[0] in shipped()


def text_of(verb: str) -> str:
    """The reference page's part on a verb."""
    return (
        (DOCS / "reference" / "cli.md").read_text(encoding="utf-8").split(f"## bottega {verb}\n")[1].split("\n## ")[0]
    )
