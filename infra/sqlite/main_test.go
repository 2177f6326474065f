package sqlite_test

import (
	"flag"
	"os"
	"testing"
)

// Each history opens files: a few are tried, unless -rapid.checks says how many.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		_ = flag.Set("rapid.checks", "2")
		_ = flag.Set("rapid.shrinktime", "5s")
	}
	os.Exit(m.Run())
}
