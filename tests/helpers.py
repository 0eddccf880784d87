"""What many tests do: fit a small model, and read an error as a user would."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bottega.core import Batch, Encoded, Family, Rng
from bottega.data.stream import Stream
from bottega.training.ema import Ema
from bottega.training.loop import fit
from bottega.training.optim import make_optims

SHARED = Path(os.environ.get("BOTTEGA_SHARED", Path(__file__).parents[2] / "shared")) / "data"
"""The data sets beside the project, where they are."""


def trained(
    model: Family, batch: Batch, steps: int, lr: float = 3e-3, *, rows: int = 64, ema: float = 0.98, **settings: Any
) -> Family:
    """The model after ``steps`` of ``rows`` examples each, with averaged weights, ready to be used."""
    average = Ema(model, ema)
    optims = make_optims(model, steps, {"lr": lr})
    fit(model, Stream(Encoded(batch), rows), optims, steps=steps, rng=Rng(0), ema=average, **settings)
    Ema.load(model, average.shadow)
    return model.eval()


def one_line(error: pytest.ExceptionInfo[Any], *words: Any) -> str:
    """The message of an error, which is one line and has all ``words`` in it."""
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message
    return message


@contextmanager
def interrupted_at(training: type, step: int, match: str | None = None) -> Iterator[None]:
    """What trains in it is stopped after ``step`` as Ctrl-C stops it, which must end in KeyboardInterrupt.

    ``training`` is the class whose loop is watched: ``workshop.training.Training``, or another with ``_watch`` and ``interrupted``.
    """
    looks: Any = training
    watch = looks._watch

    def stop(self: Any, at: int, played: Any) -> None:
        if at == step:
            self.interrupted.set()
        watch(self, at, played)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looks, "_watch", stop)
        with pytest.raises(KeyboardInterrupt, match=match):
            yield


def bot_of(folder: Path, base: Path, max_new: int) -> Path:
    """A folder with a bot that does nothing but let a model speak, at temperature 1."""
    folder.mkdir()
    (folder / "bot.toml").write_text(
        f'name = "b"\npurpose = "p"\n[model]\nbase = "{base}"\nmax_new = {max_new}\ntemperature = 1.0\n'
    )
    return folder
