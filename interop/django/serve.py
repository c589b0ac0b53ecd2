"""Does what it is told with Django's ORM and Celery's django-db backend.

Standard input: one JSON object a line, {"do": name, …arguments}. Standard
output: one line for each, {"answer": …} or {"error": {"type", "text",
"traceback"}}. It ends with its input. Arguments that are Python values are
written as Python: "(1, 'two', Decimal('3.50'))". shop/settings.py says how to
choose the database.
"""
import atexit
import contextlib
import datetime
import decimal
import html
import json
import os
import sys
import threading
import traceback as tracebacks
import uuid

import django
from shop.celery import app

django.setup()
app.loader.import_default_modules()

from celery import chord  # noqa: E402
from celery.app.task import Context  # noqa: E402
from celery.app.trace import trace_task  # noqa: E402
from celery.contrib.testing.worker import start_worker  # noqa: E402
from celery.exceptions import TaskRevokedError  # noqa: E402
from celery.result import AsyncResult, GroupResult, result_from_tuple  # noqa: E402
from celery.utils.saferepr import saferepr  # noqa: E402
from celery.worker import state as worker_state  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.cache import caches  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.db.migrations.executor import MigrationExecutor  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import setup_test_environment  # noqa: E402
from django.urls import reverse  # noqa: E402
from django.utils import timezone  # noqa: E402
from django_celery_results.models import ChordCounter, TaskResult  # noqa: E402
from django_celery_results.models import GroupResult as GroupRow  # noqa: E402
from plain import plain  # noqa: E402
from shop import tasks as shop_tasks  # noqa: E402
from shop.errors import QuotaExceeded  # noqa: E402

NAMES = {
    "datetime": datetime,
    "Decimal": decimal.Decimal,
    "UUID": uuid.UUID,
    "QuotaExceeded": QuotaExceeded,
    "TaskRevokedError": TaskRevokedError,
    "nan": float("nan"),
    "inf": float("inf"),
}
MODELS = {"task": TaskResult, "group": GroupRow, "chord": ChordCounter}

commands = {}


def command(function):
    commands[function.__name__] = function
    return function


def value_of(text):
    return eval(text, dict(NAMES))


# Tables


@command
def migrate(label=None):
    """Runs Django's migrations, of one application or of all."""
    call_command("migrate", *([label] if label else []), verbosity=0, interactive=False)


@command
def createcachetable():
    """Makes the tables of the caches that have one."""
    call_command("createcachetable", verbosity=0)


@command
def cache_fill(prefix, n):
    """Stores n numbers in the default cache, under the prefix and their own."""
    for i in range(n):
        caches["default"].set(f"{prefix}{i}", i)


@command
def cache_count(prefix, n):
    """How many of those are there, and right."""
    return sum(caches["default"].get(f"{prefix}{i}") == i for i in range(n))


@command
def http(path):
    """What the views of django-celery-results answer: a status, and the JSON."""
    answer = Client(raise_request_exception=False).get(path)
    try:
        body = plain(json.loads(answer.content))
    except ValueError:
        body = None
    return {"status": answer.status_code, "body": body}


@command
def unapplied(label):
    """Names the application's migrations that Django would still run."""
    executor = MigrationExecutor(connection)
    targets = [node for node in executor.loader.graph.leaf_nodes() if node[0] == label]
    return [migration.name for migration, _ in executor.migration_plan(targets)]


@command
def schema():
    """Describes the tables as Django sees them: columns, with the field that
    inspectdb would make of each, and constraints."""
    with connection.cursor() as cursor:
        return {model._meta.db_table: describe(cursor, model) for model in MODELS.values()}


def describe(cursor, model):
    table, introspection = model._meta.db_table, connection.introspection
    columns = {
        column.name: [*field_of(column), "null" if column.null_ok else "not null", column.default]
        for column in introspection.get_table_description(cursor, table)
    }
    constraints = introspection.get_constraints(cursor, table).values()
    kinds = ("primary_key", "unique", "index", "check")
    return {
        "columns": columns,
        "constraints": [
            {"columns": c["columns"] or [], "kinds": [kind for kind in kinds if c[kind]]}
            for c in constraints
        ],
    }


def field_of(column):
    kind = connection.introspection.get_field_type(column.type_code, column)
    kind, options = kind if isinstance(kind, tuple) else (kind, {})
    size = column.internal_size or column.display_size
    return kind, options.get("max_length", size if kind == "CharField" else None)


