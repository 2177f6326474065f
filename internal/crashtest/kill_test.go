package crashtest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

// C2. The child kills itself at its points, except in the rounds named random, where the parent does it.
func TestC02KillNineUnderLoadLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 20 s")
	}
	random := rand.New(rand.NewPCG(uint64(*seed), 2)) //nolint:gosec // a seed
	points := []string{"random", killAppend, killSent, killAck, killEffect, killSnapshot, killSnapped, killTrim, killTrimmed}
	rounds := []string{
		points[random.IntN(5)],
		[]string{killSnapshot, killSnapped, killTrim, killTrimmed}[random.IntN(4)],
	}
	after := 1000 // acknowledged since the last kill
	if *long {
		after, rounds = 5000, nil
		for i := range 20 {
			rounds = append(rounds, points[i%len(points)])
		}
	}
	t.Logf("seed %d, rounds %v", *seed, rounds)
	c := &crashes{dir: t.TempDir(), after: after}
	for _, d := range []string{"data", "archive"} {
		if err := os.Mkdir(filepath.Join(c.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i, point := range rounds {
		c.round(t, i, point, random)
		if t.Failed() {
			return
		}
	}
	c.finish(t)
	c.check(t, len(rounds)+1)
}

type crashes struct {
	dir   string
	after int
	acked []tasker.TaskID
}

// nth is which pass of a point kills: enough for a state that is in the midst of things.
func nth(point string, random *rand.Rand) int {
	switch point {
	case killSnapshot:
		return 1 + random.IntN(3)
	case killSnapped, killTrim, killTrimmed:
		return 1
	}
	return 1 + random.IntN(300)
}

func (c *crashes) command(kill string, load int) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+c.dir, childKill+"="+kill, childLoad+"="+strconv.Itoa(load), childArm+"="+strconv.Itoa(c.after))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	return cmd, &stderr
}

func (c *crashes) round(t *testing.T, round int, point string, random *rand.Rand) {
	kill, after := "", 0
	if point == "random" {
		after = c.after + random.IntN(2000)
	} else {
		kill = fmt.Sprintf("%s:%d", point, nth(point, random))
	}
	cmd, stderr := c.command(kill, 1000)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	overdue := time.AfterFunc(maxChild, func() { _ = cmd.Process.Kill() })
	defer overdue.Stop()
	n := 0
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		id, err := domain.ParseTaskID(lines.Text())
		if err != nil {
			continue // torn by the kill
		}
		c.acked = append(c.acked, id)
		if n++; n == after {
			_ = cmd.Process.Kill()
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || n < c.after || !overdue.Stop() {
		t.Fatalf("round %d (%s): %d acknowledged, the child ended with %v after %s:\n%s", round, point, n, err, time.Since(began), last(stderr.String()))
	}
	t.Logf("round %d: killed at %s %s after %d acknowledged in %.1f s", round, point, kill, n, time.Since(began).Seconds())
}

func last(s string) string { return s[max(0, len(s)-4000):] }

// finish lets one more child end every task.
func (c *crashes) finish(t *testing.T) {
	var text strings.Builder
	for _, id := range c.acked {
		text.WriteString(id.String() + "\n")
	}
	if err := os.WriteFile(filepath.Join(c.dir, "acked"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	cmd, stderr := c.command("", 0)
	if err := cmd.Run(); err != nil {
		t.Errorf("the last child: %v\n%s", err, last(stderr.String())) // what the log says of it follows
	}
	t.Logf("the last child ended everything and took %d submissions again in %.1f s", len(c.acked), time.Since(began).Seconds())
}

func (c *crashes) check(t *testing.T, starts int) {
	srv := single(t, natsservertest.Dir(filepath.Join(c.dir, "data")))
	store := openStore(t, srv.Connect)
	l := newLedger()
	events, trimmed := 0, uint64(0)
	for p := range store.Data().Partitions {
		all := c.archived(t, p)
		for _, m := range messages(t, store.Log(p)) {
			all[m.Sequence] = m.Data
		}
		bounds, err := store.Log(p).Bounds(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		trimmed += bounds.First - 1
		for n, sequence := range slices.Sorted(maps.Keys(all)) {
			if sequence != uint64(n+1) {
				t.Fatalf("partition %d: message %d follows %d", p, sequence, n)
			}
			commit, err := domain.DecodeCommit(all[sequence], p, sequence)
			if err != nil {
				t.Fatal(err)
			}
			events += len(commit.Records)
			l.add(commit)
		}
	}
	l.has(c.acked)
	l.ended()
	c.explain(t, l)
	runs, again := c.runs(t, l)
	l.report(t)
	if want := starts * store.Data().Partitions; l.openings < want-store.Data().Partitions || l.openings > want {
		t.Errorf("the partitions were opened %d times, there were %d starts", l.openings, starts)
	}
	t.Logf("%d tasks (%d acknowledged), %d events, %d commits trimmed, %d runs of handlers, %d of them after a crash",
		len(l.tasks), len(c.acked), events, trimmed, runs, again)
}

// explain says what the log knows of tasks that the last child complained of.
func (c *crashes) explain(t *testing.T, l *ledger) {
	if !t.Failed() {
		return
	}
	for _, id := range c.acked {
		if n := l.again[id]; n > 0 {
			t.Logf("task %s was created again %d times; it is %s, last at %s, first at %s", id, n, l.tasks[id].state, l.tasks[id].last, l.tasks[id].first)
		}
	}
}

// archived is what was trimmed from a partition, and perhaps what a kill kept from being trimmed.
func (c *crashes) archived(t *testing.T, p int) map[uint64][]byte {
	all := map[uint64][]byte{}
	files, err := filepath.Glob(filepath.Join(c.dir, "archive", strconv.Itoa(p)+"-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for len(text) >= 12 {
			sequence, n := binary.LittleEndian.Uint64(text), int(binary.LittleEndian.Uint32(text[8:]))
			if len(text) < 12+n {
				break // torn by a kill; nothing was trimmed then
			}
			all[sequence] = text[12 : 12+n]
			text = text[12+n:]
		}
	}
	return all
}

// runs compares what handlers wrote down with the log: every run was requested before it began, no attempt ran twice,
// and none began after the step was complete. again counts the runs whose predecessor was lost.
func (c *crashes) runs(t *testing.T, l *ledger) (n, again int) {
	f, err := os.Open(filepath.Join(c.dir, "runs"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := map[string]int{}
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		id, rest, _ := strings.Cut(lines.Text(), " ")
		name, number, _ := strings.Cut(rest, " ")
		task, err := domain.ParseTaskID(id)
		attempt, err2 := strconv.Atoi(number)
		if err = errors.Join(err, err2); err != nil {
			t.Fatalf("line %q: %v", lines.Text(), err)
		}
		a := l.tasks[task]
		if a == nil || a.steps[name] == nil {
			l.errs = append(l.errs, fmt.Errorf("%q ran, and the log does not know it", lines.Text()))
			continue
		}
		s := a.steps[name]
		if attempt > s.attempt {
			l.errs = append(l.errs, fmt.Errorf("%q ran, and the log knows %d attempts", lines.Text(), s.attempt))
		}
		key := id + name
		if attempt <= seen[key] {
			l.errs = append(l.errs, fmt.Errorf("%q ran after attempt %d", lines.Text(), seen[key]))
		}
		if seen[key] > 0 {
			again++
		}
		seen[key] = attempt
	}
	return n, again
}
