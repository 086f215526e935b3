"""The path from raw code to an artifact as one Metaflow flow; `__main__.py` is all of it."""
