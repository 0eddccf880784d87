"""Optimisers do what torch's do, schedules pass the points they should, each player has its own settings."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from bottega.core import RecipeError, Spec
from bottega.nets.mlp import MLP
from bottega.training import checkpoint
from bottega.training import muon as muons
from bottega.training.muon import Muon, orthogonal
from bottega.training.optim import Optim, make_optims
from toys import ToyGAN, ToyVAE


def random_steps(model, optim, steps, before=lambda step: None):
    noise = torch.Generator().manual_seed(0)
    for step in range(steps):
        before(step)
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=noise)
        optim.step()


def test_adamw_is_torchs_for_a_hundred_steps():
    torch.manual_seed(0)
    ours, theirs = (net := MLP(3, 2, (8, 8))), copy.deepcopy(net)
    optim = Optim(ours, 100, lr=3e-3, beta1=0.8, beta2=0.95, weight_decay=0.1, schedule="constant", warmup=0)
    random_steps(ours, optim, 100, optim.at)
    matrices = [p for p in theirs.parameters() if p.ndim >= 2]
    vectors = [p for p in theirs.parameters() if p.ndim < 2]
    torchs = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=3e-3,
        betas=(0.8, 0.95),
    )
    random_steps(theirs, torchs, 100)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("adjust", ["original", "match_rms_adamw"])
def test_muon_in_bfloat16_is_torchs(monkeypatch, adjust):
    monkeypatch.setattr(muons, "bf16_is_fast", lambda device: True)
    torch.manual_seed(0)
    ours = nn.ModuleList([nn.Linear(a, b, bias=False) for a, b in ((8, 8), (8, 24), (24, 8), (8, 24))])
    theirs = copy.deepcopy(ours)
    for net, kind in ((ours, Muon), (theirs, torch.optim.Muon)):
        random_steps(net, kind(net.parameters(), lr=0.02, weight_decay=0.1, adjust_lr_fn=adjust), 20)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-3)  # bfloat16 products of a stack are not summed in the same order


def test_muon_is_in_float32_where_that_is_faster_and_does_the_same(monkeypatch):
    found = []
    for fast in (False, True):
        monkeypatch.setattr(muons, "bf16_is_fast", lambda device, fast=fast: fast)
        torch.manual_seed(0)
        net = nn.Linear(8, 24, bias=False)
        random_steps(net, Muon(net.parameters(), lr=0.02), 20)
        found.append(net.weight.detach())
    assert 0 < (found[0] - found[1]).abs().max() < 0.02


def test_newton_schulz_brings_singular_values_near_one_and_keeps_the_vectors():
    torch.manual_seed(0)
    x = torch.randn(3, 6, 10, dtype=torch.float64)
    made = orthogonal(x, (3.4445, -4.7750, 2.0315), 5, 1e-7)
    left, values, right = torch.linalg.svd(x, full_matrices=False)
    inside = left.mT @ made @ right.mT
    assert torch.allclose(inside, torch.diag_embed(inside.diagonal(dim1=1, dim2=2)), atol=1e-9)
    values = inside.diagonal(dim1=1, dim2=2)
    assert values.min() > 0.6
    assert values.max() < 1.25
    assert torch.allclose(orthogonal(x.mT, (3.4445, -4.7750, 2.0315), 5, 1e-7), made.mT)


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.conv = nn.Embedding(5, 4), nn.Conv2d(2, 2, 3)
        self.hidden, self.thin = nn.Linear(4, 4), nn.Linear(4, 1)
        self.net = MLP(4, 3, (6,))


def test_muon_moves_hidden_matrices_and_adamw_the_rest():
    model = Mixed()
    optim = Optim(model, 10, name="muon", lr=1e-3, muon_lr=0.02)
    (adamw, lr), (muon, muon_lr) = optim.inner
    assert (type(adamw), lr, type(muon), muon_lr) == (torch.optim.AdamW, 1e-3, Muon, 0.02)
    named = {id(p): n for n, p in model.named_parameters()}
    by_muon = {named[id(p)] for g in muon.param_groups for p in g["params"]}
    by_adamw = {named[id(p)] for g in adamw.param_groups for p in g["params"]}
    assert by_muon == {"hidden.weight", "net.layers.0.weight"}
    assert by_muon | by_adamw == set(named.values())
    assert not by_muon & by_adamw
    decayed = {named[id(p)] for g in adamw.param_groups if g["weight_decay"] for p in g["params"]}
    assert decayed == {"embed.weight", "conv.weight", "thin.weight", "net.last.weight"}
    before = model.hidden.weight.detach().clone()
    random_steps(model, optim.at(1), 1)
    rise = optim.factor(1)  # an orthogonal step: all singular values near one another
    steps = torch.linalg.svdvals((before * (1 - 0.02 * rise * 0.01) - model.hidden.weight).detach()) / (0.02 * rise)
    assert (steps > 0.5).all()
    assert (steps < 1.5).all()


FACTORS = {
    "constant": {0: 1 / 11, 4: 5 / 11, 10: 1.0, 60: 1.0, 109: 1.0},
    "cosine": {0: 1 / 11, 10: 1.0, 60: 0.55, 110: 0.1, 200: 0.1},
    "linear": {0: 1 / 11, 10: 1.0, 60: 0.55, 85: 0.325, 110: 0.1},
    "wsd": {0: 1 / 11, 10: 1.0, 60: 1.0, 90: 1.0, 100: 0.55, 110: 0.1},
}


@pytest.mark.parametrize("schedule", FACTORS)
def test_a_schedule_passes_the_points_it_should(schedule):
    optim = Optim(MLP(1, 1, (2,)), 110, schedule=schedule, warmup=10, floor=0.1)
    for step, factor in FACTORS[schedule].items():
        assert optim.factor(step) == pytest.approx(factor), step
    optim.at(60)
    assert {g["lr"] for inner, _ in optim.inner for g in inner.param_groups} == {1e-3 * optim.factor(60)}


def test_warmup_below_one_is_a_fraction_of_the_steps():
    a, b = (Optim(MLP(1, 1, (2,)), 100, warmup=w) for w in (0.05, 5))
    assert [a.factor(s) for s in range(100)] == [b.factor(s) for s in range(100)]


def test_each_player_has_its_own_table():
    optims = make_optims(ToyGAN(Spec((2,))), 10, {"lr": 1e-3, "beta1": 0.5, "critic": {"lr": 4e-3}})
    assert list(optims) == ["critic", "generator"]
    assert [o.inner[0][1] for o in optims.values()] == [4e-3, 1e-3]
    assert {g["betas"][0] for o in optims.values() for g in o.inner[0][0].param_groups} == {0.5}


@pytest.mark.parametrize(
    ("family", "table", "says"),
    [
        (ToyGAN, {"critc": {"lr": 1.0}}, r"\[optim.critc\] names no player of ToyGAN; its players: critic, generator"),
        (ToyVAE, {"critic": {"lr": 1.0}}, r"\[optim.critic\] names no player of ToyVAE; its players: one, unnamed"),
        (ToyVAE, {"name": "adam"}, "optim.name is 'adam'; use 'adamw' or 'muon'"),
        (ToyVAE, {"schedule": "step"}, "optim.schedule is 'step'; use"),
        (ToyVAE, {"lr": 0.0}, "must be above 0"),
        (ToyVAE, {"beta1": 1.0}, r"optim.beta1 is 1.0 and optim.beta2 0.99; both must lie in \[0, 1\)"),
        (ToyVAE, {"beta2": -0.5}, "optim.beta2 -0.5"),
        (ToyVAE, {"weight_decay": -1.0}, "optim.weight_decay is -1.0"),
        (ToyVAE, {"warmup": -1.0}, "warmup -1.0; neither may be negative"),
        (ToyVAE, {"floor": 2.0}, "optim.floor is 2.0"),
        (ToyVAE, {"decay": 1.5}, "optim.decay 1.5; both are fractions"),
    ],
)
def test_a_wrong_table_is_refused(family, table, says):
    with pytest.raises(RecipeError, match=says):
        make_optims(family(Spec((2,))), 10, table)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_state_goes_on_bit_for_bit(name):
    torch.manual_seed(0)
    one = Mixed()
    a = Optim(one, 10, name=name)
    random_steps(one, a, 3, a.at)
    other = copy.deepcopy(one)
    b = Optim(other, 10, name=name)
    b.load_state({k: v.clone() for k, v in a.state().items()})
    random_steps(one, a, 2, a.at)
    random_steps(other, b, 2, b.at)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))
    assert a.state().keys() == b.state().keys()


def test_a_loaded_state_lies_in_memory_as_its_parameter_does(tmp_path):
    """Fused AdamW pairs numbers as they lie, so another order (channels_last) would move the wrong weights."""
    torch.manual_seed(0)
    one = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    a = Optim(one, 10)
    random_steps(one, a, 3, a.at)
    checkpoint.save(tmp_path / "a.safetensors", a.state(), {})
    other = copy.deepcopy(one)
    b = Optim(other, 10)
    b.load_state(checkpoint.load(tmp_path / "a.safetensors")[0])
    random_steps(one, a, 2, a.at)
    random_steps(other, b, 2, b.at)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def test_zero_grad_forgets():
    net = MLP(1, 1, (2,))
    optim = Optim(net, 1)
    random_steps(net, optim, 1)
    optim.zero_grad()
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize(("fused", "where"), [(True, "meta"), (False, "cpu")])
def test_a_step_count_is_put_where_the_kernel_looks_for_it(fused, where):
    layer = nn.Linear(2, 2, device="meta")  # as a GPU would be: elsewhere than the file's tensors
    optim = Optim(layer, 10)
    for group in optim.inner[0][0].param_groups:
        group["fused"] = fused
    optim.load_state({"weight/step": torch.tensor(3.0), "bias/step": torch.tensor(3.0)})
    assert {state["step"].device.type for state in optim.inner[0][0].state.values()} == {where}
