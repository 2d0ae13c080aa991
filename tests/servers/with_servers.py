"""Run a command beside servers of its own: python with_servers.py COMMAND ARGUMENT ...

Their URLs are in the command's environment: KERNELCKPT_POSTGRES, KERNELCKPT_REDIS, KERNELCKPT_OBJECTS; and
KERNELCKPT_AZURE, where AZURITE names the folder of Azurite.
"""

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from object_server import ENVIRONMENT, AzuriteServer, MotoServer
from postgres_server import postgres_cluster
from redis_server import RedisServer


def main(command):
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_cluster())
        redis, objects, *azure = (
            kind(Path(stack.enter_context(tempfile.TemporaryDirectory())))
            for kind in (RedisServer, MotoServer, *([AzuriteServer] if "AZURITE" in os.environ else []))
        )
        for server in (postgres, redis, objects, *azure):
            server.start()
            stack.callback(server.stop)
        urls = {
            "KERNELCKPT_POSTGRES": f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres?sslmode=disable",
            "KERNELCKPT_REDIS": f"redis://127.0.0.1:{redis.port}/0",
            "KERNELCKPT_OBJECTS": objects.url(objects.make_bucket()),
        }
        for server in azure:
            urls["KERNELCKPT_AZURE"] = server.url(server.make_bucket())
        return subprocess.run(command, env={**os.environ, **ENVIRONMENT, **urls}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
