"""Metrics: what models tell becomes what Prometheus reads; alerts and dashboard name only what there is."""

from __future__ import annotations

import json
import re
from importlib.resources import files

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from bottega.serve.metrics import MODEL_STATS, Metrics

WORDS = {
    "sum", "rate", "increase", "by", "le", "histogram_quantile", "clamp_min", "or", "and", "up", "job", "status", "route",
    "reason", "rule", "side", "bottega", "model", "kind",
}  # fmt: skip


def _families(metrics):
    return {f.name: f for f in text_string_to_metric_families(metrics.render().decode())}


def _value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


@pytest.mark.parametrize("shape", [list, dict])
def test_what_models_tell(shape):
    rows = [{"model": "gpt", "queue": 3, "running": 2, "tokens": 70, "pages": 5, "pages_limit": 20, "bytes": 1000, "loaded": True, "odd": "x"},
            {"model": "vae", "pieces": 9, "loaded": False, "bytes": 0}]  # fmt: skip
    metrics = Metrics()
    metrics.watch_models(lambda: rows if shape is list else {r["model"]: r for r in rows})
    assert _value(metrics, "bottega_queue_length", model="gpt") == 3
    assert _value(metrics, "bottega_tokens_total", model="gpt") == 70
    assert _value(metrics, "bottega_cache_used_ratio", model="gpt") == 0.25
    assert _value(metrics, "bottega_model_loaded", model="vae") == 0
    assert _value(metrics, "bottega_pieces_total", model="vae") == 9


def test_tokens_a_second_are_worked_out():
    now, tokens = [100.0], [0]
    metrics = Metrics(lambda: now[0])
    metrics.watch_models(lambda: [{"model": "m", "tokens": tokens[0]}])
    metrics.render()
    now[0], tokens[0] = 110.0, 500
    assert _value(metrics, "bottega_tokens_per_second", model="m") == 50.0


def test_latency_by_route_and_refusals():
    metrics = Metrics()
    for seconds in (0.004, 0.2, 7.0):
        metrics.answered("POST", "/v1/completions", 200, seconds, seconds / 2)
    metrics.refusals.labels("locked").inc()
    at = {"method": "POST", "route": "/v1/completions"}
    assert _value(metrics, "bottega_request_seconds_bucket", **at, le="0.25") == 2
    assert _value(metrics, "bottega_first_byte_seconds_sum", **at) == pytest.approx(3.602)
    assert _families(metrics)["bottega_refusals"].samples[0].value == 1
    assert {f"bottega_{name}" for name in ("requests", "drift", "incidents_open", "queue_length")} <= set(
        _families(metrics)
    )


def test_two_apps_have_their_own_metrics():
    a, b = Metrics(), Metrics()
    a.answered("GET", "/x", 200, 0.1, None)
    assert b"/x" not in b.render()


def _named(expression):
    bare = re.sub(r'"[^"]*"', '""', expression)
    return set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*(?![A-Za-z0-9_]*\()", re.sub(r"\[[0-9a-z]+\]", "", bare))) - WORDS


def _alerts():
    return yaml.safe_load(files("bottega.serve").joinpath("watch/alerts.yaml").read_text())


def _panels():
    return json.loads(files("bottega.serve").joinpath("watch/grafana.json").read_text())["panels"]


def test_alerts_and_dashboard_name_only_metrics_that_there_are():
    names = Metrics().names()
    rules = [rule for group in _alerts()["groups"] for rule in group["rules"]]
    expressions = [r["expr"] for r in rules] + [t["expr"] for p in _panels() for t in p["targets"]]
    assert len(expressions) > 25
    for expression in expressions:
        assert _named(expression) <= names, expression
        assert expression.count("(") == expression.count(")")
    assert not _named("sum(rate(bottega_requests_totl[5m]))") <= names  # a slip is found
    told = {name for expression in expressions for name in _named(expression)}
    unseen = {m for _, m, _, _ in MODEL_STATS if not any(name.startswith(m) for name in told)}
    assert unseen == set()


def test_alerts_are_as_prometheus_wants_them():
    rules = [rule for group in _alerts()["groups"] for rule in group["rules"]]
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
    assert len({rule["alert"] for rule in rules}) == len(rules)


def test_the_dashboard_has_a_place_for_each_panel():
    taken = set()
    for panel in _panels():
        g = panel["gridPos"]
        cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        assert not cells & taken
        taken |= cells
        assert g["x"] + g["w"] <= 24
    assert len({panel["id"] for panel in _panels()}) == len(_panels())
