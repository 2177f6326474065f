package tasker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	_ "github.com/tasker-go/tasker/internal/sameseed"
	"github.com/tasker-go/tasker/subscribers"
)

// Whatever somebody makes who gives every line the sum that it needs: it is refused with a line, or an engine could have
// stored it, and then it comes out again as it went in.
func FuzzImport(f *testing.F) {
	store := memory(2)
	busy(f, store, 200)
	trimmed := memory(2)
	busy(f, trimmed, 200)
	trim(f, trimmed)
	for _, s := range []domain.Store{store, trimmed} {
		file, _ := exportOf(f, s, tasker.ExportOptions{})
		var bare []string
		for line := range strings.Lines(string(file)) {
			bare = append(bare, line[:strings.LastIndex(line, `,"sum":`)])
		}
		f.Add(strings.Join(bare, "\n"))
	}
	f.Add(`{"tasker":"export","version":1,"of":"log","log":"x","generation":1,"partitions":1,"first":[1],"last":[0]` + "\n" + `{"end":true,"lines":2`)
	f.Add(`{"tasker":"export","version":1,"of":"log","log":"x","generation":1,"partitions":1,"first":[18446744073709551615],"last":[18446744073709551615]`)
	f.Fuzz(func(t *testing.T, text string) {
		var lines []string
		for _, line := range strings.Split(text, "\n") {
			lines = append(lines, line+`,"sum":`)
		}
		file := forge(lines)
		to := memory(2)
		report, err := importInto(t, to, file, tasker.ImportOptions{Continue: true})
		var bad *tasker.ImportError
		switch {
		case errors.As(err, &bad):
			return
		case err != nil && report.Partitions == 2:
			t.Fatal(err)
		case err != nil:
			return // of another number of partitions
		}
		again, exported := exportOf(t, to, tasker.ExportOptions{})
		if exported.Messages != report.Messages {
			t.Fatalf("%d messages became %d", report.Messages, exported.Messages)
		}
		if _, err := importInto(t, memory(2), again, tasker.ImportOptions{Continue: true}); err != nil {
			t.Fatalf("what was exported again is refused: %v\n%s", err, bytes.TrimSpace(again))
		}
	})
}

// The same, of files that are nearly right: a number, a word or a line of them is another.
func TestImportOfForgedFiles(t *testing.T) {
	store := memory(2)
	busy(t, store, 200<<10)
	trimmed := memory(2)
	busy(t, trimmed, 200)
	trim(t, trimmed)
	var files [][]string
	for _, s := range []domain.Store{store, trimmed} {
		file, _ := exportOf(t, s, tasker.ExportOptions{})
		files = append(files, strings.SplitAfter(strings.TrimSuffix(string(file), "\n"), "\n"))
	}
	token := regexp.MustCompile(`[0-9]+|[a-z_.]+|[{}\[\]",:-]`)
	taken := 0
	rapid.Check(t, func(rt *rapid.T) {
		lines := slices.Clone(rapid.SampledFrom(files).Draw(rt, "file"))
		for range rapid.IntRange(1, 3).Draw(rt, "changes") {
			i := rapid.IntRange(0, len(lines)-1).Draw(rt, "line")
			j := rapid.IntRange(0, len(lines)-1).Draw(rt, "other")
			switch rapid.IntRange(0, 9).Draw(rt, "change") {
			case 0:
				lines = slices.Delete(lines, i, i+1)
			case 1:
				lines = slices.Insert(lines, j, lines[i])
			case 2:
				lines[i], lines[j] = lines[j], lines[i]
			default:
				found := token.FindAllStringIndex(lines[i][:strings.LastIndex(lines[i], `,"sum":`)], -1)
				at := rapid.SampledFrom(found).Draw(rt, "place")
				with := rapid.SampledFrom([]string{"", "0", "1", "2", "7", "18446744073709551615", "-1", "null", "[]", "{}", `"`, "step.completed", "task.created", "task.completed", "custom.x", "one", "first", "second"}).Draw(rt, "with")
				lines[i] = lines[i][:at[0]] + with + lines[i][at[1]:]
			}
			if len(lines) == 0 {
				return
			}
		}
		last := lines[len(lines)-1]
		if strings.HasPrefix(last, `{"end":true`) && rapid.Bool().Draw(rt, "count") {
			lines[len(lines)-1] = fmt.Sprintf(`{"end":true,"lines":%d,"sum":`, len(lines))
		}
		to := memory(2)
		report, err := importInto(t, to, forge(lines), tasker.ImportOptions{Continue: true})
		var bad *tasker.ImportError
		if errors.As(err, &bad) || report.Partitions != 2 && err != nil {
			return
		}
		if err != nil {
			rt.Fatal(err)
		}
		taken++
		again, _ := exportOf(t, to, tasker.ExportOptions{})
		if _, err := importInto(t, memory(2), again, tasker.ImportOptions{Continue: true}); err != nil {
			rt.Fatalf("what was exported again is refused: %v", err)
		}
		engine, err := tasker.New(t.Context(), tasker.Config{Store: to, Logger: noLog})
		if err != nil {
			rt.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- engine.Run(ctx) }()
		for _, p := range awaitPhases(engine) {
			if p.Phase == subscribers.Closed {
				rt.Errorf("partition %02d is closed", p.Partition)
			}
		}
		stop()
		if err := <-ended; err != nil {
			rt.Error(err)
		}
	})
	if taken == 0 {
		t.Error("nothing was ever taken")
	}
}

// awaitPhases waits until every partition is open or closed.
func awaitPhases(e *tasker.Engine) []subscribers.Stats {
	for {
		parts := e.Stats().Partitions
		if !slices.ContainsFunc(parts, func(s subscribers.Stats) bool { return s.Phase != subscribers.Owning && s.Phase != subscribers.Closed }) {
			return parts
		}
		runtime.Gosched()
	}
}
