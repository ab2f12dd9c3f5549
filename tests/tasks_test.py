"""tasks - requests that generate nothing: text to tokens and back, embeddings, scores, on the shipped model, on the
dummy and on tiny ones that only read; what is refused, and what becomes of them when their client leaves or their
worker dies."""

import base64
import math
import os
import signal
import struct
import subprocess
import tempfile
import unittest

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from harness import Server, eventually, main
from http_client import request
from roles import role_pid

MAKE_MODEL = os.environ.get("MAKE_MODEL")
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
                                  ("/v1/embeddings", {"input": 7}, "input"),
                                  ("/v1/embeddings", {"input": ["a", ""]}, "input"),
                                  ("/v1/embeddings", {"input": "a", "dimensions": 2}, "dimensions"),
                                  ("/v1/embeddings", {"input": "a" * 5000}, "input"),
                                  ("/v1/rerank", {"query": "a", "documents": ["b"]}, "model"),
                                  ("/v1/rerank", {"query": "a", "documents": []}, "documents"),
                                  ("/detokenize", {"tokens": "a"}, "tokens"),
                                  ("/detokenize", {"tokens": [1, None]}, "tokens")):
            with self.subTest(path, body=body):
                self.assertEqual(self.refused(path, body)["param"], param)

    def test_a_text_that_is_too_long_is_named_by_its_index(self):
        error = self.refused("/v1/embeddings", {"input": ["a", "b" * 4097]})
        self.assertEqual(error["code"], "context_length_exceeded")
        self.assertIn("input[1] has 4097 tokens", error["message"])

    def test_equal_letters_are_near(self):
        data = self.server.post("/v1/embeddings", {"input": ["abab", "baba", "xyz"]}).json()["data"]
        self.assertEqual(data[0]["embedding"], data[1]["embedding"])
        self.assertNotEqual(data[0]["embedding"], data[2]["embedding"])

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


    def embeddings(self, **body):
        answer = self.ask("/v1/embeddings", **body)
        self.assertEqual((answer["object"], answer["model"]), ("list", "llama"))
        self.assertEqual([entry["index"] for entry in answer["data"]], list(range(len(answer["data"]))))
        return [entry["embedding"] for entry in answer["data"]], answer["usage"]

    def test_a_model_that_writes_is_told_how_to_pool(self):
        response = self.server.post("/v1/embeddings", {"model": "llama", "input": "a"})
        self.assertEqual((response.status, response.json()["error"]["param"]), (400, "pooling"))

    def test_vectors_have_length_one_and_tell_texts_apart(self):
        for pooling in ("mean", "last"):
            (fox, duck), _ = self.embeddings(input=["Tell me a story about a fox.", "7 + 8"], pooling=pooling)
            self.assertAlmostEqual(math.fsum(x * x for x in fox), 1, places=5)
            self.assertLess(math.fsum(x * y for x, y in zip(fox, duck)), 0.999)

    def test_text_and_its_ids_are_the_same_and_are_counted(self):
        tokens = self.ask("/tokenize", content=TEXT, add_special=True)["tokens"]
        (by_text,), text_usage = self.embeddings(input=TEXT, pooling="mean")
        (by_ids,), ids_usage = self.embeddings(input=tokens, pooling="mean")
        (alone, _), _ = self.embeddings(input=[tokens, tokens[:1]], pooling="mean")
        self.assertEqual(by_text, by_ids)
        self.assertEqual(by_text, alone)
        self.assertEqual(text_usage, ids_usage)
        self.assertEqual(text_usage, {"prompt_tokens": len(tokens), "total_tokens": len(tokens)})

    def test_base64_is_the_same_numbers(self):
        (numbers,), _ = self.embeddings(input=TEXT, pooling="last")
        (letters,), _ = self.embeddings(input=TEXT, pooling="last", encoding_format="base64")
        data = base64.b64decode(letters, validate=True)
        floats = struct.unpack(f"<{len(data) // 4}f", data)
        self.assertEqual(len(floats), len(numbers))
        for wanted, found in zip(floats, numbers):
            self.assertAlmostEqual(wanted, found, delta=1e-9)

    def test_answers_go_on_beside_embeddings(self):
        ask = {"model": "llama", "prompt": "Tell me a story about a fox.", "max_tokens": 40, "temperature": 0}
        alone = self.server.post("/v1/completions", ask).json()["choices"][0]["text"]
        with ThreadPoolExecutor(2) as pool:
            vectors = pool.submit(self.embeddings, input=[TEXT] * 200, pooling="mean")
            beside = [self.server.post("/v1/completions", ask).json()["choices"][0]["text"] for _ in range(3)]
            self.assertEqual(len(vectors.result()[0]), 200)
        self.assertEqual(beside, [alone] * 3)


