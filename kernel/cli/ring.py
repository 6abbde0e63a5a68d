"""Which ring of keys a command is about, and how a private key is read for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from aetherra.kernel.cli.project import host_options, load_config
from aetherra.kernel.errors import ConfigError
from aetherra.kernel.signing import RING_NAME, KeyRing, PassphraseNeededError, SigningKey

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def ring_options(function: FunctionT) -> FunctionT:
    """Add the options that find a ring: ``--keyring``, or else those that find a project."""
    ring = click.option(
        "--keyring",
        type=click.Path(path_type=Path),
        help=f"The ring of known keys; default is {RING_NAME} in the project's data directory.",
    )
    return ring(host_options(function))


def ring_of(keyring: Path | None, path: Path, config_file: Path | None) -> KeyRing:
    """Read the ring that a command is about.

    Raises:
        KeyRingError: It is no ring to rely on.
        ConfigError: The project keeps nothing on disk, or its configuration cannot be used.
    """
    if keyring is None:
        data_dir = load_config(path, config_file).data_dir
        if data_dir is None:
            raise ConfigError(str(config_file or path), "`$.kernel.data_dir` is null: name a ring with --keyring")
        keyring = data_dir / RING_NAME
    return KeyRing.load(keyring)


def private_key(file: Path) -> SigningKey:
    """Read a private key, and ask who sits at the terminal for its passphrase if it has one.

    Raises:
        KeyFileError: It cannot be used, or has a passphrase and nobody is there to ask.
    """
    try:
        return SigningKey.load(file)
    except PassphraseNeededError:
        if not sys.stdin.isatty():
            raise
        return SigningKey.load(file, passphrase=click.prompt(f"Passphrase of {file}", hide_input=True, err=True))
