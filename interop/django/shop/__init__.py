"""A Django project with Celery, as small as one can be that has
django-celery-results and the admin."""
from .celery import app as celery_app

__all__ = ["celery_app"]
