"""``bottega edit`` on a picture, a text and a row: what is given stays, what is missing is made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bottega
from bottega.cli import main
from bottega.core import Item, RecipeError
from recipes import write_recipe

TINY = ["--no-judge", "--quiet", "--steps", "3", "--set", "train.batch=8", "--set", "train.ema=0"]
TEXT = "The cat sat on the mat, and the dog lay in the sun.\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny run for each medium that can be edited."""
    here = tmp_path_factory.mktemp("edit")
    rng = np.random.default_rng(0)
    for kind in ("dark", "light"):
        (here / "pictures" / kind).mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(0, 128, (8, 8, 3), np.uint8) + (128 if kind == "light" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(here / "pictures" / kind / f"{i}.png")
    (here / "letter.txt").write_text(TEXT * 40)
    rows = [f"{20 + i % 37},{'Rome' if i % 3 else 'Bari'},{'' if i % 5 else 100 * i}" for i in range(80)]
    (here / "people.csv").write_text("\n".join(["age,city,income", *rows]) + "\n")
    sizes = {
        "pictures": ["codec.size=8", "family.size=8"],
        "text": ["codec.length=32", "codec.vocab=280", "family.size=1", "train.precision=fp32"],
        "table": ["family.size=1", "train.precision=fp32"],
    }
    for (recipe, small), data in zip(sizes.items(), ("pictures", "letter.txt", "people.csv"), strict=True):
        sets = [part for setting in small for part in ("--set", setting)]
        assert main(["train", recipe, "--data", str(here / data), "--out", str(here / recipe), *TINY, *sets]) == 0
    return {name: here / name for name in sizes}


def test_a_picture_is_made_anew_inside_the_mask_only(made, call, tmp_path: Path):
    whole = made["pictures"] / "dark" / "0.png"
    hole = np.zeros((8, 8), np.uint8)
    hole[2:5, 3:7] = 255
    Image.fromarray(hole).save(tmp_path / "hole.png")
    told = call("edit", made["pictures"], whole, "--mask", tmp_path / "hole.png", "-n", "2", "--set", "steps=3",
                "--out", tmp_path / "out", "--cond", "light", "--json")  # fmt: skip
    assert told.status == 0, told.err
    before = np.asarray(Image.open(whole))
    for file in told.json["files"]:
        changed = (np.asarray(Image.open(file)) != before).any(-1)
        assert changed.any()
        assert not changed[hole == 0].any()
    assert call("edit", made["pictures"], whole, "--cond", "grey").status == 2


def test_the_sheet_of_a_completed_picture_begins_with_what_was_given(made):
    run, file = bottega.load(made["pictures"]), made["pictures"] / "dark" / "1.png"
    pieces = run.edit(file, n=2, steps=2)
    (given,) = pieces.given
    before = np.asarray(Image.open(file))
    assert (given.value[:4] == before[:4]).all(), "the upper half is given"
    assert (given.value[4:] == 128).all(), "the lower is made"
    assert given.cond == "given"
    assert not run.sample(1, steps=2).given
    for knobs in ({"strength": 0.5}, {"restore": "half"}):  # these use all of it
        (given,) = run.edit(file, steps=2, **knobs).given
        assert (given.value == before).all()


def test_what_is_kept_of_a_transparent_picture_stays_to_the_bit(tmp_path: Path):
    """Also faint colours, which are lost where they are multiplied by alpha and divided again, and those under alpha 0."""
    values = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 4), np.uint8)
    values[:, 0, :, 3] = 0
    values[:, 1, :, 3] = 3
    for k, value in enumerate(values):
        Image.fromarray(value).save(tmp_path / f"{k}.png")
    recipe = write_recipe(tmp_path, "diffusion", codec={"name": "image", "size": 8, "channels": 4}, steps=1, batch=4)
    run = bottega.train(recipe, tmp_path, tmp_path / "run", judge=False)
    (made,) = run.edit(tmp_path / "3.png", steps=2).items
    assert np.array_equal(made.value[:4], values[3][:4])
    assert not np.array_equal(made.value[4:], values[3][4:])
    with pytest.raises(RecipeError, match="trained without conditions"):
        run.edit(tmp_path / "3.png", steps=2, guidance=2)
    (made,) = run.edit(Item(values[5]), steps=2).items
    assert np.array_equal(made.value[:4], values[5][:4])


