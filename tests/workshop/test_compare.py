"""A comparison is a view of the evidence of runs on the same data, and says only what the intervals allow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bottega.core import BottegaError
from bottega.workshop.compare import GLANCE, _best, _likelihood, compare, wobble
from bottega.workshop.evidence import Evidence, MeasurePart
from bottega.workshop.run import Run, load, train
from recipes import RING, write_recipe


def measured(run: Run, value: float, **more) -> None:
    """What a judge would have found; the comparison is not a judge."""
    evidence = run.evidence
    common = {"n": 100, "better": "higher", "low": value - 0.02, "high": value + 0.02, "ceiling": 0.97} | more
    evidence.measures = [MeasurePart(judge="precision_recall", name="precision", value=value, **common)]
    evidence.write(run.path / "evidence.json")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("compare")
    out = {}
    for name, family, n, seed in (("vae", "vae", 400, 0), ("gan", "gan", 400, 0), ("other", "gan", 300, 0), ("again", "vae", 400, 1)):  # fmt: skip
        path = write_recipe(folder, family, name=name, data=RING | {"n": n}, checks=2, ema=0.0, seed=seed)
        out[name] = train(path, out=folder / "runs" / name, judge=False)
    return out


@pytest.fixture
def pair(runs: dict[str, Run]) -> list[Run]:
    measured(runs["vae"], 0.7)
    measured(runs["gan"], 0.9)
    return [runs["vae"], runs["gan"]]


def test_rows_are_the_measures_of_the_evidence(pair: list[Run]):
    found = compare(pair)
    (row,) = found.rows
    assert [m.value for m in row.cells] == [0.7, 0.9]
    assert row.best == 1
    assert "| precision (higher) | 0.7  [0.68 to 0.72] | 0.9 *  [0.88 to 0.92] |" in found.table()


def test_a_path_and_a_run_mean_the_same(pair: list[Run]):
    assert compare([pair[0].path, str(pair[1].path)]).json()["measures"] == compare(pair).json()["measures"]


def test_five_rows_with_measured_numbers_when_one_has_codes_and_the_other_two_players(pair: list[Run]):
    book = dict(compare(pair).book)
    assert list(book) == [
        "training objective",
        "latent space",
        "generative process",
        "performance",
        "training stability",
    ]
    vae, gan = zip(*book.values(), strict=True)
    evidence = pair[0].evidence
    assert vae[0].startswith("one player minimises ")
    assert gan[0].startswith("2 players in turn minimise ")
    assert all(name in vae[0] for name in evidence.losses)
    assert "its own code brings it back" in vae[1]
    assert gan[1].startswith("no code for a given example")
    assert "NLL at most" in vae[2]
    assert gan[2].endswith("gives no likelihood")
    assert (vae[3], gan[3]) == ("quality: precision 0.7", "quality: precision 0.9")


def test_no_such_rows_for_two_of_a_kind(runs: dict[str, Run]):
    measured(runs["vae"], 0.7)
    measured(runs["again"], 0.7)
    found = compare([runs["vae"], runs["again"]])
    assert found.book == []
    assert found.rows[0].best is None
    assert "hold out different parts" in found.notes[0]


def test_different_data_are_refused_by_name_unless_forced(runs: dict[str, Run]):
    measured(runs["vae"], 0.7)
    measured(runs["other"], 0.9)
    ours, theirs = (runs[n].evidence.data.fingerprint[:12] for n in ("vae", "other"))
    with pytest.raises(BottegaError, match=f"vae was trained on ring .{ours}.*other on ring .{theirs}.*--force"):
        compare([runs["vae"], runs["other"]])
    found = compare([runs["vae"], runs["other"]], force=True)
    assert "do not compare" in found.notes[0]


def test_a_run_that_was_not_judged_is_named_with_the_mend(pair: list[Run]):
    evidence = pair[1].evidence
    evidence.measures = []
    evidence.write(pair[1].path / "evidence.json")
    with pytest.raises(BottegaError, match=r"gan was not judged; bottega judge .*gan does it"):
        compare(pair)


def test_nothing_in_common_is_said(pair: list[Run]):
    evidence = pair[1].evidence
    evidence.measures[0].name = "recall"
    evidence.write(pair[1].path / "evidence.json")
    with pytest.raises(BottegaError, match="no measure in common"):
        compare(pair)


def test_one_run_is_no_comparison(pair: list[Run]):
    with pytest.raises(BottegaError, match="two or more"):
        compare(pair[:1])


def test_page_and_json_hold_the_same_numbers(pair: list[Run], tmp_path: Path):
    found = compare(pair)
    page = found.html(tmp_path / "c.html").read_text()
    told = json.loads(json.dumps(found.json()))
    assert {name: cell["value"] for name, cell in told["measures"][0]["values"].items()} == {"vae": 0.7, "gan": 0.9}
    assert told["measures"][0]["best"] == "gan"
    assert page.count("data:image/png;base64,") == 2
    assert "0.9 ★" in page
    for _, cells in found.book:
        assert all(cell.split(";")[0] in page for cell in cells)
    assert 'src="http' not in page


def test_the_samples_shown_are_those_of_the_seeds(pair: list[Run]):
    first = compare(pair).sheets
    assert compare([load(run.path) for run in pair]).sheets == first
    assert compare(pair, seed=100).sheets[0].uri != first[0].uri


def cells(
    *values: tuple[float, float | None, float | None], better: str = "higher", bounds: str = ""
) -> list[MeasurePart]:
    kinds = bounds.split() or [""] * len(values)
    return [
        MeasurePart(judge="j", name="m", value=v, low=low, high=high, better=better, bound=kind)
        for (v, low, high), kind in zip(values, kinds, strict=True)
    ]


@pytest.mark.parametrize(
    ("found", "best"),
    [
        (cells((1, 0.9, 1.1), (2, 1.9, 2.1)), 1),
        (cells((1, 0.9, 1.1), (2, 1.9, 2.1), better="lower"), 0),
        (cells((1, 0.5, 1.5), (2, 1.4, 2.6)), None),
        (cells((1, None, None), (2, None, None)), None),
        (cells((1, 0.9, 1.1), (2, 1.9, 2.1), better=""), None),
        (cells((1, 0.9, 1.1), (2, 1.9, 2.1), bounds="exact lower"), None),
        (cells((1, 0.9, 1.1), (2, 1.9, 2.1), (3, 2.05, 4)), None),
        (cells((1, 0.9, 1.1), (2, 1.9, 2.1), (3, 2.2, 4)), 2),
    ],
)
def test_the_best_is_marked_only_when_its_interval_is_clear_of_all_others(found: list[MeasurePart], best: int | None):
    assert _best(found) == best


def test_wobble_is_the_spread_around_the_trend(tmp_path: Path):
    log = tmp_path / "log.jsonl"
    rows = [{"step": s, "straight": 10 - s / 50, "shaky": 2.0 + 0.2 * (-1) ** s, "few": 1.0} for s in range(100)]
    for row in rows[2:]:
        del row["few"]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = wobble(log, ["straight", "shaky", "few", "absent"])
    assert set(found) == {"straight", "shaky"}
    assert found["straight"] == pytest.approx(0, abs=1e-9)
    assert found["shaky"] == pytest.approx(0.1, rel=0.01)
    assert wobble(tmp_path / "none", ["straight"]) == {}


def test_evidence_on_disk_is_left_as_it_was(pair: list[Run]):
    before = [Evidence.read(run.path / "evidence.json") for run in pair]
    compare(pair)
    assert [Evidence.read(run.path / "evidence.json") for run in pair] == before


# At a glance ------------------------------------------------------------------------------------------------------------


def test_at_a_glance_each_run_has_a_line_with_a_dash_where_it_says_nothing(pair: list[Run]):
    evidence = pair[0].evidence
    evidence.measures += [
        MeasurePart(judge="likelihood", name="nll_nats", value=-1.25, n=9, better="lower", bound="upper"),
        MeasurePart(judge="likelihood", name="iwae_nats", value=-1.5, n=9, better="lower", bound="upper"),
        MeasurePart(judge="speed", name="sample_ms", value=2.5, n=9),
    ]
    evidence.write(pair[0].path / "evidence.json")
    vae, gan = (dict(zip(["run", *GLANCE], row, strict=True)) for row in compare(pair).glance)
    assert vae["likelihood"] == "-1.5 nats (upper)"  # the tighter of the two
    assert gan["likelihood"] == "–"
    assert (vae["precision"], gan["precision"]) == ("0.7", "0.9")
    assert (vae["recall"], vae["ms a sample"], gan["ms a sample"]) == ("–", "2.5", "–")
    assert vae["parameters"] == f"{evidence.cost.parameters:,}"
    found = compare(pair)
    assert found.tables()[0][0] == "At a glance"
    assert found.json()["glance"][0]["likelihood"] == "-1.5 nats (upper)"
    evidence.recipe["codec"] = {"name": "latent"}
    evidence.write(pair[0].path / "evidence.json")
    assert compare(pair).glance[0][1] == "-1.5 nats of codes (upper)", "what a second stage models is not the pieces"


def test_figures_of_other_features_are_left_out_at_a_glance_and_told(pair: list[Run]):
    for run, features in zip(pair, ("these", "those"), strict=True):
        evidence = run.evidence
        evidence.measures = [m.model_copy(update={"features": features}) for m in evidence.measures]
        evidence.measures.append(MeasurePart(judge="other", name="plain", value=1.0, n=9))
        evidence.write(run.path / "evidence.json")
    found = compare(pair)
    assert [row[3] for row in found.glance] == ["–", "–"]
    assert any("--anew" in note for note in found.notes)


def test_figures_on_other_numbers_of_samples_have_no_best(pair: list[Run]):
    for run, n, value in zip(pair, (60, 900), (85.0, 7.0), strict=True):
        evidence = run.evidence
        told = {"judge": "quality", "features": "these", "better": "lower", "n": n}
        evidence.measures = [
            MeasurePart(name="frechet_distance", value=value, low=value - 1, high=value + 1, **told),
            MeasurePart(name="wobble", value=value, low=value - 1, high=value + 1, **told | {"features": ""}),
        ]
        evidence.write(run.path / "evidence.json")
    found = compare(pair)
    assert [(row.name, row.best) for row in found.rows] == [("frechet_distance", None), ("wobble", 1)]
    assert any("different numbers of samples" in note for note in found.notes)


def test_bits_of_an_importance_weighted_bound():
    measures = {
        name: MeasurePart(judge="likelihood", name=name, value=value, n=9, bound="upper")
        for name, value in (("bits_per_dim", 2.0), ("nll_nats", 100.0), ("iwae_nats", 95.0))
    }
    assert _likelihood(measures) == "1.9 bits/dim (upper)"
    assert _likelihood({}) == "–"


@pytest.mark.slow
def test_pictures_of_other_kinds_of_numbers_are_judged_anew_in_one_network(tmp_path: Path):
    runs = []
    for family, levels in (("vae", 0), ("pixelcnn", 17), ("gan", 0)):
        codec = {"name": "image", "size": 8, "levels": levels}
        path = write_recipe(
            tmp_path, family, codec=codec, data={"name": "digits", "limit": 120}, steps=2, batch=16, checks=0
        )
        runs.append(train(path, out=tmp_path / "runs" / family, judge=False))
        runs[-1].judge(only=["speed"])
    found = compare(runs, anew=16)
    lines = [dict(zip(["run", *GLANCE], row, strict=True)) for row in found.glance]
    for line in lines:
        assert float(line["Fréchet distance"].replace(",", "")) > 0
        assert 0 <= float(line["coverage"]) <= 1
        assert line["copies"] == "0"
    networks = list((tmp_path / "runs" / ".bottega").glob("feature_net-*"))
    assert len(networks) == 1
    assert any("in one feature network" in note for note in found.notes)
    page = found.html(tmp_path / "page.html").read_text()
    assert "At a glance" in page
    assert page.count("data:image/png") >= 3  # samples side by side


def test_anew_is_for_pictures_of_one_shape(pair: list[Run]):
    with pytest.raises(BottegaError, match="compares pictures"):
        compare(pair, anew=8)
