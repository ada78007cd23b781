"""`python -m maskling` is `maskling`; torchrun starts it this way."""

from maskling.cli.main import main

if __name__ == "__main__":
    main()
