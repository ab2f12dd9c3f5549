"""kept_test - does what comes off the shelf say what was put on it, and is nothing of another build taken for this one's?"""

import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchlib.kept import Result, Shelf, age, as_value, differences, digest, of_value, spell_words, stolen_of
from benchlib.rows import Chart
from benchlib.stats import Estimate, Goal
from benchlib.svg import Bar
from benchlib.versus import Line

LINES = [Line(1, "gap", "ms", Estimate(1, 2, 3, 5), Estimate(4, 5, 6, 5), None, "gap / step", Estimate(4, 4.5, 5, 5), Goal(5)),
         Line(2, "rate", "/s", None, goal=Goal(1.0, True)), Line(9, "foretold", "MiB", Estimate(1, 1, 1, 1))]
CHARTS = [Chart("a.svg", "A", "medians", "ms", [Bar("ours", 2, 1, 3, "ours"), Bar("peer", 5, 4, 6, "peer")], [(3, "goal")])]
RESULT = Result(LINES, CHARTS, [{"ours": [{"ms": 1.5}], "peer": [{"ms": 2.5}]}], 7200.0, 30.0, 0.1, 2.0)
KEY = {"commit": "a1", "programs": {"millrace": "11"}, "settings": {"rounds": 5}}


class Values(unittest.TestCase):
    def test_a_result_survives_json(self):
        self.assertEqual(of_value(json.loads(json.dumps(as_value(RESULT)))), RESULT)

    def test_a_digest_is_of_names_and_contents(self):
        with tempfile.TemporaryDirectory() as folder:
            one, two = Path(folder, "one"), Path(folder, "two")
            one.write_bytes(b"x" * 3_000_000)
            two.write_bytes(b"x" * 3_000_000)
            self.assertEqual(digest([one, two]), digest([one, two]))
            self.assertEqual(len({digest([one]), digest([two]), digest([one, two]), digest([])}), 4)

    def test_keys_are_told_apart_in_words(self):
        self.assertEqual(differences(KEY, {**KEY, "commit": "b2", "programs": {}}), "commit a1 -> b2, programs")
        self.assertEqual(differences(KEY, KEY), "")


class OnTheShelf(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.told = []
        self.shelf = Shelf(Path(self.scratch.name) / "rows", self.told.append)

    def test_what_was_put_is_found_under_its_key_alone(self):
        self.assertIsNone(self.shelf.find("m", "1", KEY))
        self.shelf.put("m", "1", KEY, RESULT)
        self.assertEqual(self.shelf.find("m", "1", KEY), RESULT)
        self.assertIsNone(self.shelf.find("m", "2", KEY))
        self.assertIsNone(self.shelf.find("n", "1", KEY))
        self.assertEqual(self.told, [])
        for name in KEY:
            self.assertIsNone(self.shelf.find("m", "1", {**KEY, name: "other"}))
        self.assertEqual(len(self.told), len(KEY))
        self.assertIn("m, row 1: what is kept is of another commit a1 -> other", self.told)

    def test_a_newer_one_takes_its_place(self):
        self.shelf.put("m", "1", KEY, RESULT)
        self.shelf.put("m", "1", {**KEY, "commit": "b2"}, RESULT._replace(at=9000.0))
        self.assertIsNone(self.shelf.find("m", "1", KEY))
        self.assertEqual(self.shelf.find("m", "1", {**KEY, "commit": "b2"}).at, 9000.0)
        self.assertEqual([file.name for file in self.shelf.folder.iterdir()], ["m-row-1.json"])

    def test_a_file_that_is_no_result_is_as_none(self):
        for text in ("", "{", "[]", "{}", json.dumps({"key": KEY}), json.dumps({"key": KEY, "result": {"lines": []}}),
                     json.dumps({"key": KEY, "result": {**as_value(RESULT), "lines": [{"row": 1}]}})):
            with self.subTest(text):
                self.shelf.folder.mkdir(parents=True, exist_ok=True)
                self.shelf.file("m", "1").write_text(text)
                self.assertIsNone(self.shelf.find("m", "1", KEY))
                self.assertIn("cannot be read", self.told.pop())


class Words(unittest.TestCase):
    def test_how_old_a_result_is(self):
        for seconds, words in ((-5, "0 minutes"), (119, "2 minutes"), (7199, "120 minutes"), (7201, "2 hours"),
                               (172_700, "48 hours"), (864_000, "10 days")):
            self.assertEqual(age(RESULT, RESULT.at + seconds), words)

    def test_spells_are_told_from_their_beginning_to_their_end(self):
        later = RESULT._replace(at=RESULT.at + 86400)
        self.assertEqual(spell_words([later, RESULT]), "Measured from 1970-01-01 01:59 to 1970-01-02 02:00 UTC.")

    def test_what_neighbours_took_is_of_all_the_time(self):
        self.assertEqual(stolen_of([RESULT, RESULT._replace(seconds=90.0, stolen_percent=6.0)]), 5.0)


if __name__ == "__main__":
    unittest.main()
