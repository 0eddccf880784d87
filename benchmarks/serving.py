"""Texts over HTTP, as the book serves them and as we do: requests a second, waiting times, time to the first token, start, memory.

One GPT-2 of 12.4 million random weights (6 layers, 384 wide, 4,096 tokens, 512 positions) lies in a Hugging Face directory that
both serve. Prompts have 5 to 40 tokens, answers 32 sampled ones (temperature 0.8, top_k 50). Clients ask again as soon as they are
answered, from a process of their own; one who is told 429 waits as long as ``Retry-After`` says. The book's design is a Flask
server, a thread for each request, around ``transformers.pipeline``; where Flask is not installed, the same handler stands behind
the standard library's ``ThreadingHTTPServer``, which is what Flask's development server is built on. The two alternate.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NEW = 32
KNOBS = {"temperature": 0.8, "top_k": 50}
WORDS = [
    a + b + c
    for a in "bdfgklmnprst"
    for b in "aeiou"
    for c in ("", "n", "r", "st", "nd", "lling", "ment", "ous", "ish")
]


def directory(folder: Path) -> Path:
    """The model both serve: random weights, and byte-pair tokens learned from made words."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    some = random.Random(0)
    lines = [" ".join(some.choice(WORDS) + some.choice(WORDS) for _ in range(40)) for _ in range(2000)]
    made.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=4096, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), special_tokens=["<|endoftext|>"],
        show_progress=False,
    ))  # fmt: skip
    end = made.token_to_id("<|endoftext|>")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=4096, n_embd=384, n_layer=6, n_head=6, n_positions=512, bos_token_id=end, eos_token_id=end
    )
    model = transformers.GPT2LMHeadModel(config)
    print(
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} million weights, {made.get_vocab_size()} tokens",
        flush=True,
    )
    model.save_pretrained(folder)
    made.save(str(folder / "tokenizer.json"))
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return folder


def prompts(folder: Path, many: int = 64) -> list[str]:
    """Texts of 5 to 40 tokens."""
    from tokenizers import Tokenizer

    made, some, out = Tokenizer.from_file(str(folder / "tokenizer.json")), random.Random(1), []
    while len(out) < many:
        wanted = some.randint(5, 40)
        text = " ".join(some.choice(WORDS) + some.choice(WORDS) for _ in range(wanted))
        tokens = made.encode(text).ids[:wanted]
        text = made.decode(tokens)
        if 5 <= len(made.encode(text).ids) <= 40:
            out.append(text)
    return out


# ---- the book's design ---------------------------------------------------------------------------------------------


