"""What is compared with what, as it is written on a command line. No I/O."""

import re
from dataclasses import dataclass

from gateway.remote.wrong_input import WrongInput

_FORM = re.compile(r"(?:(?P<model>.+)@)?(?P<url>[a-z]+://.*)")


@dataclass(frozen=True, slots=True)
class Target:
    """One side. `model` None: the only one that the endpoint has."""

    url: str
    model: str | None


def read_target(text: str, url: str | None, model: str | None) -> Target:
    """`http://host`, `model@http://host`, or a model of the endpoint at `url`.

    `model`: of a side that names none. Raises WrongInput.
    """
    match = _FORM.fullmatch(text)
    if match is not None:
        return Target(match["url"], match["model"] or model)
    if "://" in text:
        raise WrongInput(f'"{text}" is neither a base URL nor MODEL@URL')
    if url is None:
        raise WrongInput(f'where is "{text}"? give --url, or write it as {text}@http://host:8000')
    return Target(url, text)
