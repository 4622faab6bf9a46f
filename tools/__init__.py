"""What builds, shows and measures pyshim; nothing here is installed."""
