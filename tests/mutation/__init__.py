"""The mutation score of ``implops check``: every check is given its fault and has to say so, and nothing else may.

``faults/TOPIC.py`` holds the faults, a few lines each: what is done to which host, how it is undone, what the check
has to say, and what follows from it. ``recorded.py`` holds those that no host of the lab can have; ``controls.py`` the
values exactly at each limit, where nothing may fire. ``make mutation`` runs everything, and
``PYTHONPATH=tests:tests/lab .venv/bin/python -m mutation --only ID`` the faults of one check.
"""
