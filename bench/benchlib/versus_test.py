"""versus_test - does the comparison say what was found: the right pairs, the better setting, no goal met unseen?"""

import json
import sys
import tempfile
import unittest
from argparse import ArgumentTypeError
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchlib.chats import Turn, cached_share, read_turn
from benchlib.prompts import Prompts, body, sentences, write_bodies
from benchlib.report import replace_part
from benchlib.servers import ServerFailed
from benchlib.stats import Estimate, Goal, ratio
from benchlib.versus import COLUMNS, Line, against, as_json, better, cells, compare, markdown, plain
from benchlib.versus_rows import ROUNDS_LEAST, ROWS, Versus, grown_mib, memory_told
import vs_llama_server
from vs_llama_server import DOCUMENT, MODELS, Spell, rows_of

FOUND = {"ours": [{"ms": 10, "rate": 5}, {"ms": 30, "rate": 7}, {"ms": 20, "rate": 6}],
         "peer": [{"ms": 20, "rate": 5}, {"ms": 60, "rate": 5}, {"ms": 40, "rate": 5}]}


class Lines(unittest.TestCase):
    def test_a_line_shows_both_and_judges_within_a_round(self):
        line = compare(FOUND, "ms", row=2, what="TTFT", unit="ms", judged_as="ours / theirs",
                       judged=ratio(against(FOUND, "ms")), goal=Goal(0.7))
        self.assertEqual(cells(line), ("2", "TTFT", "20 ms", "40 ms", "-", "ours / theirs: 0.5 (0.5 .. 0.5)", "<= 0.7",
                                       "met"))

    def test_a_goal_without_a_figure_is_not_met(self):
        line = Line(9, "foretold", "MiB", None, judged_as="off by", goal=Goal(0.05))
        self.assertEqual(cells(line)[-3:], ("off by", "<= 0.05", "not measured"))

    def test_a_line_without_a_goal_is_not_judged(self):
        self.assertEqual(cells(compare(FOUND, "rate", row=2, what="tokens", unit="/s"))[-3:], ("-", "-", "-"))

    def test_the_better_setting_is_found_round_by_round(self):
        many = [{"ms": 5, "rate": 9}, {"ms": 50, "rate": 9}]
        few = [{"ms": 6, "rate": 8}, {"ms": 40, "rate": 10}]
        self.assertEqual(better(many, few, least=("ms",)), [{"ms": 5, "rate": 9}, {"ms": 40, "rate": 10}])

    def test_tables_have_as_many_cells_in_every_row(self):
        lines = [compare(FOUND, "ms", row=1, what="a", unit="ms"), Line(9, "b", "x", None)]
        self.assertEqual({row.count("|") for row in markdown(lines).splitlines()}, {len(COLUMNS) + 1})
        self.assertEqual(len(plain(lines).splitlines()), 3)
        told = json.loads(as_json({"m": lines}, {"rounds": 3}))
        self.assertEqual(told["models"]["m"][0]["ours"], {"low": 10, "mid": 20, "high": 30, "count": 3})

    def test_no_round_begins_that_would_end_too_late(self):
        bench = SimpleNamespace(row_s=45)
        for done, spent_s, enough in ((0, 0, False), (ROUNDS_LEAST - 1, 1000, False), (2, 30, False), (2, 30.1, True),
                                      (4, 36, False), (4, 36.1, True)):
            self.assertEqual(Versus.is_enough(bench, done, spent_s), enough, (done, spent_s))

    def test_every_row_says_what_it_is(self):
        for row in ROWS.values():
            self.assertTrue(row.__doc__)


class Canned:
    """A bench whose servers are nothing and whose loads are as told: what a row makes of its figures."""

    has_peer = True

    def __init__(self, folder, runs):
        self.load = SimpleNamespace(run=lambda *_, **options: runs["left" if "leave_ratio" in options else "plain"])
        self.server = SimpleNamespace(folder=folder, pids=lambda: [])

    def tokens(self, count, _=None):
        return count

    size = tokens

    def context(self, *_):
        return 512

    def makers(self, *_, **__):
        return dict.fromkeys(("ours", "peer", "defaults"))

    def once(self, _, run):
        return run(self.server)

    def alternate(self, **measures):
        return {name: [measure(), measure()] for name, measure in measures.items()}

    def bars(self, *_):
        pass