def test_a_text_is_continued_from_a_file_and_from_words(made, call, tmp_path: Path):
    (tmp_path / "begun.txt").write_text("The dog")
    for beginning in (tmp_path / "begun.txt", "The dog"):
        told = call("edit", made["text"], beginning, "-n", "2", "--show", "--json", "--set", "temperature=0.5")
        assert told.status == 0, told.err
        assert all(piece.startswith("The dog") for piece in told.json["pieces"])
    assert any(len(piece) > len("The dog") for piece in told.json["pieces"])
    told = call("edit", made["text"], "gone.txt")
    assert told.status == 2
    assert "there is no gone.txt" in told.err


def test_the_empty_cells_of_a_row_are_made_and_the_others_stay(made, call, tmp_path: Path):
    row = tmp_path / "row.csv"
    row.write_text("age,city,income\n41,,1234\n")
    told = call("edit", made["table"], row, "-n", "20", "--show", "--json")
    assert told.status == 0, told.err
    assert {(p["age"], p["income"]) for p in told.json["pieces"]} == {(41, 1234)}
    assert {p["city"] for p in told.json["pieces"]} == {"Bari", "Rome"}
    printed = call("edit", made["table"], row, "-n", "3", "--show").out.splitlines()
    assert [json.loads(line)["age"] for line in printed] == [41] * 3
    row.write_text("age,city,income\n41,Paris,\n")
    told = call("edit", made["table"], row)
    assert told.status == 2
    assert "give one of Bari, Rome" in told.err


def test_sampling_settings_of_a_text_reach_the_sampler(made, call):
    plain, cold = (
        call("sample", made["text"], "-n", "3", "--show", "--json", *more).json["pieces"]
        for more in ((), ("--set", "temperature=0"))
    )
    assert plain != cold
    assert len(set(cold)) == 1
    assert call("show", made["text"], "--json").json["knobs"]["temperature"] == 1.0


def test_a_seed_that_comes_again_writes_over_nothing(made, call, tmp_path: Path):
    told = call("sample", made["pictures"], "--seeds", "3,3", "--cond", "dark", "--cond", "light", "--set", "steps=2",
                "--out", tmp_path, "--json")  # fmt: skip
    assert [Path(f).name for f in told.json["files"]] == ["pictures-3.png", "pictures-3-2.png"]
    assert all(Path(f).exists() for f in told.json["files"])


def test_pictures_are_not_printed(made, call):
    told = call("sample", made["pictures"], "-n", "1", "--set", "steps=2", "--show")
    assert (told.status, told.out) == (2, "")
    assert "cannot be printed" in told.err


def test_what_training_never_saw_is_noted_in_one_line(made, call, tmp_path: Path):
    row = tmp_path / "row.csv"
    row.write_text("age,city,income\n41,Paris,1234\n")
    told = call("score", made["table"], row)
    assert told.status == 0
    assert (
        told.err
        == "bottega: note: column 'city' has 'Paris' (1 such rows), never seen in fitting; it counts as the rarest one\n"
    )


def test_quiet_and_json_leave_one_object(made, call):
    told = call("show", made["table"], "--json", "--quiet")
    assert told.err == ""
    assert told.json["can"] == ["sample", "edit", "score", "represent", "stream"]


def test_data_that_is_gone_is_named_with_the_mend(made, call, monkeypatch):
    (made["table"].parent / "people.csv").rename(made["table"].parent / "gone.csv")
    told = call("judge", made["table"], "--quiet")
    assert told.status == 2
    assert "people.csv, which is not there as seen from here; name it with --data" in told.err
    assert call("judge", made["text"], "--only", "frechett").err.count("did you mean 'frechet'") == 1


def test_mistakes_in_the_recipe_are_told_before_the_data_is_read(made, call, tmp_path: Path):
    for slip in ("family.sise=3", "optim.lrr=1"):
        told = call(
            "train", "text", "--data", made["text"].parent / "letter.txt", "--out", tmp_path / "x", "--set", slip
        )
        assert (told.status, told.out) == (2, "")
        assert "did you mean" in told.err
        assert "reading the data" not in told.err


def test_a_folder_of_pieces_can_be_read_without_its_sheet(made, call, tmp_path: Path):
    assert call("sample", made["pictures"], "-n", "3", "--set", "steps=2", "--out", tmp_path).status == 0
    assert (tmp_path / "sheet.png").exists()
    (row,) = call("score", made["pictures"], tmp_path, "--json").json["scores"]
    assert row["pieces"] == 3
