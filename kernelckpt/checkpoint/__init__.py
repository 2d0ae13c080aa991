"""When the kernel is saved, and how it comes back: the hook, its triggers, loading and verifying."""
