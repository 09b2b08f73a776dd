"""Verifies receipts without any of our code: json and hashlib of Python, and `openssl pkeyutl` for Ed25519. Written from
RFC 8785, RFC 6962, the C2SP formats and what docs/receipts.md says of ours."""
import base64
import hashlib
import hmac
import json
import pathlib
import subprocess
import tempfile

SPKI = bytes.fromhex("302a300506032b6570032100")


def canonical(value):
    """RFC 8785 of what has no floats: Python sorts by code points, so names are sorted here as UTF-16."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return b"{" + b",".join(canonical(name) + b":" + canonical(value[name]) for name in names) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(canonical, value)) + b"]"
    assert not isinstance(value, float), value
    return json.dumps(value, ensure_ascii=False).encode()


def leaf(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root(leaves):
    if len(leaves) <= 1:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node(root(leaves[:split]), root(leaves[split:]))


def climb(hash_of, index, size, path):
    """The root that an inclusion path leads to, recursively as RFC 6962 defines it."""
    if size == 1:
        assert not path
        return hash_of
    split = 1 << (size - 1).bit_length() - 1
    if index < split:
        return node(climb(hash_of, index, split, path[:-1]), path[-1])
    return node(path[-1], climb(hash_of, index - split, size - split, path[:-1]))


def signed_by(key, message, signature):
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        (place / "key.der").write_bytes(SPKI + key)
        (place / "message").write_bytes(message)
        (place / "signature").write_bytes(signature)
        done = subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", place / "key.der", "-rawin", "-in", place / "message", "-sigfile", place / "signature"],
                              capture_output=True, check=False)
    return done.returncode == 0


def checkpoint(note, key):
    """(origin, size, root) of a note that the key signed."""
    text, _, signatures = note.rpartition("\n\n")
    origin, size, root_text = text.split("\n")[:3]
    name, signature = signatures.removeprefix("— ").rstrip("\n").split(" ")
    signature = base64.b64decode(signature)
    assert name == origin
    assert signature[:4] == hashlib.sha256(origin.encode() + b"\n\x01" + key).digest()[:4]
    assert signed_by(key, (text + "\n").encode(), signature[4:]), "the checkpoint's signature"
    return origin, int(size), base64.b64decode(root_text)


def commitment(salt, label, content):
    return hmac.new(hmac.new(salt, label.encode(), hashlib.sha256).digest(), content.encode(), hashlib.sha256).hexdigest()


def follow(key, rotations):
    """The keys that are trusted with this one: what follows it, and what it followed."""
    keys = {key}
    for _ in rotations:
        for rotation in rotations:
            statement = rotation["statement"]
            ends = [base64.b64decode(statement["previous"]), base64.b64decode(statement["next"])]
            if keys & set(ends):
                assert signed_by(ends[0], canonical(statement), base64.b64decode(rotation["signed_by_previous"]))
                assert signed_by(ends[1], canonical(statement), base64.b64decode(rotation["signed_by_next"]))
                keys |= set(ends)
    return keys


def verify(bundle, key):
    """Asserts that it holds under the key (32 bytes). Answers the receipt."""
    receipt = bundle["receipt"]
    entry = canonical(receipt)
    keys = follow(key, bundle["rotations"])
    named = {hashlib.sha256(receipt["log"]["origin"].encode() + b"\n\x01" + one).hexdigest()[:8]: one for one in keys}
    assert signed_by(named[receipt["key_id"]], entry, base64.b64decode(bundle["signature"])), "the signature"
    for one in keys:
        try:
            origin, size, head = checkpoint(bundle["checkpoint"], one)
            break
        except AssertionError:
            continue
    else:
        raise AssertionError("the checkpoint is of no key")
    proof = bundle["inclusion"]
    assert origin == receipt["log"]["origin"] and size == proof["size"] and proof["index"] == receipt["log"]["index"]
    assert climb(leaf(entry), proof["index"], size, [bytes.fromhex(one) for one in proof["hashes"]]) == head, "the inclusion"
    contents = bundle["contents"]
    if contents:
        salt = bytes.fromhex(contents["salt"])
        leaves = [leaf(canonical({**event, "payload": commitment(salt, str(event["seq"]), event["payload"])})) for event in contents["events"]]
        assert root(leaves).hex() == receipt["events"]["root"], "the events"
        for name in ("owner", "context"):
            assert commitment(salt, name, contents[name]) == receipt["debate"][name]["commitment"], name
        votes = [event for event in contents["events"] if event["type"] == "vote"]
        assert [vote["seq"] for vote in votes] == [ballot["seq"] for ballot in receipt["ballots"]], "every ballot"
        for vote, ballot in zip(votes, receipt["ballots"], strict=True):
            said = json.loads(vote["payload"])
            assert said["choice"] == ballot["said"]["choice"] and said["confidence"] == ballot["said"]["confidence"]
            if said["reason"]:
                assert ballot["said"]["reason"]["commitment"] == commitment(salt, f"{vote['seq']}/reason", said["reason"])
    return receipt
