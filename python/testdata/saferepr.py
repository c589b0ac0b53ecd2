"""Writes saferepr.jsonl: what celery.utils.saferepr makes of values.

Run it with Python 3.11 or later in a virtual environment that holds
celery==5.6.3:

    python saferepr.py > saferepr.jsonl

Each line is an object with the fields
  expression  the value, in Python
  maxlen      the argument of saferepr
  saferepr    its text
  repr        what repr says
"""

import json

from celery.utils.saferepr import saferepr

# A text of its own is what Celery passes along unshortened with maxlen 1024.
WHOLE = [
    "()", "[]", "{}", "set()", "frozenset()", "(1,)", "(2, 3)", "[1, 2, 3]", "{'a': 1, 'b': 2}", "('a', None, True, False)",
    "(1.0, 1e-07, 1e+16)", "(float('nan'), float('inf'))", "2**70", "-5", "(1+2j)", "{1}", "frozenset({1})",
    "[Decimal('1.50')]", "[uuid.UUID(int=1)]", "[date(2026, 2, 28)]", "[datetime(2026, 2, 28, 8, 30)]",
    "[time(23, 59)]", "[timedelta(1)]", "(ValueError('no', 1),)", "'é日本 🎉'", "'say \"hi\"'", "b'abc'",
    # The fourth level is not shown, whatever it holds.
    "[[[1]]]", "[[[[1]]]]", "[[[[]]]]", "[[[()]]]", "[[[(1,)]]]", "[[[(1, 2)]]]", "[[[{}]]]", "[[[{'a': 1}]]]", "[[[{1}]]]",
    "[[[set()]]]", "[[[frozenset({1})]]]", "({'a': [{'b': 1}]},)", "{(1, (2, (3, (4,)))): 1}",
    # Here Celery's text differs from repr: it escapes nothing but quotes.
    "\"it's\"", "'a\\nb'", "'back\\\\slash'", "b'\\xff'", "b\"it's\"",
]

CUT = [
    ("'x'*200", 50), ("('x'*200,)", 50), ("('x'*200, 2)", 50), ("list(range(100))", 30), ("tuple(range(100))", 64),
    ("{'k'*200: 1, 'b': 2}", 50), ("{'a': 'x'*200, 'b': 2}", 50), ("{'a': [1]*100, 'b': [1, 2]}", 50),
    ("[[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7, 8], 3]", 30), ("(10**200, 'x')", 50), ("[{'a': {'b': list(range(100))}}, 1]", 60),
]


def main():
    scope = {}
    exec("import uuid\nfrom datetime import *\nfrom decimal import Decimal", scope)
    for expression, maxlen in [(e, 1024) for e in WHOLE] + CUT:
        value = eval(expression, scope)
        print(json.dumps({"expression": expression, "maxlen": maxlen, "saferepr": saferepr(value, maxlen), "repr": repr(value)}))


main()
