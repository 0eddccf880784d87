"""One loop that has never heard of a GAN; a file is what it is called; every recipe that is shipped can be begun."""

import ast
import inspect
import json
import re
from pathlib import Path

import pytest

import bottega
from bottega.cli import main
from bottega.cli._app import verbs
from bottega.core import Family, lookup, names
from bottega.data import builtin, worlds
from bottega.data.augment import make as make_augment
from bottega.training.optim import Optim
from bottega.workshop.recipe import Recipe, check_arguments, load_recipe, shipped

PACKAGE = Path(bottega.__file__).resolve().parent
TESTS = Path(__file__).resolve().parents[1]
REGISTERED = [(room, path.stem) for room in ("families", "codecs", "judge") for path in sorted((PACKAGE / room).glob("*.py"))
              if not path.stem.startswith("_")]  # fmt: skip
STRANGERS = ("core", "training", "judge", "workshop", "cli")  # what meets a model through the contract alone
WORDS = {name for room, name in REGISTERED if room == "families"}
ENGLISH = {
    "compressor",
    "energy",
    "made",
    "reader",
}  # also words that anyone may say; they name the family only where it is imported from its module

# Where a family's name may stand, because nothing is decided by it.
SPOKEN = {
    "workshop/compare.py": "the heading of the classical comparison, whose rows are chosen by players and capabilities",
    "workshop/templates/compare.html.j2": "the same heading on the page",
    "workshop/figures.py": "how acronyms are spelled in titles",
}


def spoken(source):
    """Lines of Python where a family is named: as an identifier, or as a word in a string that is no docstring.

    ``digits-diffusion`` is the name of a recipe, which anyone may use.
    """
    tree, out = ast.parse(source), []
    docs = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                docs.add(id(first.value))
    for node in ast.walk(tree):
        said = [getattr(node, part, None) for part in ("id", "attr", "arg", "name", "module", "asname")]
        words = [piece for one in said if isinstance(one, str) for piece in one.split(".")]
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            words += words_of(node.value)
        module = (getattr(node, "module", None) or "").removeprefix("bottega.families.")
        words = [word for word in words if word.lower() not in ENGLISH or word == module]
        out += [f"line {getattr(node, 'lineno', '?')}: {word}" for word in words if word.lower() in WORDS]
    return out


def words_of(text):
    return re.findall(r"(?<![\w-])[A-Za-z_]+(?![\w-])", text)


@pytest.mark.parametrize(
    ("source", "caught"),
    [
        ("if model.name == 'vae':\n    pass", True),
        ("from bottega.families import gan", True),
        ("from bottega.families.vae import VAE", True),
        ("isinstance(model, Diffusion)", True),
        ("def step(gpt):\n    pass", True),
        ("RULES = {'flow': 1}", True),
        ('raise ValueError(f"{x} is no VAE")', True),
        ("def f():\n    '''A VAE, say.'''", False),
        ("from bottega.families.made import MADE", True),
        ("made = 'what this run made'", False),
        ("train('digits-diffusion', overflow=1)", False),
        ("# a VAE\nelegance = 'organ'", False),
    ],
)
def test_a_family_named_in_code_is_caught(source, caught):
    assert bool(spoken(source)) == caught


@pytest.mark.parametrize("room", STRANGERS)
def test_no_family_is_named_outside_families_and_recipes(room):
    found = {}
    for path in sorted((PACKAGE / room).rglob("*")):
        if path.suffix == ".py":
            found[str(path.relative_to(PACKAGE))] = spoken(path.read_text())
        elif path.suffix == ".j2":
            found[str(path.relative_to(PACKAGE))] = [
                w for w in words_of(path.read_text()) if w.lower() in WORDS - ENGLISH
            ]
    named = {path: lines for path, lines in found.items() if lines}
    assert not {path: lines for path, lines in named.items() if path not in SPOKEN}
    stale = {path for path in SPOKEN if path.startswith(f"{room}/")} - set(named)
    assert not stale, "these no longer name a family; take them off the list"


def test_what_may_name_a_family_only_says_it():
    """Of the exceptions none compares with a name, looks one up or imports one: the names stand in text that is shown."""
    for path in SPOKEN:
        if not path.endswith(".py"):
            continue
        for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
            if isinstance(node, ast.Compare | ast.Call | ast.Subscript | ast.MatchValue):
                parts = [getattr(node, "left", None), *getattr(node, "comparators", []), getattr(node, "slice", None),
                         *getattr(node, "args", [])]  # fmt: skip
                told = [p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str)]
                assert not {t.lower() for t in told} & WORDS, f"{path}, line {node.lineno}"


def test_the_loop_is_at_most_120_lines():
    assert len((PACKAGE / "training" / "loop.py").read_text().splitlines()) <= 120


