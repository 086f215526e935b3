"""Is the loss that is computed a few rows at a time the one that torch computes at once?"""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from training.loader import IGNORE  # noqa: E402
from training.scoring import HeadNats  # noqa: E402


@pytest.mark.parametrize(("kind", "apart"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_nats_and_gradients_are_those_of_the_whole(kind: object, apart: float) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(300, 16, requires_grad=True)
    head = torch.randn(70, 16, requires_grad=True)
    targets = torch.randint(0, 70, (300,))
    targets[::7] = IGNORE
    weights = torch.rand(300)
    nats = HeadNats.apply(hidden, head, targets, kind)  # type: ignore[no-untyped-call]
    found = torch.autograd.grad((nats * weights).sum(), (hidden, head))
    whole = torch.nn.functional.cross_entropy(
        hidden @ head.T, targets, ignore_index=IGNORE, reduction="none"
    )
    wanted = torch.autograd.grad((whole * weights).sum(), (hidden, head))
    assert (nats[::7] == 0).all()
    for one, other in zip((nats, *found), (whole, *wanted), strict=True):
        assert (one - other).abs().max() <= apart * other.abs().max()
