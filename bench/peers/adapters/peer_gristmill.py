"""Gristmill on SQLite, or (option `redis`) on Redis: bodies in runners, or (option `inline`) in the worker's own process.

`python peer_gristmill.py` is its worker.
"""
import asyncio
import signal
import sys

import anyio
from bodies import LIMITED, OPT, REDIS, SQLITE, bodies, use_uvloop

from gristmill.brokers import open_broker
from gristmill.engine.client import Client
from gristmill.engine.state import TaskState
from gristmill.engine.task import App
from gristmill.engine.worker import Worker

ASYNC = True
URL = REDIS if OPT.get("redis") else f"sqlite:///{SQLITE}"
LEASE = {"lease": OPT["lease"]} if "lease" in OPT else {}
BATCH = 1000  # messages of one call
app = App("bench")
lim = OPT.get("limit")
for name, fn in bodies(bool(OPT.get("async"))).items():
    kw = {"soft_time_limit": lim["soft"], "time_limit": lim["hard"]} if lim and name in LIMITED else {}
    app.task(name=name, **kw)(fn)
T = app.tasks
broker = closing = holder = None


async def open_():
    """The broker lives in a task of its own: the harness closes in another task than it opened in."""
    global broker, closing, holder
    closing, opened = asyncio.Event(), asyncio.Event()

    async def hold():
        global broker
        async with open_broker(URL) as broker:
            opened.set()
            await closing.wait()

    holder = asyncio.create_task(hold())
    await opened.wait()


async def close():
    closing.set()
    await holder


async def send(task, **kw):
    return await Client(broker).submit(T[task].message(**kw))


async def send_many(task, n, **kw):
    for i in range(0, n, BATCH):
        await broker.publish([T[task].message(**kw) for _ in range(min(BATCH, n - i))])


async def wait(h, timeout=30):
    return await h.result(timeout=timeout)


async def dead():
    """What became of the tasks that never succeeded: how many attempts, and why they ended."""
    found = await broker.tasks(states=[TaskState.DEAD, TaskState.FAILED])
    return [(one.attempt, one.state, f"{one.error.type}: {one.error.message}" if one.error else "") for one in found]


async def main():
    inline = bool(OPT.get("inline"))
    async with open_broker(URL) as opened, anyio.create_task_group() as group:
        worker = Worker(opened, app if inline else "peer_gristmill:app", inline=inline, slots=OPT.get("slots"),
                        async_slots=OPT.get("conc", 100), **LEASE)

        async def hear():
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    worker.drain(grace=OPT.get("grace", 30.0))
        group.start_soon(hear)
        await worker.run()
        group.cancel_scope.cancel()


if __name__ == "__main__":
    sys.modules["peer_gristmill"] = sys.modules["__main__"]
    use_uvloop()
    anyio.run(main)
