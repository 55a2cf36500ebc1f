"""The commands that differential.py sends: one table, from which random requests with every option are drawn.

An entry says how replies compare:
  exact    byte for byte
  sorted   as multisets: the order of a hash table is nobody's promise
  pairs    as multisets of (field, value) pairs
  ttl      integers within a tolerance, since the two servers are asked one after the other
  idle     integers at most five seconds apart
  refcount any two integers: which objects are shared is no promise
  exec     entry by entry, as the queued commands compare
  score    byte for byte, or equal as numbers (see KNOWN_DIFFERENCES in differential.py)
  sort     byte for byte (see KNOWN_DIFFERENCES), or as multisets where the order is open
  encoding OBJECT ENCODING, with the names 7.2 introduced
  clock    byte for byte but for times (see grammar_streams.py)
`weight` is how often an entry is drawn. Keys come from a small pool whose first letter tells the type a key usually
holds; one in eight is drawn from the whole pool, which gives the wrong types.
"""

import struct

import grammar_scripts
import grammar_streams

KEYS_PER_TYPE = 5
TYPES = "slhtzr"  # string, list, hash, set (t), sorted set, stream (r)


class Draw:
    """A source of random arguments. Everything comes from one seeded generator, so a seed replays a run."""

    def __init__(self, random, many=True):
        self.random = random
        self.many = many  # whether commands come with enough members to change an encoding at once

    def chance(self, share):
        return self.random.random() < share

    def key(self, kind=None):
        random = self.random
        if kind is None or random.random() < 0.12:
            kind = random.choice(TYPES)
        name = f"{kind}{random.randrange(KEYS_PER_TYPE)}"
        form = random.random()
        if form < 0.12:
            return f"{{tag}}{name}".encode()
        if form < 0.17:
            return b"\x00\xff\r\n" + name.encode()
        if form < 0.18:
            return b"missing"
        return name.encode()

    def keys(self, kind, low=1, high=4):
        return [self.key(kind) for _ in range(self.random.randint(low, high))]

    def integer(self):
        random = self.random
        edges = [0, 1, -1, 2, 10, 100, -100, 9999, 2**31 - 1, 2**31, -2**31, 2**63 - 1, -2**63, 2**63, -2**63 - 1,
                 127, 128, -129, 32767, 32768, 8388607]
        return str(random.choice(edges) if random.random() < 0.3 else random.randint(-50, 1000)).encode()

    def small(self, low=-12, high=12):
        return str(self.random.randint(low, high)).encode()

    def bad_number(self):
        return self.random.choice([b"", b"abc", b"1.5x", b" 1", b"1 ", b"+1", b"01", b"0x10", b"--1", b"1e2", b"nan",
                                   b"\x00", b"-0", b"99999999999999999999"])

    def index(self):
        """An index or count: usually small, sometimes absurd."""
        roll = self.random.random()
        if roll < 0.05:
            return self.bad_number()
        return self.integer() if roll < 0.1 else self.small()

    def number(self):
        roll = self.random.random()
        if roll < 0.04:
            return self.bad_number()
        return self.integer()

    def float(self):
        random = self.random
        roll = random.random()
        if roll < 0.05:
            return random.choice([b"inf", b"-inf", b"+inf", b"Infinity"])
        if roll < 0.09:
            return self.bad_number()
        if roll < 0.4:
            return str(random.randint(-20, 20)).encode()
        if roll < 0.5:
            return random.choice([b"1e5", b"1.5e-7", b"3.0e3", b"0.1", b"-0.0", b"1e300", b"5e-324", b"1.7976931348623157e308",
                                  b"9007199254740993", b"123456789012345678", b".5", b"5."])
        return repr(round(random.uniform(-100, 100), random.randint(0, 6))).encode()

    def bytes(self):
        """A value: numbers, text around every encoding threshold, raw binary, the empty string."""
        random = self.random
        roll = random.random()
        if roll < 0.3:
            return self.integer()
        if roll < 0.4:
            return self.float()
        if roll < 0.65:
            return random.choice([b"a", b"b", b"hello", b"foobar", b"ohmytext", b"mynewtext", b"x", b"y"])
        if roll < 0.8:
            return bytes([random.choice(b"abcxyz")]) * random.choice([1, 11, 12, 20, 43, 44, 45, 63, 64, 65, 200, 300])
        if roll < 0.84:
            return b""
        if roll < 0.86:
            return struct.pack("<Q", random.getrandbits(64)) * random.choice([1, 40, 600, 3000])
        return bytes(random.randrange(256) for _ in range(random.randint(1, 24)))

    def member(self):
        """A field, member or element: from a small pool, so that reads hit."""
        random = self.random
        roll = random.random()
        if roll < 0.4:
            return str(random.randint(-5, 25)).encode()
        if roll < 0.75:
            return b"m%d" % random.randrange(25)
        return self.bytes()

    def members(self, low=1, high=5, many=0.06):
        """Usually a few; sometimes enough to change the encoding."""
        random = self.random
        if random.random() < many and self.many:
            if random.random() < 0.5:
                return [str(n).encode() for n in random.sample(range(-40000, 80000), random.choice([20, 130, 520]))]
            return [b"many:%d" % n for n in random.sample(range(5000), random.choice([20, 130]))]
        return [self.member() for _ in range(random.randint(low, high))]

    def case(self, word):
        return word.lower().encode() if self.random.random() < 0.3 else word.encode()

    def options(self, *choices, share=0.3):
        """A random subset, in random order, of option lists; each choice is a function giving words."""
        picked = [choice() for choice in choices if self.random.random() < share]
        self.random.shuffle(picked)
        return [word for words in picked for word in words]

    def option(self, word, *values):
        return lambda: [self.case(word), *(value() for value in values)]

    def far_seconds(self):
        """A time to live that cannot end within a run."""
        return str(self.random.randint(1000, 100000)).encode()

    def far_ms(self):
        return str(self.random.randint(1000000, 100000000)).encode()

    def far_unix(self):
        return str(self.random.choice([4000000000, 4102444800, 9999999999])).encode()

    def far_unix_ms(self):
        return str(self.random.choice([4000000000123, 4102444800999])).encode()

    def odd_time(self):
        """Times that are refused, or that mean "already gone"."""
        return self.random.choice([b"0", b"-1", b"-1000", b"abc", b"9223372036854775807", b"-9223372036854775808",
                                   b"9223372036854775", b"1", b"1.5", b""])


def expire_times(d, absolute, ms):
    if d.chance(0.12):
        # A relative 1 would end within the run, at a moment of its own on each server.
        value = d.odd_time()
        return value if absolute or value != b"1" else b"0"
    if absolute:
        return d.far_unix_ms() if ms else d.far_unix()
    return d.far_ms() if ms else d.far_seconds()


def set_expiry(d):
    word = d.random.choice(["EX", "PX", "EXAT", "PXAT"])
    return [d.case(word), expire_times(d, word.endswith("AT"), word.startswith("P"))]


