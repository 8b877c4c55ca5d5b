"""A store that goes away: the screen says so, keeps what it had, and goes on when the store is back."""

from __future__ import annotations

from contextlib import closing

from prismq import PrismQ
from tests.helpers.engines import Engine
from tests.helpers.postgres import server
from tests.helpers.proxy import Proxy
from tests.top.conftest import Driver, drive


def test_a_store_that_cannot_be_read_is_told_of_until_it_can(q: PrismQ, engine: Engine) -> None:
    q.enqueue("job", {}, queue="mail")

    async def steps(top: Driver) -> None:
        await top.sees("● live", "mail")
        engine.hand("ALTER TABLE workers RENAME TO elsewhere")
        await top.sees("● stale", "The queue cannot be read", "It is tried again.")
        await top.sees("mail")
        await top.press("p", "y")  # what needs no workers goes on
        await top.until(lambda: engine.look("SELECT count(*) FROM queues WHERE paused_at_utc IS NOT NULL") == [(1,)])
        engine.hand("ALTER TABLE elsewhere RENAME TO workers")
        await top.sees("● live")
        await top.sees_no_more("cannot be read")

    drive(q, steps)


def test_an_action_that_fails_says_why(q: PrismQ, engine: Engine) -> None:
    q.enqueue("job", {}, queue="mail")

    async def steps(top: Driver) -> None:
        await top.sees("mail")
        await top.press("p")
        engine.hand("ALTER TABLE queues RENAME TO elsewhere")
        await top.press("y")
        await top.hears("It was not done: ")
        engine.hand("ALTER TABLE elsewhere RENAME TO queues")
        await top.sees("● live")

    drive(q, steps)


def test_a_server_that_is_gone_and_comes_back() -> None:
    name = server().new_queue()
    with closing(Proxy(server())) as proxy, PrismQ(proxy.url(name)) as q:
        q.enqueue("job", {}, queue="mail")

        async def steps(top: Driver) -> None:
            await top.sees("● live", "mail")
            proxy.refuse(True)
            proxy.cut()
            await top.sees("● stale", "The queue cannot be read")
            proxy.refuse(False)
            await top.sees("● live")

        drive(q, steps)
    server().drop(name)


def test_a_server_that_swallows_everything_stops_no_key() -> None:
    name = server().new_queue()
    with closing(Proxy(server())) as proxy, PrismQ(proxy.url(name)) as q:
        q.enqueue("job", {}, queue="mail")

        async def steps(top: Driver) -> None:
            await top.sees("● live", "mail")
            proxy.hole(True)
            await top.sees("has not answered for")
            await top.press("4")
            await top.sees("Nothing failed.")
            assert top.app._is_looking  # it waits, and nobody waits for it
            proxy.hole(False)
            await top.sees("● live")

        drive(q, steps)
    server().drop(name)
