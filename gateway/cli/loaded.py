"""A configuration file, read and compiled, for the commands that look into one."""

from pathlib import Path

from gateway.config.document import Document
from gateway.config.load import load_document
from gateway.config.settings import environment, load_settings
from gateway.config.unread import without_secrets
from gateway.errors import ConfigInvalid
from gateway.fleet.catalog import Catalog
from gateway.fleet.compiling import compile_catalog
from gateway.limits.stores import address_problems
from gateway.plugins import installed_policies


def config_path(given: Path | None) -> Path:
    """The file named on the command line or by GATEWAY_CONFIG. Raises ConfigInvalid."""
    if given is not None:
        return given
    named = load_settings(environment()).config
    if named is None:
        raise ConfigInvalid(("name a configuration file: --config FILE, or GATEWAY_CONFIG",))
    return Path(named)


def load_catalog(path: Path, *, reads_secrets: bool = True) -> tuple[Document, Catalog]:
    """What is written, and what it compiles to. Raises ConfigInvalid.

    Variants that are to be deployed may have no replicas yet.
    """
    document = load_document(path)
    if not reads_secrets:
        document = without_secrets(document)
    problems = address_problems(document.limits, environment())
    try:
        catalog = compile_catalog(
            document, environment(), policies=installed_policies(), needs_replicas=False
        )
    except ConfigInvalid as invalid:
        raise ConfigInvalid((*invalid.problems, *problems)) from invalid
    if problems:
        raise ConfigInvalid(problems)
    return document, catalog
