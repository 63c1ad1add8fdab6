"""The command line: arguments in, text out, and the only exit."""
