"""The stream commands that differential.py sends, and how their replies compare.

Ids are drawn from a small range of fixed ones, so that both servers hold the same. `*` is drawn for two streams only
(f0, f1) whose ids lie in the far future: there the next id does not depend on the clock. Idle times to compare with
are nothing or more than any round lasts.
"""

FAR = 9_999_999_999_000  # milliseconds: past every clock
GROUPS = [b"g0", b"g1", b"g2", b"\x00g"]
CLAIMERS = [b"dave", b"erin"]  # 7.0 makes these only when they get something, 7.2 whenever they ask
CONSUMERS = [b"alice", b"bob", b"carol", b"", b"Zoe"]
TIME_LABELS = {b"idle", b"inactive", b"seen-time", b"active-time"}
# What 7.0 does not say, and what tells of the tree that Redis keeps its nodes in.
LEFT_OUT = {b"inactive", b"active-time", b"radix-tree-nodes"}
# The reference is 7.0: consumers without pending entries do not count.
LENIENT = True


def entry_id(d, partial=0.25):
    roll = d.random.random()
    if roll < 0.03:
        return d.random.choice([b"", b"-", b"+", b"x", b"1-x", b"1-", b"-1", b"1-1-1", b"18446744073709551616-0", b"01-02", b" 1",
                                b"1-*", b"*", b"$", b">", b"(1-0", b"1" * 130, b"1\x00-2"])
    if roll < 0.05:
        return d.random.choice([b"18446744073709551615-18446744073709551615", b"18446744073709551615-1", b"0-0", b"0"])
    ms = d.random.randrange(40)
    return b"%d" % ms if roll < partial else b"%d-%d" % (ms, d.random.randrange(3))


def bound(d):
    roll = d.random.random()
    if roll < 0.3:
        return d.random.choice([b"-", b"+"])
    return (b"(" if roll < 0.45 else b"") + entry_id(d)


def key(d):
    return b"f%d" % d.random.randrange(2) if d.chance(0.08) else d.key("r")


def group(d):
    return d.random.choice(GROUPS[:2] if d.chance(0.85) else GROUPS)


def consumer(d):
    return d.random.choice(CONSUMERS)


def claimer(d):
    return d.random.choice(CLAIMERS)


def fields(d):
    if d.chance(0.7):
        words = [word for name in (b"a", b"b", b"c")[:d.random.randint(1, 3)] for word in (name, d.bytes())]
    else:
        words = [d.member() for _ in range(2 * d.random.randint(1, 4))]
    if d.chance(0.03):
        words.pop()
    return words


def trim(d, needed):
    """Words of a trim, or none."""
    if not needed and d.chance(0.8):
        return []
    by_length = d.chance(0.6)
    words = [d.case("MAXLEN" if by_length else "MINID")]
    words += d.random.choice([[], [b"="], [b"~"], [b"~"]])
    words.append(d.random.choice([d.index(), b"%d" % d.random.randrange(60)]) if by_length else entry_id(d))
    if d.chance(0.25):
        words += [d.case("LIMIT"), d.random.choice([b"0", b"1", b"5", b"100", d.index()])]
    if d.chance(0.02):
        words += [d.case("MAXLEN"), b"5"]
    return words


