"""Backups seen from here: which jobs a host has, its key, starting a run or a drill, reading what hosts did alone.

The work itself is done on the customer's hosts by ``backups/*.py`` of the kit, which lie there as
``/opt/implops/lib/backup`` and need nothing of us.
"""
