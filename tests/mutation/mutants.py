"""Every bug that is planted, by the room it is planted into."""

from mutants_adapters import ADAPTERS
from mutants_copy import COPIES
from mutants_harness import HARNESSES
from mutants_kernel import KERNEL
from mutants_limits import OVER_BUDGET
from mutants_listing import LISTING
from mutants_log import LOG
from mutants_objects import OBJECTS
from mutants_outside import FROM_OUTSIDE
from mutants_sealing import SEALING
from mutants_sqlite import SQLITE
from mutants_steps import STRAIGHT
from mutants_storage import STORAGE
from mutants_wrappers import WRAPPERS

MUTANTS = (
    *STORAGE,
    *SQLITE,
    *OBJECTS,
    *LOG,
    *LISTING,
    *COPIES,
    *SEALING,
    *KERNEL,
    *OVER_BUDGET,
    *STRAIGHT,
    *ADAPTERS,
    *FROM_OUTSIDE,
    *HARNESSES,
    *WRAPPERS,
)
