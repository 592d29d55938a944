#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Write expressions.golden and templates.golden: Ansible's own answers to the lines of the .txt files beside them.

Needs ansible-core (Debian: apt-get install ansible-core). Run it in this directory after a change of a .txt file:

    /usr/bin/python3 oracle.py

Each line of a golden file is JSON: {"value": ...} for an answer, {"error": "..."} for a refusal. Templates are joined
by the rule of ansible-core 2.19 also where an older one is installed: a value that is text stays text.
"""

import json
import pathlib

import ansible.constants as C

C.DEFAULT_JINJA2_NATIVE = True

from ansible.parsing.dataloader import DataLoader  # noqa: E402
from ansible.release import __version__  # noqa: E402
from ansible.template import AnsibleNativeEnvironment, Templar  # noqa: E402
from jinja2 import nodes as jinja_nodes  # noqa: E402
from jinja2.nativetypes import NativeCodeGenerator  # noqa: E402


def join(nodes):
    values = list(nodes)
    if not values:
        return ""
    if len(values) == 1:
        return values[0]
    return "".join("" if value is None else str(value) for value in values)


class CodeGenerator(NativeCodeGenerator):
    """Compiles constants like everything else; folded into the text they would lose their type."""

    def _output_child_to_const(self, node, frame, finalize):
        if not isinstance(node, jinja_nodes.TemplateData):
            raise jinja_nodes.Impossible()
        return super()._output_child_to_const(node, frame, finalize)


AnsibleNativeEnvironment.code_generator_class = CodeGenerator
AnsibleNativeEnvironment.concat = staticmethod(join)

HERE = pathlib.Path(__file__).parent
VARIABLES = json.loads((HERE / "variables.json").read_text())


def answer(text):
    templar = Templar(loader=DataLoader(), variables=json.loads(json.dumps(VARIABLES)))
    try:
        value = templar.template(text, fail_on_undefined=True)
        if type(value).__name__ in ("dict_keys", "dict_values", "dict_items", "generator", "range", "zip", "map", "filter"):
            value = list(value)
        return {"value": json.loads(json.dumps(value, default=list))}
    except Exception as error:  # every refusal counts, whatever its type
        return {"error": type(error).__name__}


def main():
    for name, form in (("expressions", "{{{{ {} }}}}"), ("templates", "{}")):
        lines = (HERE / (name + ".txt")).read_text().splitlines()
        with (HERE / (name + ".golden")).open("w") as out:
            out.write("# answers of ansible-core %s\n" % __version__)
            for line in lines:
                if not line.startswith("##") and line:
                    out.write(json.dumps(answer(form.format(line.replace("¶", "\n")))) + "\n")


if __name__ == "__main__":
    main()
