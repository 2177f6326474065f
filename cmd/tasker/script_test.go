package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/internal/taskerbin"
)

var (
	withRace = flag.Bool("scripts.race", false, "run the commands of the scripts with the race detector when the tests have it")
	update   = flag.Bool("update", false, "write what the commands print into the golden files of the scripts")
)

// The test binary is `tasker` itself for the scripts.
func TestMain(m *testing.M) {
	if os.Getenv(envConfigDir) == "" { // whoever runs the tests has contexts, too
		_ = os.Setenv(envConfigDir, filepath.Join(os.TempDir(), "tasker-test-without-contexts"))
		_ = os.Unsetenv(envContext)
	}
	testscript.Main(m, map[string]func(){"tasker": main, "natsd": natsd})
}

// natsd is a NATS server that is not tasker's: it writes its URL to nats.url and runs until a signal. With NATSD_PASSWORD in
// the environment it lets in the user ann, and the URL does not say so.
func natsd() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	o := natsserver.Options{Dir: "js", Listen: "127.0.0.1:0", Token: "secret"}
	credentials := "secret@"
	if password := os.Getenv("NATSD_PASSWORD"); password != "" {
		o.Token, o.Username, o.Password, credentials = "", "ann", password, ""
	}
	server, err := natsserver.Start(context.Background(), o)
	if err == nil {
		url := strings.Replace(server.URL(), "//", "//"+credentials, 1)
		err = os.WriteFile("nats.url", []byte(url), 0o600)
	}
	if err == nil {
		<-signals
		err = server.Shutdown(context.Background())
	}
	if err != nil {
		panic(err)
	}
}

func TestScripts(t *testing.T) {
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	path := "" // of a tasker that goes before the one of TestMain
	if raceEnabled && !*withRace {
		dir := t.TempDir()
		if _, err := taskerbin.Build(dir); err != nil {
			t.Fatal(err)
		}
		path = dir + string(os.PathListSeparator)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", path+env.Getenv("PATH"))
			env.Setenv("EXAMPLES", examples)
			env.Setenv("TERM", "xterm-256color")
			env.Setenv("GORACE", "atexit_sleep_ms=0") // a race still ends the process with a code of its own
			return nil
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "root":
				return os.Getuid() == 0, nil
			case "smalldisk":
				return mountsSmallDisks(), nil
			}
			return false, errors.New("unknown condition " + name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "mask": mask, "until": until, "sigterm": sigterm, "garbage": garbage, "capture": capture,
			"publish": publish,
		},
	})
}

// exits CODE COMMAND...: the command ends with that exit code; -1 is a signal.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if ended := (*exec.ExitError)(nil); errors.As(err, &ended) {
		got = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// masks replace what is different every time.
