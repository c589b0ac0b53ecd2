// Package settings makes [celeryresults.Settings] from what Python programs
// have: a Django settings module as data, a file, and the environment.
// Programs that write their settings as a Go literal need none of it.
//
// # Names
//
// Settings have the names that they have in a Django settings module whose
// Celery application calls config_from_object(..., namespace="CELERY"):
// CELERY_RESULT_BACKEND, CELERY_RESULT_EXPIRES and so on, beside CACHES,
// DATABASES and DJANGO_CELERY_RESULTS_TASK_ID_MAX_LENGTH. [Names] lists them.
// Celery's older names (CELERY_TASK_RESULT_EXPIRES) mean the same, and where no
// name begins with CELERY_, Celery's own lower-case names (result_expires) do.
// One setting under two names is an error.
//
// Celery has no settings for several backends in one application. Two more
// names say it: CELERY_RESULT_BACKENDS maps a name to a backend, which is a URL,
// django-db, django-cache, or a table with BACKEND and RESULT_ settings of its
// own; CELERY_TASK_BACKENDS maps a task name or pattern to such a name.
//
// # Unknown names
//
// A name that begins with CELERY_ must be a setting of Celery 5.6, or it is an
// error that names the nearest one. Settings that do not concern results
// (CELERY_BROKER_URL, CELERY_BEAT_SCHEDULE) are accepted and ignored. So is
// every other upper-case name (DEBUG, SECRET_KEY), unless it is CACHES or
// another of our names with a slip in it. Any other name is an error, and so
// is an unknown name inside CACHES and DATABASES. Entries of these two for
// engines of other packages are ignored while no result needs them.
//
// # Values
//
// Null means that the setting isn't given, except where Celery or Django give
// None a meaning: no expiry for CELERY_RESULT_EXPIRES and TIMEOUT, no limit
// for time-outs. Text may stand for any value, since that is all an
// environment variable can hold: numbers, the words true, yes, on, 1 and false,
// no, off, 0, lists separated by commas, and tables as JSON. Durations are
// seconds or text: 36h, P1DT12H, "1 day, 12:00:00", and never.
//
// # Exporting a Django project
//
// This writes what a project really uses, which is the safest start (the file
// holds passwords; create it where only you can read):
//
//	python manage.py shell -v 0 -c "import json; from django.conf import settings as s; print(json.dumps({k: getattr(s, k) for k in dir(s) if k in ('CACHES', 'DATABASES') or k.startswith(('CELERY_', 'DJANGO_CELERY_RESULTS_'))}, default=lambda o: list(o) if isinstance(o, (set, frozenset)) else str(o), skipkeys=True, indent=1))" > settings.json
package settings
