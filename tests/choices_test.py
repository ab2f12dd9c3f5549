"""choices - `n` answers to one prompt: each with its index, its end and the seed that it can be had again
with; one request for whoever cancels it, and one prompt for whoever computes it."""

import os
import re
import signal
import unittest

from harness import Server, eventually, main, seeded_random
from http_client import parse_events, request
from roles import role_pid
from surfaces import chat, completions, expect, infer

SYSTEM = " ".join(f"Rule {n}: on day {n} the {thing} is kept in room {n * 7} by the door."
                  for n, thing in enumerate(["lamp", "rope", "kettle", "ladder", "basket", "mirror", "candle"], 1))
SURFACES = (chat, completions)
SHORT = "Name three small animals that live by the water."
N = 4
SEED = 1234


class Choices:
    """What one answer said, by index; every chunk is held to the form of its surface."""

    def __init__(self, n):
        self.texts, self.ends, self.seeds, self.roles = [""] * n, [None] * n, [None] * n, [0] * n
        self.usage = self.error = None
        self.ids = set()

    def take_identity(self, value):
        expect(re.fullmatch(r"seed_\d+", value["system_fingerprint"]), value)
        self.ids.add(value["id"].rpartition("-")[2])

    def take_chunk(self, value):
        if "error" in value:
            expect(self.error is None, "a second error event")
            self.error = value["error"]
            return
        expect(self.error is None, "a chunk behind the error")
        self.take_identity(value)
        if not value["choices"]:
            expect(self.usage is None and None not in self.ends, "usage comes once, behind the last end")
            self.usage = value["usage"]
            return
        (choice,) = value["choices"]
        index, delta = choice["index"], choice.get("delta", {"content": choice.get("text")})
        expect(self.ends[index] is None, "a chunk behind the end of its choice")
        self.seeds[index] = int(value["system_fingerprint"][5:])
        self.roles[index] += "role" in delta
        self.texts[index] += delta.get("content") or ""
        self.ends[index] = choice["finish_reason"]


def read_stream(response, n):
    expect(response.status == 200, response)
    events, answer = parse_events(response.body), Choices(n)
    expect([event.data for event in events].index("[DONE]") == len(events) - 1, events[-2:])
    for event in events[:-1]:
        answer.take_chunk(event.json())
    return answer


def read_whole(response, n):
    expect(response.status == 200, response)
    value, answer = response.json(), Choices(n)
    answer.take_identity(value)
    expect([choice["index"] for choice in value["choices"]] == list(range(n)), value["choices"])
    answer.texts = [choice["message"]["content"] if "message" in choice else choice["text"]
                    for choice in value["choices"]]
    answer.ends = [choice["finish_reason"] for choice in value["choices"]]
    answer.usage = value["usage"]
    return answer


def ask(server, surface, n, stream, prompt="x", **params):
    if stream:
        params["stream_options"] = {"include_usage": True}
    response = server.exchange(surface.request(prompt, stream, n=n, **params))
    answer = (read_stream if stream else read_whole)(response, n)
    expect(answer.ids == {response.field("X-Request-Id")}, answer.ids)
    return answer


