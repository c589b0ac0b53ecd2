"""Pickles of many Python objects, and what each of them is.

    python3 corpus.py              prints the corpus, a JSON object a line
    python3 corpus.py small        the same without the large objects: this is
                                   what corpus.jsonl holds
    python3 corpus.py describe     reads base64 pickles, a line each, and
                                   prints the description of each

A description is a tree of JSON arrays: a kind, then what makes the value. The
Go tests describe their values in the same words.
"""

import base64
import collections
import copyreg
import datetime
import decimal
import enum
import fractions
import json
import math
import pickle
import struct
import sys
import types
import uuid

UTC = datetime.timezone.utc


def module(name):
    """Return a new module that pickle can import from."""
    sys.modules[name] = types.ModuleType(name)
    for part in name.split(".")[:-1]:
        sys.modules.setdefault(part, types.ModuleType(part))
    return sys.modules[name]


def place(cls, name):
    """Put a class into a module of that name, as if it were defined there."""
    cls.__module__ = name
    setattr(sys.modules[name], cls.__name__, cls)
    return cls


def ours(cls):
    return place(cls, "cases")


module("cases")
for name in ("celery.exceptions", "celery.utils.serialization", "kombu.exceptions", "billiard.exceptions"):
    module(name)
    setattr(sys.modules[name], "__getattr__", lambda attr, name=name: place(type(attr, (Exception,), {}), name))


def hexed(f):
    return struct.pack(">d", f).hex() if not math.isnan(f) else "nan"


def text(s):
    return "".join(
        "\ufffd" if 0xD800 <= ord(c) <= 0xDFFF else c for c in s)


def class_name(c):
    return c.__module__ + "." + c.__qualname__


def describe(v, protocol=4):
    t = type(v)
    again = lambda x: describe(x, protocol)  # noqa: E731
    if v is None or t is bool:
        return [str(v)]
    if t is int:
        return ["int", str(v)]
    if t is float:
        return ["float", hexed(v)]
    if t is complex:
        return ["complex", hexed(v.real), hexed(v.imag)]
    if t is str:
        return ["str", text(v)]
    if t in (bytes, bytearray):
        return ["bytes", v.hex()]
    if t is list:
        return ["list"] + [again(x) for x in v]
    if t is tuple:
        return ["tuple"] + [again(x) for x in v]
    if t in (set, frozenset):
        return [t.__name__] + sorted((again(x) for x in v), key=json.dumps)
    if t in (dict, collections.OrderedDict, collections.defaultdict):
        pairs = [[again(k), again(x)] for k, x in v.items()]
        if all(type(k) is str for k in v):
            pairs.sort(key=json.dumps)
        return ["dict"] + pairs
    if t is datetime.datetime:
        return ["datetime", v.isoformat()]
    if t is datetime.date:
        return ["date", v.isoformat()]
    if t is datetime.time:
        return ["time", v.isoformat()]
    if t is datetime.timedelta:
        return ["timedelta", v.days, v.seconds, v.microseconds]
    if t is decimal.Decimal:
        return ["Decimal", str(v)]
    if t is uuid.UUID:
        return ["UUID", str(v)]
    if isinstance(v, (type, types.FunctionType, types.BuiltinFunctionType)):
        return ["class", class_name(v)]
    return instance(v, protocol)


def instance(v, protocol):
    reduced = v.__reduce_ex__(protocol)
    func, args, state, items, pairs = (list(reduced) + [None] * 5)[:5]
    kwargs = {}
    if func is copyreg.__newobj__:
        func, args = args[0], args[1:]
    elif func is copyreg.__newobj_ex__:
        func, args, kwargs = args
    elif getattr(func, "__name__", "") == "__newobj_ex__" or type(func).__name__ == "partial":
        func, args, kwargs = func.args[0], func.args[1:], func.keywords
    elif func is copyreg._reconstructor:
        func, args = args[0], args[2:] if args[1] is not object else ()
    again = lambda x: describe(x, protocol)  # noqa: E731
    return ["object", class_name(func), [again(x) for x in args],
            again(kwargs), again(state),
            [again(x) for x in items or ()], [[again(k), again(x)] for k, x in pairs or ()]]


@ours
class Plain:
    def __init__(self, **kw):
        self.__dict__.update(kw)


@ours
class Slots:
    __slots__ = ("a", "b")


