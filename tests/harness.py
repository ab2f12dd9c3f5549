"""harness - the millrace process under test: started on a port of its own, watched, stopped, and
checked for a clean end (README.md, rules 1 to 4)."""

import json
import os
import random
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from http_client import WAIT_S, Connection, request

MILLRACE = os.environ.get("MILLRACE", "")
SOLO = bool(os.environ.get("MILLRACE_SOLO"))  # run the scenario with all roles in one process
LISTENS = re.compile(r"millrace \S+ is listening on http://\S+:(\d+)\n")
FAULTS = re.compile(r"(Address|Leak|Thread|UndefinedBehavior)Sanitizer|runtime error:|broken invariant:")
POLL_S = 0.01
LOG_TAIL_BYTES = 8000


class Failure(AssertionError):
    """The process under test did what it must not do."""


def eventually(check, what, seconds=WAIT_S):
    """The first true value of check(), asked again and again until the time is up."""
    until = time.monotonic() + seconds
    while not (value := check()):
        if time.monotonic() > until:
            raise Failure(f"after {seconds} s still not: {what() if callable(what) else what}")
        time.sleep(POLL_S)
    return value


def environment(folder, more=None):
    """A clean one: nothing of the caller's configuration reaches the process."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "MILLRACE_DATA")
            if name in os.environ}
    return {**kept, "HOME": str(folder), "LC_ALL": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder / "state"),
            # Little that is freed and kept: with the usual 256 MiB no growth could be told from it.
            "ASAN_OPTIONS": "quarantine_size_mb=1:thread_local_quarantine_size_kb=64:"
                            "allocator_release_to_os_interval_ms=100:malloc_context_size=8:abort_on_error=0",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
            "TSAN_OPTIONS": "halt_on_error=1:" + os.environ.get("TSAN_OPTIONS", ""), **(more or {})}


def check_stderr(text):
    if fault := FAULTS.search(text):
        raise Failure(f"the log has '{fault[0]}':\n{text[max(0, fault.start() - 500):][:LOG_TAIL_BYTES]}")


def run_millrace(*args, env=None, folder=None, home=None, seconds=WAIT_S):
    """Runs it to its end, which must come by itself: a CompletedProcess with text. `home`: the folder
    of a Server, to meet what it left there."""
    with tempfile.TemporaryDirectory(prefix="millrace-test-") as scratch:
        done = subprocess.run([MILLRACE, *map(str, args)], capture_output=True, timeout=seconds,
                              text=True, cwd=folder or scratch, stdin=subprocess.DEVNULL,
                              env=environment(Path(home or scratch), env))
    check_stderr(done.stderr)
    return done


class Server:
    """`millrace serve` with config keys as keyword arguments, in a temporary folder: a host and its
    roles; `solo`: all of them in one process. A context manager: leaving it ends the process by SIGTERM
    and expects a clean exit; after a failure it is killed and the end of its log shown.

    `ready`: the model to wait for ("dummy"; None: only for the port). With it alone the default
    model is dummy as well, so that no weights are loaded."""

    def __init__(self, *args, ready="dummy", env=None, runtime_dir=None, solo=SOLO, **keys):
        if ready == "dummy":
            keys.setdefault("default_model", "dummy")
        keys.setdefault("http_port", 0)
        keys.setdefault("worker_threads", 2)  # on every machine alike
        # A role that a busy machine (and a sanitizer) keeps waiting is not dead (rule 2).
        keys.setdefault("role_dead_ms", 30_000)
        self.args = (["--solo"] if solo else []) + list(args)
        self.solo = solo
        self.keys = keys
        self.ready = ready
        self.env = dict(env or {})
        if runtime_dir:
            self.env["XDG_RUNTIME_DIR"] = str(runtime_dir)
        self.expected_exit = 0
        self.process = None
        self.port = None
        self.stdout = ""

    # --- life ---

    def __enter__(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="millrace-test-")
        self.folder = Path(self.scratch.name)
        (self.folder / "config.json").write_text(json.dumps(self.keys, ensure_ascii=False))
        try:
            self._start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.stop()
            else:
                self._give_up()
        finally:
            if self.process and self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            if self.process:
                self.process.stdout.close()
            self.scratch.cleanup()

    def _start(self):
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [MILLRACE, "serve", *self.args], cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=log, env=environment(self.folder, self.env))
        match = LISTENS.match(self._first_line())
        if not match:
            raise Failure(f"the first line is not the address: {self.stdout!r}")
        self.port = int(match[1])
        if self.ready:
            self.wait_ready(self.ready)

    def restart(self):
        """After it ended, however: on the same folders, and the same port if one was set."""
        self.process.stdout.close()
        self.process, self.stdout = None, ""
        self._start()

    def _first_line(self):
        until = time.monotonic() + WAIT_S
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while "\n" not in self.stdout:
                if not selector.select(max(0, until - time.monotonic())):
                    raise Failure(f"no address after {WAIT_S} s")
                piece = os.read(self.process.stdout.fileno(), 65536)
                if not piece:
                    raise Failure(f"it ended with {self.process.wait(WAIT_S)} before it listened")
                self.stdout += piece.decode()
        return self.stdout

    def _give_up(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        print(f"--- the end of the log ---\n{self.log()[-LOG_TAIL_BYTES:]}---", file=sys.stderr)

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait_exit(self, seconds=WAIT_S):
        """The exit status; the log has no sanitizer's report."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"still running {seconds} s after it was asked to end") from None
        check_stderr(self.log())
        return status

    def stop(self):
        if self.process.poll() is None:
            self.signal()
        status = self.wait_exit()
        if status != self.expected_exit:
            raise Failure(f"exit status {status}, not {self.expected_exit}:\n{self.log()[-LOG_TAIL_BYTES:]}")

    # --- what it says about itself ---

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def wait_log(self, pattern):
        """A match in its log, once there is one."""
        return eventually(lambda: re.search(pattern, self.log()), f"a log line with {pattern}")

    def health(self):
        return self.get("/health").json()

    def model(self, name="dummy"):
        """The model's entry in /health, or {}."""
        return next((model for model in self.health()["models"] if model["id"] == name), {})

    def wait_model(self, name="dummy", **wanted):
        """Until the model's entry has these values; how long that took, in seconds."""
        start, seen = time.monotonic(), {}

        def reached():
            seen.update(self.model(name))
            return all(seen.get(key) == value for key, value in wanted.items())

        eventually(reached, lambda: f"{wanted}; it is {seen}")
        return time.monotonic() - start

    def wait_idle(self, name="dummy"):
        """Until nothing runs, waits or is parked."""
        return self.wait_model(name, slots_busy=0, queued=0, parked=0)

    def need_llama(self):
        """The shipped model is ready; skips the test, saying why, where there is no engine for it."""
        found = self.wait_log(r"event=model_ready model=llama|the model 'llama' cannot run: (.*)")
        if found[1]:
            raise unittest.SkipTest(found[1])
        self.wait_ready("llama")

    def wait_ready(self, name="dummy"):
        self.wait_state(name, "ready")

    def wait_state(self, name, state):
        """On every thread: each has a listener and a table of models of its own, and the kernel picks
        one per connection, so many in a row have met all of them (a miss: 2 in 10^5)."""
        in_a_row = 0

        def reached():
            nonlocal in_a_row
            model = self.model(name)
            if state == "ready" and model.get("state") == "failed":
                raise Failure(f"the model {name} failed: {model['detail']}")
            in_a_row = in_a_row + 1 if model.get("state") == state else 0
            return in_a_row > 0

        while in_a_row < 16:
            eventually(reached, f"the model {name} is {state}")

    def pids(self):
        """The process and its children: the roles."""
        own = self.process.pid
        listed = Path(f"/proc/{own}/task/{own}/children").read_text()
        return [own, *map(int, listed.split())]

    def rss_bytes(self):
        """Of all of them together."""
        total = 0
        for pid in self.pids():
            status = Path(f"/proc/{pid}/status").read_text()
            total += int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024
        return total

    def fd_count(self):
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids())

    # --- talking to it ---

    def connect(self, **options):
        return Connection(self.port, **options)

    def exchange(self, data, method="POST"):
        with self.connect() as connection:
            return connection.exchange(data, method)

    def get(self, target, fields=()):
        return self.exchange(request("GET", target, fields=fields), "GET")

    def post(self, target, body, fields=()):
        return self.exchange(request("POST", target, body, fields))

    def is_listening(self):
        try:
            self.connect().close()
        except (ConnectionRefusedError, ConnectionResetError):  # reset: in the instant of its closing
            return False
        return True


# --- running a scenario ---


def seeded_random():
    """Random numbers that a failure can be replayed with: MILLRACE_SEED=N."""
    seed = int(os.environ.get("MILLRACE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"MILLRACE_SEED={seed}", file=sys.stderr)
    return random.Random(seed)


def main():
    """Exit status 77, which meson shows as SKIP, when every test was skipped."""
    if "harness_test" not in sys.argv[0] and not os.access(MILLRACE, os.X_OK):
        sys.exit("MILLRACE must be the path of the millrace program")
    result = unittest.main(module="__main__", exit=False, verbosity=2).result
    if not result.wasSuccessful() or result.testsRun + len(result.skipped) == 0:
        sys.exit(1)
    # A class that is skipped as a whole counts as skipped once and as run never.
    sys.exit(77 if len(result.skipped) >= max(1, result.testsRun) else 0)
