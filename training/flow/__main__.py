"""The whole path as a Metaflow flow: data, vocabulary, training, evaluation, export.

`tabwright train flow` starts it; `python -m training.flow show` draws it. Every step leaves its
files in `--out`, which all nodes must see, and keeps their digests as artifacts, so that a flow's
run says which code, data and model belong together. A step that is made again goes on with the
files it finds. Training is a gang: `--nodes` tasks, each of which starts torchrun.

Needs the extra `flow`; nothing imports this file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from metaflow import FlowSpec, Parameter, card, current, parallel, retry, step
from metaflow.cards import Markdown, Table

from tabwright.cli import main as tabwright
from tabwright.errors import RunStopped, TabwrightError

_PORT = 29_400


def check(code: int, what: str) -> None:
    """End the step where a command did not end well.

    Raises:
        RunStopped: always then; what the command said stands in the step's log.
    """
    if code:
        raise RunStopped(f"{what} ended with exit code {code}")


class TrainFlow(FlowSpec):
    """Raw code to a model artifact."""

    data_config = Parameter("data-config", help="a data.toml", required=True)
    config = Parameter("config", help="name in training/configs, or a file", default="tiny")
    sets = Parameter("sets", help="JSON list of SECTION.FIELD=VALUE", default="[]")
    out = Parameter("out", help="folder that every node sees", required=True)
    name_served = Parameter("name-served", help="the model id that clients see", default="mine")
    nodes = Parameter("nodes", help="machines of the gang", type=int, default=1)
    nproc = Parameter("nproc", help="processes on each of them", type=int, default=1)
    holes = Parameter("holes", help="held-out holes of the evaluation", type=int, default=50)

    @step
    def start(self) -> None:
        """Say which code this is, and check what can be checked before hours are spent."""
        from training.config import load_config
        from training.data.config import read_config
        from training.lineage import commit

        self.folder = str(Path(self.out).resolve())
        self.commit = commit()
        self.train_config = load_config(self.config, json.loads(self.sets)).model_dump(mode="json")
        read_config(Path(self.data_config))
        self.next(self.data)

    @retry(times=1)
    @step
    def data(self) -> None:
        """Make the shards, or go on making them."""
        from training.data.shards import read_manifest

        run = str(Path(self.folder) / "data")
        words = ["train", "data", "run", "--config", self.data_config, "--out", run]
        check(tabwright(words), "tabwright train data run")
        self.shards = str(Path(run) / "shards")
        manifest = read_manifest(Path(self.shards))
        self.data_digest, self.splits = manifest["digest"], manifest["splits"]
        self.next(self.tokenizer)

    @step
    def tokenizer(self) -> None:
        """Keep the vocabulary, and what its tokens hold in each language."""
        import sysconfig

        from tabwright.artifact import file_digest
        from training.data.run import read_run
        from training.fertility import fertility

        self.tokenizer_digest = file_digest(Path(self.shards) / "tokenizer.json")
        run = read_run(Path(self.folder) / "data")
        rows = fertility(run, Path(sysconfig.get_path("purelib")) / "metaflow")
        self.characters_a_token = {row.language: row.own for row in rows}
        self.next(self.train, num_parallel=self.nodes)

    @retry(times=2)
    @parallel
    @step
    def train(self) -> None:
        """One node of the gang: become torchrun's launcher, resume what is there."""
        gang = current.parallel
        where = (
            ["--standalone"]
            if gang.num_nodes == 1
            else ["--nnodes", str(gang.num_nodes), "--node-rank", str(gang.node_index),
                  "--master-addr", gang.main_ip, "--master-port", str(_PORT)]
        )  # fmt: skip
        line = [
            sys.executable, "-m", "torch.distributed.run", *where,
            "--nproc-per-node", str(self.nproc), "-m", "training.train", "--config", self.config,
            "--data", self.shards, "--out", str(Path(self.folder) / "run"),
            *(word for one in json.loads(self.sets) for word in ("--set", one)),
        ]  # fmt: skip
        check(subprocess.run(line, check=False).returncode, "torchrun")
        self.run_folder = str(Path(self.folder) / "run")
        self.next(self.evaluate)

    @card(type="blank")
    @step
    def evaluate(self, inputs: Any) -> None:
        """Ask the newest checkpoint what it knows, and attach the run's card."""
        from training.card.card import write_card
        from training.evaluation import evaluate

        self.merge_artifacts(inputs)
        found = evaluate(Path(self.run_folder), Path(self.shards), self.holes)
        self.checkpoint, self.measures = str(found.checkpoint), found.measures
        self.run_card = write_card(Path(self.run_folder)).read_text("utf-8")
        current.card.append(Markdown(f"# {self.name_served}: {found.checkpoint.name}"))
        rows = [[name, f"{value:.4f}"] for name, value in self.measures.items()]
        current.card.append(Table(rows, headers=["measure", "value"]))
        current.card.append(Markdown("The run's card is the artifact `run_card`."))
        self.next(self.export)

    @step
    def export(self) -> None:
        """Publish the artifact; one that is there already is kept."""
        from tabwright.artifact import ModelArtifact

        target = Path(self.folder) / "artifact"
        if not target.exists():
            words = ["train", "export", "--checkpoint", self.checkpoint, "--data", self.shards]
            words += ["--out", str(target), "--name", self.name_served]
            check(tabwright(words), "tabwright train export")
        self.artifact, self.model_digest = str(target), ModelArtifact.load(target).digest
        self.next(self.end)

    @step
    def end(self) -> None:
        """Say what was made of what."""
        told = {
            "commit": self.commit,
            "data": self.data_digest,
            "tokenizer": self.tokenizer_digest,
            "model": self.model_digest,
            "artifact": self.artifact,
            **self.measures,
        }
        sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    try:
        TrainFlow()
    except TabwrightError as error:
        sys.exit(f"training.flow: {error}")
