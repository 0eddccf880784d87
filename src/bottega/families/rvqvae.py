"""RVQ-VAE: sound as a few whole numbers every few milliseconds, each of which says more exactly what those before left out."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bottega.core import Batch, Family, RecipeError, Rng, Spec, Terms
from bottega.nets.condition import Condition, check_drop, no_picture
from bottega.nets.spectrogram import stft
from bottega.nets.vq import Codebook

__all__ = ["RVQVAE"]

_WINDOWS = (64, 256, 1024)  # samples, of the spectra that are compared


class _Residual(nn.Module):
    """Three dilated convolutions, each added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Sequential(nn.ELU(), nn.Conv1d(width, width, 3, padding=d, dilation=d), nn.ELU(), nn.Conv1d(width, width, 1))
            for d in (1, 3, 9)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = x + part(x)
        return x


class _Book(nn.Module):
    """A codebook that looks at few directions of the residual (Kumar et al. 2023, arXiv:2306.06546, section 3.2)."""

    def __init__(self, inside: int, codes: int, width: int) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(inside, width), nn.Linear(width, inside)
        self.codebook = Codebook(codes, width)


class _Down(nn.Conv1d):
    """A convolution with a stride; in float32 where it has few channels.

    oneDNN 3.12 gives wrong numbers in bfloat16 on AMX for 8 and 12 channels with a kernel of 8 and a stride of 4 (seen with torch
    2.13: as far off as noise), and for more channels right ones.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.in_channels >= 16:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class RVQVAE(Family):
    """A convolutional autoencoder whose code is quantised again and again (Zeghidour et al. 2021, arXiv:2107.03312).

    ``hop`` samples become a vector; a codebook says the nearest of its codes, the next one what is then still missing, and so
    on (residual vector quantisation, section III-C), ``codebooks`` numbers of ``log2(codes)`` bits for ``hop`` samples. In half
    of the rows of the training only the first few codebooks speak, so that fewer may be kept: quality is chosen when a sound
    is written, not when the model is trained. No adversary: sounds are as near to the original as the bits allow.

    The loss is ``10 log10(|x - y|^2 / |x|^2)``, in dB, plus ``spectrum`` times the mean distance of log-magnitudes in
    spectra of three windows, in dB, plus ``commit`` times the commitment. A code is a small picture of whole numbers,
    ``Spec((1, frames, codebooks), vocab=codes)``: train a ``gpt`` on them through the codec ``latent``, and its samples decode to
    sound. Alone the family has the simplest prior, each number a categorical of its own: how often each code was chosen of
    late, moved by ``cond`` where there is one.

    Args:
        spec: waveforms ``(1, T)``.
        size: channels next to the samples; they double with every stride.
        hop: samples of a frame, a power of two of at least 4.
        codebooks: how many there are.
        codes: in each.
        width: numbers in a code's vector.
        spectrum: weight of the spectra.
        commit: weight of the commitment; with 1 all vectors came to point one way before the decoder had asked for any (LOG.md).
        drop: how often ``cond`` is hidden from the prior in training.
    """

    aside: ClassVar[frozenset[str]] = frozenset({"prior"})
    reach: ClassVar[int] = 16  # frames: what lies further away does not matter, neither for a code nor for a sample
    hears: ClassVar[bool] = True
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "one book": {"codebooks": 1, "codes": 4, "hop": 4, "spectrum": 0.0}
    }

    def __init__(
        self, spec: Spec, *, size: int = 24, hop: int = 32, codebooks: int = 8, codes: int = 256, width: int = 8,
        spectrum: float = 0.2, commit: float = 0.1, drop: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__(spec)
        if min(size, codebooks, width) < 1 or codes < 2 or min(spectrum, commit) < 0 or hop < 4 or hop & (hop - 1):
            raise RecipeError(
                f"size={size}, codebooks={codebooks}, width={width}, codes={codes}, spectrum={spectrum}, commit={commit}, hop={hop}: at "
                "least 1, 1, 1, 2, 0, 0, and the hop a power of two of at least 4"
            )
        check_drop(drop)
        self.hop, self.spectrum, self.commit, self.drop = hop, spectrum, commit, drop
        strides = [4] * (hop.bit_length() // 2) if hop.bit_length() % 2 else [*[4] * (hop.bit_length() // 2 - 1), 2]
        down: list[nn.Module] = [nn.Conv1d(1, size, 7, padding=3)]
        up: list[nn.Module] = []
        now = size
        for s in strides:
            down += [_Residual(now), nn.ELU(), _Down(now, 2 * now, 2 * s, stride=s, padding=s // 2)]
            up = [nn.ELU(), nn.ConvTranspose1d(2 * now, now, 2 * s, stride=s, padding=s // 2), _Residual(now), *up]
            now *= 2
        self.encoder, self.inside = nn.Sequential(*down, nn.ELU(), nn.Conv1d(now, now, 3, padding=1)), now
        self.decoder = nn.Sequential(nn.Conv1d(now, now, 7, padding=3), *up, nn.ELU(), nn.Conv1d(size, 1, 7, padding=3))
        self.codebooks = nn.ModuleList(_Book(now, codes, width) for _ in range(codebooks))
        self.frames = -(-spec.shape[1] // hop)
        self.latent = Spec((1, self.frames, codebooks), vocab=codes)
        known = size if spec.cond else 0
        self.known = Condition(spec.cond, known)
        self.given = nn.Linear(known, codebooks * codes) if known else None

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Waveforms of one channel."""
        if not spec.is_wave or spec.shape[0] != 1:
            return "it codes waveforms (1, T); set codec.form = 'wave', and use vqvae for pictures"
        return no_picture(spec)

    def settle(self, step: int) -> None:
        """Move the codebooks."""
        for book in self.codebooks:
            book.codebook.settle(step)

    def _inner(self, x: Tensor) -> Tensor:
        """Samples ``(B, 1, T)`` of any length as vectors ``(B, frames, inside)``."""
        return self.encoder(F.pad(x, (0, -x.shape[2] % self.hop))).mT.float()

    def _outer(self, h: Tensor, length: int) -> Tensor:
        """Vectors ``(B, frames, inside)`` as samples ``(B, 1, length)``."""
        return self.decoder(h.mT)[:, :, :length].float()

    def _quantised(self, h: Tensor, speak: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors ``(B, frames, inside)`` as said by the codebooks, the codes ``(B, frames, codebooks)``, and the commitment ``(B,)``.

        ``speak`` ``(B,)`` is how many codebooks are heard of each row; all by default.
        """
        left, said, numbers = h, torch.zeros_like(h), []
        commit = h.new_zeros(len(h))
        for k, book in enumerate(self.codebooks):
            vector, index, error = book.codebook(book.into(left))
            part = book.out(vector)
            left = left - part
            heard = h.new_ones(len(h)) if speak is None else (speak > k).to(h.dtype)
            said = said + part * heard[:, None, None]
            commit = commit + error.mean(1) * heard
            numbers.append(index)
        return said, torch.stack(numbers, 2), commit

    def _logits(self, cond: Tensor | None, n: int, forget: Tensor | None = None) -> Tensor:
        """Of the prior, ``(B, codebooks, codes)``."""
        use = torch.stack([book.codebook.use for book in self.codebooks])
        logits = (use + 0.01 * use.mean(1, keepdim=True) + 1e-6).log().expand(n, -1, -1)
        if self.given is None:
            return logits
        return logits + self.given(self.known(cond, n, forget)).float().unflatten(1, use.shape)

    def _rate(self, z: Tensor, logits: Tensor) -> Tensor:
        """Nats of codes ``(B, frames, codebooks)`` under the prior, ``(B,)``."""
        return -logits.log_softmax(2).gather(2, z.mT).sum((1, 2))

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """``noise`` and ``spectrum`` in dB, ``commit`` a weighted squared error, ``prior`` in nats where there is a ``cond``."""
        x, n = batch.x, len(batch)
        few = 1 + (rng.uniform(n) * len(self.codebooks)).long()
        speak = torch.where(rng.uniform(n) < 0.5, few, len(self.codebooks))
        forget = rng.uniform(n) < self.drop if self.given is not None else None
        said, z, commit = self._quantised(self._inner(x), speak)
        made = self._outer(said, x.shape[2])
        wrong, right = (x - made).square().mean((1, 2)), x.square().mean((1, 2))
        parts = {"noise": 10 * ((wrong + 1e-7).log10() - (right + 1e-7).log10())}
        if self.spectrum:
            apart = [self._apart(x[:, 0], made[:, 0], w) for w in _WINDOWS if w <= x.shape[2]]
            parts["spectrum"] = self.spectrum * torch.stack(apart or [wrong]).mean(0)
        parts["commit"] = self.commit * commit
        if self.given is not None:
            parts["prior"] = self._rate(z, self._logits(batch.cond, n, forget))
        return Terms(parts)

    @staticmethod
    def _apart(x: Tensor, y: Tensor, window: int) -> Tensor:
        """Mean distance of two sounds' log-magnitudes, dB, ``(B,)``; nothing below -60 dB of full scale counts."""
        a, b = (10 * torch.log10(stft(t, window, window // 4).abs().square() / window + 1e-6) for t in (x, y))
        return (a - b).abs().mean((1, 2))

    def squeeze(self, x: Tensor) -> Tensor:
        """The code of sounds of any length: ``(B, 1, T) -> (B, frames, codebooks)`` int64, a frame for each ``hop`` begun."""
        return self._quantised(self._inner(x))[1]

    def expand(self, z: Tensor, codebooks: int = 0) -> Tensor:
        """``(B, frames, codebooks) -> (B, 1, frames * hop)``, by the first ``codebooks``, 0 all.

        Raises:
            RecipeError: the model has not so many.
        """
        h = self._vectors(z, codebooks)
        return self._outer(h, h.shape[1] * self.hop)

    @torch.no_grad()
    def odds(self) -> Tensor:
        """The mass of each code of each book under the prior without ``cond``, ``(codebooks, codes)`` float64."""
        return self._logits(None, 1)[0].double().softmax(1)

    def encode(self, batch: Batch) -> Tensor:
        """Numbers of codes, ``(B, 1, frames, codebooks)`` int64."""
        return self.squeeze(batch.x)[:, None]

    def decode(self, z: Tensor, cond: Tensor | None = None, codebooks: int = 0) -> Tensor:
        """``(B, 1, frames, codebooks) -> (B, 1, T)``, by the first ``codebooks`` of them, 0 all; ``cond`` adds nothing."""
        x = self.expand(z[:, 0], codebooks)
        return x[:, :, : self.spec.shape[1]] if z.shape[2] == self.frames else x

    def _vectors(self, z: Tensor, codebooks: int = 0) -> Tensor:
        most = codebooks or len(self.codebooks)
        if not 0 < most <= len(self.codebooks):
            raise RecipeError(f"codebooks is {codebooks}; this model has {len(self.codebooks)}")
        parts = [book.out(book.codebook.vectors[z[:, :, k]]) for k, book in enumerate(self.codebooks) if k < most]
        return torch.stack(parts).sum(0)

    def bits_a_second(self, rate: int, codebooks: int = 0) -> float:
        """Bits for a second of sound at ``rate`` Hz, before an entropy coder."""
        each = (self.latent.vocab - 1).bit_length()
        return rate / self.hop * (codebooks or len(self.codebooks)) * each

    @torch.no_grad()
    def sample(self, n: int, rng: Rng, cond: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
        """Codes from the simple prior, decoded; a model of the codes (codec ``latent``) draws better ones.

        ``temperature`` divides the prior's logits.
        """
        if not temperature > 0:
            raise RecipeError(f"temperature is {temperature}; it must be above 0, 1 is the prior itself")
        logits = self._logits(cond, n)[:, None] / temperature
        return self.decode(rng.categorical(logits.expand(-1, self.frames, -1, -1))[:, None])