# --- files and what they hold ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("room", "name"), REGISTERED)
def test_a_registered_file_offers_the_thing_it_is_named_for(room, name):
    module = __import__(f"bottega.{room}.{name}", fromlist=["__all__"])
    thing = lookup(room, name)
    assert thing is getattr(module, module.__all__[0])
    assert thing.__module__ == module.__name__, "the thing is defined in its file"
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    assert all(hasattr(module, offered) for offered in module.__all__)
    called = thing.__name__.lower()
    if room == "families":
        assert issubclass(thing, Family)
        assert called == name.replace("_", "")
    elif room == "codecs":
        assert called == name.replace("_", "") + "codec"
        assert {"read", "fit", "encode", "source", "decode", "write", "show", "state", "load_state"} <= set(dir(thing))
    else:
        assert called == "measure"
        assert isinstance(module.needs, tuple)
        assert isinstance(module.media, tuple)
        assert set(module.needs) <= {
            "samples",
            "model",
            "scores",
            "represents",
            "classifies",
            "features",
            "labels",
            "given",
            "given_sound",
            "spoken",
            "references",
        }
        assert set(module.media) <= {"image", "audio", "text", "labels", "table", "points", "music"}


def test_a_room_offers_its_files_and_nothing_else():
    for room in ("families", "codecs", "judge"):
        assert {name for where, name in REGISTERED if where == room} <= set(names(room))


@pytest.mark.parametrize("verb", verbs())
def test_a_verb_is_the_function_of_its_file(verb):
    module = __import__(f"bottega.cli.{verb}", fromlist=["__all__"])
    assert module.__all__[0] == verb
    assert inspect.isfunction(getattr(module, verb))
    assert isinstance(module.PANEL, str)
    assert f"bottega {verb}" in module.EXAMPLES


@pytest.mark.parametrize(("room", "name"), [(room, name) for room, name in REGISTERED if room != "judge"])
def test_every_family_and_codec_has_a_file_of_tests(room, name):
    path = TESTS / room / f"test_{name}.py"
    assert path.is_file()
    assert re.search(rf"from bottega\.{room}\.{name} import", path.read_text()), f"{path.name} does not test {name}"


# --- recipes ---------------------------------------------------------------------------------------------------------


def fits_together(recipe):
    """Every table of a recipe against the constructors that it is for, as training would do it."""
    codec, family = lookup("codecs", recipe.codec["name"]), lookup("families", recipe.family["name"])
    of_a_run = {"run"} & recipe.codec.keys()  # its codec and model come first
    check_arguments(
        codec, {k: v for k, v in recipe.codec.items() if k not in {"name", "run"}}, "codec", 2 * len(of_a_run)
    )
    check_arguments(family, {k: v for k, v in recipe.family.items() if k != "name"}, "family", skip=1)
    players = {k: v for k, v in recipe.optim.items() if isinstance(v, dict)}
    check_arguments(Optim, {k: v for k, v in recipe.optim.items() if k not in players}, "optim", skip=2)
    for player, table in players.items():
        check_arguments(Optim, table, f"optim.{player}", skip=2)
    if recipe.data.get("name") in worlds.names():
        world = worlds.world(recipe.data["name"])
        check_arguments(world, {k: v for k, v in recipe.data.items() if k not in {"name", "held", "limit"}}, "data")
    return codec


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_recipe_loads_fits_its_constructors_and_says_what_it_takes(name):
    recipe = load_recipe(name)
    codec = fits_together(recipe)
    assert recipe.name == name == shipped()[name].stem
    assert recipe.about
    assert re.search(r"core|GPU", recipe.header), "the header names the device"
    assert re.search(r"minute|second|hour", recipe.header), "the header says how long it takes"
    assert Recipe.from_dict(recipe.to_dict()).differs(recipe) == ""
    where = recipe.data.get("name")
    assert where is None or where in {*builtin.names(), *worlds.names()} or str(where).startswith("hub:")
    medium = {"speech": "audio"}.get(shipped()[name].parent.name, shipped()[name].parent.name)
    assert recipe.codec["name"] == "latent" or codec.medium == medium
    if recipe.train.augment:
        source = worlds.load(where, n=50) if where in worlds.names() else builtin.load(where)
        arguments = {k: v for k, v in recipe.codec.items() if k != "name"}
        fitted = codec(**arguments).fit(source.items[:50])
        assert make_augment(recipe.train.augment, fitted.spec, fitted)


def test_a_recipe_with_a_wrong_key_would_be_caught(tmp_path):
    text = shipped()["moons-flow"].read_text()
    for right, wrong in {
        'kind = "spline"': 'knid = "spline"',
        "lr = 2e-3": 'lr = "fast"',
        "n = 20000": "m = 20000",
    }.items():
        path = tmp_path / "wrong.toml"
        path.write_text(text.replace(right, wrong))
        assert path.read_text() != text
        with pytest.raises(bottega.core.RecipeError, match=wrong.partition(" ")[0]):
            fits_together(load_recipe(path))


def test_every_recipe_is_listed(capsys):
    assert main(["recipes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in told["recipes"]] == list(shipped())
    files = [p.stem for p in (PACKAGE / "recipes").rglob("*.toml")]
    assert sorted(files) == sorted(shipped()), "two recipes of one name, or one outside its modality"
