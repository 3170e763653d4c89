"""What the office needs of its surroundings: gunicorn, gevent, files, metrics, logs."""
