# -*- coding: utf-8 -*-
"""Pickles of Python 2, in the format of corpus.py.

    python2.7 python2.py
"""

import base64
import collections
import copy_reg
import datetime
import decimal
import json
import pickle
import cPickle
import UserDict
import uuid


class Old:
    pass


Old.__module__ = "cases"
import sys, types  # noqa: E401,E402
sys.modules["cases"] = types.ModuleType("cases")
sys.modules["cases"].Old = Old


class New(object):
    pass


New.__module__ = "cases"
sys.modules["cases"].New = New

old = Old()
old.a = 1
new = New()
new.b = u"two"

CASES = [
    ("ascii str", "hello", ["str", "hello"]),
    ("utf-8 str", "h\xc3\xa9llo", ["str", u"h\u00e9llo"]),
    ("binary str", "\xff\xfe'\n\\", ["bytes", "fffe270a5c"]),
    ("escapes", "a'b\"c\\d\ne\tf\x00", ["str", "a'b\"c\\d\ne\tf\x00"]),
    ("unicode", u"h\u00e9llo \u2603\n\\u0041", ["str", u"h\u00e9llo \u2603\n\\u0041"]),
    ("int", 5, ["int", "5"]), ("long", 5L, ["int", "5"]), ("big", 2**70, ["int", str(2**70)]),
    ("negative", -2**70, ["int", str(-2**70)]),
    ("true", True, ["True"]), ("float", 0.5, ["float", "3fe0000000000000"]),
    ("inf", float("inf"), ["float", "7ff0000000000000"]),
    ("dict", {"a": [1, (2,)]}, ["dict", [["str", "a"], ["list", ["int", "1"], ["tuple", ["int", "2"]]]]]),
    ("naive", datetime.datetime(2014, 5, 6, 7, 8, 9, 10), ["datetime", "2014-05-06T07:08:09.000010"]),
    ("date", datetime.date(2014, 5, 6), ["date", "2014-05-06"]),
    ("time", datetime.time(7, 8), ["time", "07:08:00"]),
    ("timedelta", datetime.timedelta(-1, 5), ["timedelta", -1, 5, 0]),
    ("Decimal", decimal.Decimal("1.50"), ["Decimal", "1.50"]),
    ("UUID", uuid.UUID(int=1), ["UUID", "00000000-0000-0000-0000-000000000001"]),
    ("complex", 1 + 2j, ["complex", "3ff0000000000000", "4000000000000000"]),
    ("set", set([1]), ["set", ["int", "1"]]), ("frozenset", frozenset([1]), ["frozenset", ["int", "1"]]),
    ("bytearray", bytearray("a\xff"), ["bytes", "61ff"]),
    ("OrderedDict", collections.OrderedDict([("z", 1), ("a", 2)]),
     ["dict", [["str", "a"], ["int", "2"]], [["str", "z"], ["int", "1"]]]),
    ("exception", ValueError("bad"), ["object", "builtins.ValueError", [["str", "bad"]], ["dict"], ["None"], [], []]),
    ("old class", old, ["object", "cases.Old", [], ["dict"], ["dict", [["str", "a"], ["int", "1"]]], [], []]),
    ("new class", new, ["object", "cases.New", [], ["dict"], ["dict", [["str", "b"], ["str", "two"]]], [], []]),
    ("UserDict", UserDict.UserDict, ["class", "collections.UserDict"]),
    ("xrange", xrange, ["class", "builtins.range"]), ("long type", long, ["class", "builtins.int"]),
]

for name, obj, want in CASES:
    for writer in pickle, cPickle:
        for protocol in range(3):
            data = writer.dumps(obj, protocol)
            print(json.dumps(collections.OrderedDict([
                ("name", name + " by " + writer.__name__), ("protocol", protocol),
                ("pickle", base64.b64encode(data)), ("want", want),
            ])))
