"""MODULE:FUNCTION: the user's function that makes a scheduler, imported because the user asks for it."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from typing import Any

from kernelckpt.errors import UsageError
from kernelckpt.kernel.error_text import placed_error_text
from kernelckpt.kernel.scheduler import Scheduler

_FORM = "write --app MODULE:FUNCTION, as app:make_scheduler; the module is looked for in this folder first"
_FACTORY = "name a function that takes nothing and returns a Scheduler that has not been entered"


def make_scheduler(reference: str) -> Scheduler:
    """Import a module, call its function, and give what that made.

    Args:
        reference: "module:function"; the function may be an attribute of another object, as "app:App.make".

    Raises:
        UsageError: there is no such module or function, one of them raised, or what was made is no scheduler.
    """
    name, colon, path = reference.partition(":")
    if not (colon and name and path):
        raise UsageError(f"--app {reference!r} does not name a module and a function", hint=_FORM)
    factory = _found(_imported(name), name, path)
    if isinstance(factory, Scheduler) or not callable(factory):
        named = f"a {type(factory).__name__}"
        raise UsageError(f"--app {reference!r} is {named}, not a function that makes one", hint=_FACTORY)
    return _made(factory, reference)


def _imported(name: str) -> Any:
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _raised(f"importing {name!r}", error) from error
        raise UsageError(f"there is no module {error.name!r}", hint=_FORM) from error
    except (Exception, SystemExit) as error:  # whatever the user's code raises, it is not ours
        raise _raised(f"importing {name!r}", error) from error


def _found(module: Any, name: str, path: str) -> Any:
    found = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            defined = inspect.getmembers(module, inspect.isfunction)
            own = [key for key, value in defined if value.__module__ == name]
            message = f"module {name!r} has no {path!r}"
            raise UsageError(message, hint=f"functions in it: {', '.join(own) or 'none'}") from error
    return found


def _made(factory: Any, reference: str) -> Scheduler:
    try:
        made = factory()
    except (Exception, SystemExit) as error:  # whatever the user's code raises, it is not ours
        raise _raised(f"{reference}()", error) from error
    if isinstance(made, Scheduler):
        return made
    if inspect.iscoroutine(made):
        made.close()
        raise UsageError(f"{reference} is async; a scheduler is made at once", hint=_FACTORY)
    raise UsageError(f"{reference}() returned a {type(made).__name__}, not a Scheduler", hint=_FACTORY)


def _raised(what: str, error: BaseException) -> UsageError:
    hint = "mend it, or name a function that only makes the Scheduler, in a module that only defines"
    return UsageError(f"{what} raised {placed_error_text(error)}", hint=hint)
