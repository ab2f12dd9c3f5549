#!/usr/bin/env python3
"""soak - everything at once for some minutes: is each stream right, and is nothing left behind?

    bench/soak.py --minutes 30       goes into docs/benchmarks.md; a shorter run is not written there

Laps. In each: streams that begin at random times (bench/load open, on both models), one-token requests,
clients that leave in the middle, clients that hardly read, several choices, forms, an adapter, tokens and
embeddings (benchlib/questions.py), a SIGHUP. In each third lap a worker is
killed (SIGKILL) with streams running: those are whole, or end as worker_lost. Any other role that ends is
a doubt, with the host's word for it. In the first half of the
run it is the small model's worker, in the second the dummy's, so each of them is also watched for half
of the run without a restart. Between two laps nothing may be in flight, and memory (PSS) and
descriptors of every process are sampled. Flat: see growth() in benchlib/stats.py.

Below 8 minutes memory is shown and not judged: manager and worker remember for a minute what is over, and
each of the workers lives through half of the run.

Exit status: 0 all streams were right and all is flat; 1 not so; 2 wrong arguments, or a program is
missing."""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True

from benchlib.clients import Crowd, Request, Tally, leaver, slow_reader, victim, wait_until
from benchlib.load import Load, LoadFailed
from benchlib.proctree import role_of
from benchlib.questions import QUESTIONS, Questions, asker
from benchlib.report import machine, machine_words, stolen_percent, ticks, write_part
from benchlib.servers import ROOT, Ours, ServerFailed, end_servers_on_signals
from benchlib.svg import Line, line_chart
from benchlib.watch import Watch, other_ends, table

DOCUMENT = ROOT / "docs" / "benchmarks.md"
CHARTS = ROOT / "docs" / "benchmarks"
OUT = ROOT / "build" / "bench"
WHOLE_MINUTES = 30  # what goes into the document
JUDGED_MINUTES = 8
LAP_MIN_S, LAP_MAX_S = 2.0, 15.0
LAPS = 40  # about so many, within these bounds: each gives one sample
KILL_EACH = 3
REST_S = 60  # nothing may be in flight any more, at the latest
RATE = {"dummy": 60, "llama": 15}  # streams per second: about a quarter of one core
KEYS = {"llama_slots": 8, "dummy_slots": 64, "dummy_delay_ms": 2, "dummy_tokens": 2000, "max_model_queue": 512,
        "prefix_disk_bytes": 64 << 20}


def make_model(build):
    return build / "tools" / "models" / "make_model"


def arguments():
    parser = argparse.ArgumentParser(description="Mixed load for some minutes; fails unless memory, descriptors and "
                                                 "what is in flight stay flat and every stream is right.")
    parser.add_argument("--minutes", type=float, default=1, metavar="N", help="0.2..1440 (1)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all random numbers (1)")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release", metavar="DIR",
                        help="where millrace and bench/ are built (build/release)")
    given = parser.parse_args()
    if not 0.2 <= given.minutes <= 1440:
        parser.error(f"--minutes {given.minutes}: allowed are 0.2..1440")
    for program in (given.build / "millrace", given.build / "bench" / "load", make_model(given.build)):
        if not os.access(program, os.X_OK):
            parser.error(f"{program} is missing: tools/build release --buildtype=release -Dtests=disabled")
    return given


class Soak:
    """One run. Everything wrong becomes a doubt; it goes on, so that the rest is seen as well."""

    def __init__(self, server, load, seconds, seed):
        self.server, self.load, self.seconds = server, load, seconds
        self.lap_s = min(LAP_MAX_S, max(LAP_MIN_S, seconds / LAPS))
        self.dice = random.Random(seed)
        self.tally = Tally()
        self.watch = Watch()
        self.requests = {"dummy": Request(server.port, "dummy", 100), "llama": Request(server.port, "llama", 40)}
        self.long_request = Request(server.port, "dummy", 2000)
        self.questions = Questions(server.port, "llama")
        self.laps = 0
        self.killed = set()  # by us
        self.log_read = 0

    def run(self):
        begin = time.monotonic()
        while (spent := time.monotonic() - begin) < self.seconds:
            self.laps += 1
            victim_model = "llama" if spent < self.seconds / 2 else "dummy"
            if self.laps % KILL_EACH == 0:
                self.kill_lap(victim_model)
            else:
                self.mixed_lap()
            self.rest()

    # --- laps ---

    def mixed_lap(self):
        seed = self.dice.randrange(2**31)
        loads = [self.start_load(model, seed) for model in RATE] + [self.start_one_token(seed)]
        with Crowd(4, leaver(self.requests["dummy"]), self.tally, seed), \
                Crowd(1, leaver(self.requests["llama"]), self.tally, seed + 1), \
                Crowd(8, slow_reader(self.long_request), self.tally, seed + 2), \
                Crowd(2, asker(self.questions), self.tally, seed + 3):
            time.sleep(self.lap_s / 2)
            self.server.process.send_signal(signal.SIGHUP)
            self.tally.add("SIGHUP")
            time.sleep(self.lap_s / 2)
        for name, process in loads:
            self.finish_load(name, process)

    def kill_lap(self, model):
        """The other model's streams must not notice."""
        seed = self.dice.randrange(2**31)
        other = next(name for name in RATE if name != model)
        name, process = self.start_load(other, seed)
        with Crowd(12, victim(self.requests[model]), self.tally, seed):
            time.sleep(self.lap_s * self.dice.uniform(0.2, 0.6))
            self.kill(model)
            if not wait_until(lambda: self.server.model(model).get("state") == "ready", REST_S):
                self.tally.doubt(f"no worker for {model} {REST_S} s after one was killed")
            time.sleep(self.lap_s * 0.3)
        self.finish_load(name, process)

    def kill(self, model):
        for pid in self.server.pids():
            if role_of(pid) == f"worker {model}":
                self.killed.add(pid)
                os.kill(pid, signal.SIGKILL)
                self.tally.add("worker killed")

    def start_load(self, model, seed):
        tokens = self.requests[model].max_tokens
        return "stream", self.load.start("open", self.server, rate=RATE[model], seconds=self.lap_s, model=model,
                                         max_tokens=tokens, extra='"temperature":0', seed=seed)

    def start_one_token(self, seed):
        return "one-token request", self.load.start("open", self.server, rate=50, seconds=self.lap_s, model="dummy",
                                                    max_tokens=1, body_bytes=200, seed=seed + 1)

    def finish_load(self, name, process):
        try:
            self.tally.add(name, self.load.finish(process)["streams"])
        except LoadFailed as error:
            self.tally.doubt(str(error))

    # --- between two laps ---

    def rest(self):
        """Nothing in flight; then one sample."""
        if not wait_until(self.is_idle, REST_S):
            self.tally.doubt(f"{REST_S} s after lap {self.laps} still in flight: {self.server.health()}")
        self.doubt_other_ends()
        self.watch.sample(self.server.pids())

    def doubt_other_ends(self):
        """What the host said since the last lap of roles that it killed, or that ended, but for those killed here."""
        with open(self.server.folder / "log", "rb") as log:
            log.seek(self.log_read)
            new = log.read()
        new = new[:new.rfind(b"\n") + 1]  # half a line is one of the next lap's
        self.log_read += len(new)
        for line in other_ends(new.decode(errors="replace"), self.killed):
            self.tally.doubt(f"in lap {self.laps}: {line}")

    def is_idle(self):
        health = self.server.health()
        return health is not None and all(model["slots_busy"] == model["queued"] == model["parked"] == 0
                                          for model in health["models"])


