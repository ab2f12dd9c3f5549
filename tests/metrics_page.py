"""metrics_page - reads the Prometheus text format 0.0.4 strictly: whatever is not exactly of its form
is a failure."""

import math
import re
from dataclasses import dataclass, field

from http_client import ProtocolError

HELP = re.compile(r"# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)")
TYPE = re.compile(r"# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)")
SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.+)\})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
BOUNDS = ["0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30",
          "60", "+Inf"]


def expect(condition, what):
    if not condition:
        raise ProtocolError(f"not the text format: {what}")


def parse_labels(text):
    labels, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        expect(match and match[1] not in labels, text)
        labels[match[1]] = re.sub(r"\\(.)", lambda escape: {"n": "\n"}.get(escape[1], escape[1]), match[2])
        at = match.end()
    expect(text and not text.endswith(","), text)
    return labels


@dataclass
class Family:
    kind: str
    help: str
    samples: list = field(default_factory=list)  # (name, {label: value}, number)

    def label_names(self):
        """Of each series, without a histogram's own."""
        return {tuple(name for name in labels if name != "le") for _, labels, _ in self.samples}


class Page:
    """The families of one page, by name."""

    def __init__(self, text):
        expect(text == "" or text.endswith("\n"), "the last line has no end")
        self.families = {}
        lines = iter(text.splitlines())
        for line in lines:
            if match := HELP.fullmatch(line):
                self._begin(match, TYPE.fullmatch(next(lines, "")))
            else:
                self._add(line)
        for name, family in self.families.items():
            expect(family.samples, f"{name} has no series")
            if family.kind == "histogram":
                self._check_histogram(name, family)

    def _begin(self, help_line, type_line):
        expect(type_line and type_line[1] == help_line[1], help_line[0])
        expect(not self.families or help_line[1] > list(self.families)[-1], f"{help_line[1]} is out of order, or there twice")
        self.families[help_line[1]] = Family(type_line[2], help_line[2])

    def _add(self, line):
        match = SAMPLE.fullmatch(line)
        expect(match and self.families, line)
        name, family = list(self.families.items())[-1]
        suffixes = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
        expect(match[1] in [name + suffix for suffix in suffixes], line)
        sample = (match[1], parse_labels(match[2]) if match[2] else {}, float(match[3]))
        expect(sample[:2] not in [known[:2] for known in family.samples], f"twice: {line}")
        expect(math.isfinite(sample[2]) and (family.kind == "gauge" or sample[2] >= 0), line)
        family.samples.append(sample)

    @staticmethod
    def _check_histogram(name, family):
        """Each series has all buckets, in order, that only rise, and the last is its count."""
        step = len(BOUNDS) + 2
        expect(len(family.samples) % step == 0, f"{name} has {len(family.samples)} samples")
        for at in range(0, len(family.samples), step):
            series = family.samples[at:at + step]
            counts = [number for _, _, number in series[:-2]]
            expect([labels.get("le") for _, labels, _ in series[:-2]] == BOUNDS, series)
            expect(counts == sorted(counts), series)
            expect([sample[0] for sample in series[-2:]] == [name + "_sum", name + "_count"], series)
            expect(series[-1][2] == counts[-1], series)
            own = [{key: value for key, value in labels.items() if key != "le"} for _, labels, _ in series]
            expect(all(labels == own[0] for labels in own), series)

    def value(self, name, **labels):
        """The sum of the samples of that name that have these labels; 0 without any."""
        family = self.families.get(name) or self.families.get(re.sub("_(bucket|sum|count)$", "", name))
        return sum(number for sample, own, number in (family.samples if family else [])
                   if sample == name and labels.items() <= own.items())


def scrape(server):
    response = server.get("/metrics")
    expect(response.status == 200, response)
    expect(response.field("Content-Type") == "text/plain; version=0.0.4; charset=utf-8", response)
    return Page(response.text())
