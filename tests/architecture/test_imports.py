"""Imports point one way, nothing acts at import, and randomness is an argument.

Each rule is a function over source text; each is shown to catch a planted breach before it is trusted with the house.
"""

import ast
import json
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import bottega

PACKAGE = Path(bottega.__file__).resolve().parent
CONTRACT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["tool"]["importlinter"]
LAYERS = [line.replace("bottega.", "").split(" | ") for line in CONTRACT["contracts"][0]["layers"]]
DEPTH = {room: i for i, layer in enumerate(LAYERS) for room in layer}  # 0 is the top
FILES = sorted(PACKAGE.rglob("*.py"))

OPTIONAL = {"constriction", "datasets", "jsonschema", "llguidance", "openai", "pandas", "peft", "pyarrow", "referencing", "rouge_score",
            "sacrebleu", "skimage", "tensorboard", "transformers"}  # extras: inside functions only  # fmt: skip
LATE = OPTIONAL | {"matplotlib"}  # and what only pictures need
NEVER = {"torchvision", "torchaudio", "pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
NETWORK = {"ftplib", "http", "httpx", "requests", "socket", "smtplib", "urllib", "urllib3", "aiohttp"}
LIGHT = [
    "__init__.py",
    "__main__.py",
    "core/__init__.py",
    "core/errors.py",
    "core/registry.py",
    "workshop/recipe.py",
    "cli",
]


def imported(tree):
    """Every import of a module's source as ``(dotted name, at module level, line)``; types-only ones count, too."""

    def walk(node, outside):
        for child in ast.iter_child_nodes(node):
            level = outside and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            if isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
                level = False
            if isinstance(child, ast.Import):
                yield from ((alias.name, outside, child.lineno) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert not child.level, f"line {child.lineno}: a relative import; write it in full"
                yield from ((f"{child.module}.{alias.name}", outside, child.lineno) for alias in child.names)
            elif isinstance(child, ast.Call) and ast.unparse(child.func).split(".")[-1] in {
                "import_module",
                "__import__",
            }:
                if child.args and isinstance(child.args[0], ast.Constant):
                    yield str(child.args[0].value), outside, child.lineno
            elif isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name) and child.value.id == "bottega":
                yield f"bottega.{child.attr}", outside, child.lineno
            yield from walk(child, level)

    return list(walk(tree, True))


@cache
def imports_of(source):
    """The same of source text; each file is looked at by several tests."""
    return imported(ast.parse(source))


def room_of(dotted):
    """The room a dotted name of ours lies in; the Python surface of ``bottega`` itself is the workshop's."""
    parts = dotted.split(".")
    if parts[0] != "bottega" or len(parts) < 2 or parts[1] == "__version__":
        return ""
    return parts[1] if parts[1] in DEPTH else "workshop"


def upward(source, room):
    """Imports of ``source``, a file of ``room``, that do not point down."""
    out = []
    for name, _, line in imports_of(source):
        there = room_of(name)
        if there and there != room and DEPTH[there] <= DEPTH[room]:
            out.append(
                f"line {line}: {room} imports {name}, which lies {'above' if DEPTH[there] < DEPTH[room] else 'beside'} it"
            )
    return out


def of_others(source, banned, *, module_level=False):
    """Imports of ``source`` whose top package is ``banned``."""
    found = imports_of(source)
    # ``torch.utils.tensorboard`` needs tensorboard as soon as it is imported
    return [
        f"line {line}: {name}"
        for name, outside, line in found
        if (outside or not module_level)
        and (name.split(".")[0] in banned or ("tensorboard" in banned and name.startswith("torch.utils.tensorboard")))
    ]


DRAWS = {"rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "bernoulli",
         "multinomial", "poisson", "binomial"}  # fmt: skip
IN_PLACE = {"normal_", "uniform_", "bernoulli_", "random_", "exponential_", "log_normal_", "cauchy_", "geometric_"}
SEEDS = {"manual_seed", "manual_seed_all", "seed", "set_rng_state", "set_state"}
FORGETS = {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout",
           "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "gumbel_softmax", "rrelu", "RReLU"}  # fmt: skip


def global_randomness(source):
    """Uses of a global generator. First weights may be drawn in a constructor, which runs under ``fork_rng``."""
    out = []

    def look(node, free):
        for child in ast.iter_child_nodes(node):
            here = free
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                here = child.name == "__init__"
            elif isinstance(child, ast.With):
                here = free or any("random.fork_rng(" in ast.unparse(item.context_expr) for item in child.items)
            elif isinstance(child, ast.Import | ast.ImportFrom):
                names = [a.name for a in child.names] if isinstance(child, ast.Import) else [child.module or ""]
                whole = isinstance(child, ast.Import)  # of its names only the seeded generator may be used, see below
                if any((n.split(".")[0] == "random" and not whole) or n.startswith("numpy.random") for n in names):
                    out.append(f"line {child.lineno}: {ast.unparse(child)}")
            elif isinstance(child, ast.Call):
                spelled = ast.unparse(child.func)
                owner, _, last = spelled.rpartition(".")
                given = {k.arg for k in child.keywords}
                numpys = owner in {"np.random", "numpy.random"}
                if (
                    numpys
                    and not (last in {"default_rng", "Generator", "PCG64", "SeedSequence"} and child.args)
                    or owner == "random"
                    and not (last == "Random" and child.args)
                ):
                    out.append(f"line {child.lineno}: {spelled}")
                elif (last in DRAWS if owner == "torch" else owner and last in IN_PLACE) and not (
                    free or "generator" in given
                ):
                    out.append(f"line {child.lineno}: {spelled} without generator=")
                elif owner.split(".")[0] == "torch" and last in SEEDS and not free and "Generator(" not in owner:
                    out.append(f"line {child.lineno}: {spelled} outside fork_rng")
                elif last in FORGETS:
                    out.append(f"line {child.lineno}: {spelled}; draw what is forgotten from rng")
            look(child, here)

    look(ast.parse(source), False)
    return out


def rooms():
    return sorted(p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.glob("*.py")))


# --- the rules catch planted breaches --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("room", "source", "breach"),
    [
        ("core", "from bottega.nets.mlp import MLP", "above"),
        ("core", "import bottega.workshop.run", "above"),
        ("core", "def f():\n    from bottega import train\n", "above"),
        ("core", "import bottega\ndef f():\n    return bottega.load('x')\n", "above"),
        ("nets", "from bottega.samplers import langevin", "beside"),
        ("samplers", "from bottega.families.vae import VAE", "above"),
        ("families", "from bottega.codecs.image import ImageCodec", "beside"),
        ("families", "def f():\n    from bottega.training.loop import fit\n", "beside"),
        ("training", "from importlib import import_module\nimport_module('bottega.families.vae')", "beside"),
        (
            "judge",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bottega.families.vae import VAE",
            "beside",
        ),
        ("workshop", "class A:\n    from bottega.cli._shared import Out", "above"),
    ],
)
def test_an_import_that_does_not_point_down_is_caught(tmp_path, room, source, breach):
    planted = tmp_path / "planted.py"
    planted.write_text(source)
    (found,) = upward(planted.read_text(), room)
    assert breach in found


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("core", "import torch\nfrom bottega.core.rng import Rng\nfrom bottega import __version__"),
        ("families", "from bottega.nets.mlp import MLP\nfrom bottega.samplers.langevin import ais"),
        ("cli", "from bottega.workshop.run import load\nimport bottega\nbottega.train"),
    ],
)
def test_imports_that_point_down_are_let_through(room, source):
    assert not upward(source, room)


