"""The commands: parse, make a config, call one workflow, report. Does no arithmetic and builds no graphs."""
