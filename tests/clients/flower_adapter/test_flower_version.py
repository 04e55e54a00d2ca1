"""Whether the installed Flower is one that fedssl's adapter fits: what a new version runs first.

Each failure names the file of ours that has to follow, and what it needs. What imports Flower's
private modules is imported by the test that needs it, so that the others run whatever has moved.
"""

import argparse
import ast
import importlib
import inspect
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import numpy as np
import pytest
from flwr.app import Array, Message, RecordDict

from clients.flower_adapter.process_output import (
    MOST_AHEAD,
    MOST_BEHIND,
    UNKNOWN_NODE,
    UNKNOWN_OR_COUNTED,
    WRONG_CLOCK,
    find_error,
)

ADAPTER = Path("clients/flower_adapter")
ROOT = Path(__file__).parents[3]
SERVER_AUTH = "flwr.server.superlink.fleet.grpc_rere.node_auth_server_interceptor"
CONNECTION = "flwr.client.grpc_rere_client.connection"


class Need(NamedTuple):
    """A name of Flower's that a file of the adapter needs."""

    file: str
    module: str
    name: str

    def find(self) -> Any:
        """Return what has the name, or fail by who needs it."""
        try:
            thing: Any = importlib.import_module(self.module)
            for part in self.name.split("."):
                # A package has its modules once they are imported.
                if inspect.ismodule(thing) and not hasattr(thing, part):
                    importlib.import_module(f"{thing.__name__}.{part}")
                thing = getattr(thing, part)
        except (ImportError, AttributeError) as error:
            pytest.fail(f"{ADAPTER / self.file} needs {self.module}.{self.name}: {error}")
        return thing


