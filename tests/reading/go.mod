module pyshim/tests/reading

go 1.21

require (
	github.com/opencontainers/runtime-spec v1.3.0
	github.com/urfave/cli v1.22.16
)

require (
	github.com/cpuguy83/go-md2man/v2 v2.0.5 // indirect
	github.com/russross/blackfriday/v2 v2.1.0 // indirect
)
