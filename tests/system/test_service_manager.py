"""What systemd sees: readiness, status, watchdog, stopping; and a socket that it hands over."""
import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
import unittest

from support import BINARY, SOURCE, Daemon, Sandbox, free_port, main
from test_debates import until


class ServiceManager(unittest.TestCase):
    def test_it_notifies_readiness_status_watchdog_and_stop(self):
        with Sandbox() as sandbox:
            path = sandbox.directory / "notify"
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
                listener.bind(str(path))
                listener.settimeout(10)
                daemon = Daemon(sandbox, NOTIFY_SOCKET=str(path), WATCHDOG_USEC="10000000")
                received = ""
                deadline = time.monotonic() + 10
                while not ("READY=1" in received and "WATCHDOG=1" in received) and time.monotonic() < deadline:
                    received += listener.recv(4096).decode() + "\n"
                self.assertIn("READY=1\nSTATUS=serving", received)
                self.assertIn("WATCHDOG=1", received)
                self.assertEqual(daemon.stop(), 0)
                listener.setblocking(False)
                while True:
                    try:
                        received += listener.recv(4096).decode() + "\n"
                    except BlockingIOError:
                        break
                self.assertIn("STOPPING=1", received)

    def test_one_thread_that_stands_still_stops_the_watchdog_and_a_busy_daemon_does_not(self):
        for thread, named in (("io", "a thread that reads and writes sockets"), ("worker", "a worker")):
            with self.subTest(thread), Sandbox() as sandbox, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener, contextlib.ExitStack() as threads:
                path, stuck, struck = (sandbox.directory / name for name in ("notify", "stuck", "struck"))
                listener.bind(str(path))
                listener.settimeout(0.1)
                fed, enough, ended = [], threading.Event(), threading.Event()

                def listen():
                    while not ended.is_set():
                        with contextlib.suppress(socket.timeout):
                            if b"WATCHDOG=1" in listener.recv(4096):
                                fed.append(time.monotonic())

                def start(work, end):
                    one = threading.Thread(target=work)
                    one.start()
                    threads.callback(one.join)
                    threads.callback(end.set)

                def fed_within(seconds):
                    before = len(fed)
                    time.sleep(seconds)
                    return len(fed) - before

                start(listen, ended)
                with Daemon(sandbox, NOTIFY_SOCKET=str(path), WATCHDOG_USEC="100000", ARAGORA_WORKERS="2", LD_PRELOAD=os.environ["FAULTS_LIBRARY"],
                            FAULT_STUCK_WHILE=str(stuck), FAULT_STUCK_THREAD=thread, FAULT_MARK=str(struck)) as daemon:
                    def ask():
                        while not enough.is_set():
                            with contextlib.suppress(OSError):
                                daemon.request("GET", f"/api/debates/{0:026}")

                    # More who ask than there are workers, for longer than a task may take.
                    for _ in range(8):
                        start(ask, enough)
                    self.assertGreaterEqual(fed_within(5), 1)
                    enough.set()
                    self.assertNotIn("no progress", daemon.text())
                    stuck.touch()
                    try:
                        deadline = time.monotonic() + 20
                        while f"no progress, the watchdog is not told of any: {named}\n" not in daemon.text():
                            self.assertLess(time.monotonic(), deadline, f"{struck.exists()} {daemon.text()[-2000:]}")
                            with contextlib.suppress(OSError):  # whoever is served by it gets no answer
                                if not struck.exists():
                                    daemon.request("POST", "/api/debates", {"task": "something new to read", "rounds": 0}, timeout=0.3)
                                    daemon.request("GET", "/api/debates?limit=1", timeout=0.3)
                            time.sleep(0.05)
                        self.assertEqual(fed_within(1.5), 0)
                        if thread == "worker":
                            self.assertEqual(daemon.get("/api/health")[0], 200, "the others go on")
                    finally:
                        stuck.unlink()
                    before = len(fed)
                    until(lambda: len(fed) > before, 20)  # once it goes on it counts again

    def test_no_stray_signal_ends_it(self):
        with Sandbox() as sandbox, Daemon(sandbox) as daemon:
            for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGPWR, signal.SIGXFSZ, signal.SIGRTMIN, signal.SIGRTMAX):
                daemon.process.send_signal(number)
                self.assertEqual(daemon.get("/api/health")[0], 200)
            self.assertEqual(daemon.stop(), 0)

    def test_it_serves_a_socket_that_was_handed_over(self):
        with Sandbox() as sandbox:
            port = free_port()
            process = subprocess.Popen(["systemd-socket-activate", "-l", f"127.0.0.1:{port}", *sum((["-E", f"{k}={v}"] for k, v in sandbox.environment.items()), []), BINARY, "serve"],
                                       env=sandbox.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                daemon = object.__new__(Daemon)
                daemon.port = port
                deadline = time.monotonic() + 10
                while True:
                    try:
                        status, body = daemon.get("/api/health")
                        break
                    except OSError:
                        self.assertLess(time.monotonic(), deadline)
                        time.sleep(0.05)
                self.assertEqual((status, body["status"]), (200, "healthy"))
                for _ in range(20):
                    self.assertEqual(daemon.get("/api/debates")[0], 200)
            finally:
                process.terminate()
                self.assertEqual(process.wait(40), 0)

    def test_a_refused_configuration_leaves_with_78_which_the_unit_does_not_restart(self):
        with Sandbox(ARAGORA_ENV="production") as sandbox:
            sandbox.run("serve", check=78)
        self.assertIn("RestartPreventExitStatus=77 78", (SOURCE / "systemd/aragora.service").read_text())


if __name__ == "__main__":
    main()
