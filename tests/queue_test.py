"""queue - admission: what waits, how long, and how who cannot wait is told (sessions-queues.md)."""

import json
import signal
import time
import unittest

from harness import Server, eventually, main
from surfaces import STREAMING, SURFACES, infer

LONG_MS = 60_000


class Queue(unittest.TestCase):
    def start(self, server, surface=infer, **params):
        connection = server.connect()
        connection.send(surface.request("x", surface.can_stream, **params))
        return connection

    def check_429(self, response, code):
        self.assertEqual(response.status, 429, response)
        error = response.error()
        self.assertEqual((error["type"], error["code"]), ("rate_limit_error", code))
        self.assertGreaterEqual(int(response.field("Retry-After")), 1)
        self.assertTrue(response.keeps_alive())

    def test_a_full_queue_is_a_real_429_on_every_surface(self):
        with Server(dummy_slots=1, max_model_queue=1, dummy_delay_ms=LONG_MS, max_queue_wait_ms=LONG_MS) as server:
            with self.start(server) as running, self.start(server) as queued:
                server.wait_model(slots_busy=1, queued=1)
                for surface in SURFACES:
                    with self.subTest(surface.name):
                        self.check_429(server.exchange(surface.request("x", surface.can_stream), surface.method),
                                       "queue_full")
                self.assertEqual(server.model()["queued"], 1)
                queued.close()
                server.wait_model(slots_busy=1, queued=0)
                with self.start(server):
                    server.wait_model(queued=1)  # there is room again
                running.close()
            server.wait_idle()

    def test_without_a_queue_only_free_slots_count(self):
        with Server(dummy_slots=2, max_model_queue=0, dummy_delay_ms=LONG_MS) as server:
            with self.start(server), self.start(server):
                server.wait_model(slots_busy=2)
                self.check_429(server.exchange(infer.request("x", True)), "queue_full")
            server.wait_idle()

    def test_who_cannot_start_in_time_is_told_when_the_time_is_up(self):
        with Server(dummy_slots=1, max_queue_wait_ms=300, dummy_delay_ms=LONG_MS) as server:
            with self.start(server):
                server.wait_model(slots_busy=1)
                start = time.monotonic()
                waiting = [self.start(server, surface) for surface in SURFACES]
                for connection in waiting:
                    self.check_429(connection.response("POST"), "queue_timeout")
                    connection.close()
                took = time.monotonic() - start
                self.assertGreaterEqual(took, 0.29)
                self.assertLess(took, LONG_MS / 1000 / 4)
            server.wait_idle()

    def test_a_wait_of_zero_starts_at_once_or_not_at_all(self):
        with Server(dummy_slots=1, max_queue_wait_ms=0, dummy_delay_ms=0) as server:
            self.assertEqual(infer.ask(server).error, None)
        with Server(dummy_slots=1, max_queue_wait_ms=0, dummy_delay_ms=LONG_MS) as server:
            with self.start(server):
                server.wait_model(slots_busy=1)
                self.check_429(server.exchange(infer.request("x", True)), "queue_timeout")

    def test_a_short_wait_is_just_a_wait(self):
        """Ten times the slots, and every answer is whole and right."""
        with Server(dummy_slots=3, dummy_delay_ms=5, dummy_tokens=5, max_queue_wait_ms=LONG_MS) as server:
            surfaces = (STREAMING * 2)[:30]
            connections = [self.start(server, surface) for surface in surfaces]
            for surface, connection in zip(surfaces, connections):
                answer = surface.read(connection.response(surface.method), True)
                self.assertEqual(answer.text, "tok1 tok2 tok3 tok4 tok5")
                connection.close()
            server.wait_idle()

    def test_a_reload_changes_the_limits_for_who_comes_next(self):
        with Server(dummy_slots=1, max_model_queue=0, dummy_delay_ms=LONG_MS, max_queue_wait_ms=LONG_MS) as server:
            with self.start(server):
                server.wait_model(slots_busy=1)
                self.check_429(server.exchange(infer.request("x", True)), "queue_full")
                config = server.folder / "config.json"
                config.write_text(json.dumps({**server.keys, "max_model_queue": 2, "max_queue_wait_ms": 300}))
                server.signal(signal.SIGHUP)
                server.wait_log("event=reload_applied key=max_queue_wait_ms")
                # It takes a moment to reach the manager: nobody is told, so it is tried.
                eventually(lambda: (response := server.exchange(infer.request("x", True))).error()["code"] ==
                           "queue_timeout" and response.status == 429, "it waits, and not for long")
            server.wait_idle()

    def test_high_priority_goes_first(self):
        with Server(dummy_slots=1, dummy_delay_ms=300, dummy_tokens=2, max_queue_wait_ms=LONG_MS) as server:
            order = {}
            with self.start(server):
                server.wait_model(slots_busy=1)
                for count, priority in enumerate(("low", "normal", "high"), 1):
                    order[priority] = self.start(server, priority=priority)
                    server.wait_model(queued=count)
            started = []
            for priority, connection in order.items():
                connection.response("POST")
                connection.close()
            server.wait_log(r"(?s)(event=request_done[^\n]* end=eos .*){3}")
            for line in server.log().splitlines():
                if "event=request_done" in line and "end=eos" in line:
                    started.append(int(line.split("queue_ms=")[1].split()[0]))
            # In order of ending: high waited least, low most.
            self.assertEqual(started, sorted(started))
            self.assertEqual(len(started), 3)

    def test_a_model_that_loads_keeps_its_waiters_and_loading_has_its_own_time(self):
        with Server(ready=None, default_model="dummy", dummy_load_ms=1500, max_queue_wait_ms=100,
                    dummy_delay_ms=0) as server:
            server.wait_state("dummy", "loading")
            with self.start(server) as connection:
                self.assertEqual(infer.read(connection.response("POST"), True).error, None)

    def test_a_load_that_takes_too_long_is_503_loading(self):
        with Server(ready=None, default_model="dummy", dummy_load_ms=LONG_MS, model_load_timeout_ms=300) as server:
            server.wait_state("dummy", "loading")
            response = server.exchange(infer.request("x", True))
            self.assertEqual((response.status, response.error()["code"]), (503, "loading"))
            self.assertGreaterEqual(int(response.field("Retry-After")), 1)
            ready = server.get("/health/ready")
            self.assertEqual((ready.status, ready.json()["status"]), (503, "loading"))


if __name__ == "__main__":
    main()
