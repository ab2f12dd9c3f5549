"""kill - the matrix: each role killed, stopped and made to abort at a random moment while a hundred
streams run. A worker or the manager: every stream goes on, or ends as its dialect says, and the
service is whole again by itself. The gateway: its connections break, nothing else. The host:
nothing of it is left, and the next start works. Nobody ever gets a wrong, repeated or missing byte
before the end that he is told of, and nobody is refused.

MILLRACE_KILL_ROUNDS: how often in all (`./check --all`: hundreds). The figures that the product
promises (2 s, 1 s) are printed; what fails is what never comes."""

import contextlib
import os
import select
import selectors
import signal
import socket
import sys
import threading
import time
import unittest

from harness import Server, eventually, main, seeded_random
from http_client import PING, WAIT_S, EventReader, parse_responses
from roles import children, is_alive, ps, role_pid
from surfaces import STREAMING, Answer, infer

STREAMS = 100
ROUNDS = int(os.environ.get("MILLRACE_KILL_ROUNDS", "9"))
TEXT = "Es war einmal — 从前 — a 🦊 that said: \"no\".\n" * 4
SETUP = {"dummy_text": TEXT, "dummy_tokens": 40, "dummy_delay_ms": 10, "dummy_slots": 128, "max_model_queue": 512,
         "max_queue_wait_ms": WAIT_S * 1000, "role_dead_ms": 750}  # the default: seconds are counted here
DEEDS = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP, "aborted": signal.SIGABRT}
WHOLE = {"whole": STREAMS, "lost": 0, "refused": 0, "cut": 0}
RERUNS = 3  # of a request of which its client has seen nothing (docs/design/008)
SPACING_S = 1.0  # two starts of a role are at most so far apart (src/host/restart.h)
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


class Prober(threading.Thread):
    """From its start on a new client again and again, until one is answered: how long that took. A
    client may be cut with the gateway that took it; nobody may be refused."""

    def __init__(self, server):
        super().__init__()
        self.server = server
        self.start_s = time.monotonic()
        self.answered_s = self.failure = None
        self.cut = 0
        self.start()

    def run(self):
        until = self.start_s + WAIT_S
        while self.answered_s is None and self.failure is None:
            try:
                response = self.server.exchange(infer.request("x", True, max_tokens=1))
                self.judge(infer.read(response, True) if response.status == 200 else response)
            except (AssertionError, OSError) as error:  # broken off
                self.cut += 1
                if time.monotonic() > until:
                    self.failure = repr(error)

    def judge(self, answer):
        if not isinstance(answer, Answer):
            self.failure = repr(answer)
        elif answer.error is None:
            self.answered_s = time.monotonic() - self.start_s

    def wait(self):
        self.join()
        if self.failure:
            raise AssertionError(f"a new client: {self.failure}")
        return self.answered_s


class Figures:
    """What took how long, and its spread at the end."""

    def __init__(self):
        self.seconds = {}

    def add(self, what, seconds):
        self.seconds.setdefault(what, []).append(seconds)

    def print(self):
        for what, taken in sorted(self.seconds.items()):
            taken.sort()
            print(f"  {what}: {len(taken)} times, median {taken[len(taken) // 2]:.2f} s, "
                  f"95 % {taken[len(taken) * 95 // 100]:.2f} s, most {taken[-1]:.2f} s", file=sys.stderr)


