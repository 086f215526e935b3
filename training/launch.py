"""torchrun that ends as its ranks ended: `python -m training.launch TORCHRUN OPTIONS`.

torchrun itself ends with 1 whatever went wrong. Here the exit code is that of the first rank that
failed, if it is one of ours, and else that of a bug; after a signal it is 128 and the signal.
"""

from __future__ import annotations

import sys

from tabwright.cli import EXIT_CODES
from tabwright.errors import Broken


def main(argv: list[str]) -> int:
    """Start the ranks and wait for them; what each of them said stands on standard error."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        run.main(argv)
    except SignalException as asked:
        return 128 + int(asked.sigval)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        sys.stderr.write(f"rank {rank} ended with {failure.exitcode}; its message stands above\n")
        return failure.exitcode if failure.exitcode in EXIT_CODES.values() else EXIT_CODES[Broken]
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
