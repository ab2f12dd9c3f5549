"""pings - silence in a stream: the head is held back for a real status and then sent; after it come
exactly the bytes ": ping\\n", between events only (http-api.md section 7, rule 1)."""

import time
import unittest

from harness import Server, main
from http_client import PING, PING_BYTES, Stream
from surfaces import STREAMING, completions, infer


def start_all(server):
    """One request on each surface, all at once: [(surface, connection)]."""
    asked = [(surface, server.connect()) for surface in STREAMING]
    for surface, connection in asked:
        connection.send(surface.request("x", True))
    return asked


class Pings(unittest.TestCase):
    def test_between_events_and_exact_to_the_byte(self):
        with Server(dummy_stall_at=3, dummy_delay_ms=0, ping_ms=100) as server:
            for surface in STREAMING:  # one by one: the engine hangs for all it runs
                with self.subTest(surface.name), server.connect() as connection:
                    stream = connection.stream(surface.request("x", True), surface.method)
                    items = []
                    while items.count(PING) < 3:
                        items.append(stream.next())
                    events = [item for item in items if item is not PING]
                    self.assertEqual(items[len(events):], [PING] * 3)  # none before the silence
                    self.assertTrue(stream.body.endswith(b"}\n\n" + PING_BYTES * 3), stream.body[-100:])
                    self.assertIn(b"tok2", stream.body)

    def test_a_pause_longer_than_a_ping_breaks_no_event(self):
        with Server(dummy_delay_ms=350, dummy_tokens=4, ping_ms=100) as server:
            for surface in (infer, completions):
                with server.connect() as connection:
                    stream = connection.stream(surface.request("x", True))
                    events = list(stream.events())
                self.assertEqual(surface.read_stream(events).text, "tok1 tok2 tok3 tok4")
                self.assertGreaterEqual(stream.body.count(PING_BYTES), 3)

    def test_pings_come_at_their_pace(self):
        with Server(dummy_stall_at=2, dummy_delay_ms=0, ping_ms=200) as server, server.connect() as connection:
            stream = connection.stream(infer.request("x", True))
            stream.next_event()
            start = time.monotonic()
            for _ in range(5):
                self.assertIs(stream.next(), PING)
            self.assertGreaterEqual(time.monotonic() - start, 5 * 0.2 * 0.9)

    def test_the_head_leaves_after_the_hold_although_there_is_no_token(self):
        with Server(dummy_stall_at=1, ping_ms=100, head_hold_ms=600) as server:
            start = time.monotonic()
            connections = start_all(server)
            for surface, connection in connections:
                with self.subTest(surface.name), connection:
                    stream = Stream(connection, surface.method)
                    self.assertEqual(stream.head.status, 200)
                    self.assertGreaterEqual(time.monotonic() - start, 0.59)
                    self.assertIs(stream.next(), PING)
                    self.assertTrue((PING_BYTES * 100).startswith(stream.body), stream.body)
            server.wait_idle()

    def test_the_first_token_sends_the_head_at_once(self):
        with Server(dummy_stall_at=2, dummy_delay_ms=0, head_hold_ms=600_000) as server:
            with server.connect() as connection:
                stream = connection.stream(infer.request("x", True))
                self.assertEqual(stream.next().json(), {"token": "tok1"})

    def test_a_hold_of_zero_sends_it_as_soon_as_a_worker_has_it(self):
        with Server(dummy_stall_at=1, head_hold_ms=0, ping_ms=100) as server, server.connect() as connection:
            self.assertIs(connection.stream(infer.request("x", True)).next(), PING)

    def test_a_fault_behind_the_hold_is_an_error_event(self):
        """It breaks before the first token, again and again: when nobody is left to try, the head has
        left long ago."""
        with Server(dummy_fail_at=1, dummy_delay_ms=600, head_hold_ms=100) as server:
            for surface, connection in start_all(server):
                with self.subTest(surface.name), connection:
                    answer = surface.read(connection.response(surface.method), True)
                    if isinstance(answer.error, dict):
                        self.assertIn(answer.error["code"], ("worker_lost", "model_failed"))
                    self.assertTrue(answer.error)
                    self.assertEqual(answer.deltas, [])

    def test_who_waits_for_a_place_has_no_head_yet(self):
        with Server(dummy_slots=1, dummy_delay_ms=60_000, max_queue_wait_ms=900, head_hold_ms=100) as server:
            with server.connect() as running:
                running.send(infer.request("x", True))
                server.wait_model(slots_busy=1)
                for surface, connection in start_all(server):
                    with self.subTest(surface.name), connection:
                        response = connection.response(surface.method)
                        self.assertEqual((response.status, response.error()["code"]), (429, "queue_timeout"))

    def test_whole_answers_have_none(self):
        with Server(dummy_delay_ms=300, dummy_tokens=3, ping_ms=100, head_hold_ms=100) as server:
            self.assertEqual(infer.ask(server, stream=False).text, "tok1 tok2 tok3")


if __name__ == "__main__":
    main()
