"""An S3 server in memory (moto), and one that speaks as Azure does with its files on a disk (Azurite)."""

import base64
import email.utils
import hashlib
import hmac
import json
import os
import shutil
import sys
import urllib.request
from pathlib import Path
from secrets import token_hex

import pytest
from server_process import ServerProcess

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests-secret",
    "AWS_REGION": "us-east-1",
    "AZURE_STORAGE_ACCOUNT_KEY": KEY,
    "GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(
        {
            "disable_oauth": True,
            "gcs_base_url": "http://127.0.0.1:1",
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        }
    ),
}
"""Of servers that anybody may use: none of it opens anything but them."""


class MotoServer(ServerProcess):
    """Keeps everything in its process: a kill loses all of it, so only stopping and cuts are tried on it."""

    scheme = "s3"

    def command(self):
        program = Path(__file__).with_name("atomic_moto.py")
        return [sys.executable, str(program), "-H", "127.0.0.1", "-p", str(self.port)]

    def url(self, bucket, port=None):
        return f"s3://{bucket}?endpoint=http://127.0.0.1:{port or self.port}"

    def make_bucket(self):
        bucket = f"bucket-{token_hex(8)}"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{bucket}", method="PUT")
        urllib.request.urlopen(request).close()
        return bucket


class AzuriteServer(ServerProcess):
    """Keeps its files in its folder."""

    scheme = "az"

    def command(self):
        folder = os.environ.get("AZURITE")
        if folder is None:
            pytest.fail("AZURITE is to name the folder of: npm install --prefix FOLDER azurite")
        program = Path(folder) / "node_modules" / ".bin" / "azurite-blob"
        where = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--location", str(self.folder)]
        quiet = ["--silent", "--loose", "--skipApiVersionCheck", "--disableTelemetry"]
        return [shutil.which("node"), str(program), *where, *quiet]

    def url(self, bucket, port=None):
        endpoint = f"http://127.0.0.1:{port or self.port}/{ACCOUNT}"
        return f"az://{bucket}?account={ACCOUNT}&endpoint={endpoint}"

    def make_bucket(self):
        bucket = f"bucket-{token_hex(8)}"
        now, version = email.utils.formatdate(usegmt=True), "2021-08-06"
        resource = f"/{ACCOUNT}/{ACCOUNT}/{bucket}\nrestype:container"
        signed = "PUT" + "\n" * 12 + f"x-ms-date:{now}\nx-ms-version:{version}\n{resource}"
        digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
        headers = {
            "x-ms-date": now,
            "x-ms-version": version,
            "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
        }
        url = f"http://127.0.0.1:{self.port}/{ACCOUNT}/{bucket}?restype=container"
        urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers)).close()
        return bucket


@pytest.fixture(scope="session")
def object_credentials():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def object_server(tmp_path_factory, object_credentials):
    server = MotoServer(tmp_path_factory.mktemp("moto"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def azurite_server(tmp_path_factory, object_credentials):
    server = AzuriteServer(tmp_path_factory.mktemp("azurite"))
    server.start()
    yield server
    server.kill()
