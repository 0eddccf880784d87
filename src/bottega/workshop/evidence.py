"""Evidence: everything that was measured about a run, in one file that cards, reports and gates are views of."""

from __future__ import annotations

import json
import math
import os
import platform
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bottega.core import BottegaError, Measure
from bottega.core.files import write_atomically

SCHEMA = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")


class RunPart(_Part):
    """Which run this is about."""

    name: str
    created: str = ""
    bottega: str = ""
    commit: str = ""
    weights: str = Field(default="", description="SHA-256 of the weights that sampling uses")
    step: int = 0
    seed: int = 0


class MachinePart(_Part):
    """Where it was trained."""

    system: str = ""
    processor: str = ""
    cores: int = 0
    memory_gib: float = 0.0
    device: str = ""


class DataPart(_Part):
    """What it was trained on."""

    name: str = ""
    medium: str = ""
    source: str = ""
    licence: str = ""
    about: str = ""
    rows: int = 0
    train_rows: int = 0
    held_rows: int = 0
    bytes: int = 0
    files: list[dict[str, Any]] = Field(default_factory=list, description="path, bytes and SHA-256 of the first 100")
    file_count: int = 0
    fingerprint: str = Field(default="", description="SHA-256 over the pieces")
    copies_kept_together: int = Field(default=0, description="copies and near copies, never on both sides of the split")
    consent: str = Field(default="", description="what the owner said of the consent of those the data is about")


class CostPart(_Part):
    """What it cost."""

    seconds: float = 0.0
    steps: int = 0
    rows_seen: int = 0
    parameters: int = 0
    threads: int = 0
    precision: str = "fp32"
    kwh: float = 0.0
    kwh_assumes: str = ""
    judge_seconds: float = 0.0


class MeasurePart(_Part):
    """One measured number; see ``bottega.core.Measure``."""

    judge: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    seed: int = 0
    bound: Literal["", "exact", "lower", "upper", "estimate"] = ""
    better: Literal["", "higher", "lower"] = ""
    ceiling: float | None = None
    features: str = ""
    note: str = ""


class Evidence(_Part):
    """The whole file. ``version`` rises when a field changes its meaning."""

    version: int = SCHEMA
    run: RunPart
    machine: MachinePart = Field(default_factory=MachinePart)
    software: dict[str, str] = Field(default_factory=dict)
    data: DataPart = Field(default_factory=DataPart)
    recipe: dict[str, Any] = Field(default_factory=dict)
    cost: CostPart = Field(default_factory=CostPart)
    losses: dict[str, list[float]] = Field(default_factory=dict, description="first and last value of each term")
    notes: list[str] = Field(default_factory=list, description="what the monitor said: overfitting, early stop")
    tuning: dict[str, Any] = Field(
        default_factory=dict, description="before and after, where it began with a trained model"
    )
    measures: list[MeasurePart] = Field(default_factory=list)
    skipped: dict[str, str] = Field(default_factory=dict, description="judges that did not apply, and why")
    memorisation: dict[str, Any] = Field(default_factory=dict)
    privacy: dict[str, Any] = Field(default_factory=dict)
    bias: dict[str, Any] = Field(default_factory=dict)
    robustness: dict[str, Any] = Field(default_factory=dict)
    marks: dict[str, Any] = Field(default_factory=dict)
    gates: dict[str, Any] = Field(default_factory=dict)

    def find(self, name: str) -> MeasurePart | None:
        """The measure called ``name``, or None."""
        return next((m for m in self.measures if m.name == name), None)

    def add(self, judge: str, measure: Measure) -> None:
        """Put a measure in, in place of an older one of the same judge and name."""
        self.measures = [m for m in self.measures if (m.judge, m.name) != (judge, measure.name)]
        found = measure.to_dict()
        for end in ("low", "high", "ceiling"):  # an end without limit is no end
            if found[end] is not None and not math.isfinite(found[end]):
                found[end] = None
        self.measures.append(MeasurePart(judge=judge, **found))

    def write(self, path: Path) -> None:
        """Write ``path`` atomically; raises OutputError."""
        write_atomically(path, self.model_dump_json(indent=1))

    @classmethod
    def read(cls, path: Path) -> Evidence:
        """Read ``path``; raises BottegaError when it is missing, damaged or newer."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BottegaError(f"cannot read the evidence {path}: {error}; run bottega judge on the run") from error
        if not isinstance(data, dict) or data.get("version", 0) > SCHEMA:
            raise BottegaError(f"{path} was written by a newer version of bottega; update, or judge the run again")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise BottegaError(f"{path} is damaged at {where}: {first['msg']}; judge the run again") from error


def machine(device: str) -> MachinePart:
    """This machine."""
    memory = 0.0
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return MachinePart(
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=round(memory, 1),
        device=device,
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def software() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    from importlib.metadata import PackageNotFoundError, version

    out = {"python": platform.python_version()}
    for name in ("torch", "numpy", "scikit-learn", "scipy", "safetensors", "tokenizers", "pillow"):
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out
