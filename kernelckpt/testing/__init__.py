"""What authors of backends and agents test with: the conformance suite, clocks, faults, harnesses.

The public names are in `__init__.pyi`; each is imported when it is first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
