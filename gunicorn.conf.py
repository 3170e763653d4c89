"""gunicorn reads this where it is started in the checkout; the settings are in ``workers``, which every folder has."""

from workers.gunicorn_conf import *  # noqa: F403
