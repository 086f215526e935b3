"""Load made of developers who type. Talks HTTP only. Read `developer.py` first."""
