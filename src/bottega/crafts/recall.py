"""What is left of a long conversation: facts told early and asked for late, and answers that contradict each other.

>>> for row in recall(speaker("runs/dialogues"), turns=(0, 4, 16)):    # doctest: +SKIP
...     print(row.turns, row.recalled.value, row.contradicted.value, row.wavered.value)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bottega.core import BottegaError, Conversation, Item, Measure, Message, RecipeError, Rng
from bottega.core.measure import wilson
from bottega.crafts.endpoint import Endpoint
from bottega.crafts.write import ROWS, complete, need_text
from bottega.data import worlds
from bottega.workshop.run import Run, load

__all__ = ["Recall", "Speak", "recall", "said_values", "speaker"]

Speak = Callable[[Sequence[str]], Sequence[str]]
"""Takes conversations, each ending in ``B:``, and says B's next line to each. A run, an endpoint or a function can be one."""

TURNS = (0, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Recall:
    """What was answered after so many turns of other talk.

    Attributes:
        turns: of other talk between the last fact and the question.
        recalled: share of answers with the value that was told, and no other.
        contradicted: share of answers with another value of that kind: they contradict what was told.
        wavered: asked once more, after as many turns again, the share of those that named a value both times and not the
            same one: they contradict themselves.
        silent: share of answers that name no value.
        tokens: of the longest of these conversations, where the speaker counts; 0 where it does not.
        room: how many tokens the speaker reads; 0 where it does not say. Beyond it only the end is read.
    """

    turns: int
    recalled: Measure
    contradicted: Measure
    wavered: Measure
    silent: float
    tokens: int = 0
    room: int = 0


class RunSpeaker:
    """A run that says the next line, greedily, and reads the end of what is too long for it.

    Args:
        run: of a model that writes from left to right.
        max_new: tokens of an answer, at most.
    """

    def __init__(self, run: Run, max_new: int = 32) -> None:
        need_text(run)
        self.run, self.max_new, self.room = run, max_new, run.spec.shape[0]
        self.answers = bool(getattr(run.codec, "answers_only", False))

    def tokens(self, text: str) -> int:
        """How long a conversation is."""
        codec: Any = self.run.codec
        return len(codec.encode_prompt(_messages(text) if self.answers else text))

    def __call__(self, conversations: Sequence[str]) -> list[str]:
        """The next line of each; a run of conversations is told them message by message."""
        if self.answers:
            codec: Any = self.run.codec
            asked = [Item(Conversation([*_messages(text), Message("assistant", "")])) for text in conversations]
            made = []
            for first in range(0, len(asked), ROWS):
                some = asked[first : first + ROWS]
                rng = Rng.for_rows(range(len(some)), self.run.device)
                made += codec.strings(self.run.reply(some, rng, max_new=self.max_new, temperature=0.0)[2].tolist())
            return made
        written = complete(
            self.run, list(conversations), max_new=self.max_new, stop=["\n"], long="slide", temperature=0.0
        )
        return [one.text for one in written]


def _messages(text: str) -> list[Message]:
    r"""Lines of A and B as messages of a user and an assistant; the last, which is B's to say, is left out.

    >>> [m.content for m in _messages("A: Hi\nB: Ho\nA: So?\nB:")]
    ['Hi', 'Ho', 'So?']
    """
    lines = text.split("\n")[:-1]
    return [Message({"A": "user", "B": "assistant"}[line[0]], line[3:]) for line in lines]


class EndpointSpeaker:
    """A model behind an OpenAI-compatible endpoint, which is sent each conversation as one message.

    Args:
        endpoint: where it is.
        max_new: tokens of an answer, at most.
    """

    def __init__(self, endpoint: Endpoint, max_new: int = 32) -> None:
        self.endpoint, self.max_new = endpoint, max_new

    def __call__(self, conversations: Sequence[str]) -> list[str]:
        """The next line of each."""
        return [
            self.endpoint.complete(text, max_new=self.max_new, stop=["\n"], temperature=0.0).lstrip().removeprefix("B:")
            for text in conversations
        ]


def speaker(run: Run | Endpoint | Path | str, *, max_new: int = 32) -> RunSpeaker | EndpointSpeaker:
    """A run or an endpoint as somebody to talk to. Raises BottegaError where a run writes no text."""
    if isinstance(run, Endpoint):
        return EndpointSpeaker(run, max_new)
    return RunSpeaker(run if isinstance(run, Run) else load(run), max_new)


def said_values(answer: str, values: Sequence[str]) -> set[str]:
    """Which of ``values`` an answer's first line names, as whole words.

    >>> sorted(said_values(" You have a cat, not a dog.", ("cat", "dog", "goat")))
    ['cat', 'dog']
    """
    line = answer.strip().split("\n")[0]
    return {v for v in values if re.search(rf"(?<!\w){re.escape(v)}(?!\w)", line, re.IGNORECASE)}


def recall(
    speak: Speak,
    turns: Sequence[int] = TURNS,
    *,
    n: int = 50,
    facts: int = 3,
    changes: float = 0.0,
    seed: int = 0,
) -> list[Recall]:
    """Tell facts, talk of other things for so many turns, ask for one fact; then talk as long again and ask once more.

    The conversations are those of the made world ``dialogues``: which fact is asked for, and what was told, is known.

    Args:
        speak: who answers.
        turns: of other talk, one row of the answer for each.
        n: conversations for each.
        facts: told in each; the others are what can be mistaken for the one that is asked for.
        changes: the share in which the fact was told twice, and only the later time counts.
        seed: of the conversations.

    Returns:
        A row for each of ``turns``, with 95 % intervals (Wilson's).

    Raises:
        RecipeError: no turns, or fewer than none; no conversations.
        BottegaError: the speaker gives another number of answers than it was asked for.
    """
    if not turns or min(turns) < 0 or n < 1:
        raise RecipeError(
            f"turns={list(turns)}, n={n}: give at least one number of turns, 0 or more, and n of 1 or more"
        )
    out = []
    for many in turns:
        world = worlds.load("dialogues", n=n, facts=facts, talk=many, least=many, changes=changes, seed=seed)
        asked, values = world.truth["asked"], world.truth["values"]
        prompts = [row["prompt"] for row in asked]
        first = _ask(speak, prompts)
        fillers = [_talk(prompt, many) for prompt in prompts]
        again = [
            f"{prompt} {answer.strip().splitlines()[0] if answer.strip() else '...'}\n{talk}{_question(prompt)}"
            for prompt, answer, talk in zip(prompts, first, [*fillers[1:], fillers[0]], strict=True)
        ]
        second = _ask(speak, again)
        named = [
            [said_values(answer, values[row["asked"]]) for answer in answers]
            for row, *answers in zip(asked, first, second, strict=True)
        ]
        right = [one == {row["value"]} for row, (one, _) in zip(asked, named, strict=True)]
        wrong = [bool(one - {row["value"]}) for row, (one, _) in zip(asked, named, strict=True)]
        both = [one != two for one, two in named if one and two]
        count = getattr(speak, "tokens", None)
        out.append(
            Recall(
                many,
                _share(f"recalled_after_{many}", right, "answers with what was told and nothing else", "higher", seed),
                _share(f"contradicted_after_{many}", wrong, "answers that contradict what was told", "lower", seed),
                _share(f"wavered_after_{many}", both, "of those that named a value twice, not the same", "lower", seed),
                sum(not one for one, _ in named) / n,
                0 if count is None else max(map(count, prompts)),
                int(getattr(speak, "room", 0)),
            )
        )
    return out


def _ask(speak: Speak, conversations: Sequence[str]) -> list[str]:
    answers = list(speak(conversations))
    if len(answers) != len(conversations):
        raise BottegaError(
            f"asked for {len(conversations)} answers, the speaker gave {len(answers)}; one is wanted for each"
        )
    return answers


def _talk(prompt: str, turns: int) -> str:
    """The other talk of a conversation: the lines before its question."""
    lines = prompt.split("\n")[:-2]
    return "".join(f"{line}\n" for line in (lines[-2 * turns :] if turns else []))


def _question(prompt: str) -> str:
    return "\n".join(prompt.split("\n")[-2:])


def _share(name: str, hits: Sequence[bool], note: str, better: Any, seed: int) -> Measure:
    n = len(hits)
    if not n:
        return Measure(name, 0.0, 0.0, 1.0, n=0, seed=seed, better=better, note=f"{note}; there were none")
    low, high = wilson(sum(hits) / n, n)
    return Measure(name, sum(hits) / n, low, high, n=n, seed=seed, better=better, note=f"share of {note}")
