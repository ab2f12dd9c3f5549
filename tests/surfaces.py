"""surfaces - how each dialect of the API is asked, and what its answers must look like, to the byte
of their framing. Every scenario that is true for one surface can be run over all of them.

`prompt` is what the dialects have in common; `params` are the body members they share (max_tokens,
temperature, stop, seed, model ...)."""

import json
import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

from http_client import ProtocolError, parse_events, request

DONE = "[DONE]"
ID = "[0-9a-f]{32}"


@dataclass
class Answer:
    """What one answer said, whatever its form."""

    deltas: list = field(default_factory=list)
    finish: str = None  # "stop", "length", "error"; None: the surface has no word for it
    tokens: int = None  # how many were generated; None: not told
    usage: dict = None
    error: object = None  # of an error event: an error object, or its message
    progress: list = field(default_factory=list)
    whole: str = None  # not streamed: its text

    @property
    def text(self):
        return "".join(self.deltas) if self.whole is None else self.whole


def expect(condition, what):
    if not condition:
        raise ProtocolError(f"not as the surface says: {what}")


def expect_keys(thing, *keys):
    expect(list(thing) == list(keys), f"{list(thing)} instead of {list(keys)}")


def one_line_json(event):
    """Our events carry compact JSON: no space that a reader of the line could stumble over."""
    value = json.loads(event.data)
    expect(isinstance(value, dict), event)
    return value


class Surface:
    """One way to ask. read_stream() and read_whole() fail on anything that is not exactly its form."""

    name = target = None
    method = "POST"
    can_be_whole = can_stream = True

    def request(self, prompt, stream, **params):
        return request(self.method, self.target, self.body(prompt, stream, params), self.fields(stream))

    def body(self, prompt, stream, params):
        return {"prompt": prompt, "stream": stream, **params}

    def fields(self, stream):
        return ()

    def ask(self, server, prompt="Hi", stream=True, **params):
        """Asks on a connection of its own, reads all of it: an Answer."""
        return self.read(server.exchange(self.request(prompt, stream, **params), self.method), stream)

    def read(self, response, stream):
        expect(response.status == 200, response)
        expect(re.fullmatch(ID, response.field("X-Request-Id") or ""), response)
        if not stream:
            return self.read_whole(response.json())
        check_stream_head(response)
        return self.read_stream(parse_events(response.body))

    def read_stream(self, events):
        answer = Answer()
        for event in self.before_end(list(events)):
            self.take(answer, event)
        return answer

    def before_end(self, events):
        """The events without the terminator, which is there once, as the last."""
        expect(events and events[-1].data == DONE and events[-1].name is None, events[-2:])
        expect(all(event.data != DONE for event in events[:-1]), "the terminator comes twice")
        return events[:-1]

    def take(self, answer, event):
        raise NotImplementedError

    def read_whole(self, value):
        raise NotImplementedError


def check_stream_head(response):
    expect(response.field("Content-Type") == "text/event-stream", response)
    expect(response.field("Cache-Control") == "no-cache", response)
    expect(response.field("X-Accel-Buffering") == "no", response)


def take_error(answer, value):
    """data: {"error": {...}}, as most surfaces have it. True if it was one."""
    if "error" not in value:
        return False
    expect_keys(value, "error")
    expect_keys(value["error"], "message", "type", "param", "code")
    expect(answer.error is None, "a second error event")
    answer.error = value["error"]
    return True


# --- OpenAI ---


