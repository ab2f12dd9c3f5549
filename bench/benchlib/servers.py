"""servers - the three that are compared, each started on a port of its own and ended again: ours, the
limit (bench/bare_loop), the peer (llama-server, built by tools/setup-peer)."""

import http.client
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchlib.proctree import tree

ROOT = Path(__file__).resolve().parents[2]
NANO = ROOT / "models" / "nano.gguf"
PEER = ROOT / "build" / "peer" / "llama-server"
START_S = 60
STOP_S = 40  # above drain_ms, after which ours ends by itself
POLL_S = 0.002  # of start to ready: what is measured is some tens of milliseconds
LOG_TAIL_BYTES = 4000
READY_IN_A_ROW = 16  # each loop thread has a table of models of its own: this many answers met all of them


class ServerFailed(Exception):
    """It did not start, or did not end as it should."""


def _end_by_signal(number, _):
    sys.exit(128 + number)


def end_servers_on_signals():
    """SIGTERM and SIGHUP do as Ctrl-C does: every `with` that is open ends its server."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end_by_signal)


def get(port, path, timeout_s=5.0):
    """The body of a 200; None for anything else."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        body = answer.read()
        return body if answer.status == 200 else None
    except OSError:
        return None
    finally:
        connection.close()


def post(port, path, value, timeout_s=5.0):
    """The body of a 200 to that JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("POST", path, json.dumps(value), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise ServerFailed(f"{path}: status {answer.status}: {body[:200]!r}")
        return body
    finally:
        connection.close()


def idle_at(port, count):
    """Keep-alive connections that have asked once; the caller reads and closes them."""
    held = []
    for _ in range(count):
        held.append(socket.create_connection(("127.0.0.1", port), START_S))
        held[-1].sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return held


class Server:
    """A context manager: started and ready inside, gone behind. Its log is kept until then.

    start_s: seconds from the start of the process until the question whose answer was "ready"."""

    name = "server"

    def __init__(self):
        self.process = None
        self.port = None
        self.start_s = None

    def command(self):
        raise NotImplementedError

    def environment(self):
        """Nothing of the caller's configuration."""
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        return {**kept, "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}

    def is_ready(self):
        return True

    def wait_port(self):
        """Sets self.port."""

    def __enter__(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="millrace-bench-")
        self.folder = Path(self.scratch.name)
        try:
            self._start()
        except BaseException:
            self._kill()
            raise
        return self

    def _start(self):
        begin = time.monotonic()
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(self.command(), cwd=self.folder, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=log, env=self.environment())
        self.wait_port()
        while True:
            asked = time.monotonic()
            if self.is_ready():
                break
            if self.process.poll() is not None:
                raise ServerFailed(f"{self.name} ended with {self.process.returncode}:\n{self.log_tail()}")
            if time.monotonic() - begin > START_S:
                raise ServerFailed(f"{self.name} is not ready after {START_S} s:\n{self.log_tail()}")
            time.sleep(POLL_S)
        self.start_s = asked - begin

    def first_line(self, pattern):
        """The match of the first line that it prints; what it prints later is not read (it fits in a pipe)."""
        text, until = "", time.monotonic() + START_S
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while "\n" not in text:
                if not selector.select(max(0, until - time.monotonic())):
                    raise ServerFailed(f"{self.name} said nothing for {START_S} s")
                piece = os.read(self.process.stdout.fileno(), 65536)
                if not piece:
                    raise ServerFailed(f"{self.name} ended before it listened:\n{self.log_tail()}")
                text += piece.decode()
        if not (match := re.search(pattern, text)):
            raise ServerFailed(f"{self.name} said {text!r}")
        return match

    def log_tail(self):
        return (self.folder / "log").read_text(errors="replace")[-LOG_TAIL_BYTES:]

    def __exit__(self, kind, *_):
        try:
            if kind is None and self.process.poll() is not None:
                raise ServerFailed(f"{self.name} ended by itself with {self.process.returncode}:\n{self.log_tail()}")
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                raise ServerFailed(f"{self.name} runs on {STOP_S} s after SIGTERM:\n{self.log_tail()}") from None
        finally:
            self._kill()

    def _kill(self):
        if self.process:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
        self.scratch.cleanup()

    @property
    def pid(self):
        return self.process.pid

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def pids(self):
        return tree(self.pid)


class Ours(Server):
    """`millrace serve` with config keys as keyword arguments. `ready`: the models to wait for. `state`: the folder
    where it finds what one before it left there, as its self-test; None: one of its own."""

    name = "ours"
    # A benchmark is one client with thousands of connections, and is not told to come again.
    PRESSED = {"max_connections": 200_000, "streams_per_key": 100_000, "max_model_queue": 65_536,
               "max_queue_wait_ms": 600_000, "log_level": "warn"}
    TESTED_S = 180

    def __init__(self, program, ready=("dummy",), state=None, **keys):
        super().__init__()
        self.state = state
        self.program = Path(program).resolve()
        self.ready = ready
        # The self-test is done once for a model; without a state folder from before it would run in each idle moment.
        self.keys = {**self.PRESSED, "http_port": 0, **({} if state else {"self_test_ms": 0}), **keys}
        if tuple(ready) == ("dummy",):
            self.keys.setdefault("default_model", "dummy")  # or the weights would be loaded too

    def command(self):
        (self.folder / "config.json").write_text(json.dumps(self.keys))
        return [str(self.program), "serve"]

    def environment(self):
        own = {"XDG_RUNTIME_DIR": str(self.folder), "XDG_STATE_HOME": str(self.state or self.folder / "state")}
        return {**super().environment(), **own}

    def wait_port(self):
        self.port = int(self.first_line(r"listening on http://\S+:(\d+)")[1])

    def is_ready(self):
        return all(self._all_ready() for _ in range(READY_IN_A_ROW))

    def _all_ready(self):
        health = self.health()
        states = {model["id"]: model for model in health["models"]} if health else {}
        for name in self.ready:
            if states.get(name, {}).get("state") == "failed":
                raise ServerFailed(f"the model {name} failed: {states[name]['detail']}")
        return all(states.get(name, {}).get("state") == "ready" for name in self.ready)

    def wait_tested(self, name):
        """Until the self-test of that model is over, and kept."""
        until = time.monotonic() + self.TESTED_S
        while self._determinism(name) == "unknown":
            if time.monotonic() > until:
                raise ServerFailed(f"the self-test of {name} is not over after {self.TESTED_S} s:\n{self.log_tail()}")
            time.sleep(0.05)

    def _determinism(self, name):
        models = json.loads(get(self.port, "/v1/models") or b'{"data": []}')["data"]
        return next((model["numerics"]["determinism"] for model in models if model["id"] == name), "unknown")

    def health(self):
        body = get(self.port, "/health")
        return json.loads(body) if body else None

    def model(self, name="dummy"):
        health = self.health() or {"models": []}
        return next((model for model in health["models"] if model["id"] == name), {})


class Limit(Server):
    """bench/bare_loop: one thread, an epoll loop, nothing but the bytes."""

    name = "limit"

    def __init__(self, program, event_bytes, events, events_per_write=1, interval_us=0, has_clock=False):
        super().__init__()
        self.args = [str(Path(program).resolve()), "--port", "0", "--event-bytes", str(event_bytes), "--events",
                     str(events), "--events-per-write", str(events_per_write), "--interval-us", str(interval_us)]
        self.args += ["--clock"] if has_clock else []

    def command(self):
        return self.args

    def wait_port(self):
        self.port = int(self.first_line(r"(\d+)\s*$")[1])


class Peer(Server):
    """llama-server with the shipped small model: the same libraries, context and slots as ours. `tuned`: the
    engine does the same work too as ours with prefix_cache_bytes=0 (as many threads, flash attention off as in
    our profile `exact`, a prefill for every prompt), and there is no log; else what it does by itself. `flags`:
    these, with another model, context, slots."""

    name = "llama-server"
    CONTEXT, SLOTS, ENGINE_THREADS = 1024, 8, 1

    def __init__(self, tuned=True, http_threads=None, program=PEER, model=NANO, flags=None):
        super().__init__()
        self.program = Path(program)
        self.model = model
        self.args = list(map(str, flags)) if flags is not None else self._flags(tuned, http_threads)

    def _flags(self, tuned, http_threads):
        args = ["--ctx-size", str(self.CONTEXT * self.SLOTS), "--parallel", str(self.SLOTS)]
        if tuned:
            args += ["--threads", str(self.ENGINE_THREADS), "--threads-batch", str(self.ENGINE_THREADS),
                          "--flash-attn", "off", "--no-cache-prompt", "--cache-ram", "0", "--no-slots", "--log-disable"]
        if http_threads:
            args += ["--threads-http", str(http_threads)]
        return args

    @staticmethod
    def is_built(program=PEER):
        return os.access(program, os.X_OK)

    def command(self):
        return [str(self.program), "--model", str(self.model), "--host", "127.0.0.1", "--port", str(self.port), *self.args]

    def _start(self):
        with socket.create_server(("127.0.0.1", 0)) as probe:  # it does not tell which port 0 became
            self.port = probe.getsockname()[1]
        super()._start()

    def is_ready(self):
        return get(self.port, "/health") is not None
