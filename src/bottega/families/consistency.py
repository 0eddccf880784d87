"""Consistency models: a diffusion model tuned until one step does what many did (Song et al. 2023, arXiv:2303.01469)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.families.diffusion import Diffusion
from bottega.samplers.solvers import consistent

__all__ = ["Consistency"]

_LAST_STAGE = 6  # gaps are not halved further: in bfloat16 the two sides would differ by rounding only
_HUBER = 0.00054  # of a coordinate of deviation 0.5, as in Song & Dhariwal 2023, table 1
_FROM = 0.8  # the least noise level that few-step sampling goes back up to, of data of deviation 0.5


class Consistency(Diffusion):
    """The network of ``Diffusion`` as ``f(x, sigma)``: the clean end of the probability-flow path that ``x`` lies on.

    Trained by making neighbours on a path agree, ``f(x0 + t noise, t)`` and ``f(x0 + r noise, r)`` with ``r < t``, ever
    closer to each other (Easy Consistency Tuning, Geng et al. 2024, arXiv:2406.14548): at first ``r`` is 0, which is how
    a denoiser is trained, so that a trained ``Diffusion`` run is the best start (``teacher``); then the gap is halved
    again and again, and ``f`` goes over from the mean of all clean examples to one of them. Without a teacher it learns
    the same from nothing, more slowly (Song & Dhariwal 2023, arXiv:2310.14189). It makes pieces in 1 to 4 steps, has no
    likelihood and fills no gaps.

    Args:
        spec: as for ``Diffusion``.
        size, depth, patch, data_std, drop: as for ``Diffusion``; those of the teacher where there is one.
        halve: training steps after which the gap is halved; it is at most six times.
        teacher: the folder of a trained diffusion run (with the usual ``v`` and ``edm``) whose weights this one starts
            from; empty for none.
    """

    variants: ClassVar[dict[str, dict[str, object]]] = {}
    lacks: ClassVar[set[str]] = {"Scores", "Edits"}

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 32,
        depth: int = 2,
        patch: int = 1,
        data_std: float = 0.5,
        drop: float = 0.1,
        halve: int = 500,
        teacher: str = "",
    ) -> None:
        super().__init__(spec, size=size, depth=depth, patch=patch, data_std=data_std, drop=drop)
        if halve < 1:
            raise RecipeError(f"family.halve is {halve}; it must be at least 1 step")
        self.halve, self.teacher = halve, teacher
        self.register_buffer("stage", torch.zeros(()))  # how often the gap was halved

    def learn_from(self, teacher: Family) -> None:
        """Begin with the teacher's weights.

        Raises:
            RecipeError: it is another kind of model, or one of other settings.
        """
        why = ""
        if not isinstance(teacher, Diffusion) or teacher.spec != self.spec:
            why = "is no diffusion model of the same examples"
        elif (teacher.prediction, teacher.schedule, teacher.scale) != (self.prediction, self.schedule, self.scale):
            why = "has another prediction, schedule or data_std; only 'v' with 'edm' and the same data_std can be tuned"
        else:
            theirs = {k: v for k, v in teacher.state_dict().items() if k != "stage"}
            mine = {k: v for k, v in self.state_dict().items() if k != "stage"}
            if {k: v.shape for k, v in theirs.items()} != {k: v.shape for k, v in mine.items()}:
                why = "has a network of another size; set family.size, depth and patch as there, without variance and classifier"
        if why:
            raise RecipeError(f"the teacher {self.teacher!r} {why}")
        self.load_state_dict({**theirs, "stage": self.stage})

    def _nearer(self, t: Tensor) -> Tensor:
        """The lower noise level of a pair, ``(B,)``; 0 where the gap is all of ``t`` (Geng et al. 2024, section 3.2)."""
        share = (1 + 8 * torch.sigmoid(-t / self.unit)) * 0.5 ** (self.stage + 1)
        return t * (1 - share).clamp_min(0)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """How far two points of one path are apart when sent to its end (Pseudo-Huber), over the gap between them.

        Song & Dhariwal 2023, section 3: levels are log-normal (mean -1.1, deviation 2, in units of ``data_std / 0.5``), the
        lower point is held still.
        """
        x, n = self.spec.as_real(batch.x), len(batch)
        low, high = self._range()
        t = (self.unit * (2.0 * rng.normal(n) - 1.1).exp()).clamp(low, high)
        r = self._nearer(t)
        noise = rng.normal(*x.shape)
        known = self._known(batch.cond, n, rng.uniform(n) < self.drop if self.spec.cond is not None else None)
        wide = (-1, *[1] * (x.ndim - 1))
        there, _ = self._predict(x + t.view(wide) * noise, t, known)
        with torch.no_grad():
            near, _ = self._predict(x + r.view(wide) * noise, r.clamp_min(low), known)
            near = torch.where(r.view(wide) < low, x, near)
        apart = (there - near).square().flatten(1).mean(1)
        bend = self.unit * _HUBER
        huber = (apart + bend**2).sqrt() - bend
        return Terms({"consistency": huber / (t - r)})

    def settle(self, step: int) -> None:
        """Halve the gap when its time has come."""
        self.stage.fill_(min(_LAST_STAGE, (step + 1) // self.halve))

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None, *, steps: int = 2, guidance: float = 1.0) -> Tensor:  # type: ignore[override]
        """``(n, *spec.shape)``.

        Args:
            n: how many.
            rng: one stream, or one for each row.
            cond: ``(n, *spec.cond.shape)`` or None.
            steps: 1 to about 4: to the clean end, and each time part of the way back up in noise.
            guidance: 1 is conditional, 0 unconditional, above 1 follows ``cond`` harder.
        """
        x, _ = self._start(n, rng, steps)
        _, high = self._range()
        ramp = torch.linspace(0, 1, steps, device=x.device) if steps > 1 else torch.zeros(1, device=x.device)
        sigmas = torch.cat([high * (self.unit * _FROM / high) ** ramp, ramp.new_zeros(1)])
        posterior = self._within(self.posterior(n, cond, guidance))
        return self.spec.as_tokens(consistent(lambda x, sigma: posterior(x, sigma)[0], x, sigmas, rng))
