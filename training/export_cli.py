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
    if args.artifact is None and not args.activate:
        raise ConfigError("give --artifact DIR to export, --activate or --rollback")
    told: dict[str, object] = {"out": str(args.out)}
    if args.artifact is not None:
        try:
            told |= _export(args)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] in ("training", "tabwright"):
                raise
            raise MissingExtra(str(error.name), "train") from error
    if args.activate:
        from training.export.versions import activate

        activate(args.out)
        told["current"] = args.out.name
    print(json.dumps(told))
    return 0


def _export(args: argparse.Namespace) -> dict[str, object]:
    from training.export.tensorrt_llm import export_model

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
    )
    return {
        "name": manifest["name"],
        "checkpoint_digest": manifest["checkpoint_digest"],
        "validation": manifest["validation"]["level"],
    }


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
    add("--container-digest", help="sha256:... of the container image that will run it")
    add("--no-validate", dest="validate", action="store_false",
        help="leave out the checks with transformers; the manifest says so")  # fmt: skip
    add("--activate", action="store_true", help="let the link `current` point at --out")
    add("--rollback", action="store_true", help="let `current` point at the version before")
    return parser