def book(folder: str, port: int) -> None:
    """Serve as the book's chapter 24 does."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    write = transformers.pipeline("text-generation", model=folder, dtype=torch.float32)

    def answer(prompt: str) -> dict[str, Any]:
        made = write(prompt, max_new_tokens=NEW, min_new_tokens=NEW, do_sample=True, return_full_text=False, **KNOBS)
        return {"text": made[0]["generated_text"]}

    try:
        import flask
    except ImportError:
        _plain_book(answer, port)
        return
    app = flask.Flask("book")

    @app.post("/chat")
    def chat() -> Any:
        return flask.jsonify(answer(flask.request.json["message"]))

    @app.get("/healthz")
    def healthz() -> str:
        return "ok"

    app.run("127.0.0.1", port, threaded=True)


def _plain_book(answer: Any, port: int) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._say(b"ok")

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._say(json.dumps(answer(asked["message"])).encode())

        def _say(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.socket.listen(256)
    server.serve_forever()


# ---- clients -------------------------------------------------------------------------------------------------------


async def _ask(line: Any, path: str, body: bytes) -> tuple[int, float, float, int]:
    """Status, seconds to the first part of the body and to its end, and Retry-After."""
    reader, writer = line
    began = time.perf_counter()
    writer.write(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                 % (path.encode(), len(body), body))  # fmt: skip
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status, after, first = int(head.split()[1]), 0, 0.0
    fields = dict(row.split(": ", 1) for row in head.split("\r\n")[1:] if ": " in row)
    after = int(fields.get("retry-after", 0))
    if "content-length" in fields:
        await reader.readexactly(int(fields["content-length"]))
    else:
        while size := int((await reader.readline()) or b"0", 16):
            part = await reader.readexactly(size + 2)
            if not first and b'"text":"' in part and b'"text":""' not in part:
                first = time.perf_counter() - began
        await reader.readline()
    whole = time.perf_counter() - began
    return status, first or whole, whole, after


async def clients(port: int, path: str, bodies: list[str], many: int, seconds: float) -> dict[str, Any]:
    """Closed loops for so many seconds; those that began in time are waited for."""
    found: list[tuple[int, float, float]] = []
    until = time.perf_counter() + seconds

    async def one(k: int) -> None:
        line = await asyncio.open_connection("127.0.0.1", port)
        turn = k
        while time.perf_counter() < until:
            status, first, whole, after = await _ask(line, path, bodies[turn % len(bodies)].encode())
            found.append((status, first, whole))
            turn += many
            if status == 429:
                await asyncio.sleep(after * (0.75 + 0.5 * random.random()))
        line[1].write_eof()
        line[1].close()

    began = time.perf_counter()
    lost = [e for e in await asyncio.gather(*(one(k) for k in range(many)), return_exceptions=True) if e is not None]
    took = time.perf_counter() - began
    good = sorted(whole for status, _, whole in found if status == 200)
    firsts = sorted(first for status, first, _ in found if status == 200)
    statuses = {str(s): sum(1 for t, _, _ in found if t == s) for s in {s for s, _, _ in found}}

    def at(values: list[float], share: float) -> float:
        return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")

    return {
        "requests_a_second": len(good) / took, "p50_seconds": at(good, 0.5), "p95_seconds": at(good, 0.95),
        "p95_first_token_seconds": at(firsts, 0.95), "statuses": statuses, "lost": len(lost),
    }  # fmt: skip


# ---- both ----------------------------------------------------------------------------------------------------------


def start(command: list[str], port: int) -> tuple[subprocess.Popen[bytes], float]:
    """A server process, and the seconds until it answers."""
    import socket

    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    while process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as line:
                line.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                if line.recv(64).startswith(b"HTTP/1.1 200"):
                    return process, time.perf_counter() - began
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"{command} ended with {process.returncode}")


def free_port() -> int:
    """One that nobody listens at."""
    import socket

    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        port: int = some.getsockname()[1]
        return port


def measure(server: Any, port: int, path: str, bodies: list[str], many: int, seconds: float) -> dict[str, Any]:
    """Clients in a process of their own; and the processor time that the server took for a request, whoever else was there."""
    before = sum(server.cpu_times()[:2])
    told = json.dumps({"port": port, "path": path, "bodies": bodies, "many": many, "seconds": seconds})
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving", "--as-client"],
        input=told,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    good = max(1, found["statuses"].get("200", 0))
    return found | {"processor_seconds_a_request": (sum(server.cpu_times()[:2]) - before) / good}


def middle(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of several rounds; statuses and losses are summed."""
    out: dict[str, Any] = {k: statistics.median(r[k] for r in rows) for k in rows[0] if k not in ("statuses", "lost")}
    statuses: dict[str, int] = {}
    for row in rows:
        for status, many in row["statuses"].items():
            statuses[status] = statuses.get(status, 0) + many
    return out | {"statuses": statuses, "lost": sum(r["lost"] for r in rows)}


