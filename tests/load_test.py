"""load - bench/load, each of its modes small: against the real server, against bench/bare_loop, and
against servers that lie, where it must notice. No figure is judged here, only that there is one."""

import json
import os
import re
import resource
import socket
import subprocess
import sys
import unittest

from harness import Server, check_stderr, main
from http_client import WAIT_S
from liar import GOOD, Liar, answer, chunk, events, refusal, stream

LOAD = os.environ.get("LOAD", "")
BARE_LOOP = os.environ.get("BARE_LOOP", "")


def load(mode, port, *args, **how):
    """Its exit status, its report (None: it printed none), and what it complained about."""
    done = subprocess.run([LOAD, mode, "--url", f"http://127.0.0.1:{port}", *map(str, args)], capture_output=True,
                          text=True, timeout=3 * WAIT_S, stdin=subprocess.DEVNULL, **how)
    check_stderr(done.stderr)
    print(done.stdout, done.stderr, file=sys.stderr)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


class Modes(unittest.TestCase):
    """All of them on the dummy, whose streams have three events beside their tokens."""

    def check(self, mode, server, *args, pid=True):
        status, report, text = load(mode, server.port, "--timeout", WAIT_S, *args,
                                    *(["--pid", server.process.pid] if pid else []))
        self.assertEqual(status, 0, text)
        self.assertEqual(report["mode"], mode)
        self.assertEqual(report["doubts"], 0)
        if pid:
            self.assertGreater(report["cpu_us"], 0)
            self.assertEqual(report["processes"], len(server.pids()))
        return report

    def test_streams(self):
        with Server(dummy_delay_ms=1) as server:
            report = self.check("streams", server, "--concurrency", 8, "--requests", 20, "--max-tokens", 12,
                                "--events", 15, "--body-bytes", 1000)
        self.assertEqual((report["streams"], report["failed"]), (20, 0))
        self.assertEqual(report["events"], 20 * 15)
        self.assertEqual(report["connections"], 8)
        self.assertEqual(report["ttft_us"]["count"], 20)
        self.assertEqual(report["gap_us"]["count"], 20 * 14)
        self.assertEqual(report["request_us"]["count"], 20)
        self.assertIsNone(report["latency_us"])
        self.assertLessEqual(report["reads"], report["events"])
        self.assertGreater(report["cpu_us_per_event"], 0)

    def test_streams_with_a_clock(self):
        with Server(dummy_delay_ms=1, dummy_clock=True) as server:
            report = self.check("streams", server, "--concurrency", 2, "--requests", 4, "--max-tokens", 12, "--clock")
        self.assertEqual(report["latency_us"]["count"], 4 * 12)

    def test_a_clock_that_the_server_does_not_have_is_a_doubt(self):
        with Server(dummy_delay_ms=0) as server:
            status, report, text = load("streams", server.port, "--requests", 1, "--max-tokens", 2, "--clock")
        self.assertEqual((status, report["latency_us"]), (1, None))
        self.assertIn("no microsecond before now: tok1", text)

    def test_requests_without_streams_and_without_a_connection_to_keep(self):
        with Server(dummy_delay_ms=0) as server:
            report = self.check("streams", server, "--requests", 10, "--max-tokens", 1, "--json", "--close", pid=False)
        self.assertEqual((report["streams"], report["events"], report["connections"]), (10, 0, 10))
        self.assertNotIn("cpu_us", report)

    USAGE = '"stream_options":{"include_usage":true}'

    def bodies(self, server, prompts, **more):
        file = server.folder / "bodies"
        file.write_text("".join(json.dumps({"model": "dummy", "prompt": prompt, "stream": True,
                                            "stream_options": {"include_usage": True}, **more}) + "\n"
                                for prompt in prompts))
        return file

    def test_streams_of_many_bodies_that_tell_their_tokens(self):
        with Server(dummy_delay_ms=1) as server:
            bodies = self.bodies(server, ["a", "bb", "ccc"], max_tokens=12)
            report = self.check("streams", server, "--path", "/v1/completions", "--bodies", bodies, "--usage",
                                "--concurrency", 2, "--requests", 6, "--max-tokens", 12)
        self.assertEqual((report["streams"], report["left"]), (6, 0))
        self.assertEqual((report["prompt_tokens"], report["completion_tokens"]), (2 * (1 + 2 + 3), 6 * 12))
        self.assertEqual(report["completion_events"], report["events"])

    def test_streams_that_do_not_tell_their_tokens_are_a_doubt(self):
        with Server(dummy_delay_ms=0) as server:
            status, report, text = load("streams", server.port, "--requests", 2, "--max-tokens", 2, "--usage")
        self.assertEqual((status, report["streams"]), (1, 2))
        self.assertIn("0 streams tell their tokens, of 2", text)

    def test_streams_of_which_some_are_left(self):
        with Server(dummy_delay_ms=1) as server:
            report = self.check("streams", server, "--concurrency", 8, "--requests", 60, "--max-tokens", 20, "--usage",
                                "--extra", self.USAGE, "--leave-ratio", 0.7)
        self.assertEqual(report["streams"] + report["left"], 60)
        self.assertGreater(report["left"], 20)  # 42 are expected, with this seed always as many
        self.assertEqual(report["completion_tokens"], 20 * report["streams"])
        self.assertLess(report["streams"], report["completion_events"])
        self.assertLessEqual(report["completion_events"] + report["left"], report["events"])  # each has said something

    def test_streams_without_those_that_had_fewer_beside_them(self):
        with Server(dummy_delay_ms=1) as server:
            report = self.check("streams", server, "--concurrency", 4, "--requests", 9, "--max-tokens", 12, "--no-tail")
        self.assertEqual(report["streams"] + report["left"], 9)
        self.assertIn(report["left"], range(1, 5))

    def test_arrive(self):
        with Server(dummy_delay_ms=1, dummy_tokens=400) as server:
            bodies = self.bodies(server, ["x" * 300] * 2, max_tokens=3)
            shape = ("--path", "/v1/completions", "--bodies", bodies, "--usage", "--requests", 2, "--max-tokens", 3)
            running = server.folder / "running"
            running.write_text(json.dumps({"model": "dummy", "prompt": "x", "stream": True, "max_tokens": 300}))
            beside = self.check("arrive", server, *shape, "--concurrency", 3, "--body-file", running, "--seconds", 0.1)
            alone = self.check("arrive", server, *shape, "--concurrency", 0)
        for report in (beside, alone):
            self.assertEqual((report["streams"], report["ttft_us"]["count"], report["prompt_tokens"]), (2, 2, 600))
        self.assertGreater(beside["quiet_gap_us"]["count"], 3)
        self.assertGreaterEqual(beside["beside_gap_us"]["count"], 3)  # those that were open
        self.assertIsNone(alone["quiet_gap_us"])
        self.assertEqual(alone["beside_events"], 0)

    def test_open(self):
        with Server(dummy_delay_ms=1) as server:
            report = self.check("open", server, "--rate", 100, "--seconds", 0.5, "--max-tokens", 5)
        self.assertGreater(report["streams"], 10)  # 50 are expected; fewer than 11: 1 in 10^11
        self.assertEqual(report["events"], report["streams"] * 8)
        self.assertEqual(report["late_us"]["count"], report["streams"])
        self.assertGreaterEqual(report["running_max"], 1)

    def test_abort_in_decode(self):
        with Server(dummy_delay_ms=5, dummy_tokens=3000) as server:
            report = self.check("abort", server, "--concurrency", 4, "--requests", 12, "--max-tokens", 3000)
            server.wait_idle()
        self.assertGreaterEqual(report["streams"] + report["missed"], 12)
        self.assertEqual(report["freed_us"]["count"], report["streams"])

    def test_abort_in_prefill(self):
        with Server(dummy_prefill_us=500) as server:
            report = self.check("abort", server, "--concurrency", 4, "--requests", 4, "--phase", "prefill",
                                "--body-bytes", 3000)
        self.assertGreater(report["freed_us"]["count"], 0)
        self.assertEqual(report["events"], 0)

    def test_abort_in_the_queue(self):
        with Server(dummy_slots=2, dummy_tokens=3000, max_queue_wait_ms=WAIT_S * 1000) as server:
            report = self.check("abort", server, "--concurrency", 6, "--requests", 8, "--phase", "queued",
                                "--max-tokens", 3000)
        self.assertEqual(report["streams"] + report["missed"], 8)
        self.assertGreater(report["freed_us"]["count"], 0)

    def test_slow(self):
        with Server(dummy_delay_ms=0, dummy_tokens=3000) as server:
            report = self.check("slow", server, "--slow", 20, "--fast", 2, "--max-tokens", 3000, "--settle", 0.1,
                                "--fast-requests", 5)
        self.assertEqual((report["slow"], report["streams"], report["events"]), (20, 5, 5 * 3003))
        self.assertLessEqual({"before", "after", "end", "per_connection_bytes"}, report["pss_kib"].keys())

    def test_idle_keepalive(self):
        with Server() as server:
            report = self.check("idle", server, "--connections", 200, "--seconds", 0.2, "--settle", 0)
        self.assertEqual(report["idle"], 200)
        self.assertGreater(report["health_us"]["count"], 0)
        self.assertGreater(report["pss_kib"]["after"], 0)

    def test_idle_streams(self):
        with Server(dummy_delay_ms=500, dummy_tokens=3000) as server:
            report = self.check("idle", server, "--kind", "sse", "--connections", 20, "--ready", "event",
                                "--max-tokens", 3000, "--seconds", 0.2, "--settle", 0)
        self.assertEqual(report["idle"], 20)


