"""Raw code to model artifact: documents, tokenizer, shards, `torchrun -m training.train`, export.

Read `train.py` first, then `step.py`; `cli.py` has the verbs in the order in which they are used.
"""
