"""Features: every example as a vector in which distances mean something, with nothing downloaded.

Pictures, and spectra of sounds, pass a small network that is trained once for each data set; text becomes hashed n-grams; table rows become
standardised columns; points stay what they are. Inception features can be given by the user (``facts["features"]``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bottega.core import Batch, Represents, Rng, has
from bottega.judge._case import Case
from bottega.judge._nets import ConvNet, fit, kept, steps_for

__all__ = ["Which", "about_features", "extractor", "features", "features_of", "frozen", "shift", "words"]

Which = Literal["train", "held", "samples"]
Extractor = Callable[[Tensor], Tensor]

_BUCKETS, _PROJECTED = 2048, 32


def features(case: Case, x: Tensor) -> Tensor:
    """Examples ``(N, *spec.shape)`` as features ``(N, D)``, float64, on the CPU."""
    extract = extractor(case)
    with torch.no_grad():
        return torch.cat([extract(part.to(case.device)).double().cpu() for part in x.split(512)])


def features_of(case: Case, which: Which) -> Tensor:
    """Features of the training examples, the held-out examples or the samples; computed once for a case."""
    key = f"features of {which}"
    if key not in case.cache:
        case.cache[key] = features(case, words(case, which))
    return case.cache[key]


def about_features(case: Case) -> str:
    """Which features these are, as ``Measure.features`` and notes say it: figures of different features do not compare.

    The user's own say it themselves in an attribute ``about``. Local ones of pictures depend on their size, of text on
    its tokens, and are others where these are.
    """
    spec, width = case.spec, features_of(case, "train").shape[1]
    own = case.facts.get("features")
    if own is not None:
        return getattr(own, "about", f"{width} features of one's own")
    if case.view.is_image:
        what = "pictures" if spec.is_image else "spectra"
        return f"{width} local features of {'×'.join(map(str, case.view.shape))} {what}"
    if spec.is_text:
        return f"{width} local features of texts in {spec.vocab} tokens"
    return f"{width} local features"


def words(case: Case, which: Which) -> Tensor:
    """The examples themselves ``(N, *spec.shape)``; in sequences, padding is -1.

    Samples carry no mask, unless they stand behind what was given. Where no training example goes on after its first
    padding token, a sample ends there too (the closing token of a line is often also its padding, and then belongs to it).
    """
    if which != "samples":
        batch: Batch = getattr(case, which)
        x, mask = batch.x, batch.mask
    else:
        x, mask = case.samples, _ends(case) if case.sample_mask is None else case.sample_mask
    if mask is None or not case.spec.is_sequence or case.spec.blocks:
        return x
    return x.masked_fill(~mask.expand_as(x), -1)


def _ends(case: Case) -> Tensor | None:
    """True where samples ``(N, L)`` are text and not padding; None where they all are text."""
    x, mask = case.train.x, case.train.mask
    if mask is None or not case.spec.is_sequence:
        return None
    mask = mask.expand_as(x)
    pads = x[~mask].unique()
    if len(pads) != 1:
        return None
    pad = pads.to(x.device)
    after = (x == pad).cumsum(1) - (x == pad).long() > 0
    if (mask & after).any():  # windows over many documents: the token stands between them and ends nothing
        return None
    closing = bool((x[mask] == pad).any())
    stop = case.samples == pad.to(case.samples.device)
    return stop.cumsum(1) - (stop.long() if closing else 0) == 0


def extractor(case: Case) -> Extractor:
    """What turns examples of this case into features; made once for a case."""
    if "features" not in case.cache:
        spec = case.spec
        if case.facts.get("features") is not None:
            own = case.facts["features"]
            case.cache["features"] = lambda x: own(spec.as_real(x))
        elif spec.blocks:
            case.cache["features"] = _columns(case)
        elif case.view.is_image:
            case.cache["features"] = _pictures(case)
        elif spec.is_text:
            case.cache["features"] = _ngrams(case)
        else:
            case.cache["features"] = lambda x: spec.as_real(x).flatten(1)
    return case.cache["features"]


# --- pictures -------------------------------------------------------------------------------------------------------


def shift(x: Tensor, rng: Rng, share: float = 0.125, *, sideways: bool = False) -> Tensor:
    """A batch of pictures moved together by up to ``share`` of its sides, or its width alone, edges repeated."""
    dy, dx = (max(1, int(share * side)) for side in x.shape[2:])
    dy = 0 if sideways else dy
    padded = F.pad(x, (dx, dx, dy, dy), mode="replicate")
    top, left = (int(rng.integers(2 * d + 1, 1)) for d in (dy, dx))
    return padded[:, :, top : top + x.shape[2], left : left + x.shape[3]]


def _crop(x: Tensor, rng: Rng) -> Tensor:
    """A random window of 60 to 100 % of the sides, resized back: the same window for the whole batch."""
    h, w = x.shape[2:]
    scale = 0.6 + 0.4 * float(rng.uniform(1))
    height, width = min(h, max(2, round(scale * h))), min(w, max(2, round(scale * w)))
    top, left = int(rng.integers(h - height + 1, 1)), int(rng.integers(w - width + 1, 1))
    window = x[:, :, top : top + height, left : left + width]
    return F.interpolate(window, size=(h, w), mode="bilinear", align_corners=False)


_KINDS = 6


def _disturb(x: Tensor, kind: Tensor, rng: Rng) -> Tensor:
    """Each picture changed in one of six ways: not at all, upside down, turned by 180 degrees, noisy, rolled, blurred."""
    noise = rng.normal(*x.shape) * (0.1 + 0.9 * rng.uniform(len(x), 1, 1, 1))
    ways = (
        x,
        x.flip(2),
        x.flip(2, 3),
        x + noise,
        x.roll((x.shape[2] // 2, x.shape[3] // 2), (2, 3)),
        F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1),
    )
    return torch.stack(ways)[kind, torch.arange(len(x), device=x.device)]


class _FeatureNet(nn.Module):
    """A trunk and what it is trained on: how a picture was changed, and which class (or which picture) it is."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.trunk = ConvNet(shape, _KINDS, hidden=64, activation=F.silu)
        self.what = nn.Linear(64, classes or 64)
        self.register_buffer("mean", torch.zeros(128))
        self.register_buffer("scale", torch.ones(128))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W) -> (N, 128)``, standardised on the training examples."""
        return (self.trunk.features(x) - self.mean) / self.scale

    def content(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the way a picture was changed ``(N, 6)``, and of its class or its place among pictures."""
        h = self.trunk.activation(self.trunk.last(self.trunk.maps(x)[-1].flatten(1)))
        return self.trunk.head(h), self.what(h)


