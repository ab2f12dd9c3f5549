"""watch - what the processes of a server hold, over time; and whether it stays."""

import re
import time
from typing import NamedTuple, Optional

from benchlib.proctree import fds, pss_kib, role_of
from benchlib.stats import Growth, growth, is_flat

# What may be gained in the judged half: less than one leaked object per request would be.
TOLERATED = {"PSS": 256, "descriptors": 1}
# Manager and worker remember for 60 s which requests are over (docs/design/008): until then they grow.
WARM_UP_S = 75
UNITS = {"PSS": "KiB", "descriptors": "fds"}


ROLE_ENDS = re.compile(r"event=role_(?:killed|ended) .*?pid=(\d+)")


def other_ends(log, killed):
    """The lines of a host's log about roles that it killed or that ended, but for those processes."""
    return [line for line in log.splitlines() if (found := ROLE_ENDS.search(line)) and int(found[1]) not in killed]


class Judgement(NamedTuple):
    role: str
    what: str
    first: float
    last: float
    grew: Optional[Growth]
    flat: Optional[bool]  # None: too short to tell


class Watch:
    """Samples taken at rest, that is between two laps, with nothing in flight."""

    def __init__(self, clock=time.monotonic):
        self.clock = clock
        self.begin = clock()
        self.series = {}  # (role, pid, what) -> [(seconds, value)]

    def sample(self, pids):
        for pid in pids:
            role = role_of(pid)
            if role:  # else it has just gone
                self.add(role, pid, {"PSS": pss_kib(pid), "descriptors": fds(pid)})

    def add(self, role, pid, values):
        at = self.clock() - self.begin
        for what, value in values.items():
            self.series.setdefault((role, pid, what), []).append((at, value))

    def judge(self):
        """Of each role the process that was watched longest: a worker that was killed began anew."""
        longest = {}
        for (role, pid, what), points in self.series.items():
            best = longest.get((role, what))
            if best is None or points[-1][0] - points[0][0] > best[-1][0] - best[0][0]:
                longest[role, what] = points
        return [judge_series(role, what, points) for (role, what), points in sorted(longest.items())]

    def lines(self, what):
        """[(label, points in minutes)] of every process, for a chart."""
        found = {}
        for (role, _, kind), points in sorted(self.series.items()):
            if kind == what:
                scale = 1024 if what == "PSS" else 1
                found.setdefault(role, []).extend((at / 60, value / scale) for at, value in points)
        return [(role, sorted(points)) for role, points in found.items()]


def judge_series(role, what, points):
    grew = growth(points, WARM_UP_S)
    flat = None if grew is None else is_flat(grew, TOLERATED[what])
    return Judgement(role, what, points[0][1], points[-1][1], grew, flat)


def table(judgements):
    """Markdown."""
    rows = ["| process | what | first | last | growth in the second half (95 %) | tolerated | flat? |",
            "|---|---|---|---|---|---|---|"]
    for one in judgements:
        grew = f"{one.grew.mid:.1f} ({one.grew.low:.1f} .. {one.grew.high:.1f})" if one.grew else "-"
        flat = {True: "yes", False: "**no**", None: "too short to tell"}[one.flat]
        rows.append(f"| {one.role} | {one.what}, {UNITS[one.what]} | {one.first:.0f} | {one.last:.0f} | {grew} | "
                    f"{TOLERATED[one.what]} | {flat} |")
    return "\n".join(rows) + "\n"