def main(argv: Sequence[str] = ()) -> dict[str, Any]:
    """Print and keep the result."""
    from benchmarks._common import keep, options  # not above: clients are to start without torch

    parser = options("serving", __doc__, "", "--seconds 4 --rounds 1 --clients 16", "--weights int8")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 16, 200])
    parser.add_argument("--weights", default="fp32", help="ours: fp32, bf16, fp16 or int8")
    parser.add_argument("--threads", type=int, default=0, help="of our worker; 0 as the server chooses")
    parser.add_argument("--book-threads", type=int, default=0, help="of the book's; 0 as torch chooses")
    parser.add_argument("--as-client", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    import psutil

    with tempfile.TemporaryDirectory() as there:
        folder = directory(Path(there) / "gpt")
        texts = prompts(folder)
        ours_port, book_port = free_port(), free_port()
        serve = [sys.executable, "-m", "bottega", "serve", str(folder), "--port", str(ours_port), "--weights", args.weights, "--threads", str(args.threads), "--home", str(Path(folder).parent / "home"), "--quiet"]  # fmt: skip
        ours, ours_start = start(serve, ours_port)
        code = f"import torch; n = {args.book_threads}; n and torch.set_num_threads(n); from benchmarks.serving import book; book({str(folder)!r}, {book_port})"
        other, book_start = start([sys.executable, "-c", code], book_port)
        asked = {"model": "gpt", "max_tokens": NEW, **KNOBS}
        bodies = [json.dumps({**asked, "prompt": text, "seed": k}) for k, text in enumerate(texts)]
        streamed = [json.dumps({**asked, "prompt": text, "seed": k, "stream": True}) for k, text in enumerate(texts)]
        plain = [json.dumps({"message": text}) for text in texts]
        rows: dict[str, Any] = {}
        mine_at, theirs_at = (
            (psutil.Process(ours.pid), ours_port, "/v1/completions"),
            (psutil.Process(other.pid), book_port, "/chat"),
        )
        try:
            measure(*mine_at, bodies, 2, 1.0)  # warm
            measure(*theirs_at, plain, 2, 1.0)
            for many in args.clients:
                mine, theirs, first = [], [], []
                for k in range(args.rounds):
                    turns = ["ours", "book", "stream"] if k % 2 == 0 else ["stream", "book", "ours"]
                    for who in turns:
                        if who == "ours":
                            mine.append(measure(*mine_at, bodies, many, args.seconds))
                        elif who == "stream":
                            first.append(measure(*mine_at, streamed, many, args.seconds))
                        elif many <= 16:  # 200 threads at once would stand still for minutes
                            theirs.append(measure(*theirs_at, plain, many, args.seconds))
                row: dict[str, Any] = {"ours": middle(mine), "ours_streamed": middle(first)}
                if theirs:
                    row["book"] = middle(theirs)
                    ratios = sorted(
                        m["requests_a_second"] / t["requests_a_second"] for m, t in zip(mine, theirs, strict=True)
                    )
                    row["times_the_book"] = statistics.median(ratios)
                    cost = "processor_seconds_a_request"
                    row["times_less_processor_time"] = row["book"][cost] / row["ours"][cost]
                    row["times_the_book_low_high"] = [ratios[0], ratios[-1]]
                row["ours_megabytes"] = psutil.Process(ours.pid).memory_info().rss / 1e6
                row["book_megabytes"] = psutil.Process(other.pid).memory_info().rss / 1e6
                rows[f"{many} clients"] = row
                print(many, json.dumps(row), flush=True)
        finally:
            for process in (ours, other):
                process.terminate()
            ours.wait(30)
            other.wait(30)
    try:
        import flask  # noqa: F401

        peer = "Flask around transformers.pipeline"
    except ImportError:
        peer = "ThreadingHTTPServer around transformers.pipeline (Flask is not installed)"
    result = {
        "book": peer,
        "start_seconds": {"ours": ours_start, "book": book_start},
        "load": psutil.getloadavg()[0],
        "rows": rows,
    }
    keep("serving", {args.weights: result}, args, beside=True)
    return result


if __name__ == "__main__" and "--as-client" in sys.argv:
    told = json.load(sys.stdin)
    print(json.dumps(asyncio.run(clients(told["port"], told["path"], told["bodies"], told["many"], told["seconds"]))))
