"""What every part stands on: config files, plug-ins, files on disk, random numbers, tracing."""
