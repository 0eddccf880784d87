"""Versions of a bot's model over HTTP: one on trial beside the one that speaks, their thumbs, promotion and the way back.

What is decided here holds from the next message on, is a line of the bot's own record and one of the server's audit log.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from threading import Lock
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from bottega.core.errors import BottegaError
from bottega.crafts import chat_feedback as feedback
from bottega.crafts.chat import Bot
from bottega.crafts.chat_speaker import trial_of
from bottega.serve.roles import Caller, need

__all__ = ["router"]

Reviewer = Annotated[Caller, Depends(need("review"))]
Operator = Annotated[Caller, Depends(need("operate"))]


class Begin(BaseModel):
    """What is put on trial."""

    model_config = ConfigDict(extra="forbid")
    model: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="name of a folder in the bot's .bot/models")
    share: float = Field(0.5, gt=0, lt=1, description="of the conversations")


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BottegaError as error:
        raise HTTPException(409, str(error)) from error


def router(bot: Bot) -> APIRouter:
    """The endpoints of a bot's model."""
    made = APIRouter(tags=["chat"])
    one_at_a_time = Lock()

    def so_far() -> feedback.Trial:
        return feedback.trial_so_far(bot.folder, bot.memory, bot.versions[0])

    def changed(what: str, line: dict[str, Any]) -> dict[str, Any]:
        bot.reload()
        told: dict[str, Any] = {k: line[k] for k in ("run", "weights", "share", "win", "by") if k in line}
        bot.record(what, {**told, "record": line["hash"]})
        return {"object": "chat.version", **line}

    @made.get("/v1/chats/versions", summary="Which model speaks, and how a trial goes")
    def versions(caller: Reviewer) -> dict[str, Any]:
        """Thumbs of both versions, one vote for each conversation, and the win rate of the new one with its interval."""
        with _told():
            speaks, tried = bot.versions
            trial = asdict(so_far()) if tried and trial_of(bot.folder) is not None else None
            lines = feedback.history(bot.folder)[-50:]
        return {"object": "chat.versions", "speaks": speaks, "trial": trial, "record": lines}

    @made.post("/v1/chats/trial", status_code=201, summary="Put a retrained model on trial")
    def begin(body: Begin, caller: Operator) -> dict[str, Any]:
        """It speaks in its share of the conversations, in each from its first to its last turn."""
        run = bot.folder.state / "models" / body.model
        if not run.is_dir():
            raise HTTPException(
                404, f"there is no model {body.model!r} in the bot's .bot/models; bottega chat retrain makes one"
            )
        with one_at_a_time, _told():
            return changed("model on trial", feedback.try_out(bot.folder, run, body.share, by=caller.id))

    @made.post("/v1/chats/trial/promote", summary="Let the model on trial speak everywhere")
    def promote(caller: Operator) -> dict[str, Any]:
        """409 where its win rate's interval does not lie above one half."""
        with one_at_a_time, _told():
            trial = so_far()
            return changed("model promoted", feedback.promote(bot.folder, trial.run, trial.win, by=caller.id))

    @made.post("/v1/chats/trial/drop", summary="End the trial")
    def drop(caller: Operator) -> dict[str, Any]:
        """The model that spoke before speaks everywhere."""
        with one_at_a_time, _told():
            return changed("model dropped", feedback.drop(bot.folder, so_far().win, by=caller.id))

    @made.post("/v1/chats/rollback", summary="Take the last promotion back")
    def rollback(caller: Operator) -> dict[str, Any]:
        """Again for the one before."""
        with one_at_a_time, _told():
            return changed("model rolled back", feedback.rollback(bot.folder, by=caller.id))

    return made
