"""kept - what was measured stays on a shelf, a file for each row of each model: a row that fails costs no other, and
a table can be made in several quiet spells. A result belongs to a key that says what was measured (commit, programs,
scripts, model, settings, machine): under any other key it is not there, so that no table mixes two builds."""

import hashlib
import json
import time
from typing import NamedTuple

from benchlib.rows import Chart
from benchlib.stats import Estimate, Goal
from benchlib.svg import Bar
from benchlib.versus import Line

PIECE_BYTES = 1 << 20


class Result(NamedTuple):
    """Of one row with one model."""

    lines: list   # of Line
    charts: list  # of Chart
    rounds: list  # what each server showed in each round: of every comparison, {name: [a dict per round]}
    at: float     # when it was over, in seconds of the wall clock
    seconds: float
    load_before: float     # of the machine, when the spell began
    stolen_percent: float  # while it was measured


def as_value(result):
    """What json can write. Tuples in tuples become objects with their names."""
    def one(value):
        if hasattr(value, "_asdict"):
            return {name: one(member) for name, member in value._asdict().items()}
        return [one(member) for member in value] if isinstance(value, (list, tuple)) else value

    return one(result)


def of_value(value):
    """The other way."""
    def made(kind, member):
        return None if member is None else kind(**member)

    def line(told):
        estimates = {name: made(Estimate, told[name]) for name in ("ours", "peer", "defaults", "judged")}
        return Line(**{**told, **estimates, "goal": made(Goal, told["goal"])})

    return Result(**{**value, "lines": [line(told) for told in value["lines"]],
                     "charts": [Chart(**{**told, "bars": [Bar(**bar) for bar in told["bars"]],
                                         "marks": [tuple(mark) for mark in told["marks"]]})
                                for told in value["charts"]]})


def digest(files):
    """Of the names and contents of files, in their order."""
    found = hashlib.sha256()
    for file in files:
        found.update(f"{file.name} {file.stat().st_size}\n".encode())
        with open(file, "rb") as content:
            while piece := content.read(PIECE_BYTES):
                found.update(piece)
    return found.hexdigest()


def differences(key, other):
    """In what two keys differ, for people: "commit a1 -> b2, programs"."""
    short = [f"{name} {key.get(name)} -> {other.get(name)}" if name == "commit" else name
             for name in {**key, **other} if key.get(name) != other.get(name)]
    return ", ".join(short)


class Shelf:
    """A folder. `tell`: takes a sentence for people, of what is not taken from it and why."""

    def __init__(self, folder, tell):
        self.folder = folder
        self.tell = tell

    def file(self, model, row):
        return self.folder / f"{model}-row-{row}.json"

    def put(self, model, row, key, result):
        """Replaced whole: who is ended in the middle of it leaves the one before."""
        file = self.file(model, row)
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".new")
        beside.write_text(json.dumps({"key": key, "result": as_value(result)}, indent=1) + "\n")
        beside.replace(file)

    def find(self, model, row, key):
        """None: there is none of that key."""
        file = self.file(model, row)
        if not file.exists():
            return None
        try:
            found = json.loads(file.read_text())
            if found["key"] != key:
                self.tell(f"{model}, row {row}: what is kept is of another {differences(found['key'], key)}")
                return None
            return of_value(found["result"])
        except (ValueError, KeyError, TypeError) as error:
            self.tell(f"{file} cannot be read ({type(error).__name__}: {error}): as if it were not there")
            return None


def age(result, now):
    """How long ago it was measured: "47 minutes"."""
    minutes = max(0, now - result.at) / 60
    for unit, length, most in (("minutes", 1, 120), ("hours", 60, 48)):
        if minutes / length < most:
            return f"{minutes / length:.0f} {unit}"
    return f"{minutes / 1440:.0f} days"


def spell_words(results):
    """When these were measured: the first and the last of them. The clock of the machine, in UTC."""
    times = sorted(result.at - part for result in results for part in (0, result.seconds))
    first, last = (time.strftime("%Y-%m-%d %H:%M", time.gmtime(at)) for at in (times[0], times[-1]))
    return f"Measured from {first} to {last} UTC."


def stolen_of(results):
    """Of the time of all of them, the percents that neighbours took."""
    return sum(result.stolen_percent * result.seconds for result in results) / sum(result.seconds for result in results)
