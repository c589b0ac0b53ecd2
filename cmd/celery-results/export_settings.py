"""Prints the settings that decide where and how Celery keeps results, as JSON, for
celery-results check --against. Passwords are left out.

    python manage.py shell -v 0 < export_settings.py
    python export_settings.py --app shop.celery:app
"""
import importlib
import json
import re
import sys


def masked(value):
    if isinstance(value, str):
        return re.sub(r"(://[^/@\s]*?:)[^@\s]*@", r"\1**@", value)
    if isinstance(value, dict):
        return {str(k): "**" if re.search("password|secret|key$", str(k), re.I) and not str(k).startswith("KEY_") else masked(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(v) for v in value]
    if isinstance(value, (int, float, type(None))):
        return value
    if hasattr(value, "total_seconds"):
        return value.total_seconds()
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}"
    return str(value)


NAMES = """result_backend cache_backend result_serializer result_accept_content accept_content result_expires
result_extended result_compression result_backend_transport_options database_url database_table_names
database_table_schemas redis_host redis_port redis_db redis_username""".split()


def versions():
    found = {}
    for name in ("celery", "kombu", "django", "django_celery_results", "redis"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        version = getattr(module, "__version__", None) or getattr(module, "VERSION", "")
        found[name] = version if isinstance(version, str) else ".".join(map(str, version[:3]))
    return found


def export(app_path=""):
    if app_path:
        module, _, attribute = app_path.partition(":")
        app = getattr(importlib.import_module(module), attribute or "app")
    else:
        from celery import current_app as app
    settings = {}
    for name in NAMES:
        value = app.conf.get(name)
        if value is not None or name == "result_expires":
            settings["CELERY_" + name.upper()] = masked(value)
    try:
        from django.conf import settings as django

        configured = django.configured or bool(django.INSTALLED_APPS)
    except Exception:  # there is no Django, or no project of it
        configured = False
    if configured:
        for name in ("CACHES", "DATABASES", "DJANGO_CELERY_RESULTS_TASK_ID_MAX_LENGTH"):
            if hasattr(django, name):
                settings[name] = masked(getattr(django, name))
        for alias, database in settings.get("DATABASES", {}).items():
            try:  # engines of other packages stand for one of Django's
                from django.db import connections

                database["ENGINE"] = connections[alias].vendor
            except Exception:
                pass
            for name in list(database):
                if name not in ("ENGINE", "NAME", "USER", "HOST", "PORT"):
                    del database[name]
    settings["VERSIONS"] = versions()
    return settings


print(json.dumps(export(sys.argv[2] if sys.argv[1:2] == ["--app"] else ""), indent=2, default=str))
