"""`python -m vasa_cli` is `vasa`."""

from vasa_cli.cli.main import main

if __name__ == "__main__":
    main()
