package sqlite_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/infra/sqlite"
)

const childFile = "TASKER_INDEX_CHILD"

// TestChild is the process that is killed.
func TestChild(t *testing.T) {
	path := os.Getenv(childFile)
	if path == "" {
		t.Skip("it is run by the test that kills it")
	}
	b := filled(t, 2, 60)
	x := openIndex(t, path, b.store.Data())
	follow(t, x, b.store, sqlite.FollowOptions{Batch: 1, Pace: 1, OnProgress: func(p sqlite.Progress) { fmt.Println("commits", p.Commits) }})
	reach(t, x, b.end())
	fmt.Println("everything")
	select {}
}

func TestAnIndexThatWasKilledGoesOnAsIfNothingHadHappened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	for _, lines := range []int{1, 7, 13} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestChild$") // #nosec G204 -- this test itself
		cmd.Env = append(os.Environ(), childFile+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		scanner := bufio.NewScanner(out)
		for n := range lines {
			if !scanner.Scan() || scanner.Text() == "everything" {
				t.Fatalf("the child had nothing more to do after %d batches: %v", n, scanner.Err())
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
	b := filled(t, 2, 60)
	x, l := open(t, path, b.store.Data())
	if n := x.Covered().Sequences; n[0]+n[1] < 3 || n[0]+n[1] >= b.last[0]+b.last[1] {
		t.Fatalf("the killed ones came to %v of %v", n, b.last)
	}
	killed := whole(t, x, b)
	if l.String() != "" {
		t.Errorf("logged: %s", l)
	}
	fresh := openIndex(t, "", b.store.Data())
	if diff := cmp.Diff(whole(t, fresh, b), killed, alike); diff != "" {
		t.Error(diff)
	}
}
