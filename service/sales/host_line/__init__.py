"""One line for a whole host: the *combiner*, a process that decides together what the workers of a host are asked for.

``sales.batch`` decides together the commands that wait in one process. Here the workers of one host hand their commands
to one more process, which runs one transaction of the store for all that have come, waits for the disk once, and
answers each. While it waits for the disk the next commands come. It is batching and not exclusion: the combiner runs
its transactions under the guard that acts, like everybody else, so that a worker that decides by itself, a cart, or a
second combiner is excluded by the guard. So no mistake about who the combiner is can sell a ticket twice.

*Who is combined.* Commands under a guard that keeps a host's processes apart (``TransactionManager.combines``).
Under any other guard, and wherever no combiner can be reached, a worker decides by itself: it starts a combiner if
there is none, and does not wait for it.

*The conversation.* The combiner's directory, ``combiner/<fingerprint>`` in the data directory, has a socket
(``SOCK_SEQPACKET``), and whoever holds the flock on the directory is the combiner (``place``). The combiner greets each
connection with the fingerprint (``Hello``). Then a worker sends an ``Ask``: commands for one event, each with the time
at which it came and the time until which it waits. The combiner answers it with ``Answers``, one for each command:

- ``Decided`` or ``Refused``: the decision, where its milliseconds went, and the epoch that it was decided under;
- ``Failed``: the problem for which it was not decided, definite or not;
- ``Again``: another guard acts by now; nothing was written, and the worker decides.

*Definite means definite.* Before the last packet of an ``Ask`` was sent nothing can have been decided. From then on
only the combiner's word is definite:

- Silence past the deadline is ``outcome_unknown``, and the combiner is killed, so that its successor serves the next.
- The connection ends, and the combiner's process is seen to have ended (its flock is free then): the commands are
  asked again under the same keys, of the next combiner, or decided by the worker. Its own order, hold or operation
  under the key is the first answer and no replay (``told_again``). A definite problem tells nothing about the first
  time: it is ``outcome_unknown``. So is a refusal where the store is an engine: what the dead combiner sent may still
  arrive there.
- The connection ends, and the combiner lives: ``outcome_unknown``.

*The combiner never waits for a worker.* It sends without blocking, keeps what a worker does not read, up to a bound,
and ends the connection of a worker beyond that. It ignores SIGINT and SIGTERM, and ends by itself when the last
connection has ended.

Known as combining or delegation: D. Hendler et al., "Flat combining and the synchronization-parallelism tradeoff", SPAA
2010; J.-P. Lozi et al., "Remote core locking", ATC 2012; S. Roghanchi et al., "ffwd: delegation is (much) faster than
you think", SOSP 2017.
"""
