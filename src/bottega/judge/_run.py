"""Run every judge whose needs are met, and say which were not and why."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from bottega.core import Classifies, Encodes, Measure, Represents, Scores, has, lookup, names
from bottega.judge._case import Case

__all__ = ["run_all"]

_ENOUGH = 8  # nearest neighbours and covariances of fewer examples say nothing


def _unmet(need: str, case: Case) -> str:
    """Why a need is not met; empty when it is."""
    sizes = (len(case.train), len(case.held), len(case.samples))
    if case.medium == "labels" and need in {"samples", "features", "represents"}:
        return "labels of a text are right or wrong, and the text is not the model's; see judge labels"
    met, why = {
        "samples": (sizes[2] > 0, "there are no samples"),
        "model": (case.model is not None, "needs the model, and only pieces were given"),
        "scores": (has(case.model, Scores), "needs a model that says how likely examples are (log_prob)"),
        "represents": (
            has(case.model, Encodes) or (case.spec.is_text and has(case.model, Represents)),
            "needs a model with a code for each example (encode, decode), or of texts with features",
        ),
        "classifies": (has(case.model, Classifies), "needs a model that says which class an example is of (classify)"),
        "given": (case.pictured, "needs examples of which a picture is known (codec.cond = 'picture', codec.degrade)"),
        "given_sound": (case.sounded, "needs examples of which a sound is known (codec.degrade)"),
        "references": (case.worded, "needs examples of which a text is known (codec.given)"),
        "spoken": (case.spoken, "needs speech with its sounds (the codec speech)"),
        "labels": (case.labelled, "needs examples with class labels"),
        "features": (
            min(sizes) >= _ENOUGH,
            f"needs at least {_ENOUGH} training examples, held-out examples and samples; there are "
            f"{sizes[0]}, {sizes[1]} and {sizes[2]}",
        ),
    }[need]
    return "" if met else why


def run_all(
    case: Case, only: Sequence[str] | None = None, progress: Callable[[str], None] | None = None
) -> tuple[list[Measure], dict[str, str]]:
    """Every registered judge that fits the case, in alphabetical order.

    Args:
        case: what is judged.
        only: names of judges; None for all.
        progress: called with the name of each judge before it starts.

    Returns:
        What was measured, and for each judge that did not run the reason in one line.

    Raises:
        RecipeError: ``only`` names an unknown judge.
    """
    found: list[Measure] = []
    skipped: dict[str, str] = {}
    for name in names("judge") if only is None else only:
        measure = lookup("judge", name)
        module = sys.modules[measure.__module__]
        if module.media and case.medium not in module.media:
            skipped[name] = f"judges {' and '.join(module.media)}, not {case.medium}"
            continue
        absent = [name for name in getattr(module, "libraries", ()) if find_spec(name) is None]
        if absent:
            skipped[name] = f"needs {absent[0]}; pip install 'bottega[{getattr(module, 'extra', 'text')}]'"
            continue
        if why := next(filter(None, (_unmet(need, case) for need in module.needs)), ""):
            skipped[name] = why
            continue
        if progress is not None:
            progress(name)
        found += measure(case)
    return found, skipped
