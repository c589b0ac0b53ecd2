"""Python values in plain JSON, as the command and the recordings write them:
times in ISO 8601, bytes in base64, tuples and sets as arrays, NaN and
infinities as text, exceptions as a mapping of their class and arguments."""
import base64
import datetime
import decimal
import math
import uuid

from celery.result import ResultBase


def plain(value):
    if isinstance(value, BaseException):
        return exception(value)
    if isinstance(value, ResultBase):
        return plain(value.as_tuple())
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (complex, decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def exception(value):
    return {
        "exc_type": type(value).__qualname__,
        "exc_message": plain(value.args),
        "exc_module": type(value).__module__,
    }
