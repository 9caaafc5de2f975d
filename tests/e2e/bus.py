"""A client of the daemon on the session bus that knows nothing of it but its introspection: jeepney, pure Python.

Prints a JSON object of what it found; the test around it judges.
"""
import json
import os
import sys
import tempfile
import time

import jeepney
from jeepney.io.blocking import open_dbus_connection
from jeepney.wrappers import DBusErrorResponse, unwrap_msg

NAME, ROOT = "org.sharekaro.ShareKaro1", "/org/sharekaro/ShareKaro1"
manager = jeepney.DBusAddress(ROOT, bus_name=NAME, interface=f"{NAME}.Manager1")
messages = manager.with_interface(f"{NAME}.Messages1")
objects = manager.with_interface("org.freedesktop.DBus.ObjectManager")
found = {}

with open_dbus_connection(os.environ["DBUS_SESSION_BUS_ADDRESS"], enable_fds=True) as bus:

    def ask(address, method, signature=None, body=()):
        return unwrap_msg(bus.send_and_get_reply(jeepney.new_method_call(address, method, signature, body), timeout=60))

    def error(address, method, signature=None, body=()):
        try:
            ask(address, method, signature, body)
        except DBusErrorResponse as refused:
            return refused.name

    for _ in range(200):
        if unwrap_msg(bus.send_and_get_reply(jeepney.message_bus.NameHasOwner(NAME)))[0]:
            break
        time.sleep(0.1)  # the daemon was started a moment ago

    finished = jeepney.MatchRule(type="signal", interface=manager.interface, member="TransferFinished", path=ROOT)
    unwrap_msg(bus.send_and_get_reply(jeepney.message_bus.AddMatch(finished)))
    with bus.filter(finished) as ends, tempfile.TemporaryFile() as file:
        file.write(b"x" * 300_000)
        file.flush()
        file.seek(0)
        (jobs,) = ask(manager, "SendFds", "a(sh)asa{sv}", ([("handed over", file)], [sys.argv[1]], {"note": ("s", "from Python")}))
        found["finished"] = bus.recv_until_filtered(ends, timeout=60).body[:2] == (jobs[0], "done")
    (ids,) = ask(manager, "SendMessage", "sasa{sv}", ("from Python", [sys.argv[1]], {}))
    (listed,) = ask(messages, "List", "stu", (sys.argv[1], 0, 10))
    found["listed"] = ids[0] in [message["id"][1] for message in listed]
    (all_objects,) = ask(objects, "GetManagedObjects")
    found["transfer"] = all_objects[jobs[0]][f"{NAME}.Transfer1"]["State"][1]
    found["interfaces"] = sorted({interface.rpartition(".")[2] for held in all_objects.values() for interface in held if interface.startswith(NAME)})
    (verdicts,) = ask(manager, "Diagnose", "s", (sys.argv[1],))
    found["verdicts"] = [code for code, severity, _, _ in verdicts if severity != "note"]
    found["errors"] = [
        error(manager, "FindPeer", "s", ("nobody",)),
        error(manager, "SendMessage", "sasa{sv}", ("", [sys.argv[1]], {})),
        error(manager, "SendMessage", "sasa{sv}", ("x", [sys.argv[1]], {"nonsense": ("b", True)})),
        error(manager, "Send", "s", ("hello",)),
    ]
print(json.dumps(found))
