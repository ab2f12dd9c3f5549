"""request_log - one line for each request to a model, however it ended, that tells who, where, how long
and how many, and never what."""

import hashlib
import re
import shlex
import unittest

from harness import Server, main
from http_client import request
from surfaces import completions, infer

FIELDS = ["req", "key", "tenant", "model", "worker", "dialect", "choices", "stream", "status", "end", "queue_ms", "prefill_ms",
          "ttft_ms", "total_ms", "prompt_tokens", "out_tokens", "seed", "label", "trace"]
TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class RequestLog(unittest.TestCase):
    def line(self, server, request_id):
        """The line of that request, as {field: value}; there is one, and only one."""
        pattern = rf"event=request_done (req={request_id} .*)\n"
        server.wait_log(pattern)
        self.assertEqual(len(re.findall(pattern, server.log())), 1)
        fields = dict(word.split("=", 1) for word in shlex.split(re.search(pattern, server.log())[1]))
        self.assertEqual(list(fields), FIELDS)
        return fields

    def check(self, server, request_id, **expected):
        fields = self.line(server, request_id)
        self.assertEqual({name: fields[name] for name in expected}, expected)
        for name in ("queue_ms", "prefill_ms", "total_ms", "prompt_tokens", "out_tokens", "seed"):
            self.assertRegex(fields[name], r"^\d+$", name)
        self.assertRegex(fields["trace"], "^[0-9a-f]{32}$")
        return fields

    def test_a_stream_that_ends_well(self):
        with Server(dummy_delay_ms=20) as server:
            head = server.exchange(completions.request("secret words", True, max_tokens=5, seed=77))
            fields = self.check(server, head.field("X-Request-Id"), model="dummy", dialect="completions", stream="1",
                                status="200", end="length", out_tokens="5", prompt_tokens="12", seed="77", label="",
                                key="", tenant="")
            self.assertRegex(fields["worker"], "^dummy")
            self.assertLessEqual(int(fields["ttft_ms"]), int(fields["total_ms"]))
            self.assertGreaterEqual(int(fields["ttft_ms"]), 0)
            self.assertGreaterEqual(int(fields["total_ms"]), 79)  # four times 20 ms, and what rounding takes
            self.assertNotIn("secret", server.log())

    def test_a_request_that_is_refused(self):
        """By the dialect, for the model, at its head: there is no model then, no worker, no token."""
        with Server(dummy_delay_ms=0) as server:
            bad = server.post("/v1/completions", {"prompt": 7})
            self.check(server, bad.field("X-Request-Id"), model="", worker="", status="400", end="invalid_type",
                       ttft_ms="-1", out_tokens="0")
            unknown = server.post("/v1/completions", {"prompt": "x", "model": "no such"})
            self.check(server, unknown.field("X-Request-Id"), model="no such", worker="", status="404",
                       end="model_not_found")
            server.post("/v1/completions", {"prompt": "x"}, (("X-Stream-Resume", "5"),))
            server.wait_log(r'event=request_done req="" dialect=completions status=400 end=unsupported_parameter\n')

    def test_whose_request_it_is(self):
        """Key and tenant by name; the secret nowhere, a wrong one neither."""
        secret, wrong = "sk-alice-5f8c1e", "sk-wrong-77a0"
        entry = {"name": "alice's notebook", "tenant": "research", "sha256": hashlib.sha256(secret.encode()).hexdigest()}
        with Server(dummy_delay_ms=0, keys=[entry]) as server:
            def ask(key):
                return server.post("/v1/completions", {"prompt": "x", "max_tokens": 1}, (("x-api-key", key),))

            answer = ask(secret)
            self.check(server, answer.field("X-Request-Id"), key="alice's notebook", tenant="research", status="200")
            self.assertEqual(ask(wrong).status, 401)
            server.wait_log(r'event=request_done req="" dialect=completions status=401 end=invalid_api_key\n')
            for word in (secret, wrong):
                self.assertNotIn(word, server.log())

    def test_a_client_that_leaves(self):
        with Server(dummy_delay_ms=20) as server:
            with server.connect() as connection:
                stream = connection.stream(infer.request("x", True, max_tokens=4000))
                self.assertIsNotNone(stream.next_event())
                request_id = stream.head.field("X-Request-Id")
            self.check(server, request_id, status="499", end="client_closed", dialect="infer", stream="1")

    def test_a_label_is_logged_and_cannot_forge_a_line(self):
        with Server(dummy_delay_ms=0) as server:
            label = 'a"b\\event=request_done'
            answer = server.post("/v1/completions", {"prompt": "x", "max_tokens": 1}, (("X-Request-Id", label),))
            self.check(server, answer.field("X-Request-Id"), label=label, status="200")

    def test_a_trace_goes_on(self):
        with Server(dummy_delay_ms=0) as server:
            def ask(*fields):
                answer = server.exchange(request("POST", "/v1/completions", b'{"prompt":"x","max_tokens":1}', fields))
                self.assertEqual(answer.status, 200)
                self.assertIsNone(answer.field("traceparent"))
                request_id = answer.field("X-Request-Id")
                return request_id, self.line(server, request_id)["trace"]

            good = ("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-01")
            self.assertEqual(ask(good)[1], TRACE_ID)
            for fields in ((), (good, good), (("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-01-x"),),
                           (("traceparent", f"00-{TRACE_ID.upper()}-{PARENT_ID}-01"),)):
                request_id, trace = ask(*fields)
                self.assertEqual(trace, request_id, fields)  # it begins here


if __name__ == "__main__":
    main()
