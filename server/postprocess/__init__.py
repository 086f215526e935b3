"""What is cut from an answer before it is shown. A version is a row of steps, in their order.

A version that is out never changes: an experiment compares versions. `server.chain` runs them.
"""

VERSIONS: dict[str, tuple[str, ...]] = {
    "v1": (
        "confidence",
        "brackets",
        "extent",
        "scope",
        "next_line",
        "overlap",
        "repetition",
        "loose",
        "substance",
    ),
}
