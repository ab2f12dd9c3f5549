"""stats - medians with their intervals, verdicts against goals, and: does this grow?

Pure. Every interval is of 95 % and made by resampling with a fixed seed, so the same figures give
the same interval."""

import random
from statistics import median
from typing import NamedTuple, Optional

CONFIDENCE = 0.95
RESAMPLES = 2000
SEED = 20261121
# Below this an interval of the median says nothing but "between the smallest and the largest".
ROUNDS_MIN = 5


class Estimate(NamedTuple):
    """A median of `count` values, and the interval it lies in."""

    low: float
    mid: float
    high: float
    count: int


def quantile(values, share):
    """Between the two nearest ranks, in proportion."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def interval(estimates):
    """What holds the middle 95 % of resampled estimates."""
    tail = (1 - CONFIDENCE) / 2
    return quantile(estimates, tail), quantile(estimates, 1 - tail)


def estimate(values):
    """The median of values and its bootstrap interval."""
    values = list(values)
    if not values:
        raise ValueError("an estimate of no values")
    dice = random.Random(SEED)
    low, high = interval([median(dice.choices(values, k=len(values))) for _ in range(RESAMPLES)])
    return Estimate(low, median(values), high, len(values))


def ratio(pairs):
    """Of (ours, theirs) per round: what the rounds have in common, the noise of the minute, cancels."""
    return estimate(ours / theirs for ours, theirs in pairs)


# --- goals ---


class Goal(NamedTuple):
    """`limit` is the most that is allowed; the least, where more is better."""

    limit: float
    more_is_better: bool = False


def verdict(found: Optional[Estimate], goal: Optional[Goal]):
    """met: the whole interval is on the right side. missed: the whole interval is on the wrong one.
    open: the goal lies inside the interval, so these rounds do not tell."""
    if found is None or goal is None:
        return "not measured" if found is None else "-"
    low, high = (-found.high, -found.low) if goal.more_is_better else (found.low, found.high)
    limit = -goal.limit if goal.more_is_better else goal.limit
    if high <= limit:
        return "met"
    return "missed" if low > limit else "open"


# --- does it grow? ---


def slope(points):
    """Theil and Sen: the median of the slopes between any two points. A fifth of wild points, or
    more, does not move it. None: there are no two points at different times."""
    slopes = [(later[1] - earlier[1]) / (later[0] - earlier[0])
              for at, earlier in enumerate(points) for later in points[at + 1:] if later[0] != earlier[0]]
    return median(slopes) if slopes else None


class Growth(NamedTuple):
    """How much a series grew from `since` to its end, by the slope of the points there."""

    low: float
    mid: float
    high: float
    since: float
    points: int


POINTS_MIN = 5
POINTS_MAX = 120  # their pairs are all looked at, in every resample


def thinned(points):
    """At most POINTS_MAX of them: medians of neighbours."""
    size = -(-len(points) // POINTS_MAX)
    groups = [points[at:at + size] for at in range(0, len(points), size)]
    return [(median(x for x, _ in group), median(y for _, y in group)) for group in groups]


def growth(points, warm_up=0, resamples=200):
    """Of (time, value) points: the growth over the second half of their time, without its first
    `warm_up`.

    Warm-up (pools that fill, pages that are touched for the first time) goes towards a level, so it
    is over in the second half, or shows there as a fraction of itself; a leak goes on. What has a
    known end, such as a memory of the last minute, is given as warm_up. None: too few points are
    left to say anything."""
    if not points:
        return None
    since = max((points[0][0] + points[-1][0]) / 2, points[0][0] + warm_up)
    late = [point for point in points if point[0] >= since]
    if len(late) < POINTS_MIN:
        return None
    late = thinned(late)
    span = late[-1][0] - late[0][0]
    dice = random.Random(SEED)
    drawn = [slope(sorted(dice.choices(late, k=len(late)))) for _ in range(resamples)]
    low, high = interval([value * span for value in drawn if value is not None])
    return Growth(low, slope(late) * span, high, late[0][0], len(late))


def is_flat(found: Growth, tolerance):
    """No: it surely grew (the interval is above zero), and by more than is tolerated."""
    return not (found.low > 0 and found.mid > tolerance)
