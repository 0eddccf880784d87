"""Case: all that a judge may look at, and nothing that names a family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bottega.core import Batch, Family, Item, Rng, Spec

__all__ = ["Case"]


@dataclass
class Case:
    """What is judged, and what it is judged against.

    Attributes:
        medium: ``"image"``, ``"text"``, ``"labels"`` (of texts), ``"table"``, ``"points"``, ``"music"`` or ``"audio"``.
        spec: of the examples.
        train: examples the model was trained on (a seeded part of them when there are very many).
        held: examples it never saw; never fewer than two.
        samples: its own, ``(N, *spec.shape)``, with ``sample_cond`` as they were asked for.
        model: for measures that need more than samples (likelihood, codes, speed); None when only pieces are judged.
        decode: examples to pieces, the codec's; of labels, given their texts.
        seed: of whatever a judge draws.
        facts: what judges may need and the workshop knows: ``classes`` (names), ``target`` (a table's column),
            ``truth`` (a made world's), ``coded`` (examples are codes of another run's model), ``bytes_per_token``,
            ``line`` (held-out text in reading order, tokens ``(T,)``; ``whole`` where it is all there is), ``window`` and
            ``stride`` (of the sliding window, in tokens), ``seconds_per_sample``, ``knobs`` (how the samples
            were asked for), ``iwae`` (importance samples), ``cache_dir`` (where trained feature networks are kept),
            ``features`` (the user's own: a callable, pictures ``(N, C, H, W)`` in [-1, 1] to ``(N, D)``, whose
            attribute ``about`` says which they are; ``nets.inception`` is one), ``heard`` (sounds to decibels of mel
            bands ``(N, bands, frames)``, what the judges' networks look at), ``speech`` (of speech: rows, scales and numbers of
            tokens, as the codec's ``layout`` says).
        cache: shared between the judges of one case; feature networks are trained once and kept here.
        sample_mask: which tokens of the samples it made, where others were given (the questions of its answers); None: all.
    """

    medium: str
    spec: Spec
    train: Batch
    held: Batch
    samples: Tensor
    sample_cond: Tensor | None = None
    model: Family | None = None
    decode: Callable[..., Sequence[Item]] | None = None
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    facts: dict[str, Any] = field(default_factory=dict)
    cache: dict[str, Any] = field(default_factory=dict)
    sample_mask: Tensor | None = None

    @property
    def view(self) -> Spec:
        """Of what the judges' networks look at: of a sound its spectrum, a picture ``(1, bands, frames)``."""
        if "view" not in self.cache:
            heard = self.facts.get("heard")
            self.cache["view"] = self.spec
            if heard is not None:
                level = heard(self.train.x[:256])
                self.cache["view"], self.cache["loudest"] = Spec((1, *level.shape[1:])), float(level.max())
        return self.cache["view"]

    def look(self, x: Tensor) -> Tensor:
        """Examples ``(N, *spec.shape)`` as ``view`` says: real numbers, a sound's 80 dB below the loudest in [-1, 1]."""
        view = self.view
        if "heard" not in self.facts:
            return view.as_real(x)
        level: Tensor = self.facts["heard"](x)
        return ((level - self.cache["loudest"]) / 40 + 1).clamp(-1, 1)[:, None].to(self.device)

    @property
    def still(self) -> bool:
        """Whether what is higher in a picture is something else, as in spectra and piano rolls: pictures may move sideways only."""
        return self.medium in {"audio", "music"}

    @property
    def labelled(self) -> bool:
        """Whether what is known of an example is its class, one whole number (-1 where it is not known)."""
        cond = self.spec.cond
        return cond is not None and cond.is_tokens and cond.shape == () and self.train.cond is not None

    @property
    def pictured(self) -> bool:
        """Whether a picture is known of each example, and the held-out ones have theirs."""
        return self.spec.given_picture and self.held.cond is not None

    @property
    def sounded(self) -> bool:
        """Whether a sound is known of each example, and the held-out ones have theirs."""
        return self.spec.given_sound and self.held.cond is not None

    @property
    def spoken(self) -> bool:
        """Whether examples are speech whose sounds and voices are known."""
        return "speech" in self.facts and self.held.cond is not None and self.train.cond is not None

    @property
    def worded(self) -> bool:
        """Whether a text is known of each example (the source of a translation), and the held-out ones have theirs."""
        return self.spec.given_text and self.held.cond is not None

    def rng(self, label: str) -> Rng:
        """A stream of randomness for one purpose, the same whatever other judges drew."""
        return Rng(self.seed, device=self.device).fork(label)
