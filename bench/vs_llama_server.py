#!/usr/bin/env python3
"""vs_llama_server - ours beside llama-server on the same libraries: the tables of docs/benchmarks-engine.md.

    bench/vs_llama_server.py                     all rows with two models; nothing else should run on the machine
    bench/vs_llama_server.py --rows 1,3 --rounds 3 --model FILE
    bench/vs_llama_server.py --resume            goes on: rows of this commit, build and settings are not made again
    bench/vs_llama_server.py --quick             a tenth of the work: shows that it runs, not what is true

needs build/release with its programs (`tools/build release --buildtype=release -Dtests=disabled`) and
llama-server (`tools/setup-peer`). Without --model it makes two llama models of random weights in
build/bench/models: what is measured does not depend on what they say. Writes build/bench/engine.json and the
charts; only a whole table goes into docs/benchmarks-engine.md and docs/benchmarks/. Each row is kept in
build/bench/rows as soon as it is measured: with --resume a table is made in several quiet spells, and a row that
failed is tried again alone.

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

from benchlib.kept import Result, Shelf, age, digest, spell_words, stolen_of
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
    parser.add_argument("--resume", action="store_true", help="rows that are kept of this commit, build, model and "
                        "settings are not measured again")
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


def say(words):
    print(words, file=sys.stderr, flush=True)


def key_of(given, about):
    """What all rows of one model have in common but the model: results of different keys do not meet."""
    programs = [given.build / name for name in ("millrace", "bench/load", "bench/engine_loop")]
    programs += [PEER] if Peer.is_built() and not given.no_peer else []
    return {"commit": about["commit"], "machine": {name: about[name] for name in ("cpu", "cores", "memory_gib", "kernel")},
            "programs": {file.name: digest([file]) for file in programs},
            "engine": digest(sorted(Path(os.environ["MILLRACE_ENGINE_DIR"]).glob("*.so*"))),
            "scripts": digest(sorted([Path(__file__), *Path(__file__).with_name("benchlib").glob("*.py")])),
            "settings": {"rounds": given.rounds, "row_s": None if math.isinf(given.row_s) else given.row_s,
                         "quick": given.quick, "peer": not given.no_peer, "defaults": not given.no_defaults}}


class Spell:
    """One start of this program: measures what it has to, keeps it, and knows what is kept from before."""

    def __init__(self, given, about):
        self.given = given
        self.key = key_of(given, about)
        self.shelf = Shelf(OUT / "rows", say)
        self.load_before = os.getloadavg()[0]
        self.failed = []

    def key_with(self, model):
        return {**self.key, "model": digest([model])}

    def kept(self, model):
        """{row: its result}"""
        key = self.key_with(model)
        found = {name: self.shelf.find(model.stem, name, key) for name in ROWS} if self.given.resume else {}
        return {name: result for name, result in found.items() if result}

    def measure(self, model, names):
        """{row: its result} of those rows that did not fail."""
        given, found, bench = self.given, {}, None
        for name in names:
            try:
                bench = bench or Versus(given.build, given.rounds, given.quick, model, not given.no_peer,
                                        not given.no_defaults, given.row_s)
                found[name] = self.row(bench, name)
                self.shelf.put(model.stem, name, self.key_with(model), found[name])
                say(f"{model.stem}, row {name}: {found[name].seconds:.0f} s")
            except Exception:  # whatever it is, the other rows are measured
                self.failed.append(name)
                say(f"{model.stem}, row {name} FAILED: {traceback.format_exc()}")
        return found

    def row(self, bench, name):
        begin, ticks_before = time.monotonic(), ticks()
        bench.charts, bench.compared = [], []
        lines = ROWS[name](bench)
        return Result(lines, bench.charts, bench.compared, time.time(), time.monotonic() - begin, self.load_before,
                      stolen_percent(ticks_before, ticks()))

    def table(self, model):
        """{row: its result}, in their order: those that were asked for, and with --resume all that are kept."""
        found = self.kept(model)
        for name, result in found.items():
            say(f"{model.stem}, row {name}: kept, measured {age(result, time.time())} ago")
        found.update(self.measure(model, [name for name in self.given.rows if name not in found]))
        return {name: found[name] for name in ROWS if name in found}


def document(tables, words):
    for name, results in tables.items():
        lines = [line for result in results.values() for line in result.lines]
        charts = [chart for result in results.values() for chart in result.charts]
        pictures = "".join(f"![{chart.title}]({CHARTS.name}/{chart.file})\n" for chart in charts)
        write_part(DOCUMENT, name, f"{markdown(lines)}\n{words}\n\n{pictures}")
    print(f"{DOCUMENT} and its charts are written")


def main():
    given = arguments()
    end_servers_on_signals()
    os.environ.setdefault("MILLRACE_ENGINE_DIR", str(ROOT / "build" / "deps" / "engine" / "lib"))  # of engine_loop
    if not Peer.is_built() and not given.no_peer:
        say(f"{PEER} is not built (tools/setup-peer): nothing is compared with it")
    about = machine(ROOT)
    spell = Spell(given, about)
    if spell.load_before > 0.5:
        say(f"the machine is busy (load {spell.load_before:.1f}): the figures will be worse than they are")
    tables = {}
    for model in given.model or random_models(given.build):
        results = tables[model.stem] = spell.table(model.resolve())
        print(f"{model.stem}\n{plain([line for result in results.values() for line in result.lines])}", flush=True)
    finish(given, about, tables)
    sys.exit(1 if spell.failed else 0)


def finish(given, about, tables):
    results = [result for rows in tables.values() for result in rows.values()]
    if not results:
        return
    rounds = f"{ROUNDS_LEAST} to {given.rounds}" if given.row_s == ROW_S else given.rounds
    load, stolen = max(result.load_before for result in results), stolen_of(results)
    (OUT / "engine.json").write_text(as_json(
        {name: [line for result in rows.values() for line in result.lines] for name, rows in tables.items()},
        {"machine": about, "rounds": rounds, "load_before": load, "stolen_percent": stolen}))
    is_whole = (all(list(rows) == list(ROWS) for rows in tables.values()) and Peer.is_built() and not
                (given.model or given.quick or given.no_peer or given.no_defaults) and given.rounds >= ROUNDS_MIN)
    write_charts([chart for result in results for chart in result.charts], CHARTS if is_whole else OUT)
    if is_whole:
        document(tables, f"{machine_words(about, rounds, load, stolen)} {spell_words(results)}")


if __name__ == "__main__":
    main()
