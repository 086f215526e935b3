"""How a piece of text becomes an example to learn from: one file for each kind."""