def score_bound(d):
    roll = d.random.random()
    if roll < 0.2:
        return d.random.choice([b"-inf", b"+inf", b"inf"])
    if roll < 0.24:
        return d.random.choice([b"(", b"((1", b"abc", b"(abc", b"nan", b""])
    return (b"(" if roll < 0.5 else b"") + str(d.random.randint(-20, 20)).encode()


def lex_bound(d):
    roll = d.random.random()
    if roll < 0.3:
        return d.random.choice([b"-", b"+"])
    if roll < 0.35:
        return d.random.choice([b"", b"a", b"(", b"[", b"--"])
    return d.random.choice([b"(", b"["]) + d.member()


def lex_key(d):
    """A sorted set whose members all have one score, or (x3) a key of another type.

    BYLEX over mixed scores answers whatever the skip list's random levels lead to, in Redis too. So these keys are
    kept apart from the pool: no other command can give them a second score.
    """
    return b"x%d" % d.random.randrange(4)


def lex_zadd(d):
    options = d.options(d.option("NX"), d.option("XX"), d.option("CH"), share=0.1)
    key = b"x%d" % d.random.randrange(3)
    return [key, *options, *(word for member in d.members(1, 8) for word in (b"0", member))]


def zrange(d):
    kind = d.random.choice(["", "BYSCORE", "BYLEX"])
    bound = {"": d.index, "BYSCORE": lambda: score_bound(d), "BYLEX": lambda: lex_bound(d)}[kind]
    words = [lex_key(d) if kind == "BYLEX" else d.key("z"), bound(), bound()]
    extra = [[d.case(kind)]] if kind else []
    if d.chance(0.35):
        extra.append([d.case("REV")])
    if d.chance(0.35):
        extra.append([d.case("WITHSCORES")])
    if d.chance(0.3 if kind else 0.04):
        extra.append([d.case("LIMIT"), d.index(), d.index()])
    d.random.shuffle(extra)
    return [*words, *(word for option in extra for word in option)]


def zadd(d):
    options = d.options(d.option("NX"), d.option("XX"), d.option("GT"), d.option("LT"), d.option("CH"), share=0.13)
    if d.chance(0.12):
        options.append(d.case("INCR"))
    pairs = []
    count = d.random.choice([20, 140]) if d.chance(0.05) and d.many else d.random.randint(1, 4)
    for _ in range(1 if b"INCR" in options and d.chance(0.9) else count):
        pairs += [d.float(), d.member()]
    if d.chance(0.03):
        pairs.pop()
    return [d.key("z"), *options, *pairs]


def hset(d):
    pairs = [word for field in d.members(many=0.05) for word in (field, d.bytes())]
    if d.chance(0.03):
        pairs.pop()
    return [d.key("h"), *pairs]


def mset(d):
    pairs = [word for key in d.keys("s", 1, 5) for word in (key, d.bytes())]
    if d.chance(0.03):
        pairs.pop()
    return pairs


def lcs(d):
    options = d.options(d.option("LEN"), d.option("IDX"), d.option("MINMATCHLEN", d.index), d.option("WITHMATCHLEN"))
    return [d.key("s"), d.key("s"), *options]


def expire(absolute, ms):
    def draw(d):
        flags = d.options(d.option("NX"), d.option("XX"), d.option("GT"), d.option("LT"), share=0.12)
        if d.chance(0.02):
            flags.append(b"BOGUS")
        return [d.key(), expire_times(d, absolute, ms), *flags]
    return draw


def copy(d):
    return [d.key(), d.key(), *d.options(d.option("DB", lambda: d.random.choice([b"0", b"1", b"2", b"15", b"16", b"x"])),
                                         d.option("REPLACE"), share=0.3)]


def numkeys(d, kind, low=1, high=3):
    """A number of keys and as many keys; now and then another number."""
    keys = d.keys(kind, low, high)
    count = str(len(keys)).encode() if d.chance(0.96) else d.random.choice([b"0", b"-1", b"x", b"1", b"2", b"99"])
    return [count, *keys]


def zset_operands(d, store=False, plain=False):
    """What ZUNION and its like take; in `plain` ones (ZDIFF) no weights and no aggregate."""
    # Sets take part with a score of 1 each.
    words = numkeys(d, d.random.choice("zzzt"))
    extra = []
    if not plain and d.chance(0.25):
        count = len(words) - 1 if d.chance(0.93) else d.random.randint(0, 4)
        extra.append([d.case("WEIGHTS"), *(d.random.choice([b"1", b"2", b"-1.5", b"0", d.float()]) for _ in range(count))])
    if not plain and d.chance(0.25):
        extra.append([d.case("AGGREGATE"), d.random.choice([b"SUM", b"min", b"MAX", b"AVG"])])
    if d.chance(0.04 if store else 0.4):
        extra.append([d.case("WITHSCORES")])
    d.random.shuffle(extra)
    return [*words, *(word for part in extra for word in part)]


def zrangestore(d):
    words = zrange(d)
    # BYLEX stays with the keys whose members have one score.
    lex = any(word.upper() == b"BYLEX" for word in words[3:])
    target = b"x%d" % d.random.randrange(3) if lex else d.key("z")
    return [target, *(word for word in words if word.upper() != b"WITHSCORES" or d.chance(0.05))]


def by_score(d, reverse):
    words = [d.key("z"), score_bound(d), score_bound(d)]
    extra = []
    if d.chance(0.4):
        extra.append([d.case("WITHSCORES")])
    if d.chance(0.3):
        extra.append([d.case("LIMIT"), d.index(), d.index()])
    d.random.shuffle(extra)
    return [*words, *(word for part in extra for word in part)]


def by_lex(d):
    return [lex_key(d), lex_bound(d), lex_bound(d), *([d.case("LIMIT"), d.index(), d.index()] if d.chance(0.3) else [])]


def end(d, *words):
    return d.case(d.random.choice(words)) if d.chance(0.95) else d.random.choice([b"", b"MIDDLE"])


def mpop(kind, *ends):
    def draw(d):
        words = [*numkeys(d, kind), end(d, *ends)]
        return words + ([d.case("COUNT"), d.index()] if d.chance(0.4) else [])
    return draw


def timeout(d):
    """Of a blocking command: a moment, or nonsense. Never zero, which nobody would end. Redis looks after time-outs when
    it wakes, which may take 100 ms: such commands are drawn rarely."""
    if d.chance(0.9):
        return b"0.001"
    return d.random.choice([b"-1", b"abc", b"", b"nan", b"-inf", b" 1", b"-0.0001x", b"0x.001p0"])


def lpos(d):
    def rank():
        word = d.index()
        return b"-1" if word == b"%d" % -2**63 else word  # 7.2 refuses what it cannot negate
    return [d.key("l"), d.member(), *d.options(d.option("RANK", rank), d.option("COUNT", d.index), d.option("MAXLEN", d.index))]