@pytest.mark.parametrize(
    ("banned", "module_level", "source", "caught"),
    [
        (OPTIONAL, True, "import pandas as pd", True),
        (OPTIONAL, True, "try:\n    from skimage import draw\nexcept ImportError:\n    draw = None", True),
        (OPTIONAL, True, "class A:\n    import pyarrow.parquet", True),
        (OPTIONAL, True, "from torch.utils.tensorboard import SummaryWriter", True),
        (OPTIONAL, True, "def f():\n    import pandas", False),
        (OPTIONAL, True, "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas", False),
        (NEVER, False, "def f():\n    import torchvision.models", True),
        (NEVER, False, "def f():\n    from pickle import loads", True),
        (NEVER, False, "__import__('pickle')", True),
        (NEVER, False, "import pickletools", False),
    ],
)
def test_a_banned_import_is_caught(banned, module_level, source, caught):
    assert bool(of_others(source, banned, module_level=module_level)) == caught


@pytest.mark.parametrize(
    ("source", "caught"),
    [
        ("def loss(x):\n    return torch.randn_like(x)", True),
        ("def loss(x):\n    return torch.rand(3)", True),
        ("def loss(x):\n    return x.normal_()", True),
        ("def loss(x):\n    return F.dropout(x)", True),
        ("def __init__(self):\n    self.drop = nn.Dropout(0.1)", True),
        ("def __init__(self):\n    torch.manual_seed(0)\ndef f():\n    torch.manual_seed(0)", True),
        ("np.random.seed(0)", True),
        ("np.random.normal(3)", True),
        ("np.random.default_rng()", True),
        ("from random import choice", True),
        ("import random\nrandom.choice([1])", True),
        ("import random\nrandom.Random()", True),
        ("import random\nrandom.Random(3).choice([1])", False),
        ("from random import shuffle", True),
        ("def __init__(self):\n    self.w = nn.Parameter(torch.randn(3))", False),
        ("def f(g):\n    return torch.rand(3, generator=g)", False),
        ("def f(rng):\n    return rng.normal(3)", False),
        ("np.random.default_rng(7)", False),
        ("def f():\n    with torch.random.fork_rng(devices=[]):\n        torch.manual_seed(0)", False),
        ("def __init__(self):\n    def later():\n        return torch.rand(3)", True),
    ],
)
def test_global_randomness_is_caught(source, caught):
    assert bool(global_randomness(source)) == caught


