"""Base data: a customer's file proved, checked row by row, loaded in one transaction and proved equal to the table.

mapping.py   file -> table, read strictly          codec.py   encodings by every name customers use
proof.py     the declared encoding, on every byte   score.py   which codec makes ordinary text of the bytes
rules.py     the mapping as one regular expression  rows.py    blocks of good lines, rejects with line and reason
server.py    the way to the database                target.py  what the table takes
order.py     parents before children                past.py     what is in already, and still there
load.py      one transaction a file, proved before its commit
check.py     one file judged without writing        rejects.py what the customer gets back
"""
