"""harness_test - the tools of the scenarios themselves: does a check fail when it should? Needs no
millrace: bytes come from lists, a scripted socket, and programs of a few lines."""

import os
import socket
import stat
import sys
import tempfile
import threading
import unittest
from pathlib import Path

import harness
from http_client import (PING, Closed, Connection, EventReader, Input, ProtocolError, Reset,
                         parse_events, parse_responses, read_response, request)
from surfaces import Chat, Completions, GenerateStream, Infer, Inference, Raw

HEAD = (b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: keep-alive\r\n"
        b"Content-Type: application/json\r\n")
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def read(data, method="GET"):
    """Byte by byte: what comes out must not depend on how it came."""
    rest = [bytes([byte]) for byte in reversed(data)]
    return read_response(Input(lambda: rest.pop() if rest else b""), method)


class Reading(unittest.TestCase):
    def test_a_body_by_its_length_or_in_chunks_or_to_the_end(self):
        until_close = HEAD.replace(b"keep-alive", b"close")
        self.assertEqual(read(HEAD + b"Content-Length: 2\r\n\r\n{}").json(), {})
        self.assertEqual(read(CHUNKED + b"3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n").body, b"abc0123456789")
        self.assertEqual(read(until_close + b"\r\nabc").body, b"abc")

    def test_head_and_204_have_no_body(self):
        self.assertEqual(read(HEAD + b"Content-Length: 2\r\n\r\n", "HEAD").body, b"")
        nothing = HEAD.replace(b"200 OK", b"204 No Content")
        self.assertEqual(read(nothing + b"\r\n").status, 204)

    def test_an_interim_response_is_kept(self):
        response = read(b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 0\r\n\r\n")
        self.assertEqual((response.interim, response.status), ([100], 200))

    def test_what_is_wrong_is_refused(self):
        wrong = {
            "a bare LF": HEAD.replace(b"\r\n", b"\n", 1) + b"Content-Length: 0\r\n\r\n",
            "no reason": HEAD.replace(b"200 OK", b"200") + b"Content-Length: 0\r\n\r\n",
            "another version": HEAD.replace(b"1.1", b"1.0") + b"Content-Length: 0\r\n\r\n",
            "space before the colon": HEAD + b"Content-Length : 0\r\n\r\n",
            "no space behind the colon": HEAD + b"Content-Length:0\r\n\r\n",
            "two lengths": HEAD + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
            "a signed length": HEAD + b"Content-Length: +0\r\n\r\n",
            "length and chunked": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "keep-alive without an end": HEAD + b"\r\n",
            "no date": HEAD.replace(b"Date", b"Dote") + b"Content-Length: 0\r\n\r\n",
            "a chunk extension": CHUNKED + b"1;x\r\na\r\n0\r\n\r\n",
            "an upper-case size": CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n",
            "a padded size": CHUNKED + b"01\r\na\r\n0\r\n\r\n",
            "a chunk that is longer": CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
            "a trailer": CHUNKED + b"0\r\nX: y\r\n\r\n",
            "204 with a length": HEAD.replace(b"200 OK", b"204 No Content") + b"Content-Length: 0\r\n\r\n",
        }
        for name, data in wrong.items():
            with self.subTest(name), self.assertRaises(ProtocolError):
                read(data)

    def test_a_response_cut_anywhere_is_not_one(self):
        whole = CHUNKED + b"3\r\nabc\r\n0\r\n\r\n"
        for cut in range(len(whole)):
            with self.assertRaises(Closed):
                read(whole[:cut])

    def test_nothing_may_follow_the_last_of_many(self):
        one = HEAD + b"Content-Length: 2\r\n\r\n{}"
        self.assertEqual(len(parse_responses(one * 3, ["GET"] * 3)), 3)
        with self.assertRaises(ProtocolError):
            parse_responses(one * 3, ["GET"] * 2)


class Events(unittest.TestCase):
    def test_events_and_pings_however_they_are_cut(self):
        body = b'event: token\nid: 1\ndata: {"a":1}\n\n: ping\n: ping\ndata: [DONE]\n\n'
        for cut in range(len(body) + 1):
            reader = EventReader()
            items = reader.feed(body[:cut]) + reader.feed(body[cut:])
            reader.check_end()
            self.assertEqual([item if item is PING else (item.name, item.id, item.data) for item in items],
                             [("token", "1", '{"a":1}'), PING, PING, (None, None, "[DONE]")])

    def test_what_is_wrong_is_refused(self):
        for body in (b": ping\n\ndata: x\n\n", b": pong\n", b"data:x\n\n", b"data: x\r\n\r\ndata: y\n\n",
                     b"data: x\ndata: y\n\n", b"event: x\n\n", b"\n\n", b"data: x\n", b": pin", b"id: 1\nid: 2\n\n"):
            with self.subTest(body), self.assertRaises(ProtocolError):
                parse_events(body)
        with self.assertRaises(UnicodeDecodeError):
            parse_events(b"data: \xf0\x9f\n\n")


def events(*data):
    return parse_events(b"".join(b"data: " + one.encode() + b"\n\n" for one in data))


class Surfaces(unittest.TestCase):
    IDENTITY = ('"id":"cmpl-' + "0" * 32 + '","object":"text_completion","created":1,"model":"m",'
                '"system_fingerprint":"seed_1"')

    def chunk(self, text, finish="null", more=""):
        return ('{' + self.IDENTITY + ',"choices":[{"text":"' + text + '","index":0,"logprobs":null,'
                '"finish_reason":' + finish + '}]' + more + '}')

    def test_a_stream_is_put_together(self):
        answer = Completions().read_stream(events(self.chunk("a"), self.chunk("b"),
                                                  self.chunk("", '"stop"'), "[DONE]"))
        self.assertEqual((answer.text, answer.deltas, answer.finish), ("ab", ["a", "b"], "stop"))

    def test_a_wrong_order_is_refused(self):
        a, end, done = self.chunk("a"), self.chunk("", '"stop"'), "[DONE]"
        for wrong in ([a, end], [a, done, end], [a, end, done, done], [a, end, a, done], [done, done], []):
            with self.subTest(wrong), self.assertRaises(ProtocolError):
                Completions().read_stream(events(*wrong))

    def test_an_empty_delta_and_a_strange_member_are_refused(self):
        for wrong in (self.chunk(""), self.chunk("a", more=',"x":1')):
            with self.subTest(wrong), self.assertRaises(ProtocolError):
                Completions().read_stream(events(wrong, "[DONE]"))
        for surface, wrong in ((Infer(), '{"token":"a","x":1}'), (Inference(), '{"event":"token","t":"a","i":1}'),
                               (Raw(Infer()), '{"delta":"a"}')):
            with self.subTest(surface.name), self.assertRaises(ProtocolError):
                surface.read_stream(events(wrong, "[DONE]"))

    def test_generate_ends_in_done_once(self):
        token, done = b'event: token\ndata: {"token":"a"}\n\n', (
            b'event: done\ndata: {"tokens_generated":1,"finish_reason":"stop"}\n\n')
        self.assertEqual(GenerateStream().read_stream(parse_events(token + done)).text, "a")
        for wrong in (token + done + done, done + token):
            with self.assertRaises(ProtocolError):
                GenerateStream().read_stream(parse_events(wrong))

    def test_the_request_of_raw_names_the_form(self):
        line = Raw(Chat()).request("x", True).split(b"\r\n")[0]
        self.assertEqual(line, b"POST /v1/chat/completions?format=raw HTTP/1.1")


class Scripted:
    """A server of one connection: script(socket) says what it does."""

    def __init__(self, script):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._run, args=(script,))

    def _run(self, script):
        accepted, _ = self.listener.accept()
        accepted.settimeout(30)
        with accepted:
            script(accepted)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join()
        self.listener.close()


