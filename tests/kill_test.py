"""kill - the matrix: each role killed, stopped and made to abort at a random moment while a hundred
streams run. A worker or the manager: every stream goes on, or ends as its dialect says, and the
service is whole again by itself. The gateway: its connections break, nothing else. The host:
nothing of it is left, and the next start works. Nobody ever gets a wrong, repeated or missing byte
before the end that he is told of.

MILLRACE_KILL_ROUNDS: how often in all (`./check --all`: hundreds). The figures that the product
promises (2 s, 1 s) are printed; what fails is what never comes."""

import os
import selectors
import signal
import socket
import sys
import time
import unittest

from harness import Server, eventually, main, seeded_random
from http_client import PING, WAIT_S, EventReader, parse_responses
from roles import children, is_alive, role_pid
from surfaces import STREAMING, Answer, infer

STREAMS = 100
ROUNDS = int(os.environ.get("MILLRACE_KILL_ROUNDS", "9"))
TEXT = "Es war einmal — 从前 — a 🦊 that said: \"no\".\n" * 4
SETUP = {"dummy_text": TEXT, "dummy_tokens": 40, "dummy_delay_ms": 10, "dummy_slots": 128, "max_model_queue": 512,
         "max_queue_wait_ms": WAIT_S * 1000, "role_dead_ms": 1000}  # the default: seconds are counted here
DEEDS = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP, "aborted": signal.SIGABRT}
SPREAD_S = 0.7  # the streams begin, and the deed is done, within so long


def dechunked(body):
    """What of a chunked body is there, however far it got."""
    data = bytearray()
    while b"\r\n" in body:
        size, _, body = body.partition(b"\r\n")
        data += body[:int(size, 16)]
        body = body[int(size, 16) + 2:]
    return bytes(data)


class Client:
    """One stream, read without waiting."""

    def __init__(self, port, surface, opens_at):
        self.port, self.surface, self.opens_at = port, surface, opens_at
        self.received = bytearray()
        self.is_over = False
        self.socket = self.refusal = None

    def open(self):
        """False when nobody listens any more: the whole service is gone."""
        try:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)
            self.socket.sendall(self.surface.request("x", True))
        except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError):
            self.is_over = True
        return not self.is_over

    def read(self):
        """False when nothing more will come."""
        try:
            piece = self.socket.recv(65536)
        except ConnectionResetError:
            piece = b""
        self.received += piece
        if not piece or self.is_answered():
            self.is_over = True
            self.socket.close()
        return not self.is_over

    def is_answered(self):
        head, separator, body = bytes(self.received).partition(b"\r\n\r\n")
        if not separator:
            return False
        if b"Transfer-Encoding: chunked" in head:
            return body.endswith(b"\r\n0\r\n\r\n")
        return len(body) >= int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])

    def outcome(self):
        """whole, lost, refused or cut. Fails if a byte of it is not what it should be."""
        if not self.is_answered():
            self.check_prefix()
            return "cut"
        (response,) = parse_responses(bytes(self.received), [self.surface.method])
        if response.status != 200:
            if response.status not in (429, 503) or int(response.field("Retry-After")) < 1:
                raise AssertionError(f"{self.surface.name}: {response}")
            self.refusal = response.error()["code"] + ": " + response.error()["message"]
            return "refused"
        answer = self.surface.read(response, True)
        if answer.error is None:
            if answer.text != TEXT:
                raise AssertionError(f"{self.surface.name}: whole, and wrong: {answer.text!r}")
            return "whole"
        if isinstance(answer.error, dict) and answer.error["code"] != "worker_lost":
            raise AssertionError(f"{self.surface.name}: {answer.error}")
        self.check_text(answer.text)
        return "lost"

    def check_text(self, text):
        if not TEXT.startswith(text):
            raise AssertionError(f"{self.surface.name}: not how it begins: {text!r}")

    def check_prefix(self):
        head, separator, body = bytes(self.received).partition(b"\r\n\r\n")
        if not separator or b" 200 " not in head.split(b"\r\n")[0]:
            return  # nothing of the answer has come
        answer = Answer()
        for event in EventReader().feed(dechunked(body)):
            if event is not PING and event.data not in ("[DONE]", '{"done":true}') and event.name != "done":
                self.surface.take(answer, event)
        self.check_text(answer.text)


