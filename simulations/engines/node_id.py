"""The numbers of Flower's nodes: client n is node n + 1, since no node of Flower's has number 0."""

from flwr.app import Message


def node_of(client: int) -> int:
    """Return the number of the node that stands for a client.

    >>> node_of(0)
    1
    """
    return client + 1


def client_of(message: Message) -> int:
    """Return the client that a message is for."""
    return message.metadata.dst_node_id - 1
