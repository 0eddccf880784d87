"""What is known of an example as one vector, with a place for 'nothing is known'."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bottega.core import RecipeError, Spec, SpecError

__all__ = ["Condition", "check_drop", "no_picture", "why_not_played", "why_not_pictures"]


def no_picture(spec: Spec) -> str:
    """What ``accepts`` answers in a family that reads no picture or sound as a condition: why not, or nothing where there is none.

    >>> no_picture(Spec((3, 8, 8), cond=Spec((), vocab=10)))
    ''
    """
    if spec.given_sound:
        return "it reads no sound as a condition; use family enhancer, or leave codec.degrade out"
    if not spec.given_picture:
        return ""
    return (
        "it reads no picture as a condition; use a family that does, such as diffusion, or leave codec.degrade and "
        "codec.cond = 'picture' out"
    )


def why_not_played(spec: Spec) -> str:
    """Empty where a critic's gradient passes through examples, and no picture is known of them; otherwise the mend."""
    if spec.is_tokens and not spec.ordinal:
        return "its tokens have no order, and a critic's gradient cannot pass through them; use family gpt"
    return no_picture(spec)


def why_not_pictures(spec: Spec) -> str:
    """Empty for pictures, real or in ordered levels, of which no picture is known; otherwise the mend of an adversarial family."""
    if not spec.is_image or spec.is_tokens and not spec.ordinal:
        return "it makes pictures (channels, height, width) only; use family gan for points and tables"
    return no_picture(spec)


class Condition(nn.Module):
    """Embed ``cond`` as ``(B, width)``; unknown rows get one learned vector, so guidance and ``cond=None`` work.

    A class label ``Spec((), vocab=k)`` is looked up (-1 means unknown); a caption ``Spec((L,), vocab=k)`` is the mean of
    token and position embeddings through a linear layer; real features ``Spec((d,))`` pass a linear layer. Without a
    ``cond`` Spec the result is zeros and there are no parameters.

    Args:
        spec: the Spec of one ``cond``, or None when examples come without.
        width: of the vector.

    Raises:
        SpecError: what is known is a picture, of which one vector keeps too little.
    """

    def __init__(self, spec: Spec | None, width: int) -> None:
        super().__init__()
        if spec is not None and (why := no_picture(Spec((), cond=spec))):
            raise SpecError(f"a picture {tuple(spec.shape)} was given to one vector: {why}")
        self.spec, self.width = spec, width
        self.register_buffer("zero", torch.zeros(width), persistent=False)
        if spec is None:
            return
        self.unknown = nn.Parameter(torch.randn(width) * 0.5)
        if spec.is_tokens:
            self.embed = nn.Embedding(spec.vocab, width)
            if spec.shape:
                self.place = nn.Parameter(torch.randn(*spec.shape, width) * 0.1)
        if not spec.is_tokens or spec.shape:
            self.mix = nn.Linear(width if spec.is_tokens else spec.dims, width)

    def forward(self, cond: Tensor | None, n: int, drop: Tensor | None = None) -> Tensor:
        """``(n, *spec.shape)`` or None, and which rows to forget ``(n,)`` bool -> ``(n, width)``."""
        if self.spec is None:
            return self.zero.expand(n, -1)
        if cond is None:
            return self.unknown.expand(n, -1)
        known = torch.ones(n, dtype=torch.bool, device=cond.device)
        if self.spec.is_tokens:
            if not self.spec.shape:
                known = cond >= 0
            out = self.embed(cond.clamp_min(0))
            if self.spec.shape:
                out = self.mix((out * (1 + self.place)).flatten(1, -2).mean(1))
        else:
            out = self.mix(cond.flatten(1))
        if drop is not None:
            known = known & ~drop
        return torch.where(known[:, None], out, self.unknown)


def check_drop(drop: float) -> None:
    """Raise RecipeError unless ``drop``, the chance that a row's condition is hidden in training, lies in [0, 1)."""
    if not 0 <= drop < 1:
        raise RecipeError(f"family.drop is {drop}; it must lie in [0, 1), 0.1 is usual")
