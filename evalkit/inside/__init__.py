"""Programs that run inside a sandbox, each by itself: they import nothing but Python's own library.

They are never imported here. `evalkit.judge` reads their text and puts it into the sandbox.
"""