class Matrix(unittest.TestCase):
    def run_streams(self, server, random, deed, deed_at):
        """Runs them to their end; deed() is done in between. How many ended how."""
        start = time.monotonic()
        waiting = sorted((Client(server.port, random.choice(STREAMING), random.random() * SPREAD_S)
                          for _ in range(STREAMS)), key=lambda client: client.opens_at)
        clients = list(waiting)
        with selectors.DefaultSelector() as selector:
            while waiting or selector.get_map():
                now = time.monotonic() - start
                self.assertLess(now, WAIT_S, f"{len(selector.get_map())} streams have no end")
                if deed and now >= deed_at:
                    deed()
                    deed = None
                while waiting and waiting[0].opens_at <= now:
                    client = waiting.pop(0)
                    if client.open():
                        selector.register(client.socket, selectors.EVENT_READ, client)
                for key, _ in selector.select(0.005):
                    if not key.data.read():
                        selector.unregister(key.fileobj)
        outcomes = [client.outcome() for client in clients]
        for refusal in sorted({client.refusal for client in clients if client.refusal}):
            print(f"  refused: {refusal}", file=sys.stderr)
        return {name: outcomes.count(name) for name in ("whole", "lost", "refused", "cut")}

    def wait_whole(self, server):
        """Until a new client gets an answer: when."""
        def answers():
            try:
                return infer.ask(server, max_tokens=1).error is None
            except (AssertionError, OSError):  # not yet: refused, or broken with its gateway
                return False

        eventually(answers, "a new request is answered")
        return time.monotonic()

    def round(self, server, random, role, how):
        pid = role_pid(server, role, "dummy" if role == "worker" else None)
        done_at = []

        def deed():
            os.kill(pid, DEEDS[how])
            done_at.append(time.monotonic())

        outcomes = self.run_streams(server, random, deed, SPREAD_S * random.random())
        self.assertTrue(done_at)
        whole_s = self.wait_whole(server) - done_at[0]
        eventually(lambda: not is_alive(pid), f"the {how} {role} is gone")
        server.wait_idle()
        idle_s = time.monotonic() - done_at[0]
        print(f"  {role} {how}: {outcomes}, answers after {whole_s:.2f} s, idle after {idle_s:.2f} s", file=sys.stderr)
        self.assertNotEqual(role_pid(server, role, "dummy" if role == "worker" else None), pid)
        return outcomes

    def test_each_role_in_each_way(self):
        random = seeded_random()
        matrix = [(role, how) for role in ("worker", "manager", "gateway") for how in DEEDS]
        with Server(**SETUP) as server:
            self.assertEqual(self.run_streams(server, random, None, 0), {"whole": STREAMS, "lost": 0, "refused": 0, "cut": 0})
            for number in range(ROUNDS):
                if number % len(matrix) == 0:
                    random.shuffle(matrix)
                role, how = matrix[number % len(matrix)]
                with self.subTest(role, how=how, number=number):
                    outcomes = self.round(server, random, role, how)
                    if role != "gateway":
                        self.assertEqual(outcomes["cut"], 0)
                        self.assertEqual(outcomes["refused"], 0)
                    if role != "worker":
                        self.assertEqual(outcomes["lost"], 0)
                    if role == "manager":
                        self.assertEqual(outcomes["whole"], STREAMS)

    def test_a_host_that_dies_leaves_nothing_behind(self):
        random = seeded_random()
        for how in ("killed", "aborted"):
            with self.subTest(how), Server(**SETUP) as server:
                family = children(server.process.pid)
                self.assertGreaterEqual(len(family), 3)
                outcomes = self.run_streams(server, random, lambda: server.signal(DEEDS[how]), SPREAD_S / 2)
                server.process.wait(WAIT_S)
                died = time.monotonic()
                eventually(lambda: not any(map(is_alive, family)), f"the children are gone: {family}")
                print(f"  host {how}: {outcomes}, its children gone within {time.monotonic() - died:.2f} s", file=sys.stderr)
                server.restart()
                self.assertEqual(infer.ask(server).text, TEXT)

    def test_a_host_that_was_stopped_goes_on(self):
        """For half the time after which a silent role counts as dead, and for twice as long."""
        random = seeded_random()
        for seconds in (0.5, 2.0):
            with self.subTest(seconds=seconds), Server(**SETUP) as server:
                family = children(server.process.pid)

                def deed():
                    server.signal(signal.SIGSTOP)
                    time.sleep(seconds)  # it is the length of the pause that is tested
                    server.signal(signal.SIGCONT)

                outcomes = self.run_streams(server, random, deed, SPREAD_S / 2)
                print(f"  host stopped for {seconds} s: {outcomes}", file=sys.stderr)
                self.assertEqual(outcomes, {"whole": STREAMS, "lost": 0, "refused": 0, "cut": 0})
                self.assertEqual(children(server.process.pid), family)


if __name__ == "__main__":
    main()
