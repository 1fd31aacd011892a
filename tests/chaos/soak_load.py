"""Callers who call without a pause, engines that are told to fail, and what each call came to."""

import random
import time
from collections import Counter, deque
from collections.abc import Sequence

import anyio
import httpx

from tests.chaos.client_faults import CLIENT_FAULTS, ClientFault, Visit
from tests.chaos.engine_faults import ENGINE_FAULTS
from tests.chaos.faulty_engine import FaultyEngine
from tests.chaos.purse import LOGIN
from tests.chaos.stage import PATH, body, read
from tests.support.raw_client import RawClient
from tests.support.running import until

# what takes 64 MB once would hide a leak that is smaller
FAULTS = [fault for fault in ENGINE_FAULTS if fault.play is not None and not fault.is_large]
# those that do not need a configuration of their own
VISITS = [fault for fault in CLIENT_FAULTS if not fault.server]
_FAULTY_CALLS = 0.4
# a call may take `total_s`, and what a busy machine adds
_LONGEST_S = 25.0
# whose worker was killed gets a reset: nobody is left to tell it more
_RESET_S = 5.0
_MISTAKES_TOLD = 20


class Load:
    """Calls of one kind, and how they ended. `wanted` is what an answer says."""

    def __init__(
        self,
        port: int,
        wanted: str,
        engines: Sequence[FaultyEngine],
        rng: random.Random,
    ) -> None:
        self.ends: Counter[str] = Counter()
        self.mistakes: deque[str] = deque(maxlen=_MISTAKES_TOLD)
        self.open_calls = 0
        self.is_over = False
        self.killed_s = -_RESET_S
        self._port = port
        self._wanted = wanted
        self._engines = engines
        self._rng = rng

    def wrong(self, what: str) -> None:
        self.ends["wrong"] += 1
        self.mistakes.append(what)
        print(f"WRONG: {what}", flush=True)

    async def has_ended(self) -> None:
        await until(lambda: not self.open_calls, within_s=_LONGEST_S)

    async def call_for_ever(self) -> None:
        async with httpx.AsyncClient(timeout=_LONGEST_S) as http:
            while not self.is_over:
                if self._rng.random() < _FAULTY_CALLS:
                    self._rng.choice(self._engines).faults.append(self._rng.choice(FAULTS))
                self.open_calls += 1
                try:
                    await self._call(http, stream=self._rng.random() < 0.6)
                finally:
                    self.open_calls -= 1

    async def _call(self, http: httpx.AsyncClient, *, stream: bool) -> None:
        began_s = time.monotonic()
        try:
            with anyio.fail_after(_LONGEST_S):
                url = f"http://127.0.0.1:{self._port}{PATH}"
                answer = await http.post(url, json=body(stream=stream), headers=LOGIN)
            self._judge(answer)
        except httpx.TransportError as lost:
            if self._is_forgiven(began_s) and not isinstance(lost, httpx.TimeoutException):
                self.ends["reset"] += 1
            else:
                self.wrong(f"{type(lost).__name__}, and no worker was killed")
        except TimeoutError:
            self.wrong(f"no end within {_LONGEST_S} s")

    def _judge(self, answer: httpx.Response) -> None:
        try:
            seen = read(answer.status_code, answer.content)
        except (ValueError, LookupError) as exc:
            self.wrong(f"{answer.status_code}: {exc}")
            return
        if seen.is_whole and (seen.status, seen.text) == (200, self._wanted):
            self.ends["whole"] += 1
        elif seen.error is not None and self._wanted.startswith(seen.text):
            self.ends[str(seen.code)] += 1
        else:
            self.wrong(f"{seen.status} is not the answer: {seen.text!r}")

    async def disturb_for_ever(self) -> None:
        """Clients that do everything wrong, one after the other."""
        while not self.is_over:
            await anyio.sleep(self._rng.uniform(0.05, 0.4))
            await self._visit(self._rng.choice(VISITS))

    async def _visit(self, fault: ClientFault) -> None:
        began_s = time.monotonic()
        try:
            async with await anyio.connect_tcp("127.0.0.1", self._port) as stream:
                client = RawClient(stream)
                # a play may be waiting for whoever comes: then there is nothing to read
                with anyio.move_on_after(5):
                    await fault.does(Visit(client, self._engines[0].engine))
                    if fault.status is not None:
                        status = (await client.answer()).status
                        if status != fault.status:
                            self.wrong(f"a client that {fault.name} got {status}")
            self.ends["visits"] += 1
        except (OSError, EOFError, anyio.BrokenResourceError, anyio.EndOfStream) as lost:
            if fault.status is not None and not self._is_forgiven(began_s):
                self.wrong(f"a client that {fault.name} got {type(lost).__name__}")
        except anyio.ClosedResourceError:
            self.ends["visits"] += 1  # it left, as it wanted

    def _is_forgiven(self, began_s: float) -> bool:
        """Whether a worker was killed while the call ran, or just before."""
        return self.killed_s + _RESET_S > began_s
