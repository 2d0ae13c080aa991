"""The S3 server of moto whose conditional puts are atomic, as those of S3 are.

moto looks whether the condition holds, and puts later, in as many threads as there are requests: now and then
two puts succeed that exclude each other.
"""

import sys
import threading

from moto.s3.responses import S3Response
from moto.server import main

put_object = S3Response.put_object
turn = threading.Lock()


def put_in_turn(response):
    with turn:
        return put_object(response)


if __name__ == "__main__":
    S3Response.put_object = put_in_turn
    main(sys.argv[1:])
