"""The evidence file: versioned, strict, written in one step."""

import json
import math

import pytest

from bottega.core import BottegaError, Measure, OutputError
from bottega.workshop.evidence import SCHEMA, Evidence, RunPart, machine, software


def test_evidence_survives_being_written_and_read(tmp_path):
    evidence = Evidence(run=RunPart(name="a"), machine=machine("cpu"), software=software())
    evidence.add("frechet", Measure("frechet_distance", 3.0, 2.0, 4.0, n=10, better="lower", ceiling=1.0))
    evidence.add("frechet", Measure("frechet_distance", 2.5, n=20))
    evidence.write(tmp_path / "evidence.json")
    again = Evidence.read(tmp_path / "evidence.json")
    assert again == evidence
    assert len(again.measures) == 1
    assert again.find("frechet_distance").value == 2.5
    assert again.find("nothing") is None
    assert again.machine.cores >= 1
    assert again.machine.memory_gib > 0
    assert "torch" in again.software
    assert [p.name for p in tmp_path.iterdir()] == ["evidence.json"]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_number_that_is_not_finite_can_be_read_again(tmp_path, value):
    evidence = Evidence(run=RunPart(name="a"))
    evidence.add("likelihood", Measure("nll_nats", value, -math.inf, math.inf, ceiling=value))
    evidence.write(tmp_path / "evidence.json")
    (found,) = Evidence.read(tmp_path / "evidence.json").measures
    assert found.value == value or (math.isnan(found.value) and math.isnan(value))
    assert (found.low, found.high, found.ceiling) == (None, None, None)


def test_damaged_and_newer_evidence_is_refused(tmp_path):
    path = tmp_path / "evidence.json"
    for text, message in [
        ("{", "cannot read"),
        (f'{{"version": {SCHEMA + 1}, "run": {{"name": "a"}}}}', "newer version"),
        ('{"run": {"name": "a"}, "mesures": []}', "damaged at mesures"),
        ("[]", "newer version"),
    ]:
        path.write_text(text)
        with pytest.raises(BottegaError, match=message):
            Evidence.read(path)
    with pytest.raises(BottegaError, match="cannot read"):
        Evidence.read(tmp_path / "none.json")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another folder"):
        Evidence(run=RunPart(name="a")).write(tmp_path / "file" / "evidence.json")


def test_the_schema_is_stable():
    """A field may be added; renaming or removing one needs a new SCHEMA number."""
    fields = set(json.loads(json.dumps(Evidence.model_json_schema()))["properties"])
    assert fields >= {
        "version", "run", "machine", "software", "data", "recipe", "cost", "losses", "notes", "measures", "skipped",
        "memorisation", "privacy", "bias", "robustness", "marks", "gates",
    }  # fmt: skip
