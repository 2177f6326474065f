package sqlite_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/infra/sqlite"
	"github.com/tasker-go/tasker/projections/index"
)

func TestItListsWhatTheLogHas(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBook(t, 2)
		b.fill(t, rt, 8)
		x := openIndex(t, "", b.store.Data())
		defer x.Close()
		stop := follow(t, x, b.store, sqlite.FollowOptions{Batch: 7})
		defer stop()
		reach(t, x, b.end())
		page, err := x.Tasks(t.Context(), index.TaskQuery{Limit: 500})
		if err != nil {
			rt.Fatal(err)
		}
		if len(page.Tasks) != len(b.tasks) || page.Next != "" || page.Lag.Commits != 0 {
			rt.Fatalf("%d of %d tasks, next %q, lag %+v", len(page.Tasks), len(b.tasks), page.Next, page.Lag)
		}
	})
}
