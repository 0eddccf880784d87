"""Ears that the benchmark of speech keeps in a file: used again only where they are those that are asked for."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("soundfile", reason="sound files need soundfile, extra audio, which is not installed")
pytest.importorskip("soxr", reason="resampling needs soxr, extra audio, which is not installed")


def test_ears_of_other_steps_are_not_taken_for_those_asked(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    from benchmarks.speech import kept_ears

    asked = {"recordings": "1500", "throats": "5", "steps": "5000", "hears": "0123"}
    save_file({"ear.w": torch.ones(2)}, tmp_path / "ears", asked)
    assert torch.equal(kept_ears(tmp_path / "ears", asked)["ear.w"], torch.ones(2))
    for name in asked:
        with pytest.raises(SystemExit, match=f"{name} {asked[name]}, not 7"):
            kept_ears(tmp_path / "ears", asked | {name: "7"})
    save_file({"ear.w": torch.ones(2)}, tmp_path / "old")
    with pytest.raises(SystemExit, match="steps unknown, not 5000"):
        kept_ears(tmp_path / "old", asked)
