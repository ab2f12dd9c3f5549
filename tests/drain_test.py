"""drain - SIGTERM: new work is refused, what runs is finished or told, and no stream is cut without
its terminator."""

import os
import signal
import time
import unittest

from harness import Server, eventually, main
from http_client import Stream, request
from roles import role_pid
from surfaces import STREAMING, WHOLE, infer

LONG_MS = 60_000


class Drain(unittest.TestCase):
    def start_all(self, server):
        """A stream on each surface, all of them running; and whole answers too."""
        asked = [(surface, True) for surface in STREAMING] + [(surface, False) for surface in WHOLE]
        connections = []
        for surface, stream in asked:
            connections.append(server.connect())
            connections[-1].send(surface.request("x", stream))
        server.wait_model(slots_busy=len(asked))
        return asked, connections

    def test_what_runs_is_finished(self):
        with Server(dummy_delay_ms=100, dummy_tokens=15) as server:
            asked, connections = self.start_all(server)
            server.signal()
            for (surface, stream), connection in zip(asked, connections):
                with self.subTest(surface.name, stream=stream):
                    answer = surface.read(connection.response(surface.method), stream)
                    self.assertEqual((answer.text, answer.error), (" ".join(f"tok{n}" for n in range(1, 16)), None))
                    connection.expect_end()
                connection.close()
            self.assertEqual(server.wait_exit(), 0)

    def test_new_ones_are_refused_meanwhile(self):
        with Server(dummy_delay_ms=LONG_MS, worker_threads=1) as server:
            running, idle, begun = server.connect(), server.connect(), server.connect()
            running.send(infer.request("x", True))
            server.wait_model(slots_busy=1)
            self.assertEqual(idle.exchange(request("GET", "/live"), "GET").status, 200)
            data = infer.request("x", True)
            begun.send(data[:20])
            server.get("/live")  # those bytes are there
            server.signal()
            eventually(lambda: not server.is_listening(), "the listener is closed")
            idle.expect_end()
            response = begun.exchange(data[20:])
            self.assertEqual((response.status, response.error()["code"], response.keeps_alive()),
                             (503, "draining", False))
            self.assertGreaterEqual(int(response.field("Retry-After")), 1)
            for connection in (running, idle, begun):
                connection.close()  # nobody is left: it ends long before drain_ms
            self.assertEqual(server.wait_exit(), 0)

    def test_when_the_time_is_up_streams_end_with_an_error_and_their_terminator(self):
        with Server(dummy_delay_ms=50, dummy_tokens=4000, drain_ms=300) as server:
            asked, connections = self.start_all(server)
            streams = [(surface, Stream(connection, surface.method))
                       for (surface, stream), connection in zip(asked, connections) if stream]
            first = [stream.next_event() for _, stream in streams]
            start = time.monotonic()
            server.signal()
            for (surface, stream), event in zip(streams, first):
                with self.subTest(surface.name):
                    answer = surface.read_stream([event, *stream.events()])
                    self.assertTrue(" ".join(f"tok{n}" for n in range(1, 500)).startswith(answer.text), answer.text)
                    if isinstance(answer.error, dict):
                        self.assertEqual(answer.error["code"], "draining")
                    self.assertTrue(answer.error)
            self.assertGreaterEqual(time.monotonic() - start, 0.29)
            for (surface, stream), connection in zip(asked, connections):
                if not stream:
                    response = connection.response(surface.method)
                    self.assertEqual((response.status, response.error()["code"]), (503, "draining"))
                    self.assertGreaterEqual(int(response.field("Retry-After")), 1)
                connection.expect_end()
                connection.close()
            self.assertEqual(server.wait_exit(), 0)

    def test_queued_ones_end_too(self):
        with Server(dummy_slots=1, dummy_delay_ms=LONG_MS, max_queue_wait_ms=LONG_MS, drain_ms=300) as server:
            connections = [server.connect() for _ in range(5)]
            for connection in connections:
                connection.send(infer.request("x", True))
            server.wait_model(slots_busy=1, queued=4)
            server.signal()
            codes = []
            for connection in connections:
                response = connection.response("POST")
                if response.status == 200:  # its first token was out
                    codes.append(infer.read(response, True).error["code"])
                else:
                    codes.append(response.error()["code"])
                connection.close()
            self.assertEqual(codes, ["draining"] * 5)
            self.assertEqual(server.wait_exit(), 0)

    def test_queued_ones_are_served_while_there_is_time(self):
        with Server(dummy_slots=1, dummy_delay_ms=50, dummy_tokens=15, max_queue_wait_ms=LONG_MS) as server:
            connections = self.start_queue(server)
            server.signal()
            self.check_served(connections)
            self.assertEqual(server.wait_exit(), 0)

    def test_queued_ones_do_not_notice_that_a_role_is_replaced(self):
        """SIGTERM to the only worker, or to the manager: they wait for the next one."""
        for role in ("worker", "manager"):
            with self.subTest(role), Server(dummy_slots=1, dummy_delay_ms=50, dummy_tokens=15, solo=False,
                                            max_queue_wait_ms=LONG_MS) as server:
                connections = self.start_queue(server)
                os.kill(role_pid(server, role), signal.SIGTERM)
                self.check_served(connections)
                server.wait_idle()

    def start_queue(self, server):
        connections = [server.connect() for _ in range(5)]
        for connection in connections:
            connection.send(infer.request("x", True))
        server.wait_model(slots_busy=1, queued=4)
        return connections

    def check_served(self, connections):
        for connection in connections:
            answer = infer.read(connection.response("POST"), True)
            self.assertEqual((len(answer.text.split()), answer.error), (15, None))
            connection.close()

    def test_sigint_drains_as_well(self):
        with Server() as server:
            server.signal(signal.SIGINT)
            self.assertEqual(server.wait_exit(), 0)

    def test_a_second_signal_ends_at_once(self):
        with Server(dummy_delay_ms=LONG_MS, drain_ms=LONG_MS) as server:
            server.expected_exit = 130
            with server.connect() as connection:
                connection.send(infer.request("x", True))
                server.wait_model(slots_busy=1)
                server.signal()
                server.wait_log("event=stopping")
                server.signal()
                self.assertEqual(server.wait_exit(seconds=LONG_MS / 1000 / 4), 130)

    def test_a_client_that_does_not_read_cannot_hold_the_end_up(self):
        text = "x" * 700_000
        with Server(dummy_text=text, dummy_tokens=3500, default_max_tokens=3500, dummy_delay_ms=0,
                    stall_ms=LONG_MS, drain_ms=500) as server:
            with server.connect(receive_bytes=4096) as connection:
                connection.send(infer.request("x", True))
                server.wait_model(parked=1)
                server.signal()
                self.assertEqual(server.wait_exit(seconds=LONG_MS / 1000 / 4), 0)

    def test_while_the_model_loads(self):
        with Server(ready=None, default_model="dummy", dummy_load_ms=LONG_MS, drain_ms=300) as server:
            server.wait_state("dummy", "loading")
            with server.connect() as connection:
                connection.send(infer.request("x", True))
                server.wait_model(queued=1)
                server.signal()
                response = connection.response("POST")
                self.assertEqual((response.status, response.error()["code"]), (503, "draining"))
            self.assertEqual(server.wait_exit(), 0)


if __name__ == "__main__":
    main()