def kill_and_probe(server, pid, number):
    """Does it; the prober that began right then."""
    os.kill(pid, number)
    return Prober(server)


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

    def round(self, server, random, role, how, figures):
        pid = role_pid(server, role, "dummy" if role == "worker" else None)
        probers = []
        outcomes = self.run_streams(server, random, lambda: probers.append(kill_and_probe(server, pid, DEEDS[how])),
                                    SPREAD_S * random.random())
        over = time.monotonic()
        answered_s = probers[0].wait()
        eventually(lambda: not is_alive(pid), f"the {how} {role} is gone")
        server.wait_idle()
        idle_s = time.monotonic() - over
        print(f"  {role} {how}: {outcomes}, a new client is answered after {answered_s:.2f} s ({probers[0].cut} cut), "
              f"idle {idle_s:.2f} s after the last stream", file=sys.stderr)
        figures.add(f"{role} {how}, a new client is answered", answered_s)
        figures.add(f"{role} {how}, idle after the last stream", idle_s)
        self.assertNotEqual(role_pid(server, role, "dummy" if role == "worker" else None), pid)
        self.assertTrue(role == "gateway" or probers[0].cut == 0)
        return outcomes

    def test_each_role_in_each_way(self):
        random = seeded_random()
        matrix = [(role, how) for role in ("worker", "manager", "gateway") for how in DEEDS]
        figures = Figures()
        with Server(**SETUP) as server:
            self.assertEqual(self.run_streams(server, random, None, 0), WHOLE)
            for number in range(ROUNDS):
                if number % len(matrix) == 0:
                    random.shuffle(matrix)
                role, how = matrix[number % len(matrix)]
                with self.subTest(role, how=how, number=number):
                    outcomes = self.round(server, random, role, how, figures)
                    self.assertEqual(outcomes["refused"], 0)
                    if role != "gateway":
                        self.assertEqual(outcomes["cut"], 0)
                    if role != "worker":
                        self.assertEqual(outcomes["lost"], 0)
                    if role == "manager":
                        self.assertEqual(outcomes, WHOLE)
        figures.print()

    def test_the_streams_of_a_dead_gateway_free_their_slots(self):
        """Answers that would go on for a minute: their worker must be told."""
        figures = Figures()
        with Server(**{**SETUP, "dummy_tokens": 6000, "dummy_delay_ms": 10}) as server:
            born = [time.monotonic()]

            def has_proven_itself():
                return time.monotonic() - born[0] > SPACING_S

            for number in range(max(3, ROUNDS // 9)):
                how = list(DEEDS)[number % len(DEEDS)]
                with self.subTest(how, number=number), contextlib.ExitStack() as stack:
                    for _ in range(STREAMS):
                        stack.enter_context(server.connect()).send(infer.request("x", True))
                    server.wait_model(slots_busy=STREAMS)
                    eventually(has_proven_itself, "its successor will be started at once")
                    prober = kill_and_probe(server, role_pid(server, "gateway"), DEEDS[how])
                    figures.add(f"gateway {how}, a new client is answered", prober.wait())
                    born[0] = time.monotonic()
                    server.wait_idle()
                    figures.add(f"gateway {how}, all slots are free", time.monotonic() - prober.start_s)
        figures.print()

    def test_a_request_that_kills_its_workers_ends_and_harms_nobody_else(self):
        """Before its first token, as soon as it has got there. It is run again at most three times;
        then its client is told, and the next one (here it does the same) gets a worker, too."""
        with Server(**SETUP, dummy_stall_at=1, watchdog_ms=0, head_hold_ms=WAIT_S * 1000) as server:
            killed = [None]

            def answer_or_victim():
                if select.select([poison.socket], [], [], 0)[0]:
                    return "answer"
                return next((int(row["pid"]) for row in ps(server) if row["role"] == "worker" and
                             row["streams"] == "1" and int(row["pid"]) != killed[-1]), None)

            for _ in range(2):
                before = len(killed)
                with server.connect() as poison:
                    poison.send(infer.request("x", True))
                    while (found := eventually(answer_or_victim, "a worker has it, or it is answered")) != "answer":
                        os.kill(found, signal.SIGABRT)
                        killed.append(found)
                    response = poison.response("POST")
                self.assertEqual((response.status, response.error()["code"]), (502, "worker_lost"))
                self.assertLessEqual(len(killed) - before, 1 + RERUNS)
            server.wait_ready()
            self.assertNotIn("role_held_back", server.log())

    def test_a_host_that_dies_leaves_nothing_behind(self):
        random = seeded_random()
        for how in ("killed", "aborted"):
            with self.subTest(how), Server(**SETUP) as server:
                family = children(server.process.pid)
                self.assertGreaterEqual(len(family), 3)
                gone_s = []

                def deed():
                    start = time.monotonic()
                    server.signal(DEEDS[how])
                    server.process.wait(WAIT_S)
                    eventually(lambda: not any(map(is_alive, family)), f"the children are gone: {family}")
                    gone_s.append(time.monotonic() - start)

                outcomes = self.run_streams(server, random, deed, SPREAD_S / 2)
                start = time.monotonic()
                server.restart()
                print(f"  host {how}: {outcomes}, it and its children gone after {gone_s[0]:.2f} s, "
                      f"the next one ready after {time.monotonic() - start:.2f} s", file=sys.stderr)
                self.assertEqual(infer.ask(server).text, TEXT)

    def test_a_host_that_was_stopped_goes_on(self):
        """For less than the time after which a silent role counts as dead, and for much longer."""
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
                self.assertEqual(outcomes, WHOLE)
                self.assertEqual(children(server.process.pid), family)


if __name__ == "__main__":
    main()
