"""Thumbs and edits, and what they change: preferences, a retrained model, a comparison, promotion and the way back.

The loop: ``rate`` keeps what users say of answers; ``preferences`` makes pairs of it; ``retrain`` learns from them (DPO,
Rafailov et al. 2023, by ``workshop.rewarding``, or fine-tuning on what was liked); ``compare`` measures the new model against
the old one; ``try_out`` lets both speak, each in its share of the conversations, and ``trial_so_far`` counts their thumbs;
``promote`` puts it in its place and ``rollback`` takes it back. Every step is a line of ``.bot/versions.jsonl`` that holds the
hash of the line before it and of the weights, so that no step can be changed unseen.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bottega.core import BottegaError, DataError, Rng
from bottega.core.files import write_atomically
from bottega.core.measure import wilson
from bottega.crafts import chat_tables as t
from bottega.crafts.chat_folder import Folder
from bottega.crafts.chat_memory import Memory
from bottega.crafts.chat_speaker import LIVE, TRIAL, RunSpeaker, Speaker, live, trial_of

__all__ = [
    "Pair", "Taste", "Trial", "Votes", "Win", "compare", "drop", "history", "judge_of", "live_win", "preferences", "promote", "prompts_of",
    "rate", "retrain", "rollback", "trial_so_far", "try_out", "version_of",
]  # fmt: skip

VERSIONS = "versions.jsonl"
LEAST_PAIRS = 20


@dataclass(frozen=True)
class Pair:
    """Two answers to one message, of which one was preferred."""

    prompt: str
    chosen: str
    rejected: str


def rate(memory: Memory, message: int, user: str, thumb: int, edit: str = "") -> None:
    """Keep what a user says of an answer; on the disk when this returns. A second time takes the place of the first.

    Args:
        memory: of the bot.
        message: number of the answer.
        user: who rates; of their own conversations only.
        thumb: 1, -1, or 0.
        edit: what should have been said.

    Raises:
        DataError: no such answer of this user's, or nothing is said of it.
    """
    if thumb not in (-1, 0, 1) or (not thumb and not edit.strip()):
        raise DataError(f"thumb is {thumb!r} and there is no edit; give a thumb of 1 or -1, or an edit")
    if len(edit) > 4000:
        raise DataError(f"the edit has {len(edit):,} characters, and 4,000 are the most")
    m, v = t.MESSAGES.c, t.CONVERSATIONS.c
    with memory.writes() as c:
        row = c.execute(
            sa.select(m.text, m.intent, m.route)
            .join(t.CONVERSATIONS)
            .where(m.id == message, m.role == "bot", v.bot == memory.bot, v.user == user)
        ).first()
        if row is None:
            raise DataError(f"there is no answer {message} to you; rate one of your own conversations")
        f = t.FEEDBACK.c
        where = (f.message == message) & (f.user == user)
        first = c.execute(sa.select(f.thumb).where(where)).scalar()
        told = {"thumb": thumb, "edit": edit.strip(), "at": time.time()}
        if c.execute(t.FEEDBACK.update().where(where).values(**told)).rowcount == 0:
            c.execute(t.FEEDBACK.insert().values(message=message, user=user, **told))
        if row.route == "canned" and thumb and first != thumb:
            from bottega.crafts.chat import _hash

            memory.liked(user, f"{row.intent}/{_hash(row.text)}", thumb > 0, c)


def _rated(memory: Memory) -> list[Any]:
    """Every rated answer with the message before it."""
    m, q, f, v = t.MESSAGES.c, t.MESSAGES.alias("asked"), t.FEEDBACK.c, t.CONVERSATIONS.c
    with memory.reads() as c:
        return list(c.execute(
            sa.select(q.c.text.label("prompt"), m.text.label("answer"), m.route, m.version, m.conversation, f.thumb, f.edit)
            .select_from(t.FEEDBACK.join(t.MESSAGES).join(t.CONVERSATIONS, m.conversation == v.id)
                         .join(q, (q.c.conversation == m.conversation) & (q.c.turn == m.turn) & (q.c.role == "user")))
            .where(v.bot == memory.bot).order_by(f.at)
        ).all())  # fmt: skip


def preferences(memory: Memory, *, route: str = "generated") -> tuple[list[Pair], list[tuple[str, str]]]:
    """What users prefer: pairs, and good answers to go on learning from.

    An edit is preferred to what it edits. Of two answers to one message (case and marks apart) one with thumbs up is
    preferred to one with thumbs down. Only what the model said is learned from.
    """
    pairs: list[Pair] = []
    good: dict[str, list[str]] = defaultdict(list)
    bad: dict[str, list[str]] = defaultdict(list)
    asked: dict[str, str] = {}
    for row in _rated(memory):
        if route and row.route != route:
            continue
        key = " ".join(re.findall(r"\w+", row.prompt.lower()))
        asked.setdefault(key, row.prompt)
        if row.edit and row.edit != row.answer:
            pairs.append(Pair(row.prompt, row.edit, row.answer))
            good[key].append(row.edit)
        elif row.thumb > 0:
            good[key].append(row.answer)
        elif row.thumb < 0:
            bad[key].append(row.answer)
    for key, some in bad.items():
        pairs += [Pair(asked[key], a, b) for a, b in zip(_cycled(good[key], len(some)), some, strict=False) if a != b]
    liked = [(asked[key], text) for key, some in good.items() for text in dict.fromkeys(some)]
    return list(dict.fromkeys(pairs)), liked


def _cycled(some: Sequence[str], n: int) -> list[str]:
    return [some[k % len(some)] for k in range(n)] if some else []


def retrain(
    folder: Folder, memory: Memory, out: Path | None = None, *, way: str = "auto", steps: int = 0, seed: int = 0, beta: float = 0.1,
    kl: float = 3.0, anchor: float = 1.0, lr: float = 0.0, progress: Callable[[Any], None] | None = None, device: str = "auto",
) -> Path:  # fmt: skip
    """A new model from what users said of the old one's answers; the old one stays as it is.

    Args:
        folder: of the bot.
        memory: of the bot.
        out: where it is written; ``.bot/models/N`` by default.
        way: ``"dpo"`` on pairs, ``"tune"`` on good answers, or ``"auto"``: DPO where there are 20 pairs.
        steps: of the optimiser; by default 24 times over the pairs, 100 to 600.
        seed: of the training.
        beta: see ``workshop.rewarding.Feedback``.
        kl: see there.
        anchor: see there; without it likelihood leaves the chosen answers too.
        lr: learning rate; 0 is a thirtieth of the run's own for DPO.
        progress: told a few times a second.
        device: to train on.

    Returns:
        The folder of the new run.

    Raises:
        BottegaError: the bot has no run of its own, or there is too little to learn from.
    """
    from bottega.crafts.endpoint import is_address
    from bottega.workshop.run import load

    name = live(folder)
    if not name or is_address(name):
        raise BottegaError(
            f"{folder.name} has no model of its own to retrain; name a run as base under [model] in bot.toml"
        )
    pairs, good = preferences(memory)
    if way not in ("auto", "dpo", "tune"):
        raise DataError(f"way is {way!r}; use auto, dpo or tune")
    way = ("dpo" if len(pairs) >= LEAST_PAIRS else "tune") if way == "auto" else way
    if (way == "dpo" and len(pairs) < LEAST_PAIRS) or (way == "tune" and len(good) < LEAST_PAIRS):
        raise BottegaError(
            f"{len(pairs)} pairs and {len(good)} good answers are too few to learn from; {LEAST_PAIRS} are the least. "
            "Thumbs on generated answers and edits make them"
        )
    models = folder.state / "models"
    n = 1 + max((int(p.name) for p in models.glob("*") if p.name.isdecimal()), default=0)
    out = out or models / str(n)
    file = folder.state / f"feedback-{out.name}.jsonl"
    if way == "dpo":
        from bottega.workshop.rewarding import Feedback, reward

        write_atomically(file, "".join(json.dumps(asdict(p), ensure_ascii=False) + "\n" for p in pairs))
        batch = min(16, len(pairs))
        steps = steps or min(600, max(100, 24 * len(pairs) // batch))
        start = load(name, device=device)
        lr = lr or float(start.recipe.optim.get("lr", 1e-3)) / 30
        made = reward(start, Feedback(pairs=str(file), kl=kl, steps=steps, batch=batch, beta=beta, anchor=anchor, lr=lr, n=128, seed=seed), out, progress=progress)  # fmt: skip
    else:
        import bottega

        rows = [{"prompt": a, "answer": b} for a, b in good]
        write_atomically(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        changes: dict[str, Any] = {
            "train.patience": 0,
            "train.steps": steps or min(400, max(40, 10 * len(rows))),
            "train.seed": seed,
        } | ({"optim.lr": lr} if lr else {})
        made = bottega.train("chat", data=file, out=out, base=name, set=changes, judge=False, device=device)  # type: ignore[arg-type]
    _log(
        folder,
        {
            "what": "retrained",
            "run": str(out),
            "weights": made.weights_hash,
            "from": name,
            "way": way,
            "pairs": len(pairs),
            "good": len(good),
        },
    )
    return out


# ---- is it better? ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Win:
    """How often one of two was preferred.

    Attributes:
        rate: share of comparisons in which the new one won; a tie is half a win.
        low, high: its 95 % interval (Wilson 1927).
        n: comparisons.
        ties: of them.
        judge: who preferred.
    """

    rate: float
    low: float
    high: float
    n: int
    ties: int
    judge: str

    @classmethod
    def of(cls, wins: float, n: int, ties: int, judge: str) -> Win:
        """From counts."""
        low, high = wilson(wins / n, n) if n else (0.0, 1.0)
        return cls(wins / n if n else 0.5, low, high, n, ties, judge)


Prefers = Callable[[str, str, str], float]
"""``(prompt, a, b) -> `` above 0 where ``a`` is preferred, below where ``b`` is, 0 for neither."""


def answers(speaker: Speaker, folder: Folder, prompts: Sequence[str], seed: int = 0) -> list[str]:
    """What a speaker says to each prompt, alone."""
    return [
        "".join(speaker.stream(speaker.prompt(folder, p, [], [], {}, folder.language), folder, seed=seed + k)).strip()
        for k, p in enumerate(prompts)
    ]


def compare(
    new: Speaker, old: Speaker, folder: Folder, prompts: Sequence[str], prefers: Prefers, *, judge: str, seed: int = 0
) -> Win:
    """Both answer the same messages; somebody who does not know whose answer is whose prefers one of each two."""
    a, b = answers(new, folder, prompts, seed), answers(old, folder, prompts, seed)
    flips = Rng(seed).uniform(len(prompts)).tolist()
    wins, ties = 0.0, 0
    for prompt, x, y, flip in zip(prompts, a, b, flips, strict=True):
        said = 0.0 if x == y else prefers(prompt, y, x) if flip < 0.5 else -prefers(prompt, x, y)
        wins += 0.5 if not said else float(said < 0)
        ties += not said
    return Win.of(wins, len(prompts), ties, judge)


def prompts_of(memory: Memory, limit: int = 200) -> list[str]:
    """Different messages that users sent, the latest first."""
    m, v = t.MESSAGES.c, t.CONVERSATIONS.c
    with memory.reads() as c:
        rows = c.execute(sa.select(m.text).join(t.CONVERSATIONS).where(v.bot == memory.bot, m.role == "user").order_by(m.id.desc()).limit(20 * limit)).all()  # fmt: skip
    return list(dict.fromkeys(row.text for row in rows))[:limit]


class Taste:
    """A judge that learned from the users' own preferences: logistic regression on what two answers' words and length differ in.

    It is no user: ``held`` is the share of pairs kept back on which it agrees with them, and a win rate by it means no more
    than that allows.

    Args:
        pairs: at least 20.
        seed: of those kept back.
    """

    def __init__(self, pairs: Sequence[Pair], seed: int = 0) -> None:
        import numpy as np
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        if len(pairs) < LEAST_PAIRS:
            raise BottegaError(f"{len(pairs)} pairs are too few for a judge; {LEAST_PAIRS} are the least")
        self._words = TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, min_df=1, token_pattern=r"(?u)\b\w+\b|[!?]"
        )
        self._words.fit([x for p in pairs for x in (p.chosen, p.rejected)])
        order = np.random.default_rng(seed).permutation(len(pairs))
        kept = order[: max(4, len(pairs) // 5)]
        fitted = order[len(kept) :]

        def learn(rows: Any) -> Any:
            x = np.concatenate([self._apart(pairs[i].chosen, pairs[i].rejected) for i in rows])
            return LogisticRegression(C=3.0, max_iter=2000, fit_intercept=False).fit(
                np.concatenate([x, -x]), [1] * len(x) + [0] * len(x)
            )

        first = learn(fitted)
        self.held = float(
            np.mean([(first.decision_function(self._apart(pairs[i].chosen, pairs[i].rejected)) > 0)[0] for i in kept])
        )
        self.held_n = len(kept)
        self._model = learn(order)

    def _apart(self, a: str, b: str) -> Any:
        import numpy as np

        words = self._words.transform([a, b]).toarray()
        lengths = np.array([[math.log1p(len(a.split())) - math.log1p(len(b.split()))]])
        return np.concatenate([words[:1] - words[1:], lengths], 1)

    def __call__(self, prompt: str, a: str, b: str) -> float:
        """Above 0 where users would prefer ``a``."""
        return float(self._model.decision_function(self._apart(a, b))[0])


def judge_of(memory: Memory, rewards: Sequence[str] = (), seed: int = 0) -> tuple[Prefers, str]:
    """Who prefers one of two answers, and what is to be said of them: rewards by name, else a ``Taste`` of the users' pairs."""
    if rewards:
        from bottega.workshop.rewards import make_rewards

        paid = make_rewards(list(rewards))

        def by_reward(prompt: str, a: str, b: str) -> float:
            x, y = paid([a, b], [prompt, prompt])
            return x - y

        return by_reward, " + ".join(rewards)
    taste = Taste(preferences(memory)[0], seed)
    low, high = wilson(taste.held, taste.held_n)
    return taste, (
        f"a judge of the users' pairs, which agrees with {100 * taste.held:.0f} % ({100 * low:.0f} to {100 * high:.0f} %) of "
        f"{taste.held_n} pairs kept from it"
    )


