"""What systemd sees: readiness, status, watchdog, stopping; and a socket that it hands over."""
import signal
import socket
import subprocess
import time
import unittest

from support import BINARY, SOURCE, Daemon, Sandbox, free_port, main


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
