package sqlite_test

import (
	"flag"
	"os"
	"strconv"
	"testing"
)

// Each history opens files: a few are tried, unless -rapid.checks says how many.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		n := 3
		if race { // SQLite in Go is ten times slower then
			n = 1
		}
		_ = flag.Set("rapid.checks", strconv.Itoa(n))
		_ = flag.Set("rapid.shrinktime", "5s")
	}
	os.Exit(m.Run())
}
