"""A new family is one file and a new modality is one file: written here, found by entry points, trained and judged.

Nothing in the house knows their names; the two files and the few lines of an installed package's metadata are all.
"""

import json
import math
import os
import subprocess
import sys
import textwrap

import pytest
import torch

from bottega.cli import main
from bottega.core import Batch, Rng, lookup, names, registry
from bottega.testing import CHECKS, Subject, check_family, parametrize, specs, subjects
from bottega.workshop.run import load

URN = '''
"""Urns: a Markov chain, each letter drawn from the urn that the one before it chooses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.nets.condition import Condition

__all__ = ["Urn"]


class Urn(Family):
    """``log p(x) = sum_i log p(x_i | x_{i-1})``, exact."""

    bound = "exact"

    def __init__(self, spec: Spec, *, size: int = 8) -> None:
        super().__init__(spec)
        if size < 1:
            raise RecipeError(f"family.size is {size}; it must be at least 1")
        self.known = Condition(spec.cond, size)
        self.before = nn.Embedding(spec.vocab + 1, size)  # the last: nothing comes before the first
        self.urn = nn.Linear(size, spec.vocab)

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        if spec.is_sequence and not spec.blocks and not spec.given_text:
            return ""
        return "it models plain sequences of tokens; use a codec that gives them"

    def _logits(self, before: Tensor, known: Tensor) -> Tensor:
        return self.urn(torch.tanh(self.before(before) + known))

    def _nll(self, batch: Batch) -> Tensor:
        before = F.pad(batch.x[:, :-1], (1, 0), value=self.spec.vocab)
        logits = self._logits(before, self.known(batch.cond, len(batch))[:, None])
        each = F.cross_entropy(logits.transpose(1, 2), batch.x, reduction="none")
        return (each if batch.mask is None else each * batch.mask).sum(1)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        weight = torch.ones_like(batch.x) if batch.mask is None else batch.mask
        return Terms({"nll": self._nll(batch)}, weight.sum(1).float())

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        return -self._nll(batch)

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
        known, out = self.known(cond, n), []
        last = torch.full((n,), self.spec.vocab, device=rng.device)
        for _ in range(self.spec.dims):
            last = rng.categorical(self._logits(last, known) / temperature)
            out.append(last)
        return torch.stack(out, 1)
'''

DICE = '''
"""Dice: games of so many throws, one game in a line."""

from __future__ import annotations

from pathlib import Path

import torch

from bottega.core import Batch, DataError, Item, RecipeError, Spec

__all__ = ["DiceCodec"]


class DiceCodec:
    """``Item.value`` is a list of whole numbers from 1 to ``sides``."""

    medium = "dice"

    def __init__(self, *, sides: int = 6) -> None:
        if sides < 2:
            raise RecipeError(f"codec.sides is {sides}; it must be at least 2")
        self.sides = sides

    def read(self, source):
        lines = [l.split() for l in Path(source).read_text().splitlines() if l and not l.startswith("#")]
        for i, line in enumerate(lines, 1):
            if not all(w.isdigit() and 1 <= int(w) <= self.sides for w in line):
                raise DataError(f"{source}, game {i}: {' '.join(line)!r} is no game of {self.sides}-sided dice; mend it")
        return [Item([int(w) for w in line], name=f"game {i}") for i, line in enumerate(lines, 1)]

    def fit(self, items):
        self.spec = Spec((len(items[0].value),), vocab=self.sides)
        return self

    def encode(self, items):
        return Batch(torch.tensor([item.value for item in items]) - 1)

    def source(self, items, *, train):
        return self.encode(items)

    def encode_cond(self, values):
        raise RecipeError("dice are thrown without conditions; leave --cond out")

    def decode(self, x, cond=None):
        return [Item(row) for row in (x + 1).tolist()]

    def write(self, item, path, mark=None):
        path = path.with_suffix(".dice")
        head = [f"# {key}: {value}" for key, value in (mark or {}).items()]
        path.write_text("\\n".join([*head, " ".join(map(str, item.value))]) + "\\n")
        return path

    def show(self, items, path):
        path = path.with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\\n".join(" ".join(map(str, item.value)) for item in items) + "\\n")
        return path

    def state(self):
        return {"throws": self.spec.dims}

    def load_state(self, state):
        self.spec = Spec((state["throws"],), vocab=self.sides)
        return self
'''

