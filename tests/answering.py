"""A server on this machine that answers as an OpenAI-compatible one, as it is told."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def chat(text, finish="stop"):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return 200, {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def parts(*texts):
    """An answer in parts: server-sent events."""
    for text in texts:
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        yield {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


@contextmanager
def server(*answers):
    """A server on this machine that gives these answers in their order, the last one again and again; yields it.

    An answer is ``(status, body)`` or ``(status, body, headers)``; a body that is a list is sent in parts, a string as it
    is, None never. ``server.seen`` holds what was asked.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.seen.append((self.path, body, {k.lower(): v for k, v in self.headers.items()}))
            status, answer, *more = answers[min(len(made.seen), len(answers)) - 1]
            if answer is None:
                made.over.wait(20)
                return
            self.send_response(status)
            headers = more[0] if more else {}
            for name, value in headers.items():
                self.send_header(name, value)
            if isinstance(answer, list):
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                for part in answer:
                    if part is None:  # the connection breaks in the middle
                        self.close_connection = True
                        return
                    self.wfile.write(f"data: {json.dumps(part)}\n\n".encode())
                    self.wfile.flush()
                self.wfile.write(b"data: [DONE]\n\n")
                self.close_connection = True
                return
            whole = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            if "Content-Type" not in headers:
                self.send_header("Content-Type", "text/html" if isinstance(answer, str) else "application/json")
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(whole)

        def log_message(self, *_):
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads, made.seen, made.over = True, [], threading.Event()
    made.url = f"http://127.0.0.1:{made.server_port}/v1"
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.over.set()
        made.shutdown()
        made.server_close()
        thread.join()
