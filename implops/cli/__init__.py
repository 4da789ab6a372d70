"""The command line: one file a verb. Arguments -> one call -> store -> print -> exit code."""
