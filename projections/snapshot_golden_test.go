package projections

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
)

var rewriteSnapshots = flag.Bool("rewrite-snapshots", false, "rewrite the golden file of the newest snapshot format")

// goldenPartition has one of everything that a snapshot holds.
func goldenPartition(t *testing.T) *Partition {
	w, _ := eventful(t)
	w.create(domain.KeyedTaskID("default", "w", "golden"), `{}`)
	w.do(domain.KeyedTaskID("default", "w", "golden"), domain.CancelTask{}, domain.ByOperator)
	w.create(unkeyedID(7), `{}`)
	w.do(unkeyedID(7), domain.StartStep{Step: 0}, "")
	w.do(unkeyedID(7), domain.FailStep{Step: 0, Attempt: 1, Error: domain.StepError{Kind: domain.KindPermanent, Message: "no"}}, "")
	w.do(unkeyedID(7), domain.FailTask{}, "")
	w.fact(domain.TaskID{}, domain.PartitionSkipped{Sequence: 4}, domain.ByOperator)
	w.commit(t)
	return w.p
}

// summary is what of a partition no later version may read otherwise.
func summary(p *Partition) string {
	var lines []string
	about := func(kind string, t *domain.Task) {
		lines = append(lines, fmt.Sprintf("%s %s %s, %d steps, created %s, last %d, context %s",
			kind, t.ID, t.State, len(t.Steps), t.CreatedAt, t.Last, t.Context.JSON))
	}
	for e := range p.Tasks() {
		about("live", e.Task)
	}
	for id := range p.FailedTasks() {
		about("failed", p.unpack(p.failed[id]))
	}
	for hash, def := range p.Definitions() {
		lines = append(lines, fmt.Sprintf("definition %s %s", hash, def.FullName()))
	}
	for sequence := range p.skipped {
		lines = append(lines, fmt.Sprintf("skipped %d", sequence))
	}
	for id, task := range p.Ended.All() {
		lines = append(lines, fmt.Sprintf("ended %s %+v", id, task))
	}
	slices.Sort(lines)
	return fmt.Sprintf("partition %d at %d, %s, %s\n", p.Number, p.Sequence, p.CommitID, p.At) + strings.Join(lines, "\n") + "\n"
}

func TestEveryFormatThatSnapshotsEverHadIsReadable(t *testing.T) {
	name := func(format int, ext string) string {
		return filepath.Join("testdata", "snapshots", fmt.Sprintf("v%d.%s", format, ext))
	}
	if *rewriteSnapshots {
		p := goldenPartition(t)
		for ext, text := range map[string]string{"hex": hex.EncodeToString(snapshotOf(t, p)) + "\n", "txt": summary(p)} {
			if err := os.WriteFile(name(SnapshotFormat, ext), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for format := 1; format <= SnapshotFormat; format++ {
		text, err := os.ReadFile(name(format, "hex"))
		if err != nil {
			t.Fatal(err)
		}
		content, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(name(format, "txt"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := ReadSnapshot(content)
		if err != nil {
			t.Fatalf("format %d: %v", format, err)
		}
		if diff := cmp.Diff(string(want), summary(p)); diff != "" {
			t.Errorf("format %d (-want +got):\n%s", format, diff)
		}
	}
}
