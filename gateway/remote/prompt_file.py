"""Prompts as people have them in files. No I/O: the text is given.

Read are JSON lines, a JSON array of the same entries, and plain text with one prompt a line. An
entry is a string, `{"prompt": ...}`, `{"text": ...}`, OpenAI's `{"messages": [...]}`, or a
conversation as ShareGPT exports it, of which everything up to the first answer is asked.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.remote.wrong_input import WrongInput

Message = Mapping[str, object]

_ROLES = {
    "human": "user",
    "user": "user",
    "system": "system",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked. `more`: the other fields of the entry, such as `reference`."""

    messages: tuple[Message, ...]
    more: Mapping[str, object] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The prompt for an engine that takes text: contents, one below the other."""
        return "\n".join(_said(message.get("content")) for message in self.messages)


def a_prompt(text: str) -> Prompt:
    """One question of a user."""
    return Prompt(({"role": "user", "content": text},))


def read_prompts(text: str, name: str) -> list[Prompt]:
    """Raises WrongInput, which names the line or entry. `name`: of the file, for messages."""
    text = text.removeprefix("\ufeff")
    head = text.lstrip()[:1]
    if head == "[":
        prompts = _from_array(text, name)
    elif head == "{" or head == '"':
        prompts = _from_lines(text, name)
    else:
        prompts = [a_prompt(line) for line in text.splitlines() if line.strip()]
    if not prompts:
        raise WrongInput(f"{name} has no prompts")
    return prompts


def _from_array(text: str, name: str) -> list[Prompt]:
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as exc:
        raise WrongInput(f"{name} line {exc.lineno}: not JSON: {exc.msg.lower()}") from exc
    return [_prompt(entry, f"{name} entry {n}") for n, entry in enumerate(entries, 1)]


def _from_lines(text: str, name: str) -> list[Prompt]:
    prompts: list[Prompt] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as exc:
            raise WrongInput(f"{name} line {number}: not JSON: {exc.msg.lower()}") from exc
        prompts.append(_prompt(entry, f"{name} line {number}"))
    return prompts


def _prompt(entry: object, place: str) -> Prompt:
    if isinstance(entry, str):
        return a_prompt(entry)
    fields: dict[str, object] = entry if isinstance(entry, dict) else {}
    match fields:
        case {"messages": [*messages], **more}:
            return Prompt(_checked(messages, place), more)
        case {"conversations": [*turns], **more}:
            return Prompt(_asked(turns, place), more)
        case {"prompt": str(text), **more} | {"text": str(text), **more}:
            return Prompt(a_prompt(text).messages, more)
        case _:
            raise WrongInput(
                f'{place}: no prompt in it: write {{"prompt": "..."}} or {{"messages": [...]}}'
            )


def _checked(messages: Sequence[object], place: str) -> tuple[Message, ...]:
    checked = [
        one for one in messages if isinstance(one, dict) and isinstance(one.get("role"), str)
    ]
    if not checked or len(checked) < len(messages):
        raise WrongInput(f"{place}: every message needs a role and a content")
    return tuple(checked)


def _asked(turns: Sequence[object], place: str) -> tuple[Message, ...]:
    """The turns before the first answer."""
    asked: list[Message] = []
    for turn in turns:
        if not isinstance(turn, dict):
            raise WrongInput(f"{place}: a turn of the conversation is no object")
        role = _ROLES.get(str(turn.get("from", turn.get("role"))))
        said = turn.get("value", turn.get("content"))
        if role is None or not isinstance(said, str):
            raise WrongInput(f'{place}: a turn needs "from" (human or gpt) and "value"')
        if role == "assistant":
            break
        asked.append({"role": role, "content": said})
    if not asked:
        raise WrongInput(f"{place}: the conversation does not begin with a question")
    return tuple(asked)


def _said(content: object) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