class Reads(unittest.TestCase):
    """Tiny models of BERT's kind with random weights (tools/models): what they say is noise, the same each time."""

    @classmethod
    def setUpClass(cls):
        """A model that is named is retried without an engine, and only the shipped one says that there is none."""
        with Server(ready=None) as server:
            server.need_llama()

    DOCUMENTS = ["The fox sleeps.", "7 + 8 is 15.", "A lamp is in room 7, and a duck."]

    @contextmanager
    def serve(self, kind):
        """A server of such a model and no other."""
        if not MAKE_MODEL:
            self.skipTest("MAKE_MODEL is not set: the program tools/models/make_model of the same build")
        with tempfile.TemporaryDirectory(prefix="millrace-test-") as folder:
            file = Path(folder) / f"{kind}.gguf"
            subprocess.run([MAKE_MODEL, "--kind", kind, file], check=True)
            with Server(ready=None, llama_model_path=str(file)) as server:
                server.wait_ready("llama")
                yield server

    def ask(self, server, path, **body):
        response = server.post(path, {"model": "llama", **body})
        self.assertEqual(response.status, 200, response)
        return response.json()

    def refused(self, server, path, **body):
        response = server.post(path, {"model": "llama", **body})
        self.assertEqual(response.status, 400, response)
        return response.json()["error"]

    def test_documents_are_ranked(self):
        query = "Where is the lamp?"
        with self.serve("rerank") as server:
            whole = self.ask(server, "/v1/rerank", query=query, documents=self.DOCUMENTS, return_documents=True)
            best = self.ask(server, "/v1/rerank", query=query, documents=self.DOCUMENTS, top_n=1)
            long = self.refused(server, "/v1/rerank", query="a", documents=["b", "c " * 5000])
            embed = self.refused(server, "/v1/embeddings", input="a")
        found = whole["results"]
        self.assertEqual(sorted(one["index"] for one in found), [0, 1, 2])
        self.assertTrue(all(one["document"] == {"text": self.DOCUMENTS[one["index"]]} for one in found))
        scores = [one["relevance_score"] for one in found]
        self.assertEqual(scores, sorted(set(scores), reverse=True))
        self.assertGreater(whole["usage"]["prompt_tokens"], 0)
        self.assertEqual(best["results"], [{name: found[0][name] for name in ("index", "relevance_score")}])
        self.assertEqual(best["usage"], whole["usage"])
        self.assertEqual((long["param"], long["code"]), ("documents", "context_length_exceeded"))
        self.assertIn("documents[1]", long["message"])
        self.assertEqual(embed["param"], "model")

    def test_a_model_for_embeddings_needs_no_pooling_and_writes_nothing(self):
        with self.serve("embedding") as server:
            data = self.ask(server, "/v1/embeddings", input=[*self.DOCUMENTS, self.DOCUMENTS[0]])["data"]
            self.refused(server, "/v1/completions", prompt="Once", max_tokens=2)
            rank = self.refused(server, "/v1/rerank", query="a", documents=["b"])
            (alone,) = self.ask(server, "/v1/embeddings", input=self.DOCUMENTS[0])["data"]
        first, second, _, again = [entry["embedding"] for entry in data]
        self.assertEqual((again, alone["embedding"]), (first, first))
        self.assertAlmostEqual(math.fsum(x * x for x in first), 1, places=5)
        self.assertLess(math.fsum(x * y for x, y in zip(first, second)), 0.999)
        self.assertEqual(rank["param"], "model")


class Killed(unittest.TestCase):
    def test_a_client_that_leaves_ends_its_embedding(self):
        with Server(dummy_delay_ms=0, dummy_prefill_us=100_000, dummy_slots=1) as server:
            with server.connect() as connection:
                connection.send(request("POST", "/v1/embeddings", {"input": "x" * 4000}))
                eventually(lambda: server.get("/v1/requests").json()["data"], "the request is in flight")
            eventually(lambda: not server.get("/v1/requests").json()["data"], "nothing is in flight")
            self.assertEqual(server.post("/v1/embeddings", {"input": "x"}).status, 200)

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