class Connecting(unittest.TestCase):
    def test_a_request_and_its_stream(self):
        def script(peer):
            self.assertEqual(peer.recv(65536), request("GET", "/x"))
            peer.sendall(CHUNKED + b"9\r\ndata: a\n\n\r\n7\r\n: ping\n\r\n")
            peer.recv(1)  # it has been read
            peer.sendall(b"9\r\ndata: b\n\n\r\n0\r\n\r\n")

        with Scripted(script) as server, Connection(server.port) as connection:
            stream = connection.stream(request("GET", "/x"), "GET")
            self.assertEqual((stream.next().data, stream.next()), ("a", PING))
            connection.send(b"!")
            self.assertEqual([event.data for event in stream.events()], ["b"])

    def test_silence_has_a_bound(self):
        with Scripted(lambda peer: peer.recv(1)) as server, Connection(server.port, seconds=0.05) as connection:
            with self.assertRaises(TimeoutError):
                connection.response()
            connection.until += 30
            connection.send(b"!")

    def test_fin_and_rst_are_told_apart(self):
        def reset(peer):
            peer.recv(1)  # less than was sent: closing resets
            peer.close()

        with Scripted(reset) as server, Connection(server.port) as connection:
            connection.send(b"two")
            with self.assertRaises(Reset):
                connection.response()
        with Scripted(lambda peer: peer.recv(1)) as server, Connection(server.port) as connection:
            connection.send(b"1")
            connection.expect_end()


