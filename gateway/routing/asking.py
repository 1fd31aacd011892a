"""Who asks, and what of a call counts when one of several variants is chosen. Pure."""

import random

from gateway.auth.keys import Plan
from gateway.config.choice import Sticky
from gateway.fleet.catalog import seed_of
from gateway.routing.rendezvous import mixed
from gateway.wire.ask import Ask
from gateway.wire.prefix import session_of


class Asking:
    """One call. `caller` "": nobody in particular. `min_bits`: 0 where any number will do."""

    __slots__ = ("_ask", "_caller", "_session", "min_bits", "plan", "rng")

    def __init__(
        self,
        plan: Plan,
        rng: random.Random,
        caller: str = "",
        min_bits: float = 0.0,
        ask: Ask | None = None,
        session: bytes | None = None,
    ) -> None:
        self.plan = plan
        self.rng = rng
        self.min_bits = min_bits
        self._caller = caller
        self._ask = ask
        self._session = session

    def key(self, sticky: Sticky, what: str) -> int | None:
        """A number that is the same whenever who asks is; None: each call is another's.

        `what` is chosen; so one caller is not the first to get everything that is new.
        """
        who = self._who(sticky)
        return None if who is None else mixed(seed_of(f"{what}\n{who}"))

    def _who(self, sticky: Sticky) -> str | None:
        if sticky == "none":
            return None
        named = None
        if self._ask is not None and sticky == "session":
            named = session_of(self._ask, self._session, "header")
        elif self._ask is not None and sticky == "user":
            user = bytes(self._ask.fields.get("user", b""))
            named = user if user.startswith(b'"') else None
        if named is not None:
            return f"{self._caller}\n{named.decode('latin-1')}"
        return self._caller or None
