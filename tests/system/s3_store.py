"""A strict S3 store for tests: signatures are recomputed by botocore, digests are checked, listings come in short pages,
and it can be told to fail. Objects live in memory."""
import base64
import datetime
import hashlib
import http.server
import re
import socket
import threading
import time
import urllib.parse
import xml.sax.saxutils

import botocore.auth
import botocore.awsrequest
import botocore.credentials

ACCESS_KEY, SECRET_KEY, REGION = "AKIDEXAMPLE:colon", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-test-1"
PAGE = 7


class Fault:
    """Happens to the next `times` requests that match, after `skip` of them."""

    def __init__(self, action, method=None, key="", times=1, skip=0):
        self.action, self.method, self.key, self.times, self.skip = action, method, key, times, skip


class Store(http.server.ThreadingHTTPServer):
    daemon_threads = True
    bucket = "bucket"

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects, self.locks, self.uploads, self.faults, self.requests = {}, {}, {}, [], []
        self.own_clock = True  # refuses requests of another time
        self.connections, self.hangs_up = 0, False  # hangs_up: closes the connection after each answer without a word
        self.mutex = threading.RLock()
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.thread.join()
        self.server_close()

    @property
    def environment(self):
        return {"ARAGORA_OFFSITE": f"s3://{self.bucket}/site one", "ARAGORA_OFFSITE_ENDPOINT": f"http://127.0.0.1:{self.server_address[1]}",
                "ARAGORA_OFFSITE_REGION": REGION, "ARAGORA_OFFSITE_ACCESS_KEY": ACCESS_KEY, "ARAGORA_OFFSITE_SECRET_KEY": SECRET_KEY}

    def handle_error(self, *_):
        pass  # a client that was killed

    def get_request(self):
        self.connections += 1
        return super().get_request()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do(self):
        path, _, query = self.path.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        parts = urllib.parse.unquote(path).lstrip("/").split("/", 1)
        self.key = parts[1] if len(parts) > 1 else ""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.mutex:
            self.server.requests.append((self.command, self.path))
            fault = self.fault()
            if fault == "drop":
                return self.cut()
            if fault == "slow":
                time.sleep(3)
            elif fault == "half":
                return self.half()
            elif fault and fault != "lost":
                return self.error(fault, {500: "InternalError", 503: "SlowDown", 403: "AccessDenied", 400: "RequestTimeout"}[fault], "told to")
            refusal = self.refusal(path, query, body, parts[0])
            if refusal:
                return self.error(*refusal)
            if fault == "lost":  # it is done, and nobody hears of it
                self.answer = lambda *_, **__: None
            getattr(self, "on_" + self.command)(body)
            if fault == "lost" or self.server.hangs_up:
                self.cut()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do

    def fault(self):
        for fault in self.server.faults:
            if fault.times > 0 and fault.method in (None, self.command) and fault.key in self.path:
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault.action
        return None

    def cut(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def half(self):
        content = self.server.objects.get(self.key, b"")
        start = self.range()
        self.send_response(206 if start else 200)
        self.send_header("ETag", etag(content))
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:start + max(1, (len(content) - start) // 2)])
        self.wfile.flush()
        self.cut()

    def range(self):
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(match[1]) if match else 0

    def refusal(self, path, query, body, bucket):
        match = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=(.+)/(\d{8})/([^/]+)/s3/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})", self.headers.get("Authorization", ""))
        if not match:
            return 403, "AccessDenied", "no signature"
        access, _, region, signed, signature = match.groups()
        if access != ACCESS_KEY:
            return 403, "InvalidAccessKeyId", "unknown key"
        names = signed.split(";")
        if "host" not in names or any(name.startswith("x-amz-") and name not in names for name in map(str.lower, self.headers)):
            return 403, "AccessDenied", "a header is not signed"
        at = datetime.datetime.strptime(self.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
        if self.server.own_clock and abs((datetime.datetime.utcnow() - at).total_seconds()) > 900:
            return 403, "RequestTimeTooSkewed", "the clocks differ"
        request = botocore.awsrequest.AWSRequest(method=self.command, url=f"http://{self.headers['Host']}{self.path}", headers={name: self.headers[name] for name in names})
        request.context["timestamp"] = self.headers["x-amz-date"]
        signer = botocore.auth.S3SigV4Auth(botocore.credentials.Credentials(ACCESS_KEY, SECRET_KEY), "s3", region)
        expected = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        if region != REGION or signature != expected:
            return 403, "SignatureDoesNotMatch", "the signature differs"
        if self.headers.get("x-amz-content-sha256") != hashlib.sha256(body).hexdigest():
            return 400, "XAmzContentSHA256Mismatch", "the digest differs"
        if body and self.headers.get("Content-MD5") != base64.b64encode(hashlib.md5(body).digest()).decode():
            return 400, "BadDigest", "the MD5 differs"
        if bucket != self.server.bucket:
            return 404, "NoSuchBucket", "no such bucket"
        return None

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status, code, message):
        self.answer(status, f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'.encode())

    def on_GET(self, _):
        if not self.key and "uploads" in self.query:
            uploads = "".join(f"<Upload><Key>{escape(key)}</Key><UploadId>{id}</UploadId></Upload>" for id, (key, _) in self.server.uploads.items() if key.startswith(self.query["prefix"]))
            return self.answer(200, f"<ListMultipartUploadsResult>{uploads}</ListMultipartUploadsResult>".encode())
        if not self.key:
            return self.listing()
        if self.key not in self.server.objects:
            return self.error(404, "NoSuchKey", "no such key")
        content = self.server.objects[self.key]
        if self.headers.get("If-Match", etag(content)) != etag(content):
            return self.error(412, "PreconditionFailed", "another object")
        start = self.range()
        return self.answer(206 if "Range" in self.headers else 200, content[start:], ETag=etag(content))

    def listing(self):
        prefix, names = self.query["prefix"], set()
        for key in self.server.objects:
            if key.startswith(prefix):
                rest = key[len(prefix):]
                names.add(prefix + rest.split("/")[0] + ("/" if "/" in rest else ""))
        names = sorted(name for name in names if name > self.query.get("start-after", ""))
        start = int(self.query.get("continuation-token", "0"))
        page = names[start:start + PAGE]
        content = "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" if name.endswith("/") else
                          f"<Contents><Key>{escape(name)}</Key><Size>{len(self.server.objects[name])}</Size></Contents>" for name in page)
        more = start + PAGE < len(names)
        token = f"<NextContinuationToken>{start + PAGE}</NextContinuationToken>" if more else ""
        self.answer(200, f'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>{str(more).lower()}</IsTruncated>{token}{content}</ListBucketResult>'.encode())

    def put_whole(self, content):
        if "x-amz-object-lock-retain-until-date" in self.headers:
            self.server.locks[self.key] = self.headers["x-amz-object-lock-retain-until-date"]
        self.server.objects[self.key] = content

    def on_HEAD(self, _):
        content = self.server.objects.get(self.key)
        if content is None:
            return self.error(404, "NoSuchKey", "no such key")
        self.send_response(200)
        self.send_header("ETag", etag(content))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()

    def on_PUT(self, body):
        if "uploadId" not in self.query:
            self.put_whole(body)
            return self.answer(200, ETag=etag(body))
        self.server.uploads[self.query["uploadId"]][1][int(self.query["partNumber"])] = body
        return self.answer(200, ETag=etag(body))

    def on_POST(self, body):
        if "uploads" in self.query:
            upload = f"upload-{len(self.server.requests)}"
            self.server.uploads[upload] = (self.key, {})
            return self.answer(200, f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>".encode())
        if self.query["uploadId"] not in self.server.uploads:
            return self.error(404, "NoSuchUpload", "no such upload")
        key, parts = self.server.uploads[self.query["uploadId"]]
        wanted = re.findall(r'<Part><PartNumber>(\d+)</PartNumber><ETag>"([0-9a-f]+)"</ETag></Part>', body.decode())
        if key != self.key or [(int(n), f'"{tag}"') for n, tag in wanted] != [(n, etag(parts[n])) for n in sorted(parts)]:
            return self.error(400, "InvalidPart", "parts differ")
        if any(len(parts[n]) < 5 << 20 for n in sorted(parts)[:-1]):
            return self.error(400, "EntityTooSmall", "a part is too small")
        self.put_whole(b"".join(parts[n] for n in sorted(parts)))
        del self.server.uploads[self.query["uploadId"]]
        return self.answer(200, b"<CompleteMultipartUploadResult></CompleteMultipartUploadResult>")

    def on_DELETE(self, _):
        if "uploadId" in self.query:
            self.server.uploads.pop(self.query["uploadId"], None)
        elif self.server.locks.get(self.key, "") > datetime.datetime.utcnow().isoformat():
            return self.error(403, "AccessDenied", "the object is locked")
        else:
            self.server.objects.pop(self.key, None)
        return self.answer(204)


def etag(content):
    return f'"{hashlib.md5(content).hexdigest()}"'


def escape(text):
    return xml.sax.saxutils.escape(text)
