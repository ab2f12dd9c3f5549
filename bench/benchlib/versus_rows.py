"""versus_rows - ours beside llama-server on the same libraries and the same model: one function for each row of the
table of docs/benchmarks-engine.md. A row takes a Versus, runs its rounds and gives Lines.

*Peer* is llama-server with the same context for each sequence, the same slots, one engine thread and micro-batches of
512 like ours, flash attention as it likes it, its caches on, no log. *Defaults* is what it does when only the model and
that context are given: 4 slots with one cache, as many engine threads as cores."""

import json
import math
import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchlib.chats import ask, cached_share, chats
from benchlib.load import spawn
from benchlib.proctree import cpu_s, pss_kib
from benchlib.prompts import Prompts, body, user, write_bodies
from benchlib.rows import Bench, bar
from benchlib.servers import Ours, Peer, ServerFailed, post
from benchlib.stats import Goal, estimate, quantile, ratio
from benchlib.versus import Line, against, better, compare

MODEL = "llama"  # the name of the model in requests to ours; llama-server takes any
SMALL_BYTES = 20 << 20  # a model file up to this is asked for as much as the rows say
DEFAULT_SLOTS = 4  # of llama-server
BATCH = 512
ROW_S = 45  # one round more than ROUNDS_LEAST is made only if a row then takes no longer: 20 minutes for the whole
ROUNDS_LEAST = 2
NEVER_MS = 600_000  # the head of ours comes with its first token, as llama-server's does: so TTFT is the same in both
LOAD_TIMEOUT_S = 120


