"""The ceiling: the real application with the decision stubbed. Run by gunicorn: ``loadtests.lab.bench.stubbed:app``.

Every line of a purchase runs but those within ``BoxOffice.buy``: routing, validation, keys, fingerprint, the answer
and its headers. So what is missing to this rate is what deciding, excluding and keeping cost, and nothing else.

The lab knows the service over HTTP alone. This module is an exception with a reason: there is no other way to take
one method out of the real application. Nothing of the lab imports it; only a gunicorn worker loads it.
"""

from __future__ import annotations

import os

from service.app import create_app
from service.box_office import BoxOffice, Done, Times
from service.inventory import Record
from service.settings import from_environment

_DONE = Done(
    Record(
        version=1,
        kind="sold",
        key="stub",
        order="o0123456789abcdef",
        quantity=1,
        tickets=(1,),
        remaining=1,
        request="stub",
    ),
    replayed=False,
    times=Times(epoch=1),
)


def _sell_nothing(_office: BoxOffice, _event: str, **_wanted: object) -> Done:
    return _DONE


BoxOffice.buy = _sell_nothing  # type: ignore[assignment,method-assign]
app = create_app(from_environment(os.environ))