var masks = []struct {
	find *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "<id>"},
	{regexp.MustCompile(`\b(ord|pay|res)_[0-9a-f]{12}\b`), "${1}_<id>"},
	{regexp.MustCompile(`…[0-9a-f]{8}\b`), "…<id>"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?`), "<date>"},
	{regexp.MustCompile(`(?m)^ *\d+\.\d{3}s`), "<at>"},
	{regexp.MustCompile(`\b\d+(\.\d+)? (µs|ms|s|min|h)\b( \d+ (s|min|h)\b)?`), "<time>"},
	{regexp.MustCompile(`"duration_ms":[0-9.]+`), `"duration_ms":<time>`},
	{regexp.MustCompile(`"(writer|hash|definition)":"[0-9a-f]+"`), `"$1":<hex>`},
	{regexp.MustCompile(`\bprocess \d+\b`), "process <pid>"},
	{regexp.MustCompile(`(?m)^(engine +|\d\d +(?:owning|loading) +)\S+-\d+`), "${1}<engine>"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:<port>"},
	{regexp.MustCompile(`\b\d\d-\d+-\d+\b`), "<event>"},
	{regexp.MustCompile(`(?m)^((?:ok|warning|failed) .*)\b\d+ [KMG]iB\b`), "${1}<size>"},
	{regexp.MustCompile(`(?m)^((?:ok|warning|failed) .*)\b\d+ [KMG]iB\b`), "${1}<size>"},
	{regexp.MustCompile(`partitions are owned: \S+`), "partitions are owned: <engine>"},
	{regexp.MustCompile(`\bNATS \d+\.\d+\.\d+`), "NATS <version>"},
	{regexp.MustCompile(`(?m) +$`), ""},
}

// mask FILE OUT: writes the file, or stdout or stderr, with everything masked that is different every time.
func mask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mask FILE OUT")
	}
	text := strings.ReplaceAll(ts.ReadFile(args[0]), ts.Getenv("WORK"), "$WORK")
	text = strings.ReplaceAll(text, fmt.Sprintf("by user %d:", os.Getuid()), "by user <uid>:")
	for _, m := range masks {
		text = m.find.ReplaceAllString(text, m.put)
	}
	// Columns are as wide as what stood in them.
	text = regexp.MustCompile(`(?m)^([A-Z]{4,} .*|.*<[a-z]+>.*)$`).ReplaceAllStringFunc(text, func(line string) string {
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		return indent + regexp.MustCompile(` {2,}`).ReplaceAllString(line[len(indent):], "  ")
	})
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

// until PATTERN COMMAND...: repeats the command until what it prints matches.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN COMMAND...")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for {
		_ = ts.Exec(args[1], args[2:]...)
		if pattern.MatchString(ts.ReadFile("stdout") + ts.ReadFile("stderr")) {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond): // a try costs a tenth of a second of a processor
		case <-deadline.C:
			ts.Fatalf("never matched %s", args[0])
		}
	}
}

// capture NAME [PATTERN]: sets a variable to what the last command printed, or to what the first group of the pattern found
// in it.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: capture NAME [PATTERN]")
	}
	text := strings.TrimSpace(ts.ReadFile("stdout"))
	if len(args) == 2 {
		found := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(text)
		if len(found) < 2 {
			ts.Fatalf("%s is not in:\n%s", args[1], text)
		}
		text = found[1]
	}
	ts.Setenv(args[0], text)
}

// sigterm DIR: stops the server of a data directory.
func sigterm(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sigterm DIR")
	}
	text := ts.ReadFile(servingPath(args[0]))
	pid, err := strconv.Atoi(regexp.MustCompile(`"pid":(\d+)`).FindStringSubmatch(text)[1])
	ts.Check(err)
	ts.Check(syscall.Kill(pid, syscall.SIGTERM))
}

// garbage DIR: appends to the log of partition 00 what claims to be a commit and is none, and sets SEQUENCE.
func garbage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: garbage DIR")
	}
	server, err := natsserver.Start(context.Background(), natsserver.Options{Dir: ts.MkAbs(args[0])})
	ts.Check(err)
	nc, err := server.Connect()
	ts.Check(err)
	msg := nats.NewMsg("tasker.log.1.00")
	msg.Header.Set("Tasker-Commit", "torn-1")
	msg.Data = []byte(`{"v":1,"id":"torn-1","at":`)
	answer, err := nc.RequestMsg(msg, 5*time.Second)
	ts.Check(err)
	ts.Setenv("SEQUENCE", regexp.MustCompile(`"seq":\s*(\d+)`).FindStringSubmatch(string(answer.Data))[1])
	nc.Close()
	ts.Check(server.Shutdown(context.Background()))
}

// mountsSmallDisks: root in a sandbox may not be allowed to.
func mountsSmallDisks() bool {
	dir, err := os.MkdirTemp("", "disk")
	if err != nil || exec.Command("mount", "-t", "tmpfs", "-o", "size=1m", "none", dir).Run() != nil { // #nosec G204 -- a directory made just now
		return false
	}
	defer func() { _ = os.Remove(dir) }()
	return exec.Command("umount", dir).Run() == nil // #nosec G204 -- a directory made just now
}
