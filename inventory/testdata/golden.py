#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Asks ansible-core what the inventories in cases/ mean and writes its answers to golden.json.

Needs Debian's ansible-core (its Python is /usr/bin/python3). Run it in this directory: ./golden.py
"""
import json
import os
import sys

os.chdir(os.path.dirname(os.path.abspath(__file__)))
for setting in [k for k in os.environ if k.startswith("ANSIBLE_")]:
    del os.environ[setting]
os.environ["ANSIBLE_LOCALHOST_WARNING"] = "False"

from ansible.inventory.manager import InventoryManager  # noqa: E402
from ansible.parsing.dataloader import DataLoader  # noqa: E402
from ansible.release import __version__  # noqa: E402
from ansible.vars.manager import VariableManager  # noqa: E402

CASES = [
    ("ranges", ["cases/ranges.ini"], "", ["all", "pair", "r1s*", "*s10", "caps[1]", "zero[-1]", "wide[0:1]", "ports:!p1", "10.0.0.2", "10.0.0.*", "web01.ex,db-b"]),
    ("values", ["cases/values.ini"], "", ["g", "h"]),
    ("nomad", ["cases/nomad.ini"], "", [
        "all", "ungrouped", "nomad", "nomad_servers:nomad_clients", "nomad_clients,nomad_servers", "nomad:!nomad_servers",
        "nomad:&dash-name", "!nomad", "&nomad_servers", "&nomad_servers,!s1", "nomad_servers[0]", "nomad_servers[-1]", "nomad_servers[0:1]",
        "nomad_servers[1:]", "nomad_servers[5]", "nomad_servers[5:9]", "nomad[1:3]", "s*", "c?", "c[!2]", "c[12]", "~c[12]", "~s", "~(s|c)1$", "s1:c1",
        "s1,s1,nomad_servers", "nomad_servers:!s*", "!s1,nomad_servers", "nomad_*", "nomad_*[0]", "S1", "nope", "nope,s1", "s1,!nope", "empty", " s1 , c1 ",
        "s1:&nomad_servers:!s1", "*", "nomad_servers:&nomad_clients", "dash-name", "*[0]", "ungrouped[0]", "indented", "~^nomad_s", "s3[0]",
    ]),
    ("tree", ["cases/tree"], "", ["all", "servers", "web", "web:!servers", "fresh", "skip.ini"]),
    ("tree with playbook", ["cases/tree"], "cases/tree/play", ["servers"]),
    ("plain", ["cases/plain.yml"], "", ["all", "nomad", "nomad_servers[0]", "nomad-server2", "none", "port.example.com"]),
    ("list", ["h1,h2,10.0.0.1:2222,"], "", ["all", "h1", "ungrouped[1]", "10.0.0.1"]),
    ("two sources", ["cases/nomad.ini", "cases/second.ini"], "", ["nomad_servers", "all"]),
    ("two sources, other order", ["cases/second.ini", "cases/nomad.ini"], "", ["nomad_servers"]),
]
INTERNAL = {"ansible_facts", "playbook_dir", "ansible_playbook_python", "inventory_dir", "inventory_file", "inventory_hostname", "inventory_hostname_short",
            "groups", "group_names", "omit", "ansible_version", "ansible_config_file", "ansible_check_mode", "ansible_diff_mode", "ansible_forks",
            "ansible_inventory_sources", "ansible_limit", "ansible_verbosity", "ansible_run_tags", "ansible_skip_tags", "environment", "role_names",
            "ansible_play_role_names", "ansible_dependent_role_names", "ansible_role_names", "vars", "hostvars"}


def plain(value):
    """The value as JSON knows it; what is there neither list, dict nor number counts as text."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return {"float": repr(value)}
    return str(value)


def answer(sources, play, patterns):
    loader = DataLoader()
    if play:
        loader.set_basedir(play)
    inventory = InventoryManager(loader=loader, sources=sources)
    variables = VariableManager(loader=loader, inventory=inventory)
    variables.safe_basedir = bool(play)
    result = {"groups": {}, "children": {}, "vars": {}, "patterns": {}, "group_names": {}}
    for name, group in inventory.groups.items():
        result["groups"][name] = [h.name for h in group.get_hosts()]
        result["children"][name] = [g.name for g in group.child_groups]
    for host in inventory.hosts.values():
        merged = variables.get_vars(host=host, include_hostvars=False, stage="all")
        result["vars"][host.name] = {k: plain(v) for k, v in merged.items() if k not in INTERNAL}
        result["group_names"][host.name] = sorted(g.name for g in host.get_groups() if g.name != "all")
    for pattern in patterns:
        try:
            result["patterns"][pattern] = [h.name for h in inventory.get_hosts(pattern)]
        except Exception as error:  # an answer too
            result["patterns"][pattern] = "error: " + type(error).__name__
    return {"sources": sources, "playbook_dir": play, **result}


golden = {"ansible": __version__, "cases": {name: answer(sources, play, patterns) for name, sources, play, patterns in CASES}}
with open("golden.json", "w", encoding="utf-8") as out:
    json.dump(golden, out, indent=1, sort_keys=False)
    out.write("\n")
print("golden.json: answers of ansible-core", __version__, file=sys.stderr)
