"""Text from any OpenAI-compatible endpoint: OpenAI's own, vLLM, llama.cpp, a server of ours."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Literal, NoReturn

from bottega.core import BottegaError, RecipeError, nearest
from bottega.samplers.constrain import parsed_schema

__all__ = ["Answer", "Endpoint", "is_address"]

KEY = "OPENAI_API_KEY"
# knobs of ours, and where OpenAI's interface or (in the body, beside it) vLLM's and llama.cpp's have them
_OWN = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
_BESIDE = ("top_k", "min_p", "repetition_penalty")
_STOPS = 4  # as many stop strings as the interface takes
# what reading an answer of another form raises
_AMISS = (AttributeError, TypeError, ValueError, KeyError, OverflowError)
_AT_ONCE = 16  # answers of one request: few enough for any server's limit


@dataclass(frozen=True)
class Answer:
    """One answer, as the endpoint gave it.

    Attributes:
        text: what was written.
        finish: why it ended, in the endpoint's word: ``"stop"`` (by itself, or at a stop string), ``"length"``,
            ``"content_filter"`` or another; empty where it does not say.
        tokens: of the text, spelt; empty unless log-probabilities were asked for.
        sizes: how many bytes each has.
        logprobs: of each, in nats, as the endpoint counts them.
        likeliest: of each place the likeliest tokens, with theirs.
    """

    text: str
    finish: str
    tokens: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    likeliest: list[list[tuple[str, float]]] = field(default_factory=list)


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
        schema: dict[str, Any] | str | None = None,
        **knobs: Any,
    ) -> Generator[str, None, str]:
        """What the model answers, part by part as it arrives. Returns why it ended (see ``Answer``).

        Args:
            prompt: what is said, or begun.
            max_new: at most so many tokens; by default the endpoint's own limit.
            stop: the first four are sent; whoever calls cuts at the others.
            seed: sent with the request; most endpoints keep to it, OpenAI's as best it can.
            history: ``"chat"`` only: earlier messages, each with ``role`` and ``content``.
            schema: ``"chat"`` only: a JSON schema that the answer is to keep to. It is sent (``response_format``), and the
                whole answer is checked against it here, since not every endpoint heeds it.
            knobs: ``temperature``, ``top_p``, ``frequency_penalty``, ``presence_penalty``; ``top_k``, ``min_p`` and
                ``repetition_penalty`` where the endpoint has them (vLLM, llama.cpp).

        Raises:
            RecipeError: a knob that is none, a schema that is none.
            BottegaError: no answer after all tries, an answer that says no, or JSON that the schema does not allow.
        """
        kept = None if schema is None else _Schema(schema)
        asked = self._asked(max_new, stop, seed, kept, knobs) | {"stream": True}
        came, whole, finish = False, "", ""
        try:
            with self._ask(prompt, history, asked) as parts:
                for part in parts:
                    self._check(part)
                    came = True
                    try:
                        choice = part.choices[0] if part.choices else None
                    except _AMISS as error:
                        self._amiss(error)
                    if choice is None:
                        continue
                    text, why = self._said_in(choice, "delta")
                    finish = why or finish
                    if text:
                        whole += text
                        yield text
        except BottegaError:
            raise
        except Exception as error:  # of the library or of the connection in the middle of an answer
            self._tell(error)
        if not came:
            self._check(None)
        if kept is not None:
            self._keeps(kept, whole, finish)
        return finish

    def complete(self, prompt: str, **asked: Any) -> str:
        """What the model answers, at once; arguments as in ``stream``."""
        return self.answers(prompt, **asked)[0].text

    def answers(
        self,
        prompt: str,
        *,
        n: int = 1,
        max_new: int | None = None,
        stop: Sequence[str] = (),
        seed: int = 0,
        history: Sequence[Mapping[str, str]] = (),
        schema: dict[str, Any] | str | None = None,
        logprobs: int | None = None,
        **knobs: Any,
    ) -> list[Answer]:
        """``n`` answers, at once; other arguments as in ``stream``.

        Up to 16 are asked for in one request, whose seed is the first's: vLLM and a server of ours count on from there. An
        endpoint that gives fewer, or takes no ``n`` above one, is asked again, with the seed of the next.

        Args:
            prompt: what is said, or begun.
            n: how many.
            max_new: at most so many tokens of each.
            stop: see ``stream``.
            seed: of the first.
            history: see ``stream``.
            schema: see ``stream``.
            logprobs: ask for log-probabilities, and those of so many of the likeliest tokens at each place.
            knobs: see ``stream``.

        Raises:
            RecipeError: a knob that is none, a schema that is none, n or logprobs out of range.
            BottegaError: as for ``stream``, or an endpoint that tells no log-probabilities.
        """
        if n < 1 or (logprobs is not None and logprobs < 0):
            raise RecipeError(
                f"n is {n} and logprobs {logprobs}; ask for at least one answer, and 0 or more of the likeliest"
            )
        kept = None if schema is None else _Schema(schema)
        asked = self._asked(max_new, stop, seed, kept, knobs) | {"stream": False}
        if logprobs is not None and self.way == "chat":
            asked |= {"logprobs": True} | ({"top_logprobs": logprobs} if logprobs else {})
        elif logprobs is not None:
            asked["logprobs"] = logprobs
        out: list[Answer] = []
        at_once = _AT_ONCE
        while len(out) < n:
            many = min(at_once, n - len(out))
            asked["seed"] = seed + len(out)
            try:
                reply = self._ask(prompt, history, asked | ({"n": many} if many > 1 else {}))
            except BottegaError:
                raise
            except Exception as error:
                if many > 1 and getattr(error, "status_code", 0) in (
                    400,
                    422,
                ):  # perhaps of n; if not, one is refused too
                    at_once = 1
                    continue
                self._tell(error)
            self._check(reply)
            if not reply.choices:
                raise BottegaError(f"{self.url} answered without a choice; is its model {self.model!r} loaded?")
            try:
                choices = sorted(reply.choices, key=lambda choice: choice.index or 0)[:many]
            except _AMISS as error:
                self._amiss(error)
            at_once = len(choices)
            out += [self._answer(choice, logprobs, kept) for choice in choices]
        return out

    def _answer(self, choice: Any, logprobs: int | None, kept: _Schema | None) -> Answer:
        text, finish = self._said_in(choice, "message")
        if kept is not None:
            self._keeps(kept, text or str(getattr(choice.message, "refusal", None) or ""), finish)
        if logprobs is None:
            return Answer(text, finish)
        try:
            places = _places(getattr(choice, "logprobs", None))
        except _AMISS as error:
            self._amiss(error)
        if places is None and not text:  # of nothing there is nothing to tell
            places = []
        if places is None:
            raise BottegaError(f"{self.url} (model {self.model!r}) tells no log-probabilities; leave them out")
        return Answer(text, finish, [p[0] for p in places], [p[1] for p in places], [p[2] for p in places],
                      [p[3][:logprobs] for p in places])  # fmt: skip

    def _said_in(self, choice: Any, part: str) -> tuple[str, str]:
        """The text of a choice, or of a part of it, and why it ended; either may be empty."""
        try:
            text = (getattr(choice, part).content if self.way == "chat" else choice.text) or ""
            finish = choice.finish_reason or ""
        except AttributeError as error:
            self._amiss(error)
        if not isinstance(text, str) or not isinstance(finish, str):
            self._amiss(f"its text is {text!r}, and it ended by {finish!r}")
        return text, finish

    def _amiss(self, why: Exception | str) -> NoReturn:
        """An answer in which something is missing or is of another kind."""
        said = " ".join(str(why).split())[:200]
        raise BottegaError(
            f"{self.url} (model {self.model!r}) does not answer as an OpenAI-compatible endpoint: {said}; check the address"
        ) from None

    def _keeps(self, schema: _Schema, text: str, finish: str) -> None:
        """Raise BottegaError unless the answer is JSON that the schema allows."""
        if why := schema.fault(text):
            cut = finish == "length"
            mend = "allow more tokens" if cut else "use a model or server that keeps to schemas, or ask without one"
            said = text if len(text) <= 80 else f"{text[:77]}..."
            raise BottegaError(
                f"{self.url} (model {self.model!r}) was asked for JSON by a schema and answered {said!r}"
                f"{', cut at its limit of tokens' if cut else ''}: {why}; {mend}"
            )

    def _asked(
        self, max_new: int | None, stop: Sequence[str], seed: int, schema: _Schema | None, knobs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The request without its prompt."""
        for knob in knobs:
            if knob not in _OWN + _BESIDE:
                raise RecipeError(f"no knob called {knob!r} at an endpoint{nearest(knob, _OWN + _BESIDE)}")
        asked: dict[str, Any] = {"model": self.model, "seed": seed, "extra_headers": self._headers}
        asked |= {k: v for k, v in knobs.items() if k in _OWN}
        if beside := {k: v for k, v in knobs.items() if k in _BESIDE}:
            asked["extra_body"] = beside
        if stop:
            asked["stop"] = list(stop[:_STOPS])
        if max_new is not None:  # OpenAI's newer models know the newer name only, everyone else's the older one
            newer = self.way == "chat" and _host(self.url) == "api.openai.com"
            asked["max_completion_tokens" if newer else "max_tokens"] = max_new
        if schema is not None:
            if self.way != "chat":
                raise RecipeError("a completion keeps to no schema in OpenAI's interface; use way='chat' (--way chat)")
            form = {"name": "answer", "schema": schema.schema, "strict": True}
            asked["response_format"] = {"type": "json_schema", "json_schema": form}
        return asked

    def _ask(self, prompt: str, history: Sequence[Mapping[str, str]], asked: dict[str, Any]) -> Any:
        if self.way == "chat":
            said: Any = [*({"role": m["role"], "content": m["content"]} for m in history)]
            said.append({"role": "user", "content": prompt})
            return self._client.chat.completions.create(messages=said, **asked)
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
        import openai

        where, times = f"{self.url} (model {self.model!r})", f"{self.tries} tries" if self.tries > 1 else "1 try"
        of_transport = type(error).__module__.startswith(
            "httpx"
        )  # in the middle of an answer the library lets them through
        if isinstance(error, openai.APITimeoutError) or of_transport and "Timeout" in type(error).__name__:
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
        elif of_transport or isinstance(error, openai.APIConnectionError):
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


