"""Pictures judged by features of the user's: reached from recipe, Python and command line, named in every note, never mixed up."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import bottega
from bottega.cli import main
from bottega.core import CheckpointError, RecipeError
from bottega.workshop import judging

PICTURES = """# seconds
about = "digits"
[data]
name = "digits"
limit = 120
[codec]
name = "image"
size = 8
[family]
name = "vae"
size = 8
[train]
steps = 3
batch = 16
[judge]
n = 16
only = "frechet,precision_recall,diversity,memorisation"
"""
FEATURES = {
    "frechet_distance",
    "precision",
    "recall",
    "density",
    "coverage",
    "diversity",
    "closer_share",
    "memorisation_auc",
}


class Tiny(nn.Module):
    """Stands where Inception stands: five numbers for each picture."""

    def __init__(self, path):
        super().__init__()
        self.path, self.seen = str(path), []
        self.about = f"2048 Inception features, weights {'0123456789ab' if 'one' in self.path else 'ba9876543210'}"
        self.register_buffer("basis", torch.randn(64, 5, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        self.seen.append((tuple(x.shape[1:]), float(x.min()), float(x.max())))
        return x.flatten(1) @ self.basis


@pytest.fixture
def built(monkeypatch):
    """Every stand-in that was built, in order."""
    made = []

    def build(path):
        made.append(Tiny(path))
        return made[-1]

    monkeypatch.setattr(judging, "load_inception", build)
    return made


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "vae.toml").write_text(PICTURES)
    bottega.train(folder / "vae.toml", out=folder / "a", judge=False)
    shutil.copytree(folder / "a", folder / "b")
    return folder


def notes(run):
    return {m.name: m.note for m in run.evidence.measures if m.name in FEATURES}


def spaces(run):
    """The feature spaces that the measures say they were taken in."""
    return {m.features for m in run.evidence.measures if m.name in FEATURES}


def test_every_note_names_the_features(trained, built):
    run = bottega.load(trained / "a")
    run.judge(features=trained / "one.safetensors")
    assert [net.path for net in built] == [str(trained / "one.safetensors")]
    assert {shape for shape, _, _ in built[0].seen} == {(1, 8, 8)}
    assert min(low for _, low, _ in built[0].seen) >= -1  # real pictures among them, in [-1, 1]
    assert notes(run).keys() == FEATURES
    assert all("2048 Inception features, weights 0123456789ab" in note for note in notes(run).values())
    assert not any("local" in note for note in notes(run).values())
    run.judge()  # without them, the features are learned here, and the notes say so
    assert len(built) == 1
    assert all("128 local features" in note for note in notes(run).values())
    assert spaces(run) == {"128 local features of 1×8×8 pictures"}


def test_figures_are_those_of_the_features(trained, built):
    run = bottega.load(trained / "a")
    local = run.judge(only=["frechet"]).find("frechet_distance").value
    given = run.judge(only=["frechet"], features="one").find("frechet_distance").value
    assert abs(given - local) > 1e-3 * abs(local)


def test_a_recipe_can_name_them(trained, built, monkeypatch, tmp_path):
    monkeypatch.setattr("bottega.workshop.run.load_inception", lambda path: None)
    path = tmp_path / "vae.toml"
    path.write_text(PICTURES + 'features = "one.safetensors"\n')
    run = bottega.train(path, out=tmp_path / "run")
    assert built[0].path == "one.safetensors"
    assert spaces(run) == {"2048 Inception features, weights 0123456789ab"}
    assert run.recipe.judge.features == "one.safetensors"


def test_the_command_line_can_name_them(trained, built):
    assert main(["judge", str(trained / "a"), "--only", "frechet", "--features", "one.safetensors", "--quiet"]) == 0
    assert built[0].path == "one.safetensors"


def test_comparisons_leave_out_what_was_measured_otherwise(trained, built):
    a, b = bottega.load(trained / "a"), bottega.load(trained / "b")
    a.judge(features="one")
    for other in (None, "two"):
        b.judge(features=other)
        found = bottega.compare([a, b])
        assert {row.name for row in found.rows} == {"duplicate_share", "memorised_share"}
        assert sum("different features" in note and "Recall" in note for note in found.notes) == 1
    b.judge(features="one")
    found = bottega.compare([a, b])
    assert {row.name for row in found.rows} >= FEATURES
    assert not any("features" in note for note in found.notes)


def test_a_mistake_in_the_recipe_is_told_before_training(tmp_path):
    path = tmp_path / "vae.toml"
    path.write_text(PICTURES + 'features = "nowhere.safetensors"\n')
    with pytest.raises(CheckpointError, match="cannot read the features nowhere"):
        bottega.train(path, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(RecipeError, match=r"judge\.features is 3"):
        bottega.train(path, out=tmp_path / "run", set={"judge.features": 3})


def test_only_pictures(tmp_path: Path):
    text = PICTURES.replace('"digits"\nlimit = 120', '"ring"\nn = 200').replace('"image"\nsize = 8', '"points"')
    (tmp_path / "vae.toml").write_text(text)
    run = bottega.train(tmp_path / "vae.toml", out=tmp_path / "run", judge=False)
    with pytest.raises(RecipeError, match=r"^features 'x.safetensors' are for pictures .*leave the features out$"):
        run.judge(features="x.safetensors")


def test_the_command_line_tells_a_mistake_in_one_line(trained, capfd, tmp_path):
    pickled = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(1)}, pickled)
    for path, told in ((tmp_path / "none.safetensors", "cannot read the features"), (pickled, "convert them once")):
        capfd.readouterr()
        assert main(["judge", str(trained / "a"), "--features", str(path)]) == 2
        lines = [line for line in capfd.readouterr().err.splitlines() if line]
        assert len(lines) == 1
        assert told in lines[0]
