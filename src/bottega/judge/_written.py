"""What a model writes for held-out sources, and what people wrote for them: shared by judges that compare the two."""

from __future__ import annotations

import inspect
import math

import torch

from bottega.core import Item
from bottega.judge._case import Case

__all__ = ["written"]

_CHUNK = 64


def written(case: Case) -> tuple[list[str], list[list[str]]]:
    """For each different held-out source the model's text, and the texts that stand beside that source; made once.

    Held-out rows of equal ``cond`` are several references for one source. Where ``sample`` has a temperature it is 0:
    translations and summaries are judged at their likeliest; ``facts["knobs"]`` say otherwise.
    """
    if "written" not in case.cache:
        assert case.model is not None
        assert case.held.cond is not None
        assert case.decode is not None
        sources, which = case.held.cond.cpu().unique(dim=0, return_inverse=True)
        real = [str(item.value) for item in case.decode(case.held.x.cpu())]
        references: list[list[str]] = [[] for _ in sources]
        for row, text in zip(which.tolist(), real, strict=True):
            references[row].append(text)
        knobs = case.facts.get("knobs")
        if knobs is None:
            greedy = "temperature" in inspect.signature(case.model.sample).parameters
            knobs = {"temperature": 0.0} if greedy else {}
        rng, was = case.rng("written"), case.model.training
        case.model.eval()
        made: list[Item] = []
        with torch.no_grad():
            for cond in sources.tensor_split(math.ceil(len(sources) / _CHUNK)):
                made += case.decode(case.model.sample(len(cond), rng, cond.to(case.device), **knobs).cpu())
        case.model.train(was)
        case.cache["written"] = [str(item.value) for item in made], references
    return case.cache["written"]
