"""Semi-supervised GAN: a critic that also says the class, learned from a few labels and many examples without one."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms, Turn
from bottega.nets.bodies import decoder, encoder, finish, soft
from bottega.nets.condition import why_not_played

__all__ = ["SSGAN"]


class SSGAN(Family):
    """Salimans et al. 2016, arXiv:1606.03498, sections 3.1 and 5: K classes, and "made" as one more.

    The critic has a number ``l_k(x)`` for each class; "made" has the number 0, so with ``L = log sum_k exp l_k`` it holds an
    example for real with probability ``exp(L) / (exp(L) + 1)``. With ``s`` the softplus it minimises

    - ``label``: ``L(x) - l_y(x)``, the mean over examples whose class ``y`` is known;
    - ``real``: ``s(-L(x))``, the mean over examples whose class is not known, or over all where it always is;
    - ``fake``: ``s(L(G(z, y)))`` on made ones.

    The generator minimises ``match``, the distance between the mean features of real examples and of made ones
    (feature matching, which is what makes the labels go far), and ``steer`` times ``L - l_y`` on what it made as ``y``, so
    that a class can be asked for. Classes to make are drawn evenly.

    Args:
        spec: real examples, ordered levels, or table rows as real numbers, with a class that is -1 where it is not known.
        size: the dial: channels at the largest size of a picture, or a quarter of the hidden width of vectors.
        latent: numbers the generator is given, standard normal; 0 means ``2 * size``.
        depth: residual blocks at each size of a picture, or hidden layers less one.
        noise: standard deviation of what is added to the critic's input in training, of numbers in [-1, 1]; with few labels
            it keeps the critic from learning them by heart.
        steer: weight of the class in the generator's loss.

    Raises:
        SpecError: examples are names in no order, or have no classes.
        RecipeError: a number is out of range.
    """

    coupled = "feature matching compares the means of a batch"
    labelled_share = 1 / 3
    variants: ClassVar[dict[str, dict[str, Any]]] = {"quiet": {"noise": 0.0, "steer": 0.1}}

    def __init__(
        self, spec: Spec, *, size: int = 32, latent: int = 0, depth: int = 1, noise: float = 0.5, steer: float = 1.0
    ) -> None:
        super().__init__(spec)
        if size < 1 or min(latent, depth) < 0:
            raise RecipeError(f"family.size, latent, depth are {size}, {latent}, {depth}; at least 1, 0 and 0")
        if noise < 0 or steer <= 0:
            raise RecipeError(f"family.noise is {noise}, steer {steer}; noise must be 0 or more, steer above 0")
        assert spec.cond is not None
        self.noise, self.steer, self.classes = noise, steer, spec.cond.vocab
        self.latent_width = latent or 2 * size
        self.generator = nn.ModuleDict(
            {
                "known": nn.Embedding(self.classes, size),
                "net": decoder(spec, size, self.latent_width + size, depth=depth, leaky=True),
            }
        )
        self.critic = nn.ModuleDict(
            {
                "body": encoder(spec, size, 4 * size, depth=depth, norm=False, leaky=True),
                "head": nn.Linear(4 * size, self.classes),
            }
        )
        self.critic["head"].readout = True  # type: ignore[assignment]

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Anything real or ordered that has classes."""
        if why := why_not_played(spec):
            return why
        if spec.cond is None or not spec.cond.is_tokens or spec.cond.shape or spec.cond.vocab < 2:
            return (
                "it learns to tell classes apart and there are none; use family gan, or data whose pieces have classes"
            )
        return ""

    def turns(self) -> tuple[Turn, ...]:
        """The critic, then the generator."""
        return Turn("critic", self.critic_loss), Turn("generator", self.generator_loss)

    def critic_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``label``, ``real`` and ``fake``."""
        _, logits = self._see(self.spec.as_real(batch.x), rng)
        with torch.no_grad():
            made, _ = self._make(len(batch), None, rng)
        total, fake = logits.logsumexp(1), self._see(made, rng)[1].logsumexp(1)
        y = torch.full_like(total, -1).long() if batch.cond is None else batch.cond
        label = _share(y >= 0) * F.cross_entropy(logits, y.clamp_min(0), reduction="none")
        return Terms({"label": label, "real": self._free(batch) * F.softplus(-total), "fake": F.softplus(fake)})

    def generator_loss(self, batch: Batch, rng: Rng) -> Terms:
        """``match``, the same for each row, and ``class``."""
        made, y = self._make(len(batch), batch.cond, rng)
        seen, logits = self._see(made, rng)
        with torch.no_grad():
            wanted, _ = self._see(self.spec.as_real(batch.x), rng)
        wanted = self._free(batch)[:, None] * wanted
        apart = (seen.mean(0) - wanted.mean(0)).square().sum()
        return Terms(
            {"match": apart.expand(len(y)), "class": self.steer * F.cross_entropy(logits, y, reduction="none")}
        )

    @torch.no_grad()
    def classify(self, batch: Batch) -> Tensor:
        """Log probability of each class, ``(B, classes)`` nats, for a real example; ``batch.cond`` is not looked at."""
        return self._see(self.spec.as_real(batch.x), None)[1].log_softmax(1)

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
        """``(n, *spec.shape)``; classes that nobody asks for are drawn. ``temperature`` shrinks or widens the latent."""
        return finish(self.spec, self._make(n, cond, rng, temperature)[0])

    @staticmethod
    def _free(batch: Batch) -> Tensor:
        """Weights ``(B,)`` of mean 1 of those who stand for real examples: rows without a class, or all where all have one.

        Labelled rows come more often than their share, and would stand for more than themselves.
        """
        known = batch.x.new_zeros(len(batch)) > 0 if batch.cond is None else batch.cond >= 0
        return _share(~known if not known.all() else known)

    def _see(self, x: Tensor, rng: Rng | None) -> tuple[Tensor, Tensor]:
        """Features ``(B, 4 * size)`` and a number for each class ``(B, classes)``, float32; with ``rng``, in noise."""
        if rng is not None and self.noise:
            x = x + self.noise * rng.normal(*x.shape)
        seen = F.silu(self.critic["body"](x))
        return seen.float(), self.critic["head"](seen).float()

    def _make(self, n: int, cond: Tensor | None, rng: Rng, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        """Examples as real numbers, and the classes they were made as."""
        drawn = rng.integers(self.classes, n)
        y = drawn if cond is None else torch.where(cond >= 0, cond, drawn)
        z = torch.cat([temperature * rng.normal(n, self.latent_width), self.generator["known"](y)], 1)
        return soft(self.spec, self.generator["net"](z)[:, 0].float(), rng), y


def _share(rows: Tensor) -> Tensor:
    """Weights ``(B,)`` that make the mean over a batch the mean over ``rows`` ``(B,)`` bool; zeros where there are none."""
    return rows.float() * (len(rows) / rows.sum().clamp_min(1))
