"""report - findings as a table for people, as JSON for programs, and as charts."""

import json
import os
import platform
import re
import subprocess
from pathlib import Path

from benchlib.stats import verdict
from benchlib.svg import bar_chart, number

COLUMNS = ("what", "goal", "stretch", "measured (95 %)", "met?", "")


def cells(finding):
    """The words of a line of the table."""
    goal = finding.goal
    bound = (">= " if goal.more_is_better else "<= ") if goal else ""
    unit = "" if finding.unit == "x" else " " + finding.unit
    found = finding.found
    measured = f"{number(found.mid)}{unit} ({number(found.low)} .. {number(found.high)})" if found else "-"
    return (finding.what, f"{bound}{number(goal.limit)}{unit}" if goal else "-",
            f"{bound}{number(finding.stretch)}{unit}" if finding.stretch is not None else "-",
            measured, judged(finding), finding.note)


def judged(finding):
    """The verdict, and the stretch's if that is met too."""
    said = verdict(finding.found, finding.goal)
    if said == "met" and finding.stretch is not None:
        if verdict(finding.found, finding.goal._replace(limit=finding.stretch)) == "met":
            return "met, and the stretch"
    return said


def markdown(findings):
    rows = [COLUMNS, ("---",) * len(COLUMNS)] + [cells(finding) for finding in findings]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def plain(findings):
    """For a terminal: columns of even width, the note below its line."""
    rows = [COLUMNS[:-1]] + [cells(finding)[:-1] for finding in findings]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip() for row in rows]
    for at, finding in reversed(list(enumerate(findings, 1))):
        if finding.note:
            lines.insert(at + 1, "    " + finding.note)
    return "\n".join(lines) + "\n"


def as_json(findings, machine, rounds):
    def one(finding):
        found, goal = finding.found, finding.goal
        return {"what": finding.what, "unit": finding.unit, "found": found._asdict() if found else None,
                "goal": goal._asdict() if goal else None, "stretch": finding.stretch, "verdict": judged(finding),
                "note": finding.note}

    return json.dumps({"machine": machine, "rounds": rounds, "findings": [one(finding) for finding in findings]},
                      indent=2) + "\n"


def write_charts(charts, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for chart in charts:
        (folder / chart.file).write_text(bar_chart(chart.title, chart.subtitle, chart.unit, chart.bars, chart.marks))


def replace_part(text, name, new):
    """The text with what is between `<!-- name -->` and `<!-- /name -->` exchanged."""
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.S)
    if not pattern.search(text):
        raise ValueError(f"there is no <!-- {name} --> ... <!-- /{name} --> to put it in")
    return pattern.sub(lambda match: match[1] + new + match[2], text, count=1)


def write_part(file, name, new):
    """The same with a file, which is replaced whole."""
    text = replace_part(file.read_text(), name, new)
    beside = file.with_suffix(".new")
    beside.write_text(text)
    beside.replace(file)


# --- the machine ---


def field(path, name):
    match = re.search(rf"^{name}\s*:\s*(.+)$", Path(path).read_text(), re.M)
    return match[1].strip() if match else "unknown"


def machine(root):
    """What a reader must know of where the figures come from."""
    commit = subprocess.run(["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {"cpu": field("/proc/cpuinfo", "model name"), "cores": os.cpu_count(),
            "memory_gib": round(int(field("/proc/meminfo", "MemTotal").split()[0]) / 2**20),
            "kernel": platform.release(), "commit": commit.stdout.strip() or "unknown"}


def ticks(stat="/proc/stat"):
    """(stolen, all) ticks of the processors so far. Stolen: we wanted to run, and the hypervisor ran others."""
    with open(stat) as file:
        counts = [int(word) for word in file.readline().split()[1:]]
    return counts[7], sum(counts[:8])  # user nice system idle iowait irq softirq steal; guests are in user


def stolen_percent(before, after):
    return 100 * (after[0] - before[0]) / max(after[1] - before[1], 1)


def machine_words(about, rounds, load, stolen):
    """One sentence. `load`: of the last minute, when it began: above a core, others were at work. `stolen`: percent
    of the time of the run; above some 2 the figures are not the machine's."""
    return (f"{about['cores']} cores of {about['cpu']}, {about['memory_gib']} GiB, Linux {about['kernel']}, commit "
            f"{about['commit']}; {rounds} rounds; load of the machine before: {load:.1f}; "
            f"taken by its neighbours meanwhile: {stolen:.1f} %.")
