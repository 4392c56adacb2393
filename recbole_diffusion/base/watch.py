"""Ends the processes of a training, with one line, when one of them fails or dies."""

import logging
import os
import secrets
import selectors
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any

# What a rank says before it leaves, in good order or not.
DONE, FAILED, INTERRUPTED = "done", "failed", "interrupted"
LONGEST = 2000
# Seconds for a rank that fails of itself to say so, where another's failure has been heard of.
GRACE = 0.5
# Seconds in which a broken connection is explained by a word of the watch.
EXPLAINED_WITHIN = 10.0
CONNECTED_WITHIN = 60.0
EXIT_CODE = 1


class Watch:
    """Connections of rank 0 with all others, which the system closes for a process that dies.

    A thread listens to them: the process may be in a collective operation that never ends.

    Args:
        store: Of the group, where rank 0 says where it listens.
        rank: Of this process.
        size: Number of processes.
        host: Address of rank 0.
    """

    def __init__(self, store: Any, rank: int, size: int, host: str) -> None:
        self._rank = rank
        self._is_leaving = False
        self._peers = _accepted(store, size) if rank == 0 else {0: _connected(store, rank, host)}
        threading.Thread(target=self._listen, name="watch of ranks", daemon=True).start()

    def leave(self) -> None:
        """Say that this rank has done its part."""
        self._is_leaving = True
        self._say(DONE)

    def fail(self, error: BaseException) -> None:
        """Say why this rank ends; the error itself is told by whoever catches it."""
        self._is_leaving = True
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            self._say(INTERRUPTED)
            return
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        text = kind + " ".join(str(error).split())
        self._say(f"{FAILED} rank {self._rank} failed: {text[:LONGEST]}")

    def explain(self) -> None:
        """Wait for a word of the rank that broke a connection, which ends this process."""
        time.sleep(EXPLAINED_WITHIN)

    def _say(self, word: str, but: int | None = None) -> None:
        for rank, peer in self._peers.items():
            if rank != but:
                with suppress(OSError):
                    peer.sendall(f"{word}\n".encode())

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            for rank, peer in self._peers.items():
                selector.register(peer, selectors.EVENT_READ, rank)
            while selector.get_map():
                for key, _ in selector.select():
                    word = _line(self._peers[key.data])
                    if word.startswith((INTERRUPTED, DONE)):
                        selector.unregister(key.fileobj)
                    if not word.startswith(DONE):
                        self._end(key.data, word)

    def _end(self, rank: int, word: str) -> None:
        """End this process for what happened to another, unless it is leaving anyway."""
        text = word.removeprefix(FAILED).strip()
        if word.startswith(INTERRUPTED):
            text = f"rank {rank} was interrupted"
        elif not text:
            text = f"rank {rank} died without a word (killed, or out of memory?)"
        if not self._is_leaving:
            self._say(f"{FAILED} {text}", but=rank)
        time.sleep(GRACE)
        if not self._is_leaving:
            _tell(f"rank {self._rank} ends: {text}")
            os._exit(EXIT_CODE)  # the main thread may wait for ever


def _tell(line: str) -> None:
    """On stderr, and in the run's log where there is one."""
    sys.stderr.write(f"error: {line}\n")
    sys.stderr.flush()
    record = logging.makeLogRecord({"levelno": logging.ERROR, "levelname": "ERROR", "msg": line})
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def _accepted(store: Any, size: int) -> dict[int, socket.socket]:
    """Connections of rank 0 by rank; what does not know the word is turned away."""
    word = secrets.token_hex(16)
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    with socket.create_server(("", 0), family=family, dualstack_ipv6=dual) as server:
        server.settimeout(CONNECTED_WITHIN)
        store.set("watch", f"{server.getsockname()[1]} {word}")
        peers: dict[int, socket.socket] = {}
        while len(peers) < size - 1:
            peer, _ = server.accept()
            peer.settimeout(CONNECTED_WITHIN)
            said, _, rank = _line(peer).partition(" ")
            if secrets.compare_digest(said.encode(), word.encode()) and rank.isdecimal():
                peers[int(rank)] = _kept(peer)
            else:
                peer.close()
    return peers


def _connected(store: Any, rank: int, host: str) -> socket.socket:
    port, word = store.get("watch").decode().split()
    peer = socket.create_connection((host, int(port)), timeout=CONNECTED_WITHIN)
    peer.sendall(f"{word} {rank}\n".encode())
    return _kept(peer)


def _kept(peer: socket.socket) -> socket.socket:
    """A connection that waits for ever, and breaks when the other machine is gone."""
    peer.settimeout(None)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return peer


def _line(peer: socket.socket) -> str:
    """The next line of a connection, and no more of it; empty where it is closed."""
    found = b""
    with suppress(OSError):
        while not found.endswith(b"\n") and len(found) < 2 * LONGEST:
            part = peer.recv(1)
            if not part:
                break
            found += part
    return found.decode(errors="replace").strip()
