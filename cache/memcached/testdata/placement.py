"""Writes placement-pymemcache.txt and placement-pylibmc.txt beside itself.

They record on which of 3 and of 5 servers the real Python clients put 1000
keys. Run it with the clients installed:

    pip install pymemcache==4.0.0 pylibmc==1.6.3
    python placement.py

pymemcache places by the servers' names, so it is asked without connecting.
pylibmc is asked by having it store each key on small servers of this script,
which note what they are sent; only the servers' order matters to it.
"""

import hashlib
import pathlib
import socketserver
import threading
import uuid

import pylibmc
import pymemcache

HERE = pathlib.Path(__file__).parent
NAMES = [
    "10.0.0.1:11211",
    "cache-2.example:11212",
    "[2001:db8::3]:11213",
    "unix:/run/memcached/4.sock",
    "cache-5.example",
]


def keys():
    """1000 keys of the kinds that applications have, without randomness."""
    for i in range(600):
        digest = hashlib.sha256(str(i).encode()).hexdigest()
        yield f":1:celery-task-meta-{uuid.UUID(digest[:32])}"
    for i in range(200):
        yield f"prefix:{i % 7}:views.decorators.cache.{i}"
    for i in range(1, 151):
        yield ("k%d-" % i + "x" * i)[: i + 1]
    for i in range(50):
        yield f"schlüssel-ключ-鍵-🔑-{i}"


def write(client, version, placed):
    with open(HERE / f"placement-{client}.txt", "w", encoding="utf-8") as out:
        out.write(f"# {client} {version}; servers in order: {' '.join(NAMES)}\n")
        out.write("# key, index among the first 3 servers, index among all 5\n")
        for key, of3, of5 in placed:
            out.write(f"{key}\t{of3}\t{of5}\n")


def pymemcache_index(count):
    client = pymemcache.HashClient(NAMES[:count], allow_unicode_keys=True)
    nodes = list(client.clients)
    return lambda key: nodes.index(client.hasher.get_node(key))


class Recorder(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            verb, key, _flags, _expiry, size = line.split()[:5]
            assert verb == b"set", line
            self.rfile.read(int(size) + 2)
            self.server.seen.add(key.decode())
            self.wfile.write(b"STORED\r\n")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


def pylibmc_index(count):
    servers = [Server(("127.0.0.1", 0), Recorder) for _ in range(count)]
    for server in servers:
        server.seen = set()
        threading.Thread(target=server.serve_forever, daemon=True).start()
    client = pylibmc.Client(["127.0.0.1:%d" % s.server_address[1] for s in servers])

    def index(key):
        client.set(key, b"")
        (found,) = [i for i, s in enumerate(servers) if key in s.seen]
        return found

    return index


def main():
    for name, version, index in [
        ("pymemcache", pymemcache.__version__, pymemcache_index),
        ("pylibmc", pylibmc.__version__, pylibmc_index),
    ]:
        of3, of5 = index(3), index(5)
        write(name, version, [(key, of3(key), of5(key)) for key in keys()])


if __name__ == "__main__":
    main()
