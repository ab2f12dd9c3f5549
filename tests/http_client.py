"""http_client - a strict HTTP/1.1 and event-stream client on a raw socket.

It takes the bytes apart by hand and fails on whatever a careful client could trip over: a library
would repair it unseen. Nothing here waits without a bound (README.md, rule 2).
"""

import json
import os
import re
import socket
import struct
import time
from typing import NamedTuple, Optional

# The bound of a wait that should take milliseconds, on a busy machine. A lower one saves time when
# something is known to be broken.
WAIT_S = int(os.environ.get("MILLRACE_WAIT_S", 60))

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ([ -~]+)")
FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([!-~\x80-\xff](?:[ -~\x80-\xff]*[!-~\x80-\xff])?)")
CHUNK_LINE = re.compile(rb"0|[1-9a-f][0-9a-f]{0,15}")
DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
                  r" \d{4} \d\d:\d\d:\d\d GMT")
LINE_MAX_BYTES = 64 * 1024


class ProtocolError(AssertionError):
    """The server sent what it must not send."""


class Closed(ProtocolError):
    """The connection ended (FIN) where more was due."""


class Reset(Closed):
    """The connection was reset (RST)."""


class Input:
    """Bytes to take from the front. refill() brings more, b"" at the end."""

    def __init__(self, refill):
        self.bytes = bytearray()
        self.refill = refill

    def fill(self):
        piece = self.refill()
        if not piece:
            raise Closed(f"the connection ended after {bytes(self.bytes[-200:])!r}")
        self.bytes += piece

    def take(self, count):
        while len(self.bytes) < count:
            self.fill()
        taken = bytes(self.bytes[:count])
        del self.bytes[:count]
        return taken

    def take_line(self):
        """Up to CR LF, which goes; neither may stand alone."""
        while (end := self.bytes.find(b"\r\n")) < 0:
            if len(self.bytes) > LINE_MAX_BYTES:
                raise ProtocolError(f"a line without an end: {bytes(self.bytes[:200])!r}...")
            self.fill()
        line = bytes(self.bytes[:end])
        del self.bytes[:end + 2]
        if b"\n" in line or b"\r" in line:
            raise ProtocolError(f"a bare CR or LF in {line!r}")
        return line

    def is_at_end(self):
        if not self.bytes:
            self.bytes += self.refill()
        return not self.bytes


# --- responses ---


class Response:
    def __init__(self, status, reason, fields):
        self.status = status
        self.reason = reason
        self.fields = fields  # [(name, value)]
        self.body = b""
        self.interim = []  # status of each 1xx before it

    def field(self, name):
        """The value of the one field of that name; None without one."""
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        if len(values) > 1:
            raise ProtocolError(f"{len(values)} fields {name}")
        return values[0] if values else None

    def keeps_alive(self):
        return self.field("Connection") == "keep-alive"

    def text(self):
        return self.body.decode("utf-8")

    def json(self):
        if self.field("Content-Type") != "application/json":
            raise ProtocolError(f"not JSON but {self.field('Content-Type')}: {self.body[:200]!r}")
        return json.loads(self.text())

    def error(self):
        """The error object of the surface, checked for its form."""
        error = self.json()["error"]
        if list(error) != ["message", "type", "param", "code"] or not error["message"]:
            raise ProtocolError(f"not an error of ours: {error}")
        return error

    def __repr__(self):
        return f"<{self.status} {self.reason} {self.fields} {self.body[:300]!r}>"


def read_head(source):
    match = STATUS_LINE.fullmatch(line := source.take_line())
    if not match:
        raise ProtocolError(f"not a status line: {line!r}")
    fields = []
    while line := source.take_line():
        field = FIELD_LINE.fullmatch(line)
        if not field:
            raise ProtocolError(f"not a field: {line!r}")
        fields.append((field[1].decode(), field[2].decode("latin-1")))
    response = Response(int(match[1]), match[2].decode(), fields)
    if response.status >= 200:
        check_head(response)
    return response


def check_head(response):
    if not DATE.fullmatch(response.field("Date") or ""):
        raise ProtocolError(f"Date: {response.field('Date')}")
    if response.field("Connection") not in ("keep-alive", "close"):
        raise ProtocolError(f"Connection: {response.field('Connection')}")


def body_pieces(source, response, method):
    """The body as it comes, without its framing. RFC 9112 6.3, and nothing ambiguous."""
    coding, length = response.field("Transfer-Encoding"), response.field("Content-Length")
    if response.status < 200 or response.status in (204, 304):
        if coding is not None or length is not None:
            raise ProtocolError(f"a {response.status} that speaks of a body: {response}")
        return
    if method == "HEAD":
        return
    if coding is not None:
        if coding != "chunked" or length is not None:
            raise ProtocolError(f"Transfer-Encoding: {coding}, Content-Length: {length}")
        yield from chunks(source)
    elif length is not None:
        if not re.fullmatch("0|[1-9][0-9]*", length):
            raise ProtocolError(f"Content-Length: {length}")
        yield source.take(int(length))
    elif response.keeps_alive():
        raise ProtocolError(f"a body without an end: {response}")
    else:
        while not source.is_at_end():
            yield source.take(len(source.bytes))


def chunks(source):
    while True:
        if not CHUNK_LINE.fullmatch(line := source.take_line()):
            raise ProtocolError(f"not a chunk size: {line!r}")
        size = int(line, 16)
        data = source.take(size)
        if (end := source.take(2)) != b"\r\n":
            raise ProtocolError(f"a chunk of {size} bytes ends in {end!r}")
        if size == 0:
            return
        yield data


