"""What the judges of speech share: examples as decibels and words, trained ears, and pairs of frames that say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bottega.judge._case import Case
from bottega.judge._listener import Ear, VoiceNet, Word, WordLoop, train_ear, train_voices
from bottega.judge._nets import kept

__all__ = ["ear_of", "mels_of", "paired", "parts_of_voices", "remade", "sounds_of", "voice_net_of", "words_of"]

_EAR_STEPS, _VOICE_STEPS = 300, 200


def mels_of(layout: Mapping[str, Any], x: Tensor) -> list[Tensor]:
    """Decibels ``(T, mels)`` of examples ``(N, 1, mels + 3, frames)``, cut where each ends; never fewer than 4 frames."""
    mels = layout["mels"]
    db = (x[:, 0, :mels].float() - 1) * layout["range_db"] / 2 + layout["top_db"]
    there = (x[:, 0, mels + 2] > -1 + 1 / layout["length"]).sum(1).clamp_min(4)
    return [row[:, :t].T.contiguous() for row, t in zip(db, there.tolist(), strict=True)]


def words_of(layout: Mapping[str, Any], cond: Tensor) -> tuple[list[Word], list[int]]:
    """The words of tokens ``(length,)``, each as its sounds; and all sounds, pauses and marks in a row.

    Sounds are counted from ``layout["voices"]`` on; in words those that differ in stress alone are one (``alike``).
    """
    parts = {layout["gap"], layout["start"], *layout["marks"]}
    words: list[Word] = []
    word: list[int] = []
    row = []
    for token in cond[1:].tolist():
        if token >= layout["end"]:
            break
        row.append(token - layout["voices"])
        if token in parts:
            if word:
                words.append(tuple(word))
            word = []
        else:
            word.append(layout["alike"][token - layout["voices"]])
    if word:
        words.append(tuple(word))
    return words, row


def sounds_of(layout: Mapping[str, Any], x: Tensor, cond: Tensor) -> list[Tensor]:
    """The sound of each frame ``(T,)`` of examples whose places are known; -1 where there is none."""
    places = ((x[:, 0, layout["mels"] + 2] + 1) * (layout["length"] / 2)).round().long().clamp(0, layout["length"] - 1)
    alike = torch.tensor([*layout["alike"], -1], device=x.device)
    named = (cond.gather(1, places) - layout["voices"]).clamp(0, len(alike) - 1)
    sounds = torch.where(places > 0, alike[named], -1)
    there = (places > 0).sum(1).clamp_min(4)
    return [row[:t] for row, t in zip(sounds, there.tolist(), strict=True)]


def parts_of_voices(case: Case) -> tuple[set[int], set[int]]:
    """Voices that ears are trained on, and those that they judge: every other one, as they come in the data."""
    assert case.train.cond is not None
    voices = case.train.cond[:, 0].unique().tolist()
    return set(voices[1::2]), set(voices[::2])


def ear_of(case: Case) -> tuple[Ear, WordLoop]:
    """Trained on real recordings of the one half of the voices; it knows the words of all training examples."""
    layout = case.facts["speech"]
    assert case.train.cond is not None
    teach, _ = parts_of_voices(case)
    rows = torch.tensor([int(v) in teach for v in case.train.cond[:, 0].tolist()])
    cond = case.train.cond.cpu()
    found = [words_of(layout, c) for c in cond]
    known = sorted({word for words, _ in found for word in words})
    x = case.train.x[rows.to(case.device)]
    mels = mels_of(layout, x)
    said = sounds_of(layout, x, case.train.cond[rows.to(case.device)])
    labels = layout["end"] - layout["voices"]
    net = kept(case, "ear", lambda: Ear(layout["mels"], labels),
               lambda net, rng: train_ear(net, mels, said, rng, _EAR_STEPS))  # type: ignore[arg-type]  # fmt: skip
    fillers = [t - layout["voices"] for t in (layout["gap"], layout["start"], *layout["marks"])]
    return net, WordLoop(known, fillers)  # type: ignore[return-value]


def heard_by(net: Ear, loop: WordLoop, mels: Sequence[Tensor]) -> list[list[Word]]:
    """The words of recordings ``(T, mels)`` in dB."""
    out = []
    with torch.no_grad():
        for mel in mels:
            probs = net(mel[None], torch.tensor([len(mel)], device=mel.device))[0]
            out.append(loop.hear(probs.cpu().numpy()))
    return out


def voice_net_of(case: Case) -> VoiceNet:
    """Trained on real recordings of the one half of the voices."""
    layout = case.facts["speech"]
    assert case.train.cond is not None
    teach = sorted(parts_of_voices(case)[0])
    names = case.train.cond[:, 0].tolist()
    rows = torch.tensor([v in teach for v in names])
    mels = mels_of(layout, case.train.x[rows.to(case.device)])
    voices = [teach.index(v) for v in names if v in teach]
    return kept(case, "voices", lambda: VoiceNet(layout["mels"], len(teach)),
                lambda net, rng: train_voices(net, mels, voices, rng, _VOICE_STEPS))  # type: ignore[arg-type, return-value]  # fmt: skip


def remade(case: Case, most: int = 48) -> tuple[Tensor, Tensor, Tensor]:
    """Held-out examples, the same made anew by the model from what is known of them, and that."""
    if "remade" not in case.cache:
        assert case.model is not None
        held = case.held.take(slice(0, most)).to(case.device)
        assert held.cond is not None
        was = case.model.training
        case.model.eval()
        made = torch.cat(
            [case.model.sample(len(b), case.rng("remade"), b.cond) for b in held.split(-(-len(held) // 16))]
        )
        case.model.train(was)
        case.cache["remade"] = (held.x, made, held.cond)
    return case.cache["remade"]


def paired(a: Tensor, b: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which frames of two recordings ``(T, mels)`` in dB say the same: dynamic time warping (Sakoe and Chiba 1978).

    The distance is that of 12 cepstra without their level, as mel-cepstral distortion has it.
    """
    n = a.shape[1]
    at = torch.arange(n) + 0.5
    basis = (torch.cos(torch.pi / n * at * torch.arange(1, 13)[:, None]) * (2 / n) ** 0.5).T
    cost = torch.cdist(a.cpu() @ basis, b.cpu() @ basis).numpy()
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0
    for d in range(rows + columns - 1):  # along diagonals, all places at once
        i = np.arange(max(0, d - columns + 1), min(rows, d + 1))
        j = d - i
        total[i + 1, j + 1] = cost[i, j] + np.minimum(np.minimum(total[i, j], total[i, j + 1]), total[i + 1, j])
    i, j, way = rows, columns, []
    while i and j:
        way.append((i - 1, j - 1))
        i, j = min(((i - 1, j - 1), (i - 1, j), (i, j - 1)), key=lambda p: total[p])
    one, two = np.array(way[::-1]).T
    return one, two
