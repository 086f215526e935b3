"""The card of a run: one page that says what was trained, on what, and how it went."""
