package doctest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// A fence "console" is what somebody typed, behind "$ ", and what it printed. The fences of a page are one session: it is
// typed again, and has to print the same, but for ids, times and sequences. The commands of the nats command line are carried
// out by nats.go, as natscli 0.5 does (transcript_nats_test.go); with NATS_CLI=/path/to/nats by that program itself. With
// -rewrite what it prints is put into the page.

// exchange is a command with its output. The lines of the output begin behind number, counted from 1.
type exchange struct {
	at, command, output string
	number, lines       int
}

// exchanges reads the fences of a page.
func exchanges(t *testing.T, p page) []exchange {
	t.Helper()
	var all []exchange
	for _, f := range p.fences {
		if f.info != "console" {
			continue
		}
		first := len(all)
		continued := false
		for i, line := range strings.Split(strings.TrimSuffix(f.text, "\n"), "\n") {
			command, typed := strings.CutPrefix(line, "$ ")
			switch {
			case continued:
				last := &all[len(all)-1]
				last.command += " " + strings.TrimSpace(strings.TrimSuffix(line, `\`))
				last.number++
				continued = strings.HasSuffix(line, `\`)
			case typed:
				all = append(all, exchange{at: fmt.Sprintf("%s:%d", p.path, f.number+i), command: strings.TrimSuffix(command, `\`), number: f.number + i})
				continued = strings.HasSuffix(line, `\`)
			case len(all) == first:
				t.Fatalf("%s: a transcript begins with a command", f.at())
			default:
				all[len(all)-1].output += line + "\n"
				all[len(all)-1].lines++
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s shows no commands", p.path)
	}
	return all
}

// words splits a command line as a shell does, quotes and all; of pipes it knows one, to jq.
var words = regexp.MustCompile(`'[^']*'|"[^"]*"|[^\s'"]+`)

func split(command string) []string {
	var args []string
	end := -1
	for _, at := range words.FindAllStringIndex(command, -1) {
		word := strings.Trim(command[at[0]:at[1]], `'"`)
		if at[0] == end { // a='b' is one word
			args[len(args)-1] += word
		} else {
			args = append(args, word)
		}
		end = at[1]
	}
	return args
}

// session types a page again.
type session struct {
	t   *testing.T
	ctx context.Context
	dir string
	env []string
	url string // of the listener, with its token
	nc  *nats.Conn

	ids        map[string]string // of the page: what they are here
	background []*background
	printed    map[int]string // by exchange.number, for -rewrite
}

// background is a command that ends with &.
type background struct {
	exchange
	done   chan struct{}
	output string
	err    error
}

// replay types all of a page's transcript. The folder holds what its commands read. The server of the session runs until
// the test ends.
func replay(t *testing.T, path, folder string) *session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	s := &session{t: t, ctx: ctx, dir: t.TempDir(), env: os.Environ(), ids: map[string]string{}, printed: map[int]string{}}
	if err := os.CopyFS(s.dir, os.DirFS(filepath.Join(root(t), filepath.FromSlash(folder)))); err != nil {
		t.Fatal(err)
	}
	page := readPage(t, path)
	if *rewrite {
		defer s.rewrite(page)
	}
	for _, x := range exchanges(t, page) {
		s.play(x)
		if t.Failed() {
			t.FailNow() // what follows rests on it
		}
	}
	if len(s.background) > 0 {
		t.Errorf("%s: nobody waits for it", s.background[0].at)
	}
	return s
}

func (s *session) play(x exchange) {
	s.t.Helper()
	for page, here := range s.ids {
		x.command = strings.ReplaceAll(x.command, page, here)
	}
	switch command, behind := strings.CutSuffix(x.command, " &"); {
	case strings.HasPrefix(command, "export "):
		s.export(x)
	case strings.HasPrefix(command, "tasker serve "):
		s.serve(x, split(command)[1:])
	case command == "wait":
		s.wait(x)
	case behind:
		s.start(x, command)
	default:
		output, err := s.run(command, nil)
		if err != nil {
			s.t.Errorf("%s: %s: %v", x.at, x.command, err)
			return
		}
		s.compare(x, output)
	}
}

// export takes the address for clients from the page, and leaves it: here the server is another one.
func (s *session) export(x exchange) {
	name, value, _ := strings.Cut(strings.TrimPrefix(x.command, "export "), "=")
	if name == "NATS_URL" {
		value = s.url
	}
	s.env = append(s.env, name+"="+value)
}

// start runs a command in the background. It returns when a subscription has reached the server.
func (s *session) start(x exchange, command string) {
	b := &background{exchange: x, done: make(chan struct{})}
	s.background = append(s.background, b)
	ready := make(chan struct{})
	var once sync.Once
	go func() {
		defer close(b.done)
		b.output, b.err = s.run(command, func() { once.Do(func() { close(ready) }) })
	}()
	select {
	case <-ready:
	case <-b.done:
	case <-s.ctx.Done():
	}
}

// wait compares what the commands in the background have printed: what stands below them and below wait.
func (s *session) wait(x exchange) {
	s.t.Helper()
	for _, b := range s.background {
		<-b.done
		if b.err != nil {
			s.t.Errorf("%s: %s: %v", b.at, b.command, b.err)
			continue
		}
		b.exchange.output += x.output
		s.compare(b.exchange, b.output)
		if *rewrite {
			begins, _, _ := strings.Cut(b.output, "\n")
			s.printed[b.number] = begins + "\n"
			s.printed[x.number] += strings.TrimPrefix(b.output, begins+"\n")
		}
	}
	s.background = nil
}

// run carries a command out. subscribed is called when a subscription stands; nil when nobody asks.
func (s *session) run(command string, subscribed func()) (string, error) {
	command, toJQ := strings.CutSuffix(command, " | jq")
	command, away := strings.CutSuffix(command, " > /dev/null")
	args := split(command)
	var output string
	var err error
	cli := os.Getenv("NATS_CLI")
	switch {
	case args[0] == "nats" && cli == "":
		output, err = s.nats(args[1:], subscribed)
	case args[0] == "nats":
		output, err = s.program(cli, args[1:], subscribed)
	case args[0] == "tasker":
		output, err = s.program(tasker(s.t), args[1:], nil)
	default:
		err = fmt.Errorf("the test does not know the command %s", args[0])
	}
	if err == nil && away {
		return "", nil
	}
	if err != nil || !toJQ {
		return output, err
	}
	return indent(output)
}

// indent is what jq makes of JSON values.
func indent(text string) (string, error) {
	var out bytes.Buffer
	for values := json.NewDecoder(strings.NewReader(text)); values.More(); {
		var value json.RawMessage
		if err := values.Decode(&value); err != nil {
			return text, err
		}
		if err := json.Indent(&out, value, "", "  "); err != nil {
			return text, err
		}
		out.WriteByte('\n')
	}
	return out.String(), nil
}

// program runs a program; both of its outputs are one.
func (s *session) program(path string, args []string, subscribed func()) (string, error) {
	cmd := exec.CommandContext(s.ctx, path, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return "", err
	}
	var out strings.Builder
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		out.WriteString(lines.Text() + "\n")
		if subscribed != nil && strings.Contains(lines.Text(), "Subscribing") {
			subscribed()
		}
	}
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out.String())
	}
	return out.String(), nil
}

// serve starts the engine that the page starts, on a free port.
func (s *session) serve(x exchange, args []string) {
	s.t.Helper()
	token := ""
	for i, arg := range args {
		switch arg {
		case "&":
			args = args[:i]
		case "--token":
			token = args[i+1]
		case "--listen":
			args[i+1] = "127.0.0.1:0"
		}
	}
	cmd := exec.Command(tasker(s.t), args...)
	cmd.Dir, cmd.Env, cmd.Stderr = s.dir, s.env, s.t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if s.nc != nil {
			s.nc.Close()
		}
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	printed := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		printed += lines.Text() + "\n"
		if m := regexp.MustCompile(`nats://([^,\s]+)`).FindStringSubmatch(lines.Text()); m != nil {
			s.url = "nats://" + token + "@" + m[1]
		}
		if lines.Text() == "ready" {
			break
		}
	}
	go func() { _, _ = bufio.NewReader(out).WriteTo(bytes.NewBuffer(nil)) }() // what it says later
	if s.nc, err = nats.Connect(s.url); err != nil {
		s.t.Fatalf("%s: the server printed %q: %v", x.at, printed, err)
	}
	s.env = append(s.env, "TASKER_TOKEN="+token)
	s.compare(x, printed)
}

