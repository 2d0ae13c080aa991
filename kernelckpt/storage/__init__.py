"""Where bytes live: a backend a file, and the URL table that opens them.

The public names are in `__init__.pyi`; each is imported when it is first asked for, with its driver.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
