"""Question: what does a full sync cost a primary, whatever its replica does with it?

usage: sink.py PORT

A replica that takes the copy and the stream and does nothing with either, at the lowest priority that there is: on a
machine with few CPUs it takes time from nobody who measures. It prints how long the copy was once it has it, and
takes the stream until its input ends.
"""

import os
import select
import socket
import sys
import time

BLOCK = 1 << 20


def main():
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    link = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=600)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.sendall(b"REPLCONF listening-port 1 capa eof capa psync2\r\n")
    lines = link.makefile("rb", buffering=0)  # byte by byte up to the copy, of which nothing may be lost
    assert lines.readline() == b"+OK\r\n"
    link.sendall(b"PSYNC ? -1\r\n")
    while not (line := lines.readline()).startswith(b"+FULLRESYNC "):
        assert line == b"\n", line
    offset = int(line.split()[2])
    while not (line := lines.readline()).startswith(b"$"):
        assert line == b"\n", line
    assert line.startswith(b"$EOF:"), f"the copy should come without a file: {line}"
    mark, end = line[5:].strip(), b""
    block = bytearray(BLOCK)
    taken = 0
    while end != mark:
        count = link.recv_into(block)
        assert count, "the primary closed"
        taken += count
        end = (end + bytes(block[max(0, count - 40):count]))[-40:]
    told = 0.0
    while True:
        if time.monotonic() - told > 0.5:
            told = time.monotonic()
            link.sendall(b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$%d\r\n%d\r\n" % (len(str(offset)), offset))
        if taken:
            print(taken, flush=True)
            taken = 0
        ready, _, _ = select.select([link, sys.stdin], [], [], 0.5)
        if sys.stdin in ready:
            return
        if link in ready:
            count = link.recv_into(block)
            if not count:
                return
            offset += count


main()
