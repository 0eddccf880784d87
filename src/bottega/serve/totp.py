"""Time-based one-time passwords as authenticator apps make them (RFC 6238 upon RFC 4226), by pyotp."""

from __future__ import annotations

import hmac
import re

import pyotp

from bottega.core import BottegaError

__all__ = ["PERIOD", "code_at", "new_secret", "step_of", "uri"]

PERIOD = 30  # seconds
_DIGITS = 6
_DRIFT = 1  # steps before and behind, for clocks that differ and people who type slowly (RFC 6238, 5.2)


def new_secret() -> str:
    """160 random bits in base32, as RFC 4226 (4, R6) recommends."""
    return str(pyotp.random_base32(32))


def uri(secret: str, user: str, issuer: str = "Bottega") -> str:
    """What an app reads from a QR code: ``otpauth://totp/...``."""
    return str(pyotp.TOTP(secret).provisioning_uri(name=user, issuer_name=issuer))


def code_at(secret: str, when: float) -> str:
    """The code of the moment ``when``, seconds since 1970."""
    return str(pyotp.TOTP(secret).at(int(when)))


def step_of(secret: str, code: str, when: float, *, after: int = -1) -> int | None:
    """The time step whose code this is, so that the caller can keep it and take each code once; None for a wrong code.

    Args:
        secret: in base32.
        code: as a person typed it; blanks do not matter.
        when: seconds since 1970.
        after: the last step that was used; it and those before it count no more.
    """
    typed = re.sub(r"\s", "", code)
    if not re.fullmatch(r"[0-9]{6}", typed):
        return None
    now = int(when) // PERIOD
    found = None
    for step in range(now - _DRIFT, now + _DRIFT + 1):  # all are compared, so that time tells nothing
        right = hmac.compare_digest(str(pyotp.HOTP(secret, digits=_DIGITS).at(step)), typed) if step >= 0 else False
        if right and step > after:
            found = step
    return found


class SecondFactorError(BottegaError):
    """A code of the second factor is wrong, used already, or asked for where there is none."""