class OpenAi(Surface):
    object_of_chunk = object_of_whole = id_prefix = None
    chunk_extras = ()  # members behind "choices" that every chunk has

    def take(self, answer, event):
        expect(event.name is None and event.id is None, event)
        value = one_line_json(event)
        if take_error(answer, value):
            return
        expect(answer.error is None, "a chunk behind the error")
        self.check_identity(value, self.object_of_chunk)
        if not value["choices"]:
            self.take_extra(answer, value)
            return
        expect(len(value["choices"]) == 1 and value["choices"][0]["index"] == 0, event)
        expect(answer.finish is None, "a chunk behind the last one")
        self.take_choice(answer, value["choices"][0], value)

    def check_identity(self, value, kind):
        expect(list(value)[:6] == ["id", "object", "created", "model", "system_fingerprint", "choices"],
               list(value))
        expect(re.fullmatch(self.id_prefix + ID, value["id"]), value["id"])
        expect(value["object"] == kind and isinstance(value["created"], int), value)
        expect(re.fullmatch(r"seed_\d+", value["system_fingerprint"]), value)

    @staticmethod
    def take_extra(answer, value):
        """Usage, or progress that was asked for."""
        if "progress" in value:
            expect(not answer.deltas, "progress behind the first delta")
            answer.progress.append(value["progress"])
        else:
            expect(answer.finish and answer.usage is None, "usage comes once, behind the last chunk")
            answer.usage = value["usage"]

    def take_choice(self, answer, choice, value):
        raise NotImplementedError

    def read_whole(self, value):
        self.check_identity(value, self.object_of_whole)
        expect(list(value)[6:] == ["usage"] and len(value["choices"]) == 1, list(value))
        choice = value["choices"][0]
        return Answer(whole=self.whole_text(choice), finish=choice["finish_reason"],
                      usage=value["usage"], tokens=value["usage"]["completion_tokens"])

    def whole_text(self, choice):
        raise NotImplementedError


class Completions(OpenAi):
    name = "completions"
    target = "/v1/completions"
    id_prefix = "cmpl-"
    object_of_chunk = object_of_whole = "text_completion"

    def take_choice(self, answer, choice, value):
        expect_keys(choice, "text", "index", "logprobs", "finish_reason")
        self.check_extras(choice, value)
        if choice["finish_reason"] is None:
            expect(choice["text"], "an empty delta")
            answer.deltas.append(choice["text"])
        else:
            expect(choice["text"] == "", choice)
            answer.finish = choice["finish_reason"]

    def check_extras(self, choice, value):
        expect(set(list(value)[6:]) <= {"usage"} and value.get("usage") is None, value)

    def whole_text(self, choice):
        expect_keys(choice, "text", "index", "logprobs", "finish_reason")
        return choice["text"]


class CompletionsByQuery(Completions):
    """The curl of "Serving v2": ?stream=true, and nothing about it in the body."""

    name = "completions?stream=true"
    target = "/v1/completions?stream=true"
    can_be_whole = False

    def body(self, prompt, stream, params):
        return {"prompt": prompt, **params}

    def check_extras(self, choice, value):
        if choice["finish_reason"] is None:
            expect(value["delta"] == choice["text"] and "done" not in value, value)
        else:
            expect(value["delta"] == "" and value["done"] is True, value)


class Chat(OpenAi):
    name = "chat"
    target = "/v1/chat/completions"
    id_prefix = "chatcmpl-"
    object_of_chunk, object_of_whole = "chat.completion.chunk", "chat.completion"

    def body(self, prompt, stream, params):
        return {"messages": [{"role": "user", "content": prompt}], "stream": stream, **params}

    def take_choice(self, answer, choice, value):
        expect_keys(choice, "index", "delta", "logprobs", "finish_reason")
        expect(set(list(value)[6:]) <= {"usage"} and value.get("usage") is None, value)
        delta = choice["delta"]
        if choice["finish_reason"] is not None:
            expect(delta == {}, choice)
            answer.finish = choice["finish_reason"]
        elif "role" in delta:
            expect(delta == {"role": "assistant", "content": ""} and not answer.deltas, delta)
        else:
            expect_keys(delta, "content")
            expect(delta["content"], "an empty delta")
            answer.deltas.append(delta["content"])

    def whole_text(self, choice):
        expect_keys(choice, "index", "message", "logprobs", "finish_reason")
        expect_keys(choice["message"], "role", "content", "refusal")
        return choice["message"]["content"]


# --- native ---


class Infer(Surface):
    name = "infer"
    target = "/v1/infer"

    def take(self, answer, event):
        expect(event.name is None, event)
        value = one_line_json(event)
        if take_error(answer, value):
            return
        expect_keys(value, "token")
        answer.deltas.append(value["token"])

    def read_whole(self, value):
        expect_keys(value, "text", "tokens_generated", "finish_reason")
        return Answer(whole=value["text"], tokens=value["tokens_generated"], finish=value["finish_reason"])


