"""Do COMMAND, COMMAND INFO and COMMAND DOCS say the same as redis-server's, for every command that both have?

Sentences (summaries, complexities, remarks in histories, notes) are our own, so only their presence is compared. What 7.2 changed
against the reference, 7.0.15, and what is missing here stands in docs/compatibility.md, with the reason; all else that
differs, and a row there that explains nothing, is printed and makes the exit status 1.

    tests/client/command_table.py [--slotwise PATH] [--redis PATH]
"""

import argparse
import re
import sys

from support import ROOT, default_slotwise, redis, slotwise

def explained():
    """What docs/compatibility.md says differs: (command, field) of the rows of its table."""
    text_of = (ROOT / "docs" / "compatibility.md").read_text()
    section = re.search(r"^## The command table beside.*?(?=^## )", text_of, re.S | re.M)
    if not section:
        sys.exit("docs/compatibility.md has no section about the command table")
    rows = re.findall(r"^\| (`.*`) \| ([a-z_, ]+) \| (.+) \|$", section[0], re.M)
    found = {
        (name, field.strip())
        for names, fields, _ in rows
        for name in re.findall(r"`([^`]+)`", names)
        for field in fields.split(",")
    }
    return found


def pairs(value):
    """A map, whichever version of the protocol it came in."""
    if isinstance(value, dict):
        return {text(key): item for key, item in value.items()}
    return {text(value[i]): value[i + 1] for i in range(0, len(value), 2)}


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def plain(value):
    """Bytes to text, all the way down."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {text(key): plain(item) for key, item in value.items()}
    return text(value)


def of_key_spec(spec):
    spec = pairs(spec)
    found = {name: plain(spec[name]) for name in spec if name not in ("notes", "begin_search", "find_keys")}
    found["flags"] = sorted(found["flags"])
    found["notes"] = "notes" in spec
    for part in ("begin_search", "find_keys"):
        search = pairs(spec[part])
        found[part] = (text(search["type"]), pairs(plain(search["spec"])))
    return found


def of_info(info):
    """One entry of COMMAND as a dict of comparable parts, and those of its subcommands by name."""
    name = text(info[0])
    found = {
        name: {
            "arity": info[1],
            "flags": sorted(plain(info[2])),
            "first key, last key, step": info[3:6],
            "ACL categories": sorted(plain(info[6])),
            "tips": sorted(plain(info[7])),
            "key specifications": [of_key_spec(spec) for spec in info[8]],
        }
    }
    for sub in info[9]:
        found.update(of_info(sub))
    return found


def of_arguments(arguments):
    found = []
    for argument in arguments:
        argument = pairs(argument)
        part = {name: plain(argument[name]) for name in argument if name not in ("arguments", "flags", "display_text")}
        part["flags"] = sorted(plain(argument.get("flags", [])))
        part["arguments"] = of_arguments(argument.get("arguments", []))
        found.append(part)
    return found


def of_docs(docs):
    """COMMAND DOCS as a dict of comparable parts by name, subcommands included."""
    found = {}
    for name, one in pairs(docs).items():
        one = pairs(one)
        found[name] = {
            part: sorted(plain(value)) if part == "doc_flags" else plain(value)
            for part, value in one.items()
            if part not in ("summary", "complexity", "history", "arguments", "subcommands")
        }
        found[name]["summary"] = bool(one.get("summary"))
        found[name]["complexity"] = bool(one.get("complexity"))
        # The versions of a history in their order, each with whether something is said about it.
        found[name]["history"] = [(text(version), bool(change)) for version, change in one.get("history", [])]
        found[name]["arguments"] = of_arguments(one.get("arguments", []))
        if "subcommands" in one:
            found.update(of_docs(one["subcommands"]))
    return found


def everything(client):
    """All answers of one server, by what they are about."""
    info = {}
    for entry in client.must("COMMAND"):
        info.update(of_info(entry))
    return {
        "COMMAND INFO": info,
        "COMMAND DOCS": of_docs(client.must("COMMAND", "DOCS")),
    }


def display_texts(arguments, missing, name):
    """What 7.2 adds to arguments: every one that holds no others says how it is shown."""
    for argument in arguments:
        argument = pairs(argument)
        holds = text(argument["type"]) in ("oneof", "block")
        if holds == ("display_text" in argument):
            missing.append(f"{name}: display_text of {text(argument['name'])}")
        display_texts(argument.get("arguments", []), missing, name)


def differences(ours, theirs, known, used):
    """Lines about what differs and is not known; what is known and differs goes into `used`."""
    found = []
    for name in sorted(theirs["COMMAND INFO"].keys() - ours["COMMAND INFO"].keys()):
        # A container that is missing takes its subcommands along.
        rows = {(name, "missing"), (name.split("|")[0], "missing")} & known
        used |= rows
        if not rows:
            found.append(f"{name}: missing here")
    for answer, commands in ours.items():
        for name, parts in commands.items():
            reference = theirs[answer].get(name)
            if reference is None:
                used.add((name, "command"))
                if (name, "command") not in known:
                    found.append(f"{answer} {name}: the reference has no such command")
                continue
            for part in sorted(parts.keys() | reference.keys()):
                if parts.get(part) == reference.get(part):
                    continue
                used.add((name, part))
                if (name, part) in known:
                    continue
                found.append(f"{answer} {name}, {part}:\n  ours   {parts.get(part)}\n  theirs {reference.get(part)}")
    return found


def shapes(ours, theirs):
    """COMMAND INFO byte by byte where the order of its sets is fixed: commands without subcommands."""
    found = []
    for name in ("get", "set", "watch", "echo", "client|id", "config|get", "nosuch", "zadd", "mset"):
        ours.send("COMMAND", "INFO", name)
        theirs.send("COMMAND", "INFO", name)
        (_, a), (_, b) = ours.read(), theirs.read()
        # Remarks are ours, and whether there is one is compared above.
        if b"notes" not in a and a != b and ours.call("COMMAND", "INFO", name) != [None]:
            found.append(f"COMMAND INFO {name} in RESP{ours.resp}:\n  ours   {a!r}\n  theirs {b!r}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slotwise", default=default_slotwise(), help="path of the server under test")
    parser.add_argument("--redis", default="redis-server", help="path of the reference")
    options = parser.parse_args()
    found = []
    known, used = explained(), set()
    with slotwise(options.slotwise) as one, redis(options.redis) as other:
        for resp in (2, 3):
            with one.client(resp) as ours, other.client(resp) as theirs:
                mine, reference = everything(ours), everything(theirs)
                found += [line for line in differences(mine, reference, known, used) if line not in found]
                found += shapes(ours, theirs)
                for name, docs in pairs(ours.must("COMMAND", "DOCS")).items():
                    display_texts(pairs(docs).get("arguments", []), found, name)
    found += [f"docs/compatibility.md explains {part} of {name}, which does not differ" for name, part in sorted(known - used)]
    for line in found:
        print(line)
    compared = len(mine["COMMAND INFO"])
    print(f"{compared} commands and subcommands compared, {len(found)} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
