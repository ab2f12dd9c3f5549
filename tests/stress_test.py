"""stress - bench/stress_sse against the real server, small; and against servers that lie, where it
must notice: a check that cannot fail shows nothing."""

import os
import subprocess
import sys
import unittest

from harness import Server, check_stderr, main, seeded_random
from http_client import WAIT_S
from liar import GOOD, Liar, answer, chunk, events, refusal, stream

STRESS_SSE = os.environ.get("STRESS_SSE", "")


def stress(port, *args):
    """Its exit status and all that it printed."""
    done = subprocess.run([STRESS_SSE, "--url", f"http://127.0.0.1:{port}", *map(str, args)],
                          capture_output=True, text=True, timeout=3 * WAIT_S, stdin=subprocess.DEVNULL)
    check_stderr(done.stderr)
    return done.returncode, done.stdout + done.stderr


class Crowd(unittest.TestCase):
    def check(self, server, model, abort_ratio=0.7):
        status, text = stress(server.port, "--model", model, "--concurrency", 30, "--rounds", 120,
                              "--abort-ratio", abort_ratio, "--abort-min", 0.02, "--abort-max", 0.25,
                              "--timeout", WAIT_S, "--pid", server.process.pid,
                              "--seed", seeded_random().randrange(2**32))
        print(text, file=sys.stderr)
        self.assertEqual(status, 0, text)
        self.assertIn("clean, 0 doubts", text)
        self.assertIn(" 0 failed in ", text)
        return text

    def test_on_dummy(self):
        with Server() as server:
            self.check(server, "dummy")

    def test_on_a_full_queue(self):
        """Most are turned away: each of them in the right form. At least 24 are let in, of which at
        least one stays and one leaves (a miss: 1 in 10^7)."""
        with Server(dummy_slots=8, max_model_queue=4) as server:
            text = self.check(server, "dummy", abort_ratio=0.5)
        self.assertRegex(text, r" [1-9]\d* refused")

    def test_on_a_real_model(self):
        with Server(ready=None) as server:
            server.need_llama()
            self.check(server, "llama")


LIES = {
    "an event behind [DONE]": stream(events(chunk(), chunk("stop"), "[DONE]", chunk())),
    "an event behind [DONE] that is [DONE] again": stream(events(chunk("stop"), "[DONE]", "[DONE]")),
    "ended without [DONE]": stream(events(chunk(), chunk("stop"))),
    "without a finish_reason": stream(events(chunk(), "[DONE]")),
    "an unknown finish_reason": stream(events(chunk("tired"), "[DONE]")),
    "behind the one with the finish reason": stream(events(chunk("stop"), chunk(), "[DONE]")),
    "not JSON": stream(events(chunk()[:-1], chunk("stop"), "[DONE]")),
    "different ids": stream(events(chunk(), chunk("stop", id="chatcmpl-2"), "[DONE]")),
    "an error event: oh": stream(events(chunk(), '{"error":{"message":"oh"}}', "[DONE]")),
    "with a name": stream("event: x\n" + events(chunk(), chunk("stop"), "[DONE]")),
    "no event stream": answer(200, events(chunk("stop"), "[DONE]"), "Content-Type: text/plain"),
    "bytes behind the end": GOOD + b"\n",
    "ERR_CLOSED in BODY": GOOD[:-1],
    "ERR_CLOSED in HEAD": b"HTTP/1.1 200 OK\r\n",
    "both Content-Length": GOOD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n", 1),
    "Retry-After ''": refusal(),
    "Retry-After 'soon'": refusal("Retry-After: soon"),
    "no error of type server_error": refusal("Retry-After: 1", status=503),
    "whose body is not JSON": answer(429, "busy", "Retry-After: 1"),
    "status 500": answer(500, "{}"),
}


class Lies(unittest.TestCase):
    def run_on(self, said, *args, **lies):
        with Liar(said, **lies) as liar:
            return stress(liar.port, "--rounds", 4, "--concurrency", 2, "--abort-ratio", 0, *args)

    def test_the_truth_is_believed(self):
        status, text = self.run_on(GOOD)
        self.assertEqual(status, 0, text)
        self.assertIn("4 ok, 0 aborted, 0 refused, 0 failed", text)

    def test_every_lie_is_seen_and_named(self):
        for said, data in LIES.items():
            with self.subTest(said):
                status, text = self.run_on(data)
                self.assertEqual(status, 1, text)
                self.assertIn("4 failed", text)
                self.assertIn(said.split(" that is ")[0], text)

    def test_a_run_that_shows_nothing_is_a_doubt(self):
        status, text = self.run_on(refusal("Retry-After: 1"))
        self.assertEqual(status, 1, text)
        self.assertIn("0 ok, 0 aborted, 4 refused, 0 failed", text)
        self.assertIn("nothing is shown", text)

    def test_a_server_that_never_idles_is_a_doubt(self):
        status, text = self.run_on(GOOD, "--timeout", 0.2, busy=1)
        self.assertEqual(status, 1, text)
        self.assertIn("/health is not idle after 0.2 s: 1 in flight", text)

    def test_a_server_that_does_not_hang_up_is_a_doubt(self):
        status, text = self.run_on(GOOD, "--timeout", 0.2, stays=True)
        self.assertEqual(status, 1, text)
        self.assertIn("did not hang up", text)
        self.assertIn("4 failed", text)

    def test_a_server_that_grows_is_a_doubt(self):
        status, text = self.run_on(GOOD, "--timeout", 1, "--pid", os.getpid(), leaks=True)
        self.assertEqual(status, 1, text)
        self.assertIn("descriptors grew", text)

    def test_a_process_that_is_not_there_is_a_doubt(self):
        with Liar(GOOD) as liar:
            status, text = stress(liar.port, "--rounds", 2, "--abort-ratio", 0, "--pid", 2**31 - 1)
        self.assertEqual(status, 1, text)
        self.assertIn("cannot be looked at", text)


class Targets(unittest.TestCase):
    def test_only_loopback_is_stressed(self):
        for url in ("http://192.0.2.1:80", "http://0.0.0.0:80", "http://example.com:80", "https://127.0.0.1:80",
                    "http://127.0.0.1", "http://127.0.0.1:0", "http://127.0.0.1:80/x"):
            with self.subTest(url):
                done = subprocess.run([STRESS_SSE, "--url", url], capture_output=True, text=True, timeout=WAIT_S)
                self.assertEqual(done.returncode, 64, done.stderr)
                self.assertIn(url, done.stderr)


if __name__ == "__main__":
    main()
