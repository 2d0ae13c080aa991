"""The servers that tests may ask for."""

from object_server import azurite_server, object_credentials, object_server  # noqa: F401
from postgres_server import postgres_server  # noqa: F401
from redis_server import own_redis, redis_admin, redis_server  # noqa: F401
