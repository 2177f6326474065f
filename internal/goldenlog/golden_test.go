package goldenlog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// message is one line of a golden log: a message of partition 0, as it was stored.
type message struct {
	Sequence uint64          `json:"sequence"`
	CommitID string          `json:"commit"`            // header Tasker-Commit
	Time     time.Time       `json:"time"`              // at which it was stored
	Body     json.RawMessage `json:"body,omitempty"`    // JSON
	Garbage  string          `json:"garbage,omitempty"` // what is not
}

func (m message) data() []byte {
	if m.Garbage != "" {
		return []byte(m.Garbage)
	}
	return m.Body
}

func logs(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden log: %v", err)
	}
	return files
}

func readLog(t *testing.T, path string) []message {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []message
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatalf("%s, line %d: %v", path, len(all)+1, err)
		}
		all = append(all, m)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// decode reads the commits of a log. A message that is none must have been skipped by an operator.
func decode(t *testing.T, log []message) []domain.Commit {
	t.Helper()
	var commits []domain.Commit
	skipped, unreadable := map[uint64]bool{}, []uint64{}
	for _, m := range log {
		c, err := domain.DecodeCommit(m.data(), 0, m.Sequence)
		switch {
		case errors.Is(err, domain.ErrNotACommit):
			unreadable = append(unreadable, m.Sequence)
			continue
		case err != nil:
			t.Fatal(err)
		case c.ID != m.CommitID:
			t.Errorf("message %d: commit %s below the header %s", m.Sequence, c.ID, m.CommitID)
		}
		for _, r := range c.Records {
			if err := r.Unreadable(); err != nil {
				t.Error(err)
			}
			if s, ok := r.Event.(domain.PartitionSkipped); ok {
				skipped[s.Sequence] = true
			}
		}
		commits = append(commits, c)
	}
	for _, sequence := range unreadable {
		if !skipped[sequence] {
			t.Errorf("message %d is no commit, and nobody skipped it", sequence)
		}
	}
	return commits
}

// C8: what an older version wrote folds to the state that it had there.
func TestC08HistoriesOfOlderVersionsFoldToTheStateThatTheyHad(t *testing.T) {
	for _, path := range logs(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			want, err := os.ReadFile(strings.TrimSuffix(path, ".jsonl") + ".state.json")
			if err != nil {
				t.Fatal(err)
			}
			commits := decode(t, readLog(t, path))
			for _, problem := range missing("", tree(t, want), tree(t, encode(t, fold(t, commits, len(commits))))) {
				t.Error(problem)
			}
			for _, cut := range []int{1, len(commits) / 3, len(commits) / 2, len(commits) - 1} {
				for _, problem := range missing("", tree(t, want), tree(t, encode(t, fold(t, commits, cut)))) {
					t.Errorf("through a snapshot after %d commits: %s", cut, problem)
				}
			}
		})
	}
}

// The newest log has every type of event that this version writes.
func TestNewestLogHasEveryTypeOfEvent(t *testing.T) {
	files := logs(t)
	newest := files[len(files)-1]
	seen, customs, blobs, packed := map[domain.EventType]bool{}, 0, 0, 0
	for _, c := range decode(t, readLog(t, newest)) {
		for _, r := range c.Records {
			seen[r.Event.Type()] = true
			if _, custom := domain.CustomName(r.Event.Type()); custom {
				customs++
			}
			if domain.PayloadOf(r.Event).Blob != "" {
				blobs++
			}
			if d, ok := r.Event.(domain.DefinitionAdopted); ok && d.Packed != nil {
				packed++
			}
		}
	}
	for _, entry := range domain.Catalogue() {
		if !seen[entry.Type] {
			t.Errorf("%s has no %s: add a log, see README.md", newest, entry.Type)
		}
	}
	if customs == 0 || blobs == 0 || packed == 0 {
		t.Errorf("%s has %d custom events, %d references to blobs, %d packed definitions", newest, customs, blobs, packed)
	}
}

// fold gives the state after the commits, through a snapshot after the first of them.
func fold(t *testing.T, commits []domain.Commit, cut int) partition {
	t.Helper()
	p := projections.NewPartition(0)
	// Tasks that end leave memory; what they were is noted as they are told of.
	tasks := map[domain.TaskID]task{}
	for i, c := range commits {
		if i == cut {
			p = again(t, p)
		}
		err := p.Replay(c, func(r domain.Record, x *domain.Task) {
			if x != nil {
				tasks[r.Task] = pictureOf(x)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return picture(p, tasks)
}

// again is the state as it comes back from a snapshot.
func again(t *testing.T, p *projections.Partition) *projections.Partition {
	t.Helper()
	frozen, err := p.Freeze(p.Sequence, p.CommitID, p.At)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := frozen.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	p.Thaw(frozen)
	back, err := projections.ReadSnapshot(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return back
}
