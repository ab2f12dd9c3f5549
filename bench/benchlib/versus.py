"""versus - the lines of the table that compares ours with llama-server, and how they are told.

A line has what each of the three showed, as it is, and beside it the one quantity that its goal judges: a ratio
within a round, mostly, so that what made a minute slow is in both of its sides."""

import json
from typing import NamedTuple, Optional

from benchlib.stats import Estimate, Goal, estimate, verdict
from benchlib.svg import number

COLUMNS = ("row", "what", "ours", "llama-server, best flags", "its defaults", "judged: ours (95 %)", "goal", "met?")


class Line(NamedTuple):
    row: int
    what: str
    unit: str
    ours: Optional[Estimate]
    peer: Optional[Estimate] = None
    defaults: Optional[Estimate] = None
    judged_as: str = ""  # the words for the judged quantity
    judged: Optional[Estimate] = None
    goal: Optional[Goal] = None


def shown(found, unit):
    return "-" if found is None else f"{number(found.mid)} {unit}".strip()


def cells(line):
    """The words of a line."""
    judged = goal = "-"
    if line.goal:
        goal = f"{'>=' if line.goal.more_is_better else '<='} {number(line.goal.limit)}"
        judged = line.judged_as
        if found := line.judged:
            judged += f": {number(found.mid)} ({number(found.low)} .. {number(found.high)})"
    return (str(line.row), line.what, shown(line.ours, line.unit), shown(line.peer, line.unit),
            shown(line.defaults, line.unit), judged, goal, verdict(line.judged, line.goal) if line.goal else "-")


def markdown(lines):
    rows = [COLUMNS, ("---",) * len(COLUMNS)] + [cells(line) for line in lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def plain(lines):
    rows = [COLUMNS] + [cells(line) for line in lines]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    return "".join("  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip() + "\n" for row in rows)


def as_json(tables, about):
    """`tables`: {model: lines}."""
    def one(line):
        return {name: value._asdict() if isinstance(value, (Estimate, Goal)) else value
                for name, value in line._asdict().items()}

    return json.dumps({**about, "models": {name: [one(line) for line in lines] for name, lines in tables.items()}},
                      indent=2) + "\n"


def column(runs, member):
    """Of what a server showed in each round: the estimate of one member. None: it was not asked."""
    return estimate(run[member] for run in runs) if runs else None


def compare(found, member, **line):
    """A Line of {"ours": [a dict per round], "peer": ..., "defaults": ...}."""
    return Line(ours=column(found["ours"], member), peer=column(found.get("peer"), member),
                defaults=column(found.get("defaults"), member), **line)


def better(*settings, least=()):
    """Of each round the better of several settings of one server, member by member: the largest, or of the
    members in `least` the smallest."""
    return [{member: (min if member in least else max)(run[member] for run in runs) for member in runs[0]}
            for runs in zip(*settings)]


def against(found, member):
    """(ours, theirs) of each round."""
    return [(ours[member], theirs[member]) for ours, theirs in zip(found["ours"], found["peer"])]
