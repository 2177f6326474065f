package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMetricsPageIsUpToDate(t *testing.T) {
	have, err := os.ReadFile(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), page()); diff != "" {
		t.Errorf("%s is out of date: run go generate ./subscribers/telemetry (-have +generated)\n%s", path, diff)
	}
}
