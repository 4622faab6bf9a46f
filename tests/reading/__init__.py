"""config.json and command lines as runc reads them: asked of Go, compared with pyshim."""