# --- the house -------------------------------------------------------------------------------------------------------


def test_every_room_has_its_place():
    assert set(rooms()) == set(DEPTH), "name each room in the import contract of pyproject.toml, and no other"
    assert len(DEPTH) == sum(map(len, LAYERS))


def breaches(rule, paths=FILES):
    """What ``rule``, a function of a path, finds, by file."""
    return {str(path.relative_to(PACKAGE)): found for path in paths if (found := rule(path))}


def unsafe(path):
    """Imports and calls that reach for the network or would unpickle."""
    source = path.read_text()
    calls = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)]
    return [
        *of_others(source, NEVER | NETWORK),
        *sorted({"torch.load", "torch.save", "np.save", "eval", "exec"} & {ast.unparse(n.func) for n in calls}),
        *[f"line {n.lineno}: np.load that may unpickle" for n in calls
          if ast.unparse(n.func) == "np.load" and "allow_pickle=False" not in ast.unparse(n)],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line", ["import socket", "torch.load('x')", "np.load('x')", "np.load('x', allow_pickle=True)", "exec('x')"]
)
def test_what_is_unsafe_is_caught(tmp_path, line):
    (tmp_path / "planted.py").write_text(line)
    assert unsafe(tmp_path / "planted.py")


def test_imports_point_down():
    rooms = [p for p in FILES if p.parent != PACKAGE]
    assert not breaches(lambda path: upward(path.read_text(), path.relative_to(PACKAGE).parts[0]), rooms)


def test_optional_libraries_are_imported_where_they_are_used():
    assert not breaches(lambda path: of_others(path.read_text(), LATE, module_level=True))


def test_nothing_unsafe_and_no_network():
    assert not breaches(unsafe)


def test_the_light_files_do_not_ask_for_torch():
    light = [p for p in FILES if any(str(p.relative_to(PACKAGE)).startswith(light) for light in LIGHT)]
    heavy = {"torch", "numpy", "scipy", "sklearn", "pydantic"}
    assert not breaches(lambda path: of_others(path.read_text(), heavy, module_level=True), light)


def test_randomness_is_an_argument():
    """All but ``Rng`` itself, and the check that looks whether a family touches the global generators."""
    rest = [p for p in FILES if str(p.relative_to(PACKAGE)) not in {"core/rng.py", "testing/checking.py"}]
    assert not breaches(lambda path: global_randomness(path.read_text()), rest)


def python(code, cwd, *flags):
    done = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, cwd=cwd, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(
    "module", ["bottega", "bottega.cli", "bottega.cli._app", "bottega.core", "bottega.workshop.recipe"]
)
def test_a_light_import_brings_nothing_heavy(module, tmp_path):
    code = f"import sys, json, {module}; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    loaded = set(json.loads(python(code, tmp_path).stdout))
    assert "bottega" in loaded
    assert not loaded & {
        "torch",
        "numpy",
        "scipy",
        "sklearn",
        "matplotlib",
        "PIL",
        "tokenizers",
        "safetensors",
        *OPTIONAL,
    }


def test_what_every_command_imports_brings_no_statistics(tmp_path):
    """Each of these takes a second or two to import, and training or sampling may never ask for it."""
    code = (
        "import sys, json, bottega.workshop.training, bottega.workshop.judging; print(json.dumps(sorted(sys.modules)))"
    )
    loaded = set(json.loads(python(code, tmp_path).stdout))
    assert "torch" in loaded
    assert not loaded & {"scipy.stats", "scipy.signal", "sklearn", "pandas", "librosa", "transformers"}


