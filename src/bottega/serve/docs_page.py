"""The page at ``/docs``: what the server answers, written from its OpenAPI document, without scripts and without a CDN."""

from __future__ import annotations

import json
from html import escape
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from bottega.serve.roles import Caller, need

__all__ = ["page", "router"]

router = APIRouter()
_STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{margin-top:2rem;border-bottom:1px solid #8886}details{margin:.4rem 0;border:1px solid #8884;border-radius:6px;padding:.4rem .8rem}
summary{cursor:pointer}code,pre{font:13px/1.45 ui-monospace,monospace}pre{overflow-x:auto;background:#8881;padding:.6rem;border-radius:4px}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .6rem .2rem 0;vertical-align:top;border-bottom:1px solid #8883}
.verb{display:inline-block;min-width:4.5em;font-weight:600}"""


def page(document: dict[str, Any], base: str) -> str:
    """The page of an OpenAPI document.

    Args:
        document: OpenAPI 3.1.
        base: the address of the server, for examples.
    """
    groups: dict[str, list[str]] = {}
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            groups.setdefault((operation.get("tags") or ["other"])[0], []).append(
                _operation(path, verb, operation, document, base)
            )
    body = "".join(f"<h2>{escape(name)}</h2>{''.join(some)}" for name, some in groups.items())
    info = document["info"]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f'<p>{escape(info.get("description", ""))} The same for programs: <a href="/openapi.json">openapi.json</a>.</p>{body}</html>'
    )


def _operation(path: str, verb: str, operation: dict[str, Any], document: dict[str, Any], base: str) -> str:
    rows = [
        (p["name"], f"{p['in']}: {_kind(p.get('schema', {}), document)}", p.get("required", False))
        for p in operation.get("parameters", [])
    ]
    example = f"curl {base}{path}"
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = _resolved(content["schema"], document)
        needed = set(schema.get("required", []))
        rows += [(n, _kind(s, document), n in needed) for n, s in schema.get("properties", {}).items()]
        if media == "application/json":
            sent = {n: _example(n, s, document) for n, s in schema.get("properties", {}).items() if n in needed}
            example += f" \\\n  -H 'Content-Type: application/json' -d '{json.dumps(sent)}'"
        else:
            example += "".join(f" \\\n  -F {n}=..." for n in sorted(needed))
    table = "".join(
        f"<tr><td><code>{escape(n)}</code></td><td>{escape(k)}</td><td>{'needed' if r else ''}</td></tr>"
        for n, k, r in rows
    )
    fields = f"<table><tr><th>field</th><th>what</th><th></th></tr>{table}</table>" if rows else ""
    return (
        f'<details><summary><span class="verb">{verb.upper()}</span> <code>{escape(path)}</code> {escape(operation.get("summary", ""))}'
        f"</summary><p>{escape(operation.get('description', ''))}</p>{fields}<pre>{escape(example)}</pre></details>"
    )


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def _kind(schema: dict[str, Any], document: dict[str, Any], deep: int = 0) -> str:
    schema = _resolved(schema, document)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(one, document, deep + 1) for one in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return ", ".join(map(json.dumps, schema.get("enum", [schema.get("const")])))
    kind = str(schema.get("type", "any"))
    if kind == "array" and deep < 3:
        return f"list of {_kind(schema.get('items', {}), document, deep + 1)}"
    low, high = (
        schema.get("minimum", schema.get("exclusiveMinimum")),
        schema.get("maximum", schema.get("exclusiveMaximum")),
    )
    between = (
        f", {'' if low is None else low} to {'' if high is None else high}"
        if low is not None or high is not None
        else ""
    )
    default = f", by default {json.dumps(schema['default'])}" if schema.get("default") not in (None, {}) else ""
    return f"{kind}{between}{default}"


def _example(name: str, schema: dict[str, Any], document: dict[str, Any]) -> Any:
    known: dict[str, Any] = {"model": "MODEL", "messages": [{"role": "user", "content": "Hello"}], "input": "Hello"}
    if name in known:
        return known[name]
    kind = _kind(schema, document).split(",")[0]
    return {"string": "...", "integer": 1, "number": 1.0}.get(kind, {})


@router.get("/docs", include_in_schema=False)
async def docs(request: Request, caller: Annotated[Caller, Depends(need("look"))]) -> HTMLResponse:
    """What the server answers, for people."""
    return HTMLResponse(
        page(request.app.openapi(), str(request.base_url).rstrip("/")),
        headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"},
    )
