"""What stands between a terminal and the code: options, configuration files, errors in a line or two."""
