"""The checks of the contract. Each is one sentence that a family keeps, as a function that raises AssertionError."""

from __future__ import annotations

import copy
import inspect
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bottega.core import Batch, Encoded, Rng, Spec, SpecError
from bottega.data.stream import Stream
from bottega.testing.cases import Subject, specs
from bottega.testing.checking import changed, check, fits, global_randomness_untouched, label, rows, same, state
from bottega.testing.ranks import pair, why_not_sent
from bottega.training import checkpoint, loop
from bottega.training.ema import Ema
from bottega.training.optim import make_optims

# --- what a class is -------------------------------------------------------------------------------------------------


@check(once=True)
def its_constructor_is_its_configuration(subject: Subject) -> None:
    """Keyword arguments with plain defaults, ``size`` among them; an unknown one is refused."""
    family = type(subject.model())
    first, *rest = list(inspect.signature(family).parameters.values())
    assert first.name == "spec", f"the first argument is {first.name!r}, not 'spec'"
    for p in rest:
        assert p.kind is p.KEYWORD_ONLY, f"argument {p.name!r} must be keyword-only and named"
        plain = p.default is None or isinstance(p.default, str | int | float | bool | list | tuple)
        assert plain, f"argument {p.name!r} needs a plain default, has {p.default!r}"
    assert "size" in {p.name for p in rest}, "there is no dial 'size'"
    try:
        family(subject.spec, no_such_setting=1)  # type: ignore[call-arg]
    except TypeError:
        return
    raise AssertionError("an unknown keyword argument is accepted")


@check(once=True)
def it_refuses_what_it_cannot_model(subject: Subject) -> None:
    """A Spec that ``accepts`` refuses is refused by the constructor, in one line that names the mend."""
    family = type(subject.model())
    others = {**specs(), "video": Spec((2, 1, 4, 4)), "names on a grid": Spec((1, 4, 4), vocab=5)}
    for kind, spec in others.items():
        why = family.accepts(spec)
        assert isinstance(why, str), f"accepts({kind}) returns {why!r}, not a str"
        if not why:
            continue
        assert "\n" not in why, f"accepts({kind}) must answer in one line: {why!r}"
        assert len(why.split()) >= 4, f"accepts({kind}) must say what is wrong and the mend: {why!r}"
        said = ""
        try:
            family(spec)
        except SpecError as error:
            said = str(error)
        assert why in said, f"accepts refuses {kind} ({why}) but the constructor says {said!r}"


@check(fullest=True)
def its_state_is_whole(subject: Subject) -> None:
    """No two entries of the state share memory, and a deep copy samples the same."""
    model = subject.model().eval()
    seen: dict[int, str] = {}
    for name, t in model.state_dict().items():
        where = t.untyped_storage().data_ptr()
        assert not t.numel() or where not in seen, f"{name!r} shares memory with {seen[where]!r}; register one of them"
        seen[where] = name
    again = copy.deepcopy(model)
    cond, knobs = label(subject.spec, 2), subject.knobs(model.sample)
    assert same(model.sample(2, Rng(1), cond, **knobs), again.sample(2, Rng(1), cond, **knobs)), (
        "a copy samples otherwise"
    )


# --- losses and turns ------------------------------------------------------------------------------------------------


@check()
def a_loss_is_one_number_per_example(subject: Subject) -> None:
    """Each part and the weight are finite and ``(B,)``; the weight is not negative and carries no graph."""
    model = subject.model()
    turns = model.turns()
    assert turns, "there is no turn"
    for turn in turns:
        for batch in (subject.batch(4), replace(subject.batch(4), cond=None)):
            terms = turn.loss(batch, Rng(2))
            assert terms.parts, f"turn {turn.player!r} has no terms"
            for name, part in terms.parts.items():
                assert part.shape == (4,), f"term {name!r} has shape {tuple(part.shape)}, not (4,): take no mean or sum"
                assert torch.isfinite(part).all(), f"term {name!r} is not finite"
            if terms.weight is not None:
                assert terms.weight.shape == (4,), f"the weight has shape {tuple(terms.weight.shape)}, not (4,)"
                assert (terms.weight >= 0).all(), "the weight is negative"
                assert not terms.weight.requires_grad, "the weight carries a graph"
            assert terms.total.requires_grad, f"the loss of {turn.player!r} does not depend on any weight"


