#!/usr/bin/env bash
# The bundled model from nothing: about two hours on two CPU cores. Run from the repository's root
# in an environment with the `train` and `cpu` extras.
set -euo pipefail

# 1. Raw code: permissively licensed packages, pinned; the standard library is already here.
python -m pip install --quiet --no-deps --only-binary=:all: --target data/site \
  -r training/recipe/requirements.txt

# 2. Shards with an own vocabulary; four whole projects are held out.
tabwright train data run --config training/recipe/data.toml --out data/run

# 3. Most tokens in rows of 512, then rows of 1,024 while the rate falls to zero, then short pieces,
#    as in files that have just been opened. (The model in the repository was stopped in its first
#    stage after 744 of 1,600 steps, and its second stage restarted once; its manifest lists all.)
tabwright train run --config tiny --data data/run/shards --out runs/tiny
tabwright train run --config tiny-long --data data/run/shards --out runs/tiny-long \
  --init-from "$(ls -d runs/tiny/checkpoints/step-* | tail -n 1)"
tabwright train run --config tiny-short --data data/run/shards --out runs/tiny-short \
  --init-from "$(ls -d runs/tiny-long/checkpoints/step-* | tail -n 1)"

# 4. The artifact that `make serve` serves, and what it is worth.
tabwright train export --checkpoint "$(ls -d runs/tiny-short/checkpoints/step-* | tail -n 1)" \
  --data data/run/shards --out artifacts/tabwright-7m --name tabwright-7m
tabwright train holes --data data/run/shards --count 500 --out data/holes.jsonl
tabwright quality --artifact artifacts/tabwright-7m --holes data/holes.jsonl
