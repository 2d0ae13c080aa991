"""The form of Anthropic's messages."""

from kernelckpt.adapters.anthropic.read import from_request, from_response
from kernelckpt.adapters.anthropic.stream import Stream
from kernelckpt.adapters.anthropic.usage import from_usage, to_usage
from kernelckpt.adapters.anthropic.write import to_request

__all__ = ["Stream", "from_request", "from_response", "from_usage", "to_request", "to_usage"]
