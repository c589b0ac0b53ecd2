"""Writes golden.jsonl: what msgpack-python reads and writes.

Run it with Python 3.11 or later in a virtual environment that holds what
requirements.txt names:

    pip install -r requirements.txt
    python golden.py > golden.jsonl

A number as the only argument adds that many random values.

Each line is an object with the fields
  hex     packed bytes
  value   what they unpack to, typed (see typed below)
  packed  true when packb(value, use_bin_type=True) writes exactly these bytes
  error   instead of value: unpackb refuses the bytes
"""

import base64
import datetime
import json
import math
import random
import struct
import sys

import msgpack


def typed(v):
    """Returns v as JSON that tells Python's types apart."""
    if v is None or isinstance(v, (bool, str)):
        return v
    if isinstance(v, int):
        return {"int": str(v)}
    if isinstance(v, float):
        return {"float": "nan" if math.isnan(v) else struct.pack(">d", v).hex()}
    if isinstance(v, bytes):
        return {"bytes": base64.b64encode(v).decode()}
    if isinstance(v, datetime.datetime):
        return {"aware": v.isoformat()}
    if isinstance(v, msgpack.ExtType):
        return {"ext": [str(v.code), base64.b64encode(v.data).decode()]}
    if isinstance(v, list):
        return {"list": [typed(item) for item in v]}
    if isinstance(v, dict):
        return {"dict": [[typed(key), typed(value)] for key, value in v.items()]}
    raise TypeError(type(v))


INTS = sorted({sign * (1 << bits) + d for sign in (1, -1) for bits in (0, 4, 5, 6, 7, 8, 15, 16, 31, 32, 62, 63) for d in (-1, 0, 1)} - {-(2**63) - 1})
SIZES = [0, 1, 15, 16, 17, 31, 32, 33, 255, 256, 257]

VALUES = (
    [None, True, False, 2**64 - 1]
    + INTS
    + [0.0, -0.0, 1.5, -2.25, 0.1, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan]
    + ["x" * n for n in SIZES]
    + [b"\0" * n for n in SIZES]
    + [[None] * n for n in SIZES]
    + [{"%06d" % i: i for i in range(n)} for n in SIZES]
    + ["h\xe9llo w\xf6rld \U0001f389", "\0", "\u65e5\u672c\u8a9e" * 20, "\ufeff", "\u2028"]
    + [[[[[]]]], {"a": {"b": {"c": []}}}, [1, "two", 3.5, None, [True, {}]], [b"\x00\xff\xfe\x80", {"k": b""}]]
    + [{1: "a", -5: "b"}, {"a": 1, 2: "b"}, {b"k": 1}, {None: 1, 1.5: 2}, {True: 1, 0: 2}, {"z": 1, "a": 2, "m": 3}]
    + [{"status": "SUCCESS", "result": 5, "traceback": None, "children": [[["id", None], None]], "kwargs": {"n": 1}}]
)

# Bytes that packb does not write in this form.
PACKED = """
cc05 cd0005 ce00000005 cf0000000000000005 d005 d0ff d10005 d1ffff d200000005 d2ffffffff d30000000000000005 d3ffffffffffffffff
cfffffffffffffffff ca3fc00000 ca7f800000 ca7fc00000 d90161 da000161 db0000000161 c40100 c5000100 c600000001ff dc000101 dd0000000101
de0001a16101 df00000001a16101 82a16101a16102 8201a161c3a162 83a16101a16202a16103
d60000000001 d6ff00000000 d6ff6740f300 d7ff000000006740f300 d7ffee6b27fc6740f300 c70cff00000000000000006740f300 c70cff3b9ac9ffffffffffffffffff
c70cff00000000fffffff1886e0900 d40501 d50501ff d602deadbeef d705000000006740f300 d80300000000000000000000000000000000 c70005 c7030501ff02 c8000105aa c9000000010577
d70301020304050607
c1 91 81 81a161 92c0 a2c3 a161a1 c4 c405 c50001 c6ffffffff d9 da00 dbffffffff dc dcffff dd ddffffffff ddffffffff01 de deffff df dfffffffff dfffffffff01
ca cb cc cd ce cf d0 d1 d2 d3 d4 d405 d5 d6 d7 d8 c7 c705 c8 c9 c9ffffffff05 c0c0 a161a162 81c0 c9ffffffff
a1ff a2c328 a3e28028 a4f0808080 a3eda080
""".split()


def golden(packed, value, written):
    return json.dumps({"hex": packed.hex(), "value": typed(value), "packed": written})


def dumps(value):
    packed = msgpack.packb(value, use_bin_type=True)
    return golden(packed, loads(packed), True)


def loads(packed):
    return msgpack.unpackb(packed, raw=False, strict_map_key=False, timestamp=3)


def read(packed):
    try:
        return golden(packed, loads(packed), False)
    except Exception as exc:
        return json.dumps({"hex": packed.hex(), "error": type(exc).__name__})


def random_value(rng, depth=0):
    kind = rng.randrange(10 if depth < 5 else 7)
    if kind < 2:
        return rng.choice(["a", "\xe9", "\U0001f389", "key "]) * rng.randrange(40)
    if kind == 2:
        return rng.choice([None, True, False])
    if kind == 3:
        return rng.randrange(-(2 ** rng.choice([4, 7, 15, 31, 63])), 2 ** rng.choice([4, 7, 15, 31, 64]))
    if kind == 4:
        return rng.uniform(-1e20, 1e20)
    if kind == 5:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(40)))
    if kind == 6:
        return rng.choice(INTS)
    if kind == 7:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(5))]
    keys = [random_value(rng, 9) if rng.random() < 0.1 else "k%d" % i for i in range(rng.randrange(5))]
    return {key: random_value(rng, depth + 1) for key in keys}


def main():
    for value in VALUES:
        print(dumps(value))
    for text in PACKED:
        print(read(bytes.fromhex(text)))
    rng = random.Random(20261121)
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 100):
        print(dumps(random_value(rng)))


main()
