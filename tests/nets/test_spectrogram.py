"""Spectra agree with librosa's, have a gradient, and come back as sound."""

import numpy as np
import pytest
import torch

from bottega.core import RecipeError
from bottega.data import worlds
from bottega.nets.spectrogram import LogMel, fitted, griffin_lim, istft, mel_filters, spectral_convergence, stft, unmel

SETTINGS = [(16000, 1024, 128, 128), (22050, 2048, 512, 128), (8000, 512, 64, 64), (44100, 2048, 441, 80)]


@pytest.fixture(scope="module")
def voice() -> torch.Tensor:
    return torch.from_numpy(worlds.load("speech", n=1, seed=3).items[0].value.mono().copy())


@pytest.mark.parametrize(("rate", "window", "hop", "mels"), SETTINGS)
def test_log_mel_spectra_are_librosas(voice, rate, window, hop, mels):
    librosa = pytest.importorskip("librosa", reason="the oracle of mel spectra, extra audio, is not installed")
    y = voice.double()
    theirs = librosa.feature.melspectrogram(
        y=y.numpy(), sr=rate, n_fft=window, hop_length=hop, n_mels=mels, pad_mode="constant"
    )
    ours = LogMel(rate, window, hop, mels)(y).numpy()
    oracle = 10 * np.log10(np.maximum(theirs, 1e-10))
    assert np.abs(ours - oracle).max() < 1e-4  # decibels
    single = LogMel(rate, window, hop, mels)(voice).numpy()
    top = oracle.max()
    scaled = [(2 * (db - top) / 80 + 1).clip(-1, 1) for db in (single, oracle)]
    assert np.abs(scaled[0] - scaled[1]).max() < 1e-4  # what a model sees, in single precision
    assert (
        np.abs(mel_filters(rate, window, mels).numpy() - librosa.filters.mel(sr=rate, n_fft=window, n_mels=mels)).max()
        < 1e-7
    )


def test_log_mel_spectra_have_the_gradient_of_their_differences():
    net = LogMel(8000, 64, 16, 6).double()
    x = torch.randn(1, 96, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, (x,), eps=1e-6, atol=1e-4)


def test_the_inverse_of_a_spectrum_is_the_sound(voice):
    x = torch.stack([voice[:4096], voice[1000:5096]])
    assert (istft(stft(x, 512, 128), 512, 128, 4096) - x).abs().max() < 1e-5


def test_fast_griffin_lim_is_as_near_as_librosas():
    """Over nine pieces: from one random start to the next either is up to twice as near."""
    librosa = pytest.importorskip("librosa", reason="the oracle of Griffin-Lim, extra audio, is not installed")
    ours, slow, theirs = [], [], []
    for k, item in enumerate(worlds.load("speech", n=9, seed=3).items):
        magnitude = stft(fitted(torch.from_numpy(item.value.mono().copy()), 6144), 512, 128).abs()
        for found, momentum in ((ours, 0.99), (slow, 0.0)):
            x = griffin_lim(magnitude, 512, 128, 6144, 32, momentum=momentum)
            found.append(spectral_convergence(x, magnitude, 512, 128))
        made = librosa.griffinlim(
            magnitude.numpy(), n_iter=32, hop_length=128, n_fft=512, length=6144, pad_mode="constant", random_state=k
        )
        theirs.append(spectral_convergence(torch.from_numpy(made), magnitude, 512, 128))
    ours, slow, theirs = (torch.stack(found).mean() for found in (ours, slow, theirs))
    assert ours < theirs * 1.15
    assert ours < 0.8 * slow


def test_a_row_becomes_the_same_alone(voice):
    magnitude = stft(torch.stack([voice[:2048], voice[2048:4096]]), 256, 64).abs()
    both = griffin_lim(magnitude, 256, 64, 2048, 8)
    assert torch.allclose(both[1:], griffin_lim(magnitude[1:], 256, 64, 2048, 8), atol=1e-4)


def test_mel_inversion_never_goes_below_zero_and_is_nearer_than_librosas(voice):
    librosa = pytest.importorskip("librosa", reason="the oracle of mel inversion, extra audio, is not installed")
    filters = mel_filters(16000, 1024, 80)
    mel = filters @ stft(voice[:4096], 1024, 256).abs().square()
    found = unmel(mel, filters)
    theirs = librosa.feature.inverse.mel_to_stft(mel.numpy(), sr=16000, n_fft=1024) ** 2
    away = [
        np.linalg.norm(filters.numpy() @ s - mel.numpy()) / np.linalg.norm(mel.numpy()) for s in (found.numpy(), theirs)
    ]
    assert found.min() >= 0
    assert away[0] < max(0.01, away[1])


def test_more_filters_than_bins_are_refused():
    with pytest.raises(RecipeError, match="mel filters lie between the bins"):
        mel_filters(16000, 256, 200)
    with pytest.raises(RecipeError, match="stay below 4000 Hz"):
        mel_filters(8000, 256, 20, high=5000.0)
