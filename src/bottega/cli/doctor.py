"""``bottega doctor``: what this machine can do, and what to install for more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from bottega.cli._shared import Json, Out

__all__ = ["doctor"]

PANEL, PLACE = "Begin", 3
EXAMPLES = """\
  bottega doctor
  bottega doctor --json
"""

_CORE = ("torch", "numpy", "safetensors", "tokenizers", "pydantic", "typer", "rich", "pillow", "matplotlib",
         "scikit-learn", "scipy", "jinja2")  # fmt: skip
_EXTRAS = {  # extra: (packages, what for)
    "image": (("scikit-image",), "more sample photographs"),
    "table": (("pandas", "pyarrow"), "Parquet tables"),
    "hub": (("datasets",), "Hugging Face data sets by name"),
    "track": (("tensorboard",), "TensorBoard logs"),
}


class Finding(NamedTuple):
    """One thing looked at: ``state`` is ``"ok"``, ``"absent"`` (optional, with the mend) or ``"bad"``."""

    name: str
    state: str
    told: str
    mend: str = ""


def doctor(as_json: Json = False) -> None:
    """Look at this machine: processor, memory, devices, disk, packages."""
    say = Out(as_json)
    findings = [*_python(), *_machine(), *_packages(), *_extras(), *_programs()]
    if not as_json:
        signs = {"ok": "ok", "absent": "-", "bad": "BAD"}
        say.table(("", "what", "found", "to mend or add"), [(signs[f.state], f.name, f.told, f.mend) for f in findings])
    bad = [f.name for f in findings if f.state == "bad"]
    say.note(
        f"\nNot well: {', '.join(bad)}." if bad else "\nAll that Bottega needs is here. bottega demo shows it at work."
    )
    say.result({"well": not bad, "findings": [f._asdict() for f in findings]})


def _python() -> Iterator[Finding]:
    import platform
    import sys

    import bottega

    yield Finding("bottega", "ok", bottega.__version__)
    fine = sys.version_info >= (3, 11)
    yield Finding("python", "ok" if fine else "bad", platform.python_version(), "" if fine else "install Python 3.11+")


def _machine() -> Iterator[Finding]:
    import os
    import shutil
    from pathlib import Path

    import torch

    from bottega.training.precision import bf16_is_fast
    from bottega.workshop.evidence import machine

    here = machine("cpu")
    yield Finding("processor", "ok", f"{here.processor or here.system}, {here.cores} cores, {here.memory_gib:.0f} GiB")
    threads = torch.get_num_threads()
    few = threads < here.cores
    yield Finding("threads", "ok", f"torch uses {threads} of {here.cores}", "OMP_NUM_THREADS sets it" if few else "")
    amx = torch.cpu._is_amx_tile_supported()
    fast = bf16_is_fast("cpu")
    told = (
        f"fast ({'AMX' if amx else 'AVX512-BF16'}); train.precision=auto uses it" if fast else "slow here; fp32 is used"
    )
    yield Finding("bfloat16", "ok" if fast else "absent", told)
    for i in range(torch.cuda.device_count()):
        seen: Any = torch.cuda.get_device_properties(i)
        yield Finding(f"cuda:{i}", "ok", f"{seen.name}, {seen.total_memory / 2**30:.0f} GiB")
    if not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        yield Finding("cuda", "absent", "no device" if built else "this torch is built for the CPU only",
                      "" if built else "with a GPU: install torch from its CUDA index")  # fmt: skip
    if torch.backends.mps.is_available():
        yield Finding("mps", "ok", "Apple GPU")
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield Finding(
        "disk", "ok" if free > 1 else "bad", f"{free:.1f} GiB free here", "" if free > 1 else "free some space"
    )
    if not os.access(Path.cwd(), os.W_OK):
        yield Finding("folder", "bad", f"cannot write in {Path.cwd()}", "go elsewhere, or give --out")


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _packages() -> Iterator[Finding]:
    for package in _CORE:
        found = _version(package)
        yield Finding(package, "ok" if found else "bad", found or "missing", "" if found else f"pip install {package}")


def _extras() -> Iterator[Finding]:
    for extra, (packages, purpose) in _EXTRAS.items():
        found = {p: _version(p) for p in packages}
        here = all(found.values())
        told = ", ".join(f"{p} {v}" for p, v in found.items() if v) or f"for {purpose}"
        yield Finding(
            f"extra {extra}", "ok" if here else "absent", told, "" if here else f"pip install 'bottega[{extra}]'"
        )


def _programs() -> Iterator[Finding]:
    import shutil

    for program, purpose, mend in (
        ("c++", "torch.compile (train.compile)", "apt install g++ / xcode-select --install"),
    ):
        path = shutil.which(program)
        yield Finding(program, "ok" if path else "absent", path or f"for {purpose}", "" if path else mend)
