"""A language model behind an endpoint that speaks the chat completions protocol of OpenAI.

Source: OpenAI API reference, "Create chat completion". The endpoint is the operator's setting, met
over TLS unless it is on loopback, without redirects and proxies, with a bound on time and size.
"""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mesh.loopback import is_loopback
from services.inventory.compliance.narration import ModelFailed

PATH = "/chat/completions"
MAX_ANSWER_BYTES = 1024 * 1024


class ModelUrlInvalid(ValueError):
    """A URL at which no model may be asked."""


def checked_url(url: str) -> str:
    """Give a base URL such as ``https://host/v1`` without its last slash; ModelUrlInvalid."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ModelUrlInvalid("must be a URL such as https://host/v1") from None
    if parts.scheme not in ("https", "http") or not host:
        raise ModelUrlInvalid("must be a URL such as https://host/v1")
    if parts.scheme == "http" and not is_loopback(host):
        raise ModelUrlInvalid("a model that is not on loopback is met over TLS")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ModelUrlInvalid("holds no user, query or fragment; the key stands in its own file")
    return url.rstrip("/")


@dataclass(frozen=True)
class ChatModel:
    """Asks one model at one endpoint."""

    url: str
    model: str
    key_file: Path | None
    seconds: float
    """The longest wait for a whole answer."""

    async def ask(self, instructions: str, facts: str) -> str:
        """Give the text of the first choice. Raises ModelFailed."""
        # Only who has a model pays for its import: a twelfth of what the service begins with.
        import httpx

        try:
            async with asyncio.timeout(self.seconds):
                body = await self._post(instructions, facts)
        except (TimeoutError, httpx.TimeoutException):
            raise ModelFailed("timeout") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ModelFailed(f"not reached: {type(error).__name__}") from None
        try:
            text = json.loads(body)["choices"][0]["message"]["content"]
        except (ValueError, RecursionError, TypeError, KeyError, IndexError):
            raise ModelFailed("the answer is no chat completion") from None
        if not isinstance(text, str):
            raise ModelFailed("the answer is no chat completion")
        return text

    async def _post(self, instructions: str, facts: str) -> bytes:
        import httpx

        question = {
            "model": self.model,
            "temperature": 0,
            "messages": [
                {"role": "system", "content": instructions},
                {"role": "user", "content": facts},
            ],
        }
        # What is not packed cannot grow while it is unpacked.
        headers = {"accept-encoding": "identity"}
        if self.key_file is not None:
            headers["authorization"] = f"Bearer {await asyncio.to_thread(_key, self.key_file)}"
        # Neither the environment's proxies nor a redirect lead elsewhere.
        async with (
            httpx.AsyncClient(
                trust_env=False, follow_redirects=False, timeout=self.seconds
            ) as client,
            client.stream("POST", f"{self.url}{PATH}", json=question, headers=headers) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise ModelFailed(f"status {answer.status_code}")
            body = bytearray()
            async for part in answer.aiter_raw():
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    raise ModelFailed("the answer is too large")
            return bytes(body)


def _key(file: Path) -> str:
    """Read a key as a header may hold it. Raises ModelFailed."""
    try:
        key = file.read_text("ascii").strip()
    except (OSError, UnicodeError):
        raise ModelFailed("the key cannot be read") from None
    if not key or not all("!" <= character <= "~" for character in key):
        raise ModelFailed("the key cannot be read")
    return key
