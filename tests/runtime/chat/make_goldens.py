"""Renders every template in FOLDER/templates over the conversations of conversations.json with jinja2 (PyPI), set up as transformers sets it
up, into FOLDER/golden/<template>.json: {conversation: {"text": ...}, {"raised": message} or {"error": ...}}; and every line of expressions.txt, a
template each, over nothing, into golden/expressions.json.

    python3 make_goldens.py [FOLDER]      # FOLDER: this one
"""
import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

here = pathlib.Path(__file__).parent
now = datetime.datetime(2024, 7, 26, 9, 5, 3)  # template_test.cpp has the same


class Raised(Exception):
    pass


def raise_exception(message):
    raise Raised(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class Generation(jinja2.ext.Extension):
    """`{% generation %}` marks the answers in training templates; it changes nothing."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller):
        return caller()


environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = lambda format: now.strftime(format)


def render(template, conversation):
    given = {"messages": conversation["messages"], "tools": conversation.get("tools"),
             "add_generation_prompt": conversation.get("add_generation_prompt", True), "bos_token": "<s>", "eos_token": "</s>"}
    try:
        return {"text": template.render(**given)}
    except Raised as e:
        return {"raised": str(e)}
    except Exception as e:  # a template may fail in any way python can
        return {"error": str(e)}


def expression(source):
    try:
        return {"text": environment.from_string(source).render()}
    except Exception as e:
        return {"error": str(e)}


def write(path, golden):
    path.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here
    conversations = json.loads((here / "conversations.json").read_text())
    (folder / "golden").mkdir(exist_ok=True)
    for path in sorted((folder / "templates").glob("*.jinja")):
        template = environment.from_string(path.read_text())
        golden = {c["name"]: render(template, c) for c in conversations}
        write(folder / "golden" / (path.stem + ".json"), golden)
    if folder == here:
        lines = [line for line in (here / "expressions.txt").read_text().splitlines() if line]
        write(here / "golden" / "expressions.json", {line: expression(line) for line in lines})


main()
