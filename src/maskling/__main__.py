"""`python -m maskling`, the same as `maskling`; for torchrun."""

from maskling.cli.main import main

if __name__ == "__main__":
    main()