@dataclass(frozen=True)
class Votes:
    """What users said of one version: each conversation in which they rated it is one vote.

    Attributes:
        version: of the weights.
        up, down: conversations with more thumbs up than down, and the other way round.
        even: with as many of both.
        rate: share of ``up`` among up and down.
        low, high: its 95 % interval (Wilson 1927).
    """

    version: str
    up: int
    down: int
    even: int
    rate: float
    low: float
    high: float


def _votes(memory: Memory, *versions: str) -> list[list[int]]:
    """Of each version the votes of its conversations: 1, 0, -1."""
    sums: dict[str, dict[str, int]] = {v: defaultdict(int) for v in versions}
    for row in _rated(memory):
        if row.version in sums and row.thumb:
            sums[row.version][row.conversation] += row.thumb
    return [[(x > 0) - (x < 0) for x in sums[v].values()] for v in versions]


def live_win(memory: Memory, new: str, old: str) -> Win:
    """Two versions that were served side by side, by their users' thumbs.

    Each conversation is one vote of its version (up, down, or none where they cancel); the rate is the chance that a rated
    conversation with the new version went better than one with the old, ties half (Mann and Whitney 1947). The interval
    is Wilson's with the size of the smaller group, which is wider than the exact one.
    """
    a, b = _votes(memory, new, old)
    if not a or not b:
        return Win.of(0, 0, 0, "users")
    wins = sum(0.5 if x == y else float(x > y) for x in a for y in b) / (len(a) * len(b))
    n = min(len(a), len(b))
    return Win.of(wins * n, n, sum(x == y for x in a for y in b), "users")


