"""The unbiased estimate of pass@k from n samples of which c passed.

pass@k is the chance that at least one of k samples passes. Chen et al., "Evaluating Large Language
Models Trained on Code" (arXiv 2107.03374), estimate it for one problem as

    1 - C(n - c, k) / C(n, k)

which is the share of all k-subsets of the n samples that contain a passing one. Knows nothing about
how samples were judged; whoever calls leaves out those that could not be judged. Read `pass_at_k`.
"""

from __future__ import annotations

from collections.abc import Mapping

from tabwright.errors import InvalidRequest


def by_task(outcomes: Mapping[str, Mapping[str, int]], k: int) -> dict[str, float]:
    """Estimate pass@k of each task from its counts by outcome, those with k judged samples only."""
    values = {}
    for task_id, counts in outcomes.items():
        judged = sum(count for name, count in counts.items() if name != "unjudged")
        if judged >= k:
            values[task_id] = pass_at_k(judged, counts.get("passed", 0), k)
    return values


def pass_at_k(n: int, c: int, k: int) -> float:
    """Estimate pass@k of one problem, from `n` judged samples with `c` passes.

    The quotient of binomials is taken as the product of (1 - k / i) for i from n - c + 1 to n: no
    large number ever arises, and every factor lies between 0 and 1.

    Raises:
        InvalidRequest: a count is negative, more passed than were judged, or n < k, where no
            unbiased estimate exists.
    """
    if n < 1:
        raise InvalidRequest("n", n, "give at least one judged sample")
    if not 0 <= c <= n:
        raise InvalidRequest("c", c, f"give from 0 to n = {n} passes")
    if k < 1:
        raise InvalidRequest("k", k, "give at least 1")
    if n < k:
        raise InvalidRequest("k", k, f"draw at least k samples of each problem; there are {n}")
    if n - c < k:
        return 1.0
    all_fail = 1.0
    for i in range(n - c + 1, n + 1):
        all_fail *= 1 - k / i
    return 1.0 - all_fail