# Results


@command
def read(id):
    """Reads the task through AsyncResult."""
    result = AsyncResult(id, app=app)
    answer = {
        "state": result.state,
        "ready": result.ready(),
        "canon": plain(result.result),
        "repr": repr(result.result),
        "traceback": result.traceback,
        "children": plain(result.children),
        "raised": raised(result) if result.ready() else None,
    }
    for name in ("name", "args", "kwargs", "worker", "date_done", "retries", "queue"):
        answer[name] = plain(getattr(result, name))
    answer["meta"] = plain(app.backend.get_task_meta(id, cache=False))
    return answer


def raised(result):
    """Describes what get raises, and what an except clause could name."""
    try:
        result.get(timeout=10, propagate=True)
    except Exception as exc:
        return {
            "type": type(exc).__qualname__,
            "module": type(exc).__module__,
            "args": plain(exc.args),
            "text": str(exc),
            "bases": [f"{cls.__module__}.{cls.__qualname__}" for cls in type(exc).__mro__[1:]],
        }
    return None


@command
def evaluate(value):
    """Returns the value as it reads."""
    value = value_of(value)
    return {"canon": plain(value), "repr": repr(value)}


@command
def rows(id, model="task"):
    """Returns the rows of the id, column by column."""
    column = "task_id" if model == "task" else "group_id"
    return plain(list(MODELS[model].objects.filter(**{column: id}).values()))


@command
def store(id, state, value, traceback=None, request=None):
    """Stores a result as a worker does. The request is a mapping in Python of
    what Celery's has, with children as result tuples."""
    fields = value_of(request or "{}")
    fields = {"id": id, "delivery_info": {}, **fields}
    children = fields.pop("children", [])
    for name in ("args", "kwargs"):
        if name in fields:
            fields.setdefault(f"{name}repr", saferepr(fields[name], app.amqp.argsrepr_maxsize))
    context = Context(fields)
    context.children.extend(result_from_tuple(child, app) for child in children)
    app.backend.store_result(id, value_of(value), state, traceback=traceback, request=context)


@command
def run(id, task, args="()", kwargs="{}", **options):
    """Sends the task and works on the queue until it is empty, with what a
    worker runs tasks with. Returns the ids that ran."""
    app.tasks[task].apply_async(value_of(args), value_of(kwargs), task_id=id, **options)
    return [work(message) for message in sent() if not message.headers["eta"]]


def sent():
    """Takes the messages out of the queue."""
    with app.connection_for_read() as link:
        queue = app.amqp.queues["celery"](link.default_channel)
        queue.declare()
        while message := queue.get(no_ack=True):
            yield message


def work(message):
    args, kwargs, embed = message.decode()
    request = {
        **message.headers, **embed, "args": args, "kwargs": kwargs, "hostname": "worker@shop",
        "delivery_info": {"routing_key": message.delivery_info["routing_key"]}, "is_eager": False,
    }
    trace_task(app.tasks[request["task"]], request["id"], args, kwargs, request, app=app)
    return request["id"]


# A worker, and those who wait

waiting = {}


@command
def worker():
    """Starts a worker, which ends with this program."""
    running = contextlib.ExitStack()
    running.enter_context(start_worker(app, pool="solo", loglevel="critical", perform_ping_check=False))
    atexit.register(running.close)


@command
def send(id, task, args="()", kwargs="{}", revoked=False):
    """Sends the task to the worker, which finds it revoked if that is said."""
    if revoked:
        worker_state.revoked.add(id)
    app.send_task(task, value_of(args), value_of(kwargs), task_id=id)


@command
def release():
    """Lets the tasks go on that hold."""
    shop_tasks.released.set()


@command
def expect(id, seconds=30):
    """Begins to wait for the result, as a program does that calls get."""
    def wait():
        try:
            answer["canon"] = plain(AsyncResult(id, app=app).get(timeout=seconds))
        except Exception as exc:
            answer["raised"] = [type(exc).__qualname__, plain(exc.args)]

    answer = {}
    thread = threading.Thread(target=wait, daemon=True)
    waiting[id] = thread, answer
    thread.start()


@command
def expected(id):
    """Returns what expect has waited for."""
    thread, answer = waiting.pop(id)
    thread.join()
    return answer


@command
def forget(id):
    AsyncResult(id, app=app).forget()


