"""The laws of seats, of events that have some: from the answers alone, of the records, and of what an answer shows.

Several seats of one operation are taken or given back at once; the state is a map from seats to the open order or hold.
Versions decide the places in the order, as they do without seats, so nothing is searched for here either.
"""
