"""``lastseat compare``: guards × stores × worker models × numbers of processes × delays, right or wrong beside fast.

A *cell* is one combination. It is held some times, each a sale of its own under a fresh gunicorn on an empty store
(``experiment.run``: real buyers, the verdict, ``kill -9``, the audit read again), and the times of one cell are not
held in a row: cells that are compared with each other form a *block*, which is gone through forwards, then backwards,
then forwards, so that a machine that grows slower meets all of them alike. The medians have bootstrap intervals.

The service's catalogue says which cells there are, and ``matrix`` which come first when there is no time for all. What
was measured once stays in the results folder (``cache``); a compare that was killed goes on there. ``findings`` says in
words what came out, ``heat_map`` and ``page`` show it.

A second table, guard × anomaly (``anomalies``), says what was *seen* to go wrong: in these sales, and in the explorer,
whose schedules can be replayed.
"""
