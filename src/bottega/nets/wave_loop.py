"""Samples of sound one after another through a `DilatedStack` and a head: what is drawn, and a compiled loop that draws.

Between two samples a network of that size computes for a few microseconds, and a tensor library needs longer than that to
begin each of its hundred operations. The loop is therefore compiled (numba, which librosa brings), one thread a row; it
draws what the tensors would draw, and where numba is not installed they do.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bottega.core import RecipeError
from bottega.nets.dilated import DilatedStack

__all__ = ["LEVELS", "Loop", "check_length", "draw", "log_mixture", "parts", "split_mixture"]

LEVELS = 65536
"""Levels of a 16-bit sample, evenly from -1 to 1."""

Floats = NDArray[np.float32] | NDArray[np.float64]

_NARROWEST = -9.0  # log-scale of a logistic: a few 16-bit levels


_PART = 2048


def check_length(length: int) -> None:
    """Raise RecipeError where ``length``, the samples of a piece, is below 0."""
    if length < 0:
        raise RecipeError(f"length is {length}; give samples, or 0 for pieces as long as those of the training")


def parts(length: int) -> Iterator[slice]:
    """What a stream yields at once: 2,048 samples, or a quarter of a shorter piece."""
    step = min(_PART, -(-length // 4))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def split_mixture(out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A head's numbers ``(..., 3 K)`` as log-weights, means and log-scales of ``K`` logistics, ``(..., K)`` each."""
    logits, mean, raw = (out if out.dtype == torch.float64 else out.float()).chunk(3, -1)
    return F.log_softmax(logits, -1), mean, F.softplus(raw - _NARROWEST - 3) + _NARROWEST


def log_mixture(out: Tensor, x: Tensor) -> Tensor:
    """Log-density of samples in [-1, 1] under a mixture of discretised logistics, nats, the shape of ``x``.

    The mass of the 16-bit level that is nearest (Salimans et al. 2017, arXiv:1701.05517, eq. 2; van den Oord et al. 2018,
    arXiv:1711.10433, section 2), spread over that level's width.

    Args:
        out: ``(..., 3 K)``.
        x: ``(...)``.
    """
    log_weight, mean, log_scale = split_mixture(out)
    step = 2 / (LEVELS - 1)
    centre = (((x + 1) / step).round() * step - 1)[..., None]
    slope = (-log_scale).exp()
    upper, lower = (centre + step / 2 - mean) * slope, (centre - step / 2 - mean) * slope
    first, last = centre < -1 + step / 2, centre > 1 - step / 2
    mass = torch.where(last, 0, F.logsigmoid(upper)) + torch.where(first, 0, F.logsigmoid(-lower))
    mass = mass + torch.where(first | last, 0, (-torch.expm1(-step * slope)).log())
    width = torch.where(first | last, step / 2, step)[..., 0]
    return torch.logsumexp(log_weight + mass, -1) - width.log()


def draw(out: Tensor, u: Tensor, vocab: int, temperature: float = 1.0) -> Tensor:
    """One sample for each row, in [-1, 1], by two uniform numbers each.

    Args:
        out: ``(n, vocab)`` logits of levels, or ``(n, 3 K)`` of a mixture of logistics where ``vocab`` is 0.
        u: ``(n, 2)`` float64 in [0, 1).
        vocab: levels from -1 to 1; 0 for 16-bit samples from the mixture.
        temperature: logits are divided by it, scales multiplied.

    Returns:
        ``(n,)`` float32, the values of levels.
    """
    if vocab:
        below = torch.softmax(out.double() / temperature, -1).cumsum(-1)
        level = (below <= u[:, :1]).sum(-1).clamp(max=vocab - 1)
        return (level.double() * (2 / (vocab - 1)) - 1).float()
    log_weight, mean, log_scale = split_mixture(out)
    below = (log_weight.double() / temperature).softmax(-1).cumsum(-1)
    which = (below <= u[:, :1]).sum(-1).clamp(max=mean.shape[-1] - 1)[:, None]
    middle, scale = mean.gather(1, which)[:, 0].double(), log_scale.gather(1, which)[:, 0].double().exp()
    v = u[:, 1].clamp(1e-9, 1 - 1e-9)
    x = (middle + temperature * scale * (v.log() - torch.log1p(-v))).clamp(-1, 1)
    return (((x + 1) * ((LEVELS - 1) / 2)).round() * (2 / (LEVELS - 1)) - 1).float()