@command
def expire(id, seconds, model="task"):
    """Makes the row as old as that."""
    column = "task_id" if model == "task" else "group_id"
    past = timezone.now() - datetime.timedelta(seconds=seconds)
    return MODELS[model].objects.filter(**{column: id}).update(date_done=past)


@command
def cleanup():
    """Runs Celery's backend_cleanup."""
    app.tasks["celery.backend_cleanup"]()


# The admin


@command
def admin(id, texts):
    """Opens the row's change page and searches the change list, and tells
    which of the texts the change page shows."""
    client = Client()
    client.force_login(superuser())
    row = TaskResult.objects.get(task_id=id)
    change = client.get(reverse("admin:django_celery_results_taskresult_change", args=[row.pk]))
    found = client.get(reverse("admin:django_celery_results_taskresult_changelist"), {"q": id})
    page = html.unescape(change.content.decode())
    return {
        "change": change.status_code,
        "list": found.status_code,
        "found": [item.task_id for item in found.context["cl"].result_list],
        "shown": [text for text in texts if text in page],
    }


def superuser():
    users = get_user_model().objects
    return users.filter(username="ann").first() or users.create_superuser("ann")


# Groups and chords


@command
def save_group(id, members, parent=None):
    """Saves a group of result tuples."""
    parent = result_from_tuple(parent, app) if parent else None
    group = GroupResult(id, [result_from_tuple(member, app) for member in members], parent=parent, app=app)
    group.save(backend=app.backend)


@command
def restore_group(id):
    group = GroupResult.restore(id, backend=app.backend, app=app)
    return plain(group)


@command
def delete_group(id):
    app.backend.delete_group(id)


@command
def start_chord(id, tasks, size=None):
    """Makes the counter of a chord as its sender does."""
    body = app.signature("shop.tasks.total")
    body["chord_size"] = size
    app.backend.apply_chord((id, [AsyncResult(task, app=app) for task in tasks]), body)


@command
def chord_part(id, task):
    """Counts one task as finished as its worker does, and returns the calls
    that were sent when it was the last: [task, arguments]."""
    request = Context({"id": task, "group": id, "chord": app.signature("shop.tasks.total")})
    app.backend.on_chord_part_return(request, "SUCCESS", None)
    return [[message.headers["task"], plain(message.decode()[0])] for message in sent()]


@command
def send_chord(members, body_id):
    """Sends a chord of [task, arguments, id, queue] and returns its group's id."""
    header = [
        app.signature(task, args=tuple(args)).set(task_id=id, queue=queue)
        for task, args, id, queue in members
    ]
    body = app.signature("shop.tasks.total").set(task_id=body_id)
    return chord(header, app=app)(body).parent.id


@command
def take(queue):
    """Takes one message out of a queue, for a worker that is not Python's."""
    with app.connection_for_read() as link:
        bound = app.amqp.queues[queue](link.default_channel)
        bound.declare()
        message = bound.get(no_ack=True)
        args, _, embed = message.decode()
        headers = message.headers
        return {
            "id": headers["id"], "args": args, "group": headers["group"],
            "index": headers.get("group_index"), "chord": embed["chord"],
        }


@command
def serve_later():
    """Hands what lies in the queue "later" to the worker."""
    with app.connection_for_write() as link:
        bound = app.amqp.queues["later"](link.default_channel)
        bound.declare()
        producer = app.amqp.Producer(link)
        while message := bound.get(no_ack=True):
            properties = {
                name: message.properties[name]
                for name in ("correlation_id", "reply_to") if name in message.properties
            }
            producer.publish(
                message.body, routing_key="celery", headers=message.headers,
                content_type=message.content_type, content_encoding=message.content_encoding,
                serializer=None, **properties,
            )


@command
def send_body(body, results):
    """Sends the body of a chord."""
    app.signature(body).apply_async((results,))


def reply_to(line):
    try:
        request = json.loads(line)
        return json.dumps({"answer": commands[request.pop("do")](**request)})
    except Exception as exc:
        error = {"type": type(exc).__name__, "text": str(exc), "traceback": tracebacks.format_exc()}
        return json.dumps({"error": error})


def main():
    setup_test_environment()  # the admin's pages tell what they list
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints must not disturb the replies
    for line in sys.stdin:
        print(reply_to(line), file=replies, flush=True)


if __name__ == "__main__":
    main()