class BareLoop:
    """A context manager; leaving it ends it by SIGTERM and expects a clean exit."""

    def __init__(self, *args):
        self.args = args

    def __enter__(self):
        self.process = subprocess.Popen([BARE_LOOP, "--seconds", str(WAIT_S), *map(str, self.args)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.port = int(re.fullmatch(r"bare_loop is listening on http://127.0.0.1:(\d+)\n",
                                     self.process.stdout.readline())[1])
        return self

    def __exit__(self, kind, *_):
        self.process.terminate()
        status = self.process.wait(WAIT_S)
        self.process.stdout.close()
        if kind is None and status != 0:
            raise AssertionError(f"bare_loop ended with {status}")


class Limit(unittest.TestCase):
    def run_on(self, server, *args):
        status, report, text = load("streams", server.port, "--pid", server.process.pid, "--requests", 6,
                                    "--concurrency", 3, *args)
        self.assertEqual(status, 0, text)
        return report

    def test_it_writes_what_it_was_asked_for(self):
        for per_write in (1, 3, 7, 20):
            with self.subTest(per_write), BareLoop("--events", 7, "--event-bytes", 200, "--events-per-write",
                                                   per_write, "--interval-us", 1000) as server:
                report = self.run_on(server, "--events", 7)
                self.assertEqual(report["events"], 6 * 7)
                self.assertGreater(report["bytes"], 6 * 6 * 200)
                self.assertLessEqual(report["reads"], 6 * (1 + -(-7 // per_write)))

    def test_it_has_a_clock(self):
        with BareLoop("--events", 5, "--clock") as server:
            self.assertEqual(self.run_on(server, "--clock")["latency_us"]["count"], 6 * 4)

    def test_it_waits_for_who_does_not_read(self):
        """More than all socket buffers hold, and nothing of it is lost or mixed up."""
        with BareLoop("--events", 3000, "--event-bytes", 8192, "--events-per-write", 4) as server:
            with socket.create_connection(("127.0.0.1", server.port)) as one:
                one.settimeout(WAIT_S)
                one.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
                self.run_on(server, "--events", 3000)  # the others go on
                received = 0
                while not (piece := one.recv(1 << 20)).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
                    self.assertNotEqual(piece, b"")
                    received += len(piece)
        self.assertGreater(received + len(piece), 2999 * 8192)

    def test_it_has_a_health(self):
        with BareLoop() as server:
            status, report, text = load("idle", server.port, "--connections", 50, "--seconds", 0.1, "--settle", 0)
        self.assertEqual((status, report["idle"]), (0, 50), text)

    def test_it_ends_by_itself(self):
        done = subprocess.run([BARE_LOOP, "--seconds", "1"], capture_output=True, timeout=WAIT_S)
        self.assertEqual(done.returncode, 0)

    def test_what_it_cannot_do_is_refused(self):
        for args in (["--event-bytes", "95"], ["--event-bytes", "32769"], ["--events", "0"], ["--port", "65536"],
                     ["--event-bytes", "32768", "--events-per-write", "2"], ["--seconds", "0"], ["x"]):
            with self.subTest(args):
                done = subprocess.run([BARE_LOOP, *args], capture_output=True, timeout=WAIT_S)
                self.assertEqual(done.returncode, 64)


LIES = {
    "ended without [DONE]": stream(events(chunk())),
    "an event behind [DONE]": stream(events(chunk(), "[DONE]", chunk())),
    "an event that is no object": stream(events(chunk()[:-1], "[DONE]")),
    "an error event": stream(events('{"error":{"message":"oh"}}', "[DONE]")),
    "ended in an event": stream(events(chunk(), "[DONE]")[:-1]),
    "is no event stream": answer(200, "{}", "Content-Type: application/json"),
    "bytes behind the end": GOOD + b"\n",
    "ended in the body": GOOD[:-1],
    "ended in the head": b"HTTP/1.1 200 OK\r\n",
    "both Content-Length": GOOD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n", 1),
    "status 500": answer(500, "{}"),
    "status 429": refusal("Retry-After: 1"),
}


class Lies(unittest.TestCase):
    def run_on(self, said, *args, mode="streams", **lies):
        with Liar(said, **lies) as liar:
            return load(mode, liar.port, *(["--requests", 4, "--concurrency", 2] if mode == "streams" else []), *args)

    def test_the_truth_is_believed(self):
        status, report, text = self.run_on(GOOD, "--events", 3)
        self.assertEqual((status, report["streams"], report["connections"]), (0, 4, 4), text)

    def test_a_connection_that_was_to_be_kept_is_replaced(self):
        status, report, text = self.run_on(GOOD.replace(b"Connection: close", b"X: y"))
        self.assertEqual((status, report["streams"], report["connections"]), (0, 4, 4), text)

    def test_every_lie_is_seen_and_named(self):
        for said, data in LIES.items():
            with self.subTest(said):
                status, report, text = self.run_on(data)
                self.assertEqual((status, report["streams"], report["failed"]), (1, 0, 4))
                self.assertEqual(report["refused"], 4 if "429" in said else 0)
                self.assertIn(said, text)

    def test_a_wrong_number_of_events_is_seen(self):
        status, report, text = self.run_on(GOOD, "--events", 4)
        self.assertEqual((status, report["failed"]), (1, 4))
        self.assertIn("a stream of 3 events: 4 are right", text)

    def test_a_server_that_says_nothing_is_waited_for_and_no_longer(self):
        status, report, text = self.run_on(b"", "--timeout", 0.2, stays=True)
        self.assertEqual((status, report["failed"]), (1, 4))
        self.assertIn("not over after 0.200 s", text)

    def test_nobody_there(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        status, report, text = load("streams", port, "--requests", 3, "--concurrency", 2)
        self.assertEqual((status, report["failed"]), (1, 3))
        self.assertIn("Connection refused", text)

    def test_a_server_that_fails_a_hundred_times_is_left_alone(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        for mode, args in (("streams", ["--requests", 1000, "--concurrency", 1]), ("open", ["--rate", 1e6, "--seconds", 60])):
            with self.subTest(mode):
                status, report, _ = load(mode, port, *args)
                self.assertEqual((status, report["streams"]), (1, 0))
                self.assertGreaterEqual(report["failed"], 100)
                if mode == "streams":
                    self.assertEqual(report["failed"], 100)

    def test_a_process_that_is_not_there_is_a_doubt(self):
        status, report, text = self.run_on(GOOD, "--pid", 2**22)
        self.assertEqual((status, report["streams"]), (1, 4))
        self.assertIn("cannot be looked at", text)
        self.assertNotIn("cpu_us", report)

    def test_a_page_that_does_not_tell_is_a_doubt(self):
        page = answer(200, '{"data":[]}', "Content-Type: application/json")
        status, report, text = self.run_on(b"", "--requests", 4, "--concurrency", 2, mode="abort", stays=True, page=page)
        self.assertEqual((status, report["freed_us"]), (1, None))
        self.assertIn("/v1/requests does not tell what is in flight", text)

    def test_connections_that_do_not_stay_are_a_doubt(self):
        status, report, text = self.run_on(GOOD, "--connections", 4, "--seconds", 0.1, "--settle", 0, mode="idle")
        self.assertEqual((status, report["idle"]), (1, 4))
        self.assertIn("0 of 4 connections are there at the end", text)

    def test_a_slow_reader_that_gets_all_is_a_doubt(self):
        status, report, text = self.run_on(GOOD, "--slow", 2, "--fast", 1, "--settle", 0, mode="slow")
        self.assertEqual((status, report["failed"]), (1, 2))
        self.assertIn("a slow reader: it has all", text)


class CommandLine(unittest.TestCase):
    def test_what_is_wrong_is_said_and_nothing_is_loaded(self):
        for args, said in (([], "the mode is"), (["streams"], "--url is missing"),
                           (["streams", "--url", "http://192.0.2.1:80"], "only loopback"),
                           (["streams", "--url", "http://127.0.0.1:1", "--body-bytes", "5"], "the shortest body has")):
            with self.subTest(args):
                done = subprocess.run([LOAD, *args], capture_output=True, text=True, timeout=WAIT_S)
                self.assertEqual((done.returncode, done.stdout), (64, ""))
                self.assertIn(said, done.stderr)

    def test_help(self):
        done = subprocess.run([LOAD, "--help"], capture_output=True, text=True, timeout=WAIT_S)
        self.assertEqual(done.returncode, 0)
        self.assertIn("--slow-bytes-per-s K", done.stdout)

    def test_too_few_descriptors_are_told_before(self):
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

        raises = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))"
        if subprocess.run([sys.executable, "-c", raises], preexec_fn=few, stderr=subprocess.DEVNULL).returncode == 0:
            self.skipTest("this user may raise the limit")
        status, report, text = load("idle", 1, "--connections", 1000, preexec_fn=few)
        self.assertEqual((status, report), (64, None))
        self.assertIn("1000 connections need 1064 descriptors: this process may have 256", text)


if __name__ == "__main__":
    main()
