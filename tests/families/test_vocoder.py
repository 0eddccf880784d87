"""The vocoder on tones."""

import pytest
import torch

from bottega.core import Batch, RecipeError, Rng, Spec
from bottega.data._sounds import tones
from bottega.families.vocoder import Vocoder
from bottega.nets.pitch import pitch_hz, yin
from helpers import trained


def test_it_comes_near_to_what_it_was_taught():
    """Tones of eight pitches: the copy's spectrum is nearer than that of a model that learned nothing."""
    data = tones(n=32, seconds=0.256, rate=8000)
    x = torch.stack([torch.from_numpy(i.value.samples) for i in data.items])
    torch.manual_seed(0)
    args = {"size": 32, "depth": 2, "rate": 8000, "window": 256, "hop": 64, "mels": 24}
    raw = Vocoder(Spec((1, x.shape[2])), **args)
    before = raw.loss(Batch(x[:8]), Rng(0)).means()["mel"]
    model = trained(raw, Batch(x), 60, lr=1e-2, rows=8)
    after = model.loss(Batch(x[:8]), Rng(0)).means()["mel"]
    assert after < 0.5 * before
    z = model.encode(Batch(x[:2]))
    assert model.decode(z).shape == x[:2].shape
    waves = model.waves(z[:, :-1, :-1] * 25 - 25, pitch_hz(z[:, -1, :-1]))
    assert waves.shape == (2, 64 * (z.shape[2] - 1))


def test_settings_that_make_no_sense_are_refused():
    for wrong in ({"window": 1000}, {"hop": 0}, {"size": 0}):
        with pytest.raises(RecipeError):
            Vocoder(Spec((1, 1024)), **wrong)
    assert "nothing else" in Vocoder.accepts(Spec((1, 1024), cond=Spec((), vocab=3)))
    assert "waveforms" in Vocoder.accepts(Spec((64,), vocab=256, ordinal=True))


def test_the_pitch_of_what_comes_out_is_the_one_that_is_asked():
    """The bands of a tone of 200 Hz, said at other pitches: F0 goes along, by any weights; where there is no voice none is heard."""
    torch.manual_seed(0)
    model = Vocoder(Spec((1, 8192)), size=16, depth=1)
    at = torch.arange(16000) / 16000
    tone = sum(torch.sin(2 * torch.pi * 200 * k * at) / k for k in range(1, 30))
    x = 0.1 * tone
    db = (model._bands(x[None]) * 25 - 25)[:, :, :62]
    for asked in (150.0, 180.0, 260.0):
        made = model.waves(db, torch.full((1, 62), asked))[0]
        f0 = yin(made, 16000, 256)
        assert abs(12 * (f0[f0 > 0].median() / asked).log2()) < 0.1
        assert (f0 > 0).float().mean() > 0.8
    smooth = (model._bands(0.1 * torch.randn(1, 16000)) * 25 - 25)[:, :, :62]
    whispered = yin(model.waves(smooth, torch.zeros(1, 62))[0], 16000, 256)
    assert (whispered > 0).float().mean() < 0.2
