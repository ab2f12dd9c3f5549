"""questions - the part of the soak that is no plain stream: several choices, forms, adapters, tokens, embeddings.
Each is asked once when nothing else runs; in company it has to mean the same, to the last byte and number."""

from benchlib.clients import BOUND_S

from http_client import Connection, ProtocolError, request  # behind the path that clients has put in

SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
          "required": ["name", "age"], "additionalProperties": False}
CHAT = {"messages": [{"role": "user", "content": "What is millrace?"}], "max_tokens": 60, "seed": 7}


def texts(answer):
    return [choice.get("text") or choice["message"]["content"] for choice in answer["choices"]]


def numbers(answer):
    return [one["embedding"] for one in answer["data"]]


QUESTIONS = {  # name: where, what, what of the answer is compared
    "three choices": ("/v1/completions", {"prompt": "A fox", "n": 3, "max_tokens": 30, "seed": 3}, texts),
    "a grammar": ("/v1/chat/completions", {**CHAT, "grammar": 'root ::= [a-z]{3} (" " [a-z]{3}){5}'}, texts),
    "a schema": ("/v1/chat/completions", {**CHAT, "response_format": {
        "type": "json_schema", "json_schema": {"name": "one", "schema": SCHEMA}}}, texts),
    "an adapter": ("/v1/completions", {"prompt": "A fox", "max_tokens": 30, "temperature": 0,
                                       "lora": [{"id": 0, "scale": 0.5}]}, texts),
    "tokens": ("/tokenize", {"content": "How is it run? \u6c34\u8f66 " * 20}, lambda answer: answer["tokens"]),
    "an embedding": ("/v1/embeddings", {"input": ["A fox", "What is millrace?"], "pooling": "mean"}, numbers),
}


class Questions:
    """What a model says to each, told once."""

    def __init__(self, port, model):
        self.port, self.model = port, model
        self.said = {name: self.ask(name) for name in QUESTIONS}

    def ask(self, name):
        path, body, meaning = QUESTIONS[name]
        with Connection(self.port, BOUND_S) as connection:
            answer = connection.exchange(request("POST", path, {"model": self.model, **body}))
        if answer.status != 200:
            raise ProtocolError(f"{name}: {answer.status} {answer.text()[:200]}")
        return meaning(answer.json())


def asker(questions):
    def ask(tally, dice, _over):
        name = dice.choice(list(QUESTIONS))
        said = questions.ask(name)
        if said != questions.said[name]:
            raise ProtocolError(f"{name}: {said!r} is not what it was alone: {questions.said[name]!r}")
        tally.add(name)
    return ask
