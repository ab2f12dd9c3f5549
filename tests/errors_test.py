"""errors - every refusal that a client can provoke now: its status, type, code, the field it names,
and that the server goes on (http-api.md sections 1, 5 and 8)."""

import unittest
from urllib.parse import quote

from harness import Server, eventually, main
from http_client import Reset, request
from surfaces import SURFACES, completions

TYPES = {400: "invalid_request_error", 403: "permission_error", 429: "rate_limit_error"}
MIB = 1024 * 1024


def nested(depth):
    return b"[" * depth + b"]" * depth


class Errors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(dummy_delay_ms=0, dummy_tokens=2, dummy_text="ok")
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)

    def check(self, response, status, code, param=None):
        self.assertEqual(response.status, status, response)
        error = response.error()
        kind = TYPES.get(status, "server_error" if status >= 500 else TYPES[400])
        self.assertEqual((error["type"], error["code"], error["param"]), (kind, code, param), error)
        if status in (429, 503):
            self.assertGreaterEqual(int(response.field("Retry-After")), 1)
        return error

    def refused(self, target, body, status, code, param=None, fields=()):
        with self.subTest(target, body=body[:80] if isinstance(body, bytes) else body):
            return self.check(self.server.post(target, body, fields), status, code, param)

    # --- bodies ---

    def test_what_is_not_json(self):
        for target in ("/v1/completions", "/v1/chat/completions", "/v1/infer", "/v1/inference", "/generate"):
            for body in (b"", b"{", b"nonsense", b'{"prompt":"x"', b'{"prompt":"x"}}', b'{"prompt":"x",}',
                         b"{'prompt':'x'}", b'{"prompt":"\n"}', b'{"prompt":"\\x"}', b'{"a":1,"a":2}',
                         b'{"prompt":"\xff\xfe"}', b'{"prompt":"\xed\xa0\x80"}', b'{"prompt":"\xc0\xaf"}',
                         b'\xef\xbb\xbf{"prompt":"x"}\x00', b'{"prompt":"x"}\x00', b'{"prompt":"\\u0000"}'):
                self.refused(target, body, 400, "invalid_json")

    def test_json_that_is_no_object(self):
        for target in ("/v1/completions", "/v1/chat/completions", "/v1/infer", "/v1/inference", "/generate",
                       "/generate/stream"):
            for body in (b"[]", b"[1]", b'"prompt"', b"1", b"null", b"true", b" [] "):
                error = self.refused(target, body, 400, "invalid_type")
                self.assertIn("object", error["message"])

    def test_depth_has_a_limit(self):
        def body(depth):
            return b'{"prompt":"x","unknown":' + nested(depth - 1) + b"}"

        self.assertEqual(self.server.post("/generate", body(63)).status, 200)
        self.assertEqual(self.server.post("/generate", body(64)).status, 200)
        self.refused("/generate", body(65), 400, "invalid_json")
        for deep in (nested(100000), b"[" * 100000, b'{"a":' * 100000, body(100000)):
            self.refused("/generate", deep, 400, "invalid_json")

    def test_what_values_take_has_a_limit(self):
        """Two megabytes of a body of eight at most; as values they would be more than 128 MiB."""
        body = b'{"prompt":"x","unknown":[' + b"{}," * 700_000 + b"0]}"
        error = self.refused("/generate", body, 400, "invalid_json")
        self.assertIn("128 MiB", error["message"])
        self.assertEqual(self.server.post("/generate", {"prompt": "x"}).status, 200)

    def test_types_and_ranges_are_named(self):
        for member, value, code in (
                ("model", 7, "invalid_type"), ("prompt", 7, "invalid_type"), ("prompt", {}, "invalid_type"),
                ("max_tokens", "7", "invalid_type"), ("max_tokens", 1.5, "invalid_type"),
                ("max_tokens", 0, "invalid_value"), ("max_tokens", -1, "invalid_value"),
                ("max_tokens", 2**20 + 1, "invalid_value"), ("temperature", "hot", "invalid_type"),
                ("temperature", -0.1, "invalid_value"), ("temperature", 101, "invalid_value"),
                ("top_p", 1.1, "invalid_value"), ("min_p", -1, "invalid_value"), ("top_k", -2, "invalid_value"),
                ("frequency_penalty", 2.1, "invalid_value"), ("presence_penalty", -2.1, "invalid_value"),
                ("repeat_penalty", 0, "invalid_value"), ("seed", "x", "invalid_type"),
                ("typical_p", 1.1, "invalid_value"), ("mirostat", 3, "invalid_value"),
                ("dry_sequence_breakers", ["x" * 41], "invalid_value"), ("samplers", ["infill"], "invalid_value"),
                ("adaptive_target", 0.5, "unsupported_parameter"),
                ("ignore_eos", 1, "invalid_type"), ("stop", 1, "invalid_type"), ("stop", [1], "invalid_type"),
                ("stop", "", "invalid_value"), ("stop", ["x"] * 17, "invalid_value"),
                ("stop", "x" * 257, "invalid_value"), ("logit_bias", [], "invalid_type"),
                ("logit_bias", {"x": 1}, "invalid_value"), ("logit_bias", {"1": 101}, "invalid_value"),
                ("priority", "urgent", "invalid_value"), ("session_id", 1, "invalid_type")):
            for target in ("/v1/completions", "/generate", "/v1/infer", "/v1/inference"):
                self.refused(target, {"prompt": "x", member: value}, 400, code, member)

    def test_just_inside_the_ranges_is_fine(self):
        for member, value in (("max_tokens", 2**20), ("max_tokens", 1), ("temperature", 0), ("temperature", 100),
                              ("top_p", 1), ("stop", ["x"] * 16), ("stop", "x" * 256), ("stop", None),
                              ("seed", 2**63 - 1), ("logit_bias", {"1": 100}), ("top_k", 2**31 - 1)):
            with self.subTest(member, value=value):
                self.assertEqual(self.server.post("/generate", {"prompt": "x", member: value}).status, 200)

    def test_a_missing_prompt(self):
        for target in ("/v1/completions", "/v1/infer", "/v1/inference", "/generate", "/generate/stream"):
            self.refused(target, {}, 400, "missing_parameter", "prompt")
            self.refused(target, {"prompt": None}, 400, "missing_parameter", "prompt")
        for prompt, code in (([], "invalid_type"), ([[]], "invalid_type"), (["a", 1], "invalid_type"),
                             ([1, "a"], "invalid_type"), ([-1], "invalid_type"), ([2**40], "invalid_type"),
                             (["a"] * 17, "invalid_value"), ([{}], "invalid_type")):
            self.refused("/v1/completions", {"prompt": prompt}, 400, code, "prompt")

    def test_messages(self):
        for messages in (None, [], {}, "x", 1, [1], [{}], [{"role": "user"}], [{"role": "king", "content": "x"}],
                         [{"role": "user", "content": 1}], [{"role": "user", "content": [{}]}],
                         [{"role": "user", "content": [{"type": "text"}]}], [{"role": 1, "content": "x"}],
                         [{"role": "user", "content": "x"}] * 4097):
            with self.subTest(messages=str(messages)[:60]):
                self.check(self.server.post("/v1/chat/completions", {"messages": messages}), 400,
                           "invalid_messages", "messages")
        picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
        error = self.refused("/v1/chat/completions", {"model": "dummy", "messages": picture}, 400,
                             "unsupported_content", "messages")
        self.assertIn("dummy", error["message"])

    def test_what_is_not_there_yet_is_refused_by_name(self):
        for member, value in (("best_of", 3), ("logprobs", 1), ("tools", [{}]),
                              ("resumable", True), ("tool_choice", "required"), ("suffix", "x")):
            self.refused("/v1/completions", {"prompt": "x", member: value}, 400, "unsupported_parameter", member)
        for member, value in (("n", 1), ("logprobs", False), ("tools", []), ("response_format", {"type": "text"})):
            self.assertEqual(self.server.post("/v1/completions", {"prompt": "x", member: value}).status, 200)

    def test_a_prompt_longer_than_the_context(self):
        context = self.server.model()["context_tokens"]
        for surface in SURFACES:
            if surface.method == "POST":
                data = surface.request("x" * (context + 1), surface.can_stream)
                with self.subTest(surface.name):
                    self.check(self.server.exchange(data), 400, "context_length_exceeded",
                               "messages" if "chat" in surface.name else "prompt")

    def test_token_ids_outside_the_vocabulary(self):
        self.refused("/v1/completions", {"prompt": [2**30]}, 400, "invalid_request", "prompt")

    def test_the_query(self):
        for query, param in (("prompt=%zz", "prompt"), ("prompt=%ff", "prompt"), ("prompt=a%00b", "prompt"),
                             ("prompt=x&max_tokens=many", "max_tokens"), ("prompt=x&stream=maybe", "stream"),
                             ("prompt=x&format=xml", "format"), ("prompt=x&temperature=%20", "temperature")):
            with self.subTest(query):
                self.check(self.server.get("/v1/infer?" + query), 400, "invalid_value", param)
        self.check(self.server.get("/v1/infer"), 400, "missing_parameter", "prompt")
        self.check(self.server.get("/v1/infer?prompt=x&max_tokens=0"), 400, "invalid_value", "max_tokens")

    # --- routes, models, methods ---

    def test_an_unknown_model_is_404_on_every_surface(self):
        for surface in SURFACES:
            for model in ("gpt-5", "", "dummy ", "你好", "x" * 300):
                if model == "":
                    continue  # none named: the default one
                with self.subTest(surface.name, model=model[:20]):
                    data = surface.request("x", surface.can_stream, model=model)
                    error = self.check(self.server.exchange(data, surface.method), 404, "model_not_found", "model")
                    self.assertIn(model[:100], error["message"])
        for name in ("gpt-5", "org/repo:q4", "org%2Frepo:q4", "dummy/"):  # SDKs do and do not escape
            self.check(self.server.get("/v1/models/" + name), 404, "model_not_found", "model")

    def test_unknown_paths(self):
        for path in ("/", "/v1", "/v1/completions/", "//v1/completions", "/v1/completions/x", "/v1%2fcompletions",
                     "/V1/completions", "/v1/../v1/completions", "/health/", "/%00", "/%zz", "/" + quote("你好"),
                     "/v1/models/", "/v1/models/%00"):
            with self.subTest(path):
                self.check(self.server.get(path), 404, "not_found")

    def test_methods_that_a_path_does_not_have(self):
        for method, path, allow in (
                ("GET", "/v1/completions", "POST, OPTIONS"), ("GET", "/generate", "POST, OPTIONS"),
                ("POST", "/health", "GET, HEAD, OPTIONS"), ("DELETE", "/v1/infer", "GET, HEAD, POST, OPTIONS"),
                ("PUT", "/v1/models", "GET, HEAD, OPTIONS"), ("PATCH", "/v1/models/x", "GET, HEAD, OPTIONS"),
                ("BREW", "/health", "GET, HEAD, OPTIONS"), ("get", "/health", "GET, HEAD, OPTIONS")):
            with self.subTest(method, path=path):
                response = self.server.exchange(request(method, path), method)
                self.check(response, 405, "method_not_allowed")
                self.assertEqual(response.field("Allow"), allow)

    # --- who may ask ---

    def test_a_host_that_is_not_ours(self):
        for host in ("evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.2", "[::2]:1", "0"):
            with self.subTest(host):
                self.check(self.server.exchange(request("GET", "/health", host=host), "GET"), 421, "wrong_host")
        for host in ("localhost", "LocalHost:99", "127.0.0.1", f"127.0.0.1:{self.server.port}", "[::1]:80"):
            with self.subTest(host):
                self.assertEqual(self.server.exchange(request("GET", "/health", host=host), "GET").status, 200)

    def test_an_origin_that_is_not_ours(self):
        for origin in ("http://evil.example", "https://evil.example:8080", "null", "http://localhost.evil.example",
                       "file://", "x", "http://127.0.0.1", "http://evil.example/localhost"):
            for method, path, body in (("GET", "/v1/infer?prompt=x", None), ("POST", "/generate", b'{"prompt":"x"}'),
                                       ("OPTIONS", "/generate", None), ("GET", "/health", None)):
                with self.subTest(origin, method=method):
                    data = request(method, path, body, [("Origin", origin)])
                    response = self.server.exchange(data, method)
                    self.check(response, 403, "forbidden")
                    self.assertIsNone(response.field("Access-Control-Allow-Origin"))

    def test_the_same_host_on_any_port_may_ask(self):
        for origin in ("http://localhost", "http://localhost:5173", "https://LOCALHOST:1"):
            response = self.server.get("/v1/infer?prompt=x", [("Origin", origin)])
            self.assertEqual((response.status, response.field("Access-Control-Allow-Origin")), (200, origin))
            self.assertEqual(response.field("Vary"), "Origin")

    def test_errors_can_be_read_by_the_page_too(self):
        response = self.server.post("/generate", {}, [("Origin", "http://localhost:1")])
        self.check(response, 400, "missing_parameter", "prompt")
        self.assertEqual(response.field("Access-Control-Allow-Origin"), "http://localhost:1")

    def test_preflight(self):
        for path, methods in (("/v1/chat/completions", "POST, OPTIONS"), ("/health", "GET, HEAD, OPTIONS")):
            data = request("OPTIONS", path, fields=[("Origin", "http://localhost:5173"),
                                                    ("Access-Control-Request-Method", "POST"),
                                                    ("Access-Control-Request-Headers", "content-type")])
            response = self.server.exchange(data, "OPTIONS")
            self.assertEqual(response.status, 204)
            self.assertEqual(response.field("Access-Control-Allow-Origin"), "http://localhost:5173")
            self.assertEqual(response.field("Access-Control-Allow-Methods"), methods)
            self.assertIn("Content-Type", response.field("Access-Control-Allow-Headers"))
            self.assertEqual(response.field("Access-Control-Max-Age"), "86400")
            self.assertEqual(response.field("Allow"), methods)
        response = self.server.exchange(request("OPTIONS", "*"), "OPTIONS")
        self.assertEqual((response.status, response.field("Allow")), (204, "GET, HEAD, POST, DELETE, OPTIONS"))

    # --- what only HTTP sees ---

    def test_encodings_that_we_cannot_read(self):
        body = {"prompt": "x"}
        for coding in ("gzip", "br", "deflate", "gzip, identity", "x"):
            self.refused("/generate", body, 415, "unsupported_encoding", fields=[("Content-Encoding", coding)])
        for charset in ("latin-1", "utf-16", '"iso-8859-1"', "utf-8x", ""):
            for name in ("charset", "Charset"):
                self.refused("/generate", body, 415, "unsupported_charset",
                             fields=[("Content-Type", f"application/json; {name}={charset}")])
        for fields in ([("Content-Encoding", "identity")], [("Content-Type", 'application/json;charset="UTF-8"')],
                       [("Content-Type", "text/plain; Charset=utf-8; x=y")]):
            self.assertEqual(self.server.post("/generate", body, fields).status, 200)

    def test_head_has_the_fields_of_get_and_no_body(self):
        for path in ("/live", "/v1/models", "/v1/models/dummy"):
            got = self.server.get(path)
            with self.server.connect() as connection:
                head = connection.exchange(request("HEAD", path), "HEAD")
                self.assertEqual((head.status, head.field("Content-Length"), head.body),
                                 (200, str(len(got.body)), b""))
                self.assertEqual(connection.exchange(request("GET", path), "GET").body, got.body)
        self.assertEqual(self.server.exchange(request("HEAD", "/nothing"), "HEAD").status, 404)

    def test_http_10(self):
        with self.server.connect() as connection:
            response = connection.exchange(request("GET", "/live", host=None, version="1.0"), "GET")
            self.assertEqual((response.status, response.keeps_alive()), (200, False))
            connection.expect_end()
        with self.server.connect() as connection:
            for _ in range(3):
                data = request("GET", "/live", version="1.0", fields=[("Connection", "keep-alive")])
                response = connection.exchange(data, "GET")
                self.assertEqual((response.status, response.keeps_alive()), (200, True))

    def test_connection_close_is_obeyed(self):
        with self.server.connect() as connection:
            response = connection.exchange(request("GET", "/live", fields=[("Connection", "close")]), "GET")
            self.assertFalse(response.keeps_alive())
            connection.expect_end()

    def test_the_server_goes_on_after_an_error_on_the_same_connection(self):
        with self.server.connect() as connection:
            for body in (b"{", b"[]", b'{"prompt":1}'):
                response = connection.exchange(request("POST", "/generate", body))
                self.assertEqual((response.status, response.keeps_alive()), (400, True))
            for path in ("/nothing", "/generate"):
                response = connection.exchange(request("GET", path), "GET")
                self.assertTrue(response.keeps_alive())
            self.assertEqual(connection.exchange(request("GET", "/live"), "GET").status, 200)