class OnTheDummy(unittest.TestCase):
    def test_each_choice_is_whole_and_the_prompt_counts_once(self):
        with Server(dummy_text="Hello, fox", dummy_tokens=5, dummy_delay_ms=0, dummy_slots=8) as server:
            for surface in SURFACES:
                alone = ask(server, surface, 1, False).usage
                for stream in (False, True):
                    with self.subTest(surface.name, stream=stream):
                        answer = ask(server, surface, 8, stream)
                        self.assertEqual((answer.texts, answer.ends), (["Hello, fox"] * 8, ["stop"] * 8))
                        self.assertEqual(answer.roles, [stream and surface is chat] * 8)
                        self.assertEqual((answer.usage["prompt_tokens"], answer.usage["completion_tokens"]),
                                         (alone["prompt_tokens"], 8 * alone["completion_tokens"]))

    def test_choices_of_a_list_of_prompts_follow_each_other(self):
        with Server(dummy_text="Hello, fox", dummy_tokens=5, dummy_delay_ms=0) as server:
            body = {"prompt": ["a", "b"], "n": 2, "echo": True}
            answer = read_whole(server.post("/v1/completions", body), 4)
            self.assertEqual(answer.texts, ["aHello, fox", "aHello, fox", "bHello, fox", "bHello, fox"])

    def test_what_cannot_be_is_refused_by_name(self):
        with Server(dummy_slots=3, dummy_delay_ms=0) as server:
            for surface in SURFACES:
                for n, code, words in ((0, "invalid_value", "1..16"), (17, "invalid_value", "1..16"),
                                       (4, "invalid_value", "1..3"), ("2", "invalid_type", "integer")):
                    error = server.exchange(surface.request("x", True, n=n)).error()
                    self.assertEqual((error["code"], error["param"]), (code, "n"))
                    self.assertIn(words, error["message"])
                error = server.exchange(surface.request("x", True, n=2, best_of=3)).error()
                self.assertEqual((error["code"], error["param"]), ("unsupported_parameter", "best_of"))
                self.assertEqual(ask(server, surface, 3, True).ends, ["stop"] * 3)

    def test_one_that_finds_no_room_takes_the_others_along(self):
        with Server(dummy_slots=3, max_model_queue=0, dummy_delay_ms=60_000) as server:
            with server.connect() as running:
                running.send(infer.request("x", True))
                server.wait_model(slots_busy=1)
                response = server.exchange(chat.request("x", True, n=3))
                self.assertEqual((response.status, response.error()["code"]), (429, "queue_full"))
                server.wait_model(slots_busy=1, queued=0)
            server.wait_idle()

    def test_a_client_that_leaves_frees_every_slot(self):
        with Server(dummy_slots=2, dummy_delay_ms=20, dummy_tokens=4000) as server:
            with server.connect() as other, server.connect() as connection:
                other.send(infer.request("x", True))
                server.wait_model(slots_busy=1)
                connection.send(chat.request("x", True, n=2))
                server.wait_model(slots_busy=2, queued=1)  # one runs, one waits
                connection.reset()
                server.wait_model(slots_busy=1, queued=0)
            server.wait_idle()

    def test_a_request_is_cancelled_by_its_one_id(self):
        with Server(dummy_slots=2, dummy_delay_ms=20, dummy_tokens=4000) as server:
            with server.connect() as other, server.connect() as connection:
                other.send(infer.request("x", True))
                server.wait_model(slots_busy=1)
                stream = connection.stream(chat.request("x", True, n=2))
                self.assertIsNotNone(stream.next_event())
                server.wait_model(slots_busy=2, queued=1)
                name = stream.head.field("X-Request-Id")
                listed = [entry["id"] for entry in server.get("/v1/requests").json()["data"]]
                self.assertEqual(name[-1], "0")
                self.assertTrue({name, name[:-1] + "1"} <= set(listed), listed)
                self.assertEqual(server.exchange(request("DELETE", f"/v1/requests/{name}"), "DELETE").status, 204)
                rest = [event.data for event in stream.events()]
                self.assertEqual((sum('"code":"cancelled"' in data for data in rest), rest.count("[DONE]"), rest[-1]),
                                 (1, 1, "[DONE]"))
                server.wait_model(slots_busy=1, queued=0)
            server.wait_idle()

    def test_a_worker_that_dies_ends_all_of_them_once(self):
        with Server(dummy_slots=4, dummy_delay_ms=20, dummy_tokens=4000) as server:
            with server.connect() as connection:
                stream = connection.stream(completions.request("x", True, n=N))
                seen = set()
                while len(seen) < N:
                    seen.add(stream.next_event().json()["choices"][0]["index"])
                os.kill(role_pid(server, "worker", "dummy"), signal.SIGKILL)
                rest = [event.data for event in stream.events()]
            self.assertEqual((sum('"code":"worker_lost"' in data for data in rest), rest.count("[DONE]"), rest[-1]),
                             (1, 1, "[DONE]"))
            server.wait_idle()
            self.assertEqual(ask(server, completions, N, True, max_tokens=2).ends, ["length"] * N)

    def test_a_crowd_that_leaves_as_it_likes_leaves_nothing(self):
        random = seeded_random()
        with Server(dummy_slots=4, dummy_delay_ms=2, dummy_tokens=30, max_model_queue=256,
                    max_queue_wait_ms=60_000) as server:
            connections = []
            for _ in range(40):
                n, stream = random.randint(1, N), random.random() < 0.7
                connection = server.connect()
                connection.send(random.choice(SURFACES).request("x", stream, n=n))
                connections.append((connection, n, stream))
            random.shuffle(connections)
            for connection, n, stream in connections:
                if random.random() < 0.5:
                    response = connection.response("POST")
                    answer = (read_stream if stream else read_whole)(response, n)
                    self.assertEqual(answer.ends, ["stop"] * n)
                random.choice((connection.close, connection.reset))()
            server.wait_idle()
            self.assertEqual(server.get("/v1/requests").json()["data"], [])


