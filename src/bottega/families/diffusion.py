"""Diffusion: learn to take noise away, then make examples of nothing but noise (Ho et al. 2020, arXiv:2006.11239)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms, nearest
from bottega.core.measure import Bound
from bottega.nets.condition import Condition, check_drop, no_picture
from bottega.nets.denoiser import Fourier, NoisyClassifier, ResidualMLP
from bottega.nets.unet import UNet
from bottega.nets.wave_unet import WaveUNet
from bottega.samplers.diffusion import (
    PREDICTIONS,
    SCHEDULES,
    Denoise,
    Prediction,
    Schedule,
    coefficients,
    draw_sigma,
    sigma_range,
    sigmas_for,
)
from bottega.samplers.likelihood import bound_of_levels, flow_log_prob
from bottega.samplers.restore import NOISE, WAYS, begin_at, measurement, repaint
from bottega.samplers.restore import restore as restored
from bottega.samplers.solvers import CHURNED, SAMPLERS, Posterior, ancestral, dpmpp_2m

__all__ = ["Diffusion"]

_VARIANCE_WEIGHT = 0.05  # small beside the error itself, which has to shape the network


class Diffusion(Family):
    """A denoiser ``D(x0 + sigma * noise; sigma)`` of the expected clean example, and the samplers that follow it down.

    Karras et al. 2022, arXiv:2206.00364: ``D = skip * x + out * net(x / sqrt(scale^2 + sigma^2), log(sigma / unit) / 4)``, with
    ``skip`` and ``out`` from ``prediction`` (``samplers.diffusion.coefficients``). The schedule decides which noise
    levels are trained on and stepped through (``"edm"``: in units of ``data_std / 0.5``), and ``scale``: 1 for the
    variance-preserving ``"linear"`` and
    ``"cosine"`` (the network then sees exactly the ``z`` of those papers), ``data_std`` for ``"edm"``. The loss is the
    mean squared error of the network's output, which weighs levels as the papers do: ``"eps"`` is Ho's simple loss,
    ``"v"`` with ``"edm"`` is Karras's. It is not in nats.

    Pictures go through a U-Net, waveforms through one of one dimension, everything else through a residual MLP. Whole-number levels are modelled as real
    numbers and rounded. What is known of an example is one vector (a class, a caption, numbers); a picture of any size
    that is known of a picture (``spec.cond`` of shape ``(C, H, W)``) is brought to its size and read beside the noisy
    one (Saharia et al. 2021, arXiv:2104.07636).

    Args:
        spec: real numbers or ordered levels, of any shape; ``(C, H, W)`` is a picture.
        size: the dial, a multiple of 4: channels of the U-Net at full resolution; a vector's body is ``4 * size`` wide.
        depth: U-Net blocks at each resolution, and half the layers of a vector's body.
        patch: pictures: pixels are read and written in squares of ``patch`` x ``patch``; 2 is about four times faster.
            Waveforms: so many samples at once, 1 as few as leave 512 moments.
        prediction: what the network says: ``"eps"``, ``"x"`` or ``"v"``.
        schedule: ``"linear"``, ``"cosine"`` or ``"edm"``.
        data_std: standard deviation of the data's coordinates, for ``"edm"``; all noise levels are counted in it (pictures
            in [-1, 1] are near the 0.5 of the paper, waveforms of sound near 0.1).
        drop: the chance that ``cond`` is forgotten in training, so that ``cond=None`` and guidance work.
        variance: of a step of ``"ddpm"``: ``"lower"`` (beta tilde), or ``"learned"`` (Nichol & Dhariwal 2021,
            arXiv:2102.09672): the network also says how sure it is of each number, which few steps are better for.
        classifier: also train a classifier of noisy examples, for ``classifier_scale``.
    """

    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "variance": {"variance": "learned"},
        "classifier": {"classifier": True},
    }
    bound: Bound = "estimate"
    hears: ClassVar[bool] = True
    reworks = frozenset({"strength", "restore"})
    score_steps = 64  # noise levels (reals) or Monte-Carlo draws (levels) behind one log_prob

    def __init__(
        self,
        spec: Spec,
        *,
        size: int = 32,
        depth: int = 2,
        patch: int = 1,
        prediction: Prediction = "v",
        schedule: Schedule = "edm",
        data_std: float = 0.5,
        drop: float = 0.1,
        variance: Literal["lower", "learned"] = "lower",
        classifier: bool = False,
    ) -> None:
        super().__init__(spec)
        if prediction not in PREDICTIONS:
            raise RecipeError(f"unknown prediction {prediction!r}{nearest(str(prediction), PREDICTIONS)}")
        if schedule not in SCHEDULES:
            raise RecipeError(f"unknown schedule {schedule!r}{nearest(str(schedule), SCHEDULES)}")
        if variance not in ("lower", "learned"):
            raise RecipeError(f"family.variance is {variance!r}; use 'lower' or 'learned'")
        check_drop(drop)
        if size < 4 or size % 4 or depth < 1 or not data_std > 0:
            raise RecipeError(
                f"size={size}, depth={depth}, data_std={data_std}: size must be a multiple of 4, depth at least 1, "
                "data_std above 0"
            )
        if patch < 1 or (patch > 1 and not spec.is_image and not spec.is_wave):
            raise RecipeError(f"patch is {patch}; it must be at least 1, and 1 for what is no picture and no sound")
        self.prediction: Prediction = prediction
        self.schedule: Schedule = schedule
        self.heads = 2 if variance == "learned" else 1
        self.drop, self.scale = drop, data_std if schedule == "edm" else 1.0
        self.unit = self.scale / 0.5 if schedule == "edm" else 1.0  # Karras's noise levels are for a deviation of 0.5
        if spec.is_tokens:
            self.bound = "lower"
        width = 4 * size
        picture = spec.cond.shape[0] + 1 if spec.cond is not None and spec.cond.is_image else 0
        self.level, self.condition = Fourier(width), Condition(None if picture else spec.cond, width)
        if classifier and (spec.cond is None or spec.cond.shape or not spec.cond.is_tokens):
            raise RecipeError("family.classifier is true, but the data has no classes; leave it out, or give labels")
        self.classifier = NoisyClassifier(spec, size) if classifier else None
        if spec.is_image:
            channels, *sides = spec.shape
            self.body = UNet(
                channels + picture, size, width, side=min(sides), depth=depth, patch=patch,
                outputs=self.heads * channels,
            )  # fmt: skip
        elif spec.is_wave:
            self.body = WaveUNet(
                spec.shape[0], size, width, length=spec.shape[1], depth=depth, patch=patch if patch > 1 else 0,
                outputs=self.heads * spec.shape[0],
            )  # fmt: skip
        else:
            self.body = ResidualMLP(spec.dims, width, 2 * depth, outputs=self.heads * spec.dims)

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Real numbers and ordered levels."""
        if spec.is_tokens and not spec.ordinal:
            return "its tokens are names, not ordered levels; use gpt, or a codec that gives real numbers"
        if spec.cond is not None and spec.cond.is_image and (spec.cond.is_tokens or not spec.is_image):
            return "a picture can be known of pictures only, as real numbers; leave codec.cond = 'picture' out"
        return "" if spec.given_picture else no_picture(spec)

    def _known(self, cond: Tensor | None, n: int, forget: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """What is known as ``(n, width)``, and as planes ``(n, C + 1, H, W)`` where it is a picture: its pixels, 1 if known."""
        vector = self.condition(None if self.condition.spec is None else cond, n, forget)
        if self.spec.cond is None or not self.spec.cond.is_image:
            return vector, None
        sides = self.spec.shape[1:]
        if cond is None:
            return vector, vector.new_zeros(n, self.spec.cond.shape[0] + 1, *sides)
        if cond.shape[2:] != sides:
            cond = F.interpolate(cond, sides, mode="bicubic", antialias=True)
        planes = torch.cat([cond, torch.ones_like(cond[:, :1])], 1)
        return vector, planes if forget is None else planes * ~forget.view(-1, 1, 1, 1)

    def _predict(self, x: Tensor, sigma: Tensor, known: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
        """What the network knows of the clean example: its expectation, and ``u`` of its variance ``out^2 exp(u)``.

        ``x`` is ``(B, *shape)``, ``sigma`` ``(B,)``, ``known`` from ``_known``; ``u`` is None unless it is learned.
        """
        s = sigma.view(-1, *[1] * (x.ndim - 1))
        inputs = x / (s**2 + self.scale**2).sqrt()
        vector, planes = known
        if planes is not None:
            inputs = torch.cat([inputs, planes], 1)
        level = self.level((sigma / self.unit).log() / 4) + vector
        said = self.body(inputs if self.spec.is_image or self.spec.is_wave else inputs.flatten(1), level).float()
        skip, out = coefficients(self.prediction, s, self.scale)
        mean, *unsure = (part.reshape(x.shape) for part in said.chunk(self.heads, 1))
        return skip * x + out * mean, unsure[0] if unsure else None

    def _classify(self, x: Tensor, sigma: Tensor, cond: Tensor) -> Tensor:
        """``log p(cond | x)`` at noise ``sigma`` ``(B,)``, by the classifier: ``(B,)`` nats, 0 where ``cond`` is unknown."""
        assert self.classifier is not None
        s = sigma.view(-1, *[1] * (x.ndim - 1))
        logits = self.classifier(x / (s**2 + self.scale**2).sqrt(), (sigma / self.unit).log() / 4)
        each = logits.log_softmax(1).gather(1, cond.clamp_min(0)[:, None])[:, 0]
        return torch.where(cond >= 0, each, 0.0)

    def posterior(
        self, n: int, cond: Tensor | None = None, guidance: float = 1.0, classifier_scale: float = 0.0
    ) -> Posterior:
        """``posterior(x (n, ...), sigma scalar)`` -> expected clean example, its variance (0 unless it is learned).

        Guidance moves the expectation only. Without a classifier (Ho & Salimans 2022, arXiv:2207.12598):
        ``D_u + guidance * (D_c - D_u)``; 1 is conditional, 0 unconditional. With one (Dhariwal & Nichol 2021,
        arXiv:2105.05233, section 4): ``D + classifier_scale * sigma^2 * grad log p(cond | x)``.
        """
        if classifier_scale and self.classifier is None:
            raise RecipeError("classifier_scale needs a classifier; train with family.classifier = true")
        guided = cond is not None and guidance not in (0, 1)
        vector, planes = self._known(cond if guidance != 0 else None, n)
        if guided:
            free = self._known(None, n)
            vector = torch.cat([vector, free[0]])
            planes = None if planes is None or free[1] is None else torch.cat([planes, free[1]])

        def posterior(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
            twice = torch.cat([x, x]) if guided else x
            x0, unsure = self._predict(twice, sigma.expand(len(twice)), (vector, planes))
            if guided:
                known, free = x0.chunk(2)
                x0 = free + guidance * (known - free)
            if classifier_scale and cond is not None:
                with torch.enable_grad():
                    at = x.detach().requires_grad_()
                    (uphill,) = torch.autograd.grad(self._classify(at, sigma.expand(n), cond).sum(), at)
                x0 = x0 + classifier_scale * sigma**2 * uphill
            if unsure is None:
                return x0, torch.zeros_like(sigma)
            _, out = coefficients(self.prediction, sigma, self.scale)
            return x0, out**2 * unsure[:n].exp()

        return posterior

    def denoiser(self, n: int, cond: Tensor | None = None, guidance: float = 1.0) -> Denoise:
        """``denoise(x (n, ...), sigma scalar)`` for the samplers; as ``posterior``."""
        posterior = self.posterior(n, cond, guidance)
        return lambda x, sigma: posterior(x, sigma)[0]

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Mean squared error of what the network predicts, at a random noise level.

        A learned variance adds how unlikely the error is under it (a mean of nats over coordinates, times 0.05); that
        does not move the mean (Nichol & Dhariwal 2021, section 3.1). A classifier adds its cross-entropy in nats.
        """
        x, n = self.spec.as_real(batch.x), len(batch)
        sigma = self.unit * draw_sigma(self.schedule, n, rng)
        noisy = x + sigma.view(-1, *[1] * (x.ndim - 1)) * rng.normal(*x.shape)
        forget = rng.uniform(n) < self.drop if self.spec.cond is not None else None
        x0, unsure = self._predict(noisy, sigma, self._known(batch.cond, n, forget))
        _, out = coefficients(self.prediction, sigma, self.scale)
        error = (x0 - x).square().flatten(1) / out[:, None] ** 2
        parts = {"denoise": error.mean(1)}
        if unsure is not None:
            u = unsure.flatten(1)
            parts["variance"] = _VARIANCE_WEIGHT * 0.5 * (error.detach() * (-u).exp() + u).mean(1)
        if self.classifier is not None:
            parts["classify"] = (
                torch.zeros_like(sigma) if batch.cond is None else -self._classify(noisy, sigma, batch.cond)
            )
        return Terms(parts)

    def _start(self, n: int, rng: Rng, steps: int) -> tuple[Tensor, Tensor]:
        if steps < 1:
            raise RecipeError(f"steps is {steps}; it must be at least 1")
        sigmas = self.unit * sigmas_for(self.schedule, steps).to(rng.device)
        return sigmas[0] * rng.normal(n, *self.spec.shape), sigmas

    def _range(self) -> tuple[float, float]:
        """The least and the greatest noise level."""
        low, high = sigma_range(self.schedule)
        return self.unit * low, self.unit * high

    def _within(self, posterior: Posterior) -> Posterior:
        """Pictures: the clean example is kept within [-1, 1] (static thresholding, Saharia 2022, arXiv:2205.11487)."""
        if not self.spec.is_image:
            return posterior

        def clamped(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
            x0, variance = posterior(x, sigma)
            return x0.clamp(-1, 1), variance

        return clamped

    @torch.no_grad()
    def sample(
        self,
        n: int,
        rng: Rng,
        cond: Tensor | None = None,
        *,
        sampler: str = "dpmpp_2m",
        steps: int = 24,
        guidance: float = 1.0,
        eta: float = 0.0,
        classifier_scale: float = 0.0,
    ) -> Tensor:
        """``(n, *spec.shape)``.

        Args:
            n: how many.
            rng: one stream, or one for each row.
            cond: ``(n, *spec.cond.shape)`` or None.
            sampler: one of ``samplers.solvers``: deterministic ``"dpmpp_2m"``, ``"dpmpp_3m"``, ``"unipc"``, ``"heun"``
                (EDM), ``"ddim"``, ``"euler"``; with noise on the way ``"ddpm"``, ``"dpmpp_sde"``, ``"pc_ve"``, ``"pc_vp"``.
            steps: from noise to example.
            guidance: 1 is conditional, 0 unconditional, above 1 follows ``cond`` harder.
            eta: fresh noise of ``"ddim"`` (1 is ``"ddpm"``) and ``"heun"`` (1 is the most of EDM); 0 for none.
            classifier_scale: how hard the classifier pulls towards ``cond``, where one was trained; 0 not at all.
        """
        if sampler not in SAMPLERS:
            raise RecipeError(f"unknown sampler {sampler!r}{nearest(sampler, SAMPLERS)}")
        if not 0 <= eta <= 1:
            raise RecipeError(f"eta is {eta}; it must lie in [0, 1]")
        if eta and sampler not in CHURNED:
            raise RecipeError(
                f"eta is {eta} but sampler is {sampler!r}; only {' and '.join(map(repr, CHURNED))} have it"
            )
        x, sigmas = self._start(n, rng, steps)
        posterior = self._within(self.posterior(n, cond, guidance, classifier_scale))
        if sampler == "ddpm":
            x = ancestral(posterior, x, sigmas, rng)
        else:
            extra = {"eta": eta} if sampler in CHURNED else {}
            x = SAMPLERS[sampler](lambda x, sigma: posterior(x, sigma)[0], x, sigmas, rng, **extra)
        return self.spec.as_tokens(x)

    @torch.no_grad()
    def edit(
        self, batch: Batch, keep: Tensor, rng: Rng, *, steps: int = 24, guidance: float = 1.0, tries: int = 5,
        strength: float = 1.0, restore: str = "", classifier_scale: float = 0.0,
    ) -> Tensor:  # fmt: skip
        """Make what is not kept: anew, from the draft that stands there, or from a spoilt picture; kept numbers stay exactly.

        Args:
            batch: the pieces, with ``cond`` where known.
            keep: bool, broadcastable to ``batch.x``.
            rng: one stream, or one for each row.
            steps: from noise to example; a ``strength`` below 1 makes the last of them.
            guidance: as in ``sample``.
            tries: how often each step is made when all is made anew (``samplers.restore.repaint``) or restored.
            strength: 1 makes it anew (inpainting); below, the piece is a draft that is noised and worked out again, and
                less of it is kept the higher (SDEdit, ``samplers.restore.begin_at``); 0 changes nothing.
            restore: pictures: undo ``"half"`` or ``"quarter"`` (a small picture that was enlarged), ``"grey"``,
                ``"blur"`` or ``"noise"``, as ``codec.degrade`` makes them (``samplers.restore.restore``).
            classifier_scale: as in ``sample``.
        """
        if tries < 1:
            raise RecipeError(f"tries is {tries}; every step is made at least once")
        if not 0 <= strength <= 1:
            raise RecipeError(f"strength is {strength}; it must lie in [0, 1]: 0 changes nothing, 1 makes all anew")
        if restore and not self.spec.is_image:
            raise RecipeError(f"restore is {restore!r}, which is for pictures; leave it out")
        if restore and restore not in WAYS:
            raise RecipeError(f"restore is {restore!r}{nearest(restore, WAYS)}")
        if restore and strength != 1:
            raise RecipeError(f"restore is {restore!r} and strength {strength}; leave one of them out")
        posterior = self._within(self.posterior(len(batch), batch.cond, guidance, classifier_scale))
        x, sigmas = self._start(len(batch), rng, steps)
        known = self.spec.as_real(batch.x)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            return posterior(x, sigma)[0]

        if restore == "noise":  # the picture already is what the sampler passes on its way
            below = sigmas[sigmas < NOISE]
            x = dpmpp_2m(denoise, known, torch.cat([below.new_tensor([NOISE]), below]), rng)
        elif restore:
            channels, height, wide = self.spec.shape
            seen, y = measurement(restore, (channels, height, wide), known)
            x = restored(denoise, x, sigmas, rng, seen, y, tries)
        elif strength < 1:
            noise, sigmas = x / sigmas[0], begin_at(sigmas, strength)
            x = repaint(denoise, known + sigmas[0] * noise, sigmas, rng, known, keep, 1)
        else:
            x = repaint(denoise, x, sigmas, rng, known, keep, tries)
        return torch.where(keep, batch.x, self.spec.as_tokens(x))

    @torch.no_grad()
    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """``(B,)`` nats: the probability-flow ODE for real numbers, a variational lower bound for levels."""
        low, high = self._range()
        if self.spec.is_tokens:
            known = self._known(batch.cond, len(batch))
            levels = (low, high, self.score_steps)
            return bound_of_levels(
                lambda x, sigma: self._predict(x, sigma, known)[0], self.spec, batch.x, levels, rng, self.scale
            )
        ramp = torch.linspace(high ** (1 / 7), low ** (1 / 7), self.score_steps, device=batch.x.device) ** 7
        denoise = self.denoiser(len(batch), batch.cond)
        return flow_log_prob(denoise, batch.x, ramp, rng, self.scale)
