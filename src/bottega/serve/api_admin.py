"""The router of administration: keys, users, the log, incidents, reviews and metrics. Every act goes into the audit log."""

from __future__ import annotations

import base64
import binascii
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from bottega.core import BottegaError
from bottega.serve import audit as audit_log
from bottega.serve import signing
from bottega.serve.incidents import Incident, Incidents, Severity, Status
from bottega.serve.keys import ApiKey
from bottega.serve.metrics import CONTENT_TYPE
from bottega.serve.reviews import Blocked, NotYours, Review, Reviews
from bottega.serve.roles import PERMISSIONS, Caller, Role, need
from bottega.serve.users import Conflict, Locked, Missing, User

if TYPE_CHECKING:
    from bottega.serve.guard import Guard

__all__ = ["router"]

router = APIRouter()
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$", max_length=64)]
Text = Annotated[str, Field(max_length=10_000, pattern=r"^[^\x00]*$")]
Limit = Annotated[int, Field(ge=1, le=1_000_000_000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _guard(request: Request) -> Guard:
    found: Guard = request.app.state.guard
    return found


def _told_as(error: BottegaError) -> HTTPException:
    """404 for what is not there, 409 for what stands in the way, else 400."""
    status = 404 if isinstance(error, Missing) else 409 if isinstance(error, Conflict) else 400
    return HTTPException(status, str(error))


# ---- who I am, and what the server signs with -------------------------------------------------------------------------


@router.get("/v1/me", tags=["keys"])
def me(request: Request, caller: Annotated[Caller, Depends(need("look"))]) -> dict[str, Any]:
    """Who asks, and what they may do."""
    guard = _guard(request)
    key = next((k for k in guard.keys.list() if k.id == caller.key), None) if caller.key else None
    return {
        "id": caller.id, "role": caller.role, "permissions": sorted(PERMISSIONS[caller.role]), "key": caller.key or None,
        "user": caller.user or None, "used_today": guard.limits.used_today(f"key:{key.name}") if key else None,
        "per_day": (key.per_day or guard.settings.per_day) if key else None, "expires": key.expires if key else None,
    }  # fmt: skip


@router.get("/v1/signing-key", tags=["keys"])
def signing_key(request: Request) -> dict[str, Any]:
    """The public keys that answers and the audit log are signed with (RFC 8037); public."""
    guard = _guard(request)
    return {
        "keys": [signing.jwk(guard.response_key)],
        "audit": signing.jwk(signing.server_key(guard.state, "audit")),
        "signs_responses": guard.settings.sign_responses,
    }


# ---- keys -------------------------------------------------------------------------------------------------------------


class KeyWanted(_Body):
    """A key to make."""

    name: Name
    role: Role = "maker"
    user: Name | None = None
    days: Annotated[float, Field(gt=0, le=36_500)] | None = None
    per_minute: Limit | None = None
    per_day: Limit | None = None
    signs_with: Literal["ed25519", "hmac-sha256"] | None = None


class Rotation(_Body):
    """How a key is rotated."""

    overlap_hours: Annotated[float, Field(ge=0, le=8760)] = 24.0
    days: Annotated[float, Field(gt=0, le=36_500)] | None = None


def _told(key: ApiKey, now: float) -> dict[str, Any]:
    return {**asdict(key), "status": key.status(now)}


@router.get("/v1/keys", tags=["keys"])
def list_keys(request: Request, caller: Annotated[Caller, Depends(need("administer"))]) -> dict[str, Any]:
    """All keys that ever were; never the keys themselves."""
    guard = _guard(request)
    return {"data": [_told(key, guard.clock()) for key in guard.keys.list()]}


@router.post("/v1/keys", status_code=201, tags=["keys"])
def add_key(
    request: Request, wanted: KeyWanted, caller: Annotated[Caller, Depends(need("administer"))]
) -> dict[str, Any]:
    """Make a key. It is shown here and never again."""
    guard = _guard(request)
    try:
        new = guard.keys.add(
            wanted.name, wanted.role, user=wanted.user, seconds=wanted.days and wanted.days * 86_400,
            per_minute=wanted.per_minute, per_day=wanted.per_day, signs_with=wanted.signs_with,
        )  # fmt: skip
    except BottegaError as error:
        raise _told_as(error) from None
    guard.look_again()
    guard.trace("key added", caller.id, of=wanted.name, key=new.id, role=wanted.role, user=wanted.user)
    return {"id": new.id, "name": wanted.name, "role": wanted.role, "key": new.key, "signing": new.signing or None}


@router.post("/v1/keys/{name}/rotate", status_code=201, tags=["keys"])
def rotate_key(
    request: Request, name: str, caller: Annotated[Caller, Depends(need("administer"))], how: Rotation | None = None
) -> dict[str, Any]:
    """Make the successor of a key; the old one goes on for the overlap."""
    guard, how = _guard(request), how or Rotation()
    try:
        new = guard.keys.rotate(name, overlap=how.overlap_hours * 3600, seconds=how.days and how.days * 86_400)
    except BottegaError as error:
        raise _told_as(error) from None
    guard.trace("key rotated", caller.id, of=name, key=new.id)
    return {"id": new.id, "name": name, "key": new.key, "signing": new.signing or None}


@router.delete("/v1/keys/{name}", tags=["keys"])
def revoke_key(request: Request, name: str, caller: Annotated[Caller, Depends(need("administer"))]) -> dict[str, Any]:
    """End a key, by its name or id, at once."""
    guard = _guard(request)
    try:
        ended = guard.keys.revoke(name)
    except BottegaError as error:
        raise _told_as(error) from None
    guard.trace("key revoked", caller.id, of=name, keys=ended)
    return {"revoked": ended}


# ---- users ------------------------------------------------------------------------------------------------------------


class UserWanted(_Body):
    """A user to make."""

    name: Name
    role: Role = "maker"


class UserChange(_Body):
    """What becomes of a user."""

    role: Role | None = None
    disabled: bool | None = None


class Code(_Body):
    """A code of the second factor."""

    code: Annotated[str, Field(pattern=r"^[0-9 ]{6,8}$")]


@router.get("/v1/users", tags=["users"])
def list_users(request: Request, caller: Annotated[Caller, Depends(need("administer"))]) -> dict[str, Any]:
    """All users."""
    return {"data": [asdict(user) for user in _guard(request).keys.users.list()]}


@router.post("/v1/users", status_code=201, tags=["users"])
def add_user(request: Request, wanted: UserWanted, caller: Annotated[Caller, Depends(need("administer"))]) -> User:
    """Make a user."""
    guard = _guard(request)
    try:
        made = guard.keys.users.add(wanted.name, wanted.role)
    except BottegaError as error:
        raise _told_as(error) from None
    guard.trace("user added", caller.id, of=wanted.name, role=wanted.role)
    return made


@router.patch("/v1/users/{name}", tags=["users"])
def change_user(
    request: Request, name: str, change: UserChange, caller: Annotated[Caller, Depends(need("administer"))]
) -> User:
    """Give a user another role, shut them out, or let them in again."""
    guard = _guard(request)
    try:
        made = guard.keys.users.change(name, role=change.role, disabled=change.disabled)
    except BottegaError as error:
        raise _told_as(error) from None
    guard.look_again()
    guard.trace("user changed", caller.id, of=name, role=change.role, disabled=change.disabled)
    return made


@router.delete("/v1/users/{name}", tags=["users"])
def remove_user(request: Request, name: str, caller: Annotated[Caller, Depends(need("administer"))]) -> dict[str, Any]:
    """Take a user away with all their keys."""
    guard = _guard(request)
    try:
        guard.keys.users.remove(name)
    except BottegaError as error:
        raise _told_as(error) from None
    guard.look_again()
    guard.trace("user removed", caller.id, of=name)
    return {"removed": name}


@router.post("/v1/users/{name}/second-factor", status_code=201, tags=["users"])
def begin_second_factor(
    request: Request, name: str, caller: Annotated[Caller, Depends(need("administer"))]
) -> dict[str, Any]:
    """Begin a second factor: the secret for an authenticator app, shown once. It counts when a code was confirmed."""
    guard = _guard(request)
    try:
        secret, uri = guard.keys.users.begin_second_factor(name)
    except BottegaError as error:
        raise _told_as(error) from None
    guard.trace("second factor begun", caller.id, of=name)
    return {"secret": secret, "uri": uri}


@router.post("/v1/users/{name}/second-factor/confirm", tags=["users"])
def confirm_second_factor(
    request: Request, name: str, said: Code, caller: Annotated[Caller, Depends(need("administer"))]
) -> dict[str, Any]:
    """Confirm it by its first code."""
    guard = _guard(request)
    try:
        guard.keys.users.confirm_second_factor(name, said.code)
    except Locked as error:
        raise HTTPException(429, str(error), {"retry-after": str(max(1, round(error.seconds)))}) from None
    except BottegaError as error:
        raise _told_as(error) from None
    guard.look_again()
    guard.trace("second factor confirmed", caller.id, of=name)
    return {"confirmed": name}


@router.delete("/v1/users/{name}/second-factor", tags=["users"])
def remove_second_factor(
    request: Request, name: str, caller: Annotated[Caller, Depends(need("administer"))]
) -> dict[str, Any]:
    """Take it away, for a user who lost their device."""
    guard = _guard(request)
    try:
        guard.keys.users.remove_second_factor(name)
    except BottegaError as error:
        raise _told_as(error) from None
    guard.look_again()
    guard.trace("second factor removed", caller.id, of=name)
    return {"removed": name}


# ---- the log ----------------------------------------------------------------------------------------------------------


@router.get("/v1/audit", tags=["audit"])
def read_audit(
    request: Request,
    caller: Annotated[Caller, Depends(need("audit"))],
    after: Annotated[int, Query(ge=0, le=10**15)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    by: Annotated[str | None, Query(max_length=200)] = None,
    event: Annotated[str | None, Query(max_length=100)] = None,
) -> dict[str, Any]:
    """Lines of the audit log behind number ``after``, oldest first; ``next`` is the number to go on after, null at the end."""
    out: list[dict[str, Any]] = []
    for record in audit_log.read(_guard(request).audit.path, after):
        if (by is None or record.get("by") == by) and (event is None or record.get("event") == event):
            out.append(record)
            if len(out) == limit:
                return {"data": out, "next": record["n"]}
    return {"data": out, "next": None}


@router.get("/v1/audit/verify", tags=["audit"])
def verify_audit(request: Request, caller: Annotated[Caller, Depends(need("audit"))]) -> dict[str, Any]:
    """Look through the whole log: whether anything was edited, taken out, moved or cut off."""
    guard = _guard(request)
    found = audit_log.verify(guard.audit.path, signing.server_key(guard.state, "audit").public_key())
    return {**asdict(found), "whole": not found.problems}


# ---- incidents --------------------------------------------------------------------------------------------------------


class IncidentWanted(_Body):
    """Something that went wrong."""

    title: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*\S[^\x00]*$")]
    what: Text = ""
    severity: Severity = "medium"
    piece: Annotated[dict[str, str | int | float | bool | None], Field(max_length=32)] = {}


class StepWanted(_Body):
    """What was done about it."""

    status: Status
    note: Text = ""


@router.get("/v1/incidents", tags=["incidents"])
def list_incidents(
    request: Request, caller: Annotated[Caller, Depends(need("review"))], status: Status | None = None
) -> dict[str, Any]:
    """Incidents, newest first."""
    return {"data": [asdict(one) for one in Incidents(_guard(request).state).list(status=status)]}


@router.post("/v1/incidents", status_code=201, tags=["incidents"])
def open_incident(
    request: Request, wanted: IncidentWanted, caller: Annotated[Caller, Depends(need("rate"))]
) -> Incident:
    """Tell of something that went wrong, with the provenance of the piece as /v1/pieces gave it."""
    guard = _guard(request)
    made = Incidents(guard.state, guard.clock).open(
        wanted.title, wanted.what, by=caller.id, severity=wanted.severity, piece=wanted.piece
    )
    guard.trace("incident opened", caller.id, of=made.id, severity=made.severity)
    return made


@router.post("/v1/incidents/{incident}/steps", status_code=201, tags=["incidents"])
def step_incident(
    request: Request, incident: str, step: StepWanted, caller: Annotated[Caller, Depends(need("operate"))]
) -> Incident:
    """Put down what was done, and how it stands now."""
    guard = _guard(request)
    try:
        made = Incidents(guard.state, guard.clock).step(incident, by=caller.id, status=step.status, note=step.note)
    except BottegaError as error:
        raise _told_as(error) from None
    guard.trace("incident", caller.id, of=made.id, status=made.status)
    return made


# ---- reviews ----------------------------------------------------------------------------------------------------------


class ReviewWanted(_Body):
    """Something that is to be looked at before it goes out."""

    kind: Literal["piece", "release"]
    subject: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    about: Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")] = ""
    data: Annotated[str, Field(max_length=12_000_000)] | None = Field(
        None, description="The piece, base64; it is held back."
    )
    media_type: Annotated[str, Field(pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$", max_length=100)] = (
        "application/octet-stream"
    )


class DecisionWanted(_Body):
    """What a reviewer says."""

    approve: bool
    note: Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")] = ""


def _reviewed(review: Review) -> dict[str, Any]:
    return {**asdict(review), "verdict": review.verdict}


@router.get("/v1/reviews", tags=["reviews"])
def list_reviews(
    request: Request, caller: Annotated[Caller, Depends(need("review"))], waiting: bool = True
) -> dict[str, Any]:
    """The queue, oldest first."""
    return {"data": [_reviewed(one) for one in Reviews(_guard(request).state).list(waiting=waiting)]}


@router.post("/v1/reviews", status_code=201, tags=["reviews"])
def ask_review(
    request: Request, wanted: ReviewWanted, caller: Annotated[Caller, Depends(need("make"))]
) -> dict[str, Any]:
    """Put a piece or a release into the queue; it goes out when two other people have approved it."""
    guard, held = _guard(request), None
    if wanted.data is not None:
        try:
            held = base64.b64decode(wanted.data, validate=True)
        except (binascii.Error, ValueError):
            raise HTTPException(
                422, {"message": "data is no base64", "param": "data", "code": "invalid_value"}
            ) from None
    try:
        made = Reviews(guard.state, guard.clock).ask(
            wanted.kind, by=caller.id, subject=wanted.subject or "", about=wanted.about, held=held,
            media_type=wanted.media_type if held is not None else "",
        )  # fmt: skip
    except BottegaError as error:
        raise _told_as(error) from None
    guard.trace("review asked", caller.id, of=made.id, subject=made.subject)
    return _reviewed(made)


@router.get("/v1/reviews/{review}", tags=["reviews"])
def get_review(request: Request, review: str, caller: Annotated[Caller, Depends(need("look"))]) -> dict[str, Any]:
    """How a review stands."""
    try:
        return _reviewed(Reviews(_guard(request).state).get(review))
    except BottegaError as error:
        raise _told_as(error) from None


@router.post("/v1/reviews/{review}/decision", status_code=201, tags=["reviews"])
def decide(
    request: Request, review: str, said: DecisionWanted, caller: Annotated[Caller, Depends(need("review"))]
) -> dict[str, Any]:
    """Say yes or no; once, as a user, and not on what one asked for oneself."""
    guard = _guard(request)
    try:
        made = Reviews(guard.state, guard.clock).decide(review, by=caller.id, approve=said.approve, note=said.note)
    except NotYours as error:
        raise HTTPException(403, str(error)) from None
    except BottegaError as error:
        raise _told_as(error) from None
    guard.trace("review decided", caller.id, of=review, approve=said.approve, verdict=made.verdict)
    return _reviewed(made)


@router.get("/v1/reviews/{review}/piece", tags=["reviews"])
def take_piece(
    request: Request, review: str, caller: Annotated[Caller, Depends(need("make"))], look: bool = False
) -> Response:
    """The piece that was held back: once it is approved; with ``look``, for a reviewer, before."""
    guard = _guard(request)
    if look and not caller.may("review"):
        raise HTTPException(403, f"a {caller.role} may not look at what is held back; ask a reviewer")
    try:
        data, media_type = Reviews(guard.state).held(review, look=look)
    except Blocked as error:
        raise HTTPException(403, str(error)) from None
    except BottegaError as error:
        raise _told_as(error) from None
    guard.trace("review looked at" if look else "piece released", caller.id, of=review)
    headers = {"content-disposition": "attachment"}  # somebody else's bytes are not shown as a page of this server
    return Response(data, media_type=media_type or "application/octet-stream", headers=headers)


# ---- metrics ----------------------------------------------------------------------------------------------------------


@router.get("/metrics", tags=["operate"], response_class=Response)
def metrics(request: Request, caller: Annotated[Caller, Depends(need("operate"))]) -> Response:
    """Metrics as Prometheus reads them."""
    return Response(_guard(request).metrics.render(), media_type=CONTENT_TYPE)