var (
	batches = regexp.MustCompile(`(?m)^Nats-Batch-.*\n`) // what is stored at once is a matter of microseconds
	uuids   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	// moments are what is another thing in every run: what it is called, and how it looks.
	moments = []struct {
		pattern *regexp.Regexp
		name    string
	}{
		{regexp.MustCompile(`nats://[^\s,@]*@?127\.0\.0\.1:\d+`), "URL"},
		{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "TIME"},
		{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+ \+0000 UTC \([^)]*\))?`), "TIME"},
		{regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d `), "CLOCK "},
		{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-z]+\b`), "COMMIT"},
		{regexp.MustCompile(`"(writer|engine)":( ?)"[^"]*"`), `"$1":$2"…"`},
		{regexp.MustCompile(`\b(\d\d)-\d+-(\d+)\b`), "$1-SEQUENCE-$2"},
		{regexp.MustCompile(`"prev":( ?)\d+`), `"prev":${1}SEQUENCE`},
		{regexp.MustCompile(`((?i)sequence: |seq: |pending: |[A-Z_0-9]+#)\d+`), "${1}N"},
		{regexp.MustCompile(`intake-UUID-\d+-\d+`), "intake-MESSAGE"},
		{regexp.MustCompile(`"_INBOX\.[^"]*"`), "INBOX"},
		{batches, ""},
		{regexp.MustCompile(`(?m)[ \t]+$`), ""},
		{regexp.MustCompile(`\n{2,}`), "\n"},
	}
)

