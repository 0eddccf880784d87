"""Slack, Messenger and plain webhooks: check the signature, read the message, write the answer. No network in here.

Slack: https://api.slack.com/authentication/verifying-requests-from-slack (v0, HMAC-SHA256 of time and body).
Messenger: https://developers.facebook.com/docs/messenger-platform/webhooks (``X-Hub-Signature-256`` of the body).
Plain: ``X-Bottega-Signature: t=SECONDS,v1=HEX``, HMAC-SHA256 of ``SECONDS.BODY``.

A body that is old, or was answered already, is not answered again: times are part of what Slack and plain sign; every
message has an id that is kept in the same transaction as the answer, so that a crash loses neither.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

from bottega.core.errors import BottegaError, DataError
from bottega.crafts import chat_tables as t
from bottega.crafts.chat_memory import Memory

__all__ = [
    "Channel",
    "Forged",
    "Incoming",
    "challenge",
    "key_of",
    "read",
    "render",
    "secret",
    "seen",
    "sign_plain",
    "verify",
]

Channel = Literal["slack", "messenger", "plain"]
SECRETS = {"slack": "BOTTEGA_SLACK_SECRET", "messenger": "BOTTEGA_MESSENGER_SECRET", "plain": "BOTTEGA_HOOK_SECRET"}
"""Where the secret of each comes from: the environment, and nowhere else."""
VERIFY = "BOTTEGA_MESSENGER_VERIFY"
WINDOW = 300  # seconds that a signed time may be away from now
MOST = {"slack": 3000, "messenger": 2000, "plain": 100_000}  # characters of one outgoing message


class Forged(BottegaError):
    """A request without a right signature, or one from another time."""


@dataclass(frozen=True)
class Incoming:
    """A message from outside.

    Attributes:
        channel: where from.
        user: who, as that service calls them.
        text: what they say.
        id: of the message, for replays.
        where: what an answer must name: a Slack channel and thread, a Messenger person, a plain conversation.
    """

    channel: Channel
    user: str
    text: str
    id: str
    where: Mapping[str, str] = field(default_factory=dict)


def secret(channel: Channel) -> str:
    """The secret of a channel; raises BottegaError where there is none: an unsigned hook is never open."""
    found = os.environ.get(SECRETS[channel], "").strip()
    if not found:
        raise BottegaError(f"{channel} hooks need their signing secret in the environment variable {SECRETS[channel]}")
    return found


def verify(channel: Channel, headers: Mapping[str, str], body: bytes, key: str, now: float | None = None) -> None:
    """Raise ``Forged`` unless the body was signed with the key, within the last five minutes where times are signed.

    Args:
        channel: whose way of signing.
        headers: of the request, names in small letters.
        body: as it came, to the byte.
        key: the secret.
        now: UTC seconds.
    """
    now = time.time() if now is None else now
    told = {name.lower(): value for name, value in headers.items()}
    if channel == "messenger":
        _match(told.get("x-hub-signature-256", ""), "sha256=" + _mac(key, body))
        return
    if channel == "slack":
        stamp, given, want = told.get("x-slack-request-timestamp", ""), told.get("x-slack-signature", ""), "v0="
        signed = f"v0:{stamp}:".encode() + body
    else:
        parts = dict(
            part.strip().split("=", 1) for part in told.get("x-bottega-signature", "").split(",") if "=" in part
        )
        stamp, given, want = parts.get("t", ""), "v1=" + parts.get("v1", ""), "v1="
        signed = f"{stamp}.".encode() + body
    if not (stamp.isascii() and stamp.isdigit()):
        raise Forged("the request carries no time; sign it as docs/chatbot.md says")
    if abs(now - int(stamp)) > WINDOW:
        raise Forged(
            f"the request was signed {abs(now - int(stamp)):.0f} seconds from now, and {WINDOW} are the most; is a clock wrong?"
        )
    _match(given, want + _mac(key, signed))


def _mac(key: str, body: bytes) -> str:
    return hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


def _match(given: str, want: str) -> None:
    if not hmac.compare_digest(given.encode(), want.encode()):
        raise Forged("the signature does not fit the body; check the secret")


def sign_plain(body: bytes, key: str, now: float | None = None) -> str:
    """The header of a plain hook's caller.

    >>> sign_plain(b"{}", "key", 0)[:9]
    't=0,v1=73'
    """
    stamp = int(time.time() if now is None else now)
    return f"t={stamp},v1={_mac(key, f'{stamp}.'.encode() + body)}"


def challenge(channel: Channel, body: bytes = b"", query: Mapping[str, str] | None = None) -> str | None:
    """What a service wants to hear when it asks whether this is ours; None where it asks nothing.

    Raises:
        Forged: Messenger's word is not the one in ``BOTTEGA_MESSENGER_VERIFY``.
    """
    if channel == "slack":
        told = _json(body)
        return str(told.get("challenge", "")) if told.get("type") == "url_verification" else None
    if channel == "messenger" and query and query.get("hub.mode") == "subscribe":
        want = os.environ.get(VERIFY, "").strip()
        if not want or not hmac.compare_digest(query.get("hub.verify_token", "").encode(), want.encode()):
            raise Forged(f"hub.verify_token is not the one in {VERIFY}")
        return query.get("hub.challenge", "")
    return None


def read(channel: Channel, body: bytes) -> list[Incoming]:
    """The messages of a body, in order; what is none (an edit, a bot's own line, a receipt) is left out.

    Raises:
        DataError: it is not what such a service sends.
    """
    told = _json(body)
    if channel == "plain":
        for name in ("user", "text", "id"):
            if not isinstance(told.get(name), str) or not told[name].strip():
                raise DataError(f"a plain hook sends user, text and id, each a text; {name} is {told.get(name)!r}")
        where = {"conversation": told["conversation"]} if isinstance(told.get("conversation"), str) else {}
        return [Incoming("plain", told["user"], told["text"], told["id"], where)]
    if channel == "slack":
        event = told.get("event")
        if told.get("type") != "event_callback" or not isinstance(event, dict):
            return []
        if event.get("type") not in ("message", "app_mention") or event.get("bot_id") or event.get("subtype"):
            return []
        text, user = event.get("text"), event.get("user")
        if not isinstance(text, str) or not isinstance(user, str) or not text.strip():
            return []
        where = {k: str(event[k]) for k in ("channel", "thread_ts") if event.get(k)}
        return [Incoming("slack", f"{told.get('team_id', '')}:{user}", _unslacked(text), str(told.get("event_id") or event.get("client_msg_id") or f"{event.get('channel')}:{event.get('ts')}"), where)]  # fmt: skip
    out = []
    entries = told.get("entry")
    if told.get("object") != "page" or not isinstance(entries, list):
        raise DataError("this is no event of a Messenger page: object is not 'page', or there is no entry")
    for entry in entries:
        for one in entry.get("messaging", []) if isinstance(entry, dict) else []:
            said = one.get("message") if isinstance(one, dict) else None
            if (
                isinstance(said, dict)
                and isinstance(said.get("text"), str)
                and said["text"].strip()
                and not said.get("is_echo")
            ):
                person = str(one.get("sender", {}).get("id", ""))
                out.append(Incoming("messenger", person, said["text"], str(said.get("mid", "")), {"recipient": person}))
    return out


def _unslacked(text: str) -> str:
    """Slack's marks as people read them: mentions left out, links and signs written out."""
    import html
    import re

    text = re.sub(r"<@[A-Z0-9]+(?:\|[^>]*)?>\s*", "", text)
    text = re.sub(r"<(?:https?://|mailto:)[^|>]*\|([^>]*)>", r"\1", text)
    text = re.sub(r"<((?:https?://|mailto:)[^>]*)>", r"\1", text)
    return html.unescape(text).strip()


def _json(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"the body is not JSON ({error})") from error
    if not isinstance(told, dict):
        raise DataError("the body is JSON and no object")
    return told


def key_of(memory: Memory, message: Incoming) -> tuple[str, str] | None:
    """What a message is known by in the bot's database; None where it has no id."""
    return (message.channel, hashlib.sha256(f"{memory.bot}\0{message.id}".encode()).hexdigest()) if message.id else None


def seen(memory: Memory, message: Incoming) -> bool:
    """Whether a message was answered already, by any server on this database; old ids are forgotten."""
    key = key_of(memory, message)
    if key is None:
        return False
    with memory.reads() as c:
        return (
            c.execute(sa.select(t.SEEN.c.key).where(t.SEEN.c.channel == key[0], t.SEEN.c.key == key[1])).first()
            is not None
        )


def render(message: Incoming, text: str) -> list[dict[str, Any]]:
    """The answer as the service wants it posted, cut where it is longer than one message may be."""
    parts = _cut(text, MOST[message.channel])
    if message.channel == "slack":
        escaped = [p.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for p in parts]
        return [{**message.where, "text": part} for part in escaped]
    if message.channel == "messenger":
        return [
            {"recipient": {"id": message.where["recipient"]}, "messaging_type": "RESPONSE", "message": {"text": part}}
            for part in parts
        ]
    return [{**message.where, "user": message.user, "in_reply_to": message.id, "text": part} for part in parts]


def _cut(text: str, most: int) -> list[str]:
    """Pieces of at most so many characters, at white space where there is some."""
    out = []
    while len(text) > most:
        at = text.rfind(" ", most // 2, most)
        at = at if at > 0 else most
        out.append(text[:at])
        text = text[at:].lstrip()
    return [*out, text]
