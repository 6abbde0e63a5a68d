"""The front door for plugins that watch folders: apart, so that only they pay for it."""

from aetherra.kernel.inotify import Inotify, remedy_of

__all__ = ["Inotify", "remedy_of"]
