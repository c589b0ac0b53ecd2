"""Writes golden.jsonl: what PyYAML reads, of its own making and otherwise.

Run it with Python 3.11 or later in a virtual environment that holds what
requirements.txt names:

    pip install -r requirements.txt
    PYTHONHASHSEED=0 python golden.py > golden.jsonl

The seed fixes the order of sets.

A number as the only argument adds that many random values.

With the argument read it writes no such file, but answers each line of standard
input, a document in base64, with what safe_load reads from it, typed.

Each line is an object with the fields
  yaml    a document
  value   what yaml.safe_load reads from it, typed (see typed below)
  error   instead of value: safe_load refuses the document
"""

import base64
import datetime
import json
import math
import random
import sys

import yaml

UTC = datetime.timezone.utc


def typed(v):
    """Returns v as JSON that tells Python's types apart."""
    if v is None or isinstance(v, (bool, str)):
        return v
    if isinstance(v, int):
        return {"int": str(v)}
    if isinstance(v, float):
        return {"float": "nan" if math.isnan(v) else repr(v)}
    if isinstance(v, bytes):
        return {"bytes": base64.b64encode(v).decode()}
    if isinstance(v, datetime.datetime):
        return {"naive" if v.tzinfo is None else "aware": v.isoformat()}
    if isinstance(v, datetime.date):
        return {"date": v.isoformat()}
    if isinstance(v, list):
        return {"list": [typed(item) for item in v]}
    if isinstance(v, tuple):
        return {"tuple": [typed(item) for item in v]}
    if isinstance(v, set):
        return {"set": [typed(item) for item in v]}
    if isinstance(v, dict):
        return {"dict": [[typed(key), typed(value)] for key, value in v.items()]}
    raise TypeError(type(v))


WORDS = """
yes Yes YES yEs no No NO on On ON off Off OFF y Y n N true True TRUE tRue false False FALSE t f
null Null NULL nULL ~ ~~ none None nil undefined << <<< < = == => =x
.inf .Inf .INF .iNf +.inf -.inf +.INF .nan .NaN .NAN .nAn -.nan +.nan inf nan Infinity -Infinity NaN
0 1 -1 +1 -0 +0 00 01 07 08 09 010 -010 +010 0_7 0o17 0o8 0b 0b1 0b10_1 0b2 -0b11 0x 0xFF 0xff_ff -0x1f 0xg 0X1F 0B1
1_000 1__0 _1 1_ 12e3 1e3 1E3 1e+3 1.0e3 1.0e+3 1.0E-3 1.5 -1.5 +1.5 1. -1. .5 -.5 +.5 .5e+1 .5e1 1_0.5_0 1.2.3 ._ 1._5
190:20:30 -190:20:30 +1:2 1:2 1:59 1:60 1:5:9 0:10 00:10 01:30 12:30:45 190:20:30.15 -1:2.5 1:2. 1:60.5 1:2.5e+3 0:1.5 1_0:20
2026-11-21 2026-1-2 2026-13-45 2026-02-30 0000-01-01 2026-11-2 26-11-21 2026/11/21 20261121 2026-11 0001-01-01 9999-12-31
2026-11-21T08:30:15 2026-11-21t08:30:15Z 2026-11-21T08:30:15.5+02:00 2026-1-2T3:04:05 2026-11-21T08:30 2026-11-21T8:30:15
2026-11-21T24:00:00 2026-11-21T08:60:00 2026-11-21T08:30:60 2026-11-21T08:30:15+24:00 2026-11-21T08:30:15+5 2026-11-21T08:30:15-05
2026-11-21T08:30:15.1234567 2026-11-21T08:30:15. 2026-11-21T08:30:15.000000Z
! & * !a &a *a # #a a# a#b - -a -- --- ---a ... ...a ? ?a : :a a: a:b ::a , a,b [ [] {} [a] {a} } ] | > |- >+ ' " '' "" % %a @ @a ` `a \\ a\\b /
100% a@b.c http://example.com/a?b=c#d C:\\dir key:value 'quoted' "quoted" it's say"hi" a'b"c
99999999999999999999 -99999999999999999999 0.1 1e400 123456789012345678901234567890.5
""".split()

