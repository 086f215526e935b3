"""`tabwright export`: write a model for a GPU node, and choose which version is served."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tabwright.errors import ConfigError, MissingExtra


def main(argv: list[str]) -> int:
    """Export, activate or go back; errors of the tree pass to the caller.

    Raises:
        MissingExtra: torch or transformers is not installed.
    """
    args = _parser().parse_args(argv)
    if args.rollback:
        from training.export.versions import rollback

        print(json.dumps({"current": rollback(args.out)}))
        return 0
    if args.artifact is None and not (args.activate or args.container_digest):
        raise ConfigError("give --artifact DIR to export, --activate or --rollback")
    told: dict[str, object] = {"out": str(args.out)}
    if args.artifact is not None:
        try:
            told |= _export(args)
        except ModuleNotFoundError as error:
            package = (error.name or "").split(".")[0]
            if package in ("training", "tabwright"):
                raise
            extra = "triton" if package in ("tritonclient", "google", "grpc") else "train"
            raise MissingExtra(package, extra) from error
    elif args.container_digest:
        from training.export.manifest import fill_container_digest

        fill_container_digest(args.out, args.container_digest)
        told["container_digest"] = args.container_digest
    if args.activate:
        from training.export.versions import activate

        activate(args.out)
        told["current"] = args.out.name
    print(json.dumps(told))
    return 0


def _export(args: argparse.Namespace) -> dict[str, object]:
    from training.export.container_python import container_python
    from training.export.quantization import Quantization
    from training.export.tensorrt_llm import export_model

    quantization = None
    if args.quantize:
        if args.calibration is None:
            raise ConfigError("--quantize: give --calibration FILE, see tabwright train holes")
        quantization = Quantization(
            args.quantize, args.calibration, container_python(), args.max_loss_increase
        )
    manifest = export_model(
        args.artifact,
        args.out,
        to=args.to,
        name=args.name,
        family=args.family,
        order=args.order,
        max_context=args.max_context,
        tensor_parallel=args.tp,
        container_digest=args.container_digest,
        validate=args.validate,
        reader=container_python() if args.validate and args.reader else None,
        quantization=quantization,
        loras=_adapters(args.lora),
        speculate=args.speculate,
    )
    return {
        "name": manifest["name"],
        "checkpoint_digest": manifest["checkpoint_digest"],
        "validation": manifest["validation"]["level"],
    }


def _adapters(given: list[str]) -> dict[str, Path]:
    """NAME=DIR as a table; a folder by itself is named by its own name."""
    table: dict[str, Path] = {}
    for word in given:
        name, sign, folder = word.partition("=")
        path = Path(folder if sign else word)
        name = name if sign else path.resolve().name
        if name in table:
            raise ConfigError(f"--lora {name}: given twice")
        table[name] = path
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tabwright export",
        description="Write a model as a folder that Triton serves, and choose the served version.",
        epilog="example: tabwright export --artifact artifacts/mine --to tensorrt_llm "
        "--out exports/mine/1 --activate",
    )
    add = parser.add_argument
    add("--artifact", type=Path, help="artifact, or Hugging Face checkpoint with --family")
    add("--out", type=Path, required=True, help="folder to write; with --rollback its parent")
    add("--to", default="tensorrt_llm", help="tensorrt_llm (GPU) or local_llm (CPU)")
    add("--name", help="the model's name in Triton (default: the artifact's)")
    add("--family", help="FIM family of a checkpoint that is no artifact")
    add("--order", help="psm or spm, for a checkpoint that is no artifact")
    add("--max-context", type=int, help="tokens of prompt and answer, for such a checkpoint")
    add("--tp", type=int, default=1, help="GPUs that share the model (default: 1)")
    add("--container-digest",
        help="sha256:... of the container image; without --artifact filled into --out")  # fmt: skip
    add("--lora", action="append", default=[], metavar="NAME=DIR",
        help="PEFT adapter to ship beside the model (repeatable)")  # fmt: skip
    add("--quantize", help="fp8 or int4_awq, through NVIDIA's ModelOpt")
    add("--calibration", type=Path, help="held-out prompts for --quantize (JSON lines)")
    add("--max-loss-increase", type=float, default=0.1,
        help="nats a token that --quantize may cost (default: 0.1)")  # fmt: skip
    add("--speculate", action="store_true",
        help="draft tokens from n-grams of the request's own text")  # fmt: skip
    add("--reader", action="store_true",
        help="check with transformers 4.57.3 too, which is installed once")  # fmt: skip
    add("--no-validate", dest="validate", action="store_false",
        help="leave out the checks with transformers; the manifest says so")  # fmt: skip
    add("--activate", action="store_true", help="let the link `current` point at --out")
    add("--rollback", action="store_true", help="let `current` point at the version before")
    return parser
