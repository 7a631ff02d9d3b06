"""The `vasa` command: it parses, calls the library, shows progress and translates errors."""
