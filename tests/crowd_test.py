"""crowd - two hundred clients at once, most of whom leave at a random moment: every survivor's
answer is right, nothing stays in flight, memory and descriptors stay flat."""

import selectors
import socket
import struct
import sys
import time
import unittest

from harness import Server, eventually, main, seeded_random
from http_client import WAIT_S, parse_responses
from surfaces import SURFACES

CLIENTS = 200
ABORTING = 0.7
TEXT = "Once upon a time — 从前 — a 🦊 said: \"no\".\n" * 8
MIB = 1024 * 1024


class Client:
    """Sends its request, reads; leaves after a random number of bytes if it is one of those."""

    def __init__(self, port, surface, stream, random):
        self.surface, self.stream = surface, stream
        self.data = surface.request("x", stream)
        self.leaves_after = self.cut = None
        if random.random() < ABORTING:
            self.plan_to_leave(random)
        self.resets = random.random() < 0.5
        self.received = bytearray()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self.socket.sendall(self.data if self.cut is None else self.data[:self.cut])

    def plan_to_leave(self, random):
        """In the middle of the request, right behind it, or at some byte of the answer."""
        moment = random.random()
        if moment < 0.2:
            self.cut = random.randrange(len(self.data))
            self.leaves_after = 0
        else:
            self.leaves_after = 0 if moment < 0.4 else random.randrange(1, 1500)

    def leaves_now(self):
        return self.leaves_after is not None and len(self.received) >= self.leaves_after

    def is_answered(self):
        """Is all of the answer here? Fails if it can never become one."""
        data = bytes(self.received)
        head, separator, body = data.partition(b"\r\n\r\n")
        if not separator:
            return False
        if b"Transfer-Encoding: chunked" in head:
            return data.endswith(b"\r\n0\r\n\r\n")
        length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        return len(body) >= length

    def read(self):
        """False when it is done: answered, or gone."""
        piece = self.socket.recv(4096)
        if not piece:
            raise AssertionError(f"{self.surface.name}: the server left after {bytes(self.received[-100:])!r}")
        self.received += piece
        return not self.leaves_now() and not self.is_answered()

    def leave(self):
        if self.resets:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def answer(self):
        (response,) = parse_responses(bytes(self.received), [self.surface.method])
        return self.surface.read(response, self.stream)


class Crowd(unittest.TestCase):
    def open(self, server, random):
        clients = []
        for _ in range(CLIENTS):
            surface = random.choice(SURFACES)
            stream = surface.can_stream and (not surface.can_be_whole or random.random() < 0.7)
            clients.append(Client(server.port, surface, stream, random))
        return clients

    def round(self, server, random):
        """How many survived; each of them has the whole answer."""
        until = time.monotonic() + WAIT_S
        survivors = []
        with selectors.DefaultSelector() as selector:
            for client in self.open(server, random):
                if client.leaves_now():
                    client.leave()
                else:
                    selector.register(client.socket, selectors.EVENT_READ, client)
            while selector.get_map():
                self.assertLess(time.monotonic(), until, "the crowd is not served")
                for key, _ in selector.select(1):
                    client = key.data
                    if client.read():
                        continue
                    selector.unregister(client.socket)
                    survivors += [] if client.leaves_now() else [client]
                    client.leave()
        for client in survivors:
            answer = client.answer()
            self.assertEqual((answer.text, answer.error), (TEXT, None), client.surface.name)
        return len(survivors)

    def test_survivors_are_served_and_nothing_is_left(self):
        random = seeded_random()
        with Server(dummy_text=TEXT, dummy_tokens=40, dummy_delay_ms=3, dummy_slots=16, max_model_queue=CLIENTS,
                    max_queue_wait_ms=WAIT_S * 1000) as server:
            self.round(server, random)  # what is allocated once is allocated now
            server.wait_idle()
            fds, sizes = server.fd_count(), []
            for _ in range(3):
                survivors = self.round(server, random)
                self.assertGreater(survivors, CLIENTS * (1 - ABORTING) / 3)
                idle_s = server.wait_idle()
                eventually(lambda: server.fd_count() <= fds + 2, "the descriptors are closed")
                sizes.append(server.rss_bytes())
                print(f"  {survivors} of {CLIENTS} survived, idle after {idle_s * 1000:.0f} ms, "
                      f"{sizes[-1] / MIB:.1f} MiB", file=sys.stderr)
            self.assertLess(sizes[-1] - sizes[0], 8 * MIB)


if __name__ == "__main__":
    main()
