"""clients - the part of the soak that bench/load does not do: those who leave in the middle, those who do
not read, and those whose worker dies. They read with the strict client of tests/, so a wrong byte is
a doubt. A thread each; a Crowd starts and ends them."""

import random
import sys
import threading
import time

from benchlib.servers import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from http_client import Connection, ProtocolError, Stream  # noqa: E402: behind the path to it
from surfaces import Chat  # noqa: E402

BOUND_S = 60  # of one exchange
SLOW_RECEIVE_BYTES = 4096
SLOW_READ_BYTES, SLOW_PAUSE_S = 64, 0.5
DOUBTS_KEPT = 10

CHAT = Chat()


class Tally:
    """Counts by name, and doubts: the first of them in words. Shared by all threads."""

    def __init__(self):
        self.counts = {}
        self.doubts = []
        self.doubt_count = 0
        self.lock = threading.Lock()

    def add(self, name, count=1):
        with self.lock:
            self.counts[name] = self.counts.get(name, 0) + count

    def doubt(self, words):
        with self.lock:
            self.doubt_count += 1
            if len(self.doubts) < DOUBTS_KEPT:
                self.doubts.append(words)


class Request:
    """What is asked of a model, and what it says: told once, by an undisturbed answer."""

    def __init__(self, port, model, max_tokens):
        self.port, self.model, self.max_tokens = port, model, max_tokens
        with Connection(port, BOUND_S) as connection:
            answer = CHAT.read(connection.exchange(self.data()), True)
        if answer.error or not answer.text:
            raise ProtocolError(f"{model} does not answer: {answer}")
        self.text = answer.text

    def data(self):
        return CHAT.request("Tell me a story about a fox.", True, model=self.model, max_tokens=self.max_tokens,
                            temperature=0)


class Crowd:
    """Threads that do one thing again and again until they are told to end."""

    def __init__(self, count, turn, tally, seed):
        self.over = threading.Event()
        self.tally = tally
        self.threads = [threading.Thread(target=self._run, args=(turn, random.Random(f"{seed}/{at}")))
                        for at in range(count)]

    def _run(self, turn, dice):
        while not self.over.is_set():
            try:
                turn(self.tally, dice, self.over)
            except (ProtocolError, OSError, ValueError, KeyError) as error:
                self.tally.doubt(f"{turn.__name__}: {type(error).__name__}: {error}"[:400])
                self.over.wait(0.1)  # or one who is refused at once would ask without end

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


def leaver(request):
    """Reads a random part of a stream, checks what it got, and leaves: with FIN or with RST."""
    def leave(tally, dice, _over):
        wanted = int(len(request.text) * dice.random())
        with Connection(request.port, BOUND_S) as connection:
            stream, text = connection.stream(request.data()), ""
            while len(text) < wanted and (event := stream.next_event()) is not None:
                text += text_of(event)
            if not request.text.startswith(text):
                raise ProtocolError(f"not how it begins: {text[-80:]!r}")
            if dice.random() < 0.5:
                connection.reset()
        tally.add("left in the middle")
    return leave


def text_of(event):
    if event.data == "[DONE]":
        return ""
    value = event.json()
    if "error" in value:
        raise ProtocolError(f"an error event: {value['error']}")
    return "".join(choice["delta"].get("content") or "" for choice in value["choices"])


def slow_reader(request):
    """Reads a stream some bytes at a time, through a small window; leaves when the lap is over. What it
    got must be how the stream begins."""
    def read_slowly(tally, _dice, over):
        with Connection(request.port, BOUND_S, receive_bytes=SLOW_RECEIVE_BYTES) as connection:
            connection.send(request.data())
            refill = connection.receive
            connection.input.refill = lambda: refill(SLOW_READ_BYTES)
            stream, text = Stream(connection, "POST"), ""
            while not over.wait(SLOW_PAUSE_S) and (event := stream.next_event()) is not None:
                text += text_of(event)
            if not request.text.startswith(text):
                raise ProtocolError(f"not how it begins: {text[-80:]!r}")
        tally.add("read slowly")
    return read_slowly


def victim(request):
    """Reads a stream whose worker may be killed: it is whole, or it ends with worker_lost behind a right
    beginning and with the terminator. Nobody is refused, nobody is cut off."""
    def survive(tally, _dice, _over):
        with Connection(request.port, BOUND_S) as connection:
            answer = CHAT.read(connection.exchange(request.data()), True)
        if answer.error is None:
            if answer.text != request.text:
                raise ProtocolError(f"whole, and wrong: {answer.text[-80:]!r}")
            tally.add("whole though a worker died near them")
            return
        if answer.error["code"] != "worker_lost" or not request.text.startswith(answer.text):
            raise ProtocolError(f"{answer.error} behind {answer.text[-80:]!r}")
        tally.add("ended as worker_lost")
    return survive


def wait_until(check, seconds):
    """False: it did not become true in time."""
    until = time.monotonic() + seconds
    while not check():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
