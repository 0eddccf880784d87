"""What happened in a week: what was asked often, what was not understood, who was handed off, how fast; without personal data."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from bottega.crafts import chat_tables as t
from bottega.crafts.chat_memory import Memory
from bottega.trust.filters import Filter

__all__ = ["Cluster", "Report", "clusters", "redacted", "report"]

WEEK = 7 * 86_400.0


@dataclass(frozen=True)
class Cluster:
    """Messages that are like each other; the one nearest to all others stands first."""

    example: str
    size: int
    texts: list[str]


@dataclass(frozen=True)
class Report:
    """One span of time.

    Attributes:
        since, until: ISO 8601, UTC.
        messages, conversations, users: how many.
        routes: share of answers by route.
        frequent: intents and how often they were meant.
        misunderstood: clusters of messages that were not understood, the largest first.
        handed_off: share of conversations; ``refused``: of answers that a fixed safety text gave.
        late: hand-offs that were not taken in time.
        thumbs_up, thumbs_down, edits: of users.
        milliseconds: median and 95th percentile of answers, and of canned ones.
    """

    bot: str
    since: str
    until: str
    messages: int
    conversations: int
    users: int
    routes: dict[str, float]
    frequent: list[tuple[str, int]]
    misunderstood: list[Cluster]
    handed_off: float
    refused: float
    late: int
    thumbs_up: int
    thumbs_down: int
    edits: int
    milliseconds: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form."""
        return asdict(self)

    def markdown(self) -> str:
        """The report for people."""
        lines = [
            f"# {self.bot}: {self.since[:10]} to {self.until[:10]}", "",
            f"{self.messages} messages in {self.conversations} conversations of {self.users} users. "
            f"{100 * self.handed_off:.0f} % of conversations went to a person ({self.late} too late), {100 * self.refused:.0f} % of answers were "
            f"fixed safety texts. Thumbs: {self.thumbs_up} up, {self.thumbs_down} down, {self.edits} edits.", "",
            "## How it was answered", "", "| route | share |", "|---|---|",
            *(f"| {name} | {100 * share:.0f} % |" for name, share in self.routes.items()), "",
            "## Asked often", "", "| intent | times |", "|---|---|", *(f"| {name} | {n} |" for name, n in self.frequent), "",
            "## Not understood", "",
        ]  # fmt: skip
        for one in self.misunderstood:
            lines += [f"- {one.size} like “{one.example}”", *(f"    - {text}" for text in one.texts[1:4])]
        lines += ["" if self.misunderstood else "Nothing.", "## Speed", ""]
        lines += [f"- {name.replace('_', ' ')}: {value:.1f} ms" for name, value in self.milliseconds.items()]
        return "\n".join(lines) + "\n"


def redacted(text: str) -> str:
    """A text with personal data (addresses, numbers of phones, cards, accounts) taken out; see ``trust.filters``.

    >>> redacted("I am ann@example.com")
    'I am [e-mail address]'
    """
    return _personal().clean(text)


_kept: list[Filter] = []


def _personal() -> Filter:
    if not _kept:
        _kept.append(Filter([rule for rule in Filter().rules if rule.action == "redact"]))
    return _kept[0]


def clusters(texts: Sequence[str], *, near: float = 0.3, most: int = 2000) -> list[Cluster]:
    """Messages that are like each other, by average linkage of the cosine of their words and letter sequences.

    Args:
        texts: in any order.
        near: cosine from which two groups are one.
        most: so many of them, the last, are looked at.

    >>> [c.size for c in clusters(["do you sell bonsai", "do you sell bonsai pots", "is there a café"])]
    [2, 1]
    """
    texts = list(texts)[-most:]
    if len(texts) < 2:
        return [Cluster(one, 1, [one]) for one in texts]
    import numpy as np
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.sparse import hstack
    from scipy.spatial.distance import squareform
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    words = TfidfVectorizer(stop_words="english", sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    try:
        x = hstack([words.fit_transform(texts), letters.fit_transform(texts)])
    except ValueError:  # nothing but small words
        x = letters.fit_transform(texts)
    x = normalize(x).tocsr()
    like = np.clip((x @ x.T).toarray(), 0.0, 1.0)
    apart = 1 - (like + like.T) / 2
    np.fill_diagonal(apart, 0.0)
    of = fcluster(linkage(squareform(apart, checks=False), "average"), 1 - near, "distance")
    out = []
    for k in np.unique(of):
        rows = np.flatnonzero(of == k)
        order = rows[np.argsort(-like[np.ix_(rows, rows)].mean(1), kind="stable")]
        out.append(Cluster(texts[order[0]], len(rows), [texts[i] for i in order]))
    return sorted(out, key=lambda c: (-c.size, c.example))


def report(memory: Memory, *, since: float | None = None, until: float | None = None, top: int = 10) -> Report:
    """What happened; a week up to now by default. No text in it names a person's data."""
    import numpy as np

    until = time.time() if until is None else until
    since = until - WEEK if since is None else since
    m, v, h, f = t.MESSAGES.c, t.CONVERSATIONS.c, t.HANDOFFS.c, t.FEEDBACK.c
    when = (m.at >= since) & (m.at < until) & (v.bot == memory.bot)
    with memory.reads() as c:
        rows = c.execute(sa.select(m.id, m.role, m.text, m.route, m.intent, m.milliseconds, m.conversation, m.turn, v.user).select_from(t.MESSAGES.join(t.CONVERSATIONS)).where(when).order_by(m.id)).all()  # fmt: skip
        calls = c.execute(sa.select(h.conversation, h.asked, h.due, h.taken).where(h.bot == memory.bot, h.asked >= since, h.asked < until)).all()  # fmt: skip
        thumbs = c.execute(
            sa.select(f.thumb, f.edit).select_from(t.FEEDBACK.join(t.MESSAGES).join(t.CONVERSATIONS)).where(when)
        ).all()
    said = [r for r in rows if r.role == "bot"]
    asked = {(r.conversation, r.turn): r.text for r in rows if r.role == "user"}
    lost = [
        redacted(asked[key])
        for r in said
        if r.route in ("fallback", "human") and r.intent == "" and (key := (r.conversation, r.turn)) in asked
    ]
    routes = Counter(r.route for r in said)
    intents = Counter(r.intent for r in said if r.intent and r.route in ("canned", "flow", "tool", "human"))
    talks = {r.conversation for r in rows}
    times = {"all": [r.milliseconds for r in said], "canned": [r.milliseconds for r in said if r.route == "canned"]}
    speed = {f"{name}_p{q}": float(np.percentile(some, q)) for name, some in times.items() if some for q in (50, 95)}
    return Report(
        memory.bot, *(datetime.fromtimestamp(x, UTC).isoformat(timespec="seconds") for x in (since, until)), len(rows) - len(said), len(talks),
        len({r.user for r in rows}), {k: n / len(said) for k, n in routes.most_common()}, intents.most_common(top), clusters(lost)[:top],
        len({r.conversation for r in calls}) / max(1, len(talks)), routes["safety"] / max(1, len(said)),
        sum((r.taken or until) > r.due for r in calls), sum(r.thumb > 0 for r in thumbs), sum(r.thumb < 0 for r in thumbs), sum(bool(r.edit) for r in thumbs), speed,
    )  # fmt: skip
