"""A proxy in front of an S3 server that passes on what it is asked, or refuses, breaks off, dawdles."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from aiohttp import ClientError, ClientSession, DummyCookieJar, TCPConnector, web
from yarl import URL

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
UNWELL = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@dataclass
class FaultProxy:
    """What the proxy does to requests; change it while it runs.

    Attributes
    ----------
    endpoint
        Its own address.
    target
        The server behind it; None as if that were gone: connections are closed without an answer.
    refused, cut, slow
        Shares of requests that are answered 503, broken off in the middle of the answer, or answered late.
    delay
        How late, in seconds.
    met
        How many requests met with what.
    """

    endpoint: str
    target: str | None
    refused: float = 0.0
    cut: float = 0.0
    slow: float = 0.0
    delay: float = 1.0
    random: Random = field(default_factory=lambda: Random(0))  # noqa: S311 - not for secrets
    met: Counter[str] = field(default_factory=Counter)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on, or not."""
        fate = self._fate()
        self.met[fate] += 1
        if fate == "gone":
            return _hang_up(request)
        if fate == "refused":
            await request.read()
            return web.Response(status=503, text=UNWELL, content_type="application/xml")
        if fate == "slow":
            await asyncio.sleep(self.delay)
        try:
            return await self._pass_on(request, cut=fate == "cut")
        except (ClientError, ConnectionError):  # the server went away in the middle
            self.met["gone"] += 1
            return _hang_up(request)

    def _fate(self) -> str:
        if self.target is None:
            return "gone"
        drawn = self.random.random()
        for fate in ("refused", "cut", "slow"):
            drawn -= getattr(self, fate)
            if drawn < 0:
                return fate
        return "passed"

    async def _pass_on(self, request: web.Request, *, cut: bool) -> web.StreamResponse:
        # The signature covers host, path and query as they were sent, so none of them may be spelt anew.
        url = URL(f"{self.target}{request.raw_path}", encoded=True)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() != "expect"]
        async with request.app[SESSION].request(
            request.method, url, headers=headers, data=await request.read() or None, allow_redirects=False
        ) as found:
            body = await found.read()
            answer = web.StreamResponse(status=found.status)
            for name, value in found.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    answer.headers.add(name, value)
            if request.method == "HEAD":
                answer.content_length = found.content_length
            else:
                answer.content_length = len(body)
            await answer.prepare(request)
            if cut:
                await answer.write(body[: len(body) // 2])
                return _hang_up(request)
            await answer.write(body)
            await answer.write_eof()
            return answer


SESSION: web.AppKey[ClientSession] = web.AppKey("session", ClientSession)


def _hang_up(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)  # nobody is there to read it


@contextmanager
def fault_proxy(target: str | None, port: int) -> Iterator[FaultProxy]:
    """Run a proxy on loopback in a thread of its own; it harms nothing until it is told to."""
    proxy = FaultProxy(f"http://127.0.0.1:{port}", target)
    loop, ready = asyncio.new_event_loop(), threading.Event()
    over: asyncio.Future[None] = loop.create_future()

    async def serve() -> None:
        app = web.Application(client_max_size=2**30)
        connector = TCPConnector(limit=0, force_close=True)
        async with ClientSession(
            connector=connector, auto_decompress=False, cookie_jar=DummyCookieJar()
        ) as session:
            app[SESSION] = session
            app.router.add_route("*", "/{rest:.*}", proxy.answer)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port).start()
            ready.set()
            await over
            await runner.cleanup()

    thread = threading.Thread(
        target=loop.run_until_complete, args=(serve(),), name="fault proxy", daemon=True
    )
    thread.start()
    assert ready.wait(30)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(over.set_result, None)
        thread.join(30)
        loop.close()
