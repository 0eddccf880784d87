"""Evidence as a run leaves it, for the pages that are views of it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from bottega.codecs.image import ImageCodec
from bottega.data import builtin
from bottega.workshop.evidence import CostPart, DataPart, Evidence, MachinePart, MeasurePart, RunPart


@pytest.fixture
def evidence() -> Evidence:
    """One with every kind of measure: exact, bounded, with and without interval, ceiling, direction and unit."""
    return Evidence(
        run=RunPart(
            name="digits-diffusion", created="2026-01-02T03:04:05+00:00", bottega="0.1.0", commit="c" * 40,
            weights="ab" * 32, step=2000, seed=3,
        ),
        machine=MachinePart(system="Linux", processor="A processor", cores=2, memory_gib=7.8, device="cpu"),
        software={"python": "3.11.7", "torch": "2.9.0"},
        data=DataPart(
            name="digits", medium="image", source="UCI", licence="CC-BY-4.0", about="1,797 handwritten digits",
            rows=1797, train_rows=1617, held_rows=180, fingerprint="f" * 64,
        ),
        recipe={"name": "digits-diffusion", "about": "Handwritten digits by diffusion.", "family": {"name": "diffusion",
                "size": 32}, "train": {"steps": 2000, "seed": 3}, "data": {"name": "digits"}},
        cost=CostPart(seconds=93.4, steps=2000, rows_seen=128000, parameters=412345, threads=2, kwh=0.00078,
                      kwh_assumes="15 W for each of 2 busy cores; not measured", judge_seconds=12.5),
        losses={"denoise": [1.0132, 0.1543]},
        measures=[
            MeasurePart(judge="recognise", name="recognised", value=0.9437, low=0.9291, high=0.9583, n=1000, seed=0,
                        better="higher", ceiling=0.9813, note="share that an independent classifier is sure of"),
            MeasurePart(judge="frechet", name="frechet_distance", value=4.318, low=3.902, high=4.871, n=1000, seed=0,
                        better="lower", ceiling=1.207),
            MeasurePart(judge="precision_recall", name="recall", value=0.871, low=0.85, high=0.892, n=1000,
                        better="higher", ceiling=0.934),
            MeasurePart(judge="likelihood", name="nll_nats", value=113.27, low=110.9, high=115.6, n=180,
                        better="lower", bound="lower"),
            MeasurePart(judge="speed", name="sample_ms", value=7.4412, n=64),
        ],
        skipped={"table_fidelity": "judges table, not image"},
        notes=["step 1400: the held-out loss has not improved for 4 checks"],
        memorisation={"nearest_ratio": 1.0312, "copies": 0},
    )  # fmt: skip


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run's folder with its log and its two sheets of digits."""
    folder = tmp_path / "digits-diffusion"
    (folder / "samples").mkdir(parents=True)
    items = builtin.load("digits").items
    codec = ImageCodec().fit(items)
    codec.show(items[:36], folder / "samples" / "sheet")
    codec.show(items[36:72], folder / "samples" / "real")
    rng = np.random.default_rng(0)
    with (folder / "log.jsonl").open("w") as file:
        for step in range(5, 2001, 5):
            row = {"step": step, "seconds": step / 20, "denoise": 0.15 + 2 / step + 0.01 * rng.normal()}
            row["scale"] = 4000 * math.exp(-step / 250) + 3
            file.write(json.dumps(row) + "\n")
            if step % 100 == 0:
                file.write(json.dumps({"step": step, "seconds": step / 20, "held/denoise": 0.16 + 2 / step}) + "\n")
    return folder
