"""The other side of effects: a process of its own that counts what is done there, and says so when asked."""

import json
import os
import socket
from collections import Counter


def serve(listening):
    """Answer until the socket is closed by whoever holds it: one request a connection, one line each.

    "do NAME KEY" counts and answers how often; "ask NAME" answers how often it was done; "all" answers
    everything: how often each was done, and under how many keys.
    """
    done, keys = Counter(), {}
    while True:
        connection, _ = listening.accept()
        with connection, connection.makefile("rw") as stream:
            verb, *names = stream.readline().split()
            if verb == "do":
                done[names[0]] += 1
                keys.setdefault(names[0], set()).update(names[1:])
            answer = done[names[0]] if names else [done, {name: len(found) for name, found in keys.items()}]
            stream.write(json.dumps(answer) + "\n")


def start(path):
    """Start it; the id of its process."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(256)
    pid = os.fork()
    if pid:
        listening.close()
        return pid
    try:
        serve(listening)
    finally:
        os._exit(1)


def ask(path, *words):
    """Its answer; blocks."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        with connection.makefile("rw") as stream:
            stream.write(" ".join(words) + "\n")
            stream.flush()
            return json.loads(stream.readline())
