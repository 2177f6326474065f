package domain_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/tasker-go/tasker/domain"
)

// dummyCommits are the commits of n runs of the 4-step dummy task (step-one; step-two, step-three, step-four in a
// row) that go in step: 4 commits when the first steps start in the commit that creates the task, else 5. Together
// they hold the 11 facts of each task.
func dummyCommits(n, commits int) []domain.Commit {
	const start = domain.Instant(1_767_225_600_000_000)
	result := domain.Inline(json.RawMessage(`{"dummy":true}`))
	output := domain.Inline(json.RawMessage(`{"step-one":{"dummy":true},"step-four":{"dummy":true}}`))
	started := func(step string) domain.Event { return domain.StepExecutionRequested{Step: step, Attempt: 1} }
	completed := func(step string) domain.Event {
		return domain.StepCompleted{Step: step, Attempt: 1, Result: result}
	}
	phases := [][]domain.Event{
		{
			domain.TaskCreated{Name: "dummy_task", Version: "0.1.0", Definition: "9f86d081884c7d659a2feaa0c55ad015",
				Context: result, InputHash: 4_038_471_504},
			domain.TaskStartRequested{}, started("step-one"), started("step-two"),
		},
		{completed("step-one"), completed("step-two"), started("step-three")},
		{completed("step-three"), started("step-four")},
		{completed("step-four"), domain.TaskCompleted{Result: output}},
	}
	if commits == 5 {
		phases = append([][]domain.Event{phases[0][:1], phases[0][1:]}, phases[1:]...)
	}
	var list []domain.Commit
	for i, events := range phases {
		c := domain.Commit{
			ID: fmt.Sprintf("01943d2e-7c00-7%03x-9c34-0a9f8d9f1b2a", i), At: start,
			Partition: 1, Sequence: 120_000 + uint64(i),
		}
		for task := range n {
			for _, ev := range events {
				r := domain.Record{
					Event: ev, At: c.At + domain.Instant(task*13), Task: dummyID(task),
					Position: domain.Position{Partition: 1, Sequence: c.Sequence, Index: len(c.Records)},
				}
				if i > 0 {
					r.Prev = c.Sequence - 1
				}
				c.Records = append(c.Records, r)
			}
		}
		list = append(list, c)
	}
	return list
}

func dummyID(n int) domain.TaskID {
	return domain.TaskID(uuid.NewSHA1(uuid.NameSpaceURL, fmt.Append(nil, n)))
}

const benchTasks = 150 // that share a commit

func TestDummyTaskTakesAtMost1300Bytes(t *testing.T) {
	for commits, most := range map[int]int{4: 1_300, 5: 1_300} {
		size, facts := 0, 0
		for _, c := range dummyCommits(benchTasks, commits) {
			size += len(domain.EncodeCommit(c))
			facts += len(c.Records)
		}
		if facts != 11*benchTasks {
			t.Errorf("%d facts per task", facts/benchTasks)
		}
		if per := size / benchTasks; per > most {
			t.Errorf("%d bytes per task in %d commits, want at most %d", per, commits, most)
		}
	}
}

func BenchmarkEncodeDummy(b *testing.B) {
	for _, n := range []int{4, 5} {
		b.Run(fmt.Sprintf("commits=%d", n), func(b *testing.B) {
			commits := dummyCommits(benchTasks, n)
			var e domain.Encoder
			size := 0
			b.ReportAllocs()
			for b.Loop() {
				size = 0
				for _, c := range commits {
					e.Begin(c.At)
					for i := range c.Records {
						e.Add(c.Records[i])
					}
					size += len(e.Finish(c.ID))
				}
			}
			b.SetBytes(int64(size))
			b.ReportMetric(float64(size)/benchTasks, "bytes/task")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(11*benchTasks), "ns/event")
		})
	}
}

func BenchmarkDecodeDummy(b *testing.B) {
	for _, n := range []int{4, 5} {
		b.Run(fmt.Sprintf("commits=%d", n), func(b *testing.B) {
			var messages [][]byte
			size := 0
			for _, c := range dummyCommits(benchTasks, n) {
				messages = append(messages, domain.EncodeCommit(c))
				size += len(messages[len(messages)-1])
			}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			var d domain.Decoder
			for b.Loop() {
				for i, m := range messages {
					if _, err := d.Decode(m, 1, uint64(i)); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(size)/benchTasks, "bytes/task")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(11*benchTasks), "ns/event")
		})
	}
}

// BenchmarkDecodeOne is one commit by itself, without a Decoder that has warmed up.
func BenchmarkDecodeOne(b *testing.B) {
	for _, tasks := range []int{1, benchTasks} {
		b.Run(fmt.Sprintf("tasks=%d", tasks), func(b *testing.B) {
			m := domain.EncodeCommit(dummyCommits(tasks, 4)[1])
			b.ReportAllocs()
			b.SetBytes(int64(len(m)))
			for b.Loop() {
				if _, err := domain.DecodeCommit(m, 1, 7); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecodeDummyEncodingJSON is what encoding/json needs to fill maps, for comparison.
func BenchmarkDecodeDummyEncodingJSON(b *testing.B) {
	m := domain.EncodeCommit(dummyCommits(benchTasks, 4)[0])
	b.SetBytes(int64(len(m)))
	for b.Loop() {
		var v struct {
			Tasks []struct {
				Task   domain.TaskID
				Events []struct {
					Type, Step string
					Us         int64
					Data       struct{ Result, Context json.RawMessage }
				}
			}
		}
		if err := json.Unmarshal(m, &v); err != nil {
			b.Fatal(err)
		}
	}
}