TEXTS = WORDS + [
    "", " ", "  ", "\t", "\n", "\r", "\r\n", "\n\n", "\0", "a\0b", "\x01", "\x07\x08\x0b\x0c\x1b", "\x7f", "\x80", "\x85", "\xa0",
    "\u2028", "\u2029", "\ufeff", "\ufeffa", "\ufffe", "\uffff", "\ufffd", "\U0010ffff", "\U0001f389", "\ue000", "\ud7ff",
    "a\x85b", "a\u2028b", "a\u2029b", "h\xe9llo w\xf6rld \U0001f389", "\u65e5\u672c\u8a9e", "\u0627\u0644\u0639", "e\u0301",
    " a", "a ", " a ", "\ta", "a\t", "a\tb", "\na", "a\n", "a\nb", "a\n\nb", "a \nb", "a\n b", "a\r\nb", "a\rb", "a\n\n\n", "\n\na",
    "- ", "- a", "-\ta", "a - b", "? ", "? a", ": ", ": a", "a: b", "a : b", "a:", "a:\tb", "a #b", "a# b", "# a", "a, b", "[a, b]",
    "{a: b}", "'", "''", "a'", "'a", "a 'b' c", '"', '"a"', 'a "b" c', "\\", "\\n", "a\\ b", "!tag a", "&anchor a", "*alias a",
    "--- a", "... a", "---\na", "%YAML 1.1", "| a", "> a", "a | b", "key: 'value'", "null ", " null", "1 ", " 1", "1 000", "true\n",
    "2026-11-21 08:30:15", "2026-11-21 08:30:15+00:00", "2026-11-21 08:30:15.123456 +2:30", "2026-11-21  08:30:15  Z",
    "2026-11-21 08:30:15.123456-05:30", "2026-11-21 8:30:15 -5", "2026-11-21 08:30", "<b>bold</b> & </script>",
    "x" * 79, "x" * 80, "x" * 81, "x" * 200, "word " * 40, "word  " * 40, " " * 100, "a" + " " * 100 + "b", "it's " * 40,
    "\xe9t\xe9 " * 40, "\xe9" * 60, "a\n" * 60, "line one\nline two " * 12, "tab\tand space " * 20, "'" * 100, '"' * 100, "\\" * 100,
    "\n" * 5 + "x" * 90 + " y", "a" * 78 + " b c", "a" * 79 + " b c", "a" * 80 + " b c", "a" * 81 + "  b c", "a" * 77 + "\xe9 b",
    "x" * 85 + " ", " " + "x" * 85, "\n".join("x" * n for n in range(70, 90)), "key: " * 30, "#" * 90, "- " * 60,
    "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n    g()\n    ~^^\nValueError: \u00e9 'x'\n",
    json.dumps({"a": [1, 2, {"b": "c" * 70}], "d": "e f" * 20}), "SELECT *\n  FROM t\n WHERE a = 'b';\n",
]

VALUES = [
    None, True, False, 0, 1, -1, 10**30, -(10**30), 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64,
    0.0, -0.0, 1.0, -1.5, 0.1, 1e15, 1e16, 1e17, 1.5e17, 123456789012345680.0, 1e-4, 1e-5, 1.5e-7, 5e-324, 1.7976931348623157e308,
    math.inf, -math.inf, math.nan, b"", b"a", b"\0\xff\xfe\x80", bytes(range(256)), b"x" * 57, b"x" * 58,
    datetime.date(2026, 2, 28), datetime.date(1, 1, 1), datetime.datetime(2026, 11, 21, 8, 30, 15),
    datetime.datetime(2026, 11, 21, 8, 30, 15, 123456), datetime.datetime(2026, 11, 21, 8, 30, 15, 5, UTC),
    datetime.datetime(2026, 11, 21, 8, 30, 15, 0, UTC), datetime.datetime(1, 1, 1),
    datetime.datetime(2026, 11, 21, 8, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=5, minutes=30))),
    datetime.datetime(2026, 11, 21, 8, 30, tzinfo=datetime.timezone(-datetime.timedelta(hours=3, minutes=30))),
    [], {}, set(), [[]], [{}], [[], {}, set()], {"a": []}, {"a": {}}, {"a": set()}, [[[[1]]]], [[1, [2, [3]]], 4], {"a": {"b": {"c": [1, {"d": 2}]}}},
    [[1, 2], {"a": [3, [4]]}, "x"], {"list": [1, 2], "map": {"k": "v"}, "set": {"b", "a"}, "bytes": b"hello", "none": None},
    {1: "a", 2: "b", 10: "c"}, {2: 1, -1: 2, 1.5: 3}, {True: 1, 0: 2}, {None: 1}, {None: 1, "a": 2, 3: 4}, {"b": 1, 2: 2, "a": 3},
    {b"b": 1, b"a": 2}, {1.5: 1, -0.5: 2}, {datetime.date(2026, 1, 2): 1, datetime.date(2025, 1, 2): 2},
    {datetime.datetime(2026, 1, 2): 1}, {10**30: 1, 5: 2}, {"": 1}, {"": {"": [""]}}, {"a b": 1, "c: d": 2, "#": 3, "\n": 4, "\xe9": 5},
    {"x" * 122: 1}, {"x" * 123: 1}, {"x" * 200: [1, {"y" * 200: 2}]}, {"\xe9" * 122: 1}, {"\xe9" * 123: 1}, {"a\nb": {"c\nd": [1]}}, {"a\x85b": 1},
    {"yes": "no", "1": "2", "null": "~", "<<": "<<", "=": "="}, {"B": 1, "a": 2, "A": 3, "b": 4, "\U0001f389": 5, "\uffff": 6},
    {1, 2, 3}, {"b"}, {None}, [{1}, {"a": {2}}], {"k": {"": 1}, "l": {"x" * 130: {"z" * 130: "w" * 130}}},
    [b"a", [b"b" * 100], {"k": b"c" * 60}], [["a\nb", ["c\nd", {"e": "f\ng"}]]], {"a": [[["deep " * 30]]]}, ["word " * 30, ["word " * 30]],
    {"k": "word " * 30, "l": {"m": "w\xf6rd " * 30}}, [[[[[[[[[["it's a word " * 12]]]]]]]]]],
    {"status": "SUCCESS", "result": 5, "traceback": None, "children": [[["id", None], None]], "args": [2, 3], "kwargs": {"n": 1}},
]
deep = "end"
for _ in range(60):
    deep = [deep, "word " * 20, {"k": "it's " * 30}]
