"""abort - a client that goes away takes its request with it: queued, in prefill, in decode, while
the model loads. How long that took is printed (http-api.md section 6: within 1 s)."""

import socket
import sys
import unittest

from harness import Server, main
from http_client import request
from surfaces import STREAMING, WHOLE, completions, infer

LONG_MS = 60_000
SLOW = {"dummy_delay_ms": LONG_MS, "max_queue_wait_ms": LONG_MS}


class Abort(unittest.TestCase):
    def tell(self, what, seconds):
        print(f"  {what}: {seconds * 1000:.0f} ms", file=sys.stderr)
        self.assertLess(seconds, LONG_MS / 1000 / 4)  # it was the abort and not the end of the step

    def start(self, server, surface=infer, stream=True, prompt="x", **params):
        connection = server.connect()
        connection.send(surface.request(prompt, stream, **params))
        return connection

    def test_in_decode(self):
        """Also inside a step that would take a minute; by FIN and by RST, streamed or not."""
        with Server(dummy_slots=2, **SLOW) as server:
            for surface in STREAMING:
                with self.subTest(surface.name):
                    connection = self.start(server, surface)
                    server.wait_model(slots_busy=1)
                    connection.close()
                    self.tell(f"{surface.name}, FIN", server.wait_idle())
            for surface in WHOLE:
                connection = self.start(server, surface, stream=False)
                server.wait_model(slots_busy=1)
                connection.reset()
                self.tell(f"{surface.name}, RST", server.wait_idle())

    def test_in_decode_between_two_tokens_that_were_seen(self):
        with Server(dummy_delay_ms=20, dummy_tokens=4000) as server:
            with server.connect() as connection:
                stream = connection.stream(infer.request("x", True, max_tokens=4000))
                self.assertEqual([stream.next_event().json()["token"] for _ in range(3)], ["tok1", " tok2", " tok3"])
            self.tell("between tokens", server.wait_idle())
            self.assertLess(server.model()["tokens_total"], 2000)

    def test_a_half_closed_connection_is_gone(self):
        """FIN while a reply is due means that nobody waits, as in nginx and Go (architecture.md)."""
        with Server(dummy_slots=1, **SLOW) as server, self.start(server) as connection:
            server.wait_model(slots_busy=1)
            connection.socket.shutdown(socket.SHUT_WR)
            self.tell("half-closed", server.wait_idle())

    def test_queued(self):
        with Server(dummy_slots=1, **SLOW) as server:
            with self.start(server) as running:
                server.wait_model(slots_busy=1)
                queued = [self.start(server, surface) for surface in STREAMING]
                server.wait_model(slots_busy=1, queued=len(queued))
                for number, connection in enumerate(queued):
                    connection.reset() if number % 2 else connection.close()
                self.tell("queued", server.wait_model(slots_busy=1, queued=0))
                running.close()
            self.tell("running", server.wait_idle())

    def test_the_next_in_the_queue_gets_the_slot(self):
        with Server(dummy_slots=1, dummy_delay_ms=100, dummy_tokens=3, max_queue_wait_ms=LONG_MS) as server:
            connections = []
            for count in range(4):
                connections.append(self.start(server))
                server.wait_model(slots_busy=1, queued=count)
            connections[0].close()
            connections[2].close()
            for connection in (connections[1], connections[3]):
                self.assertEqual(infer.read(connection.response("POST"), True).text, "tok1 tok2 tok3")
                connection.close()
            server.wait_idle()

    def test_in_prefill(self):
        """With company that decodes, a long prompt goes in by chunks, one a step."""
        with Server(dummy_slots=2, dummy_delay_ms=300, dummy_tokens=3000, default_max_tokens=3000) as server:
            with self.start(server) as running:
                server.wait_model(slots_busy=1)
                with server.connect() as connection:
                    stream = connection.stream(completions.request(
                        "y" * 4000, True, max_tokens=1, stream_options={"include_progress": True}))
                    while (progress := stream.next_event().json().get("progress"))["state"] != "prefill":
                        pass
                    self.assertLess(progress["done"], progress["total"])
                self.tell("in prefill", server.wait_model(slots_busy=1))
                running.close()
            server.wait_idle()

    def test_while_the_model_loads(self):
        with Server(ready=None, default_model="dummy", dummy_load_ms=LONG_MS) as server:
            server.wait_state("dummy", "loading")
            connections = [self.start(server, surface) for surface in STREAMING]
            server.wait_model(queued=len(connections))
            for connection in connections:
                connection.close()
            self.tell("while loading", server.wait_model(queued=0))

    def test_a_stalled_engine_gives_its_slot_back(self):
        with Server(dummy_stall_at=3, dummy_delay_ms=0, dummy_slots=1) as server:
            for _ in range(3):
                with server.connect() as connection:
                    stream = connection.stream(infer.request("x", True))
                    self.assertEqual([stream.next_event().json()["token"] for _ in range(2)], ["tok1", " tok2"])
                self.tell("stalled", server.wait_idle())

    def test_while_a_large_body_is_parsed(self):
        body = b'{"prompt":"x","unknown":"' + b"y" * 4_000_000 + b'"}'
        with Server(dummy_slots=1, **SLOW) as server:
            for _ in range(8):
                connection = server.connect()
                connection.send(request("POST", "/generate", body))
                connection.reset()
            server.wait_idle()
            with self.start(server, stream=False):
                server.wait_model(slots_busy=1, queued=0)
            server.wait_idle()

    def test_one_of_several_choices_that_are_asked_at_once(self):
        with Server(dummy_slots=4, **SLOW) as server:
            with server.connect() as connection:
                connection.send(request("POST", "/v1/completions", {"prompt": ["a", "b", "c"]}))
                server.wait_model(slots_busy=3)
            self.tell("three choices", server.wait_idle())


if __name__ == "__main__":
    main()
