package attached

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

// In a log that was imported the times of storing say nothing of what happened when; those of the commits do.
func TestReplayByTimeOfAnImportedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		began := time.Now().Add(-100 * time.Hour)
		at := func(n int) time.Time { return began.Add(time.Duration(n) * time.Hour) }
		commit := func(i int, r domain.Record) {
			r.At = domain.InstantOf(at(i))
			c := domain.Commit{ID: fmt.Sprintf("w-%d", i), At: r.At, Records: []domain.Record{r}}
			s.Foreign(0, c.ID, domain.EncodeCommit(c))
		}
		for i := range 40 {
			switch i % 8 { // what cannot be read has no time
			case 3:
				s.Foreign(0, "", []byte("not a commit"))
			case 6:
				torn := s.Foreign(0, fmt.Sprintf("torn-%d", i), []byte("{"))
				commit(i, domain.Record{Event: domain.PartitionSkipped{Sequence: torn, Reason: "torn"}})
			default:
				commit(i, note(taskOf(0, 0, 1), i))
			}
		}
		only := []domain.EventType{domain.TaskAnnotatedType}
		for name, c := range map[string]struct {
			o    ReplayOptions
			want []string
		}{
			"between":          {ReplayOptions{From: FromTime(at(16)), Until: UntilTime(at(20))}, []string{"16", "17", "18"}},
			"between two":      {ReplayOptions{From: FromTime(at(16).Add(time.Minute)), Until: UntilTime(at(18).Add(time.Minute))}, []string{"17", "18"}},
			"the end":          {ReplayOptions{From: FromTime(at(37))}, []string{"37", "39"}},
			"the beginning":    {ReplayOptions{Until: UntilTime(at(2))}, []string{"0", "1"}},
			"before it":        {ReplayOptions{Until: UntilTime(at(-1))}, []string{}},
			"after the import": {ReplayOptions{From: FromTime(time.Now().Add(time.Second))}, []string{}},
		} {
			c.o.Types = only
			if notes, err := replayNotes(t.Context(), s, c.o); err != nil || !slices.Equal(notes, c.want) {
				t.Errorf("%s: %v, %v, want %v", name, notes, err, c.want)
			}
		}
	})
}