@check()
def a_loss_changes_nothing(subject: Subject) -> None:
    """The same random state gives the same loss again; state, batch and global generators stay as they were."""
    model = subject.model()
    for turn in model.turns():
        batch, before = subject.batch(4), state(model)
        with global_randomness_untouched(f"the loss of {turn.player!r}"):
            first = turn.loss(batch, Rng(3)).total
        assert not (what := changed(before, model)), f"the loss changes {what[0]!r}; change it in settle"
        assert same(turn.loss(batch, Rng(3)).total, first, 1e-6), "the same loss differs when asked again"
        assert same(batch.x, subject.batch(4).x, 0), "the loss writes into the batch"


@check(fullest=True)
def only_the_player_moves(subject: Subject) -> None:
    """A turn moves its player; the others keep weights, buffers and empty gradients, and are thawed afterwards."""
    model = subject.model()
    trainable = {k for k, p in model.named_parameters() if p.requires_grad}
    for turn in model.turns():
        prefix = f"{turn.player}." if turn.player else ""
        before = state(model)
        optim = torch.optim.SGD(model.get_submodule(turn.player).parameters(), 0.1)
        subject.play(model, turn, subject.batch(4), optim, Rng(2))
        moved = changed(before, model)
        assert any(k.startswith(prefix) for k in moved), f"the turn of {turn.player!r} moves nothing"
        others = [k for k in moved if not k.startswith(prefix)]
        assert not others, f"the turn of {turn.player!r} moves {others[0]!r}"
        for name, p in model.named_parameters():
            if not name.startswith(prefix):
                assert p.grad is None, f"the turn of {turn.player!r} leaves a gradient on {name!r}"
            assert p.requires_grad == (name in trainable), f"the turn of {turn.player!r} leaves {name!r} frozen"
        model.zero_grad(set_to_none=True)