@dataclass
class Loop:
    """Draws rows of samples, some at a time; what was drawn is remembered as far as the network sees.

    Args:
        stack: with one input channel.
        head: 1x1 convolutions and a SiLU between them, ``width -> hidden -> outputs``.
        known: ``(n, given, frames)`` or None; a frame is known of ``hop`` samples, the last of all that follow.
        free: the same where nothing is known; with it outputs are extrapolated from its by ``guidance``.
        hop: samples of a frame.
        vocab: as in ``draw``.
        temperature: as in ``draw``.
        guidance: 1 is ``known`` alone.
        compiled: False keeps to tensors.
    """

    stack: DilatedStack
    head: nn.Sequential
    n: int
    known: Tensor | None = None
    free: Tensor | None = None
    hop: int = 1
    vocab: int = 0
    temperature: float = 1.0
    guidance: float = 1.0
    compiled: bool = True
    time: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.twice = self.free is not None and self.known is not None and self.guidance != 1
        self.last = torch.zeros(self.n)
        both = self.known
        if self.twice and self.known is not None and self.free is not None:
            both = torch.cat([self.known, self.free.expand_as(self.known)])
        self.both = both
        cpu = self.stack.enter.weight.device.type == "cpu"
        if self.compiled and cpu and importlib.util.find_spec("numba"):
            self.fast: _Fast | None = _Fast(self)
        else:
            self.fast = None
            self.cache = self.stack.begin(self.n * (2 if self.twice else 1))

    def more(self, u: Tensor, kept: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """The next ``t`` samples ``(n, t)`` in [-1, 1].

        Args:
            u: ``(n, t, 2)`` float64 in [0, 1).
            kept: samples ``(n, t)`` float32 and where they stay as they are ``(n, t)`` bool.
        """
        out = self._by_tensors(u, kept) if self.fast is None else self.fast.more(u, kept, self.time)
        self.time += u.shape[1]
        return out

    def _by_tensors(self, u: Tensor, kept: tuple[Tensor, Tensor] | None) -> Tensor:
        rows = []
        device = self.stack.enter.weight.device
        for t in range(u.shape[1]):
            known = None
            if self.both is not None:
                known = self.both[:, :, min((self.time + t) // self.hop, self.both.shape[2] - 1)]
            x = self.last.to(device, self.stack.enter.weight.dtype)[:, None].repeat(2 if self.twice else 1, 1)
            out = self.head(self.stack.next(self.cache, x, known)[:, :, None])[:, :, 0]
            if self.twice:
                given, free = out.chunk(2)
                out = free + self.guidance * (given - free)
            x = draw(out.cpu(), u[:, t].cpu(), self.vocab, self.temperature)
            if kept is not None:
                x = torch.where(kept[1][:, t].cpu(), kept[0][:, t].cpu(), x)
            rows.append(x)
            self.last = x
        return torch.stack(rows, 1) if rows else torch.zeros(self.n, 0)


class _Fast:
    """The weights as plain arrays, inputs first, and the rings of every row."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        stack, layers = loop.stack, list(loop.stack.layers)
        width = stack.enter.out_channels

        kind = torch.float64 if stack.enter.weight.dtype == torch.float64 else torch.float32

        def array(t: Tensor) -> Floats:
            return np.ascontiguousarray(t.detach().to("cpu", kind).numpy())

        taps = torch.stack([layer.taps.weight for layer in layers])  # (L, 2 W, W, 2)
        past, now = array(taps[..., 0].mT), array(taps[..., 1].mT)
        gates = torch.stack([layer.taps.bias for layer in layers])  # (L, 2 W)
        residual = [layer.residual for layer in layers[:-1]]
        # What a layer passes on and what it skips, side by side; the last passes nothing on.
        on = torch.stack([r.weight[..., 0] for r in residual] + [torch.zeros_like(layers[-1].skip.weight[..., 0])])
        skip = torch.stack([layer.skip.weight[..., 0] for layer in layers])
        plus = torch.stack([r.bias for r in residual] + [torch.zeros_like(layers[-1].skip.bias)])
        passed = array(torch.cat([on.mT, skip.mT], 2))  # (L, W, 2 W)
        passed_bias = array(torch.cat([plus, torch.stack([layer.skip.bias for layer in layers])], 1))
        enter, enter_bias = array(stack.enter.weight[:, 0, 0]), array(stack.enter.bias)
        first, _, last = loop.head
        head = array(first.weight[..., 0].T), array(first.bias), array(last.weight[..., 0].T), array(last.bias)
        dilations = np.array([layer.dilation for layer in layers], np.int64)
        starts = np.concatenate([[0], np.cumsum(dilations)[:-1]]).astype(np.int64)
        self.net = (enter, enter_bias, past, now, passed, passed_bias, *head, dilations, starts)
        self.given: list[Floats] = []  # of each row and pass (F, L, 2 W), the gates' biases in it
        rows = loop.n * (2 if loop.twice else 1)
        for r in range(rows):
            if loop.both is None:
                self.given.append(array(gates[None]))
            else:
                said = torch.stack([layer.given(loop.both[r : r + 1])[0] for layer in layers])  # (L, 2 W, F)
                self.given.append(array((said + gates[:, :, None]).permute(2, 0, 1)))
        self.rings = [np.zeros((int(dilations.sum()), width), enter.dtype) for _ in range(rows)]
        self.lasts = np.zeros(loop.n, np.float32)

    def more(self, u: Tensor, kept: tuple[Tensor, Tensor] | None, time: int) -> Tensor:
        loop, run = self.loop, _compiled()
        how = loop.twice, float(loop.guidance), loop.hop, loop.vocab, float(loop.temperature)
        draws = np.ascontiguousarray(u.cpu().double().numpy())
        out = np.zeros(draws.shape[:2], np.float32)
        values, stays = np.zeros((loop.n, 0), np.float32), np.zeros((loop.n, 0), np.bool_)
        if kept is not None:
            values = np.ascontiguousarray(kept[0].cpu().float().numpy())
            stays = np.ascontiguousarray(kept[1].cpu().numpy())

        def row(r: int) -> None:
            other = r + loop.n if loop.twice else r
            given, rings = (self.given[r], self.given[other]), (self.rings[r], self.rings[other])
            self.lasts[r] = run(self.net, given, rings, how, time, self.lasts[r], draws[r], values[r], stays[r], out[r])

        if loop.n == 1:
            row(0)
        else:
            with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
                list(pool.map(row, range(loop.n)))
        return torch.from_numpy(out)


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., float]:
    """The loop over one row's samples, compiled on first use (seconds; numba keeps it on disk)."""
    from numba import njit

    fast: Any = njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
    exact: Any = njit(nogil=True, cache=True)
    global _say, _pick, _run  # compiled functions call each other by these names
    if not hasattr(_say, "py_func"):
        _say, _pick, _run = fast(_say), exact(_pick), exact(_run)
    return _run


def _say(net: Any, given: Any, ring: Any, time: int, x: float, work: Any, said: Any) -> None:
    """The head's numbers for one moment into ``said``, and the moment into the ring."""
    enter, enter_bias, past, now, out, out_bias, h1, b1, h2, b2, dilations, starts = net
    a, y, total, hidden = work
    layers, width = past.shape[0], past.shape[1]
    z = enter * x + enter_bias
    total[:] = 0
    for i in range(layers):
        at = starts[i] + time % dilations[i]
        a[:] = given[i]
        for j in range(width):
            p, q = ring[at, j], z[j]
            for k in range(2 * width):
                a[k] += past[i, j, k] * p + now[i, j, k] * q
        ring[at] = z
        for k in range(2 * width):
            a[k] = 1 / (1 + np.exp(-a[k]))
        y[:] = out_bias[i]
        for j in range(width):
            g = (2 * a[j] - 1) * a[width + j]
            for k in range(2 * width):
                y[k] += out[i, j, k] * g
        for j in range(width):
            z[j] += y[j]
            total[j] += y[width + j]
    hidden[:] = b1
    for j in range(width):
        g = total[j] / (1 + np.exp(-total[j]))
        for k in range(len(hidden)):
            hidden[k] += h1[j, k] * g
    said[:] = b2
    for j in range(len(hidden)):
        g = hidden[j] / (1 + np.exp(-hidden[j]))
        for k in range(len(said)):
            said[k] += h2[j, k] * g


def _pick(said: Any, u: Any, vocab: int, temperature: float) -> Any:
    """``draw`` for one moment, in float64."""
    many = vocab if vocab else len(said) // 3
    top = said[0]
    for k in range(1, many):
        top = max(top, said[k])
    whole = 0.0
    for k in range(many):
        whole += math.exp((np.float64(said[k]) - top) / temperature)
    below, which = 0.0, many - 1
    for k in range(many):
        below += math.exp((np.float64(said[k]) - top) / temperature)
        if u[0] * whole < below:
            which = k
            break
    if vocab:
        return np.float32(which * (2.0 / (vocab - 1)) - 1.0)
    raw = np.float64(said[2 * many + which]) + 6.0  # see split_mixture
    scale = math.exp((raw if raw > 20 else math.log1p(math.exp(raw))) - 9.0)
    v = min(max(u[1], 1e-9), 1 - 1e-9)
    x = np.float64(said[many + which]) + temperature * scale * (math.log(v) - math.log1p(-v))
    x = min(max(x, -1.0), 1.0)
    return np.float32(np.rint((x + 1.0) * 32767.5) * (2.0 / 65535.0) - 1.0)


def _run(
    net: Any, given: Any, ring: Any, how: Any, time: int, x: float, u: Any, values: Any, stays: Any, made: Any
) -> float:
    """All samples of one row into ``made``; returns the last. ``given`` and ``ring`` come with those of nothing known."""
    (known, blank), (near, other) = given, ring
    twice, guidance, hop, vocab, temperature = how
    work = np.zeros_like(net[5][0]), np.zeros_like(net[5][0]), np.zeros_like(net[0]), np.zeros_like(net[7])
    said, free = np.zeros_like(net[9]), np.zeros_like(net[9])
    for t in range(len(made)):
        frame = min((time + t) // hop, len(known) - 1)
        _say(net, known[frame], near, time + t, x, work, said)
        if twice:
            _say(net, blank[frame], other, time + t, x, work, free)
            for k in range(len(said)):
                said[k] = free[k] + guidance * (said[k] - free[k])
        x = _pick(said, u[t], vocab, temperature)
        if len(stays) and stays[t]:
            x = values[t]
        made[t] = x
    return x
