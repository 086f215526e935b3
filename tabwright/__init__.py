"""The vocabulary that serving, evaluation, experiments and training agree on.

Imports nothing else of this repository and nothing heavy at import time. Read `request.py` first.
"""

__version__ = "0.1.0"