class OnTheShippedModel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(ready=None, llama_slots=N)
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        cls.server.need_llama()

    def test_choice_i_is_what_a_request_with_seed_and_i_says(self):
        params = {"prompt": "Tell me a story about a fox.", "temperature": 1.2, "max_tokens": 24}
        for surface in SURFACES:
            alone = [surface.ask(self.server, stream=False, seed=SEED + i, **params).text for i in range(N)]
            self.assertGreater(len(set(alone)), 1)
            for stream in (False, True):
                with self.subTest(surface.name, stream=stream):
                    answer = ask(self.server, surface, N, stream, seed=SEED, **params)
                    self.assertEqual(answer.texts, alone)
                    if stream:
                        self.assertEqual(answer.seeds, [SEED + i for i in range(N)])

    def test_without_a_seed_each_can_be_had_again_with_the_one_it_tells(self):
        params = {"prompt": "Tell me a story about a duck.", "temperature": 1.2, "max_tokens": 24}
        answer = ask(self.server, chat, N, True, **params)
        self.assertEqual(len(set(answer.seeds)), N)
        for seed, text in zip(answer.seeds, answer.texts):
            self.assertEqual(chat.ask(self.server, stream=False, seed=seed, **params).text, text)

    def test_greedy_choices_are_equal(self):
        answer = ask(self.server, chat, N, False, prompt="Count to 12.", temperature=0, max_tokens=24)
        self.assertEqual(len(set(answer.texts)), 1)

    def test_a_prompt_is_computed_once(self):
        """By all choices together, but for the last tokens, whose logits each wants: two in this profile. However
        short it is: one of some 20 tokens is less than what others wait for."""
        def metric(name):
            match = re.search(rf'^{name}{{model="llama"}} (\S+)$', server.get("/metrics").text(), re.MULTILINE)
            return int(float(match[1])) if match else 0

        for prompt, params in ((SYSTEM, {}), (SHORT, {"seed": SEED})):
            with self.subTest(prompt), Server(ready=None, llama_slots=N) as server:
                server.need_llama()
                answer = ask(server, completions, N, True, prompt=prompt, temperature=1.2, max_tokens=8, **params)
                tokens = answer.usage["prompt_tokens"]
                self.assertEqual(answer.usage["prompt_tokens_details"]["cached_tokens"], 0)
                eventually(lambda: metric("millrace_prompt_tokens_total") == N * tokens, "all are counted")
                put_in = N * tokens - metric("millrace_cached_tokens_total")
                print(f"of {N} x {tokens} prompt tokens {put_in} were put in")
                self.assertLessEqual(put_in, tokens + (N - 1) * 2)
                if params:
                    alone = [completions.ask(self.server, stream=False, prompt=prompt, temperature=1.2, max_tokens=8,
                                             seed=SEED + i).text for i in range(N)]
                    self.assertEqual(answer.texts, alone)
                again = ask(server, completions, N, True, prompt=prompt, temperature=1, max_tokens=4)
                self.assertGreaterEqual(again.usage["prompt_tokens_details"]["cached_tokens"], tokens - 2)


if __name__ == "__main__":
    main()