def imports() -> Iterator[Need]:
    """Yield what the adapter's files import of Flower, in functions too."""
    for path in sorted((ROOT / ADAPTER).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flwr."):
                for alias in node.names:
                    yield Need(path.name, str(node.module), alias.name)


@pytest.mark.parametrize("need", [*imports()], ids=lambda need: f"{need.file}-{need.name}")
def test_what_is_imported_is_there(need: Need) -> None:
    need.find()


def calls() -> dict[Need, tuple[int, str]]:
    """Return of each function how many values it is given by place, and which by name."""
    interceptors = "flwr.supercore.interceptors"
    parts = "flwr.supercore.inflatable.inflatable_object"
    whole = "flwr.supercore.inflatable.inflatable_utils"
    fetch = "flwr.supercore.inflatable.inflatable_protobuf_utils"
    tasks = "flwr.supernode.runtime.run_clientapp"
    client = "server_address insecure root_certificates interceptors"
    return {
        Need("messages.py", "flwr.supercore.run", "Run.create_empty"): (1, ""),
        Need("parent_process.py", "flwr.supercore.app_utils", "start_parent_process_monitor"): (
            1,
            "",
        ),
        Need("replies.py", "flwr.app.message", "make_message"): (0, "metadata error"),
        Need("replies.py", "flwr.app", "Metadata"): (
            0,
            "run_id message_id src_node_id dst_node_id message_type group_id ttl "
            "reply_to_message_id created_at",
        ),
        Need("replies.py", parts, "get_object_body"): (2, ""),
        Need("replies.py", parts, "get_object_head_values_from_object_content"): (1, ""),
        Need("replies.py", parts, "iterate_object_tree"): (1, ""),
        Need("replies.py", fetch, "make_pull_object_fn_protobuf"): (
            0,
            "pull_object_protobuf node run_id",
        ),
        Need("replies.py", whole, "inflate_object_from_contents"): (2, ""),
        Need("replies.py", whole, "pull_objects"): (1, "pull_object_fn"),
        Need("runtime_api.py", "flwr.supercore.heartbeat", "HeartbeatSender"): (1, ""),
        Need("runtime_api.py", "flwr.supercore.heartbeat", "make_task_heartbeat_fn_http"): (1, ""),
        Need("runtime_api.py", interceptors, "RuntimeTokenHttpInterceptor"): (1, ""),
        Need("runtime_api.py", interceptors, "RuntimeVersionHttpInterceptor"): (
            0,
            "component_name",
        ),
        Need("runtime_api.py", interceptors, "SuperExecAuthHttpInterceptor"): (
            0,
            "master_secret protected_methods",
        ),
        Need("runtime_api.py", "flwr.supercore.runtime", "RuntimeHttpClient.from_server_address"): (
            0,
            client,
        ),
        Need("runtime_api.py", tasks, "pull_task_input"): (1, ""),
        Need("runtime_api.py", tasks, "push_message"): (3, ""),
        Need("runtime_api.py", tasks, "push_task_output"): (4, ""),
        Need("superlink.py", "flwr.cli.build", "build_fab_from_files"): (1, ""),
        Need("superlink.py", "flwr.supercore.control", "ControlHttpClient.from_server_address"): (
            0,
            client,
        ),
        Need("superlink.py", "flwr.supercore.fab", "Fab"): (3, ""),
        Need("superlink.py", "flwr.superlink.grid", "HttpGrid"): (3, "token"),
        Need("supernode.py", "flwr.supercore.retry", "exponential"): (0, "max_delay"),
        # Ours takes its place.
        Need("supernode.py", CONNECTION, "create_channel"): (
            0,
            "server_address insecure root_certificates max_message_length interceptors",
        ),
    }


@pytest.mark.parametrize(
    ("need", "places", "names"),
    [(need, *given) for need, given in calls().items()],
    ids=lambda value: value.name if isinstance(value, Need) else "",
)
def test_functions_take_what_they_are_given(need: Need, places: int, names: str) -> None:
    try:
        inspect.signature(need.find()).bind(*range(places), **dict.fromkeys(names.split()))
    except TypeError as error:
        pytest.fail(f"{ADAPTER / need.file} calls {need.module}.{need.name} otherwise: {error}")


RUNTIME, CONTROL = "flwr.supercore.runtime", "flwr.supercore.control"


@pytest.mark.parametrize(
    ("file", "module", "owner", "names"),
    [
        ("runtime_api.py", RUNTIME, "RuntimeHttpClient", "AcquireTask close"),
        (
            *("replies.py", RUNTIME, "RuntimeHttpClient"),
            "PullMessages PullObject ConfirmMessageReceived",
        ),
        (
            *("superlink.py", RUNTIME, "RuntimeHttpClient"),
            "PullTaskInput PushTaskOutput SendTaskHeartbeat",
        ),
        (
            *("superlink.py", CONTROL, "ControlHttpClient"),
            "RegisterNode UnregisterNode StartRun close",
        ),
        ("superlink.py", "flwr.supercore.heartbeat", "HeartbeatSender", "start stop"),
        (
            *("error_replies.py", "flwr.common.constant", "ErrorCode"),
            "NODE_UNAVAILABLE MESSAGE_UNAVAILABLE REPLY_MESSAGE_UNAVAILABLE "
            "MOD_FAILED_PRECONDITION CLIENT_APP_RAISED_EXCEPTION",
        ),
        ("runtime_api.py", "flwr.common.constant", "SubStatus", "FAILED COMPLETED"),
        ("runtime_api.py", "flwr.supercore.constant", "TaskType", "CLIENT_APP SERVER_APP"),
        ("supernode.py", "flwr.supernode", "cli", "flower_supernode"),
        ("superlink.py", "flwr.superlink", "cli", "flower_superlink"),
    ],
)
def test_classes_have_what_is_asked_of_them(file: str, module: str, owner: str, names: str) -> None:
    for name in names.split():
        Need(file, module, f"{owner}.{name}").find()


@pytest.mark.parametrize(
    ("file", "module", "message", "fields"),
    [
        ("runtime_api.py", "runtime", "AcquireTaskRequest", "supported_task_types"),
        ("runtime_api.py", "runtime", "AcquireTaskResponse", "token"),
        ("replies.py", "runtime", "PullAppMessagesRequest", "message_ids"),
        ("replies.py", "runtime", "PullAppMessagesResponse", "messages_list message_object_trees"),
        ("replies.py", "message", "ConfirmMessageReceivedRequest", "node run_id message_object_id"),
        ("replies.py", "message", "ObjectTree", "object_id"),
        (
            *("replies.py", "message", "Metadata"),
            "run_id message_id src_node_id reply_to_message_id",
        ),
        ("superlink.py", "control", "RegisterNodeRequest", "public_key"),
        ("superlink.py", "control", "RegisterNodeResponse", "node_id"),
        ("superlink.py", "control", "UnregisterNodeRequest", "node_id"),
        ("superlink.py", "control", "StartRunRequest", "fab override_config"),
        ("superlink.py", "control", "StartRunResponse", "run_id"),
        ("superlink.py", "runtime", "PullTaskInputResponse", "task_id run context"),
        ("superlink.py", "runtime", "PushTaskOutputRequest", "sub_status details"),
    ],
)
def test_messages_to_flower_have_the_fields(
    file: str, module: str, message: str, fields: str
) -> None:
    kind = Need(file, f"flwr.proto.{module}_pb2", message).find()
    missing = set(fields.split()) - set(kind.DESCRIPTOR.fields_by_name)
    assert not missing, f"{ADAPTER / file} needs the fields {missing} of {message}"


def test_the_call_that_the_secret_guards_has_its_path() -> None:
    from clients.flower_adapter.runtime_api import _ACQUIRE

    call = Need("runtime_api.py", RUNTIME, "RuntimeHttpClient.AcquireTask").find()
    paths = {const for const in call.__code__.co_consts if isinstance(const, str)}
    assert paths >= _ACQUIRE, f"{ADAPTER / 'runtime_api.py'} names it otherwise"


def looked_up(code: CodeType) -> set[str]:
    """Return the names that a function looks up when it runs, and those within it."""
    inner = [looked_up(const) for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*inner)


@pytest.mark.parametrize(
    ("module", "function", "name"),
    [
        (CONNECTION, "grpc_request_response", "create_channel"),
        ("flwr.supercore.heartbeat", "HeartbeatSender.__init__", "exponential"),
        (
            *("flwr.supercore.retry.grpc_retry", "make_simple_grpc_retry_invoker"),
            "MAX_RETRY_DELAY",
        ),
    ],
)
def test_flower_looks_up_what_the_supernode_puts_in_place(
    module: str, function: str, name: str
) -> None:
    Need("supernode.py", module, name).find()
    code = inspect.unwrap(Need("supernode.py", module, function).find()).__code__
    assert name in looked_up(code), f"{ADAPTER / 'supernode.py'} puts {module}.{name} in vain"


def test_the_supernode_connects_by_the_module_that_is_changed() -> None:
    start = Need("supernode.py", "flwr.supernode.start_client_internal", "__dict__").find()
    connect = Need("supernode.py", CONNECTION, "grpc_request_response").find()
    assert start["grpc_request_response"] is connect, f"{ADAPTER / 'supernode.py'} changes another"


def test_messages_are_made_for_the_task_that_is_named() -> None:
    from clients.flower_adapter.messages import become_server, become_task

    become_task(3, 4, 5)
    about = Message(RecordDict(), 7, "train").metadata
    assert (about.run_id, about.src_node_id) == (4, 5), f"{ADAPTER / 'messages.py'} names it"
    become_server()


def test_a_replys_marks_are_where_they_are_written() -> None:
    from clients.flower_adapter.messages import become_server, mark_reply

    become_server()
    message = Message(RecordDict(), 7, "train")
    needed = {"_message_id", "_reply_to_message_id", "_src_node_id"}
    missing = needed - message.metadata.__dict__.keys()
    assert not missing, f"{ADAPTER / 'messages.py'} writes {missing}, which Flower does not read"
    mark_reply(message, "reply", "question", 9)
    about = message.metadata
    assert (about.message_id, about.reply_to_message_id, about.src_node_id) == (
        *("reply", "question"),
        9,
    )


def test_the_grid_has_its_parts() -> None:
    grid = Need("superlink.py", "flwr.superlink.grid", "HttpGrid").find()("127.0.0.1:1", token="x")
    assert callable(grid._retry_invoker.should_giveup), f"{ADAPTER / 'superlink.py'} replaces it"
    assert grid.node.node_id, f"{ADAPTER / 'replies.py'} fetches in its name"
    client = Need("superlink.py", RUNTIME, "RuntimeHttpClient").find()
    assert isinstance(grid._runtime_client, client), f"{ADAPTER / 'superlink.py'} speaks by it"
    grid.close()


def test_an_array_is_put_together_as_the_limit_counts_it() -> None:
    module = "flwr.supercore.inflatable.inflatable_object"
    content = Array(np.zeros(3, np.float32)).deflate()
    head = Need("replies.py", module, "get_object_head_values_from_object_content").find()(content)
    body = json.loads(Need("replies.py", module, "get_object_body").find()(content, Array))
    why = f"{ADAPTER / 'replies.py'} counts an Array's bytes by this form"
    assert head[0] == "Array", why
    assert [*map(type, head[1])] == [str], why
    assert body["arraychunk_ids"] == [0], why


def test_flower_says_errors_and_refusals_as_they_are_read() -> None:
    file = "process_output.py"
    why = f"{ADAPTER / file} reads it"
    handler = Need(file, "flwr.supercore.logger", "ConsoleHandler").find()
    line = logging.makeLogRecord({"levelname": "ERROR", "levelno": logging.ERROR, "msg": "no key"})
    assert find_error(handler().format(line)) == "no key", why
    assert find_error(handler(colored=False).format(line)) == "no key", why
    codes = Need(file, "flwr.supercore.error", "ApiErrorCode").find()
    assert str(int(codes.FLEET_NODE_ACTIVATION_FAILED)) == UNKNOWN_OR_COUNTED, why
    assert "[code: {" in inspect.getsource(importlib.import_module(CONNECTION)), why
    server = importlib.import_module(SERVER_AUTH)
    for words in (WRONG_CLOCK, UNKNOWN_NODE):
        assert f'"{words}"' in inspect.getsource(server), f"{why}: {words}"
    ahead = -Need(file, SERVER_AUTH, "MIN_TIMESTAMP_DIFF").find()
    behind = Need(file, SERVER_AUTH, "TIMESTAMP_TOLERANCE").find()
    assert (ahead, behind) == (MOST_AHEAD, MOST_BEHIND), why


@pytest.mark.parametrize(
    ("file", "module", "parser", "options"),
    [
        (
            "simulations/deployment/superlink.py",
            "flwr.superlink.cli.flower_superlink",
            "_parse_args_run_superlink",
            "--ssl-ca-certfile --ssl-certfile --ssl-keyfile --host --port --fleet-api-type "
            "--fleet-api-address --isolation --superexec-auth-secret-file "
            "--enable-supernode-auth --disable-runtime-dependency-installation",
        ),
        (
            "clients/connection.py",
            "flwr.supernode.cli.flower_supernode",
            "_parse_args_run_supernode",
            "--grpc-rere --superlink --root-certificates --auth-supernode-private-key "
            "--node-config --host --port --isolation --superexec-auth-secret-file "
            "--trusted-entities",
        ),
    ],
)
def test_flowers_commands_have_the_options(
    file: str, module: str, parser: str, options: str
) -> None:
    make: Callable[[], argparse.ArgumentParser] = getattr(importlib.import_module(module), parser)
    missing = set(options.split()) - make()._option_string_actions.keys()
    assert not missing, f"{file} gives {missing} to {module}"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("flwr.supercore.telemetry", "FLWR_TELEMETRY_ENABLED"),
        ("flwr.supercore.constant", "FLWR_DISABLE_UPDATE_CHECK"),
    ],
)
def test_flowers_processes_can_be_told_to_tell_nobody(module: str, name: str) -> None:
    source = inspect.getsource(importlib.import_module(module))
    assert f'"{name}"' in source, f"clients/child_process.py sets {name}, which nobody reads"
