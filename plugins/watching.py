"""The third front door, for plugins that watch folders: apart, so that only they pay for it."""

from aetherra.kernel.inotify import Inotify

__all__ = ["Inotify"]
