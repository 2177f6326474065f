// Package readme compares what an example prints with what its README says.
package readme

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Shows fails the test unless README.md in the working directory shows the output as it is, in a fence of the kind
// "text".
func Shows(t *testing.T, output string) {
	t.Helper()
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```text\n")
	nearest := ""
	for found {
		var shown string
		shown, rest, _ = strings.Cut(rest, "```\n")
		if shown == output {
			return
		}
		if nearest == "" {
			nearest = shown
		}
		_, rest, found = strings.Cut(rest, "```text\n")
	}
	t.Errorf("README.md does not show what is printed:\n%s\n(-README +printed):\n%s", output,
		cmp.Diff(strings.Split(nearest, "\n"), strings.Split(output, "\n")))
}
