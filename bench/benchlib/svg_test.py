"""svg_test - are the files well formed, do they say what they were given, and is all of it inside?"""

import re
import sys
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchlib.svg import WIDTH, Bar, Line, bar_chart, line_chart, number, ticks

SVG = "{http://www.w3.org/2000/svg}"
BARS = [Bar("ours, 32 streams", 10.25, 9.5, 11, "ours"), Bar("bare loop", 4.7, 4.6, 4.8, "limit"),
        Bar("llama-server <b9>", 102, 90, 115, "peer")]


def texts(file):
    return [node.text for node in xml.fromstring(file).iter(SVG + "text")]


def outside(file):
    """The elements that stick out of the picture."""
    tree = xml.fromstring(file)
    height = float(tree.get("height"))
    found = []
    for node in tree.iter():
        if node.get("width") == "100%":
            continue
        edges = [float(node.get(name)) for name in ("x", "x1", "x2") if node.get(name)]
        edges += [float(node.get("x")) + float(node.get("width"))] if node.tag == SVG + "rect" else []
        lows = [float(node.get(name)) for name in ("y", "y1", "y2") if node.get(name)]
        points = [tuple(map(float, pair.split(","))) for pair in (node.get("points") or "").split()]
        edges += [x for x, _ in points]
        lows += [y for _, y in points]
        if any(not 0 <= x <= WIDTH for x in edges) or any(not 0 <= y <= height for y in lows):
            found.append(xml.tostring(node))
    return found


class Numbers(unittest.TestCase):
    def test_three_figures_count(self):
        for value, said in ((0, "0"), (1234567, "1,234,567"), (102.4, "102"), (10.25, "10.2"), (4.7, "4.7"),
                            (0.01234, "0.0123"), (1.0, "1"), (100, "100"), (-2.5, "-2.5")):
            self.assertEqual(number(value), said)

    def test_ticks_are_round_and_hold_all(self):
        for low, high in ((0, 7), (0, 0.013), (0, 400_000), (49_000, 50_500), (-3, 3), (0, 1), (5, 5), (0, 0)):
            found = ticks(low, high)
            self.assertLessEqual(found[0], low + 1e-9)
            self.assertGreaterEqual(found[-1], high - 1e-9)
            self.assertIn(len(found), range(2, 9), (low, high))
            self.assertRegex(f"{found[1] - found[0]:e}", r"^[125]\.0+e")


class Charts(unittest.TestCase):
    def test_a_bar_chart_says_what_it_was_given(self):
        said = texts(bar_chart("CPU per event", "32 streams", "us", BARS, [(10.3, "goal")]))
        for words in ("CPU per event", "32 streams", "ours, 32 streams", "llama-server <b9>", "10.2 us", "102 us",
                      "goal"):
            self.assertIn(words, said)

    def test_bars_are_as_long_as_their_values(self):
        tree = xml.fromstring(bar_chart("t", "", "us", BARS))
        widths = [float(node.get("width")) for node in tree.iter(SVG + "rect") if node.get("width") != "100%"]
        self.assertAlmostEqual(widths[0] / widths[2], 10.25 / 102, places=2)

    def test_a_line_goes_up_with_its_values(self):
        file = line_chart("PSS", "", "minutes", "MiB", [Line("gateway", [(0, 2), (1, 3), (2, 5)])])
        points = [tuple(map(float, pair.split(","))) for pair in re.search(r'points="([^"]+)"', file)[1].split()]
        self.assertEqual(sorted(points), points)
        self.assertGreater(points[0][1] - points[1][1], 0)
        self.assertAlmostEqual((points[1][1] - points[2][1]) / (points[0][1] - points[1][1]), 2, places=1)

    def test_nothing_sticks_out(self):
        long = Bar("a label that goes on for as long as one may be expected to", 1, 0.5, 9, "ours")
        many = [Line(f"worker dummy number {at}", [(0, at), (30, at * 2)]) for at in range(9)]
        for file in (bar_chart("t", "s", "us", BARS, [(200, "goal")]), bar_chart("t", "", "KB", [long]),
                     line_chart("t", "s", "minutes", "MiB", many), line_chart("t", "", "x", "y", []),
                     line_chart("t", "", "x", "y", [Line("flat", [(5, 7), (6, 7)])], from_zero=False),
                     line_chart("t", "", "x", "y", [Line("point", [(5, 0)]), Line("none", [])])):
            self.assertEqual(outside(file), [])

    def test_dark_has_every_colour_that_light_has(self):
        light, dark = bar_chart("t", "", "", BARS).split("@media")
        names = lambda text: set(re.findall(r"\.(\w+)\{(?:fill|stroke):#", text))
        self.assertEqual(names(light), names(dark))


if __name__ == "__main__":
    unittest.main()
