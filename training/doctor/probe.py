"""Measure every rank and name the slow ones: `torchrun ... -m training.doctor.probe --folder DIR`.

Matrix products and copies run on all ranks at once, as in a step; each rank then sends to the next
one, one at a time; one rank of each node writes to the disk. Rank 0 prints. Read `main`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist

from tabwright.cli import exit_code
from tabwright.errors import TabwrightError
from training.distributed import own_device, process_group
from training.doctor.diagnosis import Measured, diagnose, table
from training.rates import copy_gb_s, matmul_tflops, write_gb_s


def main(argv: list[str] | None = None) -> int:
    """Measure; every rank of torchrun calls this."""
    parser = argparse.ArgumentParser(
        prog="torchrun -m training.doctor.probe",
        epilog="example: torchrun --nproc-per-node 2 -m training.doctor.probe --folder runs",
    )
    parser.add_argument("--folder", type=Path, required=True, help="where checkpoints will go")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--tolerance", type=float, default=0.2)
    parser.add_argument("--megabytes", type=int, default=256, help="written and sent")
    parser.add_argument("--checkpoint-bytes", type=int)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    try:
        with process_group():
            mine = measure(args.folder, args.precision, args.megabytes)
            ranks = _gather(mine)
    except TabwrightError as error:
        sys.stderr.write(f"training.doctor.probe: {error}\n")
        return exit_code(error)
    found = diagnose(ranks, args.tolerance, args.checkpoint_bytes)
    if mine.rank == 0:
        told = {"ranks": [asdict(one) for one in ranks], **asdict(found)}
        text = json.dumps(told) if args.json else "\n".join(table(ranks, found))
        sys.stdout.write(text + "\n")
    return 0


def measure(folder: Path, precision: str, megabytes: int) -> Measured:
    """This rank's figures; every rank must call."""
    device = own_device()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    rank = dist.get_rank() if dist.is_initialized() else 0
    _barrier()
    products = matmul_tflops(device, dtype)
    _barrier()
    copies = copy_gb_s(device)
    _barrier()
    sent = _to_next(device, megabytes)
    disk = None
    if int(os.environ.get("LOCAL_RANK", 0)) == 0:
        folder.mkdir(parents=True, exist_ok=True)
        disk = write_gb_s(folder, megabytes)
    _barrier()
    return Measured(rank, socket.gethostname(), _name(device), products, copies, sent, disk)


def _to_next(device: torch.device, megabytes: int) -> float | None:
    """GB/s to the rank after this one, or from the last to the first; one pair at a time."""
    world = dist.get_world_size() if dist.is_initialized() else 1
    if world == 1:
        return None
    rank, rate = dist.get_rank(), None
    parcel = torch.zeros(megabytes << 20, dtype=torch.uint8, device=device)
    for sender in range(world):
        receiver = (sender + 1) % world
        dist.barrier()
        for warm in (True, False):
            began = time.perf_counter()
            if rank == sender:
                dist.send(parcel[:1024] if warm else parcel, receiver)
                dist.recv(parcel[:1], receiver)  # the clock stops when all has arrived
                rate = parcel.numel() / (time.perf_counter() - began) / 1e9
            elif rank == receiver:
                dist.recv(parcel[:1024] if warm else parcel, sender)
                dist.send(parcel[:1], sender)
    return rate


def _gather(mine: Measured) -> list[Measured]:
    if not dist.is_initialized():
        return [mine]
    ranks: list[Measured | None] = [None] * dist.get_world_size()
    dist.all_gather_object(ranks, mine)
    return [one for one in ranks if one is not None]


def _barrier() -> None:
    if dist.is_initialized():
        dist.barrier()


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} x {torch.get_num_threads()} threads"


if __name__ == "__main__":
    sys.exit(main())
