"""prompts - texts of about so many tokens of a model, each unlike any other from its beginning on, and files
of requests that bench/load sends in turn (--bodies)."""

import json
import random

from benchlib.chats import ask

THINGS = ["lamp", "rope", "kettle", "ladder", "basket", "mirror", "candle", "shovel", "bucket", "blanket"]
WHOLE = {"stream": True, "ignore_eos": True, "stream_options": {"include_usage": True}}


def sentences(name, count):
    """A different text for each name, the same for the same."""
    dice = random.Random(name)
    return f"Book {name}. " + " ".join(
        f"Rule {dice.randrange(100)}: on day {dice.randrange(30)} the {dice.choice(THINGS)} is kept in room "
        f"{dice.randrange(100)} by the {dice.choice(THINGS)}." for _ in range(count))


class Prompts:
    """How many tokens a sentence has with this model, and what its template adds: learned from two answers."""

    FEW, MANY = 4, 24

    def __init__(self, each, more):
        self.each, self.more = each, more

    @classmethod
    def learn(cls, server, model):
        few, many = (ask(server, model, [{"role": "user", "content": sentences("learn", count)}], 1).prompt_tokens
                     for count in (cls.FEW, cls.MANY))
        each = (many - few) / (cls.MANY - cls.FEW)
        return cls(each, few - cls.FEW * each)

    def text(self, name, tokens):
        """As a user's only message: so many tokens with the template, to a sentence."""
        return sentences(name, max(1, round((tokens - self.more) / self.each)))


def body(model, messages, max_tokens, **more):
    return {"model": model, "messages": messages, "max_tokens": max_tokens, **WHOLE, **more}


def user(text):
    return [{"role": "user", "content": text}]


def write_bodies(file, bodies):
    file.write_text("".join(json.dumps(one) + "\n" for one in bodies))
    return file
