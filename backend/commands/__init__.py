"""The command line: one file a command, named as the command is, with the function of that name."""