class CpuPerToken(unittest.TestCase):
    """Beside tokens/s: what is fast because it takes more cores shows there."""

    # 60 whole streams of 128 tokens in 64 events; then 30 of them, and 90 that were left behind 20 events.
    PLAIN = {"request_us": {"p50": 2e6}, "ttft_us": {"p50": 1e3}, "completion_tokens": 60 * 128, "prompt_tokens": 10,
             "cached_tokens": 0, "wall_s": 4, "cpu_us": 30 * 60 * 128, "events": 60 * 64, "completion_events": 60 * 64}
    LEFT = {**PLAIN, "completion_tokens": 30 * 128, "completion_events": 30 * 64, "events": 30 * 64 + 90 * 20,
            "cpu_us": 50 * (30 * 128 + 90 * 40)}

    def lines(self, row):
        with tempfile.TemporaryDirectory() as folder, mock.patch("benchlib.versus_rows.SPIN", "print()"):
            return ROWS[row](Canned(Path(folder), {"plain": self.PLAIN, "left": self.LEFT}))

    def cpu(self, row):
        """{what: us} of ours, the peer has the same."""
        return {line.what: line.ours.mid for line in self.lines(row) if line.what.startswith("CPU per token")
                and line.unit == "us" and line.ours == line.peer}

    def test_leavers(self):
        """What was read of those that left counts; of them no usage was told."""
        self.assertEqual(self.cpu("5"), {"CPU per token that was read": 50})

    def test_neighbour(self):
        self.assertEqual(self.cpu("7"), {"CPU per token beside it": 30, "CPU per token alone": 30})


