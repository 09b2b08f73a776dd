"""RFC 6455 from outside, byte by byte, on the echo that only builds for tests have: framing, fragments, UTF-8, close codes,
masking, reserved bits, sizes."""
import base64
import os
import socket
import struct
import unittest

from support import Daemon, Sandbox, main

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
PROTOCOL_ERROR, INVALID_DATA, TOO_BIG = 1002, 1007, 1009


class Socket:
    def __init__(self, port, headers=()):
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        lines = [b"GET /ws/echo HTTP/1.1", b"Host: localhost", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13",
                 b"Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)), *headers]
        self.connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self.connection.recv(1)
            if not piece:
                break
            head += piece
        self.head = head

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    @staticmethod
    def frame(opcode, data=b"", fin=True, masked=True, reserved=0, size=None):
        size = len(data) if size is None else size
        head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
        mark = 0x80 if masked else 0
        if size < 126:
            head += bytes([mark | size])
        elif size < 1 << 16:
            head += bytes([mark | 126]) + struct.pack("!H", size)
        else:
            head += bytes([mark | 127]) + struct.pack("!Q", size)
        if not masked:
            return head + data
        mask = os.urandom(4)
        whole = int.from_bytes(data, "big") ^ int.from_bytes((mask * (len(data) // 4 + 1))[:len(data)], "big")
        return head + mask + whole.to_bytes(len(data), "big")

    def send(self, *arguments, **options):
        self.connection.sendall(self.frame(*arguments, **options))

    def exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.connection.recv(min(1 << 20, count - len(data)))
            if not piece:
                raise EOFError
            data += piece
        return data

    def receive(self):
        """fin, opcode, payload of the next frame."""
        first, second = self.exactly(2)
        assert first & 0x70 == 0, "reserved bits in an answer"
        assert second & 0x80 == 0, "a server masks nothing"
        size = second & 0x7F
        if size == 126:
            size = struct.unpack("!H", self.exactly(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", self.exactly(8))[0]
        return bool(first & 0x80), first & 0x0F, self.exactly(size)

    def message(self):
        fin, opcode, data = self.receive()
        kind = opcode
        while not fin:
            fin, opcode, more = self.receive()
            assert opcode == 0
            data += more
        return kind, data

    def closed_with(self):
        """The code of its close, or None when it just went."""
        try:
            while True:
                _, opcode, data = self.receive()
                if opcode == CLOSE:
                    return struct.unpack("!H", data[:2])[0] if data else 0
        except (EOFError, ConnectionResetError):
            return None


class Conformance(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        sandbox = cls.enterClassContext(Sandbox())
        cls.daemon = cls.enterClassContext(Daemon(sandbox))

    def open(self):
        opened = Socket(self.daemon.port)
        self.addCleanup(opened.connection.close)
        self.assertTrue(opened.head.startswith(b"HTTP/1.1 101"), opened.head)
        return opened

    def refused(self, code, *frames, what=""):
        opened = self.open()
        for frame in frames:
            try:
                opened.connection.sendall(frame)
            except (BrokenPipeError, ConnectionResetError):
                break
        self.assertEqual(opened.closed_with(), code, what)

    def test_sizes_come_back(self):
        opened = self.open()
        for size in (0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 1 << 20, 16 << 20):
            for kind in (TEXT, BINARY):
                data = b"*" * size if kind == TEXT else os.urandom(min(size, 4096)) * (size // 4096 or 1)
                opened.send(kind, data)
                self.assertEqual(opened.message(), (kind, data), size)

    def test_a_frame_in_single_bytes(self):
        opened = self.open()
        for byte in Socket.frame(TEXT, "grüß Gott".encode()):
            opened.connection.sendall(bytes([byte]))
        self.assertEqual(opened.message(), (TEXT, "grüß Gott".encode()))

    def test_fragments_and_what_may_stand_between_them(self):
        opened = self.open()
        opened.send(TEXT, b"one ", fin=False)
        opened.send(PING, b"between")
        opened.send(0, b"two ", fin=False)
        opened.send(0, b"", fin=False)
        opened.send(0, b"three")
        self.assertEqual(opened.receive(), (True, PONG, b"between"))
        self.assertEqual(opened.message(), (TEXT, b"one two three"))
        letter = "€".encode()
        opened.send(TEXT, letter[:1], fin=False)
        opened.send(0, letter[1:])
        self.assertEqual(opened.message(), (TEXT, letter))
        self.refused(PROTOCOL_ERROR, Socket.frame(0, b"of nothing"), what="a continuation of nothing")
        self.refused(PROTOCOL_ERROR, Socket.frame(TEXT, b"a", fin=False), Socket.frame(TEXT, b"b"), what="a message within a message")

    def test_pings(self):
        opened = self.open()
        for data in (b"", b"hello", bytes(range(125))):
            opened.send(PING, data)
            self.assertEqual(opened.receive(), (True, PONG, data))
        opened.send(PONG, b"nobody asked")
        opened.send(TEXT, b"still here")
        self.assertEqual(opened.message(), (TEXT, b"still here"))
        self.refused(PROTOCOL_ERROR, Socket.frame(PING, b"x" * 126), what="a ping of 126 bytes")
        self.refused(PROTOCOL_ERROR, Socket.frame(PING, b"x", fin=False), what="a ping in fragments")

    def test_reserved_bits_and_opcodes(self):
        for reserved in range(1, 8):
            self.refused(PROTOCOL_ERROR, Socket.frame(TEXT, b"x", reserved=reserved), what=f"reserved {reserved}")
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
            self.refused(PROTOCOL_ERROR, Socket.frame(opcode, b"x"), what=f"opcode {opcode}")

    def test_what_is_not_masked_is_refused(self):
        self.refused(PROTOCOL_ERROR, Socket.frame(TEXT, b"bare", masked=False))

    def test_utf8(self):
        good = ["κόσμε", "\u0000", "\x7f", "\u0080", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff", "\ufffd"]
        opened = self.open()
        for text in good:
            opened.send(TEXT, text.encode())
            self.assertEqual(opened.message(), (TEXT, text.encode()))
        for bad in (b"\xff", b"\xfe", b"\x80", b"\xc0\xaf", b"\xc3\x28", b"\xe2\x82", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"):
            self.refused(INVALID_DATA, Socket.frame(TEXT, bad), what=bad)
            self.refused(INVALID_DATA, Socket.frame(TEXT, b"good ", fin=False), Socket.frame(0, bad), what=bad)
        opened.send(BINARY, b"\xff\xfe")
        self.assertEqual(opened.message(), (BINARY, b"\xff\xfe"), "bytes are bytes")

    def test_close_codes(self):
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
            opened = self.open()
            opened.send(CLOSE, struct.pack("!H", code) + "tschüß".encode())
            self.assertEqual(opened.closed_with(), code)
        opened = self.open()
        opened.send(CLOSE)
        self.assertIn(opened.closed_with(), (0, 1000))
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999):
            self.refused(PROTOCOL_ERROR, Socket.frame(CLOSE, struct.pack("!H", code)), what=code)
        self.refused(PROTOCOL_ERROR, Socket.frame(CLOSE, b"\x03"), what="half a code")
        self.refused(PROTOCOL_ERROR, Socket.frame(CLOSE, struct.pack("!H", 1000) + b"x" * 124), what="a reason of 124 bytes")
        opened = self.open()
        opened.send(CLOSE, struct.pack("!H", 1000) + b"\xff")
        self.assertIn(opened.closed_with(), (INVALID_DATA, PROTOCOL_ERROR), "a reason that is no text")

    def test_nothing_after_a_close_is_answered(self):
        opened = self.open()
        opened.connection.sendall(Socket.frame(CLOSE, struct.pack("!H", 1000)) + Socket.frame(TEXT, b"late") + Socket.frame(PING, b"later"))
        _, opcode, _ = opened.receive()
        self.assertEqual(opcode, CLOSE)
        self.assertEqual(opened.closed_with(), None)

    def test_a_length_that_cannot_be(self):
        self.refused(TOO_BIG, Socket.frame(BINARY, b"", size=1 << 40), what="a tebibyte is announced")
        opened = self.open()
        opened.connection.sendall(bytes([0x82, 0x80 | 127]) + struct.pack("!Q", 1 << 63) + b"\0\0\0\0")
        self.assertIn(opened.closed_with(), (PROTOCOL_ERROR, TOO_BIG))
        for shorter in (bytes([0x82, 0x80 | 126, 0, 5]), bytes([0x82, 0x80 | 127]) + struct.pack("!Q", 5)):
            self.refused(PROTOCOL_ERROR, shorter + b"\0\0\0\0hello", what="a length in more bytes than it needs")

    def test_handshakes(self):
        for headers, status in (([b"Sec-WebSocket-Version: 12"], b"400"), ([b"Sec-WebSocket-Key: short"], b"400")):
            self.assertTrue(Socket(self.daemon.port, headers).head.startswith(b"HTTP/1.1 " + status), headers)
        self.assertEqual(self.daemon.request("GET", "/ws/echo")[0], 426)


if __name__ == "__main__":
    main()
