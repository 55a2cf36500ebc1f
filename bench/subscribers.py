"""Question: do all subscribers get all that is published?

usage: subscribers.py PORT COUNT CHANNEL

Subscribes with COUNT connections, says `ready`, and reads whatever comes. A line on its input is a number of bytes:
when so many have come since the last such line (or nothing has come for a while), it prints how many have. Ends with
its input.
"""

import os
import select
import socket
import sys
import time

SILENCE_SECONDS_MAX = 10.0
READ_BYTES = 256 * 1024


def main():
    port, count, channel = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode()
    request = b"*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%s\r\n" % (len(channel), channel)
    confirmation = b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n" % (len(channel), channel)
    poll = select.epoll()
    connections = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        connection.sendall(request)
        answer = b""
        while len(answer) < len(confirmation):
            piece = connection.recv(len(confirmation) - len(answer))
            if not piece:
                raise SystemExit("subscribers: the server has closed the connection")
            answer += piece
        if answer != confirmation:
            raise SystemExit(f"subscribers: unexpected reply {answer!r}")
        connection.setblocking(False)
        poll.register(connection.fileno(), select.EPOLLIN)
        connections.append(connection)
    poll.register(0, select.EPOLLIN)
    print("ready", flush=True)
    heard, wanted, last = 0, None, time.monotonic()
    while True:
        for descriptor, _ in poll.poll(0.5, 4096):
            if descriptor == 0:
                line = sys.stdin.readline()
                if not line:
                    return
                wanted, last = int(line), time.monotonic()
                continue
            piece = len(os.read(descriptor, READ_BYTES))
            if piece == 0:
                poll.unregister(descriptor)  # the server has closed it: what is missing tells
                continue
            heard += piece
            last = time.monotonic()
        if wanted is not None and (heard >= wanted or time.monotonic() - last > SILENCE_SECONDS_MAX):
            print(heard, flush=True)
            heard, wanted = 0, None


main()
