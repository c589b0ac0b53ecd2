#!/bin/sh
# Django 5.2.19, SQLAlchemy 2.0.44, SQLite.
#
# SQLAlchemy declares String(155) on SQLite as VARCHAR(155), in capitals. Django's
# introspection finds the length of a column by a pattern of small letters: inspectdb
# makes a CharField without max_length of it, and of varchar(155) one with it. Celery's
# own result tables are declared by SQLAlchemy, so a model that inspectdb makes of them
# has no lengths.
#
# Seen:
#   capital = models.CharField()
#   small = models.CharField(max_length=155)
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check Django==5.2.19 SQLAlchemy==2.0.44
cd "$dir"
cat > seen.py <<'PY'
import io
import sqlalchemy as sa
import django
from django.conf import settings
from django.core.management import call_command

engine = sa.create_engine("sqlite:///results.sqlite3")
meta = sa.MetaData()
sa.Table("results", meta, sa.Column("id", sa.Integer, primary_key=True), sa.Column("capital", sa.String(155), nullable=False))
meta.create_all(engine)
with engine.begin() as c:
    c.exec_driver_sql("ALTER TABLE results ADD COLUMN small varchar(155) NOT NULL DEFAULT ''")
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "results.sqlite3"}})
django.setup()
out = io.StringIO()
call_command("inspectdb", stdout=out)
for line in out.getvalue().splitlines():
    if line.strip().startswith(("capital", "small")):
        print(line.strip())
PY
got=$("$dir/venv/bin/python" seen.py)
echo "$got"
[ "$got" = "capital = models.CharField()
small = models.CharField(max_length=155)" ]