# ---- side by side -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """How a trial goes.

    Attributes:
        run: the model that is on trial.
        share: of the conversations, which it speaks in.
        new, old: what users said of it, and of the one that speaks in the others.
        win: the new against the old.
    """

    run: str
    share: float
    new: Votes
    old: Votes
    win: Win


def try_out(folder: Folder, run: Path | str, share: float = 0.5, *, by: str = "local") -> dict[str, Any]:
    """Let a model speak in a share of the conversations, each of which it has whole; takes the place of an earlier trial.

    Args:
        folder: of the bot.
        run: the model's folder.
        share: above 0 and below 1.
        by: who does it.

    Returns:
        The line of the record.

    Raises:
        DataError: the share is out of bounds.
        BottegaError: no run that writes text, the bot has no other model, or it is the one that speaks already.
    """
    from bottega.workshop.run import load

    if not 0 < share < 1:
        raise DataError(f"share is {share}; it must be above 0 and below 1")
    if not live(folder):
        raise BottegaError(f"{folder.name} has no model to hold it against; name one as base under [model] in bot.toml")
    made = load(run, device="cpu")
    if RunSpeaker(made).version == version_of(live(folder), folder):
        raise BottegaError(f"{run} is the model that speaks already; put another on trial")
    told = {"what": "on trial", "run": str(Path(run).resolve()), "weights": made.weights_hash, "share": share, "against": live(folder), "by": by}  # fmt: skip
    line = _log(folder, told)
    write_atomically(
        folder.state / TRIAL,
        json.dumps({"run": told["run"], "weights": made.weights_hash, "share": share, "line": line["hash"]}),
    )
    return line


def version_of(name: str, folder: Folder) -> str:
    """The version under which the answers of a model are kept; raises BottegaError where it cannot be read."""
    from bottega.crafts.endpoint import is_address

    return folder.model.name if is_address(name) else _weights(name)[:16]


def trial_so_far(folder: Folder, memory: Memory, old: str = "") -> Trial:
    """What users said of the model on trial, and of the other.

    Args:
        folder: of the bot.
        memory: of the bot.
        old: version of the other, where it is known.

    Raises:
        BottegaError: nothing is on trial.
    """
    told = trial_of(folder)
    if told is None:
        raise BottegaError(f"nothing is on trial in {folder.path}; bottega chat trial {folder.path} RUN begins one")
    old = old or version_of(live(folder), folder)
    both = []
    for version, some in zip((told["version"], old), _votes(memory, told["version"], old), strict=True):
        up, down = some.count(1), some.count(-1)
        low, high = wilson(up / (up + down), up + down) if up + down else (0.0, 1.0)
        both.append(Votes(version, up, down, some.count(0), up / (up + down) if up + down else 0.5, low, high))
    return Trial(told["run"], told["share"], *both, live_win(memory, told["version"], old))


def drop(folder: Folder, win: Win | None = None, *, by: str = "local") -> dict[str, Any]:
    """End a trial; the model that spoke before speaks in all conversations. Returns the line of the record.

    Raises:
        BottegaError: nothing is on trial.
    """
    told = trial_of(folder)
    if told is None:
        raise BottegaError(f"nothing is on trial in {folder.path}, so there is nothing to end")
    line = _log(
        folder,
        {
            "what": "dropped",
            "run": told["run"],
            "weights": told["weights"],
            "win": asdict(win) if win else None,
            "by": by,
        },
    )
    (folder.state / TRIAL).unlink(missing_ok=True)
    return line


# ---- in its place, and back ---------------------------------------------------------------------------------------------


def promote(
    folder: Folder, run: Path | str, win: Win | None = None, *, by: str = "local", least: float = 0.5
) -> dict[str, Any]:
    """Let a model speak from now on; refused where its win rate's interval begins at or below ``least``.

    Args:
        folder: of the bot.
        run: the model's folder.
        win: how it did; None where somebody decides without a comparison, which the record says.
        by: who does it.
        least: what the low end of the interval must be above.

    Returns:
        The line of the record.

    Raises:
        BottegaError: it is not better as far as the comparison can say, or no run.
    """
    from bottega.workshop.run import load

    if win is not None and win.low <= least:
        raise BottegaError(
            f"the new model won {100 * win.rate:.0f} % of {win.n} ({100 * win.low:.0f} to {100 * win.high:.0f} %), so it may be no "
            f"better than the old; it must be above {100 * least:.0f} % with its whole interval. Compare on more messages; bottega chat promote puts it in place all the same"
        )
    made = load(run, device="cpu")
    RunSpeaker(made)  # raises where it writes no text
    told = {"what": "promoted", "run": str(Path(run).resolve()), "weights": made.weights_hash, "before": live(folder), "win": asdict(win) if win else None, "by": by}  # fmt: skip
    line = _log(folder, told)
    write_atomically(
        folder.state / LIVE, json.dumps({"run": told["run"], "weights": made.weights_hash, "line": line["hash"]})
    )
    if (tried := trial_of(folder)) is not None and tried["weights"] == made.weights_hash:
        (folder.state / TRIAL).unlink(missing_ok=True)  # it speaks everywhere now
    return line


def rollback(folder: Folder, *, by: str = "local") -> dict[str, Any]:
    """Let the model speak that spoke before the last promotion.

    Raises:
        BottegaError: nothing was promoted that is not rolled back yet, or that model is gone.
    """
    stack: list[dict[str, Any]] = []
    for line in history(folder):
        if line["what"] == "promoted":
            stack.append(line)
        elif line["what"] == "rolled back" and stack:
            stack.pop()
    if not stack:
        raise BottegaError(f"nothing was promoted in {folder.path}, so there is nothing to go back from")
    before = stack[-1]["before"]
    line = _log(
        folder, {"what": "rolled back", "from": stack[-1]["run"], "run": before, "weights": _weights(before), "by": by}
    )
    if len(stack) > 1:
        write_atomically(
            folder.state / LIVE, json.dumps({"run": before, "weights": line["weights"], "line": line["hash"]})
        )
    else:
        (folder.state / LIVE).unlink(missing_ok=True)
    return line


def _weights(run: str) -> str:
    from bottega.crafts.endpoint import is_address
    from bottega.workshop.run import load

    return load(run, device="cpu").weights_hash if run and not is_address(run) else ""


def history(folder: Folder) -> list[dict[str, Any]]:
    """The record, oldest first.

    Raises:
        DataError: a line was changed, left out or moved; its number is said.
    """
    path = folder.state / VERSIONS
    if not path.is_file():
        return []
    out: list[dict[str, Any]] = []
    before = ""
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            said = line.pop("hash")
        except (ValueError, KeyError) as error:
            raise DataError(f"{path}, line {number} is no line of the record ({error})") from error
        if line.get("after") != before or said != _digest(line):
            raise DataError(
                f"{path}, line {number} does not follow from the line before it; somebody changed the record"
            )
        before = said
        out.append({**line, "hash": said})
    return out


def _digest(line: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(line, sort_keys=True).encode()).hexdigest()


def _log(folder: Folder, told: dict[str, Any]) -> dict[str, Any]:
    """Add a line to the record, on the disk when this returns."""
    import os

    lines = history(folder)
    line = {**told, "at": round(time.time(), 3), "after": lines[-1]["hash"] if lines else ""}
    line = json.loads(json.dumps(line))
    line["hash"] = _digest(line)
    folder.state.mkdir(parents=True, exist_ok=True)
    with (folder.state / VERSIONS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return line
