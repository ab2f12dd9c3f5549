"""dialects - in every dialect the deltas, put together, are the whole answer byte for byte, wherever
the tokens and the pieces were cut (http-api.md section 7, rules 2, 3 and 4)."""

import unittest
from codecs import getincrementaldecoder

from harness import Server, main
from http_client import PING_BYTES, parse_events, request
from surfaces import (STREAMING, SURFACES, WHOLE, Completions, CompletionsByQuery, Raw, chat, completions,
                      expect_keys, generate, infer)

# Every width of UTF-8, a character of several code points, and all that JSON and SSE must escape.
TEXT = 'Zoë: "你好,\n\n🦊 naïve\r\n\tdata: \\u0041\\ 👩‍🚀\x01\x7f\u2028]'
CROWDED = {"dummy_delay_ms": 0, "max_model_queue": 64}


def pieces(text, tokens):
    """The dummy model's tokens: as many cuts of equal bytes, also inside characters."""
    data = text.encode()
    ends = [n * len(data) // tokens for n in range(tokens + 1)]
    return [data[start:end] for start, end in zip(ends, ends[1:])]


def deltas_of(byte_pieces):
    """What each token lets go of: whole characters; what is cut is held back."""
    decoder = getincrementaldecoder("utf-8")("replace")
    texts = [decoder.decode(piece) for piece in byte_pieces] + [decoder.decode(b"", True)]
    return [text for text in texts if text]


class Dialects(unittest.TestCase):
    def check_all(self, server, tokens):
        expected = deltas_of(pieces(TEXT, tokens))
        for surface in SURFACES:
            with self.subTest(surface.name, tokens=tokens):
                if surface.can_be_whole:
                    answer = surface.ask(server, stream=False)
                    self.assertEqual((answer.text, answer.tokens, answer.finish), (TEXT, tokens, "stop"))
                if surface.can_stream:
                    answer = surface.ask(server, stream=True)
                    self.assertEqual(answer.deltas, expected)
                    self.assertIn(answer.tokens, (tokens, None))
                    self.assertIn(answer.finish, ("stop", None))
                    self.assertIsNone(answer.error)

    def test_every_border_between_tokens(self):
        """One server for each number of tokens: together they cut TEXT at each of its bytes."""
        for tokens in range(1, len(TEXT.encode()) + 1):
            with Server(dummy_text=TEXT, dummy_tokens=tokens, **CROWDED) as server:
                self.check_all(server, tokens)

    def test_pieces_of_a_wished_size_say_the_same(self):
        for chars in (1, 2, 7, len(TEXT), 1000):
            with Server(dummy_text=TEXT, dummy_tokens=50, sse_chunk_size=chars, **CROWDED) as server:
                for surface in STREAMING:
                    with self.subTest(surface.name, chars=chars):
                        answer = surface.ask(server)
                        self.assertEqual(answer.text, TEXT)
                        for delta in answer.deltas[:-1]:
                            self.assertGreaterEqual(len(delta), chars)

    def test_a_character_cut_by_the_limit_is_replaced_once(self):
        """max_tokens at each byte: stream and whole agree, and are valid UTF-8."""
        data = TEXT.encode()
        with Server(dummy_text=TEXT, dummy_tokens=len(data), **CROWDED) as server:
            for limit in range(1, len(data) + 1):
                finish = "length" if limit < len(data) else None
                expected = data[:limit].decode("utf-8", "replace")
                whole = completions.ask(server, stream=False, max_tokens=limit)
                self.assertEqual((whole.text, whole.tokens), (expected, limit))
                self.assertIn(whole.finish, ("length", "stop") if finish is None else (finish,))
                streamed = chat.ask(server, stream=True, max_tokens=limit)
                self.assertEqual((streamed.text, streamed.finish), (expected, whole.finish))

    def test_a_long_answer_is_the_same_too(self):
        """Beyond every credit and buffer on the way."""
        text = "".join(f"{n} 你好 🦊\n" for n in range(20000))
        with Server(dummy_text=text, dummy_tokens=3000, **CROWDED) as server:
            for surface in (completions, chat, infer, Raw(chat)):
                with self.subTest(surface.name):
                    self.assertEqual(surface.ask(server, max_tokens=3000).text, text)
                    if surface.can_be_whole:
                        self.assertEqual(surface.ask(server, stream=False, max_tokens=3000).text, text)


class Framing(unittest.TestCase):
    """The exact bytes of the native streams."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(dummy_text='a"\n你', dummy_tokens=3, **CROWDED)
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)

    def body(self, surface):
        return self.server.exchange(surface.request("Hi", True), surface.method).body

    def test_infer(self):
        self.assertEqual(self.body(infer), 'data: {"token":"a\\""}\n\ndata: {"token":"\\n"}\n\n'
                                           'data: {"token":"你"}\n\ndata: [DONE]\n\n'.encode())

    def test_raw(self):
        for surface in STREAMING:
            if isinstance(surface, Raw):
                self.assertEqual(self.body(surface), 'data: {"delta":"a\\""}\n\ndata: {"delta":"\\n"}\n\n'
                                 'data: {"delta":"你"}\n\ndata: {"done":true}\n\n'.encode())

    def test_generate_stream(self):
        generate_stream = next(surface for surface in STREAMING if surface.name == "generate/stream")
        self.assertEqual(self.body(generate_stream),
                         'event: token\ndata: {"token":"a\\""}\n\nevent: token\ndata: {"token":"\\n"}\n\n'
                         'event: token\ndata: {"token":"你"}\n\n'
                         'event: done\ndata: {"tokens_generated":3,"finish_reason":"stop"}\n\n'.encode())

    def test_no_ping_in_a_stream_that_is_never_silent(self):
        for surface in STREAMING:
            self.assertNotIn(PING_BYTES, self.body(surface))


class Choosing(unittest.TestCase):
    """How an answer is asked for: stream or not, which model, which label."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(dummy_text="Hello, fox", dummy_tokens=4, **CROWDED)
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)

    def kind(self, target, body, fields=()):
        response = self.server.post(target, body, fields)
        self.assertEqual(response.status, 200, response)
        return response.field("Content-Type")

    def test_stream_by_body_by_query_or_by_accept(self):
        sse, json_type = "text/event-stream", "application/json"
        accept = [("Accept", "text/event-stream")]
        for body, query, fields, expected in (
                ({}, "", (), json_type), ({"stream": True}, "", (), sse), ({"stream": False}, "", (), json_type),
                ({}, "?stream=true", (), sse), ({}, "?stream=1", (), sse), ({}, "?stream=false", (), json_type),
                ({"stream": True}, "?stream=false", (), sse), ({"stream": None}, "", (), json_type),
                ({}, "", accept, sse), ({"stream": False}, "", accept, json_type),
                ({}, "", [("Accept", "*/*")], json_type)):
            with self.subTest(body=body, query=query, fields=fields):
                target = "/v1/completions" + query
                self.assertEqual(self.kind(target, {"prompt": "x", **body}, fields), expected)

    def test_the_curl_of_serving_v2_works_as_written(self):
        body = b'{"model":"dummy","prompt":"Tell me a joke"}'
        response = self.server.post("/v1/completions?stream=true", body,
                                    [("Content-Type", "application/x-www-form-urlencoded")])
        answer = CompletionsByQuery().read(response, True)
        self.assertEqual(answer.text, "Hello, fox")

    def test_the_body_rules_out_the_form_of_serving_v2(self):
        """Only the query form carries the extra members."""
        response = self.server.post("/v1/completions?stream=true", {"prompt": "x", "stream": True})
        self.assertEqual(Completions().read(response, True).text, "Hello, fox")

    def test_a_model_may_be_named_or_left_to_the_default(self):
        for surface in SURFACES:
            with self.subTest(surface.name):
                stream = not surface.can_be_whole
                self.assertEqual(surface.ask(self.server, stream=stream, model="dummy").text, "Hello, fox")
                self.assertEqual(surface.ask(self.server, stream=stream).text, "Hello, fox")

    def test_request_ids(self):
        """Ours is new each time; the client's own is a label that comes back."""
        seen = set()
        for surface in SURFACES:
            data = surface.request("x", surface.can_stream)
            head, body = data.split(b"\r\n\r\n", 1)
            response = self.server.exchange(head + b"\r\nX-Request-Id: my-own.1\r\n\r\n" + body, surface.method)
            seen.add(response.field("X-Request-Id"))
            self.assertEqual(response.field("X-Client-Request-Id"), "my-own.1")
        self.assertEqual(len(seen), len(SURFACES))
        for label in ("x" * 65, "two words", "ünïcode"):
            response = self.server.post("/v1/infer", {"prompt": "x"}, [("X-Request-Id", label)])
            self.assertEqual((response.status, response.field("X-Client-Request-Id")), (200, None))

    def test_several_prompts_are_a_choice_each(self):
        body = {"prompt": ["a", "b", "c"]}
        whole = self.server.post("/v1/completions", body).json()
        self.assertEqual([(choice["index"], choice["text"], choice["finish_reason"]) for choice in whole["choices"]],
                         [(n, "Hello, fox", "stop") for n in range(3)])
        texts, ends = [""] * 3, []
        events = parse_events(self.server.post("/v1/completions", {**body, "stream": True}).body)
        self.assertEqual(events[-1].data, "[DONE]")
        for event in events[:-1]:
            (choice,) = event.json()["choices"]
            texts[choice["index"]] += choice["text"]
            ends += [choice["index"]] if choice["finish_reason"] else []
        self.assertEqual((texts, sorted(ends)), (["Hello, fox"] * 3, [0, 1, 2]))

    def test_echo_puts_the_prompt_in_front(self):
        for stream in (False, True):
            answer = completions.ask(self.server, prompt="Say: ", stream=stream, echo=True)
            self.assertEqual(answer.text, "Say: Hello, fox")

    def test_generate_tells_the_prompt(self):
        body = generate.request('a"你', False).split(b"\r\n\r\n", 1)[1]
        self.assertEqual(self.server.post("/generate", body).json()["prompt"], 'a"你')

    def test_messages_may_have_parts_and_lone_surrogates(self):
        content = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        for messages in ([{"role": "user", "content": content}],
                         [{"role": "system", "content": "s"}, {"role": "user", "content": "u"},
                          {"role": "assistant", "content": "a"}, {"role": "user", "content": "u"}]):
            response = self.server.post("/v1/chat/completions", {"messages": messages})
            self.assertEqual(response.json()["choices"][0]["message"]["content"], "Hello, fox")
        for lone in (rb"\ud83e", rb"\udd8a", rb"\ud83e\ud83e", rb"x\udd8a\ud83e"):
            response = self.server.post("/generate", b'{"prompt":"' + lone + b'"}')
            self.assertEqual(response.status, 200, response)
            self.assertIn("\ufffd", response.json()["prompt"])

    def test_models_are_listed(self):
        listed = self.server.get("/v1/models").json()
        expect_keys(listed, "object", "data")
        self.assertEqual([(model["id"], model["object"], model["state"]) for model in listed["data"]],
                         [("dummy", "model", "ready")])
        one = self.server.get("/v1/models/dummy").json()
        self.assertEqual(one, listed["data"][0])

    def test_many_answers_on_one_connection(self):
        with self.server.connect() as connection:
            for surface in SURFACES * 3:
                stream = surface.can_stream
                response = connection.exchange(surface.request("x", stream), surface.method)
                self.assertTrue(response.keeps_alive())
                self.assertEqual(surface.read(response, stream).text, "Hello, fox")

    def test_an_http_10_client_gets_the_stream_until_the_end(self):
        data = infer.request("x", True).replace(b"HTTP/1.1", b"HTTP/1.0")
        with self.server.connect() as connection:
            response = connection.exchange(data)
            self.assertIsNone(response.field("Transfer-Encoding"))
            self.assertEqual(infer.read(response, True).text, "Hello, fox")
            connection.expect_end()

    def test_whole_answers_are_json_whatever_the_type_says(self):
        for kind in ("text/plain", "application/json; charset=utf-8", "application/x-www-form-urlencoded", "a/b"):
            self.assertEqual(self.kind("/generate", {"prompt": "x"}, [("Content-Type", kind)]), "application/json")
        for surface in WHOLE:
            self.assertEqual(surface.ask(self.server, stream=False).text, "Hello, fox")

    def test_the_same_over_get_with_escapes(self):
        response = self.server.exchange(request("GET", "/v1/infer?prompt=%C3%A9+%26&max_tokens=2"), "GET")
        self.assertEqual(response.json()["tokens_generated"], 2)


if __name__ == "__main__":
    main()
