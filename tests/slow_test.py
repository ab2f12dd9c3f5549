"""slow - clients that send slowly, read slowly, or do neither: they are closed in time, their
sequence gives its slot up, memory stays flat, and nobody else waits (http-api.md 7.5, 8)."""

import select
import time
import unittest
from pathlib import Path

from harness import MILLRACE, Server, eventually, main
from http_client import PING_BYTES, Reset, parse_events, parse_responses, request
from surfaces import completions, generate, infer

KIB = 1024
TOKENS = 3500
# More than credit, our buffers and the kernel's hold together (about 350 KiB).
TEXT = "".join(f"{n:07}\n" for n in range(90_000))
READER = {"dummy_text": TEXT, "dummy_tokens": TOKENS, "dummy_delay_ms": 0, "out_max_bytes": 16 * KIB,
          "max_queue_wait_ms": 60_000, "default_max_tokens": TOKENS}


def shadowed(limit):
    """ThreadSanitizer keeps bytes of its own for each of the program's: up to four, and its history."""
    return limit * 8 if b"__tsan_init" in Path(MILLRACE).read_bytes() else limit


def trickle(connection, data, pause_s=0.02):
    """Sends byte by byte until the server has something to say; how much was sent."""
    for count, byte in enumerate(data):
        connection.send(bytes([byte]))
        if select.select([connection.socket], [], [], pause_s)[0]:
            return count + 1
    return len(data)


class SlowSenders(unittest.TestCase):
    def check_408(self, server, connection):
        response = connection.response()
        self.assertEqual((response.status, response.keeps_alive()), (408, False), response)
        self.assertEqual(response.error()["code"], "request_timeout")
        connection.expect_end()
        self.assertEqual(server.get("/live").status, 200)

    def test_a_head_that_takes_too_long(self):
        endless = b"GET /live HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 10_000
        with Server(head_ms=400) as server:
            for data in (b"", b"GET", endless):
                with self.subTest(len(data)), server.connect() as connection:
                    start = time.monotonic()
                    sent = trickle(connection, data)
                    self.check_408(server, connection)
                    self.assertGreaterEqual(time.monotonic() - start, 0.39)
                    self.assertLess(sent, len(endless))

    def test_a_body_that_takes_too_long(self):
        with Server(body_ms=400) as server:
            for head, body in ((request("POST", "/generate", fields=[("Content-Length", 10_000)]), b"x" * 9_999),
                               (request("POST", "/generate", fields=[("Transfer-Encoding", "chunked")]),
                                b"1\r\nx\r\n" * 2_000)):
                for cut in (0, len(body)):
                    with server.connect() as connection:
                        start = time.monotonic()
                        connection.send(head)
                        self.assertLess(trickle(connection, body[:cut]), len(body))
                        self.check_408(server, connection)
                        self.assertGreaterEqual(time.monotonic() - start, 0.39)

    def test_a_connection_without_a_request_is_closed_silently(self):
        with Server(idle_ms=300) as server, server.connect() as connection:
            self.assertEqual(connection.exchange(request("GET", "/live"), "GET").status, 200)
            start = time.monotonic()
            connection.expect_end()
            self.assertGreaterEqual(time.monotonic() - start, 0.29)

    def test_hundreds_of_them_delay_nobody(self):
        with Server(dummy_delay_ms=0) as server:
            held = [server.connect() for _ in range(300)]
            for number, connection in enumerate(held):
                connection.send(generate.request("x", False)[:1 + number % 60])
            for _ in range(20):
                self.assertEqual(generate.ask(server, stream=False).finish, "stop")
            for connection in held:
                connection.close()


