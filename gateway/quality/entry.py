"""The prompts of a comparison, each with its references if it has any. No I/O."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from gateway.quality.grading import Rule, is_right, references_of, rule_for
from gateway.remote.prompt_file import Prompt

RULES = ("auto", "exact", "choice", "numeric", "none")


@dataclass(frozen=True, slots=True)
class Entry:
    """One prompt. `rule` None: no reference, nothing is graded."""

    number: int
    key: str
    prompt: Prompt
    references: tuple[str, ...] = ()
    rule: Rule | None = None

    def grade(self, answer: str) -> bool | None:
        """None where there is nothing to hold it against."""
        return None if self.rule is None else is_right(answer, self.references, self.rule)


def entries_of(prompts: Sequence[Prompt], rule: str, name: str) -> list[Entry]:
    """`rule`: one of RULES. Raises WrongInput for references that make no sense."""
    entries: list[Entry] = []
    for number, prompt in enumerate(prompts):
        references = references_of(prompt.more, f"{name} prompt {number + 1}")
        graded = bool(references) and rule != "none"
        entries.append(
            Entry(
                number=number,
                key=_key(prompt, references),
                prompt=prompt,
                references=references,
                rule=rule_for(references, rule) if graded else None,
            )
        )
    return entries


def _key(prompt: Prompt, references: Sequence[str]) -> str:
    said = msgspec.json.encode((prompt.messages, references), order="sorted")
    return hashlib.sha256(said).hexdigest()[:16]
