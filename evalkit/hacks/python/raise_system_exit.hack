# Raise what an interpreter takes for a wish to leave.
    raise SystemExit(0)
