// Package web is the UI in the browser, as built: a program that serves it needs nothing but this package. README.md says
// how it is built.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Files are the files of the UI, index.html at the root. The names below assets/ contain a digest of what is in them and
// may be cached for ever; index.html may not. They do not change and may be read from any goroutine.
func Files() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the name is a constant, and valid
	}
	return files
}