class Limits(unittest.TestCase):
    """N-1, N and N+1 of what a client may send."""

    check = Errors.check

    @classmethod
    def setUpClass(cls):
        cls.server = Server(dummy_delay_ms=0, dummy_tokens=2, head_max_bytes=512, head_max_fields=10,
                            body_max_bytes=2048)
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)

    def status(self, data, method="GET"):
        with self.server.connect() as connection:
            connection.send(data)
            response = connection.response(method)
            if response.status >= 400:
                connection.expect_end()  # where the next request would begin is not known
            return response

    def test_the_size_of_a_head(self):
        def head(size):
            data = request("GET", "/live", fields=[("X", "")])[:-4]
            return data + b"y" * (size - len(data) - 4) + b"\r\n\r\n"

        for size in (511, 512):
            self.assertEqual((len(head(size)), self.status(head(size)).status), (size, 200))
        self.check(self.status(head(513)), 431, "head_too_large")
        self.check(self.status(head(100000)[:513]), 431, "head_too_large")

    def test_the_number_of_fields(self):
        def head(count):
            return request("GET", "/live", fields=[("X", "y")] * (count - 1))

        self.assertEqual(self.status(head(10)).status, 200)
        self.check(self.status(head(11)), 431, "head_too_large")

    def test_the_length_of_a_target(self):
        fixed = len(request("GET", "/live?"))
        self.assertEqual(self.status(request("GET", "/live?" + "x" * (512 - fixed))).status, 200)
        self.check(self.status(request("GET", "/live?" + "x" * 600)), 414, "target_too_long")

    def test_the_size_of_a_body(self):
        def body(size):
            return b'{"prompt":"' + b"x" * (size - 13) + b'"}'

        def chunked(size):
            data = body(size)
            parts = [data[:1000], data[1000:]]
            framed = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
            return request("POST", "/generate", fields=[("Transfer-Encoding", "chunked")]) + framed

        for size in (2047, 2048):
            self.assertEqual(self.status(request("POST", "/generate", body(size)), "POST").status, 200)
            self.assertEqual(self.status(chunked(size), "POST").status, 200)
        self.check(self.status(request("POST", "/generate", body(2049)), "POST"), 413, "body_too_large")
        self.check(self.status(chunked(2049), "POST"), 413, "body_too_large")