def _pictures(case: Case) -> Extractor:
    """A network trained on these pictures: their class where it is known, else which picture is which.

    Without labels two crops of one picture are to be told from crops of others (SimCLR, Chen et al. 2020,
    arXiv:2002.05709, equation 1). Either way it also learns to tell how a picture was disturbed (flipped, noisy, rolled,
    blurred; after RotNet, Gidaris et al. 2018, arXiv:1803.07728), so that features see damage and not only content.
    """
    x = case.look(case.train.x.to(case.device))
    labels = case.train.cond.to(case.device) if case.labelled and case.train.cond is not None else None
    if labels is not None:
        x, labels = x[labels >= 0], labels[labels >= 0]
    classes = case.spec.cond.vocab if labels is not None and case.spec.cond is not None else 0

    def train(module: nn.Module, rng: Rng) -> None:
        assert isinstance(module, _FeatureNet)

        def loss(rng: Rng) -> Tensor:
            rows = rng.integers(len(x), min(64, len(x)))
            real, kind = x[rows], rng.integers(_KINDS, len(rows))
            changed = _disturb(real, kind, rng)
            if labels is not None:
                ways, what = module.content(torch.cat([changed, shift(real, rng, sideways=case.still)]))
                told = F.cross_entropy(what[len(rows) :], labels[rows])
            else:
                ways, what = module.content(torch.cat([changed, _crop(real, rng), _crop(real, rng)]))
                a, b = F.normalize(what[len(rows) :], dim=1).chunk(2)
                pairs = a @ b.T / 0.2
                same = torch.arange(len(rows), device=x.device)
                told = (F.cross_entropy(pairs, same) + F.cross_entropy(pairs.T, same)) / 2
            return told + F.cross_entropy(ways[: len(rows)], kind)

        steps = steps_for(len(x), case.view.shape, 64 * (2 if labels is not None else 3), epochs=60)
        fit(module, loss, rng, steps)
        with torch.no_grad():
            some = x[rng.permutation(len(x))[:2000]]
            h = torch.cat([module(part) for part in some.split(512)])
            deviation = h.std(0)
            module.mean.copy_(h.mean(0))
            module.scale.copy_(deviation.clamp_min(0.1 * float(deviation.median()) + 1e-6))

    net = kept(case, "feature_net", lambda: _FeatureNet(case.view.shape, classes), train)
    return lambda batch: net(case.look(batch))


