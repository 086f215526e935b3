"""What the gateways that run now can obey, so that a flag cannot ask them for something else.

Each gateway says every few seconds which values it knows of the flags that it obeys, say which
models it has loaded. Who has said nothing for a while is not asked any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ab.errors import InvalidFlag
from ab.flags import Flag, Value

Offers = Mapping[str, Sequence[Value]]

ANNOUNCE_S = 5.0
LIVE_S = 20.0  # a gateway whose last word is older has gone


def check(flag: Flag, gateways: Iterable[Offers]) -> None:
    """Refuse a flag with a value that one of these gateways cannot obey.

    Raises:
        InvalidFlag: naming the variant, and what they know.
    """
    for offers in gateways:
        known = offers.get(flag.key)
        if known is None:
            continue
        for name, value in flag.variants.items():
            if not any(type(value) is type(offer) and value == offer for offer in known):
                told = ", ".join(map(str, known))
                raise InvalidFlag(
                    f"variants.{name}",
                    value,
                    f"a running gateway knows {told} only; a model is loaded by "
                    "[server.models.NAME] and a restart. --unserved takes it all the same",
                )
