"""Text from any OpenAI-compatible endpoint: OpenAI's own, vLLM, llama.cpp, a server of ours."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

from bottega.core import BottegaError, RecipeError, nearest

__all__ = ["Endpoint", "is_address"]

KEY = "OPENAI_API_KEY"
# knobs of ours, and where OpenAI's interface or (in the body, beside it) vLLM's and llama.cpp's have them
_OWN = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
_BESIDE = ("top_k", "min_p", "repetition_penalty")
_STOPS = 4  # as many stop strings as the interface takes


def is_address(text: str) -> bool:
    """Whether ``text`` is the address of an endpoint, and not a path.

    >>> is_address("http://localhost:8000/v1"), is_address("runs/english")
    (True, False)
    """
    return text.startswith(("http://", "https://"))


class Endpoint:
    """A model that another program runs, by the interface that OpenAI's ``openai`` library speaks.

    The key is read from the environment, ``OPENAI_API_KEY``, and from nowhere else; it is sent to the endpoint, by https
    or to this machine only, and is in no message, record or ``repr``. Where there is none, none is sent.

    A request that times out, finds nobody or is answered 408, 409, 429 or 5xx is made again up to ``tries`` times in
    all, after half a second, one, two, ... at most eight, or when the answer's ``Retry-After`` says.

    Args:
        url: up to and with the version, ``https://api.openai.com/v1``.
        model: the name the endpoint knows it by.
        way: ``"chat"`` sends the prompt as what a user says, ``"completions"`` as the beginning of a text.
        tries: requests at most.
        timeout: seconds to wait for each answer to begin, and then for each part of it.

    Raises:
        BottegaError: the ``openai`` library is not installed.
        RecipeError: an address that is none, that holds a password or query, or that the key may not travel to.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        way: Literal["chat", "completions"] = "chat",
        tries: int = 4,
        timeout: float = 60.0,
    ) -> None:
        try:
            import openai
        except ImportError as error:
            raise BottegaError("an endpoint needs the openai library: pip install 'bottega[text]'") from error
        key = os.environ.get(KEY, "").strip()
        self.url, self.model, self.way, self.tries, self.timeout = _checked(url, bool(key)), model, way, tries, timeout
        if not model:
            raise RecipeError(f"which model of {self.url} is not said; name it with --model")
        if way not in ("chat", "completions"):
            raise RecipeError(f"way is {way!r}; use 'chat' or 'completions'")
        if tries < 1 or not 0 < timeout < math.inf:
            raise RecipeError(f"tries={tries}, timeout={timeout}: at least one try, and a time above 0 seconds")
        self._client = openai.OpenAI(api_key=key or "none", base_url=self.url, timeout=timeout, max_retries=tries - 1)
        self._headers: Any = None if key else {"Authorization": openai.Omit()}

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, model={self.model!r})"

    def about(self) -> dict[str, str]:
        """Where a text is from, for records: the address and the model, never the key."""
        return {"endpoint": self.url, "model": self.model, "way": self.way}

    def stream(
        self,
        prompt: str,
        *,
        max_new: int | None = None,
        stop: Sequence[str] = (),
        seed: int = 0,
        history: Sequence[Mapping[str, str]] = (),
        **knobs: Any,
    ) -> Iterator[str]:
        """What the model answers, part by part as it arrives.

        Args:
            prompt: what is said, or begun.
            max_new: at most so many tokens; by default the endpoint's own limit.
            stop: the first four are sent; whoever calls cuts at the others.
            seed: sent with the request; most endpoints keep to it, OpenAI's as best it can.
            history: ``"chat"`` only: earlier messages, each with ``role`` and ``content``.
            knobs: ``temperature``, ``top_p``, ``frequency_penalty``, ``presence_penalty``; ``top_k``, ``min_p`` and
                ``repetition_penalty`` where the endpoint has them (vLLM, llama.cpp).

        Raises:
            RecipeError: a knob that is none.
            BottegaError: no answer after all tries, or an answer that says no.
        """
        came = False
        try:
            with self._ask(prompt, max_new, stop, seed, history, knobs, stream=True) as parts:
                for part in parts:
                    self._check(part)
                    came = True
                    choice = part.choices[0] if part.choices else None
                    if choice is not None:
                        text = choice.delta.content if self.way == "chat" else choice.text
                        if text:
                            yield text
        except BottegaError:
            raise
        except Exception as error:  # of the library or of the connection in the middle of an answer
            self._tell(error)
        if not came:
            self._check(None)

    def complete(
        self,
        prompt: str,
        *,
        max_new: int | None = None,
        stop: Sequence[str] = (),
        seed: int = 0,
        history: Sequence[Mapping[str, str]] = (),
        **knobs: Any,
    ) -> str:
        """What the model answers, at once; arguments as in ``stream``."""
        try:
            reply = self._ask(prompt, max_new, stop, seed, history, knobs, stream=False)
        except BottegaError:
            raise
        except Exception as error:
            self._tell(error)
        self._check(reply)
        if not reply.choices:
            raise BottegaError(f"{self.url} answered without a choice; is its model {self.model!r} loaded?")
        choice = reply.choices[0]
        return (choice.message.content if self.way == "chat" else choice.text) or ""

    def _ask(
        self, prompt: str, max_new: int | None, stop: Sequence[str], seed: int,
        history: Sequence[Mapping[str, str]], knobs: Mapping[str, Any], *, stream: bool,
    ) -> Any:  # fmt: skip
        for knob in knobs:
            if knob not in _OWN + _BESIDE:
                raise RecipeError(f"no knob called {knob!r} at an endpoint{nearest(knob, _OWN + _BESIDE)}")
        asked: dict[str, Any] = {"model": self.model, "seed": seed, "stream": stream}
        asked["extra_headers"] = self._headers
        asked |= {k: v for k, v in knobs.items() if k in _OWN}
        if beside := {k: v for k, v in knobs.items() if k in _BESIDE}:
            asked["extra_body"] = beside
        if stop:
            asked["stop"] = list(stop[:_STOPS])
        if max_new is not None:  # OpenAI's newer models know the newer name only, everyone else's the older one
            newer = self.way == "chat" and urlsplit(self.url).hostname == "api.openai.com"
            asked["max_completion_tokens" if newer else "max_tokens"] = max_new
        if self.way == "chat":
            said = [*({"role": m["role"], "content": m["content"]} for m in history)]
            return self._client.chat.completions.create(messages=[*said, {"role": "user", "content": prompt}], **asked)
        if history:
            raise RecipeError("a completion has no earlier messages; use way='chat'")
        return self._client.completions.create(prompt=prompt, **asked)

    def _check(self, reply: Any) -> None:
        if not hasattr(reply, "choices"):
            raise BottegaError(
                f"{self.url} does not answer as an OpenAI-compatible endpoint; its address mostly ends in /v1"
            )

    def _tell(self, error: Exception) -> NoReturn:
        """The one line that a person gets. The cause is not chained: it holds the request, and with it the key."""
        import httpx2
        import openai

        where, times = f"{self.url} (model {self.model!r})", f"{self.tries} tries" if self.tries > 1 else "1 try"
        if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
            why = f"{where} did not answer within {self.timeout:g} s in {times}; wait, or allow a longer timeout"
        elif isinstance(error, openai.RateLimitError):
            why = f"{where} refuses for now (429) after {times}: {self._said(error)}; wait, or ask for less"
        elif isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            have = "is not accepted" if os.environ.get(KEY) else "is not set"
            why = f"{where} wants a key ({error.status_code}) and {KEY} {have}; export the right one"
        elif isinstance(error, openai.NotFoundError):
            why = f"{where} is not there (404): {self._said(error)}; check the address and --model"
        elif isinstance(error, openai.APIStatusError):
            tried = f" after {times}" if error.status_code >= 500 or error.status_code in {408, 409} else ""
            why = f"{where} answered {error.status_code}{tried}: {self._said(error)}; check what is asked of it"
        elif isinstance(error, openai.APIConnectionError | httpx2.TransportError):
            why = f"no connection to {where} in {times}; check that it runs"
        elif isinstance(error, openai.OpenAIError | ValueError):
            why = f"{where} does not answer as an OpenAI-compatible endpoint: {self._said(error)}; check the address"
        else:
            raise error
        raise BottegaError(why) from None

    def _said(self, error: Exception) -> str:
        """What the endpoint itself says of it, in one line, without the key or what looks like one."""
        body = getattr(error, "body", None)
        told = body.get("message") if isinstance(body, dict) else None
        text = " ".join(str(told or getattr(error, "message", None) or error).split())
        if key := os.environ.get(KEY, "").strip():
            text = text.replace(key, "***")
        return re.sub(r"\bsk-[\w*-]{4,}", "***", text)[:200]


def _checked(url: str, has_key: bool) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise RecipeError(f"{url!r} is no address of an endpoint; write https://HOST/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise RecipeError(
            f"the address of {parts.hostname} holds a name, password or query, which records would show; leave it out and "
            f"put the key into {KEY}"
        )
    if has_key and parts.scheme == "http" and not _here(parts.hostname):
        raise RecipeError(f"{url} is not encrypted and {KEY} would travel in the open; use https, or unset {KEY}")
    return url.rstrip("/")


def _here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
