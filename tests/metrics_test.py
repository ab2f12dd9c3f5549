"""metrics - what is counted is what happened, whoever answers the scrape; docs/metrics.md lists all of it."""

import os
import re
import signal
import unittest
from pathlib import Path

from harness import Server, eventually, main
from http_client import ProtocolError, request
from metrics_page import Page, scrape
from roles import role_pid
from surfaces import completions, generate_stream, infer

ROOT = Path(__file__).resolve().parent.parent
ROW = re.compile(r"\| `(millrace_\w+)` \| (counter|gauge|histogram) \| ([\w, ]*) ?\| (.+) \|")


def documented():
    """docs/metrics.md: {heading: {name: (type, label names)}}."""
    sections = {}
    for line in (ROOT / "docs/metrics.md").read_text().splitlines():
        if line.startswith("## "):
            rows = sections[line[3:]] = {}
        elif line.startswith("| `"):
            name, kind, labels, _ = ROW.fullmatch(line).groups()
            rows[name] = (kind, tuple(label for label in labels.strip().split(", ") if label))
    return sections


class Before:
    """What was counted before: the pages' values are those since then."""

    def __init__(self, server):
        self.server = server
        self.page = scrape(server)

    def wait(self, name, expected, **labels):
        """Until so many were added; other threads and processes are heard of within a second."""
        seen = []

        def reached():
            seen[:] = [scrape(self.server).value(name, **labels) - self.page.value(name, **labels)]
            return seen[0] == expected

        eventually(reached, lambda: f"{name} {labels} rises by {expected}; it is {seen}")


class Format(unittest.TestCase):
    """The reader below refuses what is not the format."""

    def test_a_good_page(self):
        page = Page('# HELP a As.\n# TYPE a counter\na{x="\\"1",y=""} 2\na 3\n')
        self.assertEqual((page.value("a"), page.value("a", x='"1')), (5, 2))
        self.assertEqual(page.families["a"].label_names(), {("x", "y"), ()})

    def test_bad_pages(self):
        head = "# HELP a As.\n# TYPE a counter\n"
        for bad in ("a 1\n", "# HELP a As.\na 1\n", "# TYPE a counter\n# HELP a As.\na 1\n", head, head + "a 1", head + "a\n",
                    head + "b 1\n", head + "a NaN\n", head + "a -1\n", head + "a 1\na 1\n", head + "a 1\n\n",
                    head + 'a{x="1" 1\n', head + 'a{x="1",} 1\n', head + 'a{x="\\t"} 1\n', head + 'a{x="1",x="2"} 1\n',
                    head + "a{} 1\n", head + "a 1\n" + head + "a 2\n",
                    "# HELP b Bs.\n# TYPE b gauge\nb 1\n" + head + "a 1\n",
                    "# HELP h Hs.\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n"):
            with self.subTest(bad), self.assertRaises(ProtocolError):
                Page(bad)