class _Schema:
    """A JSON schema, and what a text has against it.

    Args:
        schema: the schema, or its JSON.

    Raises:
        RecipeError: it is no schema, or one that cannot be checked here: with a ``pattern`` that Python's ``re`` does not
            know, or without end.
        BottegaError: the library ``jsonschema`` is not installed.
    """

    def __init__(self, schema: dict[str, Any] | str) -> None:
        try:
            from jsonschema.exceptions import SchemaError
            from jsonschema.validators import Draft202012Validator, validator_for
            from referencing import Registry
        except ImportError as error:
            raise BottegaError("a schema needs the jsonschema library: pip install 'bottega[text]'") from error
        schema = parsed_schema(schema)
        if not isinstance(schema.get("$schema", ""), str):
            raise RecipeError("the schema is no JSON schema at $.$schema: it is no text; leave it out")
        kind = validator_for(schema, default=Draft202012Validator)
        try:
            kind.check_schema(schema)
        except SchemaError as error:
            where = _line(error.json_path)
            if error.validator == "format" and error.validator_value == "regex":
                raise RecipeError(
                    f"the schema's pattern {_line(repr(error.instance))} at {where} cannot be checked here, for Python's "
                    "regular expressions do not know it; write it in another way, or leave it out"
                ) from error
            raise RecipeError(f"the schema is no JSON schema at {where}: {_line(error.message)}") from error
        except RecursionError as error:
            raise RecipeError("the schema is nested too deep to be checked here; make it flatter") from error
        self.schema = schema
        self._validator = kind(schema, registry=Registry())  # which fetches nothing that a schema may refer to

    def fault(self, text: str) -> str:
        """Why a text is not JSON that the schema allows; empty where it is.

        >>> _Schema({"type": "object", "required": ["n"]}).fault('{"m": 1}')
        "at $ 'n' is a required property"

        Raises:
            RecipeError: it cannot be checked, for the schema refers to what it does not hold, or is broken.
        """
        from jsonschema.exceptions import best_match
        from referencing.exceptions import Unresolvable

        try:
            value = json.loads(text, parse_constant=_no_json, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            return f"it is not JSON that can be read ({_line(str(error))})"
        try:
            wrong = best_match(self._validator.iter_errors(value))
        except Unresolvable as missing:
            raise RecipeError(f"the schema refers to {missing.ref}, which it does not hold; put it in") from missing
        except RecursionError:
            return "it is nested too deep to be checked here, or the schema refers to itself without end"
        except OverflowError:
            return "it holds a number too large to be checked here"
        except Exception as error:  # of the library, which takes what a schema refers to for a schema
            raise RecipeError(
                f"the schema cannot be checked here ({_line(repr(error))}); mend what it refers to"
            ) from error
        return "" if wrong is None else f"at {_line(wrong.json_path)} {_line(wrong.message)}"


def _line(text: str) -> str:
    """In one line, and not a long one."""
    return " ".join(text.split())[:200]


def _no_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{digits[:20]} is too large a number")
    return value


def _places(told: Any) -> list[tuple[str, int, float, list[tuple[str, float]]]] | None:
    """Log-probabilities of either form, as ``(token, bytes, its own, the likeliest)`` for each place; None where there are none."""
    content = getattr(told, "content", None)
    if content is not None:  # of a chat; llama.cpp has it so for completions too
        return [
            (
                place.token,
                len(place.token.encode() if place.bytes is None else place.bytes),
                float(place.logprob),
                [(best.token, float(best.logprob)) for best in place.top_logprobs or []],
            )
            for place in content
        ]
    tokens, own = getattr(told, "tokens", None), getattr(told, "token_logprobs", None)
    if tokens is None or own is None:
        return None
    best = getattr(told, "top_logprobs", None) or [{}] * len(tokens)
    return [
        (token, len(token.encode()), float(p), sorted((top or {}).items(), key=lambda pair: -pair[1]))
        for token, p, top in zip(tokens, own, best, strict=True)
    ]


_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<open>[^/?#]*@)?(?P<host>\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d+)?(/[^?#\s]*)?(?P<more>[?#].*)?"
)


def _host(url: str) -> str:
    found = _ADDRESS.fullmatch(url)
    return found["host"].strip("[]") if found else ""


def _checked(url: str, has_key: bool) -> str:
    found = _ADDRESS.fullmatch(url.strip())
    if found is None:
        raise RecipeError("this is no address of an endpoint; write https://HOST/v1")
    if found["open"] or found["more"]:
        raise RecipeError(
            f"the address of {found['host']} holds a name, password or query, which records would show; leave it out and "
            f"put the key into {KEY}"
        )
    if has_key and found["scheme"] == "http" and not _here(found["host"].strip("[]")):
        raise RecipeError(f"{url} is not encrypted and {KEY} would travel in the open; use https, or unset {KEY}")
    return url.strip().rstrip("/")


def _here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
