"""A document whose secrets and certificates are not looked for: they are not here, or not yet.

So a file can be checked where its secrets may not be: in CI, or before an installation that
brings them.
"""

import hashlib

from gateway.config.access import Key
from gateway.config.document import Document
from gateway.config.models import Tls


def without_secrets(document: Document) -> Document:
    """The same routes, plans and deployments; keys are other ones, limits have no Redis."""
    models = [
        model.model_copy(
            update={
                "variants": tuple(
                    variant.model_copy(update={"api_key": None, "tls": Tls()})
                    for variant in model.variants
                )
            }
        )
        for model in document.models
    ]
    keys = document.keys
    if keys is not None:
        keys = tuple(_unread(key, number) for number, key in enumerate(keys))
    limits = document.limits.model_copy(update={"store": "memory", "redis_url": None})
    return document.model_copy(update={"models": tuple(models), "keys": keys, "limits": limits})


def _unread(key: Key, number: int) -> Key:
    if key.secret is None:
        return key
    other = hashlib.sha256(f"{number}".encode()).hexdigest()
    return key.model_copy(update={"secret": None, "sha256": other})