class InferByGet(Infer):
    """What a browser's EventSource sends: everything in the query."""

    name = "infer by GET"
    method = "GET"

    def request(self, prompt, stream, **params):
        query = urlencode({"prompt": prompt, "stream": str(stream).lower(), **params})
        return request("GET", f"{self.target}?{query}")


class Inference(Surface):
    name = "inference"
    target = "/v1/inference"
    can_be_whole = False

    def body(self, prompt, stream, params):
        return {"prompt": prompt, **params}

    def take(self, answer, event):
        expect(event.name is None, event)
        value = one_line_json(event)
        getattr(self, "take_" + value["event"])(answer, value)

    @staticmethod
    def take_started(answer, value):
        expect_keys(value, "event", "job_id", "model", "started_at")
        expect(not answer.deltas and re.fullmatch(ID, value["job_id"]), value)
        expect(re.fullmatch(r"\d{13}", value["started_at"]), value)
        answer.progress.append("started")

    @staticmethod
    def take_token(answer, value):
        expect_keys(value, "event", "t", "i")
        expect(answer.progress == ["started"] and value["i"] == len(answer.deltas), value)
        answer.deltas.append(value["t"])

    @staticmethod
    def take_end(answer, value):
        expect_keys(value, "event", "tokens_out", "decode_time_ms", "stop_reason")
        expect(answer.finish is None, "a second end")
        answer.tokens = value["tokens_out"]
        answer.finish = {"max_tokens": "length", "eos": "stop", "stop_sequence": "stop",
                         "cancelled": "error"}[value["stop_reason"]]

    @staticmethod
    def take_error(answer, value):
        expect_keys(value, "event", "code", "message")
        expect(value["code"] == "INFERENCE_FAILED", value)
        answer.error = value["message"]


class Generate(Surface):
    name = "generate"
    target = "/generate"
    can_stream = False

    def body(self, prompt, stream, params):
        return {"prompt": prompt, **params}

    def read_whole(self, value):
        expect_keys(value, "text", "prompt", "tokens_generated", "finish_reason")
        return Answer(whole=value["text"], tokens=value["tokens_generated"], finish=value["finish_reason"])


class GenerateStream(Generate):
    name = "generate/stream"
    target = "/generate/stream"
    can_be_whole, can_stream = False, True

    def before_end(self, events):
        expect(events and [event.name for event in events].index("done") == len(events) - 1, events[-2:])
        return events

    def take(self, answer, event):
        value = one_line_json(event)
        if event.name == "token":
            expect_keys(value, "token")
            answer.deltas.append(value["token"])
        elif event.name == "error":
            expect_keys(value, "error")
            answer.error = value["error"]
        else:
            expect_keys(value, "tokens_generated", "finish_reason")
            answer.tokens, answer.finish = value["tokens_generated"], value["finish_reason"]


class Raw(Surface):
    """?format=raw on the route of another surface, which parses the request."""

    can_be_whole = False

    def __init__(self, route):
        self.route = route
        self.name = f"{route.name} as raw"
        self.method = route.method
        self.target = route.target + "?format=raw"

    def request(self, prompt, stream, **params):
        data = self.route.request(prompt, stream, **params)
        line, rest = data.split(b"\r\n", 1)
        method, target, version = line.split(b" ")
        target += (b"&" if b"?" in target else b"?") + b"format=raw"
        return b"%s %s %s\r\nAccept: text/event-stream\r\n%s" % (method, target, version, rest)

    def before_end(self, events):
        expect(events and events[-1].data == '{"done":true}', events[-2:])
        return events[:-1]

    def take(self, answer, event):
        expect(event.name is None, event)
        value = one_line_json(event)
        if take_error(answer, value):
            return
        expect_keys(value, "delta")
        answer.deltas.append(value["delta"])


completions, chat, infer, inference = Completions(), Chat(), Infer(), Inference()
generate, generate_stream = Generate(), GenerateStream()
NATIVE = (completions, CompletionsByQuery(), chat, infer, InferByGet(), inference, generate, generate_stream)
SURFACES = (*NATIVE, *(Raw(surface) for surface in NATIVE))
STREAMING = tuple(surface for surface in SURFACES if surface.can_stream)
WHOLE = tuple(surface for surface in SURFACES if surface.can_be_whole)
