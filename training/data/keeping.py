"""The verdict on every document, in one table: `fates`.

A row a document: why it was dropped (NULL: it stays), of which document it is a copy, and whether
training or the held-out measures get it.
"""

from __future__ import annotations

from training.data.dedup import EXACT, GROUPS
from training.data.engine import DataEngine
from training.data.run import Run
from training.data.signing import STEP as MARKS

FATES = "fates"
EXACT_DUPLICATE, NEAR_DUPLICATE = "exact_duplicate", "near_duplicate"

_SQL = f"""
SELECT m.key AS key, m.source AS source, m.language AS language, m.bytes AS bytes,
  m.held_out AS held_out,
  CASE WHEN m.reason IS NOT NULL THEN m.reason
       WHEN e.key IS NOT NULL THEN '{EXACT_DUPLICATE}'
       WHEN g.key IS NOT NULL THEN '{NEAR_DUPLICATE}' END AS reason,
  coalesce(e.keeper, g.keeper) AS keeper
FROM marks m LEFT JOIN exact e ON m.key = e.key LEFT JOIN near_groups g ON m.key = g.key
"""


def decide(engine: DataEngine, run: Run) -> None:
    """Write the table of fates."""
    views = {"marks": run.table(MARKS), "exact": run.table(EXACT), "near_groups": run.table(GROUPS)}
    engine.query(_SQL, views, run.table(FATES))
