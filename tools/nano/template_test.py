#!/usr/bin/env python3
"""template_test - sample.c writes what chat_template.jinja makes of the same messages.

Jinja as transformers and llama.cpp run it: tojson neither sorts keys nor escapes for HTML. Calls are
given both as text and as tool_calls. NANO_SAMPLE names the program. Exits 77 (skipped) without jinja2.
"""
import json
import os
import re
import subprocess
import sys

try:
    import jinja2
    import jinja2.sandbox
except ImportError:
    print("template_test: skipped, for there is no jinja2 (Debian: python3-jinja2)")
    sys.exit(77)

FAMILIES = sys.argv[1:]
CALL = re.compile(r"<tool_call>\n(.*)\n</tool_call>")


def load_template():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "chat_template.jinja")
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(keep_trailing_newline=False)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    with open(path, encoding="utf-8") as file:
        return environment.from_string(file.read())


def samples(family, *options):
    program = [os.environ["NANO_SAMPLE"], "--json", "--count", "200", *options, family]
    for line in subprocess.run(program, check=True, stdout=subprocess.PIPE).stdout.splitlines():
        yield json.loads(line)


def with_tool_calls(message):
    """The message as clients send it; None if it has no call."""
    text = message["content"]
    if message["role"] != "assistant" or "<tool_call>" not in text:
        return None
    calls = [json.loads(call) for call in CALL.findall(text)]
    before = text[: text.index("<tool_call>")].rstrip("\n")
    return {"role": "assistant", "content": before,
            "tool_calls": [{"type": "function", "function": call} for call in calls]}


def check(template, family, sample):
    def render(messages, prompt):
        return template.render(messages=messages, tools=sample["tools"] or None, add_generation_prompt=prompt)

    messages = sample["messages"]
    called = [with_tool_calls(message) or message for message in messages]
    for variant in (messages, called):
        text = render(variant, False)
        if text != sample["text"]:
            sys.exit("%s: the template says\n%r\nsample.c says\n%r" % (family, text, sample["text"]))
    prompt = render(messages[:-1], True)
    if sample["text"] != prompt + messages[-1]["content"] + "<|im_end|>\n":
        sys.exit("%s: the prompt %r does not lead to the answer" % (family, prompt))
    return called != messages


def main():
    template = load_template()
    count = calls = 0
    for family in FAMILIES:
        for options in ((), ("--test",)):
            for sample in samples(family, *options):
                calls += check(template, family, sample)
                count += 1
    print("template_test: %d conversations, %d of them with tool calls" % (count, calls))
    if count < 400 * len(FAMILIES) or ("calls" in FAMILIES and calls < 100):
        sys.exit("template_test: too few of them to mean anything")


main()
