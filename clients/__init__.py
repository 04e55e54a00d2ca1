"""The client side: a Flower ClientApp around fedssl's local update."""

from clients.client_app import make_client_app
from clients.runtime import ClientRuntime

__all__ = ["ClientRuntime", "make_client_app"]
