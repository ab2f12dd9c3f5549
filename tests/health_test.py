"""health - live, ready and well are three questions, and each is answered truly (http-api.md
section 5)."""

import unittest

from harness import Server, eventually, main
from http_client import request
from surfaces import completions, expect_keys

LONG_MS = 60_000


class Health(unittest.TestCase):
    def check_not_ready(self, server, status):
        response = server.get("/health/ready")
        self.assertEqual((response.status, response.json()["status"]), (503, status), response)
        self.assertGreaterEqual(int(response.field("Retry-After")), 1)
        self.assertTrue(response.json()["progress_url"])
        self.assertEqual(server.get("/health/live").status, 200)

    def test_the_words_of_a_well_server(self):
        with Server(dummy_delay_ms=0) as server:
            health = server.health()
            expect_keys(health, "status", "draining", "uptime_ms", "version", "models")
            self.assertEqual(health["status"], "ok")
            eventually(lambda: server.health()["uptime_ms"] > health["uptime_ms"], "time passes")
            for path in ("/health/live", "/live", "/health/ready", "/ready"):
                response = server.get(path)
                self.assertEqual((response.status, response.json()), (200, {"status": "ok"}))
                self.assertEqual(response.field("Cache-Control"), "no-store")
            self.assertEqual(server.exchange(request("HEAD", "/health"), "HEAD").status, 200)

    def test_ready_means_that_a_token_can_be_made(self):
        """Nobody has asked for one yet: it asks for one itself."""
        with Server(dummy_delay_ms=0) as server:
            self.assertEqual(server.model()["tokens_total"], 0)
            self.assertEqual(server.get("/health/ready").status, 200)
            eventually(lambda: server.model()["tokens_total"] == 1, "the probe's token is counted")
            server.wait_idle()

    def test_an_engine_that_hangs_is_not_ready(self):
        with Server(dummy_stall_at=1, worker_threads=1) as server:  # a probe is one thread's
            self.check_not_ready(server, "degraded")
            eventually(lambda: server.health()["status"] == "degraded", "the probe is given up, and failed")
            self.check_not_ready(server, "degraded")
            server.wait_idle()

    def test_a_busy_model_is_not_asked(self):
        with Server(dummy_slots=1, dummy_delay_ms=LONG_MS) as server:
            with server.connect() as connection:
                stream = connection.stream(completions.request("x", True))
                self.assertIsNotNone(stream.next_event())
                server.wait_model(slots_busy=1)
                self.assertEqual(server.get("/health/ready").status, 200)
                self.assertEqual(server.model()["queued"], 0)
            server.wait_idle()

    def test_loading_is_alive_and_not_ready(self):
        with Server(ready=None, default_model="dummy", dummy_load_ms=LONG_MS) as server:
            server.wait_state("dummy", "loading")
            self.check_not_ready(server, "loading")
            self.assertEqual(server.health()["status"], "loading")
            # Each thread of the gateway hears of it by itself, within a second.
            eventually(lambda: 0 < server.model().get("load_fraction", 0) < 1, "its load is seen")
            eventually(lambda: server.get("/v1/models/dummy").json().get("state") == "loading", "the page says so")


if __name__ == "__main__":
    main()
