"""What the command line can do, a command a module: `add` says how it is called, `run` does it."""
