"""What pyelftools' construct imports to debug itself; the static file has no debugger."""
