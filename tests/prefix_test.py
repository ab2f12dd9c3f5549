"""prefix - a prompt that begins as an earlier one did is not computed again: usage and metrics say how much
was there, and nothing else tells, least of all the text. On the shipped model."""

import re
import unittest
from concurrent.futures import ThreadPoolExecutor

from harness import Server, eventually, main
from surfaces import chat, completions

SYSTEM = " ".join(f"Rule {n}: on day {n} the {thing} is kept in room {n * 7} by the door."
                  for n, thing in enumerate(["lamp", "rope", "kettle", "ladder", "basket", "mirror", "candle"], 1))
QUESTIONS = ["Tell me a story about a fox.", "What is continuous batching?", "Count to 12.", "7 + 8",
             "Repeat after me: bina toru", "What is a slot?", "Tell me a story about a duck.",
             "How can I stop a generation?"]
TOKENS = 24


def messages_of(system, *turns):
    roles = ("user", "assistant")
    return [{"role": "system", "content": system}] + [
        {"role": roles[n % 2], "content": text} for n, text in enumerate(turns)]


def ask(server, messages):
    """(text, cached tokens, prompt tokens) of a greedy answer."""
    answer = chat.ask(server, stream=False, messages=messages, temperature=0, max_tokens=TOKENS)
    return answer.text, answer.usage["prompt_tokens_details"]["cached_tokens"], answer.usage["prompt_tokens"]


def metric(server, name):
    match = re.search(rf'^{name}{{model="llama"}} (\S+)$', server.get("/metrics").text(), re.MULTILINE)
    return float(match[1]) if match else 0


class Prefix(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """Without a cache: what all answers are compared with."""
        cls.plain = Server(ready=None, llama_slots=4, prefix_cache_bytes=0)
        cls.plain.__enter__()
        cls.addClassCleanup(cls.plain.__exit__, None, None, None)
        cls.plain.need_llama()

    def server(self, **keys):
        server = Server(ready=None, llama_slots=4, **keys)
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        server.need_llama()
        return server

    def ask_like_plain(self, server, messages):
        text, cached, prompt = ask(server, messages)
        plain_text, plain_cached, plain_prompt = ask(self.plain, messages)
        self.assertEqual((text, prompt), (plain_text, plain_prompt))
        self.assertEqual(plain_cached, 0)
        self.assertLess(cached, prompt)
        return cached, prompt

    def test_a_second_request_finds_the_system_prompt(self):
        server = self.server()
        first, prompt = self.ask_like_plain(server, messages_of(SYSTEM, QUESTIONS[0]))
        self.assertEqual(first, 0)
        second, _ = self.ask_like_plain(server, messages_of(SYSTEM, QUESTIONS[1]))
        self.assertGreater(second, prompt // 2)
        again, prompt = self.ask_like_plain(server, messages_of(SYSTEM, QUESTIONS[1]))
        self.assertGreater(again, prompt // 2)
        eventually(lambda: metric(server, "millrace_cached_tokens_total") == second + again, "what was cached is counted")
        self.assertEqual(metric(server, "millrace_prefix_hits_total"), 2)

    def test_eight_clients_with_one_system_prompt(self):
        server = self.server()
        prompts = [messages_of(SYSTEM, question) for question in QUESTIONS]
        with ThreadPoolExecutor(len(prompts)) as pool:
            results = list(pool.map(lambda messages: ask(server, messages), prompts))
        for messages, (text, _, _) in zip(prompts, results):
            self.assertEqual(text, ask(self.plain, messages)[0])
        # Who comes while the first one's prompt goes in waits for it; who comes later finds it saved, or
        # saves it: with four slots two can miss it.
        self.assertGreaterEqual(sum(cached > 0 for _, cached, _ in results), 4)

    def test_the_turns_of_a_chat_grow_what_is_there(self):
        server = self.server()
        turns, before = [], 0
        for question in QUESTIONS[:5]:
            turns.append(question)
            messages = messages_of("You are brief.", *turns)
            cached, prompt = self.ask_like_plain(server, messages)
            self.assertGreaterEqual(cached, before * 4 // 5)
            before = prompt
            turns.append(ask(self.plain, messages)[0])

    def test_a_client_that_leaves_in_the_middle_leaves_what_it_put_in(self):
        server = self.server()
        messages = messages_of(SYSTEM, QUESTIONS[0])
        with server.connect() as connection:
            events = connection.stream(chat.request("", True, messages=messages, temperature=0, ignore_eos=True))
            while '"content":' not in events.next_event().data:
                pass
        server.wait_idle("llama")
        cached, prompt = self.ask_like_plain(server, messages)
        self.assertGreater(cached, prompt // 2)

    def test_the_cap_holds_and_so_do_the_answers(self):
        cap = 1 << 20  # some 700 tokens of the shipped model
        server = self.server(prefix_cache_bytes=cap)
        for number in range(6):
            for question in QUESTIONS[:3]:
                self.ask_like_plain(server, messages_of(f"Book {number}. {SYSTEM}", question))
            self.assertLessEqual(metric(server, "millrace_prefix_cache_bytes"), cap)
        self.assertGreater(metric(server, "millrace_prefix_cache_bytes"), 0)

    def test_plain_texts_share_as_well(self):
        server = self.server()
        cached = [completions.ask(server, prompt=SYSTEM + ending, stream=False, temperature=0, max_tokens=4)
                  .usage["prompt_tokens_details"]["cached_tokens"] for ending in (" One", " Two", " Three")]
        self.assertEqual(cached[0], 0)
        self.assertTrue(all(count > 50 for count in cached[1:]), cached)


if __name__ == "__main__":
    main()