class HugeBody(unittest.TestCase):
    check = Errors.check

    def test_100_mb_are_refused_unread_and_leave_no_trace(self):
        piece = b"x" * MIB
        with Server(dummy_delay_ms=0) as server:
            head = request("POST", "/generate", fields=[("Content-Length", 100 * MIB)])
            with server.connect() as connection:  # the head alone is enough
                self.check(connection.exchange(head), 413, "body_too_large")
            before = server.rss_bytes()
            with server.connect() as connection:  # a client that sends first and then reads
                connection.send(head)
                connection.send_until_refused(piece for _ in range(100))
                self.check(connection.response("POST"), 413, "body_too_large")
            chunk = b"%x\r\n%s\r\n" % (MIB, piece)
            with server.connect() as connection:
                connection.send(request("POST", "/generate", fields=[("Transfer-Encoding", "chunked")]))
                connection.send_until_refused(chunk for _ in range(100))
                self.check(connection.response("POST"), 413, "body_too_large")
            self.assertLess(server.rss_bytes() - before, 24 * MIB)
            self.assertEqual(completions.ask(server).tokens, None)

    def test_a_body_of_the_full_8_mib_is_read(self):
        with Server(dummy_delay_ms=0) as server:
            body = b'{"x":"' + b"y" * (8 * MIB - 21) + b'","prompt":"z"}'
            self.assertEqual(len(body), 8 * MIB)
            self.assertEqual(server.post("/generate", body).status, 200)
            self.check(server.post("/generate", body + b" "), 413, "body_too_large")