def client_words(d):
    """CLIENT subcommands that answer the same everywhere."""
    return d.random.choice([
        lambda: [b"GETNAME"], lambda: [b"SETNAME", d.random.choice([b"name", b"a b", b"", b"other"])], lambda: [b"NO-EVICT", b"on"],
        lambda: [b"NO-EVICT", b"off"], lambda: [b"NO-EVICT", b"maybe"], lambda: [b"UNPAUSE"], lambda: [b"UNBLOCK", b"999999999"],
        lambda: [b"UNBLOCK", b"999999999", b"ERROR"], lambda: [b"UNBLOCK", b"1", b"BOGUS"], lambda: [b"KILL", b"ID", b"999999999"],
        lambda: [b"KILL", b"ADDR", b"1.2.3.4:5"], lambda: [b"KILL", b"1.2.3.4:5"], lambda: [b"KILL", b"TYPE", b"nosuch"],
        lambda: [b"KILL", b"SKIPME", b"maybe"], lambda: [b"KILL", b"USER", b"nosuch"], lambda: [b"LIST", b"TYPE", b"replica"],
        lambda: [b"LIST", b"TYPE", b"pubsub"], lambda: [b"LIST", b"TYPE", b"nosuch"], lambda: [b"LIST", b"ID", b"999999999"],
        lambda: [b"PAUSE", b"x"], lambda: [b"PAUSE", b"-1"], lambda: [b"PAUSE", b"0", b"BOGUS"], lambda: [b"REPLY", b"ON"],
        lambda: [b"REPLY", b"BOGUS"], lambda: [b"BOGUS"], lambda: [],
    ])()


def command_words(d):
    """COMMAND GETKEYS and GETKEYSANDFLAGS of requests of every shape, right and wrong."""
    name, arguments, _, _ = d.random.choice(COMMANDS)
    words = arguments(d)[:40] or [b"x"]  # 7.2 lets the command itself say that it lacks arguments, 7.0 not
    return [d.random.choice([b"GETKEYS", b"GETKEYS", b"GETKEYSANDFLAGS"]), name.encode(), *words]


def config_words(d):
    """CONFIG GET of directives with the same value in both servers."""
    names = [b"maxmemory-samples", b"hz", b"databases", b"timeout", b"tcp-keepalive", b"lfu-decay-time", b"save", b"appendonly",
             b"list-compress-depth", b"proto-max-bulk-len", b"client-output-buffer-limit", b"slowlog-log-slower-than", b"nosuch",
             b"slowlog-max-len", b"hash-max-listpack-entries", b"hash-max-ziplist-entries", b"zset-max-listpack-*", b"appendfsync",
             b"notify-keyspace-events", b"lazyfree-lazy-*", b"requirepass", b"maxclients", b"lua-time-limit", b"MAXMEMORY-POLICY",
             b"client-query-buffer-limit", b"set-max-intset-entries", b"activedefrag", b"dynamic-hz", b"latency-monitor-threshold"]
    return [b"GET", *(d.random.choice(names) for _ in range(d.random.choice([1, 1, 1, 2, 3])))]


def bits_key(d):
    """Strings for bits (b3: none). Kept apart, since 7.0 breaks a WATCH even where a bit stays what it was."""
    return d.key("s") if d.chance(0.05) else b"b%d" % d.random.randrange(4)


def bit_offset(d):
    roll = d.random.random()
    if roll < 0.05:
        return d.random.choice([b"-1", b"x", b"4294967296", b"99999999999999999999", b"1.5", b""])
    return str(d.random.choice([0, 1, 7, 8, 9, 63, 64, 65, 511, 5000, 9000]) if roll < 0.4 else d.random.randrange(120)).encode()


def bit_range(d, ends):
    words = []
    for count in range(d.random.choice([0, 0, *ends])):
        words.append(d.random.choice([b"BIT", b"byte", b"BIT", b"bits"]) if count == 2 else d.random.choice([d.index(), d.small(-80, 80)]))
    return words


def bitop(d):
    word = d.random.choice(["AND", "OR", "XOR", "NOT", "or", "NAND"])
    sources = [d.key("s") if d.chance(0.4) else bits_key(d) for _ in range(1 if word == "NOT" and d.chance(0.9) else d.random.randint(1, 4))]
    return [word.encode(), b"b%d" % d.random.randrange(3), *sources]


def field(d):
    sign = d.random.choice("iu")
    kind = d.random.choice([1, 2, 5, 8, 16, 31, 32, 33, 63, 64, 64])
    if d.chance(0.04):
        return [d.random.choice([b"u64", b"i65", b"i0", b"x8", b"", b"u", b"i8x"]), b"0"]
    kind = min(kind, 63) if sign == "u" else kind
    offset = b"#%d" % d.random.randrange(6) if d.chance(0.4) else bit_offset(d)
    return [f"{sign}{kind}".encode(), offset]


def bitfield(d, reads=False):
    words = []
    for _ in range(d.random.randint(0, 4)):
        kind = "GET" if reads and d.chance(0.97) else d.random.choice(["GET", "SET", "INCRBY", "INCRBY", "OVERFLOW"])
        if kind == "OVERFLOW":
            words += [d.case(kind), d.random.choice([b"WRAP", b"sat", b"SAT", b"FAIL", b"FAIL", b"NONE"])]
        elif kind == "GET":
            words += [d.case(kind), *field(d)]
        else:
            words += [d.case(kind), *field(d), d.number()]
    return [bits_key(d), *words]


def hll_key(d):
    """HyperLogLogs, apart from other strings: p3 holds what looks like one and is none."""
    return d.key("s") if d.chance(0.04) else b"p%d" % d.random.randrange(4)


def pfadd(d):
    roll = d.random.random()
    count = d.random.choice([40, 400]) if roll < 0.15 and d.many else d.random.randint(0, 5)
    return [b"p%d" % d.random.randrange(3), *(b"%d" % d.random.randrange(100_000) for _ in range(count))]


def hostile_hll(d):
    header = d.random.choice([b"HYLL\x01", b"HYLL\x00", b"HYLL\x02", b"HYLX\x01"]) + b"\0" * d.random.choice([10, 11, 11, 11])
    body = d.random.choice([b"\x7f\xff", b"\x7f\xfe", b"\x7f\xff\x00", b"\x7f\xf0\x80\x84\x0d", b"", b"\x00" * 12288])
    return [b"p3", header + body]


def place(d):
    if d.chance(0.03):
        return d.random.choice([[b"181", b"0"], [b"0", b"86"], [b"x", b"1"], [b"1", b""], [b"-180", b"85.05112878"], [b"inf", b"1"]])
    if d.chance(0.4):
        return [b"%.6f" % d.random.uniform(-180, 180), b"%.6f" % d.random.uniform(-85, 85)]
    return [b"%.9f" % d.random.uniform(13, 16), b"%.9f" % d.random.uniform(37, 39)]


def geo_key(d):
    # g2 takes results: stored distances are places too, many of them the same one.
    return d.key("z") if d.chance(0.05) else b"g%d" % d.random.randrange(2)


def geo_member(d):
    return b"m%d" % d.random.randrange(40)


def geoadd(d):
    options = d.options(d.option("NX"), d.option("XX"), d.option("CH"), share=0.12)
    count = d.random.choice([20, 130]) if d.chance(0.08) and d.many else d.random.randint(1, 4)
    words = [word for _ in range(count) for word in (*place(d), geo_member(d))]
    return [b"g%d" % d.random.randrange(2), *options, *(words[:-1] if d.chance(0.02) else words)]