VALUES.append(deep)

# Documents that safe_dump would not write in this form.
DOCUMENTS = [
    "", "# only a comment\n", "---\n", "--- a\n", "--- a\n...\n", "a", "'a'", "\"a\"", "| \n a\n b\n", ">\n a\n b\n\n c\n", ">-\n a\n  b\n", "|+\n a\n\n",
    "a: 1\na: 2\n", "{a: 1, b: [x, y], c: {d: e}}", "[a, b, ]", "{a, b}", "[a: 1, b: 2]", "? a\n: b\n? c\n", "{? a : b}", "- \n- a\n-\n",
    "a:\n- 1\n- 2\n", "a:\n  - 1\n  - 2\n", "a: &x [1, 2]\nb: *x\n", "&a a: &b b\n*b : *a\n", "- &x {a: 1}\n- *x\n- *x\n",
    "base: &b {a: 1, b: 2}\nd:\n  <<: *b\n  b: 3\n", "x: &x {a: 1}\ny: &y {a: 2, b: 2}\nz: {<<: [*x, *y], c: 3}\n",
    "x: &x {a: 1}\ny: &y {<<: *x, b: 2}\nz: {<<: *y, a: 0}\n", "<<: {a: 1}\na: 2\n", "a: 2\n<<: {a: 1, b: 3}\n", "\"<<\": {a: 1}\n", "<<: []\na: 1\n",
    "<<: 1\n", "<<: [1]\n", "[<<]", "[=]", "{=: 1}", "= : 1\n",
    "!!str 1", "!!int '1'", "!!int 0x1f", "!!float 1", "!!float '1e3'", "!!bool yes", "!!null x", "!!binary aGVsbG8=", "!!binary |\n  aGVs\n  bG8=\n",
    "!!binary 'a'", "!!binary ''", "!!set {a, b}", "!!set {a: 1}", "!!omap [a: 1, b: 2]", "!!pairs [a: 1, a: 2]", "!!omap [a]", "!!omap {}", "!!set []",
    "!!seq [1]", "!!map {a: 1}", "!!seq {}", "!!map []", "!!timestamp 2026-11-21", "!!timestamp x", "!!int x", "!!bool maybe", "!!str", "! 12", "! '12'", "! [1]",
    "!<tag:yaml.org,2002:str> 1", "!<tag:yaml.org,2002:int> 1", "%YAML 1.1\n---\na\n", "%TAG !e! tag:yaml.org,2002:\n---\n!e!str 1\n",
    "!foo bar", "!!foo bar", "!!python/tuple [1]", "!!python/object/apply:os.system ['true']", "!!python/name:os.system ''",
    "a: b: c\n", "a\nb: c\n", "[", "]", "{", "\"", "'", "&a", "*a", "!", "%", "@", "`", "a: [", "- a\nb", "--- a\n--- b\n", "a\n---\nb\n", "&a [*a]", "{[a]: b}", "{{a: 1}: b}",
    "? - a\n: b\n", "\ta: 1\n", "a:\t1\n", "a: 1\t\n", "- a\n - b\n", "a: 'b\n  c'\n", "a: \"b\\\n  c\"\n", "a: b\n  c\n  d\n", "a: \"\\x41\\u00e9\\U0001F389\\/\\e\\0\\N\\_\\L\\P\"\n",
    "a: \"\\q\"\n", "a: 'it''s'\n", "a: \"x\\ty\"\n", "a: # comment\n  b\n", "a: b # comment\n", "a: b#c\n", "# c\n\n- a # d\n# e\n- b\n", "\ufeffa: 1\n", "a: |\n  x\n   y\n\n  z\n",
    "a: |2\n    x\n", "a: >\n  x\n  y\n\n  z\n", "a: |-\n  x\n", "a: >+\n  x\n\nb: 1\n", "{a: b, 'c': \"d\", e: }", "{a:1}", "{a: 1,b: 2}", "{\"a\":1}", "[a,b]", "[-1, - 1]",
    "[a b, c d]", "http://example.com: x\n", "a: http://example.com\n", "a: x:y\n", "a: -\n", "a: - b\n", "a: ?\n", "a: :\n", "a: ~\n", "~: a\n", "null: a\n", "a: NULL\n",
    "1: a\n1.0: b\n", "1: a\ntrue: b\n", "0x10: a\n16: b\n", "'1': a\n1: b\n", "2026-01-01: a\n", "yes: a\n", "{1: {2: {3: 4}}}", "a: {b: 1, 2: {c: 3, 4: 5}}\n", "? |\n  block key\n: - one\n  - two\n",
    "- - - a\n    - b\n  - c\n- d\n", "a:\n    b:\n        c: 1\n    d: 2\n", "a: 1\r\nb: 2\r\n", "a\x85b", "a: \"b\u2028c\"\n", "a: b\u00a0c\n", "\u00e9: \u00fc\n",
    "+12", "12_3", "0o14", "1e3", "1.e+3", "1.5e3", "685_230.15", "6.8523015e+5", "+.5", "-.5", "0.", "-0.0", "+0", "-0", "0_0", "-0x_f", "1:2:3", "-1:30", "1:30.5",
]


