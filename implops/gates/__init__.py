"""Gates: rules over records that open a phase. Each names what it misses and the way out; none connects or writes.

One gate a file, one function that a verb calls before it changes anything: ``require(store, site, …)`` returns the
record that opens the phase, so that the verb can bind its own run to it, or raises GateRefused (exit 5). The records of
a site stay in its own store, so a rehearsal in the lab opens nothing at a customer's.

    environment.py   G1: nothing is deployed on an environment that has not been checked
    promotion.py     G2: a release was verified where it came from
    change.py        G3: from pre-production on, a change has a number and an approver; the database is saved first
    window.py        changes are made in the customer's hours
    override.py      one gate's refusal passed for one run, with a reason
    imports.py       G4: base data goes into a deployed, backed-up, approved system only
    approval.py      a named person's consent, recorded by ``implops record approve``
"""
