"""What a server is watched by: Prometheus metrics, and a line of JSON for each request."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

__all__ = ["CONTENT_TYPE", "Metrics", "request_log"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

# What figures() may say of each model, and what it becomes: (key, metric, help, whether it only grows).
MODEL_STATS = (
    ("queue", "bottega_queue_length", "Requests that wait for a model.", False),
    ("running", "bottega_running", "Requests that a model works on.", False),
    ("tokens", "bottega_tokens", "Tokens that a model has made.", True),
    ("tokens_per_second", "bottega_tokens_per_second", "Tokens that a model makes in a second, lately.", False),
    ("pieces", "bottega_pieces", "Pieces that a model has made.", True),
    ("pieces_queue", "bottega_pieces_queue_length", "Requests for pieces that wait for a model.", False),
    ("preempted", "bottega_preempted", "Texts that made room for others and were begun again.", True),
    ("bytes", "bottega_model_memory_bytes", "Memory that a model takes.", False),
    ("cache_used", "bottega_cache_used_ratio", "Share of the pages of the cache that are taken.", False),
    ("loaded", "bottega_model_loaded", "Whether a model is in memory.", False),
)


class Metrics:
    """The metrics of one app; each app has a registry of its own.

    Args:
        clock: counts seconds, for the rate of tokens.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route")
        self.requests = Counter("bottega_requests", "Requests that were answered.", (*labels, "status"), registry=self.registry)  # fmt: skip
        self.seconds = Histogram("bottega_request_seconds", "Seconds to the end of an answer.", labels, buckets=_SECONDS, registry=self.registry)  # fmt: skip
        self.first_byte = Histogram("bottega_first_byte_seconds", "Seconds to the first byte of an answer.", labels, buckets=_SECONDS, registry=self.registry)  # fmt: skip
        self.refusals = Counter("bottega_refusals", "Requests that were turned away, by why.", ("reason",), registry=self.registry)  # fmt: skip
        self.filtered = Counter("bottega_filter_hits", "Rules of the content filter that were met.", ("rule", "side"), registry=self.registry)  # fmt: skip
        self.lockouts = Counter("bottega_lockouts", "Locks after failures.", ("kind",), registry=self.registry)
        self.audit_failures = Counter("bottega_audit_failures", "Lines that the audit log could not take.", registry=self.registry)  # fmt: skip
        self._models: list[Callable[[], Any]] = []
        self._drift: list[Callable[[], Iterable[Mapping[str, Any]]]] = []
        self._incidents: list[Callable[[], int]] = []
        self.registry.register(_Collected(self._models, self._drift, self._incidents, clock))

    def watch_models(self, figures: Callable[[], Any]) -> None:
        """Read what models have done whenever metrics are asked for.

        ``figures()`` gives a list of mappings that name their ``model``, or a mapping from names to mappings, with any of
        the numbers of ``MODEL_STATS``. The rate of tokens is worked out where it is not among them.
        """
        self._models.append(figures)

    def watch_drift(self, readings: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        """Read drift whenever metrics are asked for: mappings with model, medium, measure, value, limit and drifted."""
        self._drift.append(readings)

    def watch_incidents(self, count: Callable[[], int]) -> None:
        """Read how many incidents are open whenever metrics are asked for."""
        self._incidents.append(count)

    def answered(self, method: str, route: str, status: int, seconds: float, first: float | None) -> None:
        """Count a request that was answered."""
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(method, route).observe(seconds)
        if first is not None:
            self.first_byte.labels(method, route).observe(first)

    def render(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)

    def names(self) -> set[str]:
        """Every name under which a sample can appear."""
        out: set[str] = set()
        for family in (*self.registry.collect(), *_Collected([], [], [], time.monotonic).collect()):
            out.add(family.name)
            ends = {"counter": ("_total", "_created"), "histogram": ("_bucket", "_count", "_sum", "_created")}
            out |= {family.name + end for end in ends.get(family.type, ())}
        return out


class _Collected(Collector):
    """Reads models, drift and incidents in the moment of asking."""

    def __init__(
        self, models: list[Callable[[], Any]], drift: list[Callable[[], Iterable[Mapping[str, Any]]]],
        incidents: list[Callable[[], int]], clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self.models, self.drift, self.incidents, self.clock = models, drift, incidents, clock
        self._before: dict[str, tuple[float, float]] = {}

    def collect(self) -> Iterator[Any]:
        kinds = {True: CounterMetricFamily, False: GaugeMetricFamily}
        families = {key: kinds[grows](name, about, labels=["model"]) for key, name, about, grows in MODEL_STATS}
        for name, stats in self._stats():
            if "tokens" in stats and "tokens_per_second" not in stats:
                stats = {**stats, "tokens_per_second": self._rate(name, float(stats["tokens"]))}
            for key, family in families.items():
                if isinstance(value := stats.get(key), int | float):
                    family.add_metric([name], float(value))
        yield from families.values()
        labels = ["model", "medium", "measure"]
        value = GaugeMetricFamily("bottega_drift", "How far what is served lies from the reference.", labels=labels)
        limit = GaugeMetricFamily("bottega_drift_limit", "What a drift must exceed to be told.", labels=labels)
        drifted = GaugeMetricFamily("bottega_drifted", "Whether a drift exceeds its limit.", labels=labels)
        for reading in (one for read in self.drift for one in read()):
            of = [str(reading[name]) for name in labels]
            value.add_metric(of, float(reading["value"]))
            limit.add_metric(of, float(reading["limit"]))
            drifted.add_metric(of, float(bool(reading["drifted"])))
        yield from (value, limit, drifted)
        yield GaugeMetricFamily("bottega_incidents_open", "Incidents that are not fixed.", sum(count() for count in self.incidents))  # fmt: skip

    def _stats(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for read in self.models:
            found = read()
            if isinstance(found, Mapping):
                found = [{"model": name, **stats} for name, stats in found.items() if isinstance(stats, Mapping)]
            for stats in found:
                more = {}
                if stats.get("pages_limit"):
                    more["cache_used"] = stats.get("pages", 0) / stats["pages_limit"]
                yield str(stats["model"]), {**stats, **more}

    def _rate(self, name: str, tokens: float) -> float:
        now = self.clock()
        at, before = self._before.get(name, (now, tokens))
        self._before[name] = (now, tokens)
        return max(0.0, tokens - before) / (now - at) if now > at else 0.0


def request_log(file: Any = None) -> Callable[..., None]:
    """What writes a line of JSON for each request: ``log(method=..., path=..., status=..., ms=...)``."""
    logger = structlog.wrap_logger(
        structlog.PrintLogger(file or sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=True),
        ],
    )

    def log(**fields: Any) -> None:
        with contextlib.suppress(OSError, ValueError):  # a log that cannot be written stops no answer
            logger.info("request", **fields)

    return log