class SlowReaders(unittest.TestCase):
    def ask(self, server, surface=infer):
        connection = server.connect(receive_bytes=64 * KIB)
        connection.send(surface.request("x", True))
        return connection

    def test_who_stops_reading_is_parked_and_may_come_back(self):
        with Server(dummy_slots=1, park_ms=100, stall_ms=600_000, **READER) as server:
            with self.ask(server) as slow:
                server.wait_model(parked=1, slots_busy=0)  # its slot, the only one, is free again
                for _ in range(3):
                    self.assertEqual(completions.ask(server).text, TEXT)
                server.wait_model(parked=1)  # now and then the kernel takes some more, and it runs for that
                response = slow.response("POST")  # reads on, to the end
                self.assertEqual(infer.read(response, True).text, TEXT)
            server.wait_idle()

    def test_another_stream_runs_on_in_the_same_batch(self):
        """Parked but still in its slot, the slow one takes no part in the steps."""
        with Server(dummy_slots=2, park_ms=600_000, stall_ms=600_000, **READER) as server:
            with self.ask(server) as slow:
                server.wait_model(parked=1, slots_busy=1)
                self.assertEqual(infer.ask(server).text, TEXT)
                self.assertEqual(infer.read(slow.response("POST"), True).text, TEXT)

    def test_who_never_reads_is_closed(self):
        with Server(dummy_slots=1, park_ms=100, stall_ms=500, **READER) as server:
            with self.ask(server) as slow:
                server.wait_model(parked=1)
                server.wait_log(r"event=request_done .*status=499 end=stalled")
                server.wait_idle()
                data, was_reset = slow.read_to_end()
            self.assertTrue(was_reset or not data.endswith(b"0\r\n\r\n"))
            self.assertLess(len(data), len(TEXT))
            self.assertEqual(infer.ask(server).text, TEXT)

    def test_who_reads_a_little_now_and_then_is_not(self):
        """Each read is a sign of life, however slow the whole."""
        with Server(dummy_slots=1, park_ms=50, stall_ms=1500, **READER) as server:
            with self.ask(server) as slow:
                sips = bytearray()
                start = time.monotonic()
                while time.monotonic() - start < 2 * 1.5:
                    select.select([], [], [], 0.1)  # the pace of this client, not a wait for anything
                    sips += slow.receive(12 * KIB)
                slow.input.bytes += sips
                self.assertEqual(infer.read(slow.response("POST"), True).text, TEXT)

    def test_memory_is_flat_however_many(self):
        """Sixty that do not read: what each costs is bounded by credit and output, not by its answer."""
        count = 60
        with Server(dummy_slots=4, park_ms=50, stall_ms=600_000, **READER) as server:
            self.assertEqual(infer.ask(server).text, TEXT)
            before = server.rss_bytes()
            slow = [self.ask(server) for _ in range(count)]
            server.wait_model(parked=count, slots_busy=0)
            held = server.rss_bytes()
            for _ in range(5):
                self.assertEqual(infer.ask(server).text, TEXT)
            self.assertLess(server.rss_bytes() - held, shadowed(8 * KIB * KIB))
            self.assertLess((held - before) / count, shadowed(512 * KIB))
            for number, connection in enumerate(slow):
                connection.reset() if number % 2 else connection.close()
            server.wait_idle()

    def test_a_whole_answer_that_is_not_read_is_closed_too(self):
        with Server(dummy_slots=1, stall_ms=500, **READER) as server:
            with server.connect(receive_bytes=4 * KIB) as slow:
                slow.send(generate.request("x", False))
                server.wait_log(r"event=request_done .*dialect=generate .*status=200")
                with self.assertRaises(Reset):
                    self.wait_reset(slow)

    @staticmethod
    def wait_reset(connection):
        """A reset shows without reading: poll tells of it."""
        poll = select.poll()
        poll.register(connection.socket, 0)  # POLLERR and POLLHUP come in any case
        if poll.poll(60_000):
            raise Reset()

    def test_pings_do_not_pile_up_for_who_does_not_read(self):
        """They are for silence; what waits to be read is none."""
        with Server(dummy_slots=1, park_ms=100, stall_ms=600_000, ping_ms=500, **READER) as server:
            with self.ask(server) as slow:
                server.wait_model(parked=1)
                since_ms = server.health()["uptime_ms"]
                eventually(lambda: server.health()["uptime_ms"] > since_ms + 3000, "six pings' time is over")
                body = slow.response("POST").body
                self.assertLess(body.count(PING_BYTES), 3)
                self.assertEqual(infer.read_stream(parse_events(body)).text, TEXT)

    def test_pings_do_not_keep_a_dead_reader(self):
        """Nor do they pile up: one that reads nothing gets no more of them."""
        keys = {**READER, "dummy_stall_at": 3000}
        with Server(dummy_slots=1, park_ms=50, stall_ms=800, ping_ms=100, **keys) as server:
            with self.ask(server):
                server.wait_log(r"event=request_done .*status=499 end=stalled")
                server.wait_idle()


class Framed(unittest.TestCase):
    def test_slow_reading_changes_no_byte(self):
        """The same stream, read in one go and in small sips."""
        with Server(**READER) as server:
            sips = bytearray()
            with server.connect(receive_bytes=8 * KIB) as connection:
                connection.send(infer.request("x", True, max_tokens=400))
                while not sips.endswith(b"\r\n0\r\n\r\n"):
                    sips += connection.receive(701)
            whole = server.exchange(infer.request("x", True, max_tokens=400))
            (sipped,) = parse_responses(bytes(sips), ["POST"])
            self.assertEqual(parse_events(sipped.body), parse_events(whole.body))


if __name__ == "__main__":
    main()
