"""chats - clients that send the whole of their chat in every turn, as a web page does that keeps it: no
session id. A thread each; they look at the tokens, so they cost more than bench/load."""

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from benchlib.servers import ServerFailed

ASK_S = 300


class Turn(NamedTuple):
    ttft_s: float
    prompt_tokens: int
    cached_tokens: int
    text: str


def usage_of(event, before):
    """(prompt tokens, cached tokens), as OpenAI has them; `before` in an event that does not tell."""
    usage = event.get("usage")
    if not usage:
        return before
    return usage["prompt_tokens"], usage.get("prompt_tokens_details", {}).get("cached_tokens", 0)


def read_turn(lines, start_s, clock=time.monotonic):
    """Of the lines of an event stream."""
    ttft_s, text, counts = None, "", (0, 0)
    for line in lines:
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        if "error" in event:
            raise ServerFailed(f"an error event: {event['error']}")
        counts = usage_of(event, counts)
        for choice in event["choices"]:
            piece = choice["delta"].get("content") or ""
            text += piece
            if piece and ttft_s is None:
                ttft_s = clock() - start_s
    if ttft_s is None or counts[0] == 0:
        raise ServerFailed("an answer without text or usage")
    return Turn(ttft_s, *counts, text)


def ask(server, model, messages, max_tokens, **more):
    body = {"model": model, "messages": messages, "stream": True, "ignore_eos": True, "max_tokens": max_tokens,
            "stream_options": {"include_usage": True}, **more}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=ASK_S)
    start_s = time.monotonic()
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise ServerFailed(f"status {answer.status}: {answer.read()[:200]!r}")
        return read_turn(answer, start_s)
    finally:
        connection.close()


def chat(server, model, system, questions, max_tokens, **more):
    """The turns of one client."""
    messages, turns = [{"role": "system", "content": system}], []
    for question in questions:
        messages.append({"role": "user", "content": question})
        turns.append(ask(server, model, messages, max_tokens, **more))
        messages.append({"role": "assistant", "content": turns[-1].text})
    return turns


def chats(server, model, talks, max_tokens, **more):
    """[turns] of each (system, questions): all clients at once."""
    with ThreadPoolExecutor(len(talks)) as pool:
        return list(pool.map(lambda talk: chat(server, model, *talk, max_tokens, **more), talks))


def cached_share(turns):
    return sum(turn.cached_tokens for turn in turns) / sum(turn.prompt_tokens for turn in turns)
