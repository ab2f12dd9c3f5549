#!/usr/bin/env python3
"""cost - what a stream costs: ours, the limit and llama-server, measured in turn; the table of docs/benchmarks.md.

    bench/cost.py                    all rows: some 15 minutes; nothing else should run on the machine
    bench/cost.py --only event       one of them; may be repeated
    bench/cost.py --quick            a tenth of the work: shows that it runs, not what is true

needs build/release with its bench programs (`tools/build release --buildtype=release -Dtests=disabled`) and,
for the comparison, llama-server (`tools/setup-peer`). Writes build/bench/results.json and the charts; only
a whole run goes into docs/benchmarks.md and docs/benchmarks/.

Exit status: 0 measured, whatever the goals say; 1 a row failed; 2 wrong arguments or a program is missing."""

import argparse
import os
import resource
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True

from benchlib.load import LoadFailed
from benchlib.report import as_json, machine, machine_words, markdown, plain, stolen_percent, ticks, write_charts, \
    write_part
from benchlib.rows import ROWS, Bench
from benchlib.servers import PEER, ROOT, ServerFailed, end_servers_on_signals
from benchlib.stats import ROUNDS_MIN

DOCUMENT = ROOT / "docs" / "benchmarks.md"
CHARTS = ROOT / "docs" / "benchmarks"
OUT = ROOT / "build" / "bench"
NEEDED_FDS = 25_000  # of the client with 10 000 connections, and of the gateway beside it


def arguments():
    parser = argparse.ArgumentParser(description="What a stream costs: the table of docs/benchmarks.md.",
                                     epilog="rows: " + ", ".join(ROWS))
    parser.add_argument("--rounds", type=int, metavar="N", help="of each row, 1..99 (9; quick: 2)")
    parser.add_argument("--only", action="append", choices=ROWS, metavar="ROW", help="only this row; may be repeated")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--no-peer", action="store_true", help="without llama-server")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release", metavar="DIR",
                        help="where millrace and bench/ are built (build/release)")
    given = parser.parse_args()
    if given.rounds is None:
        given.rounds = 2 if given.quick else 9
    if not 1 <= given.rounds <= 99:
        parser.error(f"--rounds {given.rounds}: allowed are 1..99")
    for program in (given.build / name for name in ("millrace", "bench/load", "bench/bare_loop", "bench/turn_cost")):
        if not os.access(program, os.X_OK):
            parser.error(f"{program} is missing: tools/build release --buildtype=release -Dtests=disabled")
    return given


def allow_many_fds():
    """As many as the system lets this process have; a row that needs more fails and says so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, NEEDED_FDS)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def measure(bench, names):
    """Findings of every row, and the names of those that failed."""
    findings, failed = [], []
    for name in names:
        begin = time.monotonic()
        try:
            findings += ROWS[name](bench)
            print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
        except (LoadFailed, ServerFailed, KeyError, OSError) as error:
            failed.append(name)
            print(f"{name} FAILED: {type(error).__name__}: {error}", file=sys.stderr)
    return findings, failed


def main():
    given = arguments()
    end_servers_on_signals()
    allow_many_fds()
    load_before, ticks_before = os.getloadavg()[0], ticks()
    bench = Bench(given.build, given.rounds, given.quick, not given.no_peer)
    if not bench.has_peer and not given.no_peer:
        print(f"{PEER} is not built (tools/setup-peer): nothing is compared with it", file=sys.stderr)
    if load_before > 0.5:
        print(f"the machine is busy (load {load_before:.1f}): the figures will be worse than they are", file=sys.stderr)
    findings, failed = measure(bench, given.only or list(ROWS))
    about = machine(ROOT)
    stolen = stolen_percent(ticks_before, ticks())
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "results.json").write_text(as_json(findings, {**about, "load_before": load_before, "stolen_percent": stolen},
                                                given.rounds))
    is_whole = not (given.only or given.quick or failed or given.rounds < ROUNDS_MIN) and bench.has_peer
    write_charts(bench.charts, CHARTS if is_whole else OUT)
    print(plain(findings), end="")
    if is_whole:
        words = machine_words(about, given.rounds, load_before, stolen)
        write_part(DOCUMENT, "table", f"{markdown(findings)}\n{words}\n")
        print(f"{DOCUMENT} and its charts are written")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
