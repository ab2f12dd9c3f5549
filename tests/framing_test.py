"""framing - requests however they are cut, many at once, and forms that two servers could read
differently (docs/http-strictness.md)."""

import unittest

from harness import Server, main
from http_client import parse_responses, request
from surfaces import infer, generate

SMUGGLED = request("GET", "/v1/models")


class Framing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(dummy_text="Hello", dummy_tokens=1, dummy_delay_ms=0)
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)

    def pause(self):
        """What was sent so far is read: another request was served meanwhile, on each thread."""
        for _ in range(4):
            self.server.get("/live")

    # --- cuts ---

    def requests(self):
        chunked = (request("POST", "/generate", fields=[("Transfer-Encoding", "chunked")]) +
                   b'5\r\n{"pro\r\n00a\r\nmpt":"xyz"\r\n1\r\n}\r\n0\r\nTrailer: x\r\n\r\n')
        return (generate.request("你好", False), infer.request("你好", True), chunked)

    def test_a_request_cut_at_every_byte(self):
        for data in self.requests():
            want = self.server.exchange(data).status
            self.assertEqual(want, 200)
            connections = [self.server.connect() for _ in range(1, len(data))]
            for cut, connection in enumerate(connections, 1):
                connection.send(data[:cut])
            self.pause()
            for cut, connection in enumerate(connections, 1):
                connection.send(data[cut:])
            for cut, connection in enumerate(connections, 1):
                with self.subTest(cut=cut):
                    self.assertIn("Hello", connection.response("POST").text())
                connection.close()

    def test_a_request_dribbled_byte_by_byte(self):
        for data in self.requests():
            connections = [self.server.connect() for _ in range(8)]
            for byte in data:  # eight in turn: the server reads each byte by itself
                for connection in connections:
                    connection.send(bytes([byte]))
            for connection in connections:
                self.assertIn("Hello", connection.response("POST").text())
                connection.close()

    def test_a_client_that_leaves_at_every_byte(self):
        data = infer.request("x", True)
        for cut in range(len(data)):
            connection = self.server.connect()
            connection.send(data[:cut])
            connection.close() if cut % 2 else connection.reset()
        self.server.wait_idle()

    # --- many ---

    def test_1000_pipelined(self):
        one = request("GET", "/live")
        with self.server.connect() as connection:
            connection.send(one * 999 + request("GET", "/live", fields=[("Connection", "close")]))
            data, was_reset = connection.read_to_end()
        self.assertFalse(was_reset)
        self.assertEqual([response.status for response in parse_responses(data, ["GET"] * 1000)], [200] * 1000)

    def test_pipelined_answers_come_in_order(self):
        """Streams, whole answers and errors mixed; each in its turn."""
        with self.server.connect() as connection:
            turns = [(infer.request("x", True), 200), (generate.request("x", False), 200),
                     (request("GET", "/nothing"), 404), (request("POST", "/generate", b"{"), 400),
                     (infer.request("x", False, max_tokens=1), 200)] * 20
            connection.send(b"".join(data for data, _ in turns))
            for _, status in turns:
                self.assertEqual(connection.response("POST").status, status)

    def test_more_than_is_kept_while_a_reply_is_due_ends_the_connection(self):
        """Input that nobody can serve yet is bounded; the server neither grows nor hangs."""
        with self.server.connect() as connection:
            sent = connection.send_until_refused([request("GET", "/live", fields=[("X", "y" * 4000)])] * 10000)
            data, _ = connection.read_to_end()
            self.assertLess(sent, 40_000_000)
            self.assertIn(b"HTTP/1.1 200 OK", data)

    # --- what is refused ---

    def refused(self, name, data, status):
        """One answer, then the end: what was smuggled behind is never served."""
        with self.subTest(name), self.server.connect() as connection:
            connection.send(data + SMUGGLED)
            answers, _ = connection.read_to_end()
            (response,) = parse_responses(answers, ["POST"])
            self.assertEqual(response.status, status, response)
            self.assertFalse(response.keeps_alive())
            response.error()

    def test_smuggling(self):
        def post(*lines, version="1.1", body=b""):
            return "\r\n".join([f"POST /generate HTTP/{version}", "Host: localhost", *lines, "", ""]).encode(
                "latin-1") + body

        body = b'{"prompt":"x"}'
        zero = b"0\r\n\r\n"
        length, chunked = "Content-Length: 14", "Transfer-Encoding: chunked"
        for name, data, status in (
                ("both lengths", post(length, chunked, body=zero), 400),
                ("both, the other way round", post(chunked, "Content-Length: 5", body=zero), 400),
                ("two equal lengths", post(length, length, body=body), 400),
                ("two lengths", post(length, "Content-Length: 0", body=body), 400),
                ("a list of lengths", post("Content-Length: 14, 14", body=body), 400),
                ("a sign", post("Content-Length: +14", body=body), 400),
                ("minus", post("Content-Length: -1", body=body), 400),
                ("hex", post("Content-Length: 0xe", body=body), 400),
                ("a leading zero", post("Content-Length: 014", body=body), 400),
                ("trailing letters", post("Content-Length: 14x", body=body), 400),
                ("no length", post("Content-Length: ", body=body), 400),
                ("a length beyond 64 bits", post("Content-Length: 18446744073709551630", body=body), 413),
                ("space before the colon", post("Content-Length : 14", body=body), 400),
                ("space before the coding's colon", post("Transfer-Encoding : chunked", body=zero), 400),
                ("tab before the colon", post("Content-Length\t: 14", body=body), 400),
                ("obs-fold", post("X: y", " Content-Length: 14", body=body), 400),
                ("a folded coding", post("Transfer-Encoding:", " chunked", body=zero), 400),
                ("a first line that is folded", b"GET /live HTTP/1.1\r\n Host: localhost\r\n\r\n", 400),
                ("bare LF", post(length, body=body).replace(b"\r\n", b"\n", 1), 400),
                ("bare LF after a field", post("X: y\nContent-Length: 14", body=body), 400),
                ("bare LF at the end", post(length).replace(b"\r\n\r\n", b"\r\n\n"), 400),
                ("bare CR", post("X: y\rContent-Length: 14", body=body), 400),
                ("NUL in a value", post("X: y\0z", length, body=body), 400),
                ("NUL in a name", post("X\0: y", length, body=body), 400),
                ("a name with a space", post("X Y: z", length, body=body), 400),
                ("no colon", post("Nonsense", length, body=body), 400),
                ("an empty name", post(": y", length, body=body), 400),
                ("two hosts", post("Host: localhost", length, body=body), 400),
                ("no host", b"GET /live HTTP/1.1\r\n\r\n", 400),
                ("an empty host", b"GET /live HTTP/1.1\r\nHost:\r\n\r\n", 400),
                ("a list of hosts", b"GET /live HTTP/1.1\r\nHost: localhost, evil\r\n\r\n", 400),
                ("user info", b"GET /live HTTP/1.1\r\nHost: me@localhost\r\n\r\n", 400),
                ("another coding", post("Transfer-Encoding: gzip, chunked", body=zero), 501),
                ("identity", post("Transfer-Encoding: identity", body=zero), 400),
                ("chunked, not last", post("Transfer-Encoding: chunked, gzip", body=zero), 400),
                ("chunked twice", post(chunked, chunked, body=zero), 400),
                ("chunked with a parameter", post("Transfer-Encoding: chunked;x=y", body=zero), 400),
                ("chunked with a tab", post("Transfer-Encoding:\tchunked", body=zero), 400),
                ("xchunked", post("Transfer-Encoding: xchunked", body=zero), 400),
                ("chunked on 1.0", post(chunked, version="1.0", body=zero), 400),
                ("a size with 0x", post(chunked, body=b"0xe\r\n" + body + b"\r\n0\r\n\r\n"), 400),
                ("a size with a sign", post(chunked, body=b"+e\r\n" + body + b"\r\n0\r\n\r\n"), 400),
                ("no size", post(chunked, body=b"\r\n" + body + b"\r\n0\r\n\r\n"), 400),
                ("a size of 17 digits", post(chunked, body=b"0" * 16 + b"e\r\n" + body + b"\r\n0\r\n\r\n"), 400),
                ("a size that wraps around", post(chunked, body=b"ffffffffffffffff\r\n" + body), 413),
                ("an extension", post(chunked, body=b"e;x=y\r\n" + body + b"\r\n0\r\n\r\n"), 400),
                ("a space behind the size", post(chunked, body=b"e \r\n" + body + b"\r\n0\r\n\r\n"), 400),
                ("a size line with bare LF", post(chunked, body=b"e\n" + body + b"\r\n0\r\n\r\n"), 400),
                ("no CR LF behind the data", post(chunked, body=b"e\r\n" + body + b"XX0\r\n\r\n"), 400),
                ("bare LF behind the data", post(chunked, body=b"e\r\n" + body + b"\n0\r\n\r\n"), 400),
                ("a length in the trailer", post(chunked, body=b"e\r\n" + body + b"\r\n0\r\nContent-Length: 1\r\n\r\n"),
                 400),
                ("a folded trailer", post(chunked, body=b"e\r\n" + body + b"\r\n0\r\nX: y\r\n z\r\n\r\n"), 400),
                ("absolute form", b"GET http://localhost/live HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
                ("authority form", b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
                ("a fragment", b"GET /live#x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
                ("two spaces", b"GET  /live HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
                ("a space in the target", b"GET /li ve HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
                ("a byte above 0x7e", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
                ("* with GET", b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
                ("HTTP/0.9", b"GET /live\r\n", 400),
                ("HTTP/9.9", b"GET /live HTTP/9.9\r\nHost: localhost\r\n\r\n", 505),
                ("HTTP/1.2", b"GET /live HTTP/1.2\r\nHost: localhost\r\n\r\n", 505),
                ("http/1.1", b"GET /live http/1.1\r\nHost: localhost\r\n\r\n", 400),
                ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
                ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 505),
                ("a method with a bracket", b"G[T /live HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
                ("space before the method", b" GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
                ("two empty lines first", b"\r\n\r\nGET /live HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
                ("another expectation", post("Expect: 200-ok", length, body=body), 417)):
            self.refused(name, data, status)

    def test_what_we_cannot_do_has_codes_of_its_own(self):
        for field, status, code in (("Transfer-Encoding: gzip, chunked", 501, "not_implemented"),
                                    ("Expect: a-miracle", 417, "expectation_failed")):
            data = f"POST /generate HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n".encode()
            response = self.server.exchange(data)
            self.assertEqual((response.status, response.error()["code"]), (status, code))

    def test_one_empty_line_first_is_fine(self):
        self.assertEqual(self.server.exchange(b"\r\n" + request("GET", "/live"), "GET").status, 200)

    # --- 100-continue ---

    def test_100_continue_comes_before_the_body_is_sent(self):
        head, body = request("POST", "/generate", b'{"prompt":"x"}', [("Expect", "100-continue")]).split(b"\r\n\r\n")
        with self.server.connect() as connection:
            connection.send(head + b"\r\n\r\n")
            self.assertEqual(connection.input.take(25), b"HTTP/1.1 100 Continue\r\n\r\n")
            response = connection.exchange(body)
            self.assertEqual((response.status, response.interim), (200, []))

    def test_a_body_that_came_along_needs_no_100(self):
        data = request("POST", "/generate", b'{"prompt":"x"}', [("Expect", "100-continue")])
        response = self.server.exchange(data)
        self.assertEqual(response.status, 200)
        self.assertIn(response.interim, ([], [100]))  # RFC 9110 10.1.1: MAY omit

    def test_who_is_refused_gets_no_100(self):
        for target, length, fields, status in (("/generate", 10**9, [], 413), ("/nothing", 5, [], 404),
                                               ("/health", 5, [], 405),
                                               ("/generate", 5, [("Origin", "http://evil.example")], 403)):
            head = request("POST", target, fields=[*fields, ("Expect", "100-continue"), ("Content-Length", length)])
            with self.subTest(status=status), self.server.connect() as connection:
                response = connection.exchange(head)
                self.assertEqual((response.status, response.interim, response.keeps_alive()), (status, [], False))
                connection.expect_end()

    def test_a_client_of_http_10_gets_no_100(self):
        data = request("POST", "/generate", b'{"prompt":"x"}', [("Expect", "100-continue")], version="1.0")
        self.assertEqual(self.server.exchange(data).interim, [])


if __name__ == "__main__":
    main()
