"""Tasks as a project has them: one for each way to end."""
import threading

from celery import shared_task
from celery.exceptions import Ignore

from .errors import QuotaExceeded


released = threading.Event()  # what hold waits for, in the worker's own process


@shared_task
def hold():
    released.wait(30)
    return "released"


@shared_task
def add(x, y):
    return x + y


@shared_task
def echo(value=None, **named):
    return {**named, "value": value} if named else value


@shared_task
def divide(x, y):
    return x / y


@shared_task
def quota():
    raise QuotaExceeded("acme", 10)


@shared_task(bind=True)
def flaky(self):
    raise self.retry(exc=ConnectionError("upstream closed"), countdown=3600)


@shared_task(bind=True)
def progress(self):
    self.update_state(state="PROGRESS", meta={"current": 40, "total": 100})
    raise Ignore  # stores nothing more: the record stays


@shared_task(bind=True)
def spawns(self):
    add.apply_async((1, 2), task_id=f"child-of-{self.request.id}")
    return "spawned"


@shared_task
def total(numbers):
    return sum(numbers)