// plain is an output without what differs from run to run, and with headers in order: the client has them in none.
func plain(output string) string {
	output = uuids.ReplaceAllString(output, "UUID")
	for _, m := range moments {
		output = m.pattern.ReplaceAllString(output, m.name)
	}
	return sortHeaders(strings.Trim(output, "\n"))
}

// compare also learns which id of the page is which here.
func (s *session) compare(x exchange, output string) {
	s.t.Helper()
	ids := func(text string) []string {
		return uuids.FindAllString(sortHeaders(batches.ReplaceAllString(text, "")), -1)
	}
	here := ids(output)
	if *rewrite {
		s.printed[x.number] = output
	} else if diff := cmp.Diff(strings.Split(plain(x.output), "\n"), strings.Split(plain(output), "\n")); diff != "" {
		s.t.Errorf("%s: %s\n(-page +run):\n%s\nprinted:\n%s", x.at, x.command, diff, output)
		return
	}
	for i, page := range ids(x.output) {
		if i >= len(here) {
			return
		}
		if known, ok := s.ids[page]; ok && known != here[i] && !*rewrite {
			s.t.Errorf("%s: %s: the page has %s where the run has another id, %s, and not %s", x.at, x.command, page, here[i], known)
		}
		s.ids[page] = here[i]
	}
}

// rewrite puts what was printed into the page.
func (s *session) rewrite(p page) {
	path := filepath.Join(root(s.t), filepath.FromSlash(p.path))
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	all := exchanges(s.t, p)
	for _, x := range slices.Backward(all) {
		output, ok := s.printed[x.number]
		if !ok {
			continue
		}
		output = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(output, "127.0.0.1:4222")
		output = regexp.MustCompile(`(?m)[ \t]+$`).ReplaceAllString(output, "")
		output = sortHeaders(strings.Trim(regexp.MustCompile(`\n{3,}`).ReplaceAllString(output, "\n\n"), "\n"))
		var shown []string
		if output != "" {
			shown = strings.Split(output, "\n")
		}
		lines = slices.Replace(lines, x.number, x.number+x.lines, shown...)
	}
	page := strings.Join(lines, "\n")
	for old, here := range s.ids {
		page = strings.ReplaceAll(page, old, here)
	}
	if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
		s.t.Fatal(err)
	}
}