# --- text -----------------------------------------------------------------------------------------------------------


def _hashed(x: Tensor) -> Tensor:
    """Counts of hashed token 1-, 2- and 3-grams as square roots of shares: ``(N, L) -> (N, 3 * 2048)``.

    Square roots of shares lie on a sphere, where distance is Hellinger's; padding (-1) is left out.
    """
    parts = []
    for order in (1, 2, 3):
        count = max(0, x.shape[1] - order + 1)
        code = torch.zeros(len(x), count, dtype=torch.int64, device=x.device)
        whole = torch.ones(len(x), count, dtype=torch.bool, device=x.device)
        for i in range(order):
            token = x[:, i : i + count]
            code = (code * 1_000_003 + token + 1) & 0x7FFF_FFFF
            whole &= token >= 0
        bucket = ((code * 2_654_435_761) >> 16) % _BUCKETS
        counts = torch.zeros(len(x), _BUCKETS, dtype=torch.float64, device=x.device)
        counts.scatter_add_(1, bucket, whole.double())
        parts.append((counts / counts.sum(1, keepdim=True).clamp_min(1)).sqrt())
    return torch.cat(parts, 1)


def _ngrams(case: Case) -> Extractor:
    """Hashed n-grams, seen along 32 directions in which the training text varies most and 32 fixed random ones.

    The first are latent semantic analysis (Deerwester et al. 1990); the others see what real text never does.
    """
    x = words(case, "train").to(case.device)
    order = Rng(0).permutation(len(x))[:1000].to(x.device)
    seen = _hashed(x[order])
    mean = seen.mean(0)
    values, vectors = torch.linalg.eigh((seen - mean) @ (seen - mean).T)
    top = vectors[:, -_PROJECTED:] / values[-_PROJECTED:].clamp_min(1e-12).sqrt()
    main = (seen - mean).T @ top
    other = Rng(0).normal(3 * _BUCKETS, _PROJECTED).double().to(x.device) / (3 * _BUCKETS) ** 0.5
    basis = torch.cat([main, other], 1)
    scale = ((seen - mean) @ basis).std(0).clamp_min(1e-6)
    return lambda batch: (_hashed(batch) - mean) @ basis / scale


# --- tables ---------------------------------------------------------------------------------------------------------


def _columns(case: Case) -> Extractor:
    """Every column standardised to a total variance of one on the training rows; choices one-hot."""
    spec = case.spec

    def plain(x: Tensor) -> list[Tensor]:
        if not spec.is_tokens:
            parts = []
            for block in spec.blocks:
                part = x[:, block.start : block.start + block.width].double()
                parts += [part[:, :1], part[:, 1:]] if block.kind == "mixture" else [part]
            return [part for part in parts if part.shape[1]]
        local = [x[:, i] - block.start for i, block in enumerate(spec.blocks)]
        return [
            F.one_hot(level.clamp(0, block.width - 1), block.width).double()
            if block.kind == "choice"
            else level.double()[:, None]
            for level, block in zip(local, spec.blocks, strict=True)
        ]

    real = plain(case.train.x.to(case.device))
    means = [part.mean(0) for part in real]
    scales = [part.var(0, unbiased=False).sum().sqrt() for part in real]
    scales = [torch.where(scale > 0, scale, torch.ones_like(scale)) for scale in scales]
    return lambda x: torch.cat([(p - m) / s for p, m, s in zip(plain(x), means, scales, strict=True)], 1)


def frozen(model: Any, batch: Batch) -> Tensor:
    """``(B, D)``: the features of a model that has them (``Represents``), else its codes (``Encodes``)."""
    made: Tensor = model.represent(batch) if has(model, Represents) else model.encode(batch)
    return made.flatten(1)
