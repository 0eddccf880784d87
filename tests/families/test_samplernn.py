"""SampleRNN: tiers are what the definition says, sound is nearer than its levels, and a long piece takes no more memory.

What it shares with WaveNet (samples, strict order, completion, lengths) is in `test_wavenet.py`.
"""

import tracemalloc

import pytest
import torch

from bottega.codecs.audio import AudioCodec
from bottega.core import Batch, Encoded, Rng, Spec
from bottega.data import worlds
from bottega.data.stream import Stream
from bottega.families.samplernn import SampleRNN
from bottega.training.loop import fit
from bottega.training.optim import make_optims

SPEC = Spec((120,), vocab=16, ordinal=True, cond=Spec((), vocab=2))


def test_a_sample_is_said_by_its_frame_and_told_by_both_tiers():
    """The same logits sample by sample, from the tiers called one step at a time."""
    torch.manual_seed(0)
    model = SampleRNN(SPEC, size=8, frame=3).double().eval()
    x = torch.rand(2, 120, dtype=torch.double) * 2 - 1
    known = model.given(torch.tensor([0, 1]), 2)
    with torch.no_grad():
        whole = model._logits(x, known)
        past = torch.cat([torch.zeros(2, 12, dtype=torch.double), x], 1)
        slow = fast = None
        for t in range(120):
            seen = past[:, t : t + 12]
            if t % 12 == 0:
                above, slow = model.slow(seen[:, None], known[:, None], slow)
            if t % 3 == 0:
                step = t // 3 % 4
                told, fast = model.fast(seen[:, None, -3:], above[:, step : step + 1], fast)
            assert torch.allclose(model.say(model.near(seen[:, -3:]) + told[:, t % 3]), whole[:, t], atol=1e-12)


def kept_bytes(stream):
    """Of all tensors that a suspended stream holds, those of the streams inside it too."""
    found, at = {}, stream
    while at is not None and at.gi_frame is not None:
        waiting = list(at.gi_frame.f_locals.values())
        while waiting:
            value = waiting.pop()
            if isinstance(value, torch.Tensor):
                found[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
            elif isinstance(value, list | tuple):
                waiting += value
        at = at.gi_yieldfrom
    return sum(found.values())


def test_what_a_stream_remembers_has_one_size(monkeypatch):
    """Row I12: what a stream holds between its parts, tensors of torch included, and the most memory that Python sees."""
    monkeypatch.setattr("bottega.nets.wave_loop._PART", 128)
    torch.manual_seed(0)
    model = SampleRNN(SPEC, size=8, frame=3).eval()
    most, holds = [], []
    for length in (512, 2048):
        tracemalloc.start()
        stream, kept = model.stream(1, Rng(0), length=length), 0
        sizes = set()
        for part in stream:
            kept += part.shape[1]
            sizes.add(kept_bytes(stream))
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert kept == length
        holds.append(sizes)
    assert most[1] < 1.2 * most[0]
    assert holds[0] == holds[1]
    assert len(holds[1]) == 1
    assert 2 * 8 * 4 < min(holds[1]) < 10_000  # at least what two networks remember


@pytest.mark.slow
def test_speech_takes_fewer_nats_than_the_frequency_of_its_levels():
    data = worlds.load("speech", n=120, rate=8000, label="none")
    codec = AudioCodec(form="mulaw", rate=8000, seconds=0.256, labels="none").fit(data.items)
    x = codec.encode(data.items).x
    train, held = x[:100], x[100:]
    counts = torch.bincount(train.flatten(), minlength=256).double() + 1
    unigram = -(counts / counts.sum()).log()[held].mean().item()
    torch.manual_seed(0)
    model = SampleRNN(codec.spec, size=64)
    fit(model, Stream(Encoded(Batch(train)), 8), make_optims(model, 200, {"lr": 3e-3}), steps=200, rng=Rng(0))
    nats = -model.eval().log_prob(Batch(held), Rng(0)).mean().item() / held.shape[1]
    assert nats < 0.8 * unigram
