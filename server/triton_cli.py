"""`tabwright triton`: a real Triton server on this machine, for a laptop and for the tests.

    install   make its private environment (180 MB) and nothing more
    up        serve a model; it goes on when this command has ended
    status    ports, models, whether they answer, gauges
    down      end it, and leave nothing behind
    serve     all of it for as long as the gateway runs in front

What it serves is computed by transformers on the CPU: it shows the path, not a GPU's speed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from server.settings import BUNDLED_MODEL
from server.tritonserver.alone import alone
from server.tritonserver.bundle import ensure_export
from server.tritonserver.environment import RELEASE, ensure, folder, installed, unsupported
from server.tritonserver.keeper import kept
from server.tritonserver.node import START_S, Node, Ports, Running, leave_on_signals
from tabwright.artifact import ModelArtifact
from tabwright.errors import ConfigError

_DOWN = 3  # exit code: an operator must act


def main(argv: Sequence[str]) -> int:
    """Run one verb; errors of the tree pass to the caller."""
    args, rest = _parser().parse_known_args(argv)
    if rest and args.verb != "serve":
        raise ConfigError(f"unknown argument {rest[0]}; see tabwright triton {args.verb} --help")
    if args.verb == "install":
        if args.if_supported and (reason := unsupported()):
            _say(f"not installed: {reason}")
            return 0
        took = _environment()
        _say(f"Triton {RELEASE} is in {folder()}" + (f", made in {took:.0f} s" if took else ""))
        return 0
    node = Node(args.home)
    if args.verb == "status":
        return _status(node, args.json)
    if args.verb == "down":
        return _down(node)
    leave_on_signals()  # what has been started is ended
    if args.verb == "up":
        told = _up(node, args)
        print(json.dumps({"pid": told.pid, **_addresses(told)}) if args.json else _lines(told))
        return 0
    return _serve(node, args, rest)


def _up(node: Node, args: argparse.Namespace) -> Running:
    """Start it unless it runs already, with the same model.

    Raises:
        ConfigError: it runs with another model, or a port is taken.
        CorruptArtifact: a file of the export was altered.
        NoTriton: it cannot be had or started here.
    """
    _environment()
    with alone(node.home / ".lock"):  # a second one waits, and finds what the first started
        return _started(node, args)


def _started(node: Node, args: argparse.Namespace) -> Running:
    repository = args.repository or _exported(args.model, node.home) / "model_repository"
    if told := node.running():
        if told.repository != str(repository.resolve()):
            raise ConfigError(
                f"a Triton with {', '.join(told.models)} from {told.repository} is running; end it "
                "with tabwright triton down, or give another --home"
            )
        return told
    if not list(repository.glob("*/config.pbtxt")):
        raise ConfigError(f"--repository {repository}: no model stands there; export one first")
    if (repository.parent / "checkpoint").is_dir():
        ModelArtifact.load(repository.parent / "checkpoint")  # refuses one that was altered
    ports = Ports.starting_at(args.port)
    _say(
        f"starting Triton {RELEASE} with {', '.join(sorted(p.name for p in repository.iterdir()))}"
    )
    return node.start(repository, ports, args.timeout)


def _serve(node: Node, args: argparse.Namespace, rest: Sequence[str]) -> int:
    """Run the gateway in front of a Triton that lives as long, unless it was there before."""
    from server.cli import main as serve_gateway

    before = node.running()
    told = _up(node, args)
    try:
        url = f"127.0.0.1:{told.ports.grpc}"
        line = ["--engine", "triton", "--triton-url", url, "--model", str(args.model), *rest]
        if before is not None:
            return serve_gateway(line)
        with kept(node, told):
            return serve_gateway(line)
    finally:
        if before is None:
            node.stop()


def _status(node: Node, as_json: bool) -> int:
    told = node.running()
    if told is None:
        print(json.dumps({"up": False}) if as_json else "Triton is not running")
        return _DOWN
    answers = {name: node.answer_ms(told, name) for name in told.models}
    ready = node.ready(told)
    try:
        gauges = node.gauges()
    except OSError:
        gauges = {}
    if as_json:
        state = {"up": True, "pid": told.pid, **_addresses(told), "ready": ready}
        print(json.dumps(state | {"answer_ms": answers, "gauges": gauges}))
    else:
        rows = [_lines(told), f"ready    {'yes' if ready else 'no'}"]
        for name, took in answers.items():
            said = "no answer within 2 s" if took is None else f"answers in {took:.0f} ms"
            rows.append(f"model    {name}: {said}")
        rows += [f"gauge    {name} {value:g}" for name, value in gauges.items()]
        print("\n".join(rows))
    return 0 if ready and answers and None not in answers.values() else _DOWN


def _down(node: Node) -> int:
    running = node.running()
    node.stop()
    _say("Triton has ended" if running else "no Triton was running")
    return 0


def _environment() -> float:
    if not installed() and not unsupported():
        _say("installing a real Triton server: once, 180 MB, about a minute")
    return ensure()


def _exported(model: Path, home: Path) -> Path:
    artifact = ModelArtifact.load(model)
    return ensure_export(artifact, home / "exports")


def _addresses(told: Running) -> dict[str, object]:
    ports = told.ports
    return {
        "http": f"127.0.0.1:{ports.http}",
        "grpc": f"127.0.0.1:{ports.grpc}",
        "metrics": f"127.0.0.1:{ports.metrics}",
        "repository": told.repository,
    }


def _lines(told: Running) -> str:
    rows = {"process": told.pid, **_addresses(told)}
    return "\n".join(f"{name:<11}{value}" for name, value in rows.items())


def _say(text: str) -> None:
    print(f"tabwright triton: {text}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tabwright triton",
        description="Run a real Triton server on this machine, computing on the CPU.",
        epilog="Example: tabwright triton up",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    summaries = {
        "install": "make the private environment of the server (180 MB) and nothing more",
        "up": "serve a model; it goes on when this command has ended",
        "status": "tell ports, models, whether they answer, gauges",
        "down": "end it and leave nothing behind",
        "serve": "run the gateway in front of it; further options are those of tabwright serve",
    }
    for name, summary in summaries.items():
        verb = verbs.add_parser(
            name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"Example: tabwright triton {name}", allow_abbrev=False,
        )  # fmt: skip
        add = verb.add_argument
        if name == "install":
            add("--if-supported", action="store_true",
                help="say so and succeed where the server cannot run")  # fmt: skip
            continue
        home = folder().with_name("triton-home")
        add("--home", type=Path, default=home,
            help="folder of state, log and exports (default: beside the environment)")  # fmt: skip
        if name in ("up", "status"):
            add("--json", action="store_true", help="print JSON on stdout")
        if name in ("up", "serve"):
            _what_to_serve(verb, first_port=8000 if name == "up" else 0)
    return parser


def _what_to_serve(verb: argparse.ArgumentParser, first_port: int) -> None:
    add = verb.add_argument
    add("--model", type=Path, default=BUNDLED_MODEL, help="artifact to export and serve")
    add("--repository", type=Path, help="model repository to serve instead of exporting --model")
    add("--triton-port" if not first_port else "--port", dest="port", type=int,
        default=first_port, help="port of its HTTP, the next two are gRPC and metrics; 0: free ones"
        f" (default: {first_port})")  # fmt: skip
    add("--timeout", type=float, default=START_S, help="seconds for it to load (default: 300)")