def length(d):
    if d.chance(0.03):
        return d.random.choice([b"-1", b"x", b"0", b"inf", b""])
    return b"%d" % d.random.choice([1, 10, 50, 100, 200, 500, 1000, 5000, 10000, 20000])


def unit(d):
    return d.random.choice([b"m", b"km", b"KM", b"km", b"mi", b"ft"] if d.chance(0.97) else [b"yd", b""])


def geo_options(d, shows=0.3):
    # COUNT with ANY takes whatever is found first, so it is the same only where all is found.
    return d.options(d.option("WITHCOORD"), d.option("WITHDIST"), d.option("WITHHASH"), share=shows) + d.options(
        lambda: [d.random.choice([b"ASC", b"desc"])],
        lambda: [d.case("COUNT"), d.random.choice([b"1", b"3", b"10", b"1000", b"0", b"x"]), *([b"ANY"] if d.chance(0.3) else [])])


def radius(by_member, stores):
    def draw(d):
        start = [geo_member(d)] if by_member else place(d)
        words = [geo_key(d), *start, length(d), unit(d)]
        if stores and d.chance(0.3):
            return [*words, *geo_options(d, 0.03), d.random.choice([b"STORE", b"storedist"]), b"g2"]
        return [*words, *geo_options(d)]
    return draw


def geosearch(d, stores=False):
    start = [b"FROMMEMBER", geo_member(d)] if d.chance(0.5) else [d.case("FROMLONLAT"), *place(d)]
    area = [d.case("BYRADIUS"), length(d), unit(d)] if d.chance(0.5) else [b"BYBOX", length(d), length(d), unit(d)]
    words = start + area if d.chance(0.7) else area + start
    if d.chance(0.03):
        words = words[:-1]
    words = [geo_key(d), *words, *geo_options(d, 0.03 if stores else 0.3)]
    return [b"g2", *words, *([b"STOREDIST"] if d.chance(0.3) else [])] if stores else words


def sort_key(d):
    """What is sorted (o0 and o1 lists, o2 a set, o3 a sorted set): apart, so that no set comes where a list is thought."""
    return b"h1" if d.chance(0.03) else b"s1" if d.chance(0.03) else b"o%d" % d.random.randrange(4)


def sort(d, stores=True):
    by = d.random.choice([None, None, b"s*", b"h*->m1", b"{tag}s*", b"none*", b"nosort", b"*"])
    alpha = d.chance(0.5)
    options = []
    if by:
        options.append([d.case("BY"), by])
    if alpha:
        options.append([d.case("ALPHA")])
    if d.chance(0.3):
        options.append([d.random.choice([b"ASC", b"desc"])])
    # Which of equal elements come within a limit is nobody's promise.
    loose = by is not None and (alpha or b"*" not in by)
    if not loose and d.chance(0.3):
        options.append([d.case("LIMIT"), d.index(), d.index()])
    for _ in range(d.random.choice([0, 0, 1, 2])):
        options.append([d.case("GET"), d.random.choice([b"#", b"s*", b"h*->m2", b"{tag}h*->m1", b"s0", b"*->", b"h*->"])])
    if stores and alpha and not loose and d.chance(0.5):
        options.append([d.case("STORE"), d.key("l")])
    d.random.shuffle(options)
    if d.chance(0.02):
        options.append([d.random.choice([b"LIMIT", b"BY", b"BOGUS", b"STORE"])])
    return [sort_key(d), *(word for option in options for word in option)]


def loose_sort(words):
    """Whether the order of a SORT's reply is open: nothing is sorted, or equal texts."""
    upper = [bytes(word).upper() for word in words]
    by = [words[at + 1] for at, word in enumerate(upper[:-1]) if word == b"BY"]
    return bool(by) and (b"ALPHA" in upper or b"*" not in by[-1])


def numbers(d, low, high):
    return [d.random.choice([b"%d" % d.random.randint(-5, 5), b"%d" % d.random.randint(0, 4), b"m1", b"1.5", d.member()])
            if d.chance(0.2) else b"%d" % d.random.randint(-5, 9) for _ in range(d.random.randint(low, high))]


def db(d):
    return d.random.choice([b"0", b"0", b"1", b"2"]) if d.chance(0.95) else d.random.choice([b"16", b"-1", b"x", b""])


