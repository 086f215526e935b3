"""Print, as JSON, on what and when the figures beside this file were measured."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from importlib.metadata import version

PACKAGES = ("openvino", "openvino-genai", "fastapi", "starlette", "uvicorn", "tokenizers")


def processor() -> str:
    """Name of the processor, as the kernel gives it."""
    with open("/proc/cpuinfo", encoding="utf-8") as stream:
        names = [line.split(":", 1)[1].strip() for line in stream if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    """Print."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
    )
    where = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "kernel": platform.release().split("-")[0],
        "packages": {name: version(name) for name in PACKAGES},
    }
    print(json.dumps(where, indent=2))


if __name__ == "__main__":
    main()
