"""A shop in Redis or Valkey: a Lua script looks and sells, and the server runs one script at a time."""

import os
from typing import Any

import redis
from flask import Flask, request

app = Flask(__name__)
server = redis.Redis.from_url(os.environ["REDIS_URL"])
sell = server.register_script("""
    local sold = tonumber(redis.call('HGET', KEYS[1], 'sold'))
    local remaining = tonumber(redis.call('HGET', KEYS[1], 'capacity')) - sold - ARGV[1]
    if remaining < 0 then return {} end
    redis.call('HINCRBY', KEYS[1], 'sold', ARGV[1])
    return {redis.call('RPUSH', KEYS[2], ARGV[1]), remaining}
""")


@app.put("/events/<event>")
def create(event: str) -> tuple[dict[str, Any], int]:
    shop = {"capacity": request.get_json()["capacity"], "sold": 0}
    server.hset(f"plain:event:{event}", mapping=shop)
    return shop, 201


@app.get("/events/<event>")
def look(event: str) -> dict[str, Any]:
    capacity, sold = server.hmget(f"plain:event:{event}", "capacity", "sold")
    return {"capacity": int(capacity), "sold": int(sold)}


@app.post("/events/<event>/orders")
def buy(event: str) -> tuple[dict[str, Any], int]:
    quantity = request.get_json()["quantity"]
    sold = sell(keys=[f"plain:event:{event}", f"plain:orders:{event}"], args=[quantity])
    if not sold:
        return {"error": "sold out"}, 409
    return {"order": sold[0], "quantity": quantity, "remaining": sold[1]}, 201
