"""Learning from feedback: a run, and a reward or pairs of preferences, become another run beside it."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import bottega
from bottega.codecs._files import json_rows
from bottega.core import (
    Batch,
    BottegaError,
    Conversation,
    DataError,
    DivergedError,
    Encoded,
    Item,
    Measure,
    Message,
    RecipeError,
    Rng,
    Scores,
    Terms,
    Turn,
    has,
    lookup,
    mean_interval,
    names,
    nearest,
)
from bottega.core.files import write_atomically
from bottega.core.measure import wilson
from bottega.data.stream import Stream
from bottega.training import checkpoint
from bottega.training.loop import fit
from bottega.training.optim import make_optims
from bottega.training.reward import KlLimit, Objective, Preferences, Reinforce, Rollouts, Told, draw, margins, nats
from bottega.workshop.build import find_data
from bottega.workshop.recipe import Recipe
from bottega.workshop.rewards import Reward, Rule, make_rewards, name_of
from bottega.workshop.run import (
    CHUNK,
    EVIDENCE,
    LOG,
    RECIPE,
    WEIGHTS,
    Progress,
    Run,
    Tell,
    knobs_of,
    revive,
)
from bottega.workshop.training import cut_log, divide, patient_interrupt

__all__ = ["Feedback", "reward"]

_DRAWS = 8  # pieces of one prompt in a batch, of which each is compared with the others
_CHECKED = 128  # pieces by which the divergence of a training on pairs is looked at


@dataclass(frozen=True)
class Feedback:
    """What a model is to learn from, and how far it may go. These are the keys of a run's ``[reward]`` table.

    Attributes:
        rewards: names of rewards, see ``workshop.rewards``, or functions of one's own; their sum is paid.
        pairs: a ``.jsonl`` of preferences: ``prompt`` (may be left out), ``chosen``, ``rejected``. Either it or ``rewards``.
        kl: nats of divergence from the start, for each piece, that are allowed.
        steps: of the optimiser.
        batch: pieces, or pairs, in a step.
        lr: learning rate; 0 is a tenth of the run's own.
        pull: the coefficient of the divergence while it is small, see ``KlLimit``; 0 leaves it out. Rewards only.
        beta: of equation 7, see ``Preferences``; pairs only.
        anchor: see there; pairs only.
        prompts: a text file with a prompt on each line; by default what is known of the run's training pieces.
        n: pieces by which reward and divergence are measured before and after.
        seed: of all that is drawn.
    """

    rewards: tuple[str | Rule, ...] = ()
    pairs: str = ""
    kl: float = 5.0
    steps: int = 200
    batch: int = 64
    lr: float = 0.0
    pull: float = 0.1
    beta: float = 0.1
    prompts: str = ""
    n: int = 512
    seed: int = 0
    anchor: float = 0.0

    def __post_init__(self) -> None:
        if bool(self.rewards) == bool(self.pairs):
            raise RecipeError("give either rewards (--reward) or pairs of preferences (--pairs), not both")
        for name, least in {"steps": 1, "batch": 2, "n": 2}.items():
            if getattr(self, name) < least:
                raise RecipeError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if not self.kl > 0 or not self.beta > 0:
            raise RecipeError(f"kl is {self.kl} and beta {self.beta}; both must be above 0")
        if self.lr < 0 or self.pull < 0 or self.anchor < 0:
            raise RecipeError(f"lr is {self.lr}, pull {self.pull} and anchor {self.anchor}; none may be negative")


def reward(start: Run, feedback: Feedback, out: str | Path | None = None, *, progress: Tell | None = None) -> Run:
    """Let a run learn from feedback; the result is another run, and ``start`` stays as it is.

    The same call again goes on where the last one stopped. Weights whose divergence is above ``feedback.kl`` are never the
    result: training goes back to the last ones within it.

    Args:
        start: a run with an exact likelihood that can be sampled from.
        feedback: what from, and how far.
        out: the folder of the new run; ``<start>-reward`` (of pairs: ``-preferred``) beside it by default.
        progress: told a few times a second.

    Raises:
        BottegaError: the family cannot, the reward cannot be made or is the same for all, the folder is another run's.
        DivergedError: a loss stopped being a number; the last checkpoint is whole.
        KeyboardInterrupt: Ctrl-C, after a checkpoint was written; the same call goes on.
    """
    where = Path(out) if out is not None else _beside(start, "preferred" if feedback.pairs else "reward")
    return _Learning(start, feedback, where, progress or (lambda _: None)).run()


def _beside(start: Run, ending: str) -> Path:
    name = start.path.name or start.recipe.name
    return start.path.parent / f"{name}-{ending}"


def _need(start: Run) -> None:
    """Raises BottegaError where there is no exact likelihood to follow."""
    model: Any = start.model
    family = start.recipe.family["name"]
    if has(model, Scores) and model.bound == "exact" and not model.coupled:
        return
    able = [
        name for name in names("families")
        if getattr(lookup("families", name), "bound", "") == "exact" and not lookup("families", name).accepts(start.spec)
    ]  # fmt: skip
    said = f"only {'a bound' if model.bound == 'lower' else 'an estimate'} of it" if has(model, Scores) else "none"
    if has(model, Scores) and model.coupled:
        said = "one of whole batches"
    raise BottegaError(
        f"a {family} cannot learn from feedback: it needs the exact likelihood of a piece, and has {said}; "
        f"use {', '.join(able) or 'another family'}"
    )


class _Learning:
    """One call of ``reward``."""

    def __init__(self, start: Run, plan: Feedback, out: Path, tell: Tell) -> None:
        _need(start)
        if out.resolve() == start.path.resolve():
            raise RecipeError(f"{out} is the run to begin from, which stays as it is; choose another folder with --out")
        self.start, self.plan, self.out, self.tell = start, plan, out, tell
        self.codec: Any = start.codec
        self.device = start.device
        self.paid: Reward | None = None if plan.pairs else make_rewards(plan.rewards)
        self.rng = Rng(plan.seed, device=self.device)
        self.recipe = self._recipe()
        self.limit = KlLimit(plan.kl, plan.pull)
        self.done, self.seconds, self.notes = 0, 0.0, list[str]()
        self.knobs = {}
        self.asked = list[str]()  # of a run of conversations, what it is asked; it says nothing unasked
        end = getattr(self.codec, "end", None)
        self.end = end if isinstance(end, int) and getattr(self.codec, "unit", "") != "pair" else None
        if self.end is not None and start.spec.is_text and "stop" in knobs_of(start.model.sample, 3):
            self.knobs = {"stop": self.end}
        self.before: dict[str, Any] = {}
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}

    def _recipe(self) -> Recipe:
        """The start's, with a table of what came after; its weights hold adapters merged, and no averages."""
        said = {f.name: getattr(self.plan, f.name) for f in fields(self.plan)}
        said |= {"rewards": [name_of(r) for r in self.plan.rewards]}
        said |= {"start": str(self.start.path), "start_weights": self.start.weights_hash}
        own = self.start.recipe
        name = _beside(self.start, "preferred" if self.plan.pairs else "reward").name
        return replace(own, name=name, train=replace(own.train, lora=0), reward=said)

    # ---- pieces and what they are worth --------------------------------------------------------------------------

    def _real(self, x: Tensor) -> Tensor | None:
        """A text is what stands up to its first end, the end included."""
        if self.end is None or not self.start.spec.is_text:
            return None
        stop = x == self.end
        return stop.cumsum(1) - stop.long() == 0

    def _worth(self, x: Tensor, cond: Tensor | None) -> Tensor:
        """The reward of examples, ``(B,)``."""
        assert self.paid is not None
        items = self.codec.decode(x.cpu(), None if cond is None else cond.cpu())
        texts = [i.value if isinstance(i.value, str) else json.dumps(i.value, default=str) for i in items]
        return torch.tensor(self.paid(texts, [i.cond for i in items]), dtype=torch.float64)

    def _prompts(self) -> Tensor | None:
        """What pieces are asked for, encoded, ``(N, *spec.cond.shape)``."""
        if self.start.spec.cond is None:
            if self.plan.prompts:
                raise RecipeError(
                    f"{self.start.recipe.name} is given nothing, so --prompts means nothing to it; leave it out"
                )
            return None
        if self.plan.prompts:
            path = Path(self.plan.prompts)
            if not path.is_file():
                raise DataError(f"there is no {path}; give a UTF-8 file with a prompt on each line")
            values: list[Any] = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            if not values:
                raise DataError(f"{path} has no prompts; write one on each line")
            found: Tensor = self.codec.encode_cond(values)
            return found
        values = list(self.start.header["conditions"])
        if self.start.spec.given_text:  # a run keeps only a few of them
            argument = self.start.header["data_argument"]
            dataset = find_data(self.start.recipe, argument or None, self.codec)
            items = divide(self.start.recipe, dataset).train
            values = list(dict.fromkeys(item.cond for item in items))[:10_000]
        every: Tensor = self.codec.encode_cond(values)
        return every

    def _drawn_prompts(self, n: int, rng: Rng) -> Tensor:
        assert self.prompts is not None
        return self.prompts[rng.integers(len(self.prompts), n).cpu()].to(self.device)

    def _draws(self) -> int:
        if self.prompts is None:
            return self.plan.batch
        return next(
            (k for k in range(min(_DRAWS, self.plan.batch), 1, -1) if self.plan.batch % k == 0), self.plan.batch
        )

    @torch.no_grad()
    def _measured(self, n: int, label: str) -> dict[str, Any]:
        """Reward and divergence of ``n`` fresh pieces of the model: means with 95 % intervals."""
        rng = Rng(self.plan.seed, device=self.device).fork(label)
        worth, apart = [], []
        for first in range(0, n, CHUNK):
            many = min(CHUNK, n - first)
            if self.asked:
                batch = self._answers(many, rng)
            else:
                cond = None if self.prompts is None else self._drawn_prompts(many, rng)
                batch = draw(self.model, many, rng, cond, self._real, **self.knobs)
            apart.append((nats(self.model, batch, rng) - nats(self.start.model, batch, rng)).double().cpu())
            if self.paid is not None:
                worth.append(self._worth(batch.x, batch.cond))
        out: dict[str, Any] = {"kl_nats": mean_interval(torch.cat(apart)), "n": n, "seed": self.plan.seed}
        if worth:
            each = torch.cat(worth)
            out |= {"reward": mean_interval(each), "reward_std": float(each.std())}
        return out

    def _answers(self, n: int, rng: Rng) -> Batch:
        """What a model of conversations answers to questions of the pairs; only the answers count."""
        some = [self.asked[k] for k in rng.integers(len(self.asked), n).cpu().tolist()]
        begun, real = self.codec.prompts(some)
        made = self.codec.reply(self.model.eval(), begun, real, rng, max_new=self.codec.length // 2)
        self.model.train()
        end, length = self.codec.end, self.codec.length
        x = torch.full((n, length), end)
        mask = torch.zeros(n, length, dtype=torch.bool)
        for i, (prompt, answer) in enumerate(zip(begun, made, strict=True)):
            before = prompt[real[i]]
            after = answer[: int((answer != end).sum()) + 1]  # its end, too, is a choice of the model's
            row = torch.cat([before, after])[:length]
            x[i, : len(row)] = row
            mask[i, len(before) : len(row)] = True
        return Batch(x, None, mask).to(self.device)

    def _asked(self, label: str) -> dict[str, Any]:
        """What is said in evidence before and after: reward or preferences, and divergence."""
        out = self._measured(self.plan.n, label)
        if self.plan.pairs:
            n = len(self.held)
            found = torch.cat([self._margins(self.model, p) for p in self.held.split(math.ceil(n / CHUNK))])
            share = float((found > 0).double().mean())
            out |= {"preferred": (share, *wilson(share, n)), "held_pairs": n}
        return out

    def _margins(self, model: Any, batch: Batch) -> Tensor:
        assert isinstance(batch, Told)
        with torch.no_grad():
            return margins(model, batch.to(self.device), self.rng).cpu()  # type: ignore[arg-type]

    # ---- pairs ---------------------------------------------------------------------------------------------------

    def _pairs(self) -> tuple[Told, Told]:
        """Training and held-out pairs (a tenth, by the seed); those of one prompt stay together."""
        path = Path(self.plan.pairs)
        if not path.is_file():
            raise DataError(f"there is no {path}; give a .jsonl with prompt, chosen and rejected on each line")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8") from error
        broken = " is not JSON ({}); write one object on each line"
        other = ' is {}, not an object; write {{"prompt": ..., "chosen": ..., "rejected": ...}}'
        rows: list[list[Batch]] = []
        prompts: list[Any] = []
        for number, row in json_rows(text.split("\n"), str(path), broken=broken, other=other):
            for key in ("chosen", "rejected"):
                if not isinstance(row.get(key), str):
                    raise DataError(f"{path}, line {number}: no text {key!r}{nearest(key, row)}")
            prompt = row.get("prompt")
            if prompt is not None and not isinstance(prompt, str):
                raise DataError(f"{path}, line {number}: 'prompt' is {prompt!r}, not a text")
            rows.append([self._one(path, number, prompt, row[key]) for key in ("chosen", "rejected")])
            prompts.append(prompt or (row["chosen"], row["rejected"]))
        if len(rows) < 20:
            raise DataError(f"{path} has {len(rows)} pairs; at least 20 are needed, a tenth of them to measure by")
        chosen, rejected = (Batch.cat([r[k] for r in rows]) for k in (0, 1))
        assert rejected.mask is not None
        told = {"x": rejected.x, "mask": rejected.mask}
        every = Told(chosen.x, chosen.cond, chosen.mask, told)
        parts = every.split(math.ceil(len(every) / CHUNK))
        every = Told(chosen.x, chosen.cond, chosen.mask,
                     told | {"start": torch.cat([self._margins(self.start.model, part) for part in parts])})  # fmt: skip
        groups = {p: i for i, p in enumerate(dict.fromkeys(prompts))}
        if getattr(self.codec, "answers_only", False):
            self.asked = list(groups)
        of = torch.tensor([groups[p] for p in prompts])
        order = Rng(self.plan.seed).permutation(len(groups))
        held = torch.isin(of, order[: math.ceil(len(groups) / 10)])
        if held.all():
            raise DataError(f"{path} has one prompt only, so nothing can be kept back; give pairs of several prompts")
        return every.take(~held), every.take(held)  # type: ignore[return-value]

    def _one(self, path: Path, number: int, prompt: str | None, text: str) -> Batch:
        """One side of a pair as an example. What a model is given is its condition; else the text begins with the prompt."""
        given = self.start.spec.cond is not None
        if given and prompt is None:
            raise DataError(
                f"{path}, line {number}: no 'prompt', and {self.start.recipe.name} makes texts of what is given"
            )
        if getattr(self.codec, "answers_only", False):  # a question and its answer, of which the answer is learned
            if not prompt:
                raise DataError(
                    f"{path}, line {number}: no 'prompt', and {self.start.recipe.name} answers what is asked"
                )
            item = Item(Conversation([Message("user", prompt), Message("assistant", text)]))
        else:
            item = Item(text, prompt) if given else Item((prompt or "") + text)
        try:
            batch: Batch = self.codec.encode([item])
        except BottegaError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
        if len(batch) != 1:
            why = "is empty" if not len(batch) else f"is longer than a row of {self.start.spec.dims} tokens"
            raise DataError(f"{path}, line {number}: {text[:40]!r} {why}; mend it, or leave the pair out")
        return Batch(
            batch.x, batch.cond, torch.ones_like(batch.x, dtype=torch.bool) if batch.mask is None else batch.mask
        )

    # ---- training ------------------------------------------------------------------------------------------------

    def run(self) -> Run:
        """See ``reward``."""
        file = self.out / WEIGHTS
        earlier = checkpoint.load(file) if file.exists() else None
        if earlier is not None:
            self._agree(earlier[1])
            if earlier[1]["reward"]["finished"]:
                self.tell(Progress("reward", self.plan.steps, self.plan.steps, note="already done"))
                return revive(self.out, *earlier, self.device)
        self.model = copy.deepcopy(self.start.model)
        self.prompts = self._prompts()
        objective = self._objective()
        lr = self.plan.lr or 0.1 * float(self.start.recipe.optim.get("lr", 1e-3))
        table = {"lr": lr, "weight_decay": 0.0, "schedule": "constant", "warmup": 0.05}
        self.optims = make_optims(objective, self.plan.steps, table)
        if earlier is not None:
            self._go_on(*earlier)
        else:
            self._begin()
        self._scale()
        self._fit(objective)
        self._finish()
        return revive(self.out, *checkpoint.load(file), self.device)

    def _agree(self, header: Mapping[str, Any]) -> None:
        if "reward" not in header:
            raise RecipeError(f"{self.out} holds a run that learned from no feedback; choose another folder with --out")
        was, now = header["recipe"]["reward"], self.recipe.to_dict()["reward"]
        for key in sorted(
            (was.keys() | now.keys()) - {"start"}
        ):  # a run may be named by another path; its weights say which
            if (a := was.get(key, 0.0 if key == "anchor" else None)) != (b := now.get(key)):  # older runs had none
                raise RecipeError(
                    f"{self.out} was begun with {key} {a!r}, not {b!r}; use another --out, or the same to go on"
                )

    def _objective(self) -> Objective:
        if self.plan.pairs:
            train, self.held = self._pairs()
            self.stream = Stream(
                Encoded(train), min(self.plan.batch, len(train)), seed=self.plan.seed, device=self.device
            )
            return Preferences(self.model, self.plan.beta, self.plan.anchor)
        return Reinforce(self.model, self.limit)

    def _begin(self) -> None:
        self.tell(Progress("reward", note="measuring the start"))
        self.before = self._asked("before")
        if self.paid is not None and not self.before["reward_std"]:
            raise BottegaError(
                f"the reward is {self.before['reward'][0]:g} for all {self.plan.n} pieces of {self.start.path}, so nothing can "
                "be learned from it; choose one that some of them earn"
            )
        write_atomically(self.out / RECIPE, self.recipe.to_toml())
        for stale in (EVIDENCE, LOG):
            (self.out / stale).unlink(missing_ok=True)

    def _go_on(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        checkpoint.unpack(tensors, self.model, {"": self.optims["model"]}, None, self.rng)
        kept = header["reward"]
        self.done, self.before, self.limit.mean = kept["step"], kept["before"], kept["mean"]
        self.seconds, self.notes = kept["seconds"], list(kept["notes"])
        self.first = header["first_losses"]
        if self.plan.pairs:
            self.stream.position = self.done
        cut_log(self.out / LOG, self.done)
        self.tell(Progress("reward", self.done, self.plan.steps, note=f"going on from step {self.done}"))

    def _scale(self) -> None:
        """Rewards are counted in their standard deviations at the start, so that settings suit all of them."""
        if self.plan.pairs:
            return
        self.stream = Rollouts(
            self.model, self.start.model, self._worth, self.limit, self.rng, rows=self.plan.batch, draws=self._draws(),
            conds=None if self.prompts is None else self._drawn_prompts, scale=self.before["reward_std"], real=self._real,
            **self.knobs,
        )  # type: ignore[assignment]  # fmt: skip

    def _fit(self, objective: Objective) -> None:
        self.began = self.told = self.saved = time.perf_counter()
        self.from_step = self.done
        self.kept = [(self.done, self._weights())]
        self.every = max(1, self.plan.steps // 20)
        self.model.train()
        with patient_interrupt() as self.interrupted, suppress(_Far):
            try:
                fit(
                    objective, self.stream, self.optims, steps=self.plan.steps, rng=self.rng, start=self.done,
                    watch=self._watch,
                )  # fmt: skip
            except DivergedError as error:
                raise DivergedError(
                    f"step {self.done + 1}: {error}; lower --lr; {self.start.path} is as it was"
                ) from error
        self.model.eval()

    def _weights(self) -> dict[str, Tensor]:
        return {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def _watch(self, step: int, played: Sequence[tuple[Turn, Terms]]) -> None:
        self.done = step + 1
        at_check = self.done % self.every == 0 or self.done == self.plan.steps
        if self.plan.pairs:
            self.last = {"dpo": played[0][1].means()["dpo"]}
            if at_check:
                self.limit.mean = self.last["kl_nats"] = self._measured(_CHECKED, f"check {self.done}")["kl_nats"][0]
        else:
            self.last = dict(self.stream.seen) | {"pull": self.limit.weights[1]}  # type: ignore[attr-defined]
        self.first = self.first or self.last
        self._log(self.last)
        if self.limit.over:
            step_then, weights = self.kept[-1]
            self.model.load_state_dict(weights)
            self._note(
                f"step {self.done}: {self.limit.mean:.3g} nats a piece from the start, more than the {self.limit.nats:g} allowed; "
                f"stopped, and went back to the weights of step {step_then}"
            )
            raise _Far
        if at_check:
            self.kept = [*self.kept[-2:], (self.done, self._weights())]
        now = time.perf_counter()
        if now - self.told > 0.2 or self.done == self.plan.steps:
            self.told = now
            rate = (self.done - self.from_step) / (now - self.began)
            left = (self.plan.steps - self.done) / rate
            self.tell(Progress("reward", self.done, self.plan.steps, self.last, now - self.began, rate, left))
        if self.interrupted.is_set():
            self._save(finished=False)
            raise KeyboardInterrupt(f"stopped at step {self.done}")
        if now - self.saved > 60:
            self.saved = now
            self._save(finished=False)

    def _finish(self) -> None:
        """Measure what came of it, going back while that is too far from the start."""
        self.tell(Progress("reward", self.done, self.plan.steps, note="measuring the result"))
        after = self._asked("after")
        for step, weights in [*reversed(self.kept), (0, dict(self.start.model.state_dict()))]:
            if after["kl_nats"][0] <= self.limit.nats:
                break
            self._note(
                f"{after['kl_nats'][0]:.3g} nats a piece from the start by {self.plan.n} fresh pieces, more than the "
                f"{self.limit.nats:g} allowed; went back to the weights of step {step}"
            )
            self.model.load_state_dict(weights)
            after = self._asked("after")
        self.after = after
        told = "preferred" if self.plan.pairs else "reward"
        (b, *b_ends), (a, *a_ends) = self.before[told], after[told]
        what = f"share of {after['held_pairs']} held-out pairs of which the chosen is likelier" if self.plan.pairs else (
            f"mean reward of {self.plan.n} pieces ({' + '.join(map(name_of, self.plan.rewards))})")  # fmt: skip
        self._note(
            f"{what}: {b:.4g} [{b_ends[0]:.4g}, {b_ends[1]:.4g}] before, {a:.4g} [{a_ends[0]:.4g}, {a_ends[1]:.4g}] after, seed "
            f"{self.plan.seed}; {after['kl_nats'][0]:.3g} nats a piece from {self.start.path}, of {self.limit.nats:g} allowed"
        )
        self._save(finished=True)
        run = revive(self.out, *checkpoint.load(self.out / WEIGHTS), self.device)
        evidence = run.evidence
        shared: dict[str, Any] = {"seed": self.plan.seed}
        n = after["held_pairs"] if self.plan.pairs else self.plan.n
        for name, (value, low, high) in ((f"{told}_before", self.before[told]), (told, after[told])):
            evidence.add("reward", Measure(name, value, low, high, n=n, better="higher", note=what, **shared))
        value, low, high = after["kl_nats"]
        note = f"from {self.start.path}; {self.limit.nats:g} nats a piece were allowed"
        evidence.add(
            "reward", Measure("kl_to_start_nats", value, low, high, n=self.plan.n, better="lower", note=note, **shared)
        )
        evidence.write(self.out / EVIDENCE)

    # ---- files ---------------------------------------------------------------------------------------------------

    def _log(self, row: Mapping[str, Any]) -> None:
        seconds = round(self.seconds + time.perf_counter() - self.began, 3) if hasattr(self, "began") else 0.0
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": self.done, "seconds": seconds, **row}) + "\n")

    def _note(self, text: str) -> None:
        self.notes.append(text)
        self._log({"note": text})
        self.tell(Progress("reward", self.done, self.plan.steps, note=text))

    def _save(self, *, finished: bool) -> None:
        spent = self.seconds + time.perf_counter() - self.began
        own = self.start.header
        begun = [f"began with {self.start.path}, weights {self.start.weights_hash[:16]}, which stays as it is"]
        header = dict(own) | {
            "version": bottega.__version__,
            "recipe": self.recipe.to_dict(),
            "stopped": True,
            "seconds": round(spent, 3),
            "rows_seen": self.done * self.plan.batch,
            "step": self.done,
            "device": str(self.device),
            "threads": torch.get_num_threads(),
            "precision": "fp32",
            "notes": [*begun, *self.notes],
            "known": {},
            "monitor": None,
            "first_losses": self.first,
            "last_losses": self.last,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "reward": {
                "finished": finished, "step": self.done, "before": self.before,
                "mean": self.limit.mean, "seconds": spent, "notes": self.notes, "after": getattr(self, "after", None),
                "start": {"path": str(self.start.path), "weights": self.start.weights_hash},
            },
        }  # fmt: skip
        tensors = checkpoint.pack(self.model, {} if finished else {"": self.optims["model"]}, None, self.rng)
        if "inner" in own:  # a model of another's codes carries it
            tensors |= {f"inner.{k}": v for k, v in self.codec.model.state_dict().items()}
        checkpoint.save(self.out / WEIGHTS, tensors, header)


class _Far(Exception):
    pass
