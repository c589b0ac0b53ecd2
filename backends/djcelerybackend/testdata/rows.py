"""Writes rows.jsonl beside itself: rows as django-celery 3.3 keeps them, with
django-picklefield's rules (base64 of a pickle of protocol 2, the column meta compressed
by zlib before that), as it can't be installed any more. Run it with Celery installed.

The rows whose names begin with python2 are pickles as Python 2.7 writes them: byte
strings for text, and its names of modules.
"""

import base64
import datetime
import json
import pathlib
import pickle
import zlib

from celery import Celery
from celery.result import AsyncResult, GroupResult

app = Celery(backend="cache+memory://", set_as_current=True)


def field(value, compress=False):
    data = value if isinstance(value, bytes) else pickle.dumps(value, 2)
    return base64.b64encode(zlib.compress(data) if compress else data).decode()


def row(name, status, result, children=(), traceback=None, hidden=False):
    return {
        "task_id": name, "status": status, "result": field(result), "traceback": traceback, "hidden": hidden,
        "meta": field({"children": list(children)}, compress=True),
    }


def custom():
    """A pickle of shop.errors.QuotaExceeded('acme', 10)."""
    return b"\x80\x02cshop.errors\nQuotaExceeded\nX\x04\x00\x00\x00acmeK\x0a\x86R."


def rows():
    yield row("int", "SUCCESS", 5)
    yield row("text", "SUCCESS", "h\u00e9llo")
    yield row("dict", "SUCCESS", {"a": [1, 2.5, None], "when": datetime.datetime(2015, 3, 1, 12, 30)})
    yield row("failure", "FAILURE", ValueError("no", 3), traceback="Traceback (most recent call last):\n  \u2026\n")
    yield row("custom", "FAILURE", custom())
    yield row("progress", "PROGRESS", {"current": 1, "total": 2})
    yield row("children", "SUCCESS", "spawned", children=[AsyncResult("child-1").as_tuple(), GroupResult("g", [AsyncResult("a")]).as_tuple()])
    yield row("objects", "SUCCESS", "spawned", children=[AsyncResult("child-2")])
    yield row("python2 text", "SUCCESS", b"\x80\x02U\x05plainq\x00.")
    yield row("python2 failure", "FAILURE", b"\x80\x02cexceptions\nValueError\nq\x00U\x02noq\x01\x85q\x02Rq\x03.")
    yield row("hidden", "SUCCESS", 6, hidden=True)
    yield row("broken", "SUCCESS", b"\x80\x02U")
    yield {"group_id": "group", "result": field(GroupResult("group", [AsyncResult("int"), AsyncResult("text")])), "hidden": False}
    yield {"group_id": "group of tuples", "result": field(GroupResult("group of tuples", [AsyncResult("int")]).as_tuple()), "hidden": False}


with open(pathlib.Path(__file__).parent / "rows.jsonl", "w", encoding="utf-8") as out:
    for item in rows():
        out.write(json.dumps(item) + "\n")
