"""Google's conditions before a server that knows Amazon's: generations instead of entity tags."""

import re
from itertools import count
from urllib.parse import unquote

_MATCH = re.compile(rb"(?i)\r\nx-goog-if-generation-match: *(\d+)")
_AUTHORIZATION = (
    b"\r\nauthorization: AWS4-HMAC-SHA256 Credential=tests/20260101/us-east-1/s3/aws4_request,"
    b" SignedHeaders=host, Signature=0\r\n\r\n"
)
_TAG = re.compile(rb'(?i)\r\netag: *("[^"]*")')


class Generations:
    """A `meddle` of `HttpProxy`; what is asked of a generation is asked of the tag that it stands for."""

    def __init__(self):
        self._numbers = count(1_700_000_000_000_000)
        self._tags = {}
        self._known = {}

    def __call__(self, request):
        request.drop_header("authorization")
        path, *query = request.path.split("?", 1)
        request.head = request.head.replace(b"\r\n\r\n", _AUTHORIZATION)
        request.head = request.head.replace(
            request.path.encode(), "?".join([unquote(path), *query]).encode(), 1
        )
        request.head = _MATCH.sub(self._condition, request.head)
        request.translate = self._with_generation

    def _condition(self, found):
        if found[1] == b"0":
            return b"\r\nif-none-match: *"
        return b"\r\nif-match: " + self._tags.get(found[1], b'"none"')

    def _with_generation(self, head):
        found = _TAG.search(head)
        if found is None:
            return head
        if found[1] not in self._known:
            self._known[found[1]] = number = b"%d" % next(self._numbers)
            self._tags[number] = found[1]
        return head.replace(b"\r\n\r\n", b"\r\nx-goog-generation: " + self._known[found[1]] + b"\r\n\r\n")