class Versus(Bench):
    """The programs, a model, and what was learned of it."""

    def __init__(self, build, rounds, quick, model, peer=True, defaults=True, row_s=math.inf):
        super().__init__(build, rounds, quick, peer)
        self.has_defaults = defaults
        self.engine_loop = build / "bench" / "engine_loop"
        self.model = model
        self.name = model.stem
        self.is_small = model.stat().st_size <= SMALL_BYTES
        self.row_s = row_s
        self.scratch = tempfile.TemporaryDirectory(prefix="millrace-bench-")
        self.states = {}  # {config keys: the state folder of servers with them}
        self.compared = []  # what alternate() gave, so far: the raw figures
        with self.ours(1, 8192) as server:
            self.trained = server.model(MODEL)["context_tokens"]
            self.prompts = Prompts.learn(server, MODEL)

    def alternate(self, rounds_max=None, /, **measures):
        self.compared.append(super().alternate(rounds_max, **measures))
        return self.compared[-1]

    def is_enough(self, done, spent_s):
        return done >= ROUNDS_LEAST and spent_s * (done + 1) / done > self.row_s

    def tokens(self, count, large=None):
        """Of an answer: of a large model fewer, or the row takes minutes."""
        return self.size(count if self.is_small or large is None else large, 8)

    def prompt_tokens(self, count):
        """As many as that, if the model was trained for twice as many."""
        return min(count, self.trained // 2)

    def context(self, *parts):
        """What prompts and answers need, up to the next 256, within what the model was trained for."""
        return min(-(-(sum(parts) + 64) // 256) * 256, self.trained)

    def ours(self, slots, context, **keys):
        keys = {"llama_model_path": str(self.model), "llama_slots": slots, "llama_n_ctx": context,
                "head_hold_ms": NEVER_MS, "llama_n_threads": 1, **keys}
        return Ours(self.program, ready=(MODEL,), state=self.state_of(keys), **keys)

    def state_of(self, keys):
        """As a service has it that ran before: the model was tested and its steps were measured."""
        name = json.dumps(keys, sort_keys=True)
        if name not in self.states:
            folder = Path(self.scratch.name) / str(len(self.states))
            with Ours(self.program, ready=(MODEL,), state=folder, **keys) as server:
                server.wait_tested(MODEL)
            self.states[name] = folder
        return self.states[name]

    def peer(self, slots, context, *flags):
        return Peer(model=self.model, flags=["--ctx-size", slots * context, "--parallel", slots, "--threads", 1,
                                             "--threads-batch", 1, "--ubatch-size", BATCH, "--no-slots",
                                             "--log-disable", *flags])

    def defaults(self, context):
        return Peer(model=self.model, flags=["--ctx-size", DEFAULT_SLOTS * context])

    def versus(self, run, slots, context, **more):
        """{"ours": [what run(server) gave, per round], "peer": ..., "defaults": ...}, each server started anew
        for each; `more`: {name: a function that makes a server}."""
        makers = {**self.makers(slots, context), **(more if self.has_peer else {})}
        return self.alternate(**{name: partial(self.once, make, run) for name, make in makers.items()})

    def makers(self, slots, context, **keys):
        """{name: a function that makes the server}; `keys` are of ours."""
        makers = {"ours": partial(self.ours, slots, context, **keys)}
        if self.has_peer:
            makers["peer"] = partial(self.peer, slots, context)
            if self.has_defaults:
                makers["defaults"] = partial(self.defaults, context)
        return makers

    def once(self, make, run):
        with make() as server:
            ask(server, MODEL, user("Warm up."), 2)
            return run(server)

    def bars(self, file, title, unit, found, member, labels=None):
        """A chart of one member."""
        names = labels or {"ours": "ours", "peer": "llama-server, best flags", "defaults": "llama-server, defaults"}
        self.chart(f"{self.name}-{file}.svg", f"{title}, {self.name}", "medians of the rounds, with 95 %", unit,
                   [bar(label, estimate(run[member] for run in found[name]), "ours" if name == "ours" else "peer")
                    for name, label in names.items() if name in found])

    def judged(self, found, member, goal, words="ours / best flags"):
        """The members of a Line that judges ours by the peer."""
        return {"judged_as": words, "goal": goal,
                "judged": ratio(against(found, member)) if found.get("peer") else None}


def told(run):
    """What of a run of load all rows want."""
    return {"ttft_ms": run["ttft_us"]["p50"] / 1000, "per_s": run["completion_tokens"] / run["wall_s"],
            "cpu_us": run["cpu_us"] / run["completion_tokens"],
            "cached": run["cached_tokens"] / run["prompt_tokens"]}


# --- 1 ---


def arrive(bench):
    """1: what 4 running streams feel of prompts of 2000 tokens that arrive, and how long those wait."""
    long, runner, count = bench.prompt_tokens(2000), bench.tokens(1000, 400), 2 if bench.is_small else 1
    context = min(4096, bench.trained)

    def prompts(server, name):
        return write_bodies(server.folder / name, [body(MODEL, user(bench.prompts.text(f"{name}{at}", long)), 4)
                                                   for at in range(count)])

    def run(server):
        running = server.folder / "running"
        running.write_text(json.dumps(body(MODEL, user("Tell me all."), runner)))
        shape = {"requests": count, "max_tokens": 4, "usage": True, "timeout": LOAD_TIMEOUT_S}
        alone = bench.load.run("arrive", server, concurrency=0, bodies=prompts(server, "alone"), **shape)
        beside = bench.load.run("arrive", server, concurrency=4, bodies=prompts(server, "beside"), body_file=running,
                                seconds=0.3 if bench.quick else 1.5, **shape)
        gap_ms, step_ms = beside["beside_gap_us"]["max"] / 1000, beside["quiet_gap_us"]["p50"] / 1000
        ttft_ms, alone_ms = beside["ttft_us"]["max"] / 1000, alone["ttft_us"]["max"] / 1000
        return {"gap_ms": gap_ms, "step_ms": step_ms, "steps": gap_ms / step_ms, "ttft_ms": ttft_ms,
                "alone_ms": alone_ms, "slower": ttft_ms / alone_ms}

    # Its best: a slot for each of the five, or the prompts would wait for a stream's end.
    found = bench.versus(run, 5, context)
    bench.bars("gap", "Worst gap of 4 running streams while a long prompt arrives", "ms", found, "gap_ms")
    bench.bars("arrive", f"TTFT of a prompt of {long} tokens beside 4 streams", "ms", found, "ttft_ms")
    ours = found["ours"]
    return [compare(found, "gap_ms", row=1, what=f"worst gap of 4 streams while prompts of {long} tokens arrive",
                    unit="ms", judged_as="gap / normal step", judged=estimate(one["steps"] for one in ours),
                    goal=Goal(5)),
            compare(found, "step_ms", row=1, what="their normal step", unit="ms"),
            compare(found, "ttft_ms", row=1, what="TTFT of such a prompt beside them", unit="ms",
                    judged_as="beside / alone", judged=estimate(one["slower"] for one in ours), goal=Goal(1.5)),
            compare(found, "alone_ms", row=1, what="TTFT of such a prompt alone", unit="ms")]


# --- 2 ---


def burst(bench):
    """2: 32 streams at once, each with a prompt of its own; llama-server with 32 slots and with 4."""
    count, prompt, answer = 32, bench.prompt_tokens(200 if bench.is_small else 100), bench.tokens(64, 48)
    context = bench.context(prompt, answer)

    def run(server):
        file = write_bodies(server.folder / "bodies", [body(MODEL, user(bench.prompts.text(at, prompt)), answer)
                                                       for at in range(count)])
        return told(bench.load.run("streams", server, concurrency=count, requests=count, bodies=file, usage=True,
                                   max_tokens=answer, timeout=LOAD_TIMEOUT_S))

    found = bench.versus(run, count, context, few=partial(bench.peer, DEFAULT_SLOTS, context))
    bench.bars("burst", "TTFT p50 of 32 streams at once", "ms", found, "ttft_ms",
               {"ours": "ours, 32 slots", "peer": "llama-server, 32 slots", "few": "llama-server, 4 slots",
                "defaults": "llama-server, defaults"})
    if found.get("peer"):
        found["peer"] = better(found["peer"], found["few"], least=("ttft_ms", "cpu_us"))
    return [compare(found, "ttft_ms", row=2, what=f"{count} streams at once, TTFT p50", unit="ms",
                    **bench.judged(found, "ttft_ms", Goal(0.7))),
            compare(found, "per_s", row=2, what="tokens/s of all", unit="/s",
                    **bench.judged(found, "per_s", Goal(1.0, True))),
            compare(found, "cpu_us", row=2, what="CPU per token", unit="us")]


# --- 3 ---


def shared(bench):
    """3: a system prompt of 1000 tokens that one client has used; then 8, and 32, ask with it at once. With a large
    model 8 only: llama-server would put the prompt into nearly each of 32 slots again, two minutes a round."""
    tokens, answer = bench.prompt_tokens(1000), bench.tokens(16)
    crowds = (8, 32) if bench.is_small else (8,)
    return [line for clients in crowds for line in shared_by(bench, clients, tokens, answer)]


def shared_by(bench, clients, tokens, answer):
    system = {"role": "system", "content": bench.prompts.text("system", tokens)}

    def run(server):
        ask(server, MODEL, [system, *user("Who are you?")], 2)
        file = write_bodies(server.folder / "bodies", [body(MODEL, [system, *user(f"Count to {at + 5}.")], answer)
                                                       for at in range(clients)])
        return told(bench.load.run("streams", server, concurrency=clients, requests=clients, bodies=file, usage=True,
                                   max_tokens=answer, timeout=LOAD_TIMEOUT_S))

    found = bench.versus(run, clients, bench.context(tokens, answer, 100))
    bench.bars(f"shared-{clients}", f"TTFT p50 of {clients} clients with one system prompt", "ms", found, "ttft_ms")
    return [compare(found, "cached", row=3, what=f"{clients} clients, a shared prompt of {tokens} tokens: cached share",
                    unit="", judged_as="cached share", judged=estimate(one["cached"] for one in found["ours"]),
                    goal=Goal(0.95, True)),
            compare(found, "ttft_ms", row=3, what=f"{clients} clients: TTFT p50", unit="ms",
                    **bench.judged(found, "ttft_ms", Goal(0.2))),
            compare(found, "cpu_us", row=3, what=f"{clients} clients: CPU per token", unit="us")]


# --- 4 ---

TURNS, CLIENTS, CHAT_SLOTS = 8, 8, 4
WORDS = (" the", " and", " to", " a", " of", " in", " is", " it")


def whole_words(server):
    """Tokens that text becomes again: random weights say mostly such that it does not, and then no server finds
    its own answers in the next turn's prompt. llama-server is asked."""
    ids = [json.loads(post(server.port, "/tokenize", {"content": word}))["tokens"] for word in WORDS]
    return [tokens[0] for tokens in ids if len(tokens) == 1]


def talk(bench):
    """4: 8 clients of 8 turns each, who send the whole chat every time; more of them than slots."""
    persona, answer = bench.prompt_tokens(200), bench.tokens(24)
    context = bench.context(persona, TURNS * (answer + 60))
    bias = {}
    if bench.has_peer:
        with bench.peer(1, 512) as server:
            bias = {"logit_bias": {str(token): 100 for token in whole_words(server)}}

    def run(server):
        talks = [(bench.prompts.text(f"guest {client}", persona),
                  [f"Tell me about room {client * 10 + turn} and day {turn}." for turn in range(TURNS)])
                 for client in range(CLIENTS)]
        before = sum(map(cpu_s, server.pids()))
        found = chats(server, MODEL, talks, answer, **bias)
        used = sum(map(cpu_s, server.pids())) - before
        second, last = (quantile([turns[at].ttft_s * 1000 for turns in found], 0.5) for at in (1, -1))
        later = [turn for turns in found for turn in turns[1:]]
        return {"cached": cached_share(later), "ttft_ms": quantile([turn.ttft_s * 1000 for turn in later], 0.5),
                "second_ms": second, "last_ms": last, "rise": last / second,
                "cpu_us": used * 1e6 / (CLIENTS * TURNS * answer)}

    found = bench.versus(run, CHAT_SLOTS, context)
    bench.bars("chats", f"TTFT p50 of {CLIENTS} chats of {TURNS} turns", "ms", found, "ttft_ms")
    ours = found["ours"]
    return [compare(found, "cached", row=4, what=f"{CLIENTS} chats of {TURNS} turns, {CHAT_SLOTS} slots: cached share",
                    unit="", judged_as="cached share", judged=estimate(one["cached"] for one in ours),
                    goal=Goal(0.9, True)),
            compare(found, "ttft_ms", row=4, what="TTFT p50 of turns 2 to 8", unit="ms"),
            compare(found, "last_ms", row=4, what="TTFT p50 of turn 8", unit="ms", judged_as="turn 8 / turn 2",
                    judged=estimate(one["rise"] for one in ours), goal=Goal(1.25)),
            compare(found, "cpu_us", row=4, what="CPU per token", unit="us")]


# --- 5 ---


def grown_mib(before_kib, after_kib):
    return (after_kib - before_kib) / 1024


def tokens_read(run):
    """Of who leaves no usage comes, but events: taken for as many tokens as those of streams that are read to their
    end. What is made for who has left, until that is noticed, nobody reads."""
    return run["events"] * run["completion_tokens"] / run["completion_events"]


def leavers(bench):
    """5: 30 clients; of 100 streams 70 are left in the middle. What do those feel that are read to their end?"""
    clients, answer = 30, bench.tokens(128, 48)
    whole, many = 2 * clients, clients + bench.size(120, 60)  # until 30, or about as many, are read to their end
    context = bench.context(40, answer)

    def held(server):
        return sum(map(pss_kib, server.pids()))

    def run(server):
        file = write_bodies(server.folder / "bodies", [body(MODEL, user(f"Tell me about {at}."), answer)
                                                       for at in range(many)])
        shape = {"concurrency": clients, "bodies": file, "usage": True, "max_tokens": answer, "no_tail": True,
                 "timeout": LOAD_TIMEOUT_S}
        quiet = bench.load.run("streams", server, requests=whole, **shape)
        before = held(server)
        left = bench.load.run("streams", server, requests=many, leave_ratio=0.7, **shape)
        rates = [answer / (one["request_us"]["p50"] / 1e6) for one in (quiet, left)]
        return {"rate": rates[1], "kept": rates[1] / rates[0], "grown_mib": grown_mib(before, held(server)),
                "cpu_us": left["cpu_us"] / tokens_read(left)}

    makers = bench.makers(clients, context)
    makers.pop("defaults", None)  # 26 of the 30 would wait there: another question
    found = bench.alternate(**{name: partial(bench.once, make, run) for name, make in makers.items()})
    ours = found["ours"]
    return [compare(found, "rate", row=5, what=f"{clients} clients of which 70 % leave: tokens/s of one that stays",
                    unit="/s"),
            compare(found, "kept", row=5, what="that against the same without leavers", unit="x",
                    judged_as="with / without", judged=estimate(one["kept"] for one in ours), goal=Goal(0.98, True)),
            compare(found, "cpu_us", row=5, what="CPU per token that was read", unit="us"),
            compare(found, "grown_mib", row=5, what="memory grown meanwhile", unit="MiB", judged_as="MiB",
                    judged=estimate(one["grown_mib"] for one in ours), goal=Goal(16))]


# --- 6 ---


def single(bench):
    """6: one stream with the default sampler: CPU per token above the engine's bare loop."""
    answer, streams, prompt = bench.tokens(256, 128), 3, 40
    context = bench.context(prompt, answer)

    def run(server):
        file = write_bodies(server.folder / "bodies", [body(MODEL, user(bench.prompts.text(f"s{at}", prompt)), answer)
                                                       for at in range(streams)])
        found = bench.load.run("streams", server, concurrency=1, requests=streams, bodies=file, usage=True,
                               max_tokens=answer)
        prompts.append(found["prompt_tokens"] // streams)
        return told(found)

    def loop():
        arguments = [bench.engine_loop, bench.model, prompts[0] if prompts else prompt, answer, streams, context]
        return bench.load.finish(spawn(arguments))

    prompts = []
    found = bench.alternate(**{name: partial(bench.once, make, run)
                               for name, make in bench.makers(1, context).items()}, loop=loop)
    limit = [one["sampled_us_per_token"] for one in found["loop"]]
    greedy = estimate(one["greedy_us_per_token"] for one in found["loop"])
    above = ratio((one["cpu_us"], bare) for one, bare in zip(found["ours"], limit))
    return [compare(found, "cpu_us", row=6, what="one stream: CPU per token", unit="us", judged_as="ours / bare loop",
                    judged=above, goal=Goal(1.01)),
            Line(6, "the engine's bare loop, with our sampler", "us", estimate(limit)),
            Line(6, "the same, taking the likeliest", "us", greedy),
            compare(found, "per_s", row=6, what="one stream: tokens/s", unit="/s")]


# --- 7 ---

FEW = 16  # as many engine threads as cores may be 200 times as slow there: more would take minutes
SPIN = """import os, time
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
print("it computes", flush=True)
until = time.monotonic() + 60
while time.monotonic() < until:
    pass"""


def neighbour(bench):
    """7: one stream while a process that does nothing but compute has one core, with each server's own number of
    engine threads; the best flags are one thread."""
    answer = bench.tokens(96)
    context = bench.context(64, answer)

    def stream(server, tokens):
        extra = '"ignore_eos":true,"stream_options":{"include_usage":true}'
        found = bench.load.run("streams", server, concurrency=1, requests=1, model=MODEL, max_tokens=tokens,
                               usage=True, extra=extra, timeout=LOAD_TIMEOUT_S)
        return told(found)

    def run(tokens, server):
        alone = stream(server, tokens)
        spinning = subprocess.Popen([sys.executable, "-c", SPIN], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            spinning.stdout.readline()
            beside = stream(server, tokens)
        finally:
            spinning.kill()
            spinning.communicate()
        return {"per_s": beside["per_s"], "slower": alone["per_s"] / beside["per_s"], "cpu_us": beside["cpu_us"],
                "alone_cpu_us": alone["cpu_us"]}

    found = bench.alternate(**{name: partial(bench.once, make, partial(run, FEW if name == "defaults" else answer))
                               for name, make in bench.makers(1, context, llama_n_threads=0).items()})
    bench.bars("neighbour", "Times slower beside a busy neighbour on one core", "x", found, "slower")
    return [compare(found, "slower", row=7, what="one stream beside a busy core: times slower than alone", unit="x",
                    judged_as="alone / beside", judged=estimate(one["slower"] for one in found["ours"]),
                    goal=Goal(2.5)),
            compare(found, "per_s", row=7, what="tokens/s beside it", unit="/s"),
            compare(found, "cpu_us", row=7, what="CPU per token beside it", unit="us"),
            compare(found, "alone_cpu_us", row=7, what="CPU per token alone", unit="us")]


# --- 9 ---


def memory_told(log):
    """What the worker logs of its model's memory, known before the load: {"weights_kib": ..., ...}."""
    match = re.search(r"event=model_memory (.*)", log)
    return {name: int(value) for name, value in re.findall(r"(\w+_kib)=(\d+)", match[1])} if match else {}


def memory(bench):
    """9: what all processes hold when every slot has had a long prompt, and what was foretold before the load."""
    slots, context, rounds, answer = 4, min(2048, bench.trained), 2 if bench.is_small else 1, 4
    prompt = bench.prompt_tokens(1500)

    def held(server):
        file = write_bodies(server.folder / "bodies", [body(MODEL, user(bench.prompts.text(at, prompt)), answer)
                                                       for at in range(slots)])
        bench.load.run("streams", server, concurrency=slots, requests=slots, bodies=file, usage=True,
                       max_tokens=answer, timeout=LOAD_TIMEOUT_S)
        return {"mib": sum(map(pss_kib, server.pids())) / 1024}

    def held_by_ours(server):
        mib = held(server)["mib"]
        foretold = sum(memory_told((server.folder / "log").read_text(errors="replace")).values()) / 1024
        if foretold == 0:
            raise ServerFailed("its log has no event=model_memory")
        return {"mib": mib, "foretold": foretold, "above": mib - foretold, "off": abs(mib / foretold - 1)}

    found = bench.alternate(rounds, **{name: partial(bench.once, make, held_by_ours if name == "ours" else held)
                                       for name, make in bench.makers(slots, context, log_level="info").items()})
    ours = found["ours"]
    return [compare(found, "mib", row=9, what=f"memory of all processes, {slots} slots of {context} tokens in use",
                    unit="MiB", judged_as="MiB above what was foretold",
                    judged=estimate(one["above"] for one in ours), goal=Goal(40)),
            Line(9, "foretold: weights, cache, computing, processes", "MiB",
                 estimate(one["foretold"] for one in ours), judged_as="off by, as a part of it",
                 judged=estimate(one["off"] for one in ours), goal=Goal(0.05))]


ROWS = {"1": arrive, "2": burst, "3": shared, "4": talk, "5": leavers, "6": single, "7": neighbour, "9": memory}
