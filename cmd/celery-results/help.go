package main

const rootHelp = `celery-results reads and writes the results of Celery tasks where Python's Celery
and Django keep them: same stores, same keys, same bytes.

Settings have the names of a Django settings module, in a TOML, YAML or JSON
file (--settings FILE or CELERY_RESULTS_SETTINGS). CELERY_… variables of the
environment override the file. For example:

  CELERY_RESULT_BACKEND = "django-cache"
  CELERY_CACHE_BACKEND  = "default"
  CELERY_RESULT_EXPIRES = "36h"

  [CACHES.default]
  BACKEND  = "redis"
  LOCATION = "redis://127.0.0.1:6379/1"

Results that are to last go into the tables of django-celery-results, those of
some tasks or, with CELERY_RESULT_BACKEND = "django-db", all. The default keeps the
others for a while:

  [CELERY_RESULT_BACKENDS.archive]
  BACKEND         = "django-db"
  RESULT_EXPIRES  = "never"
  RESULT_EXTENDED = true

  [CELERY_TASK_BACKENDS]
  "billing.*" = "archive"

  [DATABASES.default]
  ENGINE = "postgresql"
  NAME   = "shop"
  USER   = "shop"
  HOST   = "127.0.0.1"

Tables of results are made by celery-results migrate, unless Django's migrations
have made them, and those of caches whose BACKEND is "db" by celery-results
createcachetable. What has expired in tables is removed by celery-results cleanup.

Without a file, the environment is enough:

  CELERY_RESULT_BACKEND=cache+memcached://127.0.0.1:11211/ celery-results get ID
  CELERY_RESULT_BACKEND=django-db+postgresql://shop@127.0.0.1/shop celery-results get ID

Data goes to standard output, all else to standard error. With --format json,
each result is one JSON object in a line, with --format kombu, too, but with
types: {"__type__": "decimal", "__value__": "1.50"}. An id that begins with a dash goes
behind two dashes: celery-results get -- -id

Exit statuses:
  0  done; of wait: every task ended with SUCCESS
  1  wait: a task failed or was revoked; or a record can't be read
  2  wrong usage, wrong settings, or a value that can't be stored; of django-db:
     its tables are missing
  3  store: refused, because a final result stands
  4  get, group get: unknown id
  5  wait: timed out
  6  the store can't be reached
When several apply, the highest counts.`

const getHelp = `Prints what is stored of each task. An unknown id prints as PENDING, and the exit
status is 4. A result that can't be decoded prints as null with the reason
beside it, as error, and the exit status is 1.`

const getExample = `  celery-results get 6d0b0b1c-6f0e-4f6e-8f4e-2f0f6f3f5a11
  celery-results get --format json ID1 ID2 | jq .result
  celery-results get ID --backend archive`

const waitHelp = `Prints each task's result as it becomes ready, in the order of readiness.
--timeout is a duration, such as 90s, 5m or 1h30m, or a number of seconds;
without it there is no limit. What is ready by then is printed in any case.

The exit status is 0 when all ended with SUCCESS, 1 when some failed or were
revoked, and 5 when the time was over first.`

const waitExample = `  celery-results wait ID1 ID2 --timeout 30s
  celery-results wait ID --format json | jq -r .result.url`

const storeHelp = `Stores the result of one task, or with --stdin one result a line.

A SUCCESS that stands is never overwritten, a FAILURE or REVOKED only by a ready
state: a store that comes too late is refused, with exit status 3. --override
stores nevertheless.

JSON values are as kombu writes them: integers of any size, NaN and Infinity as
bare words, and {"__type__": "decimal", "__value__": "1.50"} for what JSON does
not have (datetime, date, time, decimal, uuid, bytes, base64). For FAILURE, RETRY and
REVOKED the result is an exception: {"exc_type": "ValueError", "exc_message":
["no such user"], "exc_module": "builtins"}, or any text, which becomes an
Exception of that text.

With --stdin each line is a JSON object with the fields that get prints, task_id
and status at least. get --format kombu keeps the types of values, such as dates
and decimals; --format json turns them into texts. Whether a record comes from a
cache or from tables makes no difference. A bad line is reported by its number, the
others are stored, and the exit status is the highest of all. An unknown field
is an error; stamps are known when stamped_headers lists them.`

const storeExample = `  celery-results store ID --status SUCCESS --result '{"total": 3}'
  celery-results store ID --status FAILURE --result 'disk full'
  celery-results store ID --status PROGRESS --result '{"current": 40, "total": 100}'
  celery-results store ID --status SUCCESS --name shop.add --args '[1, 2]' --result 3
  celery-results get --format kombu ID | celery-results store --stdin --backend archive`

const forgetHelp = `Deletes the results. Ids that are unknown are no error.`

const forgetExample = `  celery-results forget ID1 ID2`

const groupHelp = `Reads, saves and deletes groups: which tasks belong to a group id.`

const groupExample = `  celery-results group save GROUP ID1 ID2 ID3
  celery-results group get GROUP --format json
  celery-results group forget GROUP`

const checkHelp = `Describes the default backend and every named one, and tries each: it stores a
probe under a random id, reads it back, makes sure that a late STARTED is refused,
deletes the probe, and prints what it found and how long it took. Should the
check be interrupted, the probe expires within a minute. For django-db it names the
columns and tables that are absent, and the command that makes them: without them
results are kept all the same, but lists, labels and chords may lack something.

It also compares the settings with what lies in the store, where that shows its keys:
results under another prefix, version or database number, in another serializer, or
with another lifetime are named, and what to do. --against compares with the
settings of a Python project, too, which it writes like this, without passwords:

  celery-results check --export-script > export_settings.py
  python manage.py shell -v 0 < export_settings.py > settings.json

Where there is no manage.py, let the script import the Celery app (--app):

  python export_settings.py --app shop.celery:app > settings.json

The exit status is 0 when every backend works, 6 when one can't be reached, 2
when the settings are wrong or do not match Python's, or a table is missing, and 1
when one keeps something else than was stored. --backend limits the check to one
backend.`

const checkExample = `  celery-results check --settings settings.toml
  celery-results check --backend archive --format json
  celery-results check --against settings.json`
