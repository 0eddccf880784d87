"""Who may do what: roles, permissions, and the dependency that every endpoint names its permission with.

Deny by default: a permission that stands in no role's list is nobody's, and an endpoint without one is a fault that a test
finds. (Sandhu et al. 1996, "Role-based access control models", RBAC0.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fastapi import HTTPException, Request

Role = Literal["viewer", "maker", "trainer", "admin"]
Permission = Literal["look", "make", "talk", "rate", "train", "review", "operate", "audit", "administer"]

_VIEWER: frozenset[Permission] = frozenset({"look"})
_MAKER: frozenset[Permission] = _VIEWER | {"make", "talk", "rate"}
_TRAINER: frozenset[Permission] = _MAKER | {"train", "review", "operate"}
PERMISSIONS: dict[Role, frozenset[Permission]] = {
    "viewer": _VIEWER,  # list models and runs, see samples and measures
    "maker": _MAKER,  # make pieces, chat, give feedback
    "trainer": _TRAINER,  # start, stop and resume trainings; review; load and unload models
    "admin": _TRAINER | {"audit", "administer"},  # read the audit log; keys, users, quotas
}


@dataclass(frozen=True)
class Caller:
    """Who a request comes from.

    Args:
        id: Stable name that quotas, memory and the audit log go by; ``"local"`` on loopback without keys.
        role: What they may do.
        key: Id of the API key (never the key), empty without one.
        user: Whose memory a chat belongs to, where the caller speaks for several people (header ``X-Bottega-User``).
    """

    id: str
    role: Role
    key: str = ""
    user: str = ""

    def may(self, permission: Permission) -> bool:
        """Whether the role has the permission."""
        return permission in PERMISSIONS.get(self.role, frozenset())


LOCAL = Caller("local", "admin")


def caller_of(request: Request) -> Caller:
    """Who asks, as the guard found out; 401 where nobody did."""
    caller = getattr(request.state, "caller", None)
    if not isinstance(caller, Caller):
        raise HTTPException(401, "who are you? Send an API key: Authorization: Bearer KEY")
    return caller


def need(permission: Permission) -> Callable[[Request], Caller]:
    """A dependency for FastAPI: the caller, who has the permission, or 403.

    ``@router.post("/v1/pieces")`` ``def make(caller: Annotated[Caller, Depends(need("make"))])``
    """

    def check(request: Request) -> Caller:
        caller = caller_of(request)
        if not caller.may(permission):
            raise HTTPException(403, f"a {caller.role} may not {permission}; ask an admin for another role")
        return caller

    check.permission = permission  # type: ignore[attr-defined]  # what the permission matrix of the tests reads
    return check
