"""A small server in the form of OpenAI's chat completions: a scripted model that counts what it is asked.

It says on which port it listens. GET /log tells every request in its order: the step of which conversation it
was. HELD names a step whose first answer stops in the middle, until whoever asked for it is gone.
"""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STEPS = {
    "weather": (("I look up the weather.", ("forecast", {"city": "Bern"})), ("Sunny, then rain.", None)),
    "hotels": (("I look up rooms.", ("rooms", {"city": "Bern"})), ("Two are free.", None)),
    "planner": (
        ("I book the Adler.", ("book", {"hotel": "Zum Goldenen Adler", "nights": 2})),
        ("All set.", None),
    ),
}
"""What the model says in each conversation, and which call it asks for."""

TOLD = {"weather": "scout for the weather", "hotels": "scout for hotels", "planner": "You plan"}
"""What each is told it is."""

USAGE = {
    f"{role} {number}": {
        "prompt_tokens": 101 + 10 * index,
        "completion_tokens": 7 + index,
        "total_tokens": 108 + 11 * index,
        "prompt_tokens_details": {"cached_tokens": 33 * number},
    }
    for index, (role, number) in enumerate((role, number) for role in STEPS for number in (0, 1))
}
"""What each step uses."""


class Model:
    """What was asked so far."""

    def __init__(self, held=""):
        self.log = []
        self._held = held
        self._lock = threading.Lock()

    def asked(self, body):
        """The step that a request is for, its number among all, and whether its answer is to stop."""
        said = body["messages"]
        role = next(role for role, words in TOLD.items() if words in said[0]["content"])
        step = f"{role} {sum(message['role'] == 'assistant' for message in said)}"
        with self._lock:
            self.log.append(step)
            stops, self._held = step == self._held, "" if step == self._held else self._held
            return step, len(self.log), stops


def chunks(step, serial):
    """An answer in pieces; what it says and asks for bears the number of the request, to be found by."""
    role, _, number = step.rpartition(" ")
    text, call = STEPS[role][int(number)]

    def chunk(delta, finish=None):
        return {
            "id": f"r{serial}",
            "model": "scripted",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }

    yield chunk({"role": "assistant", "content": ""})
    for word in f"{text} <{serial}>".split():
        yield chunk({"content": f"{word} "})
    if call is not None:
        name, arguments = call[0], json.dumps(call[1])
        begun = {"index": 0, "id": f"call-<{serial}>", "type": "function"}
        yield chunk({"tool_calls": [{**begun, "function": {"name": name, "arguments": arguments[:5]}}]})
        yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": arguments[5:]}}]})
    yield chunk({}, "stop" if call is None else "tool_calls")
    yield {"id": f"r{serial}", "model": "scripted", "choices": [], "usage": USAGE[step]}


class Handler(BaseHTTPRequestHandler):
    """Answers requests."""

    def do_GET(self):
        self._begin("application/json")
        self.wfile.write(json.dumps(self.server.model.log).encode())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        step, serial, stops = self.server.model.asked(body)
        self._begin("text/event-stream")
        for number, chunk in enumerate(chunks(step, serial)):
            if stops and number == 3:
                self.rfile.read(1)  # nothing comes; it ends with whoever asked
                return
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")

    def _begin(self, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Serves one model; those who go away in the middle of an answer are no trouble."""

    daemon_threads = True

    def handle_error(self, *_):
        """They were killed."""


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Handler) as server:
        server.model = Model(os.environ.get("HELD", ""))
        print(f"port {server.server_port}.", flush=True)
        server.serve_forever()