def new_id(d, rising):
    """An id for XADD: usually above those so far, for `rising` counts on."""
    roll = d.random.random()
    if roll < 0.1:
        ident = entry_id(d)
        return ident if ident != b"*" else b"7-*"
    if roll < 0.3:
        return b"%d-*" % d.random.randrange(60)
    rising[0] += d.random.randrange(2)
    return b"%d-%d" % (rising[0] % 4000 // 40, rising[0] % 40)


def xadd(d):
    rising = d.__dict__.setdefault("stream_ids", [0])
    options = [d.case("NOMKSTREAM")] if d.chance(0.05) else []
    if d.chance(0.12):
        ident = b"*" if d.chance(0.6) else b"%d-%d" % (FAR + d.random.randrange(5), d.random.randrange(3))
        # `*` where there is no stream would be the time.
        options = [b"NOMKSTREAM"] if ident == b"*" else options
        return [b"f%d" % d.random.randrange(2), *options, *trim(d, False), ident, *fields(d)]
    return [d.key("r"), *options, *trim(d, False), new_id(d, rising), *fields(d)]


def xread(d):
    keys = [key(d) for _ in range(d.random.choice([1, 1, 2, 3]))]
    words = [[d.case("COUNT"), d.index()]] if d.chance(0.4) else []
    if d.chance(0.05):
        words.append(d.random.choice([[b"NOACK"], [b"GROUP", b"g0", b"bob"], [b"BLOCK", b"x"], [b"BLOCK", b"-1"], [b"BOGUS"]]))
    d.random.shuffle(words)
    ids = [d.random.choice([b"0", b"$", entry_id(d)]) for _ in keys]
    if d.chance(0.03):
        ids.pop()
    return [*(word for option in words for word in option), d.case("STREAMS"), *keys, *ids]


def xreadgroup(d):
    keys = [key(d) for _ in range(d.random.choice([1, 1, 1, 2]))]
    words = [[d.case("GROUP"), group(d), consumer(d)]] if d.chance(0.98) else []
    if d.chance(0.5):
        words.append([d.case("COUNT"), d.random.choice([b"1", b"2", d.index()])])
    if d.chance(0.15):
        words.append([d.case("NOACK")])
    d.random.shuffle(words)
    ids = [d.random.choice([b">", b">", b">", b"0", entry_id(d)]) for _ in keys]
    if d.chance(0.02):
        ids.pop()
    return [*(word for option in words for word in option), d.case("STREAMS"), *keys, *ids]


def ids(d):
    return [entry_id(d, 0.1) for _ in range(d.random.choice([1, 1, 2, 3, 8]))]


def idle(d):
    return d.random.choice([b"0", b"0", b"0", b"10000000", b"-5", d.bad_number()] if d.chance(0.3) else [b"0"])


def xclaim(d):
    options = d.options(d.option("FORCE"), d.option("JUSTID"), d.option("RETRYCOUNT", d.index), d.option("LASTID", lambda: entry_id(d)),
                        d.option("IDLE", lambda: d.random.choice([b"0", b"1000000", b"x"])), d.option("TIME", lambda: b"1000"), share=0.2)
    if d.chance(0.02):
        options.append(b"BOGUS")
    return [key(d), group(d), claimer(d), idle(d), *ids(d), *options]


def xautoclaim(d):
    options = d.options(d.option("COUNT", lambda: d.random.choice([b"1", b"2", b"100", b"0", b"-1", b"x"])), d.option("JUSTID"), share=0.35)
    return [key(d), group(d), claimer(d), idle(d), bound(d), *options]


def xpending(d):
    words = [key(d), group(d)]
    if d.chance(0.4):
        return words
    if d.chance(0.3):
        words += [d.case("IDLE"), idle(d)]
    words += [bound(d), bound(d), d.random.choice([b"10", b"2", d.index()])]
    return words + ([d.random.choice([consumer(d), claimer(d)])] if d.chance(0.3) else [])


def entries_read(d):
    return [d.case("ENTRIESREAD"), d.random.choice([b"-1", b"0", b"3", b"-2", d.index()])] if d.chance(0.2) else []


def xgroup(d):
    roll = d.random.random()
    start = d.random.choice([b"0", b"0", b"$", entry_id(d)])
    if roll < 0.45:
        # Ids of f0 and f1 stay in the far future: no group makes one of them.
        make = [d.case("MKSTREAM")] if d.chance(0.3) else []
        return [d.case("CREATE"), d.key("r") if make else key(d), group(d), start, *make, *entries_read(d)]
    if roll < 0.6:
        return [d.case("SETID"), key(d), group(d), start, *entries_read(d)]
    if roll < 0.68:
        return [d.case("DESTROY"), key(d), group(d)]
    if roll < 0.82:
        return [d.case("CREATECONSUMER"), key(d), group(d), consumer(d)]
    if roll < 0.97:
        return [d.case("DELCONSUMER"), key(d), group(d), consumer(d)]
    return d.random.choice([[b"BOGUS"], [], [b"CREATE", b"r0", b"g0", b"0", b"BOGUS"], [b"SETID", b"r0", b"g0", b"0", b"MKSTREAM"],
                            [b"CREATE", b"r0", b"g0", b"0", *[b"MKSTREAM"] * 4]])


def xinfo(d):
    return d.random.choice([
        lambda: [d.case("STREAM"), key(d)], lambda: [d.case("STREAM"), key(d), d.case("FULL")],
        lambda: [d.case("STREAM"), key(d), b"FULL", b"COUNT", d.random.choice([b"0", b"1", b"3", d.index()])],
        lambda: [d.case("GROUPS"), key(d)], lambda: [d.case("CONSUMERS"), key(d), group(d)],
        lambda: d.random.choice([[b"STREAM", b"r0", b"BOGUS"], [b"BOGUS", b"r0"], [b"STREAM", b"r0", b"FULL", b"COUNT"], []]),
    ])()


def xsetid(d):
    words = [key(d), b"%d" % d.random.randrange(200) if d.chance(0.5) else entry_id(d)]
    if words[0].startswith(b"f"):
        words[1] = b"%d" % (FAR + 10)
    return [*words, *d.options(d.option("ENTRIESADDED", d.index), d.option("MAXDELETEDID", lambda: entry_id(d)), share=0.2)]


COMMANDS = [
    ("XADD", xadd, "exact", 14),
    ("XTRIM", lambda d: [key(d), *trim(d, d.chance(0.95))] or [key(d), b"x"], "exact", 1.5),
    ("XDEL", lambda d: [key(d), *ids(d)], "exact", 2.5),
    ("XLEN", lambda d: [key(d)], "exact", 0.5),
    ("XRANGE", lambda d: [key(d), bound(d), bound(d), *d.options(d.option("COUNT", d.index))], "exact", 2),
    ("XREVRANGE", lambda d: [key(d), bound(d), bound(d), *d.options(d.option("COUNT", d.index))], "exact", 2),
    ("XREAD", xread, "exact", 2.5),
    ("XREADGROUP", xreadgroup, "exact", 6),
    ("XGROUP", xgroup, "exact", 4),
    ("XACK", lambda d: [key(d), group(d), *ids(d)], "exact", 2.5),
    ("XPENDING", xpending, "clock", 2),
    ("XCLAIM", xclaim, "exact", 3),
    ("XAUTOCLAIM", xautoclaim, "exact", 2.5),
    ("XINFO", xinfo, "clock", 2.5),
    ("XSETID", xsetid, "exact", 0.4),
]

RAW_INPUTS = [
    b"xgroup nosuch k g\r\n", b"xgroup create k g\r\n", b"xgroup create nokey g 0\r\n", b"xinfo nosuch k\r\n", b"xinfo\r\n",
    b"xinfo stream nokey\r\n", b"xadd k * a\r\n", b"xadd k * a b c\r\n", b"xadd k 0-0 a b\r\n", b"xadd k maxlen 1 minid 1 1 a b\r\n",
    b"xadd k limit 5 1 a b\r\n", b"xadd k maxlen 5 limit 5 1 a b\r\n", b"xadd k maxlen -1 1 a b\r\n", b"xadd k maxlen ~ 5 limit -1 1 a b\r\n",
    b"xtrim k maxlen\r\n", b"xtrim k limit 5\r\n", b"xtrim k minid + \r\n", b"xread streams a b c\r\n", b"xread count 1 a b\r\n",
    b"xread streams a >\r\n", b"xread group g c streams a >\r\n", b"xreadgroup streams a b c d e\r\n", b"xread block 1 count 1 streams\r\n",
    b"xreadgroup group g c streams a b c\r\n", b"xreadgroup group g c streams a $\r\n", b"xreadgroup group g c count x streams a >\r\n",
    b"xread block -1 streams a 0\r\n", b"xread block x streams a 0\r\n", b"xread block 9223372036854775807 streams a 0\r\n",
    b"xread count streams streams a 0\r\n", b"xreadgroup noack group streams streams streams a >\r\n",
    b"set k v\r\nxreadgroup group g c streams k >\r\n", b"xautoclaim k g c 0 0 count 0\r\n", b"xautoclaim k g c x 0\r\n",
    b"xautoclaim k g c 0 0 count 8070450532247928833\r\n", b"xclaim k g c 0 1\r\n", b"xpending k g 1 2\r\n", b"xpending k g\r\n",
    b"xsetid k 1-1\r\n", b"xsetid k 1-1 maxdeletedid 2-2\r\n", b"xsetid k 1 entriesadded -1\r\n",
    b"xadd k 18446744073709551615-18446744073709551615 a b\r\nxadd k * a b\r\nxadd k 18446744073709551615-* a b\r\n",
    b"xadd k 5-18446744073709551615 a b\r\nxadd k 5-* a b\r\n", b"xadd k 0-* a b\r\nxadd k 0-* a b\r\nxadd k -* a b\r\n",
]


def plain(node, label=None, place=None):
    """A reply without what the clock and the tree of nodes decide: times become marks."""
    kind, value = node
    if isinstance(value, tuple):
        kinds = [item[0] for item in value]
        pending = {(b"$", b"$", b":", b":"): 2, (b"$", b":", b":"): 1}.get(tuple(kinds))
        items, skip, last = [], False, None
        if LENIENT:
            value = tuple(item for item in value if not is_idle_consumer(item))
        for at, item in enumerate(value):
            if skip:
                skip = False
                last = None
                continue
            if item[0] == b"$" and item[1] in LEFT_OUT and at + 1 < len(value):
                skip = True
                continue
            items.append((b":", "time") if at == pending else plain(item, last))
            last = item[1] if item[0] == b"$" else None
        return kind, tuple(items)
    if kind == b":" and (label in TIME_LABELS or LENIENT and label == b"consumers"):
        return kind, "any"
    return node


def is_idle_consumer(node):
    """A consumer, as XINFO shows it, that has nothing pending."""
    value = node[1]
    if not isinstance(value, tuple) or (b"$", b"name") not in value[:1]:
        return False
    labels = {item[1]: value[at + 1] for at, item in enumerate(value[:-1]) if item[0] == b"$"}
    return labels.get(b"pel-count", labels.get(b"pending")) == (b":", b"0") and (b"idle" in labels or b"seen-time" in labels)


def same_but_for_clock(a, b):
    return plain(a) == plain(b)
