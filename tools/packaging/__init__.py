"""`make packages`: .deb, .rpm, tarball and wheel of the static file, and its man pages."""