def golden(document, value):
    return json.dumps({"yaml": document, "value": typed(value)})


def dumps(value):
    document = yaml.safe_dump(value)
    return golden(document, yaml.safe_load(document))


def loads(document):
    try:
        value = yaml.safe_load(document)
    except Exception as exc:  # what PyYAML raises is not always a YAMLError
        return json.dumps({"yaml": document, "error": type(exc).__name__})
    try:
        return golden(document, value)
    except RecursionError:
        return json.dumps({"yaml": document, "error": "RecursionError"})


PIECES = [" ", "  ", "\n", "'", '"', ":", ": ", "#", " #", "-", "a", "b", "word ", "\xe9", "\t", "\x85", "\u2028", "\U0001f389", "\\", "x" * 30, "12", ".", ",", "[", "{", "!", "%", "\0"]


def random_value(rng, depth=0):
    kind = rng.randrange(14 if depth < 5 else 9)
    if kind < 4:
        return "".join(rng.choice(PIECES) for _ in range(rng.choice([1, 2, 3, 5, 40])))
    if kind == 4:
        return rng.choice([None, True, False])
    if kind == 5:
        return rng.randrange(-(10 ** rng.choice([1, 5, 20, 40])), 10 ** rng.choice([1, 5, 20, 40]))
    if kind == 6:
        return rng.choice([rng.random(), rng.uniform(-1e20, 1e20), 10.0 ** rng.randrange(-300, 300)])
    if kind == 7:
        return bytes(rng.randrange(256) for _ in range(rng.choice([0, 1, 10, 100])))
    if kind == 8:
        return rng.choice([v for v in VALUES if isinstance(v, datetime.date)])
    if kind < 11:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(5))]
    if kind < 13:
        return {random_key(rng): random_value(rng, depth + 1) for _ in range(rng.randrange(5))}
    return {random_key(rng) for _ in range(rng.randrange(4))} - {None}


def random_key(rng):
    while True:
        key = random_value(rng, 9)
        if not isinstance(key, float) or rng.random() < 0.1:
            return key


def read():
    for line in sys.stdin:
        document = base64.b64decode(line).decode()
        try:
            print(json.dumps({"value": typed(yaml.safe_load(document))}))
        except Exception as exc:
            print(json.dumps({"error": repr(exc)}))


def main():
    if sys.argv[1:] == ["read"]:
        return read()
    for text in TEXTS:
        print(dumps(text))
        print(dumps({"key": [text], text: {"nested": text}}))
    for value in VALUES:
        print(dumps(value))
        print(dumps({"key": value}))
    for document in WORDS + DOCUMENTS:
        print(loads(document))
        print(loads("- " + document.replace("\n", "\n  ").rstrip(" ")))
    rng = random.Random(20261121)
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 300):
        print(dumps(random_value(rng)))


main()
