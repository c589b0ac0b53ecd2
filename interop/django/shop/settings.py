"""Django's settings. The environment says which database to use:

DATABASE_URL       sqlite:////absolute/path, postgres://… or mysql://…
RESULT_SERIALIZER  Celery's result_serializer, json if not set
SETTINGS           a JSON object of settings that count instead of those here
"""
import json
import os
import urllib.parse

import django
import pymysql

pymysql.install_as_MySQLdb()

ENGINES = {
    "sqlite": "django.db.backends.sqlite3",
    "postgres": "django.db.backends.postgresql",
    "postgresql": "django.db.backends.postgresql",
    "mysql": "django.db.backends.mysql",
}


def database(text):
    url = urllib.parse.urlsplit(text)
    if url.scheme == "sqlite":
        # Without IMMEDIATE, SQLite ends a transaction that reads before it writes,
        # as that of a chord's counter, when another process writes meanwhile.
        return {
            "ENGINE": ENGINES[url.scheme] if django.VERSION >= (5, 1) else "shop.immediate",
            "NAME": urllib.parse.unquote(url.path[1:]),
            "OPTIONS": {"transaction_mode": "IMMEDIATE"} if django.VERSION >= (5, 1) else {},
        }
    return {
        "ENGINE": ENGINES[url.scheme],
        "NAME": urllib.parse.unquote(url.path.lstrip("/")),
        "USER": urllib.parse.unquote(url.username or ""),
        "PASSWORD": urllib.parse.unquote(url.password or ""),
        "HOST": url.hostname,
        "PORT": url.port or "",
        "OPTIONS": dict(urllib.parse.parse_qsl(url.query)),
    }


DATABASES = {"default": database(os.environ["DATABASE_URL"])}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
# Not UTC, so that nobody relies on it; but the admin has MySQL convert times,
# which knows no time zones unless somebody loads them.
TIME_ZONE = "UTC" if "mysql" in DATABASES["default"]["ENGINE"] else "Europe/Helsinki"

SECRET_KEY = "for tests only"
ROOT_URLCONF = "shop.urls"
STATIC_URL = "static/"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django_celery_results",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

CELERY_BROKER_URL = "memory://"
CELERY_BROKER_TRANSPORT_OPTIONS = {"polling_interval": 0.01}
CELERY_RESULT_BACKEND = "django-db"
CELERY_RESULT_EXTENDED = True
CELERY_RESULT_SERIALIZER = os.environ.get("RESULT_SERIALIZER", "json")
CELERY_ACCEPT_CONTENT = ["json", "pickle"]
CELERY_TASK_TRACK_STARTED = True
CELERY_TIMEZONE = TIME_ZONE

globals().update(json.loads(os.environ.get("SETTINGS", "{}")))
