package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEventsPageIsUpToDate(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile(filepath.Join(root, page.path))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), string(page.text)); diff != "" {
		t.Errorf("%s is out of date: run go generate ./domain (-have +generated)\n%s", page.path, diff)
	}
}
