"""engine_fault - the engine breaks or hangs: before the head the client gets a real status, after it
the dialect's error and its terminator; who waited is told too. Its worker is replaced; in one process
(--solo) there is nobody to do it, and the model is shown as failed."""

import unittest

from harness import SOLO, Server, main
from http_client import request
from surfaces import STREAMING, SURFACES, WHOLE, completions, infer


class EngineFault(unittest.TestCase):
    def test_in_the_middle_of_a_stream(self):
        """A server for each surface: a broken engine stays broken."""
        for surface in STREAMING:
            with self.subTest(surface.name), Server(dummy_fail_at=3, dummy_delay_ms=0) as server:
                answer = surface.ask(server)
                self.assertEqual(answer.deltas, ["tok1", " tok2"])
                if isinstance(answer.error, dict):
                    self.assertEqual((answer.error["type"], answer.error["code"]), ("server_error", "worker_lost"))
                self.assertTrue(answer.error)
                self.assertIn(answer.finish, (None, "error"))

    def test_before_the_head_it_is_a_status(self):
        for surface in (completions, infer):
            with Server(dummy_fail_at=1, dummy_delay_ms=0) as server:
                response = server.exchange(surface.request("x", True))
                # Nothing was seen yet, so others try first; in one process there are none.
                expected = (503, "model_failed") if SOLO else (502, "worker_lost")
                self.assertEqual((response.status, response.error()["code"]), expected, response)
                self.assertEqual(response.error()["type"], "server_error")

    def test_whole_answers_are_never_half(self):
        for surface in WHOLE:
            with self.subTest(surface.name), Server(dummy_fail_at=3, dummy_delay_ms=0) as server:
                response = server.exchange(surface.request("x", False), surface.method)
                self.assertEqual((response.status, response.error()["code"]), (502, "worker_lost"), response)

    def test_everyone_in_the_batch_and_in_the_queue_is_told(self):
        with Server(dummy_fail_at=10, dummy_delay_ms=100, dummy_slots=4, max_queue_wait_ms=60_000) as server:
            connections = []
            for surface in STREAMING[:8]:
                connections.append(server.connect())
                connections[-1].send(surface.request("x", True))
            for surface, connection in zip(STREAMING, connections):
                response = connection.response(surface.method)
                if response.status == 200:
                    self.assertTrue(surface.read(response, True).error)
                else:
                    self.assertIn((response.status, response.error()["code"]),
                                  ((502, "worker_lost"), (503, "model_failed")))
                connection.close()
            server.wait_model(state="failed" if SOLO else "ready", slots_busy=0, queued=0)

    @unittest.skipIf(SOLO, "in one process nobody replaces it")
    def test_afterwards_another_worker_serves(self):
        with Server(dummy_fail_at=3, dummy_delay_ms=0) as server:
            for _ in range(3):
                self.assertTrue(infer.ask(server).error)
                server.wait_log("event=role_ended role=worker")
                server.wait_model(state="ready")
                self.assertEqual(infer.ask(server, max_tokens=2).text, "tok1 tok2")
            self.assertEqual(server.health()["status"], "ok")

    @unittest.skipIf(SOLO, "in one process nobody watches it")
    def test_a_hanging_engine_is_replaced(self):
        with Server(dummy_stall_at=3, dummy_delay_ms=0, watchdog_ms=1000) as server:
            answer = infer.ask(server)
            self.assertEqual(answer.deltas, ["tok1", " tok2"])
            self.assertTrue(answer.error)
            server.wait_log("event=role_killed role=worker .*why=stuck")
            self.assertEqual(infer.ask(server, max_tokens=2).text, "tok1 tok2")

    @unittest.skipUnless(SOLO, "a host replaces it")
    def test_afterwards_the_service_says_so_and_stays_up(self):
        with Server(dummy_fail_at=3, dummy_delay_ms=0) as server:
            self.assertTrue(infer.ask(server).error)
            server.wait_model(state="failed")
            for surface in SURFACES:
                response = server.exchange(surface.request("x", surface.can_stream), surface.method)
                self.assertEqual((response.status, response.error()["code"]), (503, "model_failed"))
                self.assertGreaterEqual(int(response.field("Retry-After")), 1)
            self.assertEqual(server.health()["status"], "degraded")
            self.assertEqual(server.get("/health/ready").status, 503)
            self.assertEqual(server.get("/health/live").status, 200)

    def test_a_hanging_engine_lets_go_of_who_left(self):
        with Server(dummy_stall_at=2, dummy_delay_ms=0, dummy_slots=1) as server:
            for _ in range(3):
                with server.connect() as connection:
                    stream = connection.stream(infer.request("x", True))
                    self.assertEqual(stream.next_event().json(), {"token": "tok1"})
                server.wait_idle()
            self.assertEqual(server.exchange(request("GET", "/live"), "GET").status, 200)


if __name__ == "__main__":
    main()
