// Package plainnats holds no Go code of its own: its tests run the programs against a real engine.
package plainnats

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/examples/internal/readme"
	"github.com/tasker-go/tasker/infra/loghandler"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/infra/yamldef"
)

const token = "secret"

// engine runs the orders, and workflows besides, such as a later version of them.
func engine(t *testing.T, workflows ...any) (*tasker.Engine, string) {
	t.Helper()
	server := natsservertest.Single(t, func(o *natsserver.Options) { o.Listen, o.Token = "127.0.0.1:0", token })
	ctx, stop := context.WithCancel(context.Background())
	e, err := tasker.New(ctx, tasker.Config{
		Connect: server.Connect, Feed: &tasker.Feed{}, Partitions: 1,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		stop()
		t.Fatal(err)
	}
	if err := e.Handler("log", loghandler.New(loghandler.Options{Logger: func(context.Context) *slog.Logger { return slog.New(slog.DiscardHandler) }})); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../nats-cli/definitions/order.yaml")
	if err != nil {
		t.Fatal(err)
	}
	order, err := yamldef.Load("order.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Register(append(workflows, order)...); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-e.Ready()
	return e, strings.Replace(server.URL(), "nats://", "nats://"+token+"@", 1)
}

// program is one of the two. The test is skipped where its language is not installed, but not in CI.
type program struct {
	t    *testing.T
	name string
	args []string
	url  string
}

func each(t *testing.T, test func(t *testing.T, p program)) {
	for name, args := range map[string][]string{"python3": {"order.py"}, "node": {"order.mjs"}} {
		t.Run(name, func(t *testing.T) {
			path, err := exec.LookPath(name)
			switch {
			case err != nil && os.Getenv("CI") == "true":
				t.Fatalf("%s is not installed, and CI has to run it", name)
			case err != nil:
				t.Skipf("%s is not installed", name)
			}
			test(t, program{t: t, name: path, args: args})
		})
	}
}

// run gives what the program prints on both outputs, and whether it was content.
func (p program) run(args ...string) (string, bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.name, append(p.args, args...)...)
	cmd.Env = append(os.Environ(), "NATS_URL="+p.url, "PYTHONDONTWRITEBYTECODE=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		p.t.Fatalf("it did not end; it said:\n%s", out.String())
	}
	return out.String(), err == nil
}

var result = regexp.MustCompile(`(?m)^result (.*)$`)

func TestATaskIsSubmittedFollowedAndItsResultRead(t *testing.T) {
	each(t, func(t *testing.T, p program) {
		_, p.url = engine(t)
		first, ok := p.run("submit", "7")
		if !ok {
			t.Fatalf("it failed:\n%s", first)
		}
		readme.Shows(t, strings.ReplaceAll(first, `":"`, `": "`)) // JavaScript writes JSON without spaces
		again, ok := p.run("submit", "7")
		if want := strings.Replace(first, "is new", "was there already", 1); !ok || again != want {
			t.Errorf("a second time (-want +got):\n%s", cmp.Diff(want, again))
		}
	})
}

func TestADurableListenerGoesOnWhereItStopped(t *testing.T) {
	each(t, func(t *testing.T, p program) {
		e, url := engine(t)
		p.url = url
		want := map[string]bool{}
		for n := range 3 {
			receipt, err := e.Submit(t.Context(), "order", map[string]int{"id": n})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Wait(t.Context(), receipt.ID); err != nil {
				t.Fatal(err)
			}
			want["task.completed "+receipt.ID.String()] = true
		}
		first, _ := p.run("listen", "office", "1")
		then, _ := p.run("listen", "office", "2")
		got := map[string]bool{} // there is no order between tasks
		for _, line := range strings.Split(strings.TrimSpace(first+then), "\n") {
			if got[line] {
				t.Errorf("%q came twice", line)
			}
			got[line] = true
		}
		if diff := cmp.Diff(want, got); diff != "" || strings.Count(first, "\n") != 1 {
			t.Errorf("first:\n%s\nthen:\n%s\n(-want +got):\n%s", first, then, diff)
		}
	})
}

func TestWhatIsRefusedIsSaid(t *testing.T) {
	each(t, func(t *testing.T, p program) {
		failing := tasker.Define("order").Version("2.0.0").Schema(`{"properties":{"id":{"maximum":9}}}`).
			Step("pack", tasker.Handle(func(context.Context, struct{}) (any, error) { return nil, tasker.Permanent(os.ErrNotExist) })).MustBuild()
		_, p.url = engine(t, failing)
		for args, want := range map[string]string{
			"10": "refused: the context of default.order@2.0.0 is refused",
			"1":  "the task did not complete",
		} {
			if output, ok := p.run("submit", args); ok || !strings.Contains(output, want) {
				t.Errorf("submit %s: %t, want %q:\n%s", args, ok, want, output)
			}
		}
		p.url = strings.Replace(p.url, token, "wrong", 1)
		if output, ok := p.run("submit", "1"); ok || !strings.Contains(output, "Authorization Violation") {
			t.Errorf("with a wrong token: %t\n%s", ok, output)
		}
	})
}

// A result over 1 KiB is not repeated at the end of the task, and one over 128 KiB stands in no event at all.
func TestLargeResultsAreReadWhereTheyAre(t *testing.T) {
	each(t, func(t *testing.T, p program) {
		large := tasker.Define("order").Version("2.0.0").
			Step("ship", tasker.Handle(func(_ context.Context, in struct{ ID int }) (string, error) {
				return strings.Repeat("0123456789", in.ID), nil
			})).Output("ship").MustBuild()
		_, p.url = engine(t, large)
		for _, n := range []int{200, 30_000} {
			output, ok := p.run("submit", strconv.Itoa(n))
			found := result.FindStringSubmatch(output)
			if !ok || found == nil {
				t.Fatalf("no result:\n%s", output)
			}
			if strings.HasSuffix(p.args[0], ".mjs") && 10*n > domain.InlineLog { // says where it is
				if !strings.Contains(found[1], `"blob":"sha256-`) {
					t.Errorf("the result is %.100s", found[1])
				}
				continue
			}
			var got string
			if err := json.Unmarshal([]byte(found[1]), &got); err != nil || got != strings.Repeat("0123456789", n) {
				t.Errorf("%v: the result of %d bytes is %.100s… of %d", err, 10*n, found[1], len(got))
			}
		}
	})
}
