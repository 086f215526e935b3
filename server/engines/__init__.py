"""The engines: everything that runs a model behind `tabwright.engine.CompletionEngine`.

`registry.py` is the table; `scripted.py` and `cpu.py` are its entries. Each is held to
`tests/contracts/test_engines.py`, and none knows another. `line.py` (slots and the waiting line)
and `limits.py` (what is checked before a request is taken) serve them all. `cpu.py` talks to
`cpu_worker.py`, a process of its own, in the words of `cpu_messages.py`; `ir.py`, `llama_graph.py`
and `safetensors.py` turn a checkpoint into what that process loads.
"""
