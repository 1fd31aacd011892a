"""Ask the admin API of a gateway that serves on a socket."""

from typing import Any

import httpx

from tests.support.leaks import PROMPT
from tests.support.running import Running

KEY = "sk-admin"
PATH = "/v1/chat/completions"


class Admin:
    """One gateway, asked by its operator and by those who have keys."""

    def __init__(self, it: Running | str) -> None:
        self.url = it if isinstance(it, str) else it.url

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(timeout=20) as client:
            return await client.request(method, f"{self.url}/admin{path}", headers=headers, **more)

    async def create(self, name: str, **more: Any) -> str:
        """The secret of a new key."""
        answer = await self.ask("POST", "/keys", json={"name": name, **more})
        assert answer.status_code == 201, answer.text
        secret: str = answer.json()["secret"]
        return secret

    async def call(self, secret: str | None, **more: Any) -> httpx.Response:
        """A chat completion with this key."""
        headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
        body = {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 4}
        async with httpx.AsyncClient(timeout=20) as client:
            return await client.post(self.url + PATH, json=body | more, headers=headers)
