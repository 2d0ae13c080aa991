"""`python -m kernelckpt`: the command line without its script."""

from kernelckpt.cli import main

if __name__ == "__main__":
    main()
