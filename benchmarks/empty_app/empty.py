"""A Flower app that does nothing: what a round costs before any of ours."""

from __future__ import annotations

import json
import time
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

client = ClientApp()
server = ServerApp()
_POLL = 0.05


@client.query()
def answer(message: Message, context: Context) -> Message:  # noqa: ARG001
    """Answer nothing."""
    return Message(RecordDict(), reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Ask all nodes, some times over, and write how long each time took."""
    config = context.run_config
    while len(nodes := sorted(grid.get_node_ids())) < int(config["sites"]):
        time.sleep(_POLL)
    seconds = []
    for number in range(int(config["rounds"])):
        start = time.perf_counter()
        messages = [
            Message(RecordDict(), node, "query", group_id=str(number), ttl=600.0) for node in nodes
        ]
        open_ = set(grid.push_messages(messages))
        while open_:
            for reply in grid.pull_messages(list(open_)):
                open_.discard(reply.metadata.reply_to_message_id)
            time.sleep(_POLL)
        seconds.append(time.perf_counter() - start)
    Path(str(config["out"])).write_text(json.dumps(seconds), encoding="utf-8")
