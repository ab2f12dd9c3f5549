"""stops - what ends an answer, and what it cost: stop strings, max_tokens, usage, seeds; through
HTTP, on every surface."""

import unittest

from harness import Server, main
from surfaces import STREAMING, SURFACES, chat, completions, generate, inference

TEXT = "one two three END four 你好 five"
TOKENS = len(TEXT.encode())  # one byte each


class Stops(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(dummy_text=TEXT, dummy_tokens=TOKENS, dummy_delay_ms=0)
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)

    def ask_everywhere(self, **params):
        for surface in SURFACES:
            for stream in (False, True):
                if (surface.can_stream if stream else surface.can_be_whole):
                    with self.subTest(surface.name, stream=stream, **params):
                        yield surface.ask(self.server, stream=stream, **params)

    def test_a_stop_string_does_not_come_out(self):
        """Although its bytes come in tokens of their own."""
        for answer in self.ask_everywhere(stop="END"):
            self.assertEqual(answer.text, "one two three ")
            self.assertIn(answer.finish, ("stop", None))

    def test_of_several_the_one_complete_first_wins(self):
        for stream in (False, True):
            answer = chat.ask(self.server, stream=stream, stop=["four", "你", "three END"])
            self.assertEqual((answer.text, answer.finish), ("one two ", "stop"))

    def test_what_only_looked_like_a_stop_comes_out(self):
        for answer in self.ask_everywhere(stop="five!"):
            self.assertEqual(answer.text, TEXT)
        for answer in self.ask_everywhere(stop="ENDE"):
            self.assertEqual(answer.text, TEXT)

    def test_a_stop_of_several_bytes_a_character(self):
        for answer in self.ask_everywhere(stop="好"):
            self.assertEqual(answer.text, "one two three END four 你")

    def test_max_tokens_is_exact(self):
        for limit in (1, 2, TOKENS - 1):
            for answer in self.ask_everywhere(max_tokens=limit):
                self.assertEqual(answer.text, TEXT.encode()[:limit].decode())
                self.assertIn(answer.tokens, (limit, None))
                self.assertIn(answer.finish, ("length", None))

    def test_the_end_of_the_text_is_a_stop_and_not_a_length(self):
        for answer in self.ask_everywhere(max_tokens=TOKENS + 1):
            self.assertEqual(answer.text, TEXT)
            self.assertIn(answer.finish, ("stop", None))

    def test_each_surface_has_its_word_for_the_end(self):
        def reason(data):
            return self.server.exchange(data).text()

        self.assertIn('"stop_reason":"stop_sequence"', reason(inference.request("x", True, stop="two")))
        self.assertIn('"stop_reason":"max_tokens"', reason(inference.request("x", True, max_tokens=3)))
        self.assertIn('"stop_reason":"eos"', reason(inference.request("x", True)))
        self.assertEqual(generate.ask(self.server, stream=False, max_tokens=3).finish, "length")

    def test_usage_is_told_in_whole_answers_and_in_streams_that_ask(self):
        for surface, prompt_tokens in ((completions, 2), (chat, len("user: Hi\nassistant: "))):
            wanted = {"prompt_tokens": prompt_tokens, "completion_tokens": 5, "total_tokens": prompt_tokens + 5,
                      "prompt_tokens_details": {"cached_tokens": 0}}
            self.assertEqual(surface.ask(self.server, stream=False, max_tokens=5).usage, wanted)
            asked = surface.ask(self.server, max_tokens=5, stream_options={"include_usage": True})
            self.assertEqual(asked.usage, wanted)
            self.assertIsNone(surface.ask(self.server, max_tokens=5).usage)

    def test_default_max_tokens_is_in_force(self):
        with Server(dummy_text=TEXT, dummy_tokens=TOKENS, dummy_delay_ms=0, default_max_tokens=4) as server:
            for surface in STREAMING:
                self.assertEqual(surface.ask(server).text, "one ")

    def test_a_random_seed_is_told_and_a_wished_one_is_kept(self):
        def fingerprint(**params):
            return self.server.exchange(completions.request("x", False, **params)).json()["system_fingerprint"]

        self.assertEqual(fingerprint(seed=7), "seed_7")
        self.assertNotEqual(fingerprint(), fingerprint())

    def test_neutral_and_strong_sampling_leave_the_dummy_alone(self):
        for params in ({"temperature": 0}, {"temperature": 2, "top_k": 5, "top_p": 0.5, "min_p": 0.1},
                       {"repeat_penalty": 1.5, "frequency_penalty": 2, "presence_penalty": -2},
                       {"logit_bias": {"2": -100, "3": 5}}, {"top_p": 0}, {"top_k": -1},
                       {"typical_p": 0.5, "top_n_sigma": 1, "min_keep": 3, "dynatemp_range": 0.5},
                       {"xtc_probability": 1, "xtc_threshold": 0.1, "samplers": ["xtc", "top-k"], "top_k": 1},
                       {"dry_multiplier": 2, "dry_allowed_length": 0, "dry_penalty_last_n": -1},
                       {"dry_multiplier": 2, "dry_sequence_breakers": ["one", " "], "samplers": "dt"},
                       {"mirostat": 1}, {"mirostat": 2, "mirostat_tau": 1, "mirostat_eta": 1}):
            with self.subTest(**params):
                self.assertEqual(completions.ask(self.server, stream=False, **params).text, TEXT)

    def test_the_context_ends_an_answer_too(self):
        """A prompt that leaves room for three tokens."""
        context = self.server.model()["context_tokens"]
        answer = completions.ask(self.server, prompt="x" * (context - 3), stream=False, max_tokens=30)
        self.assertEqual((answer.finish, answer.text), ("length", TEXT[:answer.tokens]))
        self.assertLessEqual(answer.tokens, 4)
        self.assertGreaterEqual(answer.tokens, 1)


if __name__ == "__main__":
    main()