class Allowed(unittest.TestCase):
    def test_names_and_origins_can_be_added(self):
        with Server(allowed_hosts="edge.example, other", allowed_origins="https://page.example") as server:
            for host, status in (("edge.example:1", 200), ("OTHER", 200), ("edge", 421)):
                self.assertEqual(server.exchange(request("GET", "/live", host=host), "GET").status, status)
            for origin, status in (("https://page.example", 200), ("http://page.example", 403),
                                   ("https://page.example:1", 403)):
                self.assertEqual(server.get("/live", [("Origin", origin)]).status, status)

    def test_any_origin_by_a_star(self):
        with Server(allowed_origins="*") as server:
            response = server.get("/live", [("Origin", "https://page.example")])
            self.assertEqual((response.status, response.field("Access-Control-Allow-Origin")),
                             (200, "https://page.example"))

    def test_connections_have_a_bound(self):
        """Above it: 503 at once; and room again when one goes."""
        with Server(max_connections=4, worker_threads=1) as server:
            held = [eventually(lambda: self.admitted(server), "room for one more") for _ in range(4)]
            with server.connect() as connection:
                response = connection.response()
                self.assertEqual((response.status, response.error()["code"]), (503, "too_many_connections"))
                self.assertGreaterEqual(int(response.field("Retry-After")), 1)
                connection.expect_end()
            held.pop().close()
            held.append(eventually(lambda: self.admitted(server), "there is room for one again"))
            for connection in held:
                connection.close()

    @staticmethod
    def admitted(server):
        """A connection that was served, or None: those that went a moment ago may still count."""
        connection = server.connect()
        try:
            if connection.exchange(request("GET", "/live"), "GET").status == 200:
                return connection
        except Reset:  # turned away while it sent
            pass
        connection.close()
        return None


if __name__ == "__main__":
    main()