# (name, arguments, how replies compare, weight)
COMMANDS = [
    # strings
    ("SET", lambda d: [d.key("s"), d.bytes(), *d.options(lambda: set_expiry(d), d.option("NX"), d.option("XX"), d.option("GET"),
                                                         d.option("KEEPTTL"), share=0.15)], "exact", 6),
    ("GET", lambda d: [d.key("s")], "exact", 4),
    ("GETSET", lambda d: [d.key("s"), d.bytes()], "exact", 1),
    ("GETDEL", lambda d: [d.key("s")], "exact", 1),
    ("GETEX", lambda d: [d.key("s"), *d.options(lambda: set_expiry(d), d.option("PERSIST"), share=0.4)], "exact", 1),
    ("GETRANGE", lambda d: [d.key("s"), d.index(), d.index()], "exact", 2),
    ("SUBSTR", lambda d: [d.key("s"), d.index(), d.index()], "exact", 1),
    ("SETRANGE", lambda d: [d.key("s"), d.random.choice([b"0", b"1", b"5", b"30", b"100", b"-1", b"x", b"536870912",
                                                            b"9223372036854775807"]),
                            d.member()], "exact", 2),
    ("APPEND", lambda d: [d.key("s"), d.bytes()], "exact", 2),
    ("STRLEN", lambda d: [d.key("s")], "exact", 1),
    ("INCR", lambda d: [d.key("s")], "exact", 2),
    ("DECR", lambda d: [d.key("s")], "exact", 1),
    ("INCRBY", lambda d: [d.key("s"), d.number()], "exact", 2),
    ("DECRBY", lambda d: [d.key("s"), d.number()], "exact", 2),
    ("INCRBYFLOAT", lambda d: [d.key("s"), d.float()], "exact", 2),
    ("MGET", lambda d: d.keys("s", 1, 6), "exact", 2),
    ("MSET", mset, "exact", 2),
    ("MSETNX", mset, "exact", 1),
    ("SETNX", lambda d: [d.key("s"), d.bytes()], "exact", 1),
    ("SETEX", lambda d: [d.key("s"), expire_times(d, False, False), d.bytes()], "exact", 1),
    ("PSETEX", lambda d: [d.key("s"), expire_times(d, False, True), d.bytes()], "exact", 1),
    ("LCS", lcs, "exact", 1),
    # generic
    ("DEL", lambda d: d.keys(None, 1, 3), "exact", 3),
    ("UNLINK", lambda d: d.keys(None, 1, 3), "exact", 1),
    ("EXISTS", lambda d: d.keys(None, 1, 5), "exact", 2),
    ("TOUCH", lambda d: d.keys(None, 1, 5), "exact", 1),
    ("TYPE", lambda d: [d.key()], "exact", 2),
    ("RENAME", lambda d: [d.key(), d.key()], "exact", 1),
    ("RENAMENX", lambda d: [d.key(), d.key()], "exact", 1),
    ("COPY", copy, "exact", 2),
    ("MOVE", lambda d: [d.key(), db(d)], "exact", 1),
    ("KEYS", lambda d: [d.random.choice([b"*", b"s*", b"?1", b"[a-h]*", b"[^s]*", b"{tag}*", b"*\\0", b"h[0-2", b"", b"s1"])],
     "sorted", 1),
    ("DBSIZE", lambda d: [], "exact", 1),
    ("EXPIRE", expire(False, False), "exact", 2),
    ("PEXPIRE", expire(False, True), "exact", 1),
    ("EXPIREAT", expire(True, False), "exact", 1),
    ("PEXPIREAT", expire(True, True), "exact", 1),
    ("EXPIRETIME", lambda d: [d.key()], "ttl", 1),
    ("PEXPIRETIME", lambda d: [d.key()], "ttl", 1),
    ("TTL", lambda d: [d.key()], "ttl", 2),
    ("PTTL", lambda d: [d.key()], "ttl", 1),
    ("PERSIST", lambda d: [d.key()], "exact", 1),
    ("OBJECT", lambda d: [d.case("ENCODING"), d.key()], "encoding", 4),
    ("OBJECT", lambda d: [d.random.choice([b"FREQ", b"BOGUS", b"ENCODING", b"REFCOUNT"])] + d.keys(None, 0, 2), "refcount", 1),
    ("OBJECT", lambda d: [d.case("IDLETIME"), d.key()], "idle", 1),
    ("OBJECT", lambda d: [d.case("FREQ"), d.key()], "exact", 3),
    # bits
    ("SETBIT", lambda d: [bits_key(d), bit_offset(d), d.random.choice([b"0", b"1", b"1", b"2" if d.chance(0.1) else b"1"])], "exact", 2),
    ("SADD", lambda d: [b"b3", d.member()], "exact", 0.2),
    ("GETBIT", lambda d: [d.key("s") if d.chance(0.3) else bits_key(d), bit_offset(d)], "exact", 1),
    ("BITCOUNT", lambda d: [d.key("s") if d.chance(0.5) else bits_key(d), *bit_range(d, [1, 2, 2, 3, 3])], "exact", 2),
    ("BITPOS", lambda d: [d.key("s") if d.chance(0.5) else bits_key(d), d.random.choice([b"0", b"1", b"0", b"1", b"2"]),
                          *bit_range(d, [1, 2, 3, 3])], "exact", 2),
    ("BITOP", bitop, "exact", 2),
    ("BITFIELD", bitfield, "exact", 2),
    ("BITFIELD_RO", lambda d: bitfield(d, reads=True), "exact", 1),
    ("GET", lambda d: [b"b%d" % d.random.randrange(3)], "exact", 0.5),
    # HyperLogLogs
    ("PFADD", pfadd, "exact", 2),
    ("PFCOUNT", lambda d: [hll_key(d) for _ in range(d.random.choice([1, 1, 2, 3]))], "exact", 2),
    ("PFMERGE", lambda d: [b"p%d" % d.random.randrange(3), *(hll_key(d) for _ in range(d.random.randint(0, 3)))], "exact", 1),
    ("PFDEBUG", lambda d: [d.random.choice([b"GETREG", b"DECODE", b"encoding", b"BOGUS"]), hll_key(d)], "exact", 0.5),
    ("SET", hostile_hll, "exact", 0.3),
    ("GET", lambda d: [b"p%d" % d.random.randrange(3)], "exact", 0.5),
    # geo indexes
    ("GEOADD", geoadd, "exact", 2),
    ("GEODIST", lambda d: [geo_key(d), geo_member(d), geo_member(d), *([unit(d)] if d.chance(0.5) else [])], "exact", 1),
    ("GEOHASH", lambda d: [geo_key(d), *(geo_member(d) for _ in range(d.random.randint(0, 3)))], "exact", 1),
    ("GEOPOS", lambda d: [geo_key(d), *(geo_member(d) for _ in range(d.random.randint(0, 3)))], "exact", 1),
    ("GEORADIUS", radius(False, True), "exact", 1),
    ("GEORADIUS_RO", radius(False, False), "exact", 0.5),
    ("GEORADIUSBYMEMBER", radius(True, True), "exact", 1),
    ("GEORADIUSBYMEMBER_RO", radius(True, False), "exact", 0.5),
    ("GEOSEARCH", geosearch, "exact", 2),
    ("GEOSEARCHSTORE", lambda d: geosearch(d, stores=True), "exact", 1),
    # sorting
    ("SORT", sort, "sort", 3),
    ("SORT_RO", lambda d: sort(d, stores=False), "sort", 1),
    ("RPUSH", lambda d: [b"o%d" % d.random.randrange(2), *numbers(d, 1, 8)], "exact", 1),
    ("SADD", lambda d: [b"o2", *numbers(d, 1, 5)], "exact", 0.5),
    # SORT leaves a sorted set packed where Redis unpacks it: this one never is.
    ("ZADD", lambda d: [b"o3", b"0", b"9" * 70, *(word for member in numbers(d, 1, 4) for word in (d.small(), member))], "score", 0.5),
    ("DEL", lambda d: [b"o%d" % d.random.randrange(4)], "exact", 0.1),
    # lists
    ("LPUSH", lambda d: [d.key("l"), *d.members()], "exact", 3),
    ("RPUSH", lambda d: [d.key("l"), *d.members()], "exact", 3),
    ("LPUSHX", lambda d: [d.key("l"), *d.members()], "exact", 1),
    ("RPUSHX", lambda d: [d.key("l"), *d.members()], "exact", 1),
    ("LPOP", lambda d: [d.key("l"), *([d.index()] if d.chance(0.4) else [])], "exact", 2),
    ("RPOP", lambda d: [d.key("l"), *([d.index()] if d.chance(0.4) else [])], "exact", 2),
    ("LLEN", lambda d: [d.key("l")], "exact", 1),
    ("LRANGE", lambda d: [d.key("l"), d.index(), d.index()], "exact", 3),
    ("LINDEX", lambda d: [d.key("l"), d.index()], "exact", 2),
    ("LSET", lambda d: [d.key("l"), d.index(), d.member()], "exact", 2),
    ("LREM", lambda d: [d.key("l"), d.index(), d.member()], "exact", 2),
    ("LTRIM", lambda d: [d.key("l"), d.index(), d.index()], "exact", 1),
    ("LINSERT", lambda d: [d.key("l"), d.random.choice([b"BEFORE", b"AFTER", b"before", b"NEAR"]), d.member(), d.member()],
     "exact", 2),
    ("LPOS", lpos, "exact", 2),
    ("LMOVE", lambda d: [d.key("l"), d.key("l"), end(d, "LEFT", "RIGHT"), end(d, "LEFT", "RIGHT")], "exact", 2),
    ("RPOPLPUSH", lambda d: [d.key("l"), d.key("l")], "exact", 1),
    ("LMPOP", mpop("l", "LEFT", "RIGHT"), "exact", 1.5),
    ("BLPOP", lambda d: [*d.keys("l", 1, 3), timeout(d)], "exact", 0.3),
    ("BRPOP", lambda d: [*d.keys("l", 1, 3), timeout(d)], "exact", 0.3),
    ("BLMPOP", lambda d: [timeout(d), *mpop("l", "LEFT", "RIGHT")(d)], "exact", 0.3),
    ("BLMOVE", lambda d: [d.key("l"), d.key("l"), end(d, "LEFT", "RIGHT"), end(d, "LEFT", "RIGHT"), timeout(d)], "exact", 0.3),
    ("BRPOPLPUSH", lambda d: [d.key("l"), d.key("l"), timeout(d)], "exact", 0.3),
    # hashes
    ("HSET", hset, "exact", 4),
    ("HMSET", hset, "exact", 1),
    ("HSETNX", lambda d: [d.key("h"), d.member(), d.bytes()], "exact", 1),
    ("HGET", lambda d: [d.key("h"), d.member()], "exact", 3),
    ("HMGET", lambda d: [d.key("h"), *d.members(many=0)], "exact", 1),
    ("HGETALL", lambda d: [d.key("h")], "pairs", 1),
    ("HKEYS", lambda d: [d.key("h")], "sorted", 1),
    ("HVALS", lambda d: [d.key("h")], "sorted", 1),
    ("HDEL", lambda d: [d.key("h"), *d.members()], "exact", 2),
    ("HLEN", lambda d: [d.key("h")], "exact", 1),
    ("HEXISTS", lambda d: [d.key("h"), d.member()], "exact", 1),
    ("HSTRLEN", lambda d: [d.key("h"), d.member()], "exact", 1),
    ("HINCRBY", lambda d: [d.key("h"), d.member(), d.number()], "exact", 2),
    ("HINCRBYFLOAT", lambda d: [d.key("h"), d.member(), d.float()], "exact", 2),
    # sets
    ("SADD", lambda d: [d.key("t"), *d.members()], "exact", 4),
    ("SREM", lambda d: [d.key("t"), *d.members()], "exact", 2),
    ("SCARD", lambda d: [d.key("t")], "exact", 1),
    ("SISMEMBER", lambda d: [d.key("t"), d.member()], "exact", 1),
    ("SMISMEMBER", lambda d: [d.key("t"), *d.members(many=0)], "exact", 1),
    ("SMEMBERS", lambda d: [d.key("t")], "sorted", 1),
    ("SINTER", lambda d: d.keys("t", 1, 4), "sorted", 1),
    ("SUNION", lambda d: d.keys("t", 1, 4), "sorted", 1),
    ("SDIFF", lambda d: d.keys("t", 1, 4), "sorted", 1),
    ("SINTERSTORE", lambda d: [d.key("t"), *d.keys("t", 1, 4)], "exact", 1),
    ("SUNIONSTORE", lambda d: [d.key("t"), *d.keys("t", 1, 4)], "exact", 1),
    ("SDIFFSTORE", lambda d: [d.key("t"), *d.keys("t", 1, 4)], "exact", 1),
    ("SMOVE", lambda d: [d.key("t"), d.key("t"), d.member()], "exact", 2),
    ("SINTERCARD", lambda d: [*numkeys(d, "t"), *([d.case("LIMIT"), d.index()] if d.chance(0.4) else [])], "exact", 1),
    # sorted sets
    ("ZADD", zadd, "score", 5),
    ("ZADD", lex_zadd, "score", 2),
    ("ZREM", lambda d: [lex_key(d), *d.members()], "exact", 0.5),
    ("DEL", lambda d: [lex_key(d)], "exact", 0.2),
    ("SETNX", lambda d: [b"x3", d.bytes()], "exact", 0.1),
    ("ZREM", lambda d: [d.key("z"), *d.members()], "exact", 2),
    ("ZSCORE", lambda d: [d.key("z"), d.member()], "score", 1),
    ("ZMSCORE", lambda d: [d.key("z"), *d.members(many=0)], "score", 1),
    ("ZCARD", lambda d: [d.key("z")], "exact", 1),
    ("ZINCRBY", lambda d: [d.key("z"), d.float(), d.member()], "score", 2),
    ("ZRANK", lambda d: [d.key("z"), d.member()], "exact", 1),
    ("ZREVRANK", lambda d: [d.key("z"), d.member()], "exact", 1),
    ("ZCOUNT", lambda d: [d.key("z"), score_bound(d), score_bound(d)], "exact", 1),
    ("ZRANGE", zrange, "score", 5),
    ("ZPOPMIN", lambda d: [d.key("z"), *([d.index()] if d.chance(0.4) else [])], "score", 1),
    ("ZPOPMAX", lambda d: [d.key("z"), *([d.index()] if d.chance(0.4) else [])], "score", 1),
    ("ZRANGEBYSCORE", lambda d: by_score(d, False), "score", 1.5),
    ("ZREVRANGEBYSCORE", lambda d: by_score(d, True), "score", 1.5),
    ("ZREVRANGE", lambda d: [d.key("z"), d.index(), d.index(), *([d.case("WITHSCORES")] if d.chance(0.4) else [])], "score", 1),
    ("ZRANGEBYLEX", by_lex, "exact", 1),
    ("ZREVRANGEBYLEX", by_lex, "exact", 1),
    ("ZLEXCOUNT", lambda d: [lex_key(d), lex_bound(d), lex_bound(d)], "exact", 1),
    ("ZREMRANGEBYLEX", lambda d: [lex_key(d), lex_bound(d), lex_bound(d)], "exact", 0.4),
    ("ZREMRANGEBYSCORE", lambda d: [d.key("z"), score_bound(d), score_bound(d)], "exact", 0.6),
    ("ZREMRANGEBYRANK", lambda d: [d.key("z"), d.index(), d.index()], "exact", 0.6),
    ("ZRANGESTORE", zrangestore, "exact", 1),
    ("ZUNION", zset_operands, "score", 1),
    ("ZINTER", zset_operands, "score", 1),
    ("ZDIFF", lambda d: zset_operands(d, plain=True), "score", 1),
    ("ZUNIONSTORE", lambda d: [d.key("z"), *zset_operands(d, store=True)], "exact", 1),
    ("ZINTERSTORE", lambda d: [d.key("z"), *zset_operands(d, store=True)], "exact", 1),
    ("ZDIFFSTORE", lambda d: [d.key("z"), *zset_operands(d, store=True, plain=True)], "exact", 1),
    ("ZINTERCARD", lambda d: [*numkeys(d, "z"), *([d.case("LIMIT"), d.index()] if d.chance(0.4) else [])], "exact", 1),
    ("ZMPOP", mpop("z", "MIN", "MAX"), "score", 1.5),
    ("BZMPOP", lambda d: [timeout(d), *mpop("z", "MIN", "MAX")(d)], "score", 0.3),
    ("BZPOPMIN", lambda d: [*d.keys("z", 1, 3), timeout(d)], "score", 0.3),
    ("BZPOPMAX", lambda d: [*d.keys("z", 1, 3), timeout(d)], "score", 0.3),
    *grammar_streams.COMMANDS,
    *grammar_scripts.COMMANDS,
    # transactions; EXEC's reply compares entry by entry, as its commands do
    ("MULTI", lambda d: [], "exact", 3),
    ("EXEC", lambda d: [], "exec", 3),
    ("RESET", lambda d: [], "exact", 0.2),
    ("DISCARD", lambda d: [], "exact", 0.4),
    ("WATCH", lambda d: d.keys(None, 1, 3), "exact", 2),
    ("UNWATCH", lambda d: [], "exact", 0.4),
    # connection and whole databases
    ("PING", lambda d: [d.bytes()] if d.chance(0.5) else [], "exact", 0.5),
    ("ECHO", lambda d: [d.bytes()], "exact", 0.5),
    ("SELECT", lambda d: [db(d)], "exact", 1),
    ("SWAPDB", lambda d: [db(d), db(d)], "exact", 0.4),
    ("FLUSHDB", lambda d: [d.random.choice([b"ASYNC", b"SYNC", b"async", b"NOW"])] if d.chance(0.6) else [], "exact", 0.1),
    ("FLUSHALL", lambda d: [d.random.choice([b"ASYNC", b"SYNC"])] if d.chance(0.6) else [], "exact", 0.1),
    ("CLIENT", client_words, "exact", 1),
    ("COMMAND", command_words, "exact", 2),
    ("CONFIG", config_words, "pairs", 1),
    ("NOSUCHCOMMAND", lambda d: d.members(0, 3, many=0), "exact", 0.3),
]