def read_response(source, method="GET"):
    interim = []
    while (response := read_head(source)).status < 200:
        interim.append(response.status)
    response.interim = interim
    response.body = b"".join(body_pieces(source, response, method))
    return response


def parse_responses(data, methods):
    """The responses that `data` is made of, exactly, one for each request's method."""
    rest = [data]
    source = Input(lambda: rest.pop() if rest else b"")
    responses = [read_response(source, method) for method in methods]
    if not source.is_at_end():
        raise ProtocolError(f"more than {len(methods)} responses: {bytes(source.bytes[:200])!r}")
    return responses


# --- event streams ---


class Event(NamedTuple):
    data: str
    name: Optional[str] = None
    id: Optional[str] = None

    def json(self):
        return json.loads(self.data)


PING = object()
PING_BYTES = b": ping\n"
FIELD = re.compile(r"(event|id|data): ([^\r\n]*)")


class EventReader:
    """Bytes of an event stream in, events and PINGs out. What our server writes, and no more: fields
    with one space behind the colon, one line of data, LF."""

    def __init__(self):
        self.bytes = bytearray()

    def feed(self, piece):
        """What is whole with this piece."""
        self.bytes += piece
        items = []
        while (item := self._next()) is not None:
            items.append(item)
        return items

    def check_end(self):
        if self.bytes:
            raise ProtocolError(f"the stream ends inside {bytes(self.bytes)!r}")

    def _next(self):
        if self.bytes.startswith(PING_BYTES):
            del self.bytes[:len(PING_BYTES)]
            return PING
        if self.bytes[:1] == b":" and not PING_BYTES.startswith(self.bytes):
            raise ProtocolError(f"not a ping: {bytes(self.bytes[:80])!r}")
        end = self.bytes.find(b"\n\n")
        if end < 0:
            return None
        event = self._event(bytes(self.bytes[:end]).decode("utf-8"))
        del self.bytes[:end + 2]
        return event

    @staticmethod
    def _event(block):
        fields = {}
        for line in block.split("\n"):
            match = FIELD.fullmatch(line)
            if not match or match[1] in fields or "data" in fields:
                raise ProtocolError(f"not an event of ours: {block!r}")
            fields[match[1]] = match[2]
        if "data" not in fields:
            raise ProtocolError(f"an event without data: {block!r}")
        return Event(fields["data"], fields.get("event"), fields.get("id"))


def parse_events(body):
    """All events of a whole body; pings are left out."""
    reader = EventReader()
    items = reader.feed(body)
    reader.check_end()
    return [item for item in items if item is not PING]


class Stream:
    """A streamed answer: its head, and items as they come."""

    def __init__(self, connection, method):
        self.head = read_head(connection.input)
        self.body = b""  # all of it so far, for tests of exact bytes
        self._connection = connection
        self._pieces = body_pieces(connection.input, self.head, method)
        self._reader = EventReader()
        self._items = []
        if self.head.status != 200:
            self.head.body = b"".join(self._pieces)

    def next(self):
        """An Event, PING, or None at the end."""
        while not self._items:
            piece = next(self._pieces, None)
            if piece is None:
                self._reader.check_end()
                return None
            self.body += piece
            self._items = self._reader.feed(piece)
        return self._items.pop(0)

    def next_event(self):
        while (item := self.next()) is PING:
            pass
        return item

    def events(self):
        """The rest of them, to the end."""
        while (event := self.next_event()) is not None:
            yield event


# --- the connection ---


def request(method, target, body=None, fields=(), host="localhost", version="1.1"):
    """The bytes of one request. A dict or list as the body becomes JSON."""
    if isinstance(body, (dict, list)):
        body = json.dumps(body, ensure_ascii=False).encode()
    lines = [f"{method} {target} HTTP/{version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


class Connection:
    """One TCP connection to the server under test; all it does together is bounded by seconds."""

    def __init__(self, port, seconds=WAIT_S, receive_bytes=None, host="127.0.0.1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.until = time.monotonic() + seconds
        if receive_bytes:  # before connect: it sets the window
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._bound()
        try:
            self.socket.connect((host, port))
        except OSError:
            self.socket.close()
            raise
        self.input = Input(self.receive)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _bound(self):
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time of this connection is up")
        self.socket.settimeout(left)

    def receive(self, count=65536):
        """What the kernel has, or waits for some; b"" at the end. For those who read past self.input."""
        self._bound()
        try:
            return self.socket.recv(count)
        except ConnectionResetError:
            raise Reset(f"reset after {bytes(self.input.bytes[-200:])!r}") from None

    def send(self, data):
        self._bound()
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Reset("reset while sending") from None

    def send_until_refused(self, pieces):
        """Sends until the server closes; how many bytes the kernel took by then."""
        sent = 0
        for piece in pieces:
            try:
                self.send(piece)
            except Reset:
                break
            sent += len(piece)
        return sent

    def response(self, method="GET"):
        return read_response(self.input, method)

    def exchange(self, data, method="POST"):
        self.send(data)
        return self.response(method)

    def stream(self, data, method="POST"):
        """Sends a request and reads the head of its answer."""
        self.send(data)
        return Stream(self, method)

    def expect_end(self):
        """Nothing more comes but the end (FIN)."""
        if not self.input.is_at_end():
            raise ProtocolError(f"more came: {bytes(self.input.bytes[:200])!r}")

    def read_to_end(self):
        """(everything that still comes, whether it ended by RST)."""
        data = bytearray(self.input.bytes)
        self.input.bytes.clear()
        try:
            while piece := self.receive():
                data += piece
        except Reset:
            return bytes(data), True
        return bytes(data), False

    def close(self):
        self.socket.close()

    def reset(self):
        """RST instead of FIN: what a client that crashes or gives up sends."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
