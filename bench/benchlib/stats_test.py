"""stats_test - are the intervals those of the textbook, and does a leak show through what is not one?"""

import math
import random
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchlib.stats import (POINTS_MAX, Estimate, Goal, estimate, growth, is_flat, quantile, ratio, slope,
                            thinned, verdict)


class Medians(unittest.TestCase):
    def test_a_quantile_lies_between_its_neighbours(self):
        self.assertEqual(quantile([4, 1, 3, 2], 0), 1)
        self.assertEqual(quantile([4, 1, 3, 2], 0.5), 2.5)
        self.assertEqual(quantile([4, 1, 3, 2], 1), 4)
        self.assertEqual(quantile([7], 0.3), 7)

    def test_one_value_is_its_own_interval(self):
        self.assertEqual(estimate([3.0]), Estimate(3.0, 3.0, 3.0, 1))

    def test_no_values_are_an_error(self):
        with self.assertRaises(ValueError):
            estimate([])

    def test_the_same_values_give_the_same_interval(self):
        values = [5.1, 4.9, 5.6, 5.0, 4.4, 5.3, 5.2]
        self.assertEqual(estimate(values), estimate(values))

    def test_the_interval_holds_the_true_median_as_often_as_it_says(self):
        dice, held, tries = random.Random(7), 0, 200
        for _ in range(tries):
            found = estimate([dice.gauss(10, 1) for _ in range(15)])
            held += found.low <= 10 <= found.high
        self.assertGreater(held / tries, 0.90)
        self.assertLess(held / tries, 1.00)

    def test_one_wild_round_moves_the_median_little(self):
        self.assertLess(estimate([10, 10.1, 9.9, 10, 10.2, 9.8, 400]).mid, 10.2)

    def test_noise_that_both_of_a_pair_share_cancels(self):
        dice = random.Random(3)
        pairs = []
        for _ in range(9):
            minute = dice.uniform(1, 3)  # a machine that is up to three times as slow
            pairs.append((2 * minute, minute))
        found = ratio(pairs)
        self.assertAlmostEqual(found.low, 2)
        self.assertAlmostEqual(found.high, 2)


class Verdicts(unittest.TestCase):
    def check(self, low, high, goal, expected):
        self.assertEqual(verdict(Estimate(low, (low + high) / 2, high, 9), goal), expected)

    def test_the_whole_interval_decides(self):
        at_most = Goal(2.0)
        self.check(1.5, 2.0, at_most, "met")
        self.check(1.5, 2.1, at_most, "open")
        self.check(2.1, 2.5, at_most, "missed")

    def test_more_may_be_better(self):
        at_least = Goal(0.97, more_is_better=True)
        self.check(0.97, 1.1, at_least, "met")
        self.check(0.9, 1.1, at_least, "open")
        self.check(0.9, 0.96, at_least, "missed")

    def test_what_was_not_measured_is_not_met(self):
        self.assertEqual(verdict(None, Goal(1)), "not measured")
        self.assertEqual(verdict(Estimate(1, 1, 1, 1), None), "-")


class Growing(unittest.TestCase):
    """A series of an hour of minutes, in KiB; 256 are tolerated."""

    def series(self, value_at, noise=200, count=60, seed=1):
        dice = random.Random(seed)
        return [(60 * at, value_at(at / count) + dice.gauss(0, noise)) for at in range(count)]

    def flat(self, points):
        return is_flat(growth(points), 256)

    def test_the_slope_of_a_line_is_found_among_wild_points(self):
        points = [(at, 3 * at) for at in range(20)]
        points[4], points[11], points[17] = (4, 900), (11, -500), (17, 0)
        self.assertAlmostEqual(slope(points), 3)

    def test_points_at_one_time_have_no_slope(self):
        self.assertIsNone(slope([(1, 2), (1, 3)]))

    def test_noise_is_flat(self):
        for seed in range(10):
            self.assertTrue(self.flat(self.series(lambda _: 50_000, seed=seed)))

    def test_a_leak_is_not(self):
        for seed in range(10):
            self.assertFalse(self.flat(self.series(lambda part: 50_000 + 2000 * part, seed=seed)))

    def test_a_leak_behind_a_warm_up_is_not(self):
        warm = lambda part: 20_000 * (1 - math.exp(-part * 12))
        self.assertFalse(self.flat(self.series(lambda part: warm(part) + 2000 * part)))

    def test_warm_up_is_flat_however_much_it_was(self):
        self.assertTrue(self.flat(self.series(lambda part: 50_000 * (1 - math.exp(-part * 12)))))

    def test_one_late_step_is_flat_and_steps_are_not(self):
        self.assertTrue(self.flat(self.series(lambda part: 50_000 + 4000 * (part > 0.97), noise=20)))
        self.assertFalse(self.flat(self.series(lambda part: 50_000 + 500 * int(part * 20), noise=20)))

    def test_a_saw_is_flat(self):
        self.assertTrue(self.flat(self.series(lambda part: 50_000 + 3000 * (part * 10 % 1))))

    def test_shrinking_is_flat(self):
        self.assertTrue(self.flat(self.series(lambda part: 50_000 - 9000 * part)))

    def test_one_descriptor_that_comes_each_tenth_of_the_time_is_a_leak(self):
        points = self.series(lambda part: 40 + int(part * 10), noise=0)
        self.assertFalse(is_flat(growth(points), 1))

    def test_too_few_points_say_nothing(self):
        self.assertIsNone(growth([]))
        self.assertIsNone(growth([(0, 1), (1, 1), (2, 9), (3, 99)]))

    def test_what_fills_for_a_known_time_is_no_leak(self):
        minute_of_ten = self.series(lambda part: 50_000 + 4000 * min(part, 0.7))
        self.assertFalse(is_flat(growth(minute_of_ten), 256))
        self.assertTrue(is_flat(growth(minute_of_ten, warm_up=0.7 * 60 * 60), 256))
        self.assertIsNone(growth(minute_of_ten, warm_up=59 * 60))

    def test_many_points_are_thinned_and_keep_their_slope(self):
        points = thinned([(at, 2 * at) for at in range(1000)])
        self.assertLessEqual(len(points), POINTS_MAX)
        self.assertAlmostEqual(slope(points), 2)


if __name__ == "__main__":
    unittest.main()
