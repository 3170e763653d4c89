"""EXAMPLE of a payment provider: no money moves, and whoever opens its page says by themselves that they paid.

    flask --app examples/payment/provider.py run --port 8700

It is what an adapter of a real provider is, with the provider left out: it verifies what the office asks, shows a page,
and tells the office what became of the payment until the office has answered.
"""

import hashlib
import hmac
import json
import os
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from flask import Flask, abort, redirect, render_template_string, request
from werkzeug.wrappers import Response

SHOP = os.environ.get("SHOP", "http://127.0.0.1:8000")
SECRET = Path(os.environ.get("PAY_SECRET_FILE", "data/pay-secret"))

PAGE = """<!doctype html><html lang="en"><meta name="viewport" content="width=device-width">
<title>Example of a payment</title>
<style>body { font: 17px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 30rem; padding: 0 1rem }
button { font: inherit; display: block; width: 100%; margin: .6rem 0; padding: .6rem; cursor: pointer }
strong { display: block; border: 3px solid #a1281d; padding: .6rem }</style>
<h1>Example of a payment</h1>
<strong>This is an example. No money moves here, whatever you press.</strong>
<p>{{ quantity }} ticket{{ "" if quantity == "1" else "s" }} of {{ event }}, set aside until {{ until }}.</p>
<form method="post">{% for each in choices %}<button name="do" value="{{ each }}">{{ each }}</button>{% endfor %}</form>
<p><a href="{{ back }}">Back to the shop without paying</a></p>"""
CHOICES = {"Pay": "paid", "Refuse": "refused", "Pay twice": "paid", "Pay late": "paid"}

app = Flask(__name__)


@app.route("/", methods=["GET", "POST"])
def page() -> Response | str:
    asked, _, signature = request.query_string.partition(b"&signature=")
    if not hmac.compare_digest(signature, sign(b"pay." + asked).encode()):
        abort(403, "This was not asked by the shop: the signature is wrong.")
    args, back = request.args, SHOP + request.args["return"]
    ends = datetime.fromisoformat(args["until"])
    if request.method == "GET":
        until = f"{ends:%H:%M:%S} UTC"
        return render_template_string(
            PAGE, event=args["event"], quantity=args["quantity"], until=until, choices=CHOICES, back=back
        )
    chosen = request.form["do"]
    after_s = max((ends - datetime.now(UTC)).total_seconds(), 0) + 1 if chosen == "Pay late" else 0
    for _ in range(2 if chosen == "Pay twice" else 1):
        told = args["event"], args["hold"], uuid.uuid4().hex, CHOICES[chosen], after_s
        threading.Thread(target=tell, args=told, daemon=True).start()
    return redirect(back, 303)


def tell(event: str, hold: str, payment: str, status: str, after_s: float) -> None:
    """Tell the office until it answers for good: the same payment each time, a new signature each time."""
    time.sleep(after_s)
    body = json.dumps({"payment": payment, "status": status}).encode()
    for pause_s in (1, 2, 4, 8, 16, 32, 64):
        instant = str(int(time.time()))
        signature = sign(f"{instant}.{event}.{hold}.".encode() + body)
        headers = {"Content-Type": "application/json", "Last-Seat-Signature": f"{instant}.{signature}"}
        try:
            with urlopen(Request(f"{SHOP}/events/{event}/holds/{hold}/paid", body, headers), timeout=30):
                return app.logger.warning("payment %s: the shop knows that it was %s", payment, status)
        except HTTPError as refusal:
            if refusal.code < 500 and refusal.code != 429:
                said = json.load(refusal)
                ends = "its money has to be given back" if said.get("give_back") else "look into it"
                return app.logger.warning("payment %s (%s): %s; %s", payment, status, said["title"], ends)
        except OSError:
            pass  # nobody knows whether it was told: it is told again
        time.sleep(pause_s)
    return app.logger.error("payment %s: the shop does not answer; it must be told by hand", payment)


def sign(message: bytes) -> str:
    return hmac.new(SECRET.read_text().strip().encode(), message, hashlib.sha256).hexdigest()
