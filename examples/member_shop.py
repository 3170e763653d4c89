"""A shop for members, in pages of HTML (Flask on waitress): log in, fill in a form, be led to another page.

    SHOP=wrong python examples/member_shop.py 8080

Every form has a token against forms of other sites. A purchase is answered with a redirection: to the order, or to the
page that says that all is gone. With ``SHOP=wrong`` the lock is left out between looking and selling.
"""

import contextlib
import os
import secrets
import sys
import threading
import time

from flask import Flask, Response, abort, redirect, request, session
from waitress import serve

app = Flask(__name__)
app.secret_key = secrets.token_bytes()
one_at_a_time = threading.Lock() if os.environ.get("SHOP") != "wrong" else contextlib.nullcontext()
stock = {"left": 0}
orders: list[str] = []

FORM = """<form method="post" action="{action}">
<input type="hidden" name="csrf_token" value="{token}"><input name="{field}"><button>go</button></form>"""


def form(action: str, field: str) -> str:
    token = session.setdefault("csrf", secrets.token_urlsafe())
    return FORM.format(action=action, token=token, field=field)


def refuse_forged() -> None:
    if request.form.get("csrf_token") != session.get("csrf"):
        abort(400, "The token of the form is missing.")


@app.post("/admin/stock")
def restock() -> str:
    if request.authorization is None or request.authorization.password != os.environ.get("ADMIN_PASSWORD", "admin"):
        abort(401)
    stock["left"] = int(request.form["left"])
    orders.clear()
    return "done"


@app.get("/login")
def login_page() -> str:
    return form("/login", "member")


@app.post("/login")
def login() -> Response:
    refuse_forged()
    session["member"] = request.form["member"]
    return redirect("/shop")


@app.get("/shop")
def shop() -> str:
    return f"<p>Still there: <b>{stock['left']}</b></p>" + form("/buy", "quantity")


@app.post("/buy")
def buy() -> Response:
    if "member" not in session:
        return redirect("/login")
    refuse_forged()
    with one_at_a_time:
        left = stock["left"]
        if left < 1:
            return redirect("/sold-out")
        time.sleep(0.002)  # somebody else may look now, unless there is a lock
        stock["left"] = left - 1
        orders.append(session["member"])
        return redirect(f"/orders/{len(orders)}")


if __name__ == "__main__":
    serve(app, host="127.0.0.1", port=int(sys.argv[1]), threads=32, _quiet=True)
