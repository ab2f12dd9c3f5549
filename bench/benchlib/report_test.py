"""report_test - does the table say what was found, and nothing better?"""

import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchlib.report import as_json, cells, judged, machine, machine_words, markdown, plain, replace_part, stolen_percent, ticks, \
    write_part
from benchlib.rows import Finding
from benchlib.stats import Estimate, Goal

MET = Finding("CPU per event", "x", Estimate(1.7, 1.8, 1.9, 9), Goal(2.2), 1.6, "8.5 / 4.7 us")
BEST = Finding("events per second", "/s", Estimate(410_000, 420_000, 430_000, 9), Goal(150_000, True), 400_000)
MISSED = Finding("start", "ms", Estimate(210, 220, 230, 9), Goal(100))
ABSENT = Finding("latency", "us", None, Goal(100), 60)


class Tables(unittest.TestCase):
    def test_a_line_says_goal_interval_and_verdict(self):
        self.assertEqual(cells(MET), ("CPU per event", "<= 2.2", "<= 1.6", "1.8 (1.7 .. 1.9)", "met", "8.5 / 4.7 us"))
        self.assertEqual(cells(BEST)[1:5], (">= 150,000 /s", ">= 400,000 /s", "420,000 /s (410,000 .. 430,000)",
                                            "met, and the stretch"))
        self.assertEqual(cells(MISSED)[1:5], ("<= 100 ms", "-", "220 ms (210 .. 230)", "missed"))
        self.assertEqual(cells(ABSENT)[3:5], ("-", "not measured"))

    def test_a_goal_inside_the_interval_is_open(self):
        self.assertEqual(judged(MET._replace(goal=Goal(1.8))), "open")

    def test_markdown_has_as_many_cells_in_every_row(self):
        rows = markdown([MET, BEST, MISSED, ABSENT]).splitlines()
        self.assertEqual(len(rows), 6)
        self.assertEqual({row.count("|") for row in rows}, {7})

    def test_plain_has_each_note_below_its_line(self):
        lines = plain([MET, MISSED]).splitlines()
        self.assertTrue(lines[1].startswith("CPU per event") and lines[3].startswith("start"))
        self.assertEqual(lines[2].strip(), "8.5 / 4.7 us")

    def test_json_holds_all_of_it(self):
        told = json.loads(as_json([MET, ABSENT], {"cores": 2}, 9))
        self.assertEqual(told["findings"][0]["found"], {"low": 1.7, "mid": 1.8, "high": 1.9, "count": 9})
        self.assertIsNone(told["findings"][1]["found"])
        self.assertEqual(told["rounds"], 9)


class Documents(unittest.TestCase):
    TEXT = "before\n<!-- table -->\nold\n<!-- /table -->\nafter\n"

    def test_only_the_part_is_replaced(self):
        self.assertEqual(replace_part(self.TEXT, "table", "new \\1\n"),
                         "before\n<!-- table -->\nnew \\1\n<!-- /table -->\nafter\n")

    def test_a_part_that_is_not_there_is_an_error(self):
        with self.assertRaisesRegex(ValueError, "<!-- soak -->"):
            replace_part(self.TEXT, "soak", "new")

    def test_the_document_has_the_parts_that_the_scripts_fill(self):
        document = (Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md").read_text()
        for name in ("table", "soak"):
            self.assertIn("NEW", replace_part(document, name, "NEW\n"))

    def test_a_file_is_replaced_whole(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "page.md")
            file.write_text(self.TEXT)
            write_part(file, "table", "new\n")
            self.assertIn("new\n", file.read_text())
            self.assertEqual([path.name for path in Path(folder).iterdir()], ["page.md"])

    def test_the_machine_is_described(self):
        words = machine_words(machine(Path(__file__).parent), 9, 0.5, 3.25)
        self.assertRegex(words, r"^\d+ cores of .+, \d+ GiB, Linux .+; 9 rounds; load of the machine before: 0.5; .+: 3.2 %\.$")

    def test_what_neighbours_took_is_a_share_of_the_run(self):
        with tempfile.TemporaryDirectory() as folder:
            stat = Path(folder, "stat")
            stat.write_text("cpu  10 20 30 40 5 6 7 8 9 9\ncpu0 1 2 3\n")
            self.assertEqual(ticks(stat), (8, 126))
        self.assertEqual(stolen_percent((8, 100), (18, 300)), 5)
        self.assertEqual(stolen_percent((8, 100), (8, 100)), 0)
        self.assertLessEqual(ticks()[0], ticks()[1])


if __name__ == "__main__":
    unittest.main()