IMPORT_ALL = """
import importlib, json, os, pkgutil, random, signal, sys, threading, warnings
import numpy as np, torch, torch.nn.functional as F
import scipy.stats, sklearn.linear_model, sklearn.ensemble, pydantic, typer, rich, PIL.Image, safetensors.torch, tokenizers
import torch.distributed, typer.core, importlib.metadata

before_modules = set(sys.modules)
acts = []
def audit(event, args):
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        acts.append([event, str(args[0])])
    elif event in {"os.mkdir", "os.remove", "os.rename", "os.chdir", "os.putenv", "socket.connect", "subprocess.Popen", "os.fork"}:
        acts.append([event, str(args[0])])

def state():
    functions = {f"{m.__name__}.{k}": id(v) for m in (torch, F, torch.nn, np) for k, v in vars(m).items() if callable(v)}
    functions |= {f"{c.__qualname__}.{k}": id(v) for c in (torch.Tensor, torch.nn.Module) for k, v in vars(c).items()}
    return {
        "torch rng": torch.get_rng_state().tolist(), "numpy rng": np.random.get_state()[1].tolist(),
        "python rng": hash(random.getstate()), "threads": torch.get_num_threads(), "interop": torch.get_num_interop_threads(),
        "dtype": str(torch.get_default_dtype()), "grad": torch.is_grad_enabled(), "precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(), "environment": dict(os.environ), "cwd": os.getcwd(),
        "running": threading.active_count(), "interrupt": str(signal.getsignal(signal.SIGINT)), "umask": (os.umask(0o022), os.umask(0o022))[0],
        "functions": functions,
    }

before = state()
sys.addaudithook(audit)
import bottega
names = [m.name for m in pkgutil.walk_packages(bottega.__path__, "bottega.") if not m.name.endswith(".__main__") and ".migrations" not in m.name]
for name in names:
    importlib.import_module(name)
after = state()
classes = ("Tensor.", "Module.")  # torch's modules fill up as they are used; its classes do not
after["functions"] = {k: v for k, v in after["functions"].items() if k in before["functions"] or k.startswith(classes)}
changed = [k for k in before if before[k] != after[k]]
if "functions" in changed:
    changed += sorted(k for k, _ in before["functions"].items() ^ after["functions"].items())
os.write(3, json.dumps({"names": names, "acts": acts, "changed": changed}).encode())
"""


def import_all(tmp_path, code=IMPORT_ALL):
    """What importing every module does, seen from a process of its own; ``(report, what it printed)``."""
    told = tmp_path / "report.json"
    home = tmp_path / "home"
    home.mkdir()
    with told.open("wb") as file:
        command = f"exec {sys.executable} -B - 3>&{file.fileno()}"
        done = subprocess.run(
            ["bash", "-c", command], input=code, capture_output=True, text=True, cwd=home, timeout=200,
            pass_fds=[file.fileno()],
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not list(home.iterdir()), "an import left files in the folder it ran in"
    return json.loads(told.read_text()), done.stdout + done.stderr


def test_importing_every_module_does_nothing(tmp_path):
    report, printed = import_all(tmp_path)
    files = {"bottega." + ".".join(p.relative_to(PACKAGE).with_suffix("").parts) for p in FILES}
    # what Alembic runs is no module: it acts when it is read, within a migration
    files = {f.removesuffix(".__init__") for f in files if not f.endswith("__main__") and ".migrations" not in f} - {"bottega"}  # fmt: skip
    assert files <= {*report["names"], "bottega.__init__"}
    assert printed == ""
    assert report["acts"] == []
    assert report["changed"] == []


def test_acts_at_import_would_be_seen(tmp_path):
    planted = {
        "torch rng": "torch.manual_seed(3)",
        "numpy rng": "np.random.seed(3)",
        "threads": "torch.set_num_threads(torch.get_num_threads() + 1)",
        "Tensor.normal_": "torch.Tensor.normal_ = None",
        "environment": "os.environ['PLANTED'] = '1'",
        "interrupt": "signal.signal(signal.SIGINT, signal.SIG_DFL)",
        "open": "import tempfile; tempfile.TemporaryFile()",
    }
    code = IMPORT_ALL.replace("for name in names:\n    importlib.import_module(name)", "\n".join(planted.values()))
    assert code != IMPORT_ALL
    report, _ = import_all(tmp_path, code)
    assert set(planted) <= {*report["changed"], *(event for event, _ in report["acts"])}
