"""rows - what is measured: one function per row of the table of docs/benchmarks.md.

A row takes a Bench, runs its rounds, and gives Findings. What is compared is measured in the same
round, a few seconds apart and in alternating order: the noise of the minute is in both."""

import json
import time
from functools import partial
from statistics import median
from typing import NamedTuple, Optional

from benchlib.load import Load, LoadFailed, spawn
from benchlib.proctree import pss_kib
from benchlib.reuseport import gateway_shares, kernel_shares
from benchlib.servers import NANO, Limit, Ours, Peer, get, idle_at
from benchlib.stats import Estimate, Goal, estimate, ratio
from benchlib.svg import Bar

LONG_ROUNDS = 5  # at most so many of rows that take a quarter of a minute each: memory is hardly noisy


class Finding(NamedTuple):
    """A line of the table."""

    what: str
    unit: str
    found: Optional[Estimate]
    goal: Optional[Goal] = None
    stretch: Optional[float] = None
    note: str = ""


class Chart(NamedTuple):
    file: str
    title: str
    subtitle: str
    unit: str
    bars: list
    marks: list


class Bench:
    """The programs, how many rounds, and what came of them so far."""

    def __init__(self, build, rounds, quick=False, peer=True):
        self.program = build / "millrace"
        self.bare_loop = build / "bench" / "bare_loop"
        self.turn_cost = build / "bench" / "turn_cost"
        self.load = Load(build / "bench" / "load")
        self.rounds = rounds
        self.quick = quick
        self.has_peer = peer and Peer.is_built() and NANO.exists()
        self.charts = []

    def size(self, count, least=1):
        """Of a run: a quick one is a tenth."""
        return max(least, count // 10) if self.quick else count

    def alternate(self, rounds_max=None, /, **measures):
        """{name: [a value per round]}: every measure once in each round, there and back."""
        found, begin = {name: [] for name in measures}, time.monotonic()
        for at in range(min(self.rounds, rounds_max or self.rounds)):
            if self.is_enough(at, time.monotonic() - begin):
                break
            for name in reversed(measures) if at % 2 else measures:
                found[name].append(measures[name]())
        return found

    def is_enough(self, done, spent_s):
        """Are so many rounds of a row, that took so long, all that there is time for?"""
        return False

    def chart(self, file, title, subtitle, unit, bars, marks=()):
        self.charts.append(Chart(file, title, subtitle, unit, list(bars), list(marks)))


def bar(label, found, kind="ours"):
    return Bar(label, found.mid, found.low, found.high, kind)


# --- CPU per event ---


class Shape(NamedTuple):
    """How the bytes of a run of ours left: what the limit is to do as well."""

    event_bytes: int
    events: int  # of one stream
    events_per_write: int
    interval_us: int


def streams_of_ours(bench, streams, tokens, delay_ms):
    """All of them at once: with a prompt of one token each, for a step takes only so many tokens of prompts
    and the others would begin when the first are over."""
    with Ours(bench.program, dummy_slots=streams, dummy_tokens=tokens, dummy_delay_ms=delay_ms) as server:
        body = server.folder / "body.json"
        body.write_text(json.dumps({"model": "dummy", "prompt": "x", "stream": True, "max_tokens": tokens}))
        return bench.load.run("streams", server, concurrency=streams, requests=streams, path="/v1/completions",
                              body_file=body)


def shape_of(run, streams, delay_ms):
    """A read of the client is a write of the server, but for the rare two that met in the socket."""
    return Shape(round(run["bytes"] / run["events"]), round(run["events"] / streams),
                 max(1, round(run["events"] / run["reads"])), delay_ms * 1000)


def streams_of_limit(bench, streams, shape):
    with Limit(bench.bare_loop, shape.event_bytes, shape.events, shape.events_per_write, shape.interval_us) as server:
        return bench.load.run("streams", server, concurrency=streams, requests=streams)


# How an engine gives its events: one step after the other with a pause, or as fast as it can.
# The pauses leave the machine idle for part of each step, so that every event is flushed alone.
# label: {streams: (pause in ms, tokens of each)}
PACES = {"a write per event": {32: (3, 600), 1000: (40, 150)}, "as fast as it goes": {32: (0, 4000), 1000: (0, 400)}}


def event_rounds(bench, paces):
    """{32: [(ours, limit)], 1000: ...} in microseconds of CPU per event, all four in each round; and the
    shapes that ours had and the limit copies."""
    shapes, measures = {}, {}
    for streams, (delay_ms, tokens) in paces.items():
        each = bench.size(tokens, 30)
        shape = shape_of(streams_of_ours(bench, streams, each, delay_ms), streams, delay_ms)
        shapes[streams] = shape
        measures[f"ours {streams}"] = partial(streams_of_ours, bench, streams, each, delay_ms)
        measures[f"limit {streams}"] = partial(streams_of_limit, bench, streams, shape)
    found = bench.alternate(**measures)
    costs = {name: [run["cpu_us_per_event"] for run in runs] for name, runs in found.items()}
    return {streams: list(zip(costs[f"ours {streams}"], costs[f"limit {streams}"])) for streams in paces}, shapes


def event_bars(label, pairs):
    return [bar(f"ours, {label}", estimate(ours for ours, _ in pairs)),
            bar(f"bare loop, {label}", estimate(limit for _, limit in pairs), "limit")]


def event(bench):
    """CPU per SSE event at 32 and at 1000 streams, as a ratio to the bare loop: with a write for every
    event, and as fast as it goes."""
    findings, bars = [], []
    for label, paces in PACES.items():
        pairs, shapes = event_rounds(bench, paces)
        for streams in pairs:
            bars += event_bars(f"{streams} streams, {label}", pairs[streams])
        findings.append(Finding(f"CPU per event, 32 streams, {label}, ours / bare loop", "x", ratio(pairs[32]),
                                Goal(2.2), 1.6, event_note(pairs[32], shapes[32])))
        rise = ratio((many[0] / many[1], few[0] / few[1]) for many, few in zip(pairs[1000], pairs[32]))
        findings.append(Finding(f"that ratio at 1000 streams / at 32, {label}", "x", rise, Goal(1.5), 1.1,
                                event_note(pairs[1000], shapes[1000])))
    bench.chart("event.svg", "CPU per SSE event", "microseconds of all processes of the server; 95 % intervals", "us",
                bars)
    return findings


def event_note(pairs, shape):
    ours, limit = median(ours for ours, _ in pairs), median(limit for _, limit in pairs)
    return (f"{ours:.2f} / {limit:.2f} us; {shape.events_per_write} "
            f"event{'s' if shape.events_per_write > 1 else ''} of {shape.event_bytes} bytes a write")


def event_nano(bench):
    """CPU per event with the small model, 8 streams: ours beside llama-server on the same engine libraries."""
    if not bench.has_peer:
        return []
    tokens = bench.size(256, 64)

    def run(server, model):
        return bench.load.run("streams", server, concurrency=8, requests=bench.size(24, 8), max_tokens=tokens,
                              model=model, extra='"ignore_eos":true,"temperature":0')["cpu_us_per_event"]

    def ours():
        with Ours(bench.program, ready=("llama",), llama_slots=Peer.SLOTS, prefix_cache_bytes=0) as server:
            return run(server, "llama")

    def peer():
        with Peer() as server:
            return run(server, "nano")

    found = bench.alternate(ours=ours, peer=peer)
    bench.chart("event-nano.svg", "CPU per SSE event, engine included",
                "nano, 8 streams, the same engine libraries, slots and engine threads", "us",
                [bar("ours", estimate(found["ours"])), bar("llama-server", estimate(found["peer"]), "peer")])
    return [Finding("CPU per event, nano, 8 streams, ours / llama-server", "x",
                    ratio(zip(found["ours"], found["peer"])), None, None,
                    f"{median(found['ours']):.0f} / {median(found['peer']):.0f} us, engine included")]


def throughput(bench):
    """Events per second from the engine to the client, which runs on the same cores."""
    streams, tokens = 256, bench.size(2000, 200)
    runs = bench.alternate(ours=lambda: streams_of_ours(bench, streams, tokens, 0))["ours"]
    found = estimate(run["events_per_s"] for run in runs)
    bench.chart("throughput.svg", "Events per second, end to end", "256 streams, the client on the same two cores",
                "events/s", [bar("ours", found)], [(150_000, "goal"), (400_000, "stretch")])
    return [Finding("events per second end to end, 256 streams", "/s", found, Goal(150_000, True), 400_000,
                    f"{median(run['events'] / run['reads'] for run in runs):.0f} events a read")]


# --- requests ---


def one_token_run(bench, server, requests, model):
    run = bench.load.run("streams", server, concurrency=32, requests=requests, max_tokens=1, body_bytes=200,
                         model=model)
    return run["cpu_us_per_request"]


def one_token(bench):
    """CPU of a request for one token: the dummy (nothing but the way there and back), and ours beside
    llama-server with the same small model, slots and engine threads; both without a prompt cache, for the
    load asks the same each time, and both as they come."""
    requests, few = bench.size(6000, 300), bench.size(400, 100)

    def dummy():
        with Ours(bench.program, dummy_slots=64, dummy_delay_ms=0, dummy_tokens=4) as server:
            one_token_run(bench, server, few, "dummy")  # warm-up
            return one_token_run(bench, server, requests, "dummy")

    def nano(**keys):
        with Ours(bench.program, ready=("llama",), llama_slots=Peer.SLOTS, **keys) as server:
            one_token_run(bench, server, few // 4, "llama")
            return one_token_run(bench, server, few, "llama")

    def peer(**flags):
        with Peer(**flags) as server:
            one_token_run(bench, server, few // 4, "nano")
            return one_token_run(bench, server, few, "nano")

    measures = {"dummy": dummy}
    if bench.has_peer:
        measures.update(nano=lambda: nano(prefix_cache_bytes=0), peer=peer,
                        nano_default=nano, peer_default=lambda: peer(tuned=False))
    found = bench.alternate(**measures)
    findings = [Finding("CPU per one-token request, dummy, 32 at once, body of 200 bytes", "us",
                        estimate(found["dummy"]), Goal(150), 100)]
    bars = [bar("ours, dummy", estimate(found["dummy"]))]
    if bench.has_peer:
        bars += [bar("ours, nano, no prompt cache", estimate(found["nano"])),
                 bar("llama-server, nano, no prompt cache", estimate(found["peer"]), "peer"),
                 bar("ours, nano, its defaults", estimate(found["nano_default"])),
                 bar("llama-server, nano, its defaults", estimate(found["peer_default"]), "peer")]
        for label, ours, theirs in (("both without a prompt cache", "nano", "peer"),
                                    ("both with their defaults", "nano_default", "peer_default")):
            findings.append(Finding(f"the same with nano, ours / llama-server, {label}", "x",
                                    ratio(zip(found[ours], found[theirs])), None, None,
                                    f"{median(found[ours]):.0f} / {median(found[theirs]):.0f} us, engine included"))
    bench.chart("one-token.svg", "CPU per one-token request", "32 at once, 200-byte body; all processes", "us", bars)
    return findings


def latency(bench):
    """From the end of the engine's step to the client's read: the text of each token is that time. Beside it
    the bare loop's, from the making of an event to the read: what the machine takes to send, and to wake a client."""
    tokens, delay_ms = bench.size(800, 200), 5

    def ours():
        with Ours(bench.program, dummy_clock=True, dummy_delay_ms=delay_ms, dummy_slots=4, dummy_tokens=1000) as server:
            return bench.load.run("streams", server, concurrency=1, requests=1, max_tokens=tokens, clock=True)

    shape = shape_of(ours(), 1, delay_ms)

    def limit():
        with Limit(bench.bare_loop, *shape, has_clock=True) as server:
            return bench.load.run("streams", server, concurrency=1, requests=1, clock=True)

    found = {name: [run["latency_us"] for run in runs]
             for name, runs in bench.alternate(ours=ours, limit=limit).items()}
    p50 = {name: [latencies["p50"] for latencies in runs] for name, runs in found.items()}
    return [Finding("engine to client per token, one stream, p50", "us", estimate(p50["ours"]), Goal(100), 60,
                    f"p99 {median(latencies['p99'] for latencies in found['ours']):.0f} us; "
                    f"the bare loop's event to client: {median(p50['limit']):.0f} us")]


# --- many who do nothing ---


def idle_finding(kind, label, count, runs):
    per = estimate(run["pss_kib"]["per_connection_bytes"] for run in runs)
    health = estimate(run["health_us"]["p99"] / 1000 for run in runs)
    return [Finding(f"PSS per idle {label}, {count:,} of them", "bytes", per, Goal(8192)),
            Finding(f"/health of a new client meanwhile ({kind}), p99", "ms", health, Goal(10))]


def idle(bench):
    """10 000 connections that wait: keep-alive between two requests, and streams between two events."""
    count = bench.size(10_000, 500)
    # The dummy sleeps through a step: for a minute nothing happens in streams whose head is out.
    stream = {"dummy_delay_ms": 60_000, "dummy_slots": count, "head_hold_ms": 100, "ping_ms": 600_000}
    findings = []
    for kind, label, keys in (("keepalive", "keep-alive connection", {}), ("sse", "stream", stream)):
        def run():
            with Ours(bench.program, idle_ms=600_000, watchdog_ms=0, drain_ms=100, **keys) as server:
                return bench.load.run("idle", server, kind=kind, connections=count, timeout=120, seconds=4)

        findings += idle_finding(kind, label, count, [run() for _ in range(min(bench.rounds, LONG_ROUNDS))])
    idle_chart(bench, count, findings[0].found, findings[2].found)
    if bench.has_peer:
        waited = [peer_health_ms() for _ in range(min(bench.rounds, LONG_ROUNDS))]
        findings.append(Finding(f"/health of llama-server beside {PEER_CROWD:,} idle connections, first answer", "ms",
                                estimate(waited), None, None, "until the first of them is idle for 5 s and closed"))
    return findings


def idle_chart(bench, count, keepalive, stream):
    bars = [bar("ours, keep-alive", keepalive), bar("ours, stream", stream)]
    if bench.has_peer:
        runs = [peer_idle() for _ in range(min(bench.rounds, LONG_ROUNDS))]
        bars.append(bar("llama-server, keep-alive", estimate(runs), "peer"))
    bench.chart("idle.svg", "Memory per idle connection", f"bytes of PSS; ours with {count:,}, llama-server with "
                f"{PEER_IDLE} and a thread for each", "bytes", bars, [(8192, "goal")])


PEER_IDLE = 500  # it has a thread for each that is open, if it is given as many
PEER_CROWD = 1000


def close_all(connections):
    for connection in connections:
        connection.close()


def peer_idle():
    """Bytes of PSS per open keep-alive connection of llama-server."""
    with Peer(http_threads=PEER_IDLE + 8) as server:
        before = pss_kib(server.pid)
        held = idle_at(server.port, PEER_IDLE)
        for connection in held:
            connection.recv(4096)
        grown = pss_kib(server.pid) - before
        close_all(held)
        return grown * 1024 / PEER_IDLE


def peer_health_ms():
    """How long a new client waits for llama-server's /health, with the threads that it has by itself."""
    with Peer() as server:
        held = idle_at(server.port, PEER_CROWD)
        begin = time.monotonic()
        get(server.port, "/health", 60)
        waited = time.monotonic() - begin
        close_all(held)
        return waited * 1000


# --- many who want something ---


def both(found, member):
    """[(in the crowd, alone)] of that member of each round's runs."""
    return [(crowd[member], alone[member]) for crowd, alone in zip(found["crowd"], found["alone"])]


def medians(pairs, form):
    return " / ".join(format(median(values), form) for values in zip(*pairs))


def crowd(bench):
    """Tokens per second of 8 slots that are never empty: with 1000 open requests, and with 16 (with 8, a slot
    would wait for its client between two requests, and the crowd would win)."""
    requests, tokens = bench.size(2000, 1000), 256

    def run(concurrency):
        with Ours(bench.program, dummy_slots=8, dummy_delay_ms=0, dummy_tokens=tokens) as server:
            return bench.load.run("streams", server, concurrency=concurrency, requests=requests, max_tokens=tokens)

    found = bench.alternate(crowd=lambda: run(1000), alone=lambda: run(16))
    rate, cost = both(found, "events_per_s"), both(found, "cpu_us_per_event")
    return [Finding("tokens/s of 8 running with 992 waiting / with 8 waiting", "x", ratio(rate), Goal(0.97, True), 1.0,
                    f"{medians(rate, ',.0f')} events/s; {medians(cost, '.1f')} us of CPU per event")]


def slow(bench):
    """8 that read and 1000 that hardly do: is the memory flat, and are the 8 as fast as alone?"""
    count, tokens = bench.size(1000, 100), bench.size(20_000, 4000)
    fast_streams = bench.size(64, 8)  # 3 s and more: one each is over in 0.3 s, and tells of the moment only

    def run(readers):
        # As many tokens as the fast ones read: each is an entry of the vocabulary that is sampled from.
        keys = {"dummy_slots": count + 8, "dummy_delay_ms": 0, "dummy_tokens": tokens, "stall_ms": 600_000}
        with Ours(bench.program, **keys) as server:
            return bench.load.run("slow", server, slow=readers, slow_bytes_per_s=100, fast=8,
                                  fast_requests=fast_streams, settle=5, max_tokens=tokens)

    found = bench.alternate(LONG_ROUNDS, crowd=lambda: run(count), alone=lambda: run(0))
    speed, cost = both(found, "events_per_s"), both(found, "cpu_us_per_event")
    each = [run["pss_kib"]["per_connection_bytes"] for run in found["crowd"]]
    grown = [run["pss_kib"]["end"] / run["pss_kib"]["after"] for run in found["crowd"]]
    return [Finding(f"tokens/s of 8 fast readers beside {count} slow ones / alone", "x", ratio(speed),
                    Goal(0.95, True), None,
                    f"{medians(speed, ',.0f')} events/s; {medians(cost, '.1f')} us of CPU per event"),
            Finding("PSS per slow reader", "bytes", estimate(each), None, None, "all it may hold: 64 events or 64 KiB"),
            Finding("memory of all behind the fast ones' streams / before them", "x", estimate(grown), Goal(1.02))]


def leave(bench):
    """Who leaves frees the slot: how soon, by where the request was."""
    def run(phase, slots, **more):
        with Ours(bench.program, dummy_slots=slots, dummy_tokens=5000, dummy_delay_ms=2,
                  dummy_prefill_us=100) as server:
            return bench.load.run("abort", server, phase=phase, concurrency=16, requests=bench.size(320, 64),
                                  max_tokens=2000, **more)

    found = bench.alternate(queued=lambda: run("queued", 4), prefill=lambda: run("prefill", 16, body_bytes=2000),
                            decode=lambda: run("decode", 16))
    return [Finding(f"client gone to slot free, {phase}, p99", "ms",
                    estimate(run["freed_us"]["p99"] / 1000 for run in runs), Goal(50), 10)
            for phase, runs in found.items()]


# --- starts and memory ---


def start(bench):
    """From exec to the first answer that says ready; and what all roles hold then."""
    memory = []

    def dummy():
        with Ours(bench.program) as server:
            return server.start_s * 1000

    def nano():
        with Ours(bench.program, ready=("llama",), llama_slots=8) as server:
            memory.append(sum(map(pss_kib, server.pids())) / 1024)
            return server.start_s * 1000

    peer_memory = []

    def peer():
        with Peer() as server:
            peer_memory.append(pss_kib(server.pid) / 1024)
            return server.start_s * 1000

    measures = {"dummy": dummy, "nano": nano, **({"peer": peer} if bench.has_peer else {})}
    found = bench.alternate(**measures)
    starts = {name: estimate(values) for name, values in found.items()}
    held = estimate(memory)
    bars = [bar("ours, dummy", starts["dummy"]), bar("ours, nano", starts["nano"])]
    memory_bars = [bar("ours, all roles", held)]
    if bench.has_peer:
        bars.append(bar("llama-server, nano", starts["peer"], "peer"))
        memory_bars.append(bar("llama-server", estimate(peer_memory), "peer"))
    bench.chart("start.svg", "Start to ready", "milliseconds from exec", "ms", bars,
                [(100, "goal, dummy"), (250, "goal, nano")])
    bench.chart("memory.svg", "Memory with nano, 8 slots of 1024 tokens", "MiB of PSS", "MiB", memory_bars,
                [(60, "goal")])
    return [Finding("start to ready, dummy", "ms", starts["dummy"], Goal(100)),
            Finding("start to ready, nano", "ms", starts["nano"], Goal(250)),
            Finding("PSS of all roles, nano, 8 slots", "MiB", held, Goal(60))]


BIG_BODY_BYTES = 200_000
LARGEST_BODY_BYTES = 8 * 2**20  # body_max_bytes
ON_THE_WAY = ("gateway", "switch", "worker")  # of a stream's events; the manager is not


def worst_turns(report):
    """Of what turn_cost printed: {loop: (the median of its longest turns in ms, with the kind of body that is
    worst for it, that kind)}."""
    return {loop: max((turns[loop]["median_us"] / 1000, kind) for kind, turns in report["kinds"].items())
            for loop in ON_THE_WAY}


def turns(bench):
    """How long a body holds up the streams of others: the longest turn of a loop on their way while one
    is on its own, in time on a processor, which others' use of it does not change."""
    def run(size, repeats):
        found = worst_turns(bench.load.finish(spawn([bench.turn_cost, "--bytes", size, "--repeats", repeats])))
        worst.append(found)
        return max(ms for ms, _ in found.values())

    findings = []
    for size, repeats, rounds, goal in ((BIG_BODY_BYTES, 15, None, Goal(2)), (LARGEST_BODY_BYTES, 1, 3, None)):
        worst = []
        found = bench.alternate(rounds, turns=lambda: run(size, bench.size(repeats)))
        last = ", ".join(f"{loop} {ms:.2f} ms ({kind})" for loop, (ms, kind) in worst[-1].items())
        findings.append(Finding(f"longest turn of a loop on a stream's way while a body of {size:,} bytes passes",
                                "ms", estimate(found["turns"]), goal, None,
                                f"CPU time, the worst of many kinds of body; last round: {last}"))
    return findings


def big_body():
    """A request of that size whose prompt is short: the rest is what no field of ours is."""
    record = {"id": 1, "tags": ["a", "b\u00e9", "c"], "text": "x" * 40, "score": 0.5,
              "nested": {"yes": True, "no": None}}
    body = {"model": "dummy", "stream": True, "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}],
            "metadata": [record] * (BIG_BODY_BYTES // len(json.dumps([record])))}
    return json.dumps(body)


def body(bench):
    """A stream with a token each millisecond, while bodies of 200 KB are parsed: its longest gap as a client
    sees it. The machine's own are as long, so there is no goal here: that is turns()."""
    def run(with_bodies):
        with Ours(bench.program, dummy_slots=8, dummy_delay_ms=1, dummy_tokens=4000, worker_threads=1) as server:
            file = server.folder / "body.json"
            file.write_text(big_body())
            watched = bench.load.start("streams", server, concurrency=1, requests=1, max_tokens=bench.size(3000, 500))
            posting = bench.load.start("streams", server, concurrency=1, requests=bench.size(200, 30),
                                       body_file=file) if with_bodies else None
            try:
                gaps = bench.load.finish(watched)["gap_us"]
            except LoadFailed:
                if posting:
                    bench.load.stop(posting)
                raise
            if posting:
                bench.load.finish(posting)
            return gaps["max"] / 1000

    found = bench.alternate(beside=lambda: run(True), alone=lambda: run(False))
    delay = estimate(beside - 1 for beside in found["beside"])
    return [Finding("longest delay of a stream's event while 200 KB bodies are parsed", "ms", delay, None, None,
                    f"the machine's own included: without them {median(found['alone']) - 1:.1f} ms; one gateway thread")]


# --- SO_REUSEPORT ---


def fairness(bench):
    """max / mean of the connections per loop thread, 1000 connections: what SO_REUSEPORT gives. The
    gateway has no more threads than the machine has cores, so 4 are shown on bare listening sockets."""
    findings = []
    for label, shares in (("gateway with 2 threads", lambda: gateway_shares(bench.program, 2, 1000)),
                          ("4 listening sockets of the kernel", lambda: kernel_shares(4, 1000))):
        runs = [shares() for _ in range(bench.rounds)]
        findings.append(Finding(f"connections per loop, max / mean, 1000 connections, {label}", "x",
                                estimate(max(run) * len(run) / sum(run) for run in runs), None, None,
                                "last round: " + " ".join(map(str, sorted(runs[-1], reverse=True)))))
    return findings


ROWS = {row.__name__: row for row in (event, event_nano, throughput, one_token, latency, idle, crowd, slow, leave,
                                      start, turns, body, fairness)}
