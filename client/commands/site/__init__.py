"""``dermafed site``: take part in a federation, as one hospital."""

from __future__ import annotations

from client.commands.site.audit import audit
from client.commands.site.check import check
from client.commands.site.erase import erase
from client.commands.site.init import init
from client.commands.site.join import join
from client.commands.site.leave import leave
from client.commands.site.new_key import new_key
from client.commands.site.status import status
from common.cli import command_group

app = command_group(
    "site",
    "Take part in a federation, as one hospital.",
    *(init, join, check, status, audit, leave, new_key, erase),
)
