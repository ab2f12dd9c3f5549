#!/usr/bin/env python3
"""prefix - what a prompt costs that begins as an earlier one did: the share of the prompts that was there
already, and the median time to the first token. Ours with and without its cache and llama-server, in turn.

    bench/prefix.py                      one system prompt for 8 clients, and 8 chats of 8 turns
    bench/prefix.py --model big.gguf --context 2048 --shared 1000

The shipped model has a context of 1024 tokens: what is shared is then some 450 of them. Each round starts its
servers anew. Exit status: 0 measured; 1 a server or an answer failed; 2 wrong arguments or a program is missing."""

import argparse
import http.client
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.dont_write_bytecode = True

from benchlib.servers import NANO, PEER, ROOT, Ours, Peer, ServerFailed
from benchlib.stats import quantile

THINGS = ["lamp", "rope", "kettle", "ladder", "basket", "mirror", "candle", "shovel", "bucket", "blanket"]
ANSWER_TOKENS = 16
ASK_S = 300


class Turn(NamedTuple):
    ttft_s: float
    prompt_tokens: int
    cached_tokens: int
    text: str


class CachingPeer(Peer):
    """llama-server with its prompt cache as it comes; else as `tuned`."""

    def __init__(self, given):
        super().__init__()
        self.model = given.model
        self.args = ["--ctx-size", str(given.context * given.slots), "--parallel", str(given.slots), "--threads", "1",
                     "--threads-batch", "1", "--flash-attn", "off", "--log-disable"]

    def command(self):
        return [str(self.program), "--model", str(self.model), "--host", "127.0.0.1", "--port", str(self.port),
                *self.args]


def system_prompt(number, tokens):
    """About so many tokens of the shipped model: 24 a sentence."""
    return f"Book {number}. " + " ".join(
        f"Rule {n}: on day {n % 30} the {THINGS[n % len(THINGS)]} is kept in room {n * 7 % 100} by the door."
        for n in range(max(1, tokens // 24)))


def usage_of(event, before):
    """(prompt tokens, cached tokens): as OpenAI has them; of llama-server, what its timings say."""
    usage, timings = event.get("usage"), event.get("timings")
    prompt, cached = before
    if usage:
        prompt = usage["prompt_tokens"]
        cached = usage.get("prompt_tokens_details", {}).get("cached_tokens", cached)
    if timings and "cache_n" in timings:
        cached = timings["cache_n"]
    return prompt, cached


def ask(server, model, messages):
    body = {"model": model, "messages": messages, "stream": True, "temperature": 0, "max_tokens": ANSWER_TOKENS,
            "stream_options": {"include_usage": True}}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=ASK_S)
    start, ttft_s, text, counts = time.monotonic(), None, "", (0, 0)
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise ServerFailed(f"status {answer.status}: {answer.read()[:200]!r}")
    for line in answer:
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        counts = usage_of(event, counts)
        for choice in event["choices"]:
            piece = choice["delta"].get("content") or ""
            text += piece
            if piece and ttft_s is None:
                ttft_s = time.monotonic() - start
    connection.close()
    if ttft_s is None or counts[0] == 0:
        raise ServerFailed("an answer without text or usage")
    return Turn(ttft_s, *counts, text)


def shared(server, model, given):
    """All at once, with one system prompt that nobody had before."""
    system = {"role": "system", "content": system_prompt(time.monotonic_ns() % 100_000, given.shared)}
    prompts = [[system, {"role": "user", "content": f"Count to {n + 5}."}] for n in range(given.clients)]
    with ThreadPoolExecutor(given.clients) as pool:
        return list(pool.map(lambda messages: ask(server, model, messages), prompts))


def chats(server, model, given):
    """Every client sends the whole of its chat each time. The first turns have nothing to find."""
    def chat(client):
        messages, turns = [{"role": "system", "content": f"You talk to guest {client}."}], []
        for turn in range(given.turns):
            messages.append({"role": "user", "content": f"Tell me about room {client * 10 + turn} and day {turn}."})
            turns.append(ask(server, model, messages))
            messages.append({"role": "assistant", "content": turns[-1].text})
        return turns[1:]

    with ThreadPoolExecutor(given.clients) as pool:
        return [turn for turns in pool.map(chat, range(given.clients)) for turn in turns]


def line(name, row, turns):
    prompt, cached = (sum(getattr(turn, field) for turn in turns) for field in ("prompt_tokens", "cached_tokens"))
    ttft = [turn.ttft_s * 1000 for turn in turns]
    return (f"{row:8} {name:18} cached {cached / prompt:5.2f} of {prompt:6} prompt tokens   "
            f"TTFT p50 {quantile(ttft, 0.5):8.1f} ms   p95 {quantile(ttft, 0.95):8.1f} ms")


def servers(given):
    ours = {"llama_model_path": str(given.model), "llama_n_ctx": given.context, "llama_slots": given.slots,
            "llama_n_threads": 1}
    program = given.build / "millrace"
    yield "ours", lambda: Ours(program, ready=("llama",), **ours), "llama"
    yield "ours, no cache", lambda: Ours(program, ready=("llama",), prefix_cache_bytes=0, **ours), "llama"
    if not given.no_peer and Peer.is_built():
        yield "llama-server", lambda: CachingPeer(given), "any"


def arguments():
    parser = argparse.ArgumentParser(description="What a prompt costs that begins as an earlier one did.")
    parser.add_argument("--model", type=Path, default=NANO, help="a GGUF file (the shipped one)")
    parser.add_argument("--context", type=int, default=1024, help="tokens of a sequence (1024)")
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--turns", type=int, default=8, help="of a chat (8)")
    parser.add_argument("--shared", type=int, default=450, help="tokens of the system prompt, about (450)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-peer", action="store_true", help=f"without {PEER.relative_to(ROOT)}")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release", metavar="DIR")
    given = parser.parse_args()
    for name in ("context", "slots", "clients", "turns", "shared", "rounds"):
        if not 1 <= getattr(given, name) <= 65536:
            parser.error(f"--{name} {getattr(given, name)}: allowed are 1..65536")
    if not os.access(given.build / "millrace", os.X_OK):
        parser.error(f"{given.build / 'millrace'} is missing: tools/build release --buildtype=release")
    return given


def main():
    given = arguments()
    found = {}
    for _ in range(given.rounds):
        for name, make, model in servers(given):
            with make() as server:
                for row, measure in (("shared", shared), ("chats", chats)):
                    found.setdefault((row, name), []).extend(measure(server, model, given))
    for (row, name), turns in sorted(found.items(), reverse=True):
        print(line(name, row, turns))


if __name__ == "__main__":
    try:
        main()
    except (ServerFailed, OSError) as failure:
        sys.exit(f"prefix: {failure}")
