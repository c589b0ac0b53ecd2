"""Reads stored results as Python does and prints them in plain JSON.

Standard input: one JSON object a line, {"format": "pickle" or "json", "value":
base64}. Standard output: one JSON object a line. Python's own pickle and json
are all it needs: the two modules of Celery's that a pickle may name are stood
in for here.
"""
import base64
import datetime
import decimal
import json
import math
import pickle
import sys
import types
import uuid


class UnpickleableExceptionWrapper(Exception):
    def __init__(self, exc_module, exc_cls_name, exc_args, text=None):
        self.exc_module, self.exc_cls_name, self.exc_args = exc_module, exc_cls_name, exc_args
        super().__init__(exc_module, exc_cls_name, exc_args, text)


def stand_in(name, **members):
    module = types.ModuleType(name)
    for key, value in members.items():
        value.__module__ = name
        setattr(module, key, value)
    sys.modules[name] = module


stand_in("celery")
stand_in("celery.utils")
stand_in("celery.utils.serialization", UnpickleableExceptionWrapper=UnpickleableExceptionWrapper)
stand_in(
    "celery.exceptions",
    TaskRevokedError=type("TaskRevokedError", (Exception,), {}),
    MaxRetriesExceededError=type("MaxRetriesExceededError", (Exception,), {}),
)


def unwrap(exc):
    if isinstance(exc, UnpickleableExceptionWrapper):
        return {"exc_type": exc.exc_cls_name, "exc_message": plain(exc.exc_args), "exc_module": exc.exc_module}
    cls = type(exc)
    return {"exc_type": cls.__qualname__, "exc_message": plain(exc.args), "exc_module": cls.__module__}


def plain(value):
    if isinstance(value, BaseException):
        return unwrap(value)
    if isinstance(value, dict):
        if set(value) == {"__type__", "__value__"}:
            return plain(envelope(value["__type__"], value["__value__"]))
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def envelope(kind, value):
    read = {
        "datetime": datetime.datetime.fromisoformat,
        "date": datetime.date.fromisoformat,
        "time": datetime.time.fromisoformat,
        "decimal": decimal.Decimal,
        "uuid": lambda v: uuid.UUID(**v),
        "bytes": str.encode,
        "base64": base64.b64decode,
    }
    return read[kind](value)


for line in sys.stdin:
    record = json.loads(line)
    data = base64.b64decode(record["value"])
    document = pickle.loads(data) if record["format"] == "pickle" else json.loads(data)
    print(json.dumps(plain(document)))
