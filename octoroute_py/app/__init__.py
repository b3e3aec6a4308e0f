"""The composition root, the one room that knows every other."""

from octoroute_py.app.application import Application
from octoroute_py.app.reloading import LoadConfig
from octoroute_py.app.settings import listening_hosts, refuse_unbuilt

__all__ = ["Application", "LoadConfig", "listening_hosts", "refuse_unbuilt"]
