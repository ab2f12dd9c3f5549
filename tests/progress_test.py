"""progress - a stream that asked for it tells what it waits for: queued, loading, prefill, started;
others say nothing of the kind (sessions-queues.md; http-api.md section 1)."""

import json
import unittest

from harness import Server, main
from http_client import request
from surfaces import STREAMING, chat, completions

ASKED = {"stream_options": {"include_progress": True}}
LONG_MS = 60_000


class Progress(unittest.TestCase):
    def stream(self, server, surface=completions, **params):
        connection = server.connect()
        self.addCleanup(connection.close)
        return connection.stream(surface.request("x", True, **ASKED, **params))

    def test_a_free_slot_shows_started(self):
        with Server(dummy_delay_ms=0) as server:
            for surface in (completions, chat):
                answer = surface.ask(server, **ASKED)
                self.assertEqual(answer.progress[-1], {"state": "started"})
                self.assertEqual(len(answer.deltas), 20)

    def test_queued_shows_the_position_as_it_falls(self):
        with Server(dummy_slots=1, dummy_delay_ms=100, dummy_tokens=3, max_queue_wait_ms=LONG_MS) as server:
            running = server.connect()
            running.send(completions.request("x", True))
            server.wait_model(slots_busy=1)
            first = self.stream(server)
            second = self.stream(server)
            seen = []
            for event in second.events():
                if event.data != "[DONE]" and "progress" in event.json():
                    seen.append(event.json()["progress"])
            positions = [progress["position"] for progress in seen if progress["state"] == "queued"]
            self.assertEqual(positions[0], 1)
            self.assertEqual(positions, sorted(positions, reverse=True))
            self.assertTrue(all(progress["eta_ms"] >= 0 for progress in seen if progress["state"] == "queued"))
            self.assertEqual(seen[-1], {"state": "started"})
            self.assertTrue(list(first.events()))
            running.close()

    def test_loading_shows_a_fraction_that_grows(self):
        with Server(ready=None, default_model="dummy", dummy_load_ms=2000, dummy_delay_ms=0) as server:
            server.wait_state("dummy", "loading")
            answer = completions.ask(server, **ASKED)
            fractions = [progress["fraction"] for progress in answer.progress if progress["state"] == "loading"]
            self.assertGreater(len(fractions), 1)
            self.assertEqual(fractions, sorted(fractions))
            self.assertTrue(all(0 <= fraction <= 1 for fraction in fractions))
            self.assertEqual(answer.progress[-1], {"state": "started"})

    def test_prefill_shows_done_of_total(self):
        with Server(dummy_delay_ms=0) as server:
            answer = completions.ask(server, prompt="y" * 4000, max_tokens=1, **ASKED)
            steps = [progress for progress in answer.progress if progress["state"] == "prefill"]
            self.assertGreater(len(steps), 2)
            self.assertEqual({step["total"] for step in steps}, {4000})
            done = [step["done"] for step in steps]
            self.assertEqual(done, sorted(set(done)))
            self.assertLessEqual(done[-1], 4000)
            self.assertEqual(answer.progress[-1], {"state": "started"})

    def test_whoever_follows_a_load_sees_it_from_here_to_ready(self):
        with Server(ready=None, default_model="dummy", dummy_load_ms=2000) as server:
            server.wait_state("dummy", "loading")
            with server.connect() as connection:
                stream = connection.stream(request("GET", "/v1/loading/progress?model=dummy"), "GET")
                *loads, ready, done = [event.data for event in stream.events()]
            fractions = [load["fraction"] for load in map(json.loads, loads)]
            self.assertGreater(len(fractions), 1)
            self.assertEqual(fractions, sorted(set(fractions)))
            self.assertEqual({json.loads(load)["stage"] for load in loads}, {"loading_to_vram"})
            self.assertEqual(json.loads(ready), {"stage": "ready", "model": "dummy"})
            self.assertEqual(done, "[DONE]")
            server.wait_state("dummy", "ready")
            self.assertEqual(server.get("/v1/loading/progress").error()["code"], "not_loading")

    def test_who_did_not_ask_sees_none(self):
        with Server(dummy_slots=1, dummy_delay_ms=20, dummy_tokens=3, max_queue_wait_ms=LONG_MS) as server:
            connections = [server.connect() for _ in STREAMING]
            for surface, connection in zip(STREAMING, connections):
                connection.send(surface.request("x", True))
            for surface, connection in zip(STREAMING, connections):
                with self.subTest(surface.name):
                    answer = surface.read(connection.response(surface.method), True)
                    self.assertIn(answer.progress, ([], ["started"]))  # the word of /v1/inference itself
                    self.assertEqual(answer.text, "tok1 tok2 tok3")
                connection.close()

    def test_a_refusal_behind_progress_is_an_error_event(self):
        """The head went out with the first progress: no status any more, but the terminator."""
        with Server(dummy_slots=1, dummy_delay_ms=LONG_MS, max_queue_wait_ms=400) as server:
            running = server.connect()
            running.send(completions.request("x", True))
            server.wait_model(slots_busy=1)
            for surface in (completions, chat):
                answer = surface.ask(server, **ASKED)
                self.assertEqual(answer.error["code"], "queue_timeout")
                self.assertEqual(answer.progress[0]["state"], "queued")
            running.close()

    def test_a_broken_wish_is_refused(self):
        with Server(dummy_delay_ms=0) as server:
            for options, param in (({"include_progress": 1}, "include_progress"), ([], "stream_options"),
                                   ({"include_usage": "yes"}, "include_usage")):
                response = server.post("/v1/completions", {"prompt": "x", "stream": True, "stream_options": options})
                self.assertEqual((response.status, response.error()["code"], response.error()["param"]),
                                 (400, "invalid_type", param))


if __name__ == "__main__":
    main()
