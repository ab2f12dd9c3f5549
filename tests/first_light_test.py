"""first_light - the main job: a real model's tokens arrive one by one, the same answer streamed or
whole, and closing the connection ends the generation."""

import sys
import unittest

from harness import Server, main
from http_client import request
from surfaces import SURFACES, chat, completions, infer

PROMPT = "Tell me a story about a fox."
OPENING = "Once upon a time"  # for surfaces without a chat template: what a model goes on with
GREEDY = {"temperature": 0, "max_tokens": 48}


class FirstLight(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(ready=None, llama_slots=4)
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        cls.server.need_llama()

    def test_the_curl_that_is_printed_works(self):
        """The body of the command line that a newcomer pastes."""
        body = self.server.stdout.split("-d '")[1].split("'")[0].encode()
        answer = chat.read(self.server.post("/v1/chat/completions", body), True)
        self.assertGreater(len(answer.deltas), 5)
        self.assertTrue(answer.text.strip())
        self.assertIsNone(answer.error)

    def test_streamed_and_whole_are_the_same_at_temperature_0(self):
        for surface, prompt in ((chat, PROMPT), (completions, OPENING), (infer, OPENING)):
            with self.subTest(surface.name):
                whole = surface.ask(self.server, prompt, stream=False, ignore_eos=True, **GREEDY)
                streamed = surface.ask(self.server, prompt, stream=True, ignore_eos=True, **GREEDY)
                self.assertEqual((streamed.text, whole.finish), (whole.text, "length"))
                self.assertGreater(len(streamed.deltas), 5)

    def test_every_surface_says_the_same_to_the_same_prompt(self):
        texts = {}
        for surface in SURFACES:
            if "chat" not in surface.name:  # it has the template around the prompt
                texts[surface.name] = surface.ask(self.server, OPENING, stream=surface.can_stream, **GREEDY).text
        self.assertEqual(len(set(texts.values())), 1, texts)

    def test_company_changes_nothing(self):
        """Profile exact: alone or with others in the batch, and queued behind them."""
        params = {"ignore_eos": True, **GREEDY}
        alone = completions.ask(self.server, OPENING, stream=False, **params).text
        connections = [self.server.connect() for _ in range(8)]
        for number, connection in enumerate(connections):
            connection.send(completions.request(OPENING if number % 2 else "One " * (number + 1), True, **params))
        for number, connection in enumerate(connections):
            answer = completions.read(connection.response("POST"), True)
            if number % 2:
                self.assertEqual(answer.text, alone)
            connection.close()

    def test_a_seed_repeats_an_answer(self):
        params = {"temperature": 1.0, "max_tokens": 32, "ignore_eos": True}
        one = self.server.exchange(completions.request(OPENING, False, **params)).json()
        seed = int(one["system_fingerprint"].removeprefix("seed_"))
        again = completions.ask(self.server, OPENING, stream=False, seed=seed, **params)
        self.assertEqual(again.text, one["choices"][0]["text"])

    def test_the_prompt_is_counted_and_max_tokens_obeyed(self):
        whole = chat.ask(self.server, prompt=PROMPT, stream=False, temperature=0, max_tokens=3, ignore_eos=True)
        self.assertEqual((whole.usage["completion_tokens"], whole.finish), (3, "length"))
        self.assertGreater(whole.usage["prompt_tokens"], 5)
        longer = chat.ask(self.server, prompt=PROMPT * 2, stream=False, temperature=0, max_tokens=3)
        self.assertGreater(longer.usage["prompt_tokens"], whole.usage["prompt_tokens"])

    def test_a_stop_string_ends_it(self):
        text = chat.ask(self.server, PROMPT, stream=False, ignore_eos=True, **GREEDY).text
        stop = text[len(text) // 2:][:4]
        for stream in (False, True):
            answer = chat.ask(self.server, PROMPT, stream=stream, stop=stop, ignore_eos=True, **GREEDY)
            self.assertEqual((answer.text, answer.finish), (text[:text.index(stop)], "stop"))

    def test_closing_the_connection_ends_the_generation(self):
        """The client takes no more than the first event, so the answer cannot have been whole."""
        for surface in (completions, chat):
            params = {"max_tokens": 900, "ignore_eos": True}
            with self.subTest(surface.name), self.server.connect(receive_bytes=4096) as connection:
                stream = connection.stream(surface.request(OPENING, True, **params))
                self.assertIsNotNone(stream.next_event())
                self.server.wait_model("llama", slots_busy=1)
            seconds = self.server.wait_idle("llama")
            print(f"  {surface.name}: slot free after {seconds * 1000:.0f} ms", file=sys.stderr)
            self.server.wait_log(rf"event=request_done req={stream.head.field('X-Request-Id')} .*status=499 end=client")

    def test_in_prefill_too(self):
        """The client leaves while a long prompt goes in."""
        context = self.server.model("llama")["context_tokens"]
        body = {"prompt": "One " * (context // 3), "stream": True, "max_tokens": 1,
                "stream_options": {"include_progress": True}}
        with self.server.connect() as connection:
            stream = connection.stream(request("POST", "/v1/completions", body))
            self.assertEqual(stream.head.status, 200, stream.head.body)
            while (progress := stream.next_event().json()["progress"])["state"] == "queued":
                pass
            self.assertEqual(progress["state"], "prefill")
            self.assertLess(progress["done"], progress["total"])
        self.server.wait_idle("llama")

    def test_a_prompt_longer_than_the_context_is_refused(self):
        response = self.server.post("/v1/completions", {"prompt": PROMPT * 4000})
        self.assertEqual((response.status, response.error()["code"]), (400, "context_length_exceeded"))

    def test_health_and_models_tell_about_it(self):
        self.assertEqual(self.server.health()["status"], "ok")
        self.assertEqual(self.server.get("/health/ready").status, 200)
        model = self.server.get("/v1/models/llama").json()
        self.assertEqual((model["engine"], model["state"]), ("llama", "ready"))
        self.assertGreater(model["size_bytes"], 10**6)
        self.assertGreater(model["context_length"], 0)
        self.assertEqual(self.server.model("llama")["slots"], 4)


if __name__ == "__main__":
    main()
