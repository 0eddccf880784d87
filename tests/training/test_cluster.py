"""Two processes train one model: the same weights on both, and those that one process would have had."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import torch
from torch import nn

from bottega.training import cluster

CODE = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from toys import ToyGAN, ToyVAE
from bottega.core import Rng, Spec, Terms, Encoded
from bottega.data.stream import Stream
from bottega.testing import examples
from bottega.training import cluster, loop
from bottega.training.checkpoint import weights_hash
from bottega.training.optim import make_optims

torch.set_num_threads(1)

class Quiet(ToyVAE):
    # no noise, so that what ranks draw does not matter; the scale is reached from rank 1 only
    def loss(self, batch, rng):
        mean, _ = self.posterior(batch)
        error = (self._decode(mean, None) - batch.x).square().sum(1)
        return Terms({"error": error * self.log_scale.exp() if cluster.join()[0] or alone else error})

rank, world = cluster.join()
alone = world == 1
data = Encoded(examples(Spec((2,)), 64, Rng(1)))
for family in (ToyVAE, ToyGAN, Quiet):
    torch.manual_seed(rank)
    model = family(Spec((2,)))
    cluster.share(model)
    batches = Stream(data, 8 // world, rank=rank, world=world)
    loop.fit(model, batches, make_optims(model, 5, {"lr": 1e-2}), steps=5, rng=Rng(rank), accum=2)
    print(family.__name__, weights_hash(model.state_dict()), model.decoder.last.bias.tolist() if family is Quiet else 0)
    if not alone:  # fused optimisers need gradients that lie in memory as their parameters do
        weight = torch.nn.Parameter(torch.zeros(2, 3, 2, 2).to(memory_format=torch.channels_last))
        weight.grad = torch.arange(24.0).view(2, 3, 2, 2) if rank else None
        assert cluster.all_reduce([weight], torch.tensor(1.5)).item() == 3
        assert weight.grad.stride() == weight.stride()
        assert torch.equal(weight.grad.flatten(), torch.arange(24.0))
cluster.leave()
"""


def start(rank, world, port):
    env = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1"}
    env |= {"MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    here = str(Path(__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CODE), here], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_two_processes_hold_the_same_weights_and_agree_with_one():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    started = [start(0, 2, port), start(1, 2, port), start(0, 1, port)]
    done = [p.communicate(timeout=200) for p in started]
    assert all(p.returncode == 0 for p in started), [e.decode()[-2000:] for _, e in done]
    first, second, alone = ([line.split(" ", 2) for line in out.decode().splitlines()] for out, _ in done)
    assert [name for name, *_ in first] == ["ToyVAE", "ToyGAN", "Quiet"]
    assert first == second
    # rank 0 leaves the scale out, which starts at exp(0) = 1 and has moved little after five steps
    a, b = (torch.tensor([float(x) for x in lines[2][2].strip("[]").split(",")]) for lines in (first, alone))
    assert torch.allclose(a, b, atol=2e-3)


def test_alone_there_is_nothing_to_join_share_or_reduce(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert cluster.join() == (0, 1)
    net = nn.Linear(2, 2)
    cluster.share(net)
    net.weight.grad = torch.ones(2, 2)
    count = torch.tensor(5.0)
    assert cluster.all_reduce(list(net.parameters()), count) is count
    assert torch.equal(net.weight.grad, torch.ones(2, 2))
    cluster.leave()