PROGRAM = """#!{python}
import signal, sys
def end(*_):
    {at_end}
signal.signal(signal.SIGTERM, end)
print("millrace 0 is listening on http://127.0.0.1:1", flush=True)
while True:
    signal.pause()
"""


class Processes(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.addCleanup(setattr, harness, "MILLRACE", harness.MILLRACE)
        harness.MILLRACE = str(Path(self.folder.name) / "program")
        self.stderr, sys.stderr = sys.stderr, open(os.devnull, "w")  # logs of what fails as it should
        self.addCleanup(lambda: (sys.stderr.close(), setattr(sys, "stderr", self.stderr)))

    def program(self, text):
        Path(harness.MILLRACE).write_text(text)
        os.chmod(harness.MILLRACE, stat.S_IRWXU)

    def test_a_clean_end_is_fine(self):
        self.program(PROGRAM.format(python=sys.executable, at_end="sys.exit(0)"))
        with harness.Server(ready=None) as server:
            self.assertEqual(server.port, 1)
            self.assertGreater(server.rss_bytes(), 0)
            self.assertGreater(server.fd_count(), 0)

    def test_an_unclean_end_is_a_failure(self):
        for at_end in ("sys.exit(3)", "sys.stderr.write('ERROR: LeakSanitizer: x'); sys.exit(0)",
                       "sys.stderr.write('a.c:1: f: broken invariant: x'); sys.exit(0)"):
            self.program(PROGRAM.format(python=sys.executable, at_end=at_end))
            with self.subTest(at_end), self.assertRaises(harness.Failure):
                with harness.Server(ready=None):
                    pass

    def test_who_does_not_end_is_killed(self):
        self.program(PROGRAM.format(python=sys.executable, at_end="return"))
        with self.assertRaises(harness.Failure):
            with harness.Server(ready=None) as server:
                server.signal()
                server.wait_exit(seconds=0.1)
        self.assertIsNotNone(server.process.returncode)

    def test_a_wrong_first_line_or_none_is_a_failure(self):
        for text in ("#!/bin/sh\necho hello\nexec sleep 100\n", "#!/bin/sh\nexit 1\n"):
            self.program(text)
            with self.subTest(text), self.assertRaises(harness.Failure):
                with harness.Server(ready=None):
                    pass

    def test_a_condition_that_never_holds_is_a_failure(self):
        with self.assertRaises(harness.Failure):
            harness.eventually(lambda: False, "never", seconds=0.05)


if __name__ == "__main__":
    harness.main()
