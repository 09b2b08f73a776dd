"""A compose file: what a service may not do without a word. Prints FILE: finding, one a line."""
import sys

import yaml


def look(service):
    if service.get("privileged"):
        yield "is privileged"
    if str(service.get("network_mode", "")) == "host":
        yield "shares the host's network"
    if any("docker.sock" in str(volume) for volume in service.get("volumes") or []):
        yield "holds Docker's socket, and with it the host"
    image = service.get("image", "")
    if image and "build" not in service and "${" not in image and ("@" not in image) and (":" not in image.split("/")[-1] or image.endswith(":latest")):
        yield f"takes whatever {image} is today"
    environment = service.get("environment") or {}
    pairs = environment.items() if isinstance(environment, dict) else (str(one).partition("=")[::2] for one in environment)
    for name, value in pairs:
        if any(word in name for word in ("SECRET", "PASSWORD", "TOKEN", "_KEY")) and not name.endswith("_FILE") and value and "$" not in str(value):
            yield f"has a secret in its environment: {name}"


for file in sys.argv[1:]:
    with open(file) as text:
        parsed = yaml.safe_load(text)
    services = (parsed or {}).get("services")
    if not services:
        print(f"{file}: has no services")
    for name, service in (services or {}).items():
        for finding in look(service or {}):
            print(f"{file}: {name} {finding}")
