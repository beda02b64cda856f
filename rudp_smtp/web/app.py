"""The pages: list, message, its HTML, its parts and its source, and the stream of news."""

import asyncio
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from urllib.parse import quote, unquote

from jinja2 import Environment, PackageLoader
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from rudp_smtp.mail.reading import Letter, Summary, list_mail, read_letter
from rudp_smtp.mail.stories import read_story
from rudp_smtp.web.words import moment, size_of

LOOK_EVERY = 0.3  # seconds between two looks into the folders
LOOPBACK = ["127.0.0.1", "localhost", "[::1]"]
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
MAIL_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
GUARDS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}

_CONTENT_ID = re.compile(r"""\bcid:([^\s"'<>()]+)""")  # RFC 2392


class Inbox:
    """Owns nothing: every answer is what the Maildir holds at that moment."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._templates = Environment(loader=PackageLoader("rudp_smtp.web"), autoescape=True, trim_blocks=True)
        self._templates.filters |= {"moment": moment, "size": size_of, "path": lambda name: quote(name, safe="")}

    def routes(self) -> list[Route | Mount]:
        return [
            Route("/", self.index),
            Route("/list", self.listing),
            Route("/news", self.news),
            Route("/mail/{name}", self.letter),
            Route("/mail/{name}/html", self.html),
            Route("/mail/{name}/source", self.source),
            Route("/mail/{name}/part/{index:int}", self.part),
            Mount("/static", StaticFiles(packages=[("rudp_smtp.web", "static")])),
        ]

    async def index(self, request: Request) -> Response:
        return self._page("index.html", mails=await self._list(), root=self._root)

    async def listing(self, request: Request) -> Response:
        """The list alone, for a page that is open already."""
        return self._page("list.html", mails=await self._list())

    async def letter(self, request: Request) -> Response:
        letter = await self._find(request)
        story = await asyncio.to_thread(read_story, self._root, letter.source)
        return self._page("letter.html", letter=letter, story=story)

    async def html(self, request: Request) -> Response:
        """The message's own HTML; its embedded pictures are parts of the same message."""
        letter = await self._find(request)
        place = f"/mail/{quote(letter.summary.name, safe='')}/part/"
        places = {part.content_id: f"{place}{part.index}" for part in letter.attachments if part.content_id}
        text = _CONTENT_ID.sub(lambda found: places.get(unquote(unescape(found[1])), found[0]), letter.html)
        return HTMLResponse(text, headers=GUARDS | {"Content-Security-Policy": MAIL_POLICY})

    async def source(self, request: Request) -> Response:
        letter = await self._find(request)
        text = letter.source.decode("utf-8", "replace")
        return PlainTextResponse(text, headers=GUARDS | {"Content-Security-Policy": MAIL_POLICY})

    async def part(self, request: Request) -> Response:
        letter = await self._find(request)
        for attachment in letter.attachments:
            if attachment.index == request.path_params["index"]:
                is_picture = attachment.content_type in ("image/png", "image/jpeg", "image/gif", "image/webp")
                kind = attachment.content_type if is_picture else "application/octet-stream"
                disposition = f"attachment; filename*=UTF-8''{quote(attachment.filename, safe='')}"
                headers = GUARDS | {"Content-Security-Policy": MAIL_POLICY, "Content-Disposition": disposition}
                return Response(attachment.octets, media_type=kind, headers=headers)
        raise HTTPException(404, "no such part")

    async def news(self, request: Request) -> Response:
        """Server-sent events: one whenever the list has changed."""
        return StreamingResponse(self._watch(request), media_type="text/event-stream", headers=GUARDS)

    async def _watch(self, request: Request) -> AsyncIterator[str]:
        seen = await asyncio.to_thread(_state, self._root)
        yield "retry: 1000\n\n"
        while not await request.is_disconnected():
            await asyncio.sleep(LOOK_EVERY)
            state = await asyncio.to_thread(_state, self._root)
            if state != seen:
                seen = state
                yield "event: change\ndata: list\n\n"

    async def _list(self) -> list[Summary]:
        try:
            return await asyncio.to_thread(list_mail, self._root)
        except OSError as error:
            raise HTTPException(503, f"the Maildir cannot be read: {error}") from None

    async def _find(self, request: Request) -> Letter:
        try:
            return await asyncio.to_thread(read_letter, self._root, request.path_params["name"])
        except (KeyError, OSError):
            raise HTTPException(404, "no such message: it may have been moved") from None

    def _page(self, template: str, **values: object) -> Response:
        text = self._templates.get_template(template).render(**values)
        return HTMLResponse(text, headers=GUARDS | {"Content-Security-Policy": PAGE_POLICY})


def _state(root: Path) -> frozenset[str]:
    """What the list is made from; nothing while it cannot be read."""
    try:
        return frozenset(path.name for folder in ("new", "cur") for path in (root / folder).iterdir())
    except OSError:
        return frozenset()


def make_app(root: Path) -> Starlette:
    """The application for a Maildir. Raises FileNotFoundError where there is none."""
    list_mail(root)
    guard = Middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK, www_redirect=False)
    return Starlette(routes=Inbox(root).routes(), middleware=[guard])
