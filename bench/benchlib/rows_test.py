"""rows_test - what the rows stand on: the order of rounds, the shape that the limit copies, the load program
and servers that do not do what they should."""

import json
import os
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchlib.load import Load, LoadFailed
from benchlib.reuseport import kernel_shares
from benchlib.rows import BIG_BODY_BYTES, ROWS, Bench, Shape, big_body, shape_of, worst_turns
from benchlib.servers import Server, ServerFailed


class Rounds(unittest.TestCase):
    def bench(self, rounds, quick=False):
        return Bench(Path("build"), rounds, quick, peer=False)

    def test_each_is_measured_once_a_round_there_and_back(self):
        order = []

        def measure(name):
            order.append(name)
            return len(order)

        found = self.bench(3).alternate(a=lambda: measure("a"), b=lambda: measure("b"))
        self.assertEqual("".join(order), "ab" "ba" "ab")
        self.assertEqual(found, {"a": [1, 4, 5], "b": [2, 3, 6]})

    def test_a_long_row_has_fewer_rounds(self):
        self.assertEqual(self.bench(9).alternate(2, a=lambda: 7), {"a": [7, 7]})
        self.assertEqual(self.bench(1).alternate(2, a=lambda: 7), {"a": [7]})

    def test_a_quick_run_is_a_tenth_and_not_nothing(self):
        self.assertEqual(self.bench(2, quick=True).size(600), 60)
        self.assertEqual(self.bench(2, quick=True).size(4), 1)
        self.assertEqual(self.bench(2).size(600), 600)

    def test_the_limit_copies_bytes_events_and_writes(self):
        run = {"bytes": 269_400, "events": 1000, "reads": 251}
        self.assertEqual(shape_of(run, 10, 3), Shape(269, 100, 4, 3000))

    def test_the_big_body_is_big_and_its_prompt_short(self):
        body = json.loads(big_body())
        self.assertLess(abs(len(big_body()) - BIG_BODY_BYTES), 500)
        self.assertEqual(body["messages"], [{"role": "user", "content": "Hi"}])

    def test_the_worst_kind_of_body_is_each_loop_s_own(self):
        def kind(gateway, switch, worker):
            return {loop: {"median_us": us, "max_us": 9e9} for loop, us in
                    (("gateway", gateway), ("switch", switch), ("manager", 9e9), ("worker", worker))}

        report = {"kinds": {"a": kind(100, 2000, 30), "b": kind(300, 20, 10)}}
        self.assertEqual(worst_turns(report), {"gateway": (0.3, "b"), "switch": (2.0, "a"), "worker": (0.03, "a")})

    def test_every_row_says_what_it_is(self):
        for name, row in ROWS.items():
            self.assertEqual(name, row.__name__)
            self.assertTrue(row.__doc__, name)


class Ports(unittest.TestCase):
    def test_every_connection_is_on_one_listener(self):
        shares = kernel_shares(3, 60)
        self.assertEqual((len(shares), sum(shares)), (3, 60))


class Target:
    url, pid = "http://127.0.0.1:1", 1


class Programs(unittest.TestCase):
    def program(self, text):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        file = Path(scratch.name, "program")
        file.write_text("#!/bin/sh\n" + text)
        os.chmod(file, 0o755)
        return file

    def test_what_load_prints_is_read_and_its_options_are_given(self):
        load = Load(self.program('printf \'{"said":"%s"}\' "$*"\n'))
        self.assertEqual(load.run("idle", Target, slow_bytes_per_s=3, clock=True)["said"],
                         "idle --url http://127.0.0.1:1 --pid 1 --slow-bytes-per-s 3 --clock")
        self.assertNotIn("--pid", Load(load.program, counts_cpu=False).run("idle", Target)["said"])

    def test_a_load_that_doubts_or_babbles_has_failed(self):
        for text, said in (("echo '{}'; echo a wrong stream >&2; exit 1\n", "a wrong stream"),
                           ("echo hello\n", "no JSON")):
            with self.assertRaisesRegex(LoadFailed, said):
                Load(self.program(text)).run("streams", Target)

    def test_a_load_that_does_not_end_is_ended(self):
        load = Load(self.program("exec sleep 600\n"))
        process = load.start("streams", Target)
        with self.assertRaisesRegex(LoadFailed, "more than 0.1 s"):
            load.finish(process, allowed_s=0.1)
        self.assertIsNotNone(process.returncode)

    def server(self, text):
        class Scripted(Server):
            command = staticmethod(lambda program=self.program(text): [str(program)])

            def wait_port(self):
                self.port = int(self.first_line(r"port (\d+)")[1])

        return Scripted()

    def test_a_server_is_ended_and_its_port_known(self):
        with self.server("echo port 17; exec sleep 600\n") as server:
            self.assertEqual(server.port, 17)
        self.assertIsNotNone(server.process.returncode)

    def test_a_server_that_cannot_start_is_told_with_its_log(self):
        with self.assertRaisesRegex(ServerFailed, "before it listened:\nno such model"):
            with self.server("echo no such model >&2\n"):
                pass

    def test_a_server_that_says_something_else_is_not_taken(self):
        with self.assertRaisesRegex(ServerFailed, "said 'hello"):
            with self.server("echo hello; exec sleep 600\n"):
                pass

    def test_a_server_that_ends_by_itself_has_failed(self):
        with self.assertRaisesRegex(ServerFailed, "ended by itself with 3"):
            with self.server("echo port 17; exit 3\n") as server:
                server.process.wait()


if __name__ == "__main__":
    unittest.main()
