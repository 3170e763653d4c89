"""``lastseat bench``: how many tickets of one hot event are sold a second, and what share of the possible that is.

A rate alone says little: it is of this machine, at this minute, shared with whatever else runs. So every rate is
measured in *pairs* with a ceiling, one short window each, in the order A B B A A B B A: whatever drifts slowly meets
both. The ratio within a pair is what counts; the median over the pairs is given with a bootstrap interval, and beside
it stands the *null pair*, the ceiling against itself, which tells what a ratio is worth here.

The ceiling is the same application, route and worker model with the decision stubbed (``stubbed``): what is missing
to 1 is the price of deciding, excluding and keeping. A bare Flask endpoint (``ceiling``) is measured against it too.

A measure must not lie. The first part of each window is discarded; what the buyers were told is counted over the
whole of it and compared with what the store kept; every answer that is no sale is reported; and the load generator
(``load_process``, a process of its own) says how busy it was, and how fast it is against a server that does nothing.
"""
