"""What an experiment can find, in a team's words: so many developers, so many suggestions a day.

The developers' own rates spread like a Beta distribution and stay what they are, and all of them
see equally many suggestions. Real ones change, and one may see most: then it finds less.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from ab.significance import always_valid


def detectable(
    users: int,
    shown: float,
    days: int,
    before: int,
    mean: float,
    concentration: float,
    expected: float,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float:
    """Difference of acceptance that is found with the chance `power` at the last day's look.

    users: in each arm. shown: to each of them on a day. before: days that CUPED knows. mean,
    concentration: of the users' rates. expected, alpha: as `always_valid` has them.
    """
    between = mean * (1 - mean) / (concentration + 1)
    within = mean * (1 - mean) - between  # of one suggestion
    left = between + within / (shown * days)
    if before:
        left -= between**2 / (between + within / (shown * before))
    variance = 2 * left / users
    width = always_valid(0.0, variance, expected, alpha).high
    return width + NormalDist().inv_cdf(power) * math.sqrt(variance)
