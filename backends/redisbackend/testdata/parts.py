"""Writes parts.jsonl: what Celery's Redis backend keeps of chords.

Run with celery[redis]==5.6.3, kombu==5.6.2, PyYAML and msgpack, and the URL of an
empty Redis database:

    python parts.py redis://127.0.0.1:6379/0 > parts.jsonl
"""
import base64
import datetime
import json
import sys
import types

import celery
import kombu
from celery import Celery

URL = sys.argv[1]

# task id, group_index, state, result
PARTS = [
    ("part-0", 0, "SUCCESS", 5),
    ("part-1", 1, "SUCCESS", {"a": [1, 2.5, None, True], "b": "zwölf"}),
    ("part-2", 2, "FAILURE", ValueError("no", 7)),
    ("part-3", None, "SUCCESS", "last"),
]


def b64(value):
    return base64.b64encode(value).decode() if value is not None else None


def run(serializer, ordered, prefix):
    app = Celery("parts", backend=URL, set_as_current=False)
    app.conf.update(result_serializer=serializer, accept_content=[serializer],
                    result_backend_transport_options={"result_chord_ordered": ordered, "global_keyprefix": prefix})
    backend = app.backend
    client = backend.client
    client.flushdb()
    gid = "chord-of-" + serializer
    backend.add_to_chord(gid, None)
    for tid, index, state, result in reversed(PARTS):
        request = types.SimpleNamespace(id=tid, group=gid, group_index=index, chord=None)
        backend.on_chord_part_return(request, state, result)
    # Only now, so that Celery does not find the chord complete and remove it.
    backend.set_chord_size(gid, len(PARTS) - 1)
    keys = {}
    for key in sorted(client.keys("*")):
        kind = client.type(key).decode()
        if kind == "zset":
            value = [[b64(m), str(s)] for m, s in client.zrange(key, 0, -1, withscores=True)]
        elif kind == "list":
            value = [b64(m) for m in client.lrange(key, 0, -1)]
        else:
            value = b64(client.get(key))
        keys[key.decode()] = {"type": kind, "ttl": client.ttl(key), "value": value}
    client.flushdb()
    print(json.dumps({"serializer": serializer, "ordered": ordered, "prefix": prefix, "group_id": gid, "keys": keys}))


print(json.dumps({"celery": celery.__version__, "kombu": kombu.__version__, "python": sys.version.split()[0]}))
for serializer in ("json", "pickle", "yaml", "msgpack"):
    run(serializer, True, "")
run("json", False, "")
run("json", True, "shop")