# --- what came of it ---


def counts_words(tally, laps):
    counted = ", ".join(f"{count:,} x {name}" for name, count in sorted(tally.counts.items()))
    return f"{laps} laps: {counted}; {tally.doubt_count} doubts"


def write_result(soak, judgements, minutes, about):
    folder = CHARTS if minutes >= WHOLE_MINUTES else OUT
    folder.mkdir(parents=True, exist_ok=True)
    for file, what, unit in (("soak-memory.svg", "PSS", "MiB"), ("soak-fds.svg", "descriptors", "descriptors")):
        lines = [Line(label, points) for label, points in soak.watch.lines(what)]
        (folder / file).write_text(line_chart(f"{what} of every process, {minutes:g} minutes of mixed load",
                                              "at rest, between two laps", "minutes", unit, lines))
    words = counts_words(soak.tally, soak.laps)
    print(table(judgements) + "\n" + words)
    if minutes >= WHOLE_MINUTES:
        write_part(DOCUMENT, "soak", f"{table(judgements)}\n{words}. {about}\n")


def is_right(soak, judgements, minutes):
    """And it must have been able to fail: something of each kind happened, and memory was judged."""
    for words in soak.tally.doubts:
        print(f"doubt: {words}", file=sys.stderr)
    missing = {"stream", "one-token request", "left in the middle", "read slowly", "SIGHUP", "worker killed",
               *QUESTIONS}
    missing -= set(soak.tally.counts)
    if missing:
        print(f"doubt: none of these happened: {', '.join(sorted(missing))}", file=sys.stderr)
    grown = [one for one in judgements if one.flat is False and minutes >= JUDGED_MINUTES]
    for one in grown:
        print(f"doubt: {one.role}: {one.what} grew by {one.grew.mid:.0f}", file=sys.stderr)
    unjudged = [one for one in judgements if one.flat is None and minutes >= JUDGED_MINUTES]
    for one in unjudged:
        print(f"doubt: {one.role}: {one.what} was not watched long enough", file=sys.stderr)
    if minutes < JUDGED_MINUTES:
        print(f"memory and descriptors were not judged: that takes --minutes {JUDGED_MINUTES}", file=sys.stderr)
    return not (soak.tally.doubt_count or missing or grown or unjudged)


def adapters(build, folder):
    file = Path(folder) / "one.gguf"
    subprocess.run([make_model(build), "--lora-for", ROOT / "models" / "nano.gguf", file], check=True)
    return [{"name": "one", "path": str(file), "scale": 0}]


def main():
    given = arguments()
    end_servers_on_signals()
    load_before, ticks_before = os.getloadavg()[0], ticks()
    try:
        with tempfile.TemporaryDirectory() as folder, \
                Ours(given.build / "millrace", ready=("dummy", "llama"), llama_lora=adapters(given.build, folder),
                     **KEYS) as server:
            load = Load(given.build / "bench" / "load", counts_cpu=False)  # workers are killed meanwhile
            soak = Soak(server, load, given.minutes * 60, given.seed)
            soak.run()
    except ServerFailed as error:
        sys.exit(f"soak: {error}")
    judgements = soak.watch.judge()
    stolen = stolen_percent(ticks_before, ticks())
    write_result(soak, judgements, given.minutes, machine_words(machine(ROOT), soak.laps, load_before, stolen))
    sys.exit(0 if is_right(soak, judgements, given.minutes) else 1)


if __name__ == "__main__":
    main()
