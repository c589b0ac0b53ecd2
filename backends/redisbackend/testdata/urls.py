"""Writes urls.jsonl: what Celery's Redis backends make of result_backend URLs.

Run with celery[redis]==5.6.3 and kombu==5.6.2:

    python urls.py > urls.jsonl
"""
import json
import sys

import celery
import kombu
from celery import Celery
from celery.app.backends import by_url

CASES = [
    ("nothing but the scheme", "redis://", {}),
    ("a host", "redis://results.example", {}),
    ("host, port and database", "redis://results.example:6380/3", {}),
    ("a slash behind the database", "redis://results.example/3/", {}),
    ("a password alone", "redis://:secret@results.example/1", {}),
    ("user and password", "redis://user:secret@results.example/1", {}),
    ("percent-encoded credentials", "redis://us%40er:p%2Fw%3F%23%25@results.example/0", {}),
    ("a plus in a password", "redis://:a+b@results.example/0", {}),
    ("characters that Go's url refuses", "redis://:p^w|{}@results.example/0", {}),
    ("a host in capitals", "redis://Results.Example:6379/0", {}),
    ("an IPv6 host", "redis://[2001:db8::1]:6380/2", {}),
    ("the query's database wins", "redis://results.example/3?db=4", {}),
    ("virtual_host is for sockets", "redis://results.example/3?virtual_host=4", {}),
    ("timeouts and connections",
     "redis://results.example/0?socket_timeout=1.5&socket_connect_timeout=2&max_connections=9&retry_on_timeout=yes&health_check_interval=30", {}),
    ("credentials in the query", "redis://results.example/0?username=u&password=p%2Bw", {}),
    ("settings fill what is missing", "redis://", {
        "redis_host": "r.example", "redis_port": 6380, "redis_db": 5, "redis_username": "u", "redis_password": "p",
        "redis_socket_timeout": 7.0, "redis_socket_connect_timeout": 3.0, "redis_max_connections": 11}),
    ("the bare alias", "redis", {"redis_host": "r.example", "redis_port": 6380, "redis_db": 5, "redis_password": "p"}),
    ("the URL goes before settings", "redis://a:b@results.example:1234/2", {
        "redis_host": "r.example", "redis_port": 6380, "redis_db": 5, "redis_username": "u", "redis_password": "p"}),
    ("the query goes before all", "redis://results.example/2?socket_timeout=9", {"redis_socket_timeout": 7.0}),
    ("TLS that checks", "rediss://results.example:6380/1?ssl_cert_reqs=CERT_REQUIRED", {}),
    ("TLS in the short spelling", "rediss://results.example/1?ssl_cert_reqs=required", {}),
    ("TLS that checks nothing", "rediss://results.example/1?ssl_cert_reqs=none", {}),
    ("TLS with files",
     "rediss://results.example/1?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=%2Fetc%2Fca.pem&ssl_certfile=/etc/c.pem&ssl_keyfile=/etc/k.pem", {}),
    ("TLS of redis_backend_use_ssl", "rediss://results.example/1", {
        "redis_backend_use_ssl": {"ssl_cert_reqs": "CERT_OPTIONAL", "ssl_ca_certs": "/etc/ca.pem"}}),
    ("a socket", "redis+socket:///run/redis.sock", {}),
    ("a socket with database and password", "redis+socket://:secret@/run/redis.sock?virtual_host=5", {}),
    ("sentinels", "sentinel://a.example:26379/2;sentinel://b.example:26380/2", {}),
    ("sentinels with credentials", "sentinel://u:secret@a.example:26379/1;sentinel://b.example:26379", {}),
    ("a sentinel without a port", "sentinel://a.example/0", {}),
    # refused
    ("TLS parameters without TLS", "redis://results.example/0?ssl_cert_reqs=none", {}),
    ("TLS settings without TLS", "redis://results.example/0", {"redis_backend_use_ssl": {"ssl_cert_reqs": "none"}}),
    ("a wrong ssl_cert_reqs", "rediss://results.example/0?ssl_cert_reqs=maybe", {}),
    ("a database that is no number", "redis://results.example/results", {}),
    ("a port that is no number", "redis://results.example:port/0", {}),
    ("a wrong timeout", "redis://results.example/0?socket_timeout=soon", {}),
]


def show(value):
    if isinstance(value, type):
        return value.__name__
    if hasattr(value, "name"):  # ssl.VerifyMode
        return value.name
    return value


def parse(url, conf):
    app = Celery("urls", set_as_current=False)
    app.conf.update(conf)
    cls, rest = by_url(url)
    params = dict(cls(app=app, url=rest).connparams)
    params["hosts"] = [[h.get("host"), h.get("port")] for h in params.get("hosts", [])]
    return {k: show(v) for k, v in sorted(params.items()) if v not in (None, [])}


print(json.dumps({"celery": celery.__version__, "kombu": kombu.__version__, "python": sys.version.split()[0]}))
for name, url, conf in CASES:
    line = {"name": name, "url": url, "settings": conf}
    try:
        line["params"] = parse(url, conf)
    except Exception as exc:  # whatever Celery raises at start
        line["error"] = type(exc).__name__
    print(json.dumps(line))
