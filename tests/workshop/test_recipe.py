"""Recipes are typo-proof and inert, and survive being written and read."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from bottega.core import RecipeError
from bottega.workshop.recipe import Judging, Recipe, Train, check_arguments, load_recipe, parse_value, shipped

GOOD = """# 2 cores: about 1 minute
# second line

about = "a test"
[data]
name = "ring"
[codec]
name = "points"
[family]
name = "vae"
size = 8
[optim]
lr = 0.01
[optim.critic]
lr = 0.02
[train]
steps = 5
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_a_recipe_survives_being_written_and_read(tmp_path):
    recipe = load_recipe(write(tmp_path, GOOD), {"family.size": "16", "train.clip": "0.5"})
    assert recipe.header == "2 cores: about 1 minute\nsecond line"
    assert (recipe.name, recipe.family["size"], recipe.train.clip) == ("mine", 16, 0.5)
    again = load_recipe(write(tmp_path, recipe.to_toml()))
    assert again == recipe
    assert Recipe.from_dict(recipe.to_dict()).differs(recipe) == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[family]", "[famly]"), "unknown key 'famly' in the recipe; did you mean 'family'?"),
        (("steps = 5", "stepz = 5"), "unknown key train.stepz; did you mean 'steps'?"),
        (("steps = 5", "steps = 0"), "train.steps is 0; it must be at least 1"),
        (("steps = 5", 'steps = "5"'), "train.steps is '5'; it must be a whole number"),
        (("steps = 5", 'precision = "fp8"'), "train.precision is 'fp8'"),
        (("steps = 5", "ema = 1.0"), "train.ema is 1.0"),
        (('name = "vae"', ""), "no family.name"),
        (("[family]", "[family"), "cannot read the recipe"),
        (("steps = 5", "clip = -1.0"), "train.clip is -1.0"),
        (("steps = 5", "seed = 99999999999"), "train.seed is 99999999999; it must lie between"),
        (("steps = 5", "patience = 2\nchecks = 0"), "train.patience is 2 but train.checks 0"),
        (("[train]", "[judge]\niwae = 0\n[train]"), "judge.iwae is 0"),
        (("[train]", "[judge]\nseed = -1\n[train]"), "judge.seed is -1; it must lie between 0 and"),
        (('name = "vae"', "name = 3"), "family.name is 3; it must be a text in quotes"),
        (('name = "ring"', 'name = "ring"\nheld = "a tenth"'), "data.held is 'a tenth'; it must be a number"),
        (('name = "ring"', 'name = "ring"\nlimit = 2.5'), "data.limit is 2.5; it must be a whole number"),
        (('name = "ring"', 'name = "ring"\nconsent = 2020-01-01'), "it must be a text in quotes"),
    ],
)
def test_a_wrong_recipe_is_named_in_one_line(tmp_path, change, message):
    with pytest.raises(RecipeError, match=".") as caught:
        load_recipe(write(tmp_path, GOOD.replace(*change)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value).removesuffix("\n")


def test_unknown_recipes_and_settings_name_the_nearest(tmp_path):
    some = next(iter(shipped()))
    with pytest.raises(RecipeError, match=f"did you mean '{some}'"):
        load_recipe(some[:-1])
    with pytest.raises(RecipeError, match="table.key=value"):
        load_recipe(write(tmp_path, GOOD), {"size": "3"})
    with pytest.raises(RecipeError, match="optim.lr.critic: lr is a value"):
        load_recipe(write(tmp_path, GOOD), {"optim.lr.critic": "3"})


def test_any_text_and_name_survive_being_written_and_read(tmp_path):
    odd = {"codec.separator": "\t", "codec.missing": ["\r", "\x7f", 'a "b"\\'], "codec.x y.z": 1}
    recipe = load_recipe(write(tmp_path, GOOD), odd)
    assert load_recipe(write(tmp_path, recipe.to_toml())).codec == recipe.codec


def test_differing_recipes_name_the_key(tmp_path):
    a = load_recipe(write(tmp_path, GOOD))
    b = load_recipe(write(tmp_path, GOOD), {"optim.lr": "0.5"})
    assert a.differs(b) == "optim.lr is 0.01 now and was 0.5"
    assert a.differs(load_recipe(write(tmp_path, GOOD), {"train.save_seconds": "1"})) == ""


def test_values_are_read_as_toml_or_taken_as_text():
    assert [parse_value(t) for t in ("3", "1e-2", "true", "[1,2]", "hinge", "a b", "'q'")] == [
        3,
        0.01,
        True,
        [1, 2],
        "hinge",
        "a b",
        "q",
    ]


def test_arguments_are_checked_against_signatures():
    def make(spec: object, *, size: int = 3, rate: float = 0.1, kind: str = "a", drop: Sequence[str] = ()) -> None: ...

    check_arguments(make, {"size": 4, "rate": 1, "drop": ["a"]}, "family", skip=1)
    for table, message in [
        ({"sise": 1}, "unknown key family.sise; did you mean 'size'"),
        ({"size": 1.5}, "family.size is 1.5; it must be a whole number"),
        ({"size": True}, "family.size is True"),
        ({"spec": 1}, "unknown key family.spec"),
        ({"kind": 2}, "family.kind is 2; it must be a text"),
        ({"drop": [1]}, "family.drop is [1]; it must be a list, each of it a text in quotes"),
        ({"drop": "a"}, "family.drop is 'a'; it must be a list"),
    ]:
        with pytest.raises(RecipeError) as caught:
            check_arguments(make, table, "family", skip=1)
        assert message in str(caught.value)


STATES = {
    "what it runs on": r"\b(\d+ cores?|GPU)\b",
    "how long it takes": r"\d[\d.]* (seconds?|minutes?|hours?)\b",
    "how much memory it takes": r"\d[\d.]* GB\b",
    "what comes of it": r"\b(Expected|Measured)\b",
}


def unsaid(header: str) -> list[str]:
    """What a header should state and does not."""
    return [what for what, pattern in STATES.items() if not re.search(pattern, " ".join(header.split()))]


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_recipe_is_whole(name):
    """Figures only a run can check; that there are some is checked here, because they were left out again and again."""
    recipe = load_recipe(name)
    assert recipe.about, f"{name} has no about"
    assert unsaid(recipe.header) == [], name
    assert isinstance(recipe.train, Train)
    assert isinstance(recipe.judge, Judging)


def test_a_header_that_leaves_something_out_is_caught():
    whole = "A ring.\n1 core with bfloat16, 2.5\nminutes, 0.6 GB. Expected: 8 of 8 modes."
    assert unsaid(whole) == []
    for gone, what in (
        ("1 core", "runs on"), ("2.5\nminutes", "how long"), ("0.6 GB", "memory"), ("Expected:", "what comes of it"),
    ):  # fmt: skip
        (found,) = unsaid(whole.replace(gone, "some"))
        assert what in found


def where_it_goes(header: str, run: str) -> bool:
    """Whether what a header says first makes the run: with ``--data`` a run is named after it, unless ``--out`` says where."""
    header, name = " ".join(header.split()), run.removeprefix("runs/")
    found = re.search(rf"First: bottega train {name}\b([^;.]*)", header)
    return found is not None and ("--data" not in found[1] or f"--out {run}" in found[1])


@pytest.mark.parametrize("name", sorted(shipped()))
def test_what_a_recipe_stands_on_lies_where_its_header_puts_it(name):
    recipe = load_recipe(name)
    for run in (recipe.codec.get("run"), recipe.family.get("teacher")):
        if run:
            assert where_it_goes(recipe.header, run), f"{name}: the header does not make {run}"


def test_a_header_that_makes_another_run_is_caught():
    assert where_it_goes("First: bottega train a-codes.", "runs/a-codes")
    assert where_it_goes("First: bottega train a-codes --data FOLDER\n--out runs/a-codes; then this.", "runs/a-codes")
    assert not where_it_goes("First: bottega train a-codes --data FOLDER; then the same --data.", "runs/a-codes")
    assert not where_it_goes("Trains.", "runs/a-codes")
