package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
)

// indexFlag says where the index of a server is.
type indexFlag struct {
	value string
	path  string // "" = none; known after check
}

func (f *indexFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.value, "index", "auto",
		"file of the index that lists and analytics are read from, off, or auto: "+indexFile+" in the data directory if there is --http, else off")
}

// check finds the path. data is "" on an external NATS, where there is no data directory.
func (f *indexFlag) check(cmd *cobra.Command, data string) error {
	http := cmd.Flags().Lookup("http")
	switch f.value {
	case "":
		return usageError("--index must be off, auto or the path of a file")
	case "off":
	case "auto":
		if data != "" && http != nil && http.Value.String() != "" {
			f.path = filepath.Join(data, indexFile)
		}
	default:
		f.path = f.value
	}
	return nil
}

func (f *indexFlag) say(a *app) {
	if f.path != "" {
		a.printf("index        %s\n", shownPath(f.path))
	}
}

func (f *indexFlag) apply(c *tasker.Config) { c.Index = f.path }
