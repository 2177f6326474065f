// Package sameseed gives the property tests of a package that imports it the same seed in every run, so that a change that is
// good is not refused for what it has nothing to do with. `make properties` searches with other seeds.
package sameseed

import (
	"flag"

	_ "pgregory.net/rapid" // its flags are there before they are set
)

func init() {
	if err := flag.Set("rapid.seed", "1"); err != nil {
		panic(err)
	}
}