class Spells(unittest.TestCase):
    """Starts of the program with rows that measure nothing: one of them fails, the first time."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        folder = Path(scratch.name)
        self.model = folder / "m.gguf"
        for file in (self.model, folder / "millrace", folder / "bench" / "load", folder / "bench" / "engine_loop"):
            file.parent.mkdir(exist_ok=True)
            file.write_text(file.name)
        self.given = SimpleNamespace(build=folder, rounds=5, row_s=45, quick=False, no_peer=True, no_defaults=True,
                                     resume=False, rows=["1", "2", "3"])
        self.made, self.said, self.is_broken = [], [], True
        rows = {name: partial(self.row, name) for name in self.given.rows}
        for patch in (mock.patch.multiple(vs_llama_server, ROWS=rows, OUT=folder / "out", Versus=self.bench,
                                          say=self.said.append),
                      mock.patch.dict("os.environ", MILLRACE_ENGINE_DIR=str(folder))):
            patch.start()
            self.addCleanup(patch.stop)

    @staticmethod
    def bench(*_):
        return SimpleNamespace(charts=[], compared=[])

    def row(self, name, bench):
        self.made.append(name)
        bench.compared.append({"ours": [{"ms": 1}]})
        if name == "2" and self.is_broken:
            raise ServerFailed("on purpose")
        return [Line(int(name), "what", "ms", None)]

    def start(self, commit="a1", **how):
        """The rows that this start has measured, those that are in its table, and those that failed."""
        self.made.clear()
        vars(self.given).update(how)
        spell = Spell(self.given, {"commit": commit, "cpu": "c", "cores": 2, "memory_gib": 4, "kernel": "k"})
        table = spell.table(self.model)
        return "".join(self.made), "".join(table), spell.failed

    def test_a_row_that_fails_costs_no_other_and_is_tried_again_alone(self):
        self.assertEqual(self.start(), ("123", "13", ["2"]))
        self.is_broken = False
        self.assertEqual(self.start(resume=True), ("2", "123", []))
        self.assertIn("m, row 1: kept, measured 0 minutes ago", self.said)
        self.assertEqual(self.start(), ("", "123", []))

    def test_rows_that_were_not_asked_for_come_from_the_shelf(self):
        self.is_broken = False
        self.assertEqual(self.start(rows=["1"]), ("1", "1", []))
        self.assertEqual(self.start(rows=["3"], resume=True), ("3", "13", []))
        self.assertEqual(self.start(rows=["3"], resume=False), ("3", "3", []))

    def test_nothing_of_another_commit_build_model_or_setting_is_taken(self):
        self.is_broken = False
        self.start(resume=True)
        self.assertEqual(self.start("b2")[0], "123")
        self.assertIn("m, row 1: what is kept is of another commit a1 -> b2", self.said)
        self.assertEqual(self.start("b2", rounds=9)[0], "123")
        (self.given.build / "millrace").write_text("another")
        self.assertEqual(self.start("b2")[0], "123")
        self.model.write_text("another")
        self.assertEqual(self.start("b2")[0], "123")
        self.assertEqual(self.start("b2")[0], "")


class Events(unittest.TestCase):
    def test_a_turn_is_timed_to_its_first_text(self):
        lines = [b'data: {"choices":[{"delta":{"role":"assistant","content":""}}],"usage":null}\n', b"\n",
                 b'data: {"choices":[{"delta":{"content":"a"}}]}\n', b'data: {"choices":[{"delta":{"content":"b"}}]}\n',
                 b'data: {"choices":[],"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":7}}}\n',
                 b"data: [DONE]\n"]
        clock = iter([5.0, 6.0]).__next__
        self.assertEqual(read_turn(lines, 2.0, clock), Turn(3.0, 9, 7, "ab"))

    def test_an_answer_that_does_not_tell_has_failed(self):
        for lines in ([b'data: {"choices":[{"delta":{"content":"a"}}]}\n'],
                      [b'data: {"choices":[],"usage":{"prompt_tokens":9}}\n'],
                      [b'data: {"error":{"message":"no"}}\n']):
            with self.assertRaises(ServerFailed):
                read_turn(lines, 0)

    def test_the_share_is_of_all_tokens(self):
        self.assertEqual(cached_share([Turn(1, 100, 0, ""), Turn(1, 300, 200, "")]), 0.5)


class Texts(unittest.TestCase):
    def test_texts_differ_from_their_beginning_and_come_again(self):
        self.assertEqual(sentences(3, 4), sentences(3, 4))
        self.assertNotEqual(sentences(3, 4)[:8], sentences(4, 4)[:8])

    def test_a_text_has_as_many_sentences_as_its_tokens_take(self):
        self.assertEqual(Prompts(each=20, more=40).text("n", 240).count("Rule"), 10)
        self.assertEqual(Prompts(each=20, more=40).text("n", 10).count("Rule"), 1)

    def test_bodies_are_lines(self):
        with tempfile.TemporaryDirectory() as folder:
            file = write_bodies(Path(folder, "bodies"), [body("m", [], 3), body("m", [], 4, seed=1)])
            self.assertEqual([json.loads(line)["max_tokens"] for line in file.read_text().splitlines()], [3, 4])


class Documents(unittest.TestCase):
    def test_the_document_has_a_part_for_each_model(self):
        text = DOCUMENT.read_text()
        for name in MODELS:
            self.assertIn("NEW", replace_part(text, name, "NEW\n"))

    def test_rows_are_named_and_others_refused(self):
        self.assertEqual(rows_of("9,1"), ["9", "1"])
        with self.assertRaisesRegex(ArgumentTypeError, "8: rows are 1, 2, "):
            rows_of("1,8")


class Memory(unittest.TestCase):
    def test_what_the_log_tells_is_read(self):
        log = "x event=other\nlevel=info event=model_memory weights_kib=10 kv_kib=20 compute_kib=5 slots=1\n"
        self.assertEqual(memory_told(log), {"weights_kib": 10, "kv_kib": 20, "compute_kib": 5})
        self.assertEqual(memory_told("nothing"), {})

    def test_growth_is_in_mib(self):
        self.assertEqual(grown_mib(1024, 3072), 2)


if __name__ == "__main__":
    unittest.main()
