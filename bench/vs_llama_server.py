#!/usr/bin/env python3
"""vs_llama_server - ours beside llama-server on the same libraries: the tables of docs/benchmarks-engine.md.

    bench/vs_llama_server.py                     all rows with two models; nothing else should run on the machine
    bench/vs_llama_server.py --rows 1,3 --rounds 3 --model FILE
    bench/vs_llama_server.py --quick             a tenth of the work: shows that it runs, not what is true

needs build/release with its programs (`tools/build release --buildtype=release -Dtests=disabled`) and
llama-server (`tools/setup-peer`). Without --model it makes two llama models of random weights in
build/bench/models: what is measured does not depend on what they say. Writes build/bench/engine.json and the
charts; only a whole run goes into docs/benchmarks-engine.md and docs/benchmarks/.

Exit status: 0 measured, whatever the goals say; 1 a row failed; 2 wrong arguments or a program is missing."""

import argparse
import math
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

sys.dont_write_bytecode = True

from benchlib.report import machine, machine_words, stolen_percent, ticks, write_charts, write_part
from benchlib.servers import PEER, ROOT, Peer, end_servers_on_signals
from benchlib.stats import ROUNDS_MIN
from benchlib.versus import as_json, markdown, plain
from benchlib.versus_rows import ROUNDS_LEAST, ROW_S, ROWS, Versus

DOCUMENT = ROOT / "docs" / "benchmarks-engine.md"
CHARTS = ROOT / "docs" / "benchmarks"
OUT = ROOT / "build" / "bench"
MODELS = {"15m-q8_0": ("15m", "q8_0"), "110m-q4_0": ("110m", "q4_0")}


def rows_of(text):
    names = text.split(",")
    for name in names:
        if name not in ROWS:
            raise argparse.ArgumentTypeError(f"{name}: rows are {', '.join(ROWS)} (8, drafting, is bench/draft)")
    return names


def arguments():
    parser = argparse.ArgumentParser(description="Ours beside llama-server: the tables of docs/benchmarks-engine.md.",
                                     epilog="rows: " + "; ".join(row.__doc__.split(".")[0] for row in ROWS.values()))
    parser.add_argument("--rows", type=rows_of, default=list(ROWS), metavar="N,N", help="only these rows")
    parser.add_argument("--rounds", type=int, metavar="N",
                        help=f"of each row, 1..99 (quick: 1; else {ROUNDS_LEAST} to {ROUNDS_MIN}, as many as take {ROW_S} s)")
    parser.add_argument("--model", type=Path, action="append", metavar="FILE",
                        help="a GGUF file; may be repeated (two of random weights)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--no-peer", action="store_true", help="without llama-server")
    parser.add_argument("--no-defaults", action="store_true", help="without llama-server as it comes: on a busy "
                        "machine, whose cores it does not have for itself, it may take minutes for a row")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release", metavar="DIR",
                        help="where millrace and bench/ are built (build/release)")
    given = parser.parse_args()
    given.row_s = math.inf if given.rounds or given.quick else ROW_S
    if given.rounds is None:
        given.rounds = 1 if given.quick else ROUNDS_MIN
    if not 1 <= given.rounds <= 99:
        parser.error(f"--rounds {given.rounds}: allowed are 1..99")
    for name in ["millrace", "bench/load", "bench/engine_loop"] + ([] if given.model else ["tools/models/make_model"]):
        if not os.access(given.build / name, os.X_OK):
            parser.error(f"{given.build / name} is missing: tools/build release --buildtype=release -Dtests=disabled")
    for model in given.model or []:
        if not model.is_file():
            parser.error(f"--model {model}: there is no such file")
    return given


def random_models(build):
    """Made once."""
    folder = OUT / "models"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (size, kind) in MODELS.items():
        file = folder / f"{name}.gguf"
        if not file.exists():
            subprocess.run([build / "tools/models/make_model", "--size", size, "--type", kind, file], check=True)
        yield file


def measure(bench, names):
    """The lines of every row, and the names of those that failed."""
    lines, failed = [], []
    for name in names:
        begin = time.monotonic()
        try:
            lines += ROWS[name](bench)
            print(f"{bench.name}, row {name}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
        except Exception:  # whatever it is, the other rows are measured
            failed.append(name)
            print(f"{bench.name}, row {name} FAILED: {traceback.format_exc()}", file=sys.stderr)
    return lines, failed


def main():
    given = arguments()
    end_servers_on_signals()
    os.environ.setdefault("MILLRACE_ENGINE_DIR", str(ROOT / "build" / "deps" / "engine" / "lib"))  # of engine_loop
    load_before, ticks_before = os.getloadavg()[0], ticks()
    if not Peer.is_built() and not given.no_peer:
        print(f"{PEER} is not built (tools/setup-peer): nothing is compared with it", file=sys.stderr)
    if load_before > 0.5:
        print(f"the machine is busy (load {load_before:.1f}): the figures will be worse than they are", file=sys.stderr)
    tables, charts, failed = {}, {}, []
    for model in given.model or random_models(given.build):
        bench = Versus(given.build, given.rounds, given.quick, model.resolve(), not given.no_peer,
                       not given.no_defaults, given.row_s)
        tables[bench.name], missing = measure(bench, given.rows)
        charts[bench.name] = bench.charts
        failed += missing
        print(f"{bench.name}\n{plain(tables[bench.name])}", flush=True)
    rounds = f"{ROUNDS_LEAST} to {given.rounds}" if given.row_s == ROW_S else given.rounds
    about, stolen = machine(ROOT), stolen_percent(ticks_before, ticks())
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "engine.json").write_text(as_json(tables, {"machine": about, "rounds": rounds,
                                                      "load_before": load_before, "stolen_percent": stolen}))
    is_whole = (given.rows == list(ROWS) and not (given.model or given.quick or failed) and Peer.is_built()
                and not (given.no_peer or given.no_defaults) and given.rounds >= ROUNDS_MIN)
    write_charts(sum(charts.values(), []), CHARTS if is_whole else OUT)
    if is_whole:
        words = machine_words(about, rounds, load_before, stolen)
        for name, lines in tables.items():
            pictures = "".join(f"![{chart.title}]({CHARTS.name}/{chart.file})\n" for chart in charts[name])
            write_part(DOCUMENT, name, f"{markdown(lines)}\n{words}\n\n{pictures}")
        print(f"{DOCUMENT} and its charts are written")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
