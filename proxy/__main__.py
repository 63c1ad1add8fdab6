"""`python -m proxy` is `sealgate`."""

from proxy.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
