"""A box office that oversells (Starlette on uvicorn): it awaits between looking and selling.

    python examples/corner_shop.py 8080

While one buyer's payment is awaited, the next looks, finds the same ticket left, and pays too. No thread, no second
process and no ``GIL`` is needed for that: every ``await`` is a place where others go on.
"""

import asyncio
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

stock = {"left": 0}


async def open_sale(request: Request) -> JSONResponse:
    stock["left"] = (await request.json())["tickets"]
    return JSONResponse(stock, status_code=201)


async def look(request: Request) -> JSONResponse:
    return JSONResponse(stock)


async def buy(request: Request) -> JSONResponse:
    left = stock["left"]
    if left < 1:
        return JSONResponse({"error": "sold out"}, status_code=410)
    await pay()  # here somebody else reads the same `left`
    stock["left"] = left - 1
    return JSONResponse({"thank you": "enjoy the show"})


async def pay() -> None:
    await asyncio.sleep(0.005)


app = Starlette(
    routes=[Route("/sale", open_sale, methods=["PUT"]), Route("/stock", look), Route("/buy", buy, methods=["POST"])]
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
