"""What the tests of the device's thread share: a clock of their own, and a device that is occupied."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor


class Clock:
    """Time that passes only when a test says so; `broken` once makes the thread that asks die."""

    def __init__(self):
        self.now = 0.0
        self.broken = threading.Event()

    def __call__(self):
        if self.broken.is_set() and threading.current_thread().name == "gramviz-device":
            self.broken.clear()
            raise SystemError("the clock is broken")
        return self.now

    def spend(self, seconds, then=lambda: None):
        def job():
            self.now += seconds
            return then()

        return job


def hold(scheduler, gate):
    """Occupy the device until the gate opens; returns when it is occupied."""
    begun = threading.Event()
    future = scheduler.submit("hold", lambda: (begun.set(), gate.wait(20)))
    assert begun.wait(20)
    return future


def results(futures):
    return [future.result(20) for future in futures]


def run_apart(coroutine):
    """What `coroutine` returns or raises, from a loop in a thread of its own.

    The browser that the page's tests drive keeps a loop running in the main thread, for as long as
    its session lasts.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
