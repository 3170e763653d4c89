"""A shop that is asked in GraphQL (graphql-core, Flask on waitress): every answer has status 200, refusals too.

    SHOP=wrong python examples/graphql_shop.py 8080

With ``SHOP=wrong`` the lock is left out between looking and selling.
"""

import contextlib
import os
import sys
import threading
import time
from typing import Any

from flask import Flask, jsonify, request
from graphql import build_schema, graphql_sync
from waitress import serve

app = Flask(__name__)
one_at_a_time = threading.Lock() if os.environ.get("SHOP") != "wrong" else contextlib.nullcontext()
shows: dict[str, int] = {}
schema = build_schema("""
    type Show { id: ID!, left: Int! }
    type Order { show: Show!, quantity: Int! }
    type Query { show(id: ID!): Show }
    type Mutation { open(id: ID!, tickets: Int!): Show, buy(show: ID!, quantity: Int!): Order }
""")


class Shop:
    def show(self, _: Any, id: str) -> dict[str, Any]:
        return {"id": id, "left": shows[id]}

    def open(self, _: Any, id: str, tickets: int) -> dict[str, Any]:
        shows[id] = tickets
        return self.show(None, id)

    def buy(self, _: Any, show: str, quantity: int) -> dict[str, Any]:
        with one_at_a_time:
            left = shows[show]
            if left < quantity:
                raise ValueError("SOLD_OUT")
            time.sleep(0.002)  # somebody else may look now, unless there is a lock
            shows[show] = left - quantity
            return {"show": {"id": show, "left": left - quantity}, "quantity": quantity}


@app.post("/graphql")
def graphql() -> Any:
    asked = request.json
    result = graphql_sync(schema, asked["query"], Shop(), variable_values=asked.get("variables"))
    return jsonify(result.formatted)


if __name__ == "__main__":
    serve(app, host="127.0.0.1", port=int(sys.argv[1]), threads=32, _quiet=True)
