"""The command line: one file a group of commands. Decides nothing that the library does not."""
