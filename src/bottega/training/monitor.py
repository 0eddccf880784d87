"""The stability monitor of families with several players: it sees trouble, says so, goes back, slows a player.

Three kinds of signs. A loss that is not a number (the loop raises it). Gradient norms: one that is a hundred times what is
usual, or a thousandth of it, for a while. Samples, looked at now and then: modes that were there and are lost, a distance
to real examples that grows again or never fell. The first time in a run that had gone well, it only goes back to the last
good weights; after that, and in a run that never went well, it also lowers a learning rate: of the player whose gradient
explodes, of the rival of one whose gradient vanished, of the generator when the samples are at fault. All that it knows is
in ``state``, so a resumed run equals a whole one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bottega.core import Family, Rng, Terms, Turn
from bottega.training import checkpoint
from bottega.training.ema import Ema
from bottega.training.modes import Look, Modes
from bottega.training.optim import Optim

__all__ = ["Monitor"]

LOUD, QUIET = math.log(100.0), math.log(1e-3)  # of a gradient's norm against what is usual
_LOUD_STEPS, _QUIET_STEPS, _WARM = 5, 20, 50  # so many in succession are a sign; before so many, nothing is usual
_SLOWER, _MOST = 0.3, 8  # what a learning rate is multiplied with; how often it steps in
_SAMPLES, _CHUNK = 512, 128
_LEARNT = 0.7  # the share of modes that makes a state worth going back to
_FAR = 0.7  # an energy distance that training may pass through but not stay at; all samples at one point have about 1


class Monitor:
    """Watches one training.

    Args:
        model: a family with several players.
        optims: their optimisers; ``Optim.scale`` is what it lowers.
        ema: the running average, which goes back with the weights.
        modes: of the real examples.
        steps: how long training lasts; samples are looked at 40 times, but not more often than every 25 steps.
        say: told one sentence when something is wrong and what was done.
        name: what a mode is called in such a sentence.
    """

    def __init__(
        self,
        model: Family,
        optims: Mapping[str, Optim],
        ema: Ema | None,
        modes: Modes,
        steps: int,
        say: Callable[[str], None],
        name: Callable[[int], str] = lambda mode: f"cluster {mode + 1}",
    ) -> None:
        self.model, self.optims, self.ema, self.modes, self.say, self.name = model, optims, ema, modes, say, name
        self.every = max(25, steps // 40)
        self.steps = steps
        self.usual: dict[str, list[float]] = {}  # player: running log norm, how many steps it rests on, loud, quiet
        self.best: list[float] = []  # at the best look: distance, spread, how many modes are missing
        self.first = math.inf  # the distance before training
        self.doubts, self.rescues, self.good_step = 0, 0, 0
        self.good: dict[str, Tensor] = {}
        self.good_usual: dict[str, float] = {}  # log norms that were usual when it was kept

    def begin(self) -> None:
        """Look at the untrained model, and keep it as the first state to go back to."""
        look = self.look()
        self.first = look.distance
        self._keep(0, look)

    def after(self, step: int, played: Sequence[tuple[Turn, Terms]]) -> dict[str, float]:
        """See the finished ``step`` (counted from 0); returns what is worth a line in the log, nothing most of the time."""
        if trouble := self._norms(played):
            self._rescue(step, *trouble)
        if (step + 1) % self.every:
            return {}
        look = self.look()
        if trouble := self._judge(step, look):
            self._rescue(step, *trouble)
        told = {"monitor/distance": look.distance, "monitor/spread": look.spread}
        told["monitor/modes"] = float(self.modes.count - len(look.missing))
        told |= {f"monitor/gradient_{p}": math.exp(u[0]) for p, u in self.usual.items()}
        rates = [math.exp(u[0]) for u in self.usual.values()]
        if len(rates) == 2 and any(rates):
            told["monitor/balance"] = rates[0] / sum(rates)
        return {k: v for k, v in told.items() if math.isfinite(v)}

    def diverged(self, step: int, error: Exception) -> bool:
        """Go back after a loss or gradient that is not a number; False when it has done so too often."""
        return self._rescue(step, str(error), list(self.optims))

    def end(self, step: int) -> None:
        """Say which modes the finished model lacks."""
        if step < 10 * self.every:
            return  # too short to have learnt them
        look = self.look()
        if len(look.missing) >= max(2, self.modes.count // 4):
            self.say(
                f"step {step}: mode collapse: the samples lack {self._named(look)}; try family.r1 or family.penalty above 0, "
                "a lower optim.lr, or more steps"
            )

    # --- what it sees ------------------------------------------------------------------------------------------------

    def _norms(self, played: Sequence[tuple[Turn, Terms]]) -> tuple[str, list[str]] | None:
        """The first player whose gradient is far from usual for long, and whose learning rate should fall."""
        found = None
        for turn, terms in played:
            if turn.every > 1 or terms.norm is None:
                continue  # a lazy regulariser has a scale of its own
            log = math.log(max(float(terms.norm), 1e-30))
            seen = self.usual.setdefault(turn.player, [log, 0, 0, 0])
            off = log - seen[0] if seen[1] >= _WARM else 0.0
            seen[2] = seen[2] + 1 if off > LOUD else 0
            seen[3] = seen[3] + 1 if off < QUIET else 0
            if abs(off) < -QUIET and not seen[2]:
                seen[0] += (log - seen[0]) * max(0.02, 1 / (seen[1] + 1))
                seen[1] += 1
            rival = [p for p in self.optims if p != turn.player] or [turn.player]
            if seen[2] >= _LOUD_STEPS or off > 2 * LOUD:
                who = (
                    [turn.player] if self.good_step else list(self.optims)
                )  # at first it is hard to say whose fault it is
                found = found or (f"the gradient of the {turn.player} explodes", who)
            elif seen[3] >= _QUIET_STEPS:
                found = found or (
                    f"the gradient of the {turn.player} has vanished",
                    rival if self.good_step else list(self.optims),
                )
        return found

    def _judge(self, step: int, look: Look) -> tuple[str, list[str]] | None:
        """What the samples say; two looks in succession must agree, one is enough where all samples are one."""
        distance, spread, missing = self.best
        players = [p for p in self.optims if "critic" not in p] or list(self.optims)  # who outran the judge
        if not math.isfinite(look.distance):
            return "samples are not numbers", players
        had = self.modes.count - missing
        learnt = had >= _LEARNT * self.modes.count  # before, there is nothing to lose
        one = learnt and look.spread < 0.1 * spread
        has = self.modes.count - len(look.missing)
        lost = learnt and has <= had / 2
        gone = look.distance > max(_FAR, distance + 0.5)
        stuck = step + 1 >= 0.2 * self.steps and (look.distance > _FAR or has <= self.modes.count / 2)
        self.doubts = self.doubts + 1 if one or lost or gone or stuck else min(self.doubts + 1, 0)
        if one or lost and self.doubts >= 2:
            return f"mode collapse: the samples lack {self._named(look)}", players
        if gone and self.doubts >= 4:
            return f"samples move away from the data (distance {look.distance:.2g}, was {distance:.2g})", players
        if stuck and self.doubts >= 4:
            return f"training gets nowhere: the samples lack {self._named(look)}", players
        better = look.distance + len(look.missing) / self.modes.count <= distance + missing / self.modes.count + 0.05
        quiet = not any(u[2] or u[3] for u in self.usual.values())
        if better and quiet and self.doubts <= 0 and has >= _LEARNT * self.modes.count:
            self._keep(step + 1, look)
        return None

    def look(self) -> Look:
        """Samples of the model as it is now, beside real examples."""
        n, real = _SAMPLES, self.modes.real
        device = next(self.model.parameters()).device
        rng, training = Rng(0, device=device), self.model.training
        cond = None
        if real.cond is not None and self.model.spec.cond is not None:
            cond = real.cond[torch.arange(n) % len(real)].to(device)
        self.model.eval()
        parts = [
            self.model.sample(min(_CHUNK, n - at), rng, None if cond is None else cond[at : at + _CHUNK])
            for at in range(0, n, _CHUNK)
        ]
        self.model.train(training)
        return self.modes.look(torch.cat(parts))

    def _named(self, look: Look) -> str:
        names = [self.name(i) for i in look.missing[:6]]
        more = f" and {len(look.missing) - 6} more" if len(look.missing) > 6 else ""
        return f"{len(look.missing)} of {self.modes.count} modes ({'; '.join(names)}{more})" if names else "variety"

    # --- what it does ------------------------------------------------------------------------------------------------

    def _keep(self, step: int, look: Look) -> None:
        tensors = checkpoint.pack(self.model, self.optims, self.ema, Rng(0))
        self.good = {k: v.detach().clone() for k, v in tensors.items()}
        self.good_step = step
        self.good_usual = {player: seen[0] for player, seen in self.usual.items() if step}
        self.best = [look.distance, look.spread, len(look.missing)]

    def _rates(self, players: Sequence[str]) -> str:
        return f"the learning rate of {' and '.join(players)} to {self.optims[players[0]].scale:.2g} of the recipe's"

    def _rescue(self, step: int, trouble: str, players: Sequence[str]) -> bool:
        if self.rescues >= _MOST:
            if self.rescues == _MOST:
                self.say(f"step {step + 1}: {trouble}; the monitor stepped in {_MOST} times and gives up")
                self.rescues += 1
            return False
        self.rescues += 1
        checkpoint.unpack(self.good, self.model, self.optims, self.ema, Rng(0))
        self.model.forget()  # what the losses of this step noted is of weights that are gone
        once = self.good_step > 0 and self.rescues == 1  # it had gone well: an accident, until it comes again
        for player in players:
            self.optims[player].scale *= 1.0 if once else _SLOWER if self.good_step else _SLOWER**2
        self.doubts = -self.steps // (8 * self.every)  # time to show itself
        # what had become usual since is of the failure, and would call the next good step loud
        self.usual = {player: [norm, _WARM, 0, 0] for player, norm in self.good_usual.items()}
        back = f"went back to the weights of step {self.good_step}"
        self.say(f"step {step + 1}: {trouble}; {back}" + ("" if once else f" and lowered {self._rates(players)}"))
        return True

    # --- what it must remember ---------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """JSON-ready; with ``good``, everything needed to go on."""
        return {
            "usual": {k: list(v) for k, v in self.usual.items()}, "good_usual": dict(self.good_usual), "best": list(self.best), "first": self.first,
            "doubts": self.doubts, "rescues": self.rescues, "good_step": self.good_step,
            "scales": {p: o.scale for p, o in self.optims.items()},
        }  # fmt: skip

    def load_state(self, state: Mapping[str, Any], good: Mapping[str, Tensor]) -> None:
        """Go on from a ``state`` and the ``good`` tensors."""
        self.usual, self.best, self.first = (
            {k: list(v) for k, v in state["usual"].items()},
            list(state["best"]),
            state["first"],
        )
        self.good_usual = dict(state.get("good_usual", {}))  # runs of before did not keep it
        self.doubts, self.rescues, self.good_step = state["doubts"], state["rescues"], state["good_step"]
        self.good = dict(good)
        for player, scale in state["scales"].items():
            self.optims[player].scale = scale
