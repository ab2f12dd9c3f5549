"""tasks - requests that generate nothing: text to tokens and back, on the shipped model and on the dummy; what
is refused, and what becomes of them when their worker dies."""

import os
import signal
import unittest

from harness import Server, eventually, main
from roles import role_pid

TEXT = "Hi! 从前 🦊 café\n\n  tabs\tand \"quotes\""


class Dummy(unittest.TestCase):
    """A byte is a token, byte b is token b + 1."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(dummy_delay_ms=0)
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)

    def refused(self, path, body):
        response = self.server.post(path, body)
        self.assertEqual(response.status, 400, response)
        error = response.json()["error"]
        self.assertEqual(error["type"], "invalid_request_error")
        return error

    def test_bytes_are_tokens(self):
        answer = self.server.post("/tokenize", {"content": "aé"}).json()
        self.assertEqual(answer, {"tokens": [98, 196, 170]})

    def test_ids_that_the_model_does_not_have_are_refused_by_index(self):
        error = self.refused("/detokenize", {"model": "dummy", "tokens": [98, 1 << 30]})
        self.assertEqual(error["param"], "tokens")
        self.assertIn("tokens[1]", error["message"])

    def test_what_is_wrong_is_named(self):
        for path, body, param in (("/tokenize", {"content": ["a"]}, "content"), ("/tokenize", {}, "content"),
                                  ("/tokenize", {"content": "a", "with_pieces": 1}, "with_pieces"),
                                  ("/tokenize", {"content": "a", "stream": True}, "stream"),
                                  ("/detokenize", {"tokens": "a"}, "tokens"),
                                  ("/detokenize", {"tokens": [1, None]}, "tokens")):
            with self.subTest(path, body=body):
                self.assertEqual(self.refused(path, body)["param"], param)

    def test_an_unknown_model_is_not_found(self):
        response = self.server.post("/tokenize", {"model": "nobody", "content": "a"})
        self.assertEqual((response.status, response.json()["error"]["code"]), (404, "model_not_found"))

    def test_only_posts_are_taken(self):
        response = self.server.get("/tokenize")
        self.assertEqual(response.status, 405)

    def test_a_long_text_comes_back_whole(self):
        text = "x" * 300_000
        answer = self.server.post("/tokenize", {"content": text}).json()
        self.assertEqual(answer, {"tokens": [ord("x") + 1] * len(text)})


class Shipped(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(ready=None, llama_slots=2)
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        cls.server.need_llama()

    def ask(self, path, **body):
        response = self.server.post(path, {"model": "llama", **body})
        self.assertEqual(response.status, 200, response)
        return response.json()

    def test_there_and_back(self):
        for text in (TEXT, "", "a", " a", "<|im_start|>"):
            with self.subTest(text):
                tokens = self.ask("/tokenize", content=text, parse_special=False)["tokens"]
                self.assertEqual(self.ask("/detokenize", tokens=tokens), {"content": text})

    def test_pieces_are_the_text_in_pieces(self):
        plain = self.ask("/tokenize", content=TEXT)["tokens"]
        pieces = self.ask("/tokenize", content=TEXT, with_pieces=True)["tokens"]
        self.assertEqual([piece["id"] for piece in pieces], plain)
        data = b"".join(piece["piece"].encode() if isinstance(piece["piece"], str) else bytes(piece["piece"])
                        for piece in pieces)
        self.assertEqual(data.decode(), TEXT)
        self.assertTrue(any(isinstance(piece["piece"], list) for piece in pieces))  # the fox has no token of its own

    def test_special_tokens_are_known_or_text(self):
        known = self.ask("/tokenize", content="<|im_end|>")["tokens"]
        text = self.ask("/tokenize", content="<|im_end|>", parse_special=False)["tokens"]
        self.assertEqual(len(known), 1)
        self.assertGreater(len(text), 1)

    def test_tokens_count_what_a_prompt_costs(self):
        tokens = self.ask("/tokenize", content=TEXT, add_special=True)["tokens"]
        answer = self.server.post("/v1/completions", {"model": "llama", "prompt": TEXT, "max_tokens": 1}).json()
        self.assertEqual(answer["usage"]["prompt_tokens"], len(tokens))


class Killed(unittest.TestCase):
    def test_a_worker_that_dies_takes_no_task_with_it(self):
        """Nothing of the answer has come when it dies: whoever is started in its place has it asked again, or
        the client is told that nobody has it."""
        with Server(dummy_delay_ms=0, solo=False) as server:
            for _ in range(3):
                os.kill(role_pid(server, "worker", "dummy"), signal.SIGKILL)
                response = server.post("/tokenize", {"content": "a"})
                self.assertIn(response.status, (200, 502, 503), response)
                eventually(lambda: server.post("/tokenize", {"content": "a"}).status == 200, "a worker that answers")


if __name__ == "__main__":
    main()