@ours
class Keywords:
    def __new__(cls, *args, **kwargs):
        return object.__new__(cls)

    def __getnewargs_ex__(self):
        return (1,), {"key": "value"}


@ours
class Quota(Exception):
    def __init__(self, who, limit):
        super().__init__(who, limit)
        self.limit = limit


@ours
class MyList(list):
    pass


@ours
class MyDict(dict):
    pass


@ours
class MySet(set):
    pass


class Colour(enum.Enum):
    RED = 1


Colour.__module__ = "cases"
sys.modules["cases"].Colour = Colour
Point = place(collections.namedtuple("Point", "x y"), "cases")


def slots():
    s = Slots()
    s.a, s.b = 1, "two"
    return s


def noted():
    e = ValueError("noted")
    e.__notes__ = ["first", "second"]
    return e


def shared():
    a = ["x"]
    return [a, a, {"a": a}]


def zone(name):
    try:
        import zoneinfo
    except ImportError:
        return UTC
    return zoneinfo.ZoneInfo(name)


NINE = datetime.timezone(datetime.timedelta(hours=9), "JST")
WEST = datetime.timezone(-datetime.timedelta(hours=3, minutes=30))
when = datetime.datetime(2026, 11, 21, 8, 30, 15, 123456)

OBJECTS = {
    "none": None, "true": True, "false": False,
    "zero": 0, "one": 1, "255": 255, "256": 256, "65535": 65535, "65536": 65536, "minus one": -1, "minus 129": -129,
    "2^31-1": 2**31 - 1, "2^31": 2**31, "-2^31": -2**31, "-2^31-1": -2**31 - 1,
    "2^63-1": 2**63 - 1, "2^63": 2**63, "-2^63": -2**63, "-2^63-1": -2**63 - 1, "2^64": 2**64,
    "2^100": 2**100, "-2^100": -2**100, "2^1100": 2**1100, "-2^2100": -2**2100, "ten digits": 10**4000,
    "half": 0.5, "minus zero": -0.0, "tiny": 5e-324, "huge": 1.7976931348623157e308,
    "nan": float("nan"), "inf": float("inf"), "-inf": float("-inf"),
    "empty str": "", "ascii": "hello", "accents": "h\u00e9llo w\u00f6rld", "astral": "party \U0001f389", "nul": "a\0b",
    "newline and backslash": "a\nb\\u0041c", "long str": "x" * 300, "lone surrogate": "a\ud800b", "two surrogates": "\ud83d\ude00",
    "empty bytes": b"", "bytes": b"\x00\xff\xfe\x80", "long bytes": bytes(range(256)) * 2,
    "bytearray": bytearray(b"ab\xff"), "empty bytearray": bytearray(),
    "empty list": [], "list": [1, "two", 3.5, None, [True, {}]], "one item": ["x"], 
    "empty tuple": (), "1-tuple": (1,), "2-tuple": (1, "b"), "3-tuple": (1, 2, 3), "4-tuple": (1, 2, 3, 4),
    "nested tuple": ((), ((1,), [2])), "tuple of lists": ([1], [2], []),
    "empty dict": {}, "one entry": {"a": 1}, "dict": {"a": 1, "nested": {"b": [1, 2, 3]}},
    "int keys": {1: "a", -2: "b"}, "mixed keys": {"a": 1, 2: "b", None: 3, (1, "x"): 4, b"k": 5, 1.5: 6},
    "frozenset key": {frozenset([1]): "x"},
    "empty set": set(), "set": {1, 2, 3}, "set of tuples": {(1, "a"), (2, "b")},
    "frozenset": frozenset("abc"), "empty frozenset": frozenset(), "nested frozenset": frozenset([frozenset([1])]),
    "naive": when, "whole seconds": when.replace(microsecond=0), "utc": when.replace(tzinfo=UTC),
    "named offset": when.replace(tzinfo=NINE), "west": when.replace(tzinfo=WEST),
    "year 1": datetime.datetime(1, 1, 1), "year 9999": datetime.datetime(9999, 12, 31, 23, 59, 59, 999999),
    "paris": when.replace(tzinfo=zone("Europe/Paris")), "paris fold 0": datetime.datetime(2026, 10, 25, 2, 30, tzinfo=zone("Europe/Paris")),
    "paris fold 1": datetime.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zone("Europe/Paris")),
    "same zone twice": [when.replace(tzinfo=NINE), when.replace(tzinfo=NINE, year=2000)],
    "date": datetime.date(2026, 2, 28), "time": datetime.time(23, 59, 59, 5), "aware time": datetime.time(1, 2, tzinfo=NINE),
    "timedelta": datetime.timedelta(1, 2, 500000), "negative timedelta": datetime.timedelta(microseconds=-1),
    "timezone": UTC,
    "Decimal": decimal.Decimal("12345678901234567890.0000000001"), "Decimal exponent": decimal.Decimal("1E+3"),
    "Decimal nan": decimal.Decimal("NaN"), "Decimal infinity": decimal.Decimal("-Infinity"), "Decimal zero": decimal.Decimal("0.00"),
    "UUID": uuid.UUID("12345678-1234-5678-1234-567812345678"), "UUID 0": uuid.UUID(int=0), "UUID max": uuid.UUID(int=2**128 - 1),
    "safe UUID": uuid.UUID(int=7, is_safe=uuid.SafeUUID.safe),
    "complex": 1.5 - 2j, "range": range(1, 10, 2), "slice": slice(1, None, 2), "Fraction": fractions.Fraction(1, 3),
    "OrderedDict": collections.OrderedDict([("z", 1), ("a", 2)]),
    "defaultdict": collections.defaultdict(list, {"a": [1]}), "Counter": collections.Counter("aab"),
    "deque": collections.deque([1, 2], 5),
    "ZeroDivisionError": ZeroDivisionError("division by zero"), "KeyError": KeyError("k"), "no arguments": RuntimeError(),
    "OSError": OSError(5, "Input/output error"), "UnicodeDecodeError": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "own exception": Quota("acme", 10), "notes": noted(), "exception in exception": ValueError(KeyError(1)),
    "object": Plain(a=1, b=[2]), "empty object": Plain(), "slots": slots(), "namedtuple": Point(1, 2), "enum": Colour.RED,
    "keywords": Keywords(), "list subclass": MyList([1, 2]), "dict subclass": MyDict(a=1), "set subclass": MySet([1]),
    "class": Plain, "builtin function": len, "builtin class": ValueError,
    "shared list": shared(), "shared text": ["some text that is longer than sixty-four bytes, so that it is worth to share" + str(0)] * 3,
    "shared bytes": [b"\xff" * 100] * 3, "shared object": [Plain(a=1)] * 2,
    "depth 50": json.loads("[" * 50 + "]" * 50),
    "meta": {
        "status": "SUCCESS", "result": {"id": 17, "total": 99.5, "tags": ["a", "b"]}, "traceback": None,
        "children": [[["6c2e", None], None]], "date_done": "2026-11-21T09:09:40.859911+00:00", "name": "cases.add",
        "args": [2, 3], "kwargs": {}, "worker": "vm", "retries": 0, "queue": "celery", "task_id": "5f0c",
    },
    "failed meta": {"status": "FAILURE", "result": Quota("acme", 10), "traceback": "Traceback", "task_id": "5f0c"},
}

LARGE = {
    "70000 chars": "0123456789" * 7000,
    "2000 ints": list(range(2000)),
    "1500 entries": {"k%d" % i: i for i in range(1500)},
}


def corpus(objects):
    for name, obj in objects.items():
        # Protocols below 4 have no fold, and functools.partial for keywords.
        for protocol in range(4 if name in ("keywords", "paris fold 1") else 0, pickle.HIGHEST_PROTOCOL + 1):
            try:
                data = pickle.dumps(obj, protocol)
                want = describe(obj, protocol)
            except (TypeError, AttributeError, pickle.PicklingError):
                continue
            yield {"name": name, "protocol": protocol, "pickle": base64.b64encode(data).decode(), "want": want}


def main():
    sys.setrecursionlimit(10000)
    if sys.argv[1:] == ["describe"]:
        for line in sys.stdin:
            try:
                print(json.dumps(describe(pickle.loads(base64.b64decode(line)))))
            except Exception as e:  # noqa: B902
                print(json.dumps(["error", repr(e)]))
        return
    if sys.argv[1:] != ["small"]:
        OBJECTS.update(LARGE)
    for case in corpus(OBJECTS):
        print(json.dumps(case))


if __name__ == "__main__":
    main()
