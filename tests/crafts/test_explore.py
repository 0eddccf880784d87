"""Explore: maps that keep neighbours, ways that are even, versions that belong to their seeds, and the page."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA

from bottega.cli import main
from bottega.core import BottegaError, DataError, RecipeError, Rng
from bottega.crafts import explore as craft
from bottega.crafts._rows import held_items


def test_the_plane_is_that_of_the_principal_components():
    x = Rng(0).normal(200, 6) * torch.tensor([5.0, 3.0, 1.0, 1.0, 0.5, 0.1])
    ours, theirs = craft.flat(x).numpy(), PCA(2).fit_transform(x.double().numpy())
    for k in range(2):
        assert abs(abs(np.corrcoef(ours[:, k], theirs[:, k])[0, 1]) - 1) < 1e-6
    assert torch.equal(craft.flat(x[:, :2]), x[:, :2].double()), "two numbers stay as they are"
    assert torch.equal(craft.flat(x), craft.flat(x.clone()))


def test_neighbours_are_counted_among_those_with_a_label():
    at = torch.cat([torch.zeros(20, 2), torch.ones(20, 2)]) + 0.01 * Rng(0).normal(40, 2)
    assert craft.neighbours(at, ["a"] * 20 + ["b"] * 20) == 1
    assert craft.neighbours(at, ["a", "b"] * 20) < 0.7
    assert craft.neighbours(at, ["a"] * 15 + [None] * 5 + ["b"] * 20) == 1


@pytest.mark.parametrize("name", ["map", "autoencoder"])
def test_the_map_keeps_its_kind_together_better_than_pca(digits, name):
    """Row B5: the two numbers themselves, and eight of them laid out."""
    items = held_items(digits[name], None, 400)
    shown = craft.latent_map(digits[name], items)
    assert shown.at.shape == (400, 2)
    assert shown.kept >= shown.kept_by_pca + (0.0 if name == "map" else 0.1)
    assert torch.equal(shown.at, craft.latent_map(digits[name], items).at)
    assert shown.how == {"map": "the two numbers of the code", "autoencoder": "t-SNE of 8 code numbers"}[name]


def test_a_way_goes_evenly_from_one_piece_to_the_other(digits):
    """Row B12: the mean step is at most twice an even one."""
    run = digits["autoencoder"]
    a, b = held_items(run, None, 2)
    way = craft.interpolate(run, a, b, 9)
    assert len(way.items) == 9
    assert 1 <= way.roughness <= 2
    assert way.largest < 4
    ends = run.codec.decode(run.model.decode(run.model.encode(run.codec.encode([a, b]))))
    assert (way.items[0].value == ends[0].value).all()
    assert (way.items[-1].value == ends[1].value).all()
    with pytest.raises(RecipeError, match="steps is 1"):
        craft.interpolate(run, a, b, 1)


def test_versions_belong_to_their_seeds_and_go_as_far_as_they_are_told(digits):
    run = digits["vae"]
    others = held_items(run, None, 100)
    near, far = (craft.vary(run, others[0], others, 6, spread=s, seed=3) for s in (0.2, 1.0))
    assert near.apart < far.apart
    alone = craft.vary(run, others[0], others, 1, spread=0.2, seed=5)
    assert (alone.items[0].value == near.items[2].value).all()
    still = craft.vary(run, others[0], others, 3, spread=0.0)
    assert still.apart == 0
    with pytest.raises(RecipeError, match="spread -1"):
        craft.vary(run, others[0], others, 2, spread=-1)


def test_the_page_needs_no_other_file_and_says_what_was_measured(digits, tmp_path: Path):
    told = craft.explore(digits["vae"], tmp_path, n=60)
    page = told["page"].read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1))
    assert len(data["points"]) == 60
    assert data["names"] == [str(k) for k in range(10)]
    assert all(0 <= x <= 1 and 0 <= y <= 1 and -1 <= k < 10 for x, y, k in data["points"])
    moving = Image.open(told["animation"])
    assert moving.n_frames == 16, "nine there, seven back"
    assert Image.open(told["interpolation"]).size == (9 * 68, 5 * 68)
    assert Image.open(told["versions"]).size == (9 * 68, 4 * 68)


def test_what_has_no_codes_is_refused(digits):
    with pytest.raises(BottegaError, match="has no codes of real numbers"):
        craft.explore(digits["gan"])
    with pytest.raises(DataError, match="give at least three"):
        craft.latent_map(digits["vae"], held_items(digits["vae"], None, 2))


def test_the_verb_goes_between_files_and_writes_marked_versions(digits, tmp_path: Path, capfd):
    for i, item in enumerate(held_items(digits["vae"], None, 2)):
        Image.fromarray(item.value[..., 0]).save(tmp_path / f"{i}.png")
    asked = ["explore", str(digits["vae"].path), "--from", str(tmp_path / "0.png"), "--to", str(tmp_path / "1.png"), "--vary",
             str(tmp_path / "0.png"), "--versions", "3", "-n", "40", "--out", str(tmp_path / "out")]  # fmt: skip
    assert main([*asked, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert Path(told["version 2"]).exists()
    from bottega.trust.mark import read

    assert read(Path(told["version 1"]))["seed"] == "1"
    assert main(["explore", str(digits["vae"].path), "--from", str(tmp_path / "0.png")]) == 2
    assert "both ends" in capfd.readouterr().err
    assert main(["explore", str(digits["gan"].path)]) == 2
