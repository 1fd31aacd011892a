import anyio

from tests.support.simulated import an_engine, json_of


async def test_it_sleeps_and_wakes_as_it_is_told() -> None:
    async with an_engine() as it:
        assert json_of(await it.get("/is_sleeping")) == {"is_sleeping": False}
        slept = await it.post("/sleep?level=2&mode=wait", "")
        assert json_of(slept) == {"status": "sleeping", "level": 2}
        assert json_of(await it.get("/is_sleeping")) == {"is_sleeping": True}
        assert json_of(await it.post("/wake_up", "")) == {"status": "awake", "tags": None}
        assert json_of(await it.get("/is_sleeping")) == {"is_sleeping": False}


async def test_while_it_sleeps_requests_are_taken_and_answered_once_it_is_awake() -> None:
    async with an_engine() as it, anyio.create_task_group() as tasks:
        await it.post("/sleep", "")
        statuses: list[int] = []

        async def ask() -> None:
            statuses.append((await it.chat()).status)

        tasks.start_soon(ask)
        with anyio.fail_after(20):
            while not it.engine.is_busy:  # noqa: ASYNC110  # nothing announces it
                await anyio.sleep(0.01)
        assert statuses == []
        await it.post("/wake_up", "")
        with anyio.fail_after(20):
            while not statuses:  # noqa: ASYNC110  # nothing announces it
                await anyio.sleep(0.01)
        assert statuses == [200]


async def test_without_its_development_mode_there_is_no_such_path() -> None:
    async with an_engine(has_sleep_mode=False) as it:
        for answered in (await it.post("/sleep", ""), await it.get("/is_sleeping")):
            assert (answered.status, json_of(answered)) == (404, {"detail": "Not Found"})