HOW = {}
for _name, _, _how, _ in COMMANDS:
    HOW.setdefault(_name, _how)

# Commands whose replies are random or whose walk differs: each is one step with a check of its own.
SPECIALS = [("SPOP", 2), ("SRANDMEMBER", 2), ("HRANDFIELD", 2), ("ZRANDMEMBER", 2), ("RANDOMKEY", 1), ("SCAN", 1), ("HSCAN", 1), ("SSCAN", 1), ("ZSCAN", 1),
            ("SHORT_EXPIRY", 0.3)]

# Raw input, sent as it stands and followed by a PING: what comes back, and whether the connection is closed, must agree.
RAW_INPUTS = [
    b"PING\r\n", b"ping hello\r\n", b"\r\n\r\nPING\r\n", b"SET k v\r\nGET k\r\n", b"SET k \"a\\x41\\n\"\r\nGET k\r\n",
    b"SET k 'it\\'s'\r\nGET k\r\n", b"SET k \"unbalanced\r\n", b"SET k \"a\"b\r\n", b"GET 'k\r\n", b"PING\n", b"ECHO \"\"\r\n",
    b"*0\r\n", b"*-1\r\n", b"*-10\r\n", b"*1\r\n$4\r\nPING\r\n", b"*1\r\n$4\r\nPINGxx", b"*abc\r\n", b"*\r\n", b"*1x\r\n",
    b"*1\r\n+PING\r\n", b"*1\r\n:1\r\n", b"*2\r\n$3\r\nGET\r\n$-1\r\n", b"*2\r\n$3\r\nGET\r\n$abc\r\n", b"*2\r\n$3\r\nGET\r\n$\r\n",
    b"*2\r\n$3\r\nGET\r\n$536870913\r\n", b"*2147483648\r\n", b"*99999999999999999999\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n",
    b"*1\r\n$0\r\n\r\n", b"*2\r\n$0\r\n\r\n$1\r\na\r\n", b"get\r\n", b"get a b\r\n", b"nosuch\r\n", b"nosuch a b c\r\n",
    b"nosuch " + b"x" * 300 + b"\r\n", b"n" * 300 + b"\r\n", b"object\r\n", b"object nosuch x\r\n", b"client nosuch\r\n",
    b"config nosuch\r\n", b"config get\r\n", b"hello 1\r\n", b"hello 4\r\n", b"hello abc\r\n", b"hello 2 bogus\r\n",
    b"hello 3 auth default\r\n", b"auth a b c\r\n", b"auth x\r\n", b"auth nobody x\r\n", b"auth default x\r\n", b"select 99\r\n",
    b"select a\r\n", b"exec\r\n", b"discard\r\n", b"multi\r\nmulti\r\nexec\r\n", b"multi\r\nwatch a\r\nexec\r\n",
    b"multi\r\nget\r\nexec\r\n", b"multi\r\nnosuch\r\nset a b\r\nexec\r\n", b"multi\r\nset a b\r\nincr a\r\nget a\r\nexec\r\n",
    b"multi\r\nget \"\r\n", b"quit\r\n", b"reset\r\n", b"multi\r\nreset\r\nexec\r\n", b"client reply off\r\nping\r\nclient reply on\r\n",
    b"client reply skip\r\nping\r\nping\r\n", b"client reply bogus\r\n", b"client setname \"a b\"\r\n", b"client setname x\r\nclient getname\r\n",
    b"client getname\r\n", b"client kill 1.2.3.4:5\r\n", b"client kill id abc\r\n", b"client kill\r\n", b"client unblock 999999\r\n",
    b"client unblock x\r\n", b"client no-evict maybe\r\n", b"client no-evict on\r\n", b"client pause x\r\n", b"client list type nosuch\r\n",
    b"client list id x\r\n", b"ping a b\r\n", b"echo\r\n", b"swapdb 0 99\r\n", b"swapdb a b\r\n", b"flushall now\r\n", b"dbsize x\r\n",
    b"scan x\r\n", b"scan 0 count 0\r\n", b"scan 0 count x\r\n", b"scan 0 bogus\r\n", b"scan 0 match\r\n", b"scan 0 type nosuch\r\n",
    b"hscan nokey 0\r\n", b"sscan nokey x\r\n", b"zscan nokey 0 count 0\r\n", b"spop nokey -1\r\n", b"spop nokey x\r\n", b"spop nokey 0\r\n",
    b"spop nokey 1 2\r\n", b"srandmember nokey x\r\n", b"srandmember nokey -9223372036854775808\r\n", b"srandmember nokey 5\r\n",
    b"debug nosuch\r\n", b"config set nosuch 1\r\n", b"config set maxmemory x\r\n", b"config set maxmemory 0 nosuch 1\r\n",
    b"config set maxmemory 0 maxmemory 0\r\n", b"slowlog get x\r\n", b"slowlog len x\r\n", b"memory usage\r\n", b"memory usage nokey\r\n",
    b"memory usage k samples x\r\n", b"command getkeys\r\n", b"command getkeys get a\r\n", b"command getkeys mset a 1 b 2\r\n",
    b"command getkeys ping x\r\n", b"command getkeys nosuch x\r\n", b"command getkeysandflags set a b\r\n", b"command info get\r\n",
    b"command info nosuch\r\n", b"command list filterby bogus x\r\n", b"latency nosuch\r\n", b"latency history\r\n", b"latency latest\r\n",
    b"config set maxmemory\r\n", b"config set\r\n", b"config set hz abc\r\n", b"config set hz 0\r\n", b"config set port x\r\n",
    b"config set databases 4\r\n", b"config set maxmemory-policy bogus\r\n", b"config set appendfsync maybe\r\n",
    b"config set save x\r\n", b"config set save \"1 2 3\"\r\n", b"config set client-output-buffer-limit bogus\r\n",
    b"config set client-output-buffer-limit \"normal 1 2\"\r\n", b"config set notify-keyspace-events Q\r\n",
    b"config set notify-keyspace-events KEA\r\nconfig get notify-keyspace-events\r\nconfig set notify-keyspace-events \"\"\r\n",
    b"config set maxmemory 1gb\r\nconfig get maxmemory\r\nconfig set maxmemory 0\r\n", b"config set maxmemory -1\r\n",
    b"config set maxmemory 12zb\r\n", b"config set loglevel loud\r\n", b"config set lazyfree-lazy-eviction maybe\r\n",
    b"config set list-max-listpack-size 99999999999999\r\n", b"config set lfu-log-factor -1\r\n", b"config set timeout -1\r\n",
    b"config set tcp-keepalive x\r\n", b"config set maxclients 0\r\n", b"config set slowlog-max-len -5\r\n",
    b"config set proto-max-bulk-len 1\r\n", b"config set hz 10 hz 11\r\n", b"config set hash-max-ziplist-entries 99 "
    b"hash-max-listpack-entries 100\r\n", b"config set list-max-ziplist-size -2\r\nconfig get list-max-ziplist-size\r\n",
    b"config get maxmemory-s* maxmemory-samples\r\n", b"config get \"[a\"\r\n", b"config rewrite x\r\n", b"config resetstat x\r\n",
    b"config resetstat\r\n", b"debug\r\n", b"debug sleep 0\r\n", b"memory\r\n", b"memory nosuch\r\n", b"memory doctor x\r\n",
    b"memory purge\r\n", b"set k v\r\nmemory usage k samples -1\r\n", b"set k v\r\nmemory usage k samples\r\n",
    b"set k v\r\nmemory usage k bogus 1\r\n", b"slowlog\r\n", b"slowlog nosuch\r\n", b"slowlog reset\r\n", b"slowlog get -2\r\n",
    b"slowlog get 1 2\r\n", b"latency\r\n", b"latency reset x\r\n", b"latency reset\r\n", b"latency graph nosuch\r\n",
    b"latency history nosuch\r\n", b"latency histogram nosuch\r\n", b"latency latest x\r\n", b"object help x\r\n",
    b"object encoding\r\n", b"object freq nokey\r\n", b"object idletime nokey\r\n", b"set k v\r\nobject freq k\r\n",
    b"command list filterby\r\n", b"command list filterby module x\r\n", b"command list filterby aclcat nosuch\r\n",
    b"command list filterby aclcat connection x\r\n", b"command list filterby pattern \"hgetal*\"\r\n", b"command count x\r\n",
    b"command docs nosuch\r\n", b"command nosuch\r\n", b"command getkeysandflags\r\n", b"command getkeys set a\r\n",
    b"hello\r\n", b"hello 3\r\n", b"hello 2\r\n", b"hello 3 setname x\r\n", b"hello 3 setname\r\n", b"hello 3 setname \"a b\"\r\n",
    b"hello 3 auth\r\n", b"hello 3 auth default nopass\r\n", b"hello 3 auth nobody x\r\n", b"hello 3 bogus x\r\nping\r\n", b"hello 99999999999999\r\n",
    b"multi\r\nhello 3\r\nexec\r\n", b"multi\r\nreset\r\nping\r\n", b"multi\r\nquit\r\n", b"multi\r\nselect 1\r\nset a b\r\nexec\r\nget a\r\n",
    b"watch a\r\nset a 1\r\nmulti\r\nget a\r\nexec\r\n", b"watch a\r\nmulti\r\nset a 1\r\nexec\r\n", b"watch a\r\nflushall\r\nmulti\r\nexec\r\n",
    b"set a 1\r\nwatch a\r\nflushdb\r\nmulti\r\nexec\r\n", b"set a 1\r\nwatch a\r\nswapdb 0 1\r\nmulti\r\nexec\r\n",
    b"set a 1\r\nwatch b\r\nrename a b\r\nmulti\r\nexec\r\n", b"watch a\r\nunwatch\r\nset a 1\r\nmulti\r\nexec\r\n",
    b"watch a\r\ndel a\r\nmulti\r\nexec\r\n", b"set a 1\r\nwatch a\r\nexpire a 100\r\nmulti\r\nexec\r\n",
    b"set a 1\r\nwatch a\r\nexpire a -1\r\nmulti\r\nexec\r\n", b"watch\r\n", b"multi x\r\n", b"exec x\r\n", b"multi\r\nexec x\r\nexec\r\n",
    b"multi\r\nclient reply off\r\nexec\r\n", b"client no-evict\r\n", b"client id x\r\n", b"client pause\r\n", b"client pause 0 write\r\n",
    b"client unpause x\r\n", b"client kill type normal skipme\r\n", b"client kill bogus x\r\n", b"client kill id 0\r\n", b"client kill laddr x\r\n",
    b"client list id\r\n", b"client list id 0\r\n", b"client list bogus\r\n", b"client reply\r\n", b"client setname\r\n", b"client info x\r\n",
    b"select\r\n", b"select -1\r\n", b"select 99999999999999999999\r\n", b"swapdb 0\r\n", b"swapdb 0 0\r\n", b"swapdb -1 0\r\n", b"swapdb 0 x\r\n",
    b"flushdb async sync\r\n", b"randomkey x\r\n", b"randomkey\r\n", b"keys\r\n", b"info bogus\r\n", b"shutdown nosave save\r\n", b"shutdown abort\r\n",
 b"monitor x\r\n", b"reset x\r\n", b"quit x\r\n", b"*1\r\n$4\r\nquit\r\n*1\r\n$4\r\nPING\r\n",
    b"rpush a 1\r\nblpop a 0\r\nping\r\n", b"blpop\r\n", b"blpop a\r\n", b"blpop a -1\r\n", b"blpop a x\r\n", b"blmpop 0.01 1 a\r\n", b"blmpop x 1 a left\r\n",
    b"blmpop 0.01 0 a left\r\n", b"blmpop 0.01 1 a up\r\n", b"blmove a b left up 0.01\r\n", b"brpoplpush a b -1\r\n",
    b"bzmpop -1 1 a min\r\n", b"wait 0 0\r\n", b"wait x 0\r\n", b"wait 0 x\r\n",
    b"wait 1 -1\r\n", b"multi\r\nblpop a 0\r\nwait 3 0\r\nblmove a b left left 0\r\nexec\r\n",
    b"rpush a 1 2\r\nmulti\r\nblpop a 0\r\nblmpop 0 2 b a left count 5\r\nbzpopmax z 0\r\nexec\r\n",
    b"time x\r\n", b"wait\r\n", b"shutdown bogus\r\n", b"Post / HTTP/1.1\r\n", b"Host: x\r\n", *grammar_streams.RAW_INPUTS,
]
