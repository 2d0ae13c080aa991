"""The form of OpenAI's chat completions, which many other servers speak."""

from kernelckpt.adapters.openai.read import from_request, from_response
from kernelckpt.adapters.openai.stream import Stream
from kernelckpt.adapters.openai.usage import from_usage, to_usage
from kernelckpt.adapters.openai.write import to_request

__all__ = ["Stream", "from_request", "from_response", "from_usage", "to_request", "to_usage"]
