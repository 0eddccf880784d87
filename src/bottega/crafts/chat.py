"""A bot that talks: what stands in its folder, what it remembers of whom, and one answer to each message, never none.

>>> bot = Bot.open("shop")                                        # doctest: +SKIP
>>> bot.reply("Where is my order FM1234?", user="ada").text       # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bottega.core.errors import BottegaError, DataError
from bottega.crafts import chat_dates, chat_safety
from bottega.crafts.chat_folder import Folder, Intent, Secret, read_folder
from bottega.crafts.chat_intents import Guess, Intents
from bottega.crafts.chat_knowledge import Cited, Knowledge
from bottega.crafts.chat_memory import Conversation, Memory, Snapshot, facts_in, recalled
from bottega.crafts.chat_queue import Queue
from bottega.crafts.chat_router import Facing, Way, choose, fill, fillable, language_of, read, walk
from bottega.crafts.chat_speaker import Speaker, challenger_of, speaker_of
from bottega.crafts.chat_tools import Agenda, Lookup, Tutor

__all__ = ["LIMITS", "LONGEST", "Bot", "Repeated", "Reply"]

LONGEST = 4000  # characters of a message
_HISTORY, _BACK = 12, 60  # messages that a model is told; that are looked at for a secret told bit by bit
CERTAIN = 0.9  # confidence of an intent from which on nothing else is looked up
LIMITS = {
    "canned": "a prepared answer to what was most likely meant",
    "retrieved": "words of the source, quoted; whether the source is right was not looked at",
    "generated": "written by a language model; it may be wrong, check what matters",
    "tool": "looked up or worked out by a program on this machine",
    "flow": "a prepared question or answer",
    "memory": "what you said earlier; nobody checked it",
    "safety": "a fixed text",
    "human": "a person will answer",
    "fallback": "nothing was understood",
}
"""What each route does not promise."""


class Repeated(BottegaError):
    """A message that was answered already."""


@dataclass(frozen=True)
class Reply:
    """One answer, on the disk before it is returned.

    Attributes:
        text: never empty.
        route: how it came about, a key of ``LIMITS``.
        intent: what was meant; empty where that is not known.
        confidence: from 0 to 1.
        source: where it comes from: file and line, table, model; empty for prepared texts.
        limits: what it does not promise.
        conversation, message: of it; feedback names the message.
        handed_off: whether a person is called.
        support: of a generated answer, what the knowledge says to it.
    """

    text: str
    route: str
    intent: str = ""
    confidence: float = 1.0
    source: str = ""
    limits: str = ""
    conversation: str = ""
    message: int = 0
    handed_off: bool = False
    support: str = ""


@dataclass
class _Turn:
    """What one message is answered from, and what changes."""

    text: str
    user: str
    talk: Conversation
    facts: dict[str, str]
    slots: dict[str, str]
    state: dict[str, Any]
    language: str
    now: datetime
    taken: str | None = None  # who of the people has the conversation
    due: bool = False  # whether a reminder is due
    learned: dict[str, str] = field(default_factory=dict)
    guess: Guess | None = None
    version: str = ""  # of the model, where one spoke
    before: list[str] = field(default_factory=list)  # what the bot said earlier
    human: str = ""  # why a person is called
    urgent: bool = False

    @property
    def known(self) -> dict[str, str]:
        return {**self.facts, **self.slots}


class Bot:
    """A bot with its state.

    Args:
        folder: as ``read_folder`` gives it.
        memory: its state.
        intents: its trained intents; None where the folder has none.
        speaker: what generates; None where nothing does.
        clock: the local time now; tests set it.
        record: told of hand-offs and of new versions, for an audit log.
    """

    def __init__(
        self, folder: Folder, memory: Memory, intents: Intents | None, speaker: Speaker | None = None, *,
        clock: Callable[[], datetime] = datetime.now, record: Callable[[str, Mapping[str, Any]], None] | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.memory, self.intents, self.speaker = folder, memory, intents, speaker
        self.clock, self.record = clock, record or (lambda what, told: None)
        self.agenda, self.queue = Agenda(memory), Queue(memory, folder.hand_off.minutes)
        self.tables = {tool.name: Lookup(tool, folder.path) for tool in folder.tools}
        self.tutor = Tutor(folder.path / folder.items, memory) if folder.items else None
        self.knowledge: Knowledge | None = None
        if folder.knowledge:
            self.knowledge = Knowledge(
                folder.path / folder.knowledge, least=folder.router.passage, reader=_reader(folder)
            )
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._languages = tuple({folder.language, *(code for one in folder.intents for code in one.say)})
        self.challenger: tuple[Speaker, float] | None = None  # another version and the share of conversations it gets
        self.device = "auto"

    @classmethod
    def open(cls, path: str | Path, store: Any = None, *, device: str = "auto", **told: Any) -> Bot:
        """The bot of a folder, its intents trained (or read, where nothing changed) and its model loaded.

        Args:
            path: the folder or its ``bot.toml``.
            store: where its state is; ``.bot/state.db`` in the folder by default.
            device: of its model.
            told: see the constructor.

        Raises:
            BottegaError: the folder, its knowledge or its model is at fault, each in one line.
        """
        folder = read_folder(path)
        memory = Memory(store if store is not None else folder.state / "state.db", folder.name)
        intents = None
        if folder.intents:
            rows = [(text, one.name) for one in folder.intents for text in one.examples]
            intents = Intents.cached(folder.state / "intents", [t for t, _ in rows], [n for _, n in rows])
        made = cls(folder, memory, intents, speaker_of(folder, device), **told)
        made.challenger, made.device = challenger_of(folder, device), device
        return made

    def reload(self) -> None:
        """Speak as the folder says now, after a promotion, a roll-back, or the beginning or end of a trial.

        Raises:
            BottegaError: a model cannot be loaded; the bot goes on as before.
        """
        speaker, challenger = speaker_of(self.folder, self.device), challenger_of(self.folder, self.device)
        self.speaker, self.challenger = speaker, challenger

    @property
    def versions(self) -> tuple[str, str]:
        """Of the model that speaks and of the one on trial; empty for none."""
        return self.speaker.version if self.speaker else "", self.challenger[0].version if self.challenger else ""

    # ---- one message -----------------------------------------------------------------------------------------------

    def reply(
        self,
        text: str,
        user: str = "local",
        conversation: str = "",
        channel: str = "chat",
        *,
        once: tuple[str, str] | None = None,
    ) -> Reply:
        """The answer to a message; it and the message are on the disk when this returns.

        Args:
            text: what was said.
            user: whose memory it belongs to.
            conversation: an earlier one of the same user; the latest of the channel where none is named.
            channel: where it came from.
            once: what the message is known by elsewhere; a second one that is known by it is not answered.

        Raises:
            Repeated: it was answered already.
            DataError: an empty or too long message, or a conversation that is not this user's.
        """
        last: Reply | None = None
        for part in self.stream(text, user, conversation, channel, once=once):
            last = part if isinstance(part, Reply) else last
        assert last is not None
        return last

    def stream(
        self,
        text: str,
        user: str = "local",
        conversation: str = "",
        channel: str = "chat",
        *,
        once: tuple[str, str] | None = None,
    ) -> Iterator[str | Reply]:
        """The answer part by part, then the ``Reply``; a part is given only after the guards have seen it."""
        began = time.perf_counter()
        text = self._message(text)
        with self._turn_of(conversation or f"{channel} {user}"):
            now = self.clock()
            seen = self._seen(conversation, user, channel, now)
            state = dict(seen.talk.state)
            at = _Turn(text, user, seen.talk, seen.facts, dict(state.get("slots", {})), state,
                       seen.facts.get("language_code") or language_of(text, self._languages, self.folder.language), now, seen.taken, seen.due)  # fmt: skip
            made: Reply | None = None
            shown = ""
            for part in self._answer(at):
                if isinstance(part, Reply):
                    made = part
                else:
                    shown += part
                    yield part
            assert made is not None
            made = self._finished(made, at, shown)
            made = self._kept(made, at, once, (time.perf_counter() - began) * 1000)
        if len(made.text) > len(shown):
            yield made.text[len(shown) :]
        yield made

    def _message(self, text: str) -> str:
        if not isinstance(text, str) or not text.strip():
            raise DataError("the message is empty; write at least a word")
        if len(text) > LONGEST:
            raise DataError(
                f"the message has {len(text):,} characters, and {LONGEST:,} are the most; send less at once"
            )
        return text.replace("\x00", "").strip()

    def _seen(self, conversation: str, user: str, channel: str, now: datetime) -> Snapshot:
        found = self.memory.snapshot(user, conversation, channel, now)
        if found is None and conversation:
            raise DataError(f"there is no conversation {conversation!r} of yours; leave it out to begin one")
        return found or Snapshot(self.memory.begin(user, channel), self.memory.facts(user), None, False)

    def _turn_of(self, conversation: str) -> threading.Lock:
        """One message of a conversation at a time, within this process; others are told by the turn's number."""
        with self._lock:
            if len(self._locks) > 10_000:
                self._locks = {k: lock for k, lock in self._locks.items() if lock.locked()}
            return self._locks.setdefault(conversation, threading.Lock())

    def _answer(self, at: _Turn) -> Iterator[str | Reply]:
        """The first that applies: safety, who it is, a person already there, memory, a flow, then the router."""
        if chat_safety.crisis(at.text):
            at.human, at.urgent = "crisis", True
            at.state.pop("flow", None)
            yield Reply(f"{chat_safety.CRISIS} {self.folder.crisis}".strip(), "safety", "crisis")
            return
        if chat_safety.asks_whether_human(at.text):
            yield Reply(
                chat_safety.says_it_is_a_program(self.folder.name, self.folder.persona.story or self.folder.purpose),
                "safety",
                "who",
            )
            return
        if at.taken is not None:
            yield Reply(
                f"{at.taken or 'A colleague'} is in this conversation and reads what you write.",
                "human",
                confidence=1.0,
            )
            return
        if (asked := self._secret_asked(at)) is not None:
            yield asked
            return
        if (said := self._remembered(at)) is not None:
            yield said
            return
        at.guess = self.intents.guess(at.text) if self.intents is not None else None
        for way in (self._in_tutor, self._in_flow):
            if (said := way(at)) is not None:
                yield said
                return
        yield from self._route(at)

    # ---- before the router ------------------------------------------------------------------------------------------

    def _closed(self, known: Mapping[str, str]) -> list[Secret]:
        return [s for s in self.folder.persona.secrets if not s.until or any(known.get(k, "").lower() != v.lower() for k, v in s.until.items())]  # fmt: skip

    def _secret_asked(self, at: _Turn) -> Reply | None:
        """A refusal where somebody asks for what may not be told."""
        words = {w for w in re.findall(r"\w+", at.text.lower()) if len(w) > 3}
        for secret in self._closed(at.known):
            about = {w for w in re.findall(r"\w+", secret.about.lower()) if len(w) > 3}
            if (about and about <= words) or chat_safety.guard_secrets(at.text, [secret], at.known):
                return Reply(self.folder.persona.refuse, "safety", "secret")
        return None

    def _remembered(self, at: _Turn) -> Reply | None:
        """What a user says of themselves, asks to hear, or wants erased."""
        low = at.text.lower()
        if re.search(
            r"\b(?:forget|erase|delete|remove)\b.{0,20}\b(?:everything|all|what you know|my (?:data|information|memory|profile))\b",
            low,
        ):
            n = self.memory.forget(at.user)
            at.state.clear()
            at.slots.clear()
            at.facts.clear()
            return Reply(f"Done: I erased what I remembered of you ({n} entries).", "memory", "forget")
        if found := re.search(r"\bforget (?:my|what i said about my) (?P<k>[a-z ]{2,30}?)[.!]?$", low):
            name = found["k"].strip().replace(" ", "_")
            n = self.memory.forget(at.user, [name])
            at.slots.pop(name, None)
            at.facts.pop(name, None)
            return Reply(
                f"I forgot your {found['k'].strip()}." if n else f"I do not know your {found['k'].strip()}.",
                "memory",
                "forget",
            )
        if re.search(
            r"\bwhat (?:do|did) you (?:know|remember|store|have)(?: stored| saved)? (?:about|of|on) me\b", low
        ):
            told = "; ".join(f"{k.replace('_', ' ')}: {v}" for k, v in at.facts.items())
            return Reply(f"I remember this of you: {told}. Say “forget everything” to erase it." if told else "I remember nothing of you yet.", "memory", "profile")  # fmt: skip
        if (asked := recalled(at.text, at.known)) is not None:
            name, value = asked
            if value:
                return Reply(f"Your {name.replace('_', ' ')}: {value}.", "memory", "recall")
            if name in ("name", "city", "age", "likes") or any(
                name == s.slot for f in self.folder.flows for s in f.steps
            ):
                return Reply(f"You have not told me your {name.replace('_', ' ')} yet.", "memory", "recall")
        facts = {f.name: f.value for f in facts_in(at.text)}
        for name, value in facts.items():
            if len(name) < 60 and len(value) <= 200:
                at.learned[name] = value
                at.facts[name] = value
                if name in at.slots:
                    at.slots[name] = value
        code = {"english": "en", "german": "de", "french": "fr", "spanish": "es"}.get(facts.get("language", "").lower())
        if code:
            at.learned["language_code"] = at.language = code
        if facts and not at.state.get("flow") and len(at.text.split()) <= 5 + 8 * len(facts):
            rest = at.text
            for one in facts.values():
                rest = rest.replace(one, "")
            asks = "?" in at.text or (self.intents is not None and self.intents.guess(at.text).confidence >= 0.9)
            if not asks and "order" not in facts:
                told = ", ".join(f"{k.replace('_', ' ')}: {v}" for k, v in facts.items())
                return Reply(f"Thank you, I will remember that ({told}).", "memory", "tell")
        return None

    def _in_tutor(self, at: _Turn) -> Reply | None:
        """An answer to the tutor's question."""
        open_item = at.state.get("tutor")
        if self.tutor is None or open_item is None:
            return None
        if re.search(r"\b(?:stop|quit|enough|exit|leave)\b", at.text.lower()):
            at.state.pop("tutor")
            return Reply("We stop here. You can go on at any time.", "tool", "tutor", source=self.folder.items)
        if re.search(
            r"\b(?:answer|solution|key|tell me|give me|reveal|show|hint|help|don't know|no idea)\b", at.text.lower()
        ):
            item = self.tutor.items[open_item]
            return Reply(f"I do not give answers away. A hint: {item.hint or 'read the question once more.'}", "tool", "tutor", source=self.folder.items)  # fmt: skip
        told, _ = self.tutor.mark(at.user, open_item, at.text)
        question, k = self.tutor.ask(at.user)
        if k < 0:
            at.state.pop("tutor")
        else:
            at.state["tutor"] = k
        return Reply(f"{told} {question}", "tool", "tutor", source=self.folder.items)

    def _in_flow(self, at: _Turn) -> Reply | None:
        """A message to a flow that waits for one; another clear wish comes first, and the question again after it."""
        where = at.state.get("flow")
        flow = self.folder.flow(where[0]) if where else None
        if flow is None or where[1] >= len(flow.steps):
            at.state.pop("flow", None)
            return None
        if re.fullmatch(
            r"\W*(?:cancel|stop|never ?mind|forget it|abort|quit|no thanks?)\W*(?:please)?\W*", at.text.lower()
        ):
            at.state.pop("flow")
            return Reply("All right, we leave that.", "flow", flow.name)
        done = walk(flow, where[1], at.slots, at.text, at.now)
        if done.refused:
            tries = where[2] + 1 if len(where) > 2 else 1
            wish = self.folder.intent(at.guess.intent) if at.guess and self._sure(at.guess) else None
            if wish is not None and wish.flow != flow.name:
                if wish.flow or wish.tool or wish.hand_off:
                    at.state.pop("flow")
                    return None
                said = self._canned(wish, at)
                return replace(said, text=f"{said.text} {flow.steps[where[1]].ask}")
            if tries >= self.folder.hand_off.misses + 1:
                at.state.pop("flow")
                at.human = "flow not understood"
                return Reply(self.folder.hand_off.say, "human", flow.name)
            at.state["flow"] = [flow.name, where[1], tries]
        return self._walked(flow.name, done, at)

    def _walked(self, name: str, done: Any, at: _Turn) -> Reply:
        """What a flow says, its tools called."""
        new = {k: v for k, v in done.slots.items() if at.slots.get(k) != v}
        at.slots.update(done.slots)
        at.learned.update({k: v for k, v in new.items() if len(v) <= 200})
        if done.step is None:
            at.state.pop("flow", None)
        elif not done.refused:
            at.state["flow"] = [name, done.step, 0]
        lines, source = [], ""
        for line in done.lines:
            if isinstance(line, tuple):
                said = self._tool(line[1], at)
                lines.append(said.text)
                source = said.source
            elif line:
                lines.append(line)
        if done.human:
            at.human = f"flow {name}"
            lines.append(self.folder.hand_off.say)
        return Reply(
            " ".join(lines) or "Done.", "human" if done.human else "tool" if source else "flow", name, source=source
        )

    # ---- the router -------------------------------------------------------------------------------------------------

    def _least(self) -> float:
        own = self.folder.router.intent
        return own or (self.intents.threshold if self.intents is not None else 1.0)

    def _sure(self, guess: Guess) -> bool:
        return guess.confidence >= self._least()

    def _route(self, at: _Turn) -> Iterator[str | Reply]:
        guess = at.guess
        sure = guess is not None and self._sure(guess)
        passage = None
        if self.knowledge is not None and not (sure and guess is not None and guess.confidence >= CERTAIN):
            passage = self.knowledge.ask(at.text)
        way: Way = choose(Facing(
            guess.confidence if guess else 0.0, self._least(), passage.confidence if passage else 0.0, self.folder.router.passage,
            self.speaker is not None and self.folder.router.generate, at.state.get("misses", 0), self.folder.hand_off.misses,
        ))  # fmt: skip
        if way in ("generated", "human", "fallback") and (shown := self._shown_slot(at)) is not None:
            guess, way = shown, "canned"
        misses = at.state.get("misses", 0)
        at.state["misses"] = 0
        if way == "canned":
            assert guess is not None
            yield self._meant(guess, at)
            return
        if way == "retrieved":
            assert passage is not None
            yield self._quoted(passage)
            return
        if way == "generated":
            yield from self._generated(at)
            if not at.state.pop("failed", False):
                return
            way = "human" if misses + 1 >= self.folder.hand_off.misses else "fallback"
        at.state["misses"] = misses + 1
        if way == "human":
            at.human = "not understood"
            yield Reply(self.folder.hand_off.say, "human", confidence=guess.confidence if guess else 0.0)
        else:
            yield Reply(self.folder.fallback, "fallback", confidence=guess.confidence if guess else 0.0)

    def _shown_slot(self, at: _Turn) -> Guess | None:
        """The likeliest intent whose flow asks for what the message shows: an order's number says what it is about."""
        if self.intents is None:
            return None
        fits = {
            one.name for one in self.folder.intents if one.flow and (flow := self.folder.flow(one.flow)) is not None
            and any(s.pattern and re.search(r"\d", s.pattern) and read(s, at.text, at.now, whole=False) for s in flow.steps)
        }  # fmt: skip
        return self.intents.among(at.text, fits) if fits else None

    def _meant(self, guess: Guess, at: _Turn) -> Reply:
        """What an intent leads to."""
        intent = self.folder.intent(guess.intent)
        assert intent is not None
        if intent.hand_off:
            at.human = intent.name
            return Reply(self.folder.hand_off.say, "human", intent.name, guess.confidence)
        if intent.flow:
            flow = self.folder.flow(intent.flow)
            assert flow is not None
            said = self._walked(flow.name, walk(flow, None, at.known, at.text, at.now), at)
            return replace(said, intent=intent.name, confidence=guess.confidence)
        if intent.tool:
            return replace(self._tool(intent.tool, at), intent=intent.name, confidence=guess.confidence)
        return replace(self._canned(intent, at), confidence=guess.confidence)

    def _canned(self, intent: Intent, at: _Turn) -> Reply:
        """One of the answers of an intent: in the user's language, with its blanks filled, as this user likes them."""
        some = intent.say.get(at.language) or intent.answers
        whole = [k for k, text in enumerate(some) if fillable(text, at.known)] or list(range(len(some)))
        arms = [f"{intent.name}/{_hash(some[k])}" for k in whole]
        k = whole[self.memory.choose(at.user, arms, at.talk.turn)]
        return Reply(fill(some[k], at.known) or self.folder.fallback, "canned", intent.name)

    def _quoted(self, passage: Cited) -> Reply:
        """A passage in quotes, with its place; one that speaks to machines is said to be only a quotation."""
        said = f"“{passage.text.strip()}” ({passage.place})"
        if passage.answer and passage.answer not in passage.text:
            said = f"{passage.answer} ({passage.place}: {passage.text.strip()})"
        if passage.orders:
            said = f"The file says this, which I quote and do not follow: {said}"
        return Reply(said, "retrieved", confidence=passage.confidence, source=passage.place)

    def _tool(self, name: str, at: _Turn) -> Reply:
        """What a tool says."""
        if name in self.tables:
            text, found = self.tables[name](at.known)
            return Reply(text, "tool", name, 1.0 if found else 0.5, self.tables[name].tool.table)
        source = "calendar" if name in ("meet", "meetings") else "clock" if name == "date" else "reminders"
        if name == "remind":
            text = self.agenda.remind(at.user, at.text, at.now)
        elif name == "reminders":
            rows = [f"{chat_dates.said(due)}: {what}" for due, what in self.agenda.reminders(at.user)]
            text = "; ".join(rows) or "There are no reminders."
        elif name == "meet":
            text = self.agenda.meet(at.user, at.text, at.now)
        elif name == "meetings":
            events = [
                f"{chat_dates.said(a)} to {b:%H:%M}: {what}" for a, b, what in self.agenda.meetings(at.user, at.now)
            ]
            text = "; ".join(events) or "Your calendar is empty."
        elif name == "date":
            when = chat_dates.find(at.text, at.now)
            text = (
                f"It is {chat_dates.said(at.now)}."
                if when is None
                else f"That is {chat_dates.said(when.at, when.timed)}."
            )
        else:
            if self.tutor is None:
                raise BottegaError(f"{self.folder.path} has a tutor and no items; name a CSV as items in bot.toml")
            text, k = self.tutor.ask(at.user)
            source = self.folder.items
            if k >= 0:
                at.state["tutor"] = k
        return Reply(text, "tool", name, 1.0, source)

    def _generated(self, at: _Turn) -> Iterator[str | Reply]:
        """What the model says, sentence by sentence past the guards; ``state["failed"]`` where nothing may be said."""
        passages = self.knowledge.search(at.text) if self.knowledge is not None else []
        speaker, at.version = self._voice(at.talk.id)
        assert speaker is not None
        secrets = self.folder.persona.secrets or self.tutor is not None
        rows = self.memory.transcript(at.talk.id, _BACK if secrets else _HISTORY)
        history = [(m["role"], m["text"]) for m in rows[-_HISTORY:] if m["role"] in ("user", "bot")]
        at.before = [m["text"] for m in rows if m["role"] == "bot"]
        told = speaker.prompt(self.folder, at.text, history, passages, at.facts, at.language)
        whole, shown, fault = "", "", ""
        try:
            for part in speaker.stream(told, self.folder, seed=int(_hash(f"{at.talk.id} {at.talk.turn}"), 16) % 2**31):
                whole += part
                done = whole[: _sentence_end(whole)]
                if len(done) > len(shown):
                    if fault := self._refused(done, at):
                        break
                    yield done[len(shown) :]
                    shown = done
        except BottegaError as error:  # an endpoint that is down is no reason to say nothing
            fault = str(error)
        if not fault:
            fault = "" if whole.strip() and not self._refused(whole, at) else "refused"
        if fault and not shown.strip():
            at.state["failed"] = True
            return
        text = shown if fault else whole
        support = str(self.knowledge.label(text)) if self.knowledge is not None else ""
        yield Reply(text.strip() if not shown else text.rstrip(), "generated", confidence=0.5, source=at.version + "".join(f"; {p.place}" for p in passages), support=support)  # fmt: skip

    def _voice(self, conversation: str) -> tuple[Speaker | None, str]:
        """The model of a conversation: all its turns have the same one, by its id."""
        if self.challenger is not None and int(_hash(conversation), 16) % 1000 < 1000 * self.challenger[1]:
            return self.challenger[0], self.challenger[0].version
        return self.speaker, self.speaker.version if self.speaker is not None else ""

    def _refused(self, text: str, at: _Turn) -> str:
        """Why a text may not be said; empty where it may."""
        secrets = [*self.folder.persona.secrets, *self._key()]
        if chat_safety.claims_to_be_human(text):
            return "claims to be human"
        if chat_safety.guard_secrets(text, secrets, at.known, at.before):
            return "gives a secret away"
        return "blocked" if any(hit.action == "block" for hit in _filter().check(text)) else ""

    def _key(self) -> list[Secret]:
        return [Secret(tuple(a for a in self.tutor.answers if len(a) > 2))] if self.tutor is not None and any(len(a) > 2 for a in self.tutor.answers) else []  # fmt: skip

    # ---- after the answer -------------------------------------------------------------------------------------------

    def _finished(self, made: Reply, at: _Turn, shown: str) -> Reply:
        """The last look at any answer, and what is due."""
        text = made.text.strip() if not shown else made.text
        if made.route in ("canned", "retrieved", "flow", "memory", "tool") and chat_safety.guard_secrets(
            text, self.folder.persona.secrets, at.known
        ):
            return replace(made, text=self.folder.persona.refuse, route="safety", source="", limits=LIMITS["safety"])
        if at.due and made.route != "safety":
            text += " Reminder: " + "; ".join(self.agenda.due(at.user, at.now)) + "."
        return replace(made, text=text or self.folder.fallback, limits=LIMITS[made.route])

    def _kept(self, made: Reply, at: _Turn, once: tuple[str, str] | None, milliseconds: float) -> Reply:
        """Message, answer, state and hand-off in one transaction."""
        at.state["slots"] = at.slots
        version = at.version if made.route == "generated" else ""
        told = {"route": made.route, "intent": made.intent, "confidence": float(made.confidence), "source": made.source}
        with self.memory.writes() as c:
            if once is not None and not self.memory.first_time(c, *once):
                raise Repeated("this message was answered already")
            self.memory.advance(c, at.talk, at.state)
            self.memory.add(c, at.talk.id, at.talk.turn, "user", at.text, intent=at.guess.intent if at.guess else "",
                            confidence=at.guess.confidence if at.guess else 0.0)  # fmt: skip
            number = self.memory.add(
                c, at.talk.id, at.talk.turn, "bot", made.text, version=version, milliseconds=milliseconds, **told
            )
            self.memory.remember(at.user, at.learned, c)
            if at.human:
                self.queue.call(c, at.talk.id, at.human, urgent=at.urgent)
        if at.human:
            self.record("hand-off", {"conversation": at.talk.id, "why": at.human, "urgent": at.urgent})
        return replace(made, conversation=at.talk.id, message=number, handed_off=bool(at.human))

    def welcome(self) -> str:
        """The greeting, which says that a program speaks."""
        return f"{self.folder.welcome} (I am {self.folder.name}, a computer program.)"

    def label(self, answer: str) -> str:
        """What the knowledge says to a text, where there is some."""
        return str(self.knowledge.label(answer)) if self.knowledge is not None else ""


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _sentence_end(text: str) -> int:
    """Where the last whole sentence of a text that goes on ends."""
    ends = [f.end() for f in re.finditer(r"[.!?…]+[\"'”’)]*(?=\s)|\n", text)]
    return ends[-1] if ends else 0


def _filter() -> Any:
    from bottega.crafts.chat_knowledge import _FILTER

    return _FILTER()


def _reader(folder: Folder) -> Callable[[str, Any], Any] | None:
    """The folder's reader run as a function; None where rules find spans."""
    if not folder.reader:
        return None
    from bottega.crafts.write_labels import answer_by
    from bottega.workshop.run import load

    run = load((folder.path / folder.reader) if not Path(folder.reader).is_absolute() else folder.reader)
    return lambda question, library: answer_by(run, question, library)
