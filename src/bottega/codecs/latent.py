"""Latent: the codes of a trained model as examples, so that any family can model what another has learned to say."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from bottega.core import Batch, Codec, DataError, Encodes, Item, RecipeError, Source, Spec, has

__all__ = ["LatentCodec"]


class LatentCodec:
    """Another run's codec and model as one codec: ``encode`` is theirs in a row, ``decode`` the way back.

    Real codes are centred and scaled, channel by channel (the first axis), so that 99 % of each channel lies in
    [-1, 1]: ``(z - median) / s`` with ``s`` the 99 % quantile of ``|z - median|``, but at least 1 % of the largest ``s``,
    so that channels the model left unused stay near zero (Rombach et al. 2022, arXiv:2112.10752, appendix G, divide by the
    standard deviation to the same end). Discrete codes pass as they are, laid out row by row as a sequence.

    Args:
        inner: the codec of that run, fitted.
        model: its model; must have ``Encodes``. It is used as it is, in evaluation mode and without gradients.
        batch: how many pieces are encoded or decoded at once.

    Raises:
        RecipeError: the model has no codes.
    """

    def __init__(self, inner: Codec, model: Encodes, *, batch: int = 256) -> None:
        if not has(model, Encodes):
            raise RecipeError(
                f"{type(model).__name__} has no codes to model; name a run of an autoencoder, vae or flow"
            )
        if batch < 1:
            raise RecipeError(f"codec.batch is {batch}; it must be at least 1")
        self.inner, self.model, self.batch = inner, model, batch
        self.medium = inner.medium
        self.codes = model.latent
        self.centre = self.scale = torch.zeros(0)

    @property
    def spec(self) -> Spec:
        """One code, conditioned as the inner examples are."""
        shape = (prod(self.codes.shape),) if self.codes.is_tokens else self.codes.shape
        return Spec(shape, vocab=self.codes.vocab, ordinal=self.codes.ordinal, cond=self.inner.spec.cond)

    @property
    def classes(self) -> list[str]:
        """The inner codec's classes; empty where it knows none."""
        return list(getattr(self.inner, "classes", []))

    def read(self, source: str | Path) -> Sequence[Item]:
        """Pieces, read by the inner codec."""
        return self.inner.read(source)

    def fit(self, items: Sequence[Item]) -> Self:
        """Learn the centre and scale of the codes; the inner codec stays as it was trained.

        Raises:
            DataError: no pieces, or the model gives codes that are not finite.
        """
        if not items:
            raise DataError("there are no pieces to learn from; give at least one")
        if self.codes.is_tokens:
            return self
        z = self._raw(self.inner.source(items, train=False)).x
        if not torch.isfinite(z).all():
            raise DataError("the model gives codes that are not finite; train it again before modelling its codes")
        channels = z.movedim(1, 0).flatten(1).double()  # (channels, everything)
        centre = _quantile(channels, 0.5)
        reach = _quantile((channels - centre[:, None]).abs(), 0.99)
        widest = reach.max().item() or 1.0
        self.centre, self.scale = centre.float(), reach.clamp_min(0.01 * widest).float()
        return self

    @torch.no_grad()
    def _raw(self, rows: Source) -> Batch:
        """The model's codes of all rows, not normalised, on the CPU."""
        device = next(self.model.parameters()).device  # type: ignore[attr-defined]
        was_training = self.model.training  # type: ignore[attr-defined]
        self.model.eval()  # type: ignore[attr-defined]
        out = []
        for some in torch.arange(len(rows)).split(self.batch):
            batch = rows.take(some)
            out.append(Batch(self.model.encode(batch.to(device)).cpu(), batch.cond))
        self.model.train(was_training)  # type: ignore[attr-defined]
        return Batch.cat(out)

    def _shaped(self, t: Tensor) -> Tensor:
        return t.reshape(-1, *[1] * (len(self.codes.shape) - 1))

    def _codes_of(self, rows: Source) -> Batch:
        raw = self._raw(rows)
        if self.codes.is_tokens:
            return Batch(raw.x.flatten(1), raw.cond)
        return Batch((raw.x - self._shaped(self.centre)) / self._shaped(self.scale), raw.cond)

    def encode(self, items: Sequence[Item]) -> Batch:
        """``(B, *spec.shape)``: the codes of the inner codec's rows."""
        return self._codes_of(self.inner.source(items, train=False))

    def source(self, items: Sequence[Item], *, train: bool) -> Source:
        """Every row encoded once, before training, so that training never runs the inner model."""
        return self._codes_of(self.inner.source(items, train=train))

    def encode_cond(self, values: Sequence[Any]) -> Tensor:
        """What the inner codec makes of what a person asked for."""
        return self.inner.encode_cond(values)

    @torch.no_grad()
    def decode(self, x: Tensor, cond: Tensor | None = None) -> list[Item]:
        """Codes to examples by the model, examples to pieces by the inner codec."""
        device = next(self.model.parameters()).device  # type: ignore[attr-defined]
        if self.codes.is_tokens:
            z = x.reshape(-1, *self.codes.shape)
        else:
            z = x.float() * self._shaped(self.scale).to(x.device) + self._shaped(self.centre).to(x.device)
        conds = [None] * len(z) if cond is None else cond.split(self.batch)
        parts = [
            self.model.decode(some.to(device), None if c is None else c.to(device)).cpu()
            for some, c in zip(z.split(self.batch), conds, strict=False)
        ]
        return self.inner.decode(torch.cat(parts), None if cond is None else cond.cpu())

    def write(self, item: Item, path: Path, mark: dict[str, str] | None = None) -> Path:
        """One piece as a file, written by the inner codec."""
        return self.inner.write(item, path, mark)

    def show(self, items: Sequence[Item], path: Path) -> Path:
        """The inner codec's picture."""
        return self.inner.show(items, path)

    def state(self) -> dict[str, Any]:
        """Centre and scale of each channel; the inner codec and model are kept by their own run."""
        return {"centre": self.centre.tolist(), "scale": self.scale.tolist()}

    def load_state(self, state: dict[str, Any]) -> Self:
        """The inverse of ``state``."""
        self.centre, self.scale = torch.tensor(state["centre"]), torch.tensor(state["scale"])
        return self


def _quantile(rows: Tensor, q: float) -> Tensor:
    """Of each row, by rank (``torch.quantile`` refuses more than 16 million numbers): ``(R, N) -> (R,)``."""
    return rows.kthvalue(max(1, round(q * rows.shape[1])), dim=1).values
