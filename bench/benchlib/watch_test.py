"""watch_test - is a process that leaks named, and one that was killed and began anew not?"""

import os
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchlib.watch import Watch, other_ends, table


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Watching(unittest.TestCase):
    def watched(self, *processes, laps=40):
        """processes: (role, pid, first lap, last lap, PSS at a lap)."""
        clock = Clock()
        watch = Watch(clock)
        for lap in range(laps):
            for role, pid, first, last, kib in processes:
                if first <= lap < last:
                    watch.add(role, pid, {"PSS": kib(lap), "descriptors": 20})
            clock.now += 30
        return watch

    def flat(self, watch):
        return {(one.role, one.what): one.flat for one in watch.judge()}

    def test_a_leak_is_named_and_nothing_else(self):
        watch = self.watched(("gateway", 1, 0, 40, lambda lap: 2000 + 40 * lap),
                             ("manager", 2, 0, 40, lambda lap: 1500 + lap % 3))
        self.assertEqual(self.flat(watch), {("gateway", "PSS"): False, ("gateway", "descriptors"): True,
                                            ("manager", "PSS"): True, ("manager", "descriptors"): True})
        self.assertEqual(table(watch.judge()).count("**no**"), 1)

    def test_of_a_worker_the_one_that_lived_longest_is_judged(self):
        role = "worker dummy"
        young = [(role, 10 + lap, lap, lap + 3, lambda lap: 900 + 200 * (lap % 3)) for lap in range(20, 40, 3)]
        stays, leaks = (role, 2, 0, 20, lambda lap: 1500), (role, 2, 0, 20, lambda lap: 1500 + 100 * lap)
        self.assertTrue(self.flat(self.watched(stays, *young))[role, "PSS"])
        self.assertFalse(self.flat(self.watched(leaks, *young))[role, "PSS"])

    def test_a_short_run_tells_nothing(self):
        watch = self.watched(("gateway", 1, 0, 40, lambda lap: 2000 + 500 * lap), laps=6)
        self.assertIsNone(self.flat(watch)["gateway", "PSS"])
        self.assertIn("too short to tell", table(watch.judge()))

    def test_a_chart_has_a_line_per_role_in_minutes_and_mebibytes(self):
        watch = self.watched(("worker dummy", 1, 0, 5, lambda _: 2048), ("worker dummy", 2, 5, 40, lambda _: 1024))
        ((label, points),) = watch.lines("PSS")
        self.assertEqual((label, len(points), points[0], points[-1]), ("worker dummy", 40, (0, 2), (19.5, 1)))

    def test_a_role_that_ended_by_itself_is_told_from_those_that_were_killed_here(self):
        ours = 'level=warn event=role_ended role=worker name=llama pid=12 signal=9 lived_ms=5 note="signal 9"'
        silent = "level=warn event=role_killed role=gateway name=- pid=123 why=silent stuck_ms=0"
        ended = 'level=warn event=role_ended role=gateway name=- pid=123 signal=9 lived_ms=5 note="killed: silent"'
        log = "\n".join([ours, "level=info event=role_started role=worker pid=14", silent, ended, ""])
        self.assertEqual(other_ends(log, {12}), [silent, ended])
        self.assertEqual(other_ends(log, {12, 123}), [])

    def test_a_living_process_is_measured(self):
        watch = Watch()
        watch.sample([os.getpid(), 2**30])
        ((_, kib),) = watch.series[next(key for key in watch.series if key[2] == "PSS")]
        self.assertGreater(kib, 1000)
        self.assertEqual({pid for _, pid, _ in watch.series}, {os.getpid()})


if __name__ == "__main__":
    unittest.main()