class Metrics(unittest.TestCase):
    def test_every_series_is_documented_and_every_documented_one_is_there(self):
        sections = documented()
        known = {name: row for rows in sections.values() for name, row in rows.items()}
        self.assertEqual(len(known), sum(len(rows) for rows in sections.values()), "one is documented twice")
        from_start = {*sections["There from the start"], *sections["From the host, where `serve` runs the roles as processes"]}
        with Server(dummy_delay_ms=0) as server:
            eventually(lambda: from_start <= set(scrape(server).families),
                       lambda: f"from the start: {from_start - set(scrape(server).families)}")
            infer.ask(server, max_tokens=3)
            server.get("/nothing")
            eventually(lambda: scrape(server).value("millrace_requests_finished_total") == 1, "the worker's count")
            for name, family in scrape(server).families.items():
                self.assertIn(name, known)
                self.assertEqual(family.kind, known[name][0], name)
                self.assertEqual(family.label_names(), {known[name][1]}, name)

    def test_the_document_and_the_source_name_the_same_series(self):
        """Also those that nothing here makes happen."""
        known = {name for rows in documented().values() for name in rows}
        named = set()
        for path in (ROOT / "src").rglob("*.c"):
            if not path.name.endswith("_test.c"):
                named |= set(re.findall(r'"(millrace_[a-z_]+)"', path.read_text()))
        self.assertEqual(named ^ known, set())

    def test_each_ending_is_counted_once(self):
        with Server(dummy_delay_ms=5, dummy_tokens=4000) as server:
            before = Before(server)
            for _ in range(3):
                completions.ask(server, max_tokens=4)
            infer.ask(server, stream=False, max_tokens=2)
            self.assertEqual(server.post("/v1/completions", {"prompt": 7}).status, 400)
            self.assertEqual(server.post("/v1/completions", {"prompt": "x", "model": "no-such"}).status, 404)
            with server.connect() as connection:
                stream = connection.stream(generate_stream.request("x", True, max_tokens=4000))
                self.assertIsNotNone(stream.next_event())
            server.wait_idle()
            for expected, labels in ((3, {"model": "dummy", "dialect": "completions", "end": "length"}),
                                     (1, {"model": "dummy", "dialect": "infer", "end": "length"}),
                                     (1, {"model": "", "dialect": "completions", "end": "invalid_type"}),
                                     (1, {"model": "", "dialect": "completions", "end": "model_not_found"}),
                                     (1, {"model": "dummy", "dialect": "generate_stream", "end": "client_closed"}),
                                     (7, {})):
                before.wait("millrace_requests_total", expected, **labels)
            for name, expected in (("requests_started_total", 7), ("streams_started_total", 4), ("request_errors_total", 2),
                                   ("requests_cancelled_total", 1), ("ttft_seconds_count", 5), ("request_seconds_count", 5),
                                   ("requests_finished_total", 5), ("cancel_seconds_count", 1)):
                before.wait("millrace_" + name, expected)
            page = scrape(server)
            for name in ("requests_in_flight", "streams_open", "slots_busy", "queue_length", "deltas_unsent"):
                before.wait("millrace_" + name, 0)
            self.assertGreaterEqual(page.value("millrace_inter_token_seconds_count"), 3 * 3 + 1)
            self.assertGreaterEqual(page.value("millrace_tokens_total"), 3 * 4 + 2 + 1)

    def test_the_answers_are_counted_by_route_method_and_status(self):
        with Server(dummy_delay_ms=0) as server:
            before = Before(server)
            server.get("/v1/models/dummy")
            server.get("/v1/models/nothing")
            server.exchange(request("DELETE", "/v1/completions"), "DELETE")
            server.exchange(b"what?\r\n\r\n")
            for expected, labels in ((1, {"route": "/v1/models/{id...}", "method": "GET", "status": "200"}),
                                     (1, {"route": "/v1/models/{id...}", "method": "GET", "status": "404"}),
                                     (1, {"route": "", "method": "DELETE", "status": "405"}),
                                     (1, {"route": "", "method": "", "status": "400"})):
                before.wait("millrace_http_requests_total", expected, **labels)

    def test_what_is_open_is_seen_while_it_is(self):
        with Server(dummy_slots=1, dummy_delay_ms=60_000, max_queue_wait_ms=60_000) as server:
            before = Before(server)
            with server.connect() as running, server.connect() as waiting:
                running.send(infer.request("x", True))
                server.wait_model(slots_busy=1)
                waiting.send(infer.request("x", True))
                before.wait("millrace_requests_in_flight", 2)
                before.wait("millrace_slots_busy", 1)
                before.wait("millrace_queue_length", 1)
            for name in ("requests_in_flight", "slots_busy", "queue_length"):
                before.wait("millrace_" + name, 0)

    def test_the_counts_of_a_killed_worker_stay(self):
        """It said them last up to a second before it died; its successor counts from nothing."""
        with Server(dummy_delay_ms=0, dummy_slots=8) as server:
            before = Before(server)
            completions.ask(server, max_tokens=7)
            before.wait("millrace_tokens_total", 7)
            worker = role_pid(server, "worker")
            os.kill(worker, signal.SIGKILL)
            eventually(lambda: role_pid(server, "worker") != worker, "there is another worker")
            server.wait_ready("dummy")
            completions.ask(server, max_tokens=5)
            before.wait("millrace_tokens_total", 12)
            before.wait("millrace_requests_finished_total", 2, end="length")
            before.wait("millrace_role_restarts_total", 1, role="worker")
            # The dead one's gauges are gone, once it is known to be dead.
            eventually(lambda: scrape(server).value("millrace_slots") == 8, "the slots are those of one worker")

    def test_no_word_of_a_client_becomes_a_label(self):
        with Server(dummy_delay_ms=0) as server:
            evil = ("X-Request-Id", "evil-label"), ("X-Session-Id", "evil-session"), ("User-Agent", "evil-agent")
            server.post("/v1/completions?format=evil", {"prompt": "evil", "model": "evil-model"}, evil)
            server.post("/v1/completions", {"prompt": "x", "max_tokens": 1, "stop": "evil"}, evil)
            server.get("/v1/models/evil-model?evil=1", evil)
            server.get("/evil/path", evil)
            server.exchange(request("EVIL", "/health"), "EVIL")
            server.exchange(request("GET", "/health", host="evil.example"), "GET")
            server.exchange(request("GET", "/health", fields=(("Origin", "http://evil.example"),)), "GET")
            before = Before(server)
            eventually(lambda: scrape(server).value("millrace_http_requests_total", status="421") == 1, "they were counted")
            self.assertNotIn("evil", server.get("/metrics").text().lower())
            before.wait("millrace_metrics_refused_total", 0)

    def test_the_sums_as_json(self):
        with Server(dummy_delay_ms=0, worker_threads=1) as server:  # one thread: as of now
            completions.ask(server, max_tokens=4)
            infer.ask(server, stream=False, max_tokens=4)
            server.post("/v1/completions", {"prompt": 7})
            response = server.get("/metrics.json")
            self.assertEqual(response.field("Content-Type"), "application/json")
            sums = response.json()
            self.assertEqual(list(sums), ["requests_total", "requests_in_flight", "requests_stream_total",
                                          "requests_error_total", "requests_cancelled_total", "avg_latency_ms"])
            self.assertEqual(list(sums.values())[:5], [3, 0, 1, 1, 0])
            self.assertGreater(sums["avg_latency_ms"], 0)
            again = server.get("/metrics", fields=(("Accept", "application/json"),))
            self.assertEqual(again.json(), sums)
            # What Prometheus itself sends.
            text = server.get("/metrics", fields=(("Accept", "application/openmetrics-text;version=1.0.0;q=0.5,"
                                                   "text/plain;version=0.0.4;q=0.3,*/*;q=0.1"),))
            self.assertIn("# HELP millrace_build_info ", text.text())


if __name__ == "__main__":
    main()