@check()
def every_parameter_is_reached(subject: Subject) -> None:
    """Over all turns, with and without condition, each parameter gets a gradient (or says ``unused = True``)."""
    model = subject.model()
    missing = {k for k, p in model.named_parameters() if p.requires_grad and not getattr(p, "unused", False)}
    for turn in model.turns():
        for batch in (subject.batch(7), replace(subject.batch(7), cond=None)):
            with loop.only(model, turn.player):
                model.zero_grad(set_to_none=True)
                turn.loss(batch, Rng(2)).total.sum().backward()  # type: ignore[no-untyped-call]
            missing -= {k for k, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert not missing, f"no turn reaches {sorted(missing)[0]!r} ({len(missing)} in all)"


def _coupled(subject: Subject) -> str:
    return f"coupled: {subject.facts.coupled}" if subject.facts.coupled else ""


@check(_coupled)
def rows_are_independent(subject: Subject) -> None:
    """With a random stream for each row, the loss of a row does not depend on the other rows."""
    model, batch = subject.model(), subject.batch(4)
    for turn in model.turns():
        terms = turn.loss(batch, rows(4))
        for i, one in enumerate(batch.split(4)):
            alone = turn.loss(one, rows(1, 10 + i))
            assert same(terms.total[i : i + 1], alone.total), (
                f"row {i} of {turn.player!r}: {terms.total[i].item()} among others, {alone.total.item()} alone"
            )
            if terms.weight is not None and alone.weight is not None:
                assert same(terms.weight[i : i + 1], alone.weight), f"the weight of row {i} depends on other rows"


def _close(got: Any, want: Any, what: str) -> None:
    """Gradients of one turn, None meaning zeros, to 1e-4 of the largest: float32, summed in another order."""
    got = [np.zeros(()) if g is None else np.asarray(g) for g in got]
    want = [np.zeros(()) if w is None else np.asarray(w) for w in want]
    scale = max((np.abs(w).max() for w in want if w.size), default=0.0)
    worst = max(np.abs(g - w).max() for g, w in zip(got, want, strict=True) if g.size)
    assert worst <= 1e-4 * scale + 1e-9, f"{what}: gradients differ by {worst:.2g} where the largest is {scale:.2g}"


def _weighted_mean(subject: Subject) -> list[list[Tensor | None]]:
    out = []
    model, batch = subject.model(), subject.batch(7)
    for turn in model.turns():
        with loop.only(model, turn.player) as params:
            terms = turn.loss(batch, Rng.for_rows(range(7)))
            grads = torch.autograd.grad(terms.total.sum() / terms.count, params, allow_unused=True)
        of = {id(p): g for p, g in zip(params, grads, strict=True)}
        out.append([of.get(id(p)) for p in model.get_submodule(turn.player).parameters()])
    return out


@check(_coupled, fullest=True)
def the_gradient_is_the_weighted_mean_however_the_batch_is_cut(subject: Subject) -> None:
    """``play`` leaves d(sum of losses / sum of weights), with 7 rows in 1, 3 or 7 micro-batches."""
    want = _weighted_mean(subject)
    for accum in (1, 3, 7):
        for turn, (a, b) in enumerate(zip(subject.gradients(accum=accum), want, strict=True)):
            _close(a, b, f"turn {turn} in {accum} micro-batches")


@check(lambda subject: _coupled(subject) or why_not_sent(subject), fullest=True)
def two_processes_with_uneven_rows_agree_with_one(subject: Subject) -> None:
    """Ranks with 4 and 3 rows have the gradient of one process with 7."""
    want = _weighted_mean(subject)
    for rank, turns in enumerate(pair().gradients(subject)):
        for turn, (a, b) in enumerate(zip(turns, want, strict=True)):
            _close(a, b, f"turn {turn} on rank {rank} of 2")


@check(lambda subject: "" if subject.batch(2).mask is not None else "no padding")
def padding_is_ignored(subject: Subject) -> None:
    """What stands under a False mask changes no loss and no likelihood; a full mask is the same as none."""
    model, batch = subject.model(), subject.batch(4)
    assert batch.mask is not None
    other = replace(batch, x=torch.where(batch.mask, batch.x, (batch.x + 1) % max(2, subject.spec.vocab)))
    full = replace(batch, mask=torch.ones_like(batch.mask))
    measures: list[Callable[[Batch], Tensor]] = [lambda b, t=t: t.loss(b, rows(4)).total for t in model.turns()]  # type: ignore[misc]
    if subject.facts.bound:
        measures.append(lambda b: model.log_prob(b, rows(4)))
    for measure in measures:
        assert same(measure(batch), measure(other)), "padding changes the result"
        assert same(measure(full), measure(replace(full, mask=None))), "a full mask differs from no mask"


def _reads_given(subject: Subject) -> str:
    if subject.facts.bound != "exact" or not subject.spec.is_sequence:
        return "no exact log_prob of sequences"
    return "" if subject.model().reads_given else "what a mask leaves out is not read"


@check(_reads_given)
def what_is_given_is_read(subject: Subject) -> None:
    """``log p(later | earlier) = log p(both) - log p(earlier)`` by masks alone, and ``loss`` says the same."""
    model, batch = subject.model(shake=0.3).eval(), subject.batch(4)
    at = torch.arange(subject.spec.dims)
    first, last = subject.spec.dims // 3, 2 * subject.spec.dims // 3 + 1

    def nats(mask: Tensor, x: Tensor = batch.x) -> Tensor:
        with torch.no_grad():
            return model.log_prob(Batch(x, batch.cond, mask.expand(batch.x.shape)), rows(4))

    asked = (at >= first) & (at < last)
    want = nats(at < last) - nats(at < first)
    assert torch.allclose(nats(asked), want, atol=1e-4), "a mask in front does not condition on what stands there"
    other = torch.where(at < first, (batch.x + 1) % subject.spec.vocab, batch.x)
    assert not same(nats(asked), nats(asked, other)), "what is given makes no difference"
    before = torch.where(at < last, batch.x, (batch.x + 1) % subject.spec.vocab)
    assert same(nats(asked), nats(asked, before)), "what comes behind makes a difference"
    model = subject.model(shake=0.3)
    terms = model.loss(Batch(batch.x, batch.cond, asked.expand(batch.x.shape)), rows(4))
    assert terms.weight is not None
    assert terms.weight.tolist() == [float(asked.sum())] * 4, "the weight is not the number of tokens that count"


@check(lambda subject: "" if subject.spec.cond is not None else "no condition")
def the_condition_matters(subject: Subject) -> None:
    """Losses and samples respond to ``cond``, by more than rounding."""
    heard, seen = False, False
    for shake in (0.05, 0.1, 0.3):
        if heard and seen:
            return
        model, batch = subject.model(shake=shake), subject.batch(7)
        (a, b) = (label(subject.spec, 7, which) for which in (0, 1))
        knobs = subject.knobs(model.sample)
        for turn in model.turns():
            losses = [turn.loss(replace(batch, cond=cond), rows(7)).total for cond in (a, b)]
            heard = heard or not same(losses[0], losses[1])
        n = 70 if subject.spec.is_tokens else 7  # a small change seldom moves a number to another level
        wide = [label(subject.spec, n, which) for which in (0, 1)]
        made = [model.sample(n, rows(n), cond, **knobs) for cond in wide]
        seen = seen or not same(made[0], made[1])
    assert heard, "no loss responds to cond"
    assert seen, "samples do not respond to cond"


def _no_class(subject: Subject) -> str:
    cond = subject.spec.cond
    return "" if cond is not None and cond.is_tokens and not cond.shape else "no classes"


@check(_no_class)
def a_class_may_be_unknown(subject: Subject) -> None:
    """Rows whose class is -1 have the loss of rows of which nothing is known, and can be asked for."""
    model, batch = subject.model(), subject.batch(4)
    nobody = torch.full((4,), -1)
    for turn in model.turns():
        losses = [turn.loss(replace(batch, cond=cond), rows(4)).total for cond in (nobody, None)]
        assert same(*losses), f"the turn of {turn.player!r} takes -1 for a class"
    some = model.sample(3, rows(3), torch.tensor([-1, 0, 1]), **subject.knobs(model.sample))
    fits(some, subject.spec, 3, "a sample with and without a class")


# --- samples ---------------------------------------------------------------------------------------------------------


@check()
def a_sample_fits_the_spec(subject: Subject) -> None:
    """Shape, kind and range are the Spec's, with and without condition, whatever the usual knobs say."""
    model = subject.model().eval()
    for n in (1, 3):
        for cond in (None, label(subject.spec, n)):
            fits(model.sample(n, Rng(4), cond, **subject.knobs(model.sample)), subject.spec, n, "the sample")
    knobs = subject.knobs(model.sample, guidance=2.0, temperature=0.7)
    fits(model.sample(2, Rng(4), label(subject.spec, 2), **knobs), subject.spec, 2, f"the sample with {knobs}")


@check()
def a_sample_belongs_to_its_seed(subject: Subject) -> None:
    """Row *i* of a batch equals the sample drawn alone with that seed, or with other neighbours."""
    model = subject.model().eval()
    cond = subject.batch(3).cond
    plain, guided = subject.knobs(model.sample), subject.knobs(model.sample, guidance=2.0)
    for knobs in [plain] if plain == guided or cond is None else [plain, guided]:
        three = model.sample(3, Rng.for_rows([5, 6, 7]), cond, **knobs)
        for i in range(3):
            one = None if cond is None else cond[i : i + 1]
            alone = model.sample(1, Rng.for_rows([5 + i]), one, **knobs)
            assert same(alone, three[i : i + 1], 1e-3), f"row {i} of 3 differs from the sample drawn alone"
            assert same(model.sample(1, Rng(5 + i), one, **knobs), alone), "Rng(seed) and for_rows([seed]) differ"
        two = model.sample(2, Rng.for_rows([7, 6]), None if cond is None else cond[[2, 1]], **knobs)
        assert same(two, three[[2, 1]], 1e-3), "a row depends on its neighbours"


@check()
def a_sample_changes_nothing(subject: Subject) -> None:
    """Equal seeds give equal samples, other seeds others (unless it is certain), in either mode; generators stay."""
    model = subject.model()
    before, knobs, cond = state(model), subject.knobs(model.sample), label(subject.spec, 5)
    with global_randomness_untouched("sample"):
        training = model.sample(5, Rng(1), cond, **knobs)
    assert model.training, "sample leaves the model in another mode"
    assert not (what := changed(before, model)), f"sample changes {what[0]!r}"
    assert all(p.grad is None for p in model.parameters()), "sample leaves gradients"
    assert same(model.sample(5, Rng(1), cond, **knobs), training), "equal seeds give other samples"
    again = same(model.sample(5, Rng(2), cond, **knobs), training)
    assert again == model.certain, (
        "another seed gives other samples" if model.certain else "another seed gives the same samples"
    )
    assert same(model.eval().sample(5, Rng(1), cond, **knobs), training), "training mode changes samples"


# --- memory ----------------------------------------------------------------------------------------------------------


@check(fullest=True)
def a_saved_model_samples_the_same(subject: Subject) -> None:
    """Weights that went through a file make the same samples in a new model."""
    model, other = subject.model().eval(), subject.model(seed=99).eval()
    cond, knobs = label(subject.spec, 3), subject.knobs(model.sample)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        checkpoint.save(path, {f"model.{k}": v for k, v in model.state_dict().items()}, {})
        checkpoint.load_weights(other, checkpoint.sampling_weights(checkpoint.load(path)[0]))
    assert same(model.sample(3, Rng(1), cond, **knobs), other.sample(3, Rng(1), cond, **knobs)), (
        "loaded weights sample otherwise: something that matters is not in the state"
    )


class _Training:
    """A training run in small, with all that a checkpoint must hold."""

    def __init__(self, subject: Subject, seed: int) -> None:
        self.model = subject.model(seed=seed)
        self.batches = Stream(Encoded(subject.batch(11)), 4, seed=7)
        self.optims = make_optims(self.model, 4, {"lr": 1e-2, "warmup": 2})
        self.ema, self.rng = Ema(self.model, 0.9), Rng(seed)
        self.subject = subject

    def go(self, start: int, path: Path | None = None) -> None:
        def watch(step: int, seen: object) -> None:
            if path is not None and step == 1:
                header = {"step": step + 1, "position": self.batches.position}
                checkpoint.save(path, self.everything(), header)

        loop.fit(
            self.model,
            self.batches,
            self.optims,
            steps=4,
            rng=self.rng,
            start=start,
            ema=self.ema,
            watch=watch,
            play=self.subject.play,
        )

    def everything(self) -> dict[str, Tensor]:
        return checkpoint.pack(self.model, self.optims, self.ema, self.rng)


@check(fullest=True)
def a_resumed_run_equals_an_uninterrupted_one(subject: Subject) -> None:
    """Stopped after 2 of 4 steps and gone on from the file by new objects: the same bits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        whole, resumed = _Training(subject, 0), _Training(subject, 99)
        whole.go(0, path)
        tensors, header = checkpoint.load(path)
        checkpoint.unpack(tensors, resumed.model, resumed.optims, resumed.ema, resumed.rng)
        resumed.batches.position = header["position"]
        resumed.go(header["step"])
        want, got = whole.everything(), resumed.everything()
    # what the file forgot is not in `everything`, so the next thing drawn from each is compared too
    want["next"], got["next"] = whole.rng.normal(4), resumed.rng.normal(4)
    want["batch"], got["batch"] = next(whole.batches).x, next(resumed.batches).x
    want |= {f"ema {k}": v for k, v in whole.ema.shadow.items()}
    got |= {f"ema {k}": v for k, v in resumed.ema.shadow.items()}
    differ = [k for k in want if k not in got or not torch.equal(want[k], got[k])]
    assert not differ, f"{differ[0]!r} differs after resuming ({len(differ)} of {len(want)} tensors)"
    assert checkpoint.weights_hash(want) == checkpoint.weights_hash(got), "the hashes differ"


@check(fullest=True)
def bfloat16_is_close(subject: Subject) -> None:
    """Under bfloat16 autocast losses stay within 5 % of float32, and gradients stay finite."""
    model, batch = subject.model(), subject.batch(4)
    for turn in model.turns():
        full = turn.loss(batch, Rng(2)).total
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = turn.loss(batch, Rng(2)).total
        error, size = (half.float() - full).abs().mean().item(), full.abs().mean().item()
        assert error <= 0.05 * size + 0.05, f"the loss of {turn.player!r} is {size:.4g}, off by {error:.2g} in bf16"
        with loop.only(model, turn.player) as params:
            model.zero_grad(set_to_none=True)
            half.sum().backward()  # type: ignore[no-untyped-call]
        assert all(torch.isfinite(p.grad).all() for p in params if p.grad is not None), "a gradient is not finite"
