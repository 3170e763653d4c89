"""A check for schemathesis: an answer's ``code`` is among those that the description lists for its route and status.

The schema of a problem is one for all, so that generated clients have one type; the codes stand in the examples.
"""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.check
def code_is_listed(ctx: Any, response: Any, case: Any) -> None:
    if response.status_code < 400:
        return
    answer = case.operation.definition.raw["responses"].get(str(response.status_code))
    if answer is None:  # such as 405: another check's business
        return
    listed = answer["content"]["application/problem+json"]["examples"]
    said = response.json()
    assert said["code"] in listed, f"{said['code']} is not among {sorted(listed)}"
    assert said["status"] == response.status_code