RECIPE = """\
# 2 cores, about 2 seconds, 200 MiB; {throws} throws
about = "throws of a sticky die"
[codec]
name = "{codec}"
{codec_settings}
[family]
name = "{family}"
size = 8
[optim]
lr = 0.05
[train]
steps = 150
batch = 128
ema = 0.9
checks = 2
[judge]
n = 100
iwae = 2
"""

STAY, SIDES, THROWS = 0.7, 4, 6  # a throw repeats the last one with probability STAY, or is any other side
ENTROPY = math.log(SIDES) - (THROWS - 1) * (STAY * math.log(STAY) + (1 - STAY) * math.log((1 - STAY) / (SIDES - 1)))


def throws(n, seed):
    rng = Rng(seed)
    moves = torch.where(rng.uniform(n, THROWS) < STAY, 0, 1 + rng.integers(SIDES - 1, n, THROWS))
    moves[:, 0] = rng.integers(SIDES, n)
    return 1 + moves.cumsum(1) % SIDES


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder as an installer leaves it: two modules, and the metadata that names them."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "someones_urn.py").write_text(URN.lstrip())
    (folder / "someones_dice.py").write_text(DICE.lstrip())
    info = folder / "someones_bottega-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someones-bottega\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        textwrap.dedent("""\
        [bottega.families]
        urn = someones_urn:Urn

        [bottega.codecs]
        dice = someones_dice
        """)
    )
    return folder


@pytest.fixture
def installed(package, monkeypatch):
    """The package, importable and looked up afresh, in this process and in those that it starts."""
    monkeypatch.syspath_prepend(package)
    registry._found.cache_clear()
    yield package
    monkeypatch.undo()
    registry._found.cache_clear()
    for module in ("someones_urn", "someones_dice"):
        sys.modules.pop(module, None)


@pytest.fixture(scope="module")
def game(tmp_path_factory):
    path = tmp_path_factory.mktemp("game") / "sticky.dice"
    path.write_text("\n".join(" ".join(map(str, row)) for row in throws(4000, 0).tolist()))
    return path


def recipe(folder, codec="dice", family="urn", codec_settings=f"sides = {SIDES}"):
    path = folder / f"{family}-{codec}.toml"
    path.write_text(RECIPE.format(codec=codec, family=family, throws=THROWS, codec_settings=codec_settings))
    return path


def test_without_the_package_nobody_knows_them(tmp_path, game, capsys):
    assert "urn" not in names("families")
    assert main(["train", str(recipe(tmp_path)), "--data", str(game), "--out", str(tmp_path / "run")]) == 2
    assert "unknown name 'urn' in families" in capsys.readouterr().err


def test_they_are_found_and_not_imported_before_they_are_asked_for(installed):
    assert "urn" in names("families")
    assert "dice" in names("codecs")
    assert not {"someones_urn", "someones_dice"} & set(sys.modules)
    assert lookup("families", "urn").__module__ == "someones_urn"
    assert lookup("codecs", "dice").__name__ == "DiceCodec", "a module alone offers the first name of its __all__"


def test_a_new_family_on_a_new_modality_from_file_to_pieces(installed, tmp_path, game, capsys):
    run = tmp_path / "run"
    command = ["train", str(recipe(tmp_path)), "--data", str(game), "--out", str(run), "--json", "--quiet"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    by_name = {m["name"]: m for m in told["measures"]}
    nll = by_name["nll_nats"]
    assert nll["bound"] == "exact"
    assert nll["value"] == pytest.approx(ENTROPY, abs=0.25), "the urns have not learned that the die is sticky"
    assert (run / "report.html").read_text().count("sticky")
    assert "dice" in (run / "card.md").read_text()

    assert main(["sample", str(run), "--seeds", "5-204", "--out", str(tmp_path / "pieces"), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert any(str(f).endswith(".dice") for f in files)
    model = load(run)
    pieces = model.sample(2000, seed=1)
    assert pieces.x.shape == (2000, THROWS)
    stays = (pieces.x[:, 1:] == pieces.x[:, :-1]).float().mean().item()
    assert stays == pytest.approx(STAY, abs=0.06)
    assert torch.equal(model.sample(1, seeds=[9]).x, pieces.x[8:9]), "a sample belongs to its seed"
    truth = -math.log(SIDES) + (THROWS - 1) * math.log(STAY)
    got = model.model.log_prob(Batch(torch.zeros(1, THROWS, dtype=torch.long)), Rng(0)).item()
    assert got == pytest.approx(truth, abs=0.5)

    assert main(["score", str(run), str(game), "--json"]) == 0
    capsys.readouterr()
    assert main(["sample", str(run), "-n", "1", "--set", "temprature=1"]) == 2
    assert "temperature" in capsys.readouterr().err
    bad = tmp_path / "bad.dice"
    bad.write_text("1 2 3 4 1 9\n")
    assert main(["train", str(recipe(tmp_path)), "--data", str(bad), "--out", str(tmp_path / "other")]) == 2
    assert "game 1" in capsys.readouterr().err


@pytest.mark.parametrize(("codec", "family"), [("dice", "gpt"), ("text", "urn")])
def test_each_goes_with_what_the_house_has(installed, tmp_path, game, codec, family, capsys):
    text, data = recipe(tmp_path, codec, family, f"sides = {SIDES}" if codec == "dice" else ""), game
    if codec == "text":
        data = tmp_path / "sticky.txt"
        data.write_text(game.read_text())
    out = tmp_path / "run"
    assert (
        main(
            [
                "train",
                str(text),
                "--data",
                str(data),
                "--out",
                str(out),
                "--steps",
                "20",
                "--no-judge",
                "--set",
                "family.size=1",
            ]
        )
        == 0
    ), capsys.readouterr().err
    assert main(["sample", str(out), "-n", "3", "--show"]) == 0
    assert len(capsys.readouterr().out.split()) >= 3


def test_in_a_process_of_its_own_with_nothing_but_the_package_on_the_path(package, tmp_path, game):
    environment = {**os.environ, "PYTHONPATH": str(package)}
    command = [
        sys.executable,
        "-m",
        "bottega",
        "train",
        recipe(tmp_path),
        "--data",
        game,
        "--out",
        tmp_path / "run",
    ]
    done = subprocess.run([*map(str, command), "--quiet", "--no-judge", "--steps", "5"],
                          capture_output=True, text=True, env=environment, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model.safetensors").is_file()


@pytest.mark.parametrize("kind", ["text", "text_class"])
def test_it_keeps_the_contract(installed, kind):
    report = check_family(lookup("families", "urn"), specs()[kind])
    assert len(report.passed) >= 15
    assert set(report.passed) | set(report.skipped) == set(CHECKS)


def test_a_family_that_breaks_the_contract_is_told(installed):
    class Loose(lookup("families", "urn")):
        def _nll(self, batch):
            return super()._nll(batch) + 0.1 * torch.rand(len(batch))

    with pytest.raises(AssertionError, match="global generator"):
        check_family(Loose, specs()["text"])


def test_the_suite_takes_it_up_by_itself(installed):
    kinds = [subject.name for subject in subjects(["urn"])]
    assert kinds == ["urn-text", "urn-text_class"]
    assert all(isinstance(subject, Subject) for subject in subjects(["urn"]))
    mark = parametrize(subjects(["urn"]))
    ids = {param.id for param in mark.args[1]}
    once, fullest = ({name for name, check in CHECKS.items() if getattr(check, how)} for how in ("once", "fullest"))
    assert ids == {f"urn-text-{name}" for name in CHECKS.keys() - fullest} | {
        f"urn-text_class-{name}" for name in CHECKS.keys() - once
    }
