"""Training a recipe: from data to a finished weights file, resumable at every step."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import bottega
from bottega.codecs._clipping import clipped_note
from bottega.core import (
    Batch,
    BottegaError,
    Codec,
    DataError,
    DivergedError,
    Item,
    OutputError,
    RecipeError,
    Rng,
    Source,
    Terms,
    Translates,
    Turn,
    has,
    lookup,
    names,
)  # fmt: skip
from bottega.core.files import write_atomically
from bottega.data.augment import make as make_augment
from bottega.data.dataset import Dataset, fingerprint
from bottega.data.lineage import of_files
from bottega.data.splits import Split, few_labels, split
from bottega.data.stream import Stream, lift_labelled, tokens_of
from bottega.training import checkpoint, cluster, lora
from bottega.training.ema import Ema
from bottega.training.loop import fit
from bottega.training.modes import Modes
from bottega.training.monitor import Monitor
from bottega.training.optim import Optim, make_optims
from bottega.training.precision import use_bf16
from bottega.workshop import tuning, versions
from bottega.workshop.build import begin_with, find_data, make_codec, make_family
from bottega.workshop.recipe import Recipe, check_arguments
from bottega.workshop.run import ADAPTERS, EVIDENCE, LOG, RECIPE, WEIGHTS, Progress, Run, Tell, load, revive

__all__ = ["Training", "cut_log", "divide", "patient_interrupt"]

_WATCHED = 64  # training rows; fewer say nothing about modes
_UNWATCHED = f"the stability monitor is off: it needs one process and at least {_WATCHED} training rows"


class Training:
    """One call of ``train``: everything between the recipe and the finished weights file."""

    def __init__(self, plan: Recipe, data: str | Path | None, out: Path, device: torch.device, tell: Tell) -> None:
        self.plan, self.data, self.out, self.device, self.tell = plan, data, out, device, tell
        self.rank, self.world = cluster.join()
        self.notes: list[str] = []
        self.best, self.waited, self.seconds, self.done = math.inf, 0, 0.0, 0
        self.known: dict[str, Any] = {}  # what the start says, see workshop.tuning
        self.tuning: dict[str, Any] = {}
        self.first_losses: dict[str, float] = {}
        self.last_losses: dict[str, float] = {}

    def run(self) -> Run:
        """Train to the end, or go on with what stands there; returns the run with the weights to sample with."""
        file = self.out / WEIGHTS
        before = checkpoint.load(file) if file.exists() else None
        if before is not None:
            self._agree(before[1])
            if before[1]["step"] >= self.plan.train.steps or before[1]["stopped"]:
                self.tell(Progress("train", before[1]["step"], self.plan.train.steps, note="already trained"))
                return revive(self.out, *before, self.device)
        start = load(self.plan.train.start, device="cpu") if self.plan.train.start and before is None else None
        self.prepare(start, None if before is None else before[1])
        self.known = before[1].get("known", {}) if before is not None else {} if start is None else self._knows()
        if before is not None:
            self._go_on(*before)
        elif self.rank == 0:
            for stale in self.out.glob(".*.part"):  # left by a kill in the middle of a save
                stale.unlink()
            write_atomically(self.out / RECIPE, self.plan.to_toml())
            (self.out / EVIDENCE).unlink(missing_ok=True)
            (self.out / LOG).unlink(missing_ok=True)
            if self.begun:
                self._note(self.begun)
            if lost := getattr(self.codec, "skipped", None):
                self._note(f"{len(lost)} unreadable pieces were left out, the first: {lost[0]}")
            for text in getattr(self.codec, "notes", ()):
                self._note(text)
            if self.codec.medium == "audio" and (text := clipped_note(self.dataset.items)):
                self._note(text)
            if start is not None and type(start.model) is type(self.model):
                versions.begin(self.out, start)
        cluster.share(self.model)
        self._fit()
        cluster.most(0.0)  # until rank 0 has written it
        tensors, header = checkpoint.load(file)
        return revive(self.out, tensors, header, self.device)

    def _lengths(self, source: Source) -> Tensor | None:
        """Of training rows, where their batches are to hold what is about equally long."""
        spec = self.codec.spec
        if not self.plan.train.group_by_length:
            return None
        if not spec.is_text and not spec.given_text:
            raise RecipeError("train.group_by_length is true, but only texts have lengths; leave it out")
        end = None
        if spec.given_text and spec.cond is not None:
            end = getattr(getattr(self.model, "encoder", None), "end", spec.cond.vocab - 1)
        return tokens_of(source, end)

    def _agree(self, header: dict[str, Any]) -> None:
        theirs = Recipe.from_dict(header["recipe"])
        if why := self.plan.differs(theirs):
            raise RecipeError(
                f"{self.out} holds a run of another recipe: {why}; use another --out, or the same recipe to go on"
            )
        if str(self.data or "") != header["data_argument"]:
            raise RecipeError(
                f"{self.out} was trained on --data {header['data_argument'] or '(the recipe’s own)'}, not {self.data or '(the recipe’s own)'}; "
                "use another --out"
            )

    def prepare(self, start: Run | None = None, header: dict[str, Any] | None = None) -> None:
        """Data, codec, model, stream and optimisers; from the weights of ``start``, ``header`` of the file that it goes on from."""
        plan = self.plan
        codec = make_codec(plan.codec)  # first: what it refuses needs no data
        self.tell(Progress("data", note="reading the data"))
        self.dataset = find_data(plan, self.data, codec)
        self.parts = divide(plan, self.dataset)
        if "labelled" in plan.data:
            few = few_labels(self.parts.train, plan.data["labelled"], plan.train.seed)
            self.parts = replace(self.parts, train=few)
        self.codec = self._fitted(codec, start.header if start is not None else header)
        source = self.codec.source(self.parts.train, train=True)
        self.model = make_family(plan.family, self.codec.spec, plan.train.seed)
        self._agree_on_the_end()
        ask = getattr(self.codec, "uneven_classes", None)
        if ask is not None and has(self.model, Translates) and (why := ask(self.parts.train)):
            raise DataError(why)
        if getattr(self.codec, "answers_only", False) and not self.model.reads_given:
            able = [name for name in names("families") if lookup("families", name).reads_given]
            raise RecipeError(
                f"a {plan.family['name']} cannot learn answers and only read what was asked; use {', '.join(able)}"
            )
        self.begun = "" if start is None else begin_with(self.model, start.model, plan.train.start)
        if plan.train.lora:
            lora.add(self.model, plan.train.lora, plan.train.lora_alpha, plan.train.seed)
        self.model.to(self.device)
        if self.model.labelled_share and self.codec.spec.cond is not None:
            source = lift_labelled(source, self.model.labelled_share)
        augment = make_augment(plan.train.augment, self.codec.spec, self.codec) if plan.train.augment else None
        self.stream = Stream(
            source, plan.train.batch, seed=plan.train.seed, rank=self.rank, world=self.world,
            augment=augment, lengths=self._lengths(source), device=self.device,
        )  # fmt: skip
        self.optims = make_optims(self.model, plan.train.steps, optim_table(plan.optim))
        self.ema = Ema(self.model, plan.train.ema) if plan.train.ema else None
        self.rng = Rng(plan.train.seed + 1 + 1009 * self.rank, device=self.device)
        self.held = _held_rows(self.codec, self.parts.held, 256)
        self.asked = tuning.questions(self.codec, self.parts.held)
        watched = plan.train.monitor and len(self.optims) > 1 and self.model.game
        one = self.world == 1  # ranks could see different samples, and part ways
        self.monitor = self._make_monitor() if watched and one else None
        self.unwatched = watched and self.monitor is None
        self.start = 0
        self.fingerprint = fingerprint(self.dataset.items)
        own = Path(str(self.data if self.data is not None else plan.data.get("name", "")))
        self.files = of_files(own) if own.exists() else {"bytes": 0, "count": 0, "files": []}
        self.parameters = sum(p.numel() for p in self.model.parameters())
        self.conditions = []
        if self.codec.spec.cond is not None:
            self.conditions = _conditions(self.codec, self.parts.train)
        elif getattr(self.codec, "answers_only", False):
            self.conditions = _questions(self.codec, self.parts.train)

    def _agree_on_the_end(self) -> None:
        """Texts that are given are padded with an end, which a tokenizer of other people's may have anywhere."""
        inner: Any = getattr(self.codec, "text", self.codec)
        knows = getattr(getattr(self.model, "encoder", None), "end", None)
        if getattr(inner, "foreign", None) is None or knows is None or knows == inner.end:
            return
        raise RecipeError(
            f"texts of {inner.tokenizer} end with token {inner.end}, and the {self.plan.family['name']} takes {knows} for it; "
            f"set family.end = {inner.end}"
        )

    def _fitted(self, codec: Codec, earlier: dict[str, Any] | None) -> Codec:
        """Fitted on the training part; with ``train.start`` a codec of numbers keeps what they meant to the model there."""
        if not self.plan.train.start or earlier is None or self.plan.codec["name"] == "image":
            return codec.fit(self.parts.train)
        adopt = getattr(codec, "adopt", None)
        if adopt is not None and earlier["recipe"]["codec"]["name"] != self.plan.codec["name"]:
            adopt(earlier["recipe"]["codec"], earlier["codec"])
            return codec.fit(self.parts.train)
        free: frozenset[str] = getattr(codec, "free", frozenset())
        there, here = (
            {k: v for k, v in c.items() if k not in free} for c in (earlier["recipe"]["codec"], self.plan.codec)
        )
        if there != here:
            raise RecipeError(
                f"train.start is {self.plan.train.start}, whose [codec] is {earlier['recipe']['codec']}; set it as there"
            )
        return codec.load_state(earlier["codec"])

    def _make_monitor(self) -> Monitor | None:
        rows = _held_rows(self.codec, self.parts.train, 1024)
        if rows is None or len(rows) < _WATCHED:
            return None
        modes = Modes(self.codec.spec, rows)
        names = getattr(self.codec, "classes", None)

        def name(mode: int) -> str:
            told = f"{float(modes.shares[mode]):.0%} of the data"
            if modes.classes is not None:
                label, share = modes.classes[mode]
                return f"{names[label] if names else f'class {label}'} ({share:.0%} of a cluster, {told})"
            row = self.codec.decode(modes.real.x[modes.typical[mode]][None].cpu())[0].value
            if self.codec.medium == "points":
                return f"near ({', '.join(f'{v:.2g}' for v in row.tolist())}), {told}"
            return f"cluster {mode + 1}, {told}"

        return Monitor(self.model, self.optims, self.ema, modes, self.plan.train.steps, self._note, name)

    def _go_on(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        if header["fingerprint"] != self.fingerprint:
            raise DataError(
                f"the data at {self.data or self.dataset.name} changed since {self.out} was begun; use another --out"
            )
        checkpoint.unpack(tensors, self.model, self.optims, self.ema, self.rng)
        if header["monitor"] is None:  # it was begun by several processes
            self.monitor = None
        if self.monitor is not None:
            good = {k.removeprefix("good."): v for k, v in tensors.items() if k.startswith("good.")}
            self.monitor.load_state(header["monitor"], good)
        if self.rank:  # the file's own stream is rank 0's
            mine = tensors.get(f"rank.{self.rank}.rng")
            if mine is None:  # there were fewer ranks before
                self.rng = self.rng.fork(f"rank {self.rank}")
            else:
                self.rng.load_state([mine])
        self.start, self.stream.position, self.seconds = header["step"], header["position"], header["seconds"]
        self.best, self.waited, self.notes = header["best"], header["waited"], header["notes"]
        self.first_losses = header["first_losses"]
        cut_log(self.out / LOG, self.start)
        self.tell(Progress("train", self.start, self.plan.train.steps, note=f"going on from step {self.start}"))

    def _fit(self) -> None:
        plan = self.plan
        self.began = self.told = self.saved = time.perf_counter()
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, Tensor] = {}
        self.done = self.kept = self.start
        self.every_log = max(1, plan.train.steps // 400)
        self.every_check = max(1, plan.train.steps // plan.train.checks) if plan.train.checks else 0
        self.events = _events(self.out) if plan.train.tensorboard and self.rank == 0 else None
        if self.unwatched and _UNWATCHED not in self.notes and not self.rank:
            self._note(_UNWATCHED)
        with patient_interrupt() as self.interrupted, suppress(_Stop):
            if self.monitor is not None and not self.start:
                self.monitor.begin()
            while self.done < plan.train.steps:
                try:
                    fit(
                        self.model, self.stream, self.optims, steps=plan.train.steps, rng=self.rng, start=self.done,
                        accum=plan.train.accum, clip=plan.train.clip, bf16=use_bf16(plan.train.precision, self.device),
                        ema=self.ema, watch=self._watch,
                    )  # fmt: skip
                except DivergedError as error:
                    if self.monitor is not None and self.monitor.diverged(self.done, error):
                        continue
                    kept = self.out / WEIGHTS
                    raise DivergedError(
                        f"step {self.done + 1}: {error}; lower optim.lr; "
                        + (
                            f"the weights of step {self.kept} are kept in {kept}"
                            if self.kept
                            else "none were saved yet"
                        )
                    ) from error
            if self.monitor is not None:
                self.monitor.end(self.done)
        if self.known and not self.rank:
            self._compare()
        self._save(stopped=True)
        if self.plan.train.lora and not self.rank:
            checkpoint.save(self.out / ADAPTERS, lora.tensors(self.model), {"lora_alpha": self.plan.train.lora_alpha})

    def _knows(self) -> dict[str, Any]:
        """What the model says of what was kept back and of ``train.remember``, and what it answers; see ``workshop.tuning``."""
        # a pseudo-likelihood takes a pass for each token: too long to be measured unasked
        if not self.codec.spec.is_text or getattr(self.model, "bound", "") == "estimate":
            return {}
        self.tell(Progress("train", self.start, self.plan.train.steps, note="measuring what it knows"))
        held = "the held-out answers" if self.asked else "the held-out text"
        texts = {} if self.held is None else {held: self.held}
        if self.plan.train.remember:
            items = tuning.remembered(self.plan, self.codec)
            rows = _held_rows(self.codec, items, 256)
            texts |= {self.plan.train.remember: rows} if rows is not None else {}
        self.model.eval()
        with self.ema.swapped(self.model) if self.ema is not None else nullcontext():
            found = tuning.measured(
                self.model, self.codec, texts, self.asked, rows=self.plan.train.batch, device=self.device
            )
        self.model.train()
        return found

    def _compare(self) -> None:
        """What training did to what the start knew."""
        codec: Any = self.codec
        real = [codec.asked(item) for item in self.asked]
        said = [(before[-1].content if before else "", answer) for before, answer in real]
        self.tuning = tuning.compare(self.known, self._knows(), said)
        for note in tuning.told(self.tuning):
            self._note(note)

    def _watch(self, step: int, played: Sequence[tuple[Turn, Terms]]) -> None:
        self.done = step + 1
        for turn, terms in played:
            for part, values in terms.parts.items():
                key = f"{turn.player}.{part}" if turn.player else part
                self.sums[key] = self.sums.get(key, 0) + values.sum()
                self.counts[key] = self.counts.get(key, 0) + terms.count
        last = self.done == self.plan.train.steps
        if self.monitor is not None and (told := self.monitor.after(step, played)):
            self._log(told)
        if self.done % self.every_log == 0 or last or self.done == 1:
            self._log()
        if self.every_check and (self.done % self.every_check == 0 or last):
            self._check()
        now = time.perf_counter()
        if now - self.told > 0.2 or last:
            self.told = now
            rate = (self.done - self.start) / (now - self.began)
            left = (self.plan.train.steps - self.done) / rate
            self.tell(
                Progress("train", self.done, self.plan.train.steps, self.last_losses, now - self.began, rate, left)
            )
        if self.plan.train.sample_every and self.done % self.plan.train.sample_every == 0 and self.rank == 0:
            self._picture()
        due = self.rank == 0 and now - self.saved > self.plan.train.save_seconds
        interrupted, due = map(bool, cluster.most(self.interrupted.is_set(), due))
        if interrupted:
            self._save(stopped=False)
            raise KeyboardInterrupt(f"stopped at step {self.done}")
        if due:
            self.saved = now
            self._save(stopped=False)

    def _log(self, extra: Mapping[str, float] | None = None) -> None:
        if not self.sums and not extra:
            return
        means = {k: (v / self.counts[k].clamp_min(1e-12)).item() for k, v in self.sums.items()}
        self.sums, self.counts = {}, {}
        if means:
            self.last_losses = means
            self.first_losses = self.first_losses or means
        row = {
            "step": self.done,
            "seconds": round(self.seconds + time.perf_counter() - self.began, 3),
            **means,
            **(extra or {}),
        }
        self._write(row)
        if self.rank:
            return
        if self.events is not None:
            for key, value in row.items():
                self.events.add_scalar(key, value, self.done)

    def _write(self, row: Mapping[str, Any]) -> None:
        if self.rank:
            return
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            with (self.out / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise OutputError(
                f"cannot write {self.out / LOG}: {error.strerror}; choose another folder with --out"
            ) from error

    def _check(self) -> None:
        """The held-out loss, with the same noise every time; the monitor of overfitting and early stopping."""
        if self.held is None:
            return
        losses: dict[str, float] = {}
        total = 0.0
        self.model.eval()
        for turn in self.model.turns():
            for piece in self.held.to(self.device).split(max(1, len(self.held) // self.plan.train.batch)):
                terms = turn.loss(piece, Rng(0, device=self.device))
                for part, values in terms.parts.items():
                    key = f"held/{turn.player}.{part}" if turn.player else f"held/{part}"
                    share = len(piece) / len(self.held)
                    value = share * (values.detach().sum() / terms.count.detach()).item()
                    losses[key] = losses.get(key, 0.0) + value
                    total += 0.0 if part in self.model.aside else value
        self.model.train()
        self._log(losses)
        players = {turn.player for turn in self.model.turns()}
        if len(players) > 1:
            return  # players at odds have no common loss to watch
        (total,) = cluster.most(-math.inf if self.rank else total if math.isfinite(total) else math.inf)
        if not math.isfinite(total):
            return
        if total < self.best:
            self.best, self.waited = total, 0
            if self.plan.train.patience:
                self._save(stopped=False, name="best.safetensors")
            return
        self.waited += 1
        patience = self.plan.train.patience
        if self.waited == 4:
            self._note(
                f"step {self.done}: the held-out loss has not improved for 4 checks; train less (train.steps), give more data, or set train.patience"
            )
        if patience and self.waited >= patience:
            self._note(
                f"step {self.done}: stopped early after {patience} checks without improvement; went back to the best"
            )
            tensors, _ = checkpoint.load(self.out / "best.safetensors")
            rng = Rng(0, device=self.device)
            rng.load_state(self.rng.state())
            checkpoint.unpack(tensors, self.model, self.optims, self.ema, rng)
            raise _Stop

    def _note(self, text: str) -> None:
        self.notes.append(text)
        self._write({"step": self.done, "note": text})
        self.tell(Progress("train", self.done, self.plan.train.steps, note=text))

    def _picture(self) -> None:
        run = self._snapshot()
        with self.ema.swapped(self.model) if self.ema is not None else nullcontext():
            run.sample(16).show(self.out / "samples" / f"step-{self.done:07d}")
        self.model.train()

    def _snapshot(self) -> Run:
        return Run(self.out, self.plan, self.codec, self.model, self._header(stopped=False))

    def _header(self, stopped: bool) -> dict[str, Any]:
        now = time.perf_counter()
        return {
            "version": bottega.__version__,
            "recipe": self.plan.to_dict(),
            "spec": self.codec.spec.to_dict(),
            "codec": self.codec.state(),
            "step": self.done,
            "stopped": stopped,
            "position": self.stream.position,
            "seconds": round(self.seconds + now - self.began, 3),
            "rows_seen": self.stream.position * self.plan.train.batch * self.world,
            "fingerprint": self.fingerprint,
            "data_argument": str(self.data or ""),
            "data": {k: getattr(self.dataset, k) for k in ("name", "medium", "source", "licence", "about")}
            | {"rows": len(self.dataset.items), "train_rows": len(self.parts.train), "held_rows": len(self.parts.held)}
            | {"copies_kept_together": self.parts.copies, "consent": str(self.plan.data.get("consent", ""))}
            | {"bytes": self.files["bytes"], "file_count": self.files["count"], "files": self.files["files"]},
            "conditions": self.conditions,
            "parameters": self.parameters,
            "device": str(self.device),
            "threads": torch.get_num_threads(),
            "precision": "bf16" if use_bf16(self.plan.train.precision, self.device) else "fp32",
            "best": self.best if math.isfinite(self.best) else 1e300,
            "waited": self.waited,
            "notes": self.notes,
            "known": self.known,
            "tuning": self.tuning,
            "monitor": None if self.monitor is None else self.monitor.state(),
            "first_losses": self.first_losses,
            "last_losses": self.last_losses,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            **self._inner(),
        }

    def _inner(self) -> dict[str, Any]:
        model = getattr(self.codec, "model", None)
        return {} if model is None else {"inner": self.codec.header}  # type: ignore[attr-defined]

    def _save(self, stopped: bool, name: str = WEIGHTS) -> None:
        streams = cluster.gather(self.rng.state()[0])
        if self.rank:
            return
        tensors = checkpoint.pack(self.model, self.optims, self.ema, self.rng)
        tensors |= {f"rank.{r}.rng": state for r, state in enumerate(streams) if r}
        if self.monitor is not None and not stopped:
            tensors |= {f"good.{name}": t for name, t in self.monitor.good.items()}
        inner = getattr(self.codec, "model", None)
        if inner is not None:
            tensors |= {f"inner.{k}": v for k, v in inner.state_dict().items()}
        checkpoint.save(self.out / name, tensors, self._header(stopped))
        if name == WEIGHTS:
            self.kept = self.done


class _Stop(Exception):
    pass


@contextmanager
def patient_interrupt() -> Iterator[threading.Event]:
    """Ctrl-C sets the event, so that training stops between two steps; a second Ctrl-C stops at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def on_signal(number: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt("stopped at once; the last checkpoint is whole")
        event.set()

    old = {s: signal.signal(s, on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for s, handler in old.items():
            signal.signal(s, handler)


def optim_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """The ``[optim]`` table, its keys and kinds checked."""
    for where, content in {
        "optim": table,
        **{f"optim.{k}": v for k, v in table.items() if isinstance(v, Mapping)},
    }.items():
        check_arguments(Optim, {k: v for k, v in content.items() if not isinstance(v, Mapping)}, where, skip=2)
    return dict(table)


def divide(plan: Recipe, dataset: Dataset) -> Split:
    """The data set's training, held-out and test parts; the same for the same recipe and data.

    Raises:
        DataError: too few pieces to keep any back.
    """
    together = bool(plan.data.get("group", not dataset.truth))  # draws of a made world repeat by chance, not by leak
    return split(
        dataset.items,
        held=float(plan.data.get("held", 0.1)),
        test=float(plan.data.get("test", 0.0)),
        seed=plan.train.seed,
        group=together,
    )


def _held_rows(codec: Codec, items: Sequence[Item], most: int) -> Batch | None:
    if not items:
        return None
    source = codec.source(items, train=False)
    if not len(source):
        return None
    return source.take(Rng(0).permutation(len(source))[:most])


def _questions(codec: Any, items: Sequence[Item], most: int = 16) -> list[Any]:
    """Different things that users say in training, short ones, to be asked again when nobody says what to ask."""
    said = dict.fromkeys(before[-1].content for item in items if (before := codec.asked(item)[0]))
    short = [text for text in said if len(text) <= 300] or list(said)
    return [short[i] for i in Rng(0).permutation(len(short))[:most].tolist()] or ["Hello."]


def _conditions(codec: Codec, items: Sequence[Item], most: int = 256) -> list[Any]:
    """Up to ``most`` different things that are known of training pieces, in a stable order.

    A codec whose condition is a part of the piece (a table's column) or a picture says them itself.
    """
    inner: Any = getattr(codec, "inner", codec)
    if codec.spec.given_picture or codec.spec.given_sound:
        pictures: list[Any] = inner.given_examples(items)
        return pictures
    if codec.spec.given_text:
        most = 16  # texts may be long, and few are enough to show what a run makes of them
    own = getattr(inner, "conditions", None)
    seen = dict.fromkeys(item.cond for item in items if item.cond is not None)
    values = own() if own else sorted(seen, key=lambda v: (len(v), v) if isinstance(v, str) else (0, str(v)))
    if len(values) <= most:
        return values
    return [values[i] for i in Rng(0).permutation(len(values))[:most].tolist()]


def cut_log(path: Path, step: int) -> None:
    """Forget lines of steps that were not saved, so that a resumed log has each step once."""
    if path.exists():
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
        write_atomically(path, "".join(f"{line}\n" for line in lines))


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError):
        return math.inf  # a line cut short by a kill


def _events(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise BottegaError("train.tensorboard needs TensorBoard: pip install 'bottega[track]'") from error
    return SummaryWriter(str(out / "events"))
