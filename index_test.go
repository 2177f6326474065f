package tasker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

// shop is a definition with indexed fields, one step of which fails when the context says so.
func shop() *tasker.Workflow {
	type in struct {
		Customer struct{ ID string }
		Fail     bool
	}
	return tasker.Define("order").Namespace("shop").Indexed("customer.id", "express").
		Step("reserve", tasker.Handle(func(context.Context, in) (string, error) { return "ok", nil })).
		Step("charge", tasker.Handle(func(_ context.Context, i in) (string, error) {
			if i.Fail {
				return "", tasker.Permanent(errors.New("the card was declined"))
			}
			return "paid", nil
		}), tasker.After("reserve")).
		MustBuild()
}

// indexed starts an engine with the shop; config says where its log and its index are.
func indexed(t *testing.T, config tasker.Config) (*tasker.Engine, func()) {
	t.Helper()
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	config.Drain, config.NoIntake = time.Second, true
	engine, err := tasker.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Register(shop()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := engine.Run(ctx); err != nil {
			t.Errorf("the engine ended with %v", err)
		}
	})
	stop := sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(stop)
	select {
	case <-engine.Ready():
	case <-t.Context().Done():
	}
	return engine, stop
}

func buy(t testing.TB, e submits, customer string, fail bool, options ...tasker.SubmitOption) tasker.Receipt {
	t.Helper()
	input := map[string]any{"customer": map[string]any{"id": customer}, "express": fail, "fail": fail}
	r, err := e.Submit(t.Context(), "order", input, append(options, tasker.InNamespace("shop"))...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type submits interface {
	Submit(ctx context.Context, name string, input any, options ...tasker.SubmitOption) (tasker.Receipt, error)
}

// soon is a context for reads that must come to an end.
func soon(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestAReadAtAPositionContainsWhatWasWrittenThere(t *testing.T) {
	engine, _ := indexed(t, tasker.Config{Store: memlog.New(memlog.Options{Partitions: 4}), Index: filepath.Join(t.TempDir(), "index.db")})
	var clients sync.WaitGroup
	const n, each = 20, 50
	for c := range n {
		clients.Go(func() {
			for i := range each {
				name := fmt.Sprintf("c-%d-%d", c, i)
				r := buy(t, engine, name, false)
				page, err := engine.FindTasks(soon(t, 20*time.Second), tasker.TaskQuery{Fields: map[string]string{"customer.id": name}}, r.Position)
				if err != nil || len(page.Tasks) != 1 || page.Tasks[0].ID != r.ID {
					t.Errorf("task %s is not found at %s: %v %v", r.ID, r.Position, page.Tasks, err)
					return
				}
			}
		})
	}
	clients.Wait()
	end, err := engine.LogEnd(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	counts, err := engine.CountTasks(soon(t, 20*time.Second), tasker.TaskQuery{Namespaces: []string{"shop"}}, end...)
	if err != nil || counts.Total != n*each || counts.AtLeast {
		t.Errorf("%d tasks are counted (%v), want %d", counts.Total, err, n*each)
	}
}

func TestAReadThroughTheIndexSaysHowTasksStand(t *testing.T) {
	engine, _ := indexed(t, tasker.Config{Store: memlog.New(memlog.Options{}), Index: filepath.Join(t.TempDir(), "index.db")})
	good, bad := buy(t, engine, "ann", false, tasker.Tagged("vip")), buy(t, engine, "bob", true)
	for _, id := range []tasker.TaskID{good.ID, bad.ID} {
		var failed *tasker.TaskFailedError
		if _, err := engine.Wait(soon(t, 20*time.Second), id); err != nil && !errors.As(err, &failed) {
			t.Fatal(err)
		}
	}
	end, err := engine.LogEnd(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids := func(q tasker.TaskQuery) []tasker.TaskID {
		t.Helper()
		page, err := engine.FindTasks(soon(t, 20*time.Second), q, end...)
		if err != nil {
			t.Fatal(err)
		}
		var found []tasker.TaskID
		for _, row := range page.Tasks {
			found = append(found, row.ID)
		}
		return found
	}
	for name, tt := range map[string]struct {
		q    tasker.TaskQuery
		want []tasker.TaskID
	}{
		"all, the newest first": {tasker.TaskQuery{}, []tasker.TaskID{bad.ID, good.ID}},
		"failed":                {tasker.TaskQuery{States: []domain.State{domain.Error}}, []tasker.TaskID{bad.ID}},
		"by tag":                {tasker.TaskQuery{Tags: []string{"vip"}}, []tasker.TaskID{good.ID}},
		"by field":              {tasker.TaskQuery{Fields: map[string]string{"customer.id": "ann", "express": "false"}}, []tasker.TaskID{good.ID}},
		"by the text of errors": {tasker.TaskQuery{Text: "card decl"}, []tasker.TaskID{bad.ID}},
		"nothing":               {tasker.TaskQuery{Name: "nobody"}, nil},
	} {
		if got := ids(tt.q); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
	steps, err := engine.FindSteps(soon(t, 20*time.Second), tasker.StepQuery{Task: bad.ID, States: []domain.State{domain.Error}}, end...)
	if err != nil || len(steps.Steps) != 1 || steps.Steps[0].Step != "charge" {
		t.Errorf("failed steps %+v, %v", steps.Steps, err)
	}
	stats, err := engine.Analyze(soon(t, 20*time.Second), tasker.AnalyticsQuery{}, end...)
	if err != nil || len(stats.Definitions) != 1 || stats.Definitions[0].Complete != 1 || stats.Definitions[0].Failed != 1 {
		t.Errorf("analytics %+v, %v", stats.Definitions, err)
	}
	path, err := engine.CriticalPath(t.Context(), good.ID)
	if err != nil || len(path.Steps) != 2 || path.Steps[0].Step != "reserve" || path.Steps[1].Step != "charge" {
		t.Errorf("critical path %+v, %v", path, err)
	}
	if _, err := engine.FindTasks(t.Context(), tasker.TaskQuery{Limit: -1}); !isQueryError(err, "limit") {
		t.Errorf("a limit of -1: %v", err)
	}
	if _, err := engine.FindTasks(t.Context(), tasker.TaskQuery{}, tasker.Position{Partition: 63, Sequence: 1}); !isQueryError(err, "position") {
		t.Errorf("a position of no partition: %v", err)
	}
}

func isQueryError(err error, field string) bool {
	var wrong *tasker.QueryError
	return errors.As(err, &wrong) && wrong.Field == field
}

func TestAReadAtAPositionThatTheIndexDoesNotReachSaysSo(t *testing.T) {
	engine, _ := indexed(t, tasker.Config{Store: memlog.New(memlog.Options{}), Index: filepath.Join(t.TempDir(), "index.db")})
	r := buy(t, engine, "ann", false)
	if _, err := engine.FindTasks(soon(t, 20*time.Second), tasker.TaskQuery{}, r.Position); err != nil {
		t.Fatal(err)
	}
	ahead := r.Position
	ahead.Sequence += 1000
	_, err := engine.FindTasks(soon(t, 100*time.Millisecond), tasker.TaskQuery{}, ahead)
	var behind *tasker.IndexBehindError
	if !errors.Is(err, tasker.ErrBehind) || !errors.As(err, &behind) || behind.Position != ahead || !behind.Covered.Covers(r.Position) {
		t.Errorf("a read at %s ends with %v", ahead, err)
	}
}

func TestAClientReadsThroughTheIndexOfAnEngine(t *testing.T) {
	connect := connectorOf(natsservertest.Single(t))
	client := clientOf(t, connect, func() { makeStreams(t, connect) })
	if _, err := client.FindTasks(soon(t, 100*time.Millisecond), tasker.TaskQuery{}); err == nil {
		t.Error("tasks are found without any engine")
	}
	without, stop := indexed(t, tasker.Config{Connect: connect, Name: "without"})
	for _, e := range []interface {
		FindTasks(context.Context, tasker.TaskQuery, ...tasker.Position) (tasker.TaskPage, error)
	}{client, without} {
		if _, err := e.FindTasks(t.Context(), tasker.TaskQuery{}); !errors.Is(err, tasker.ErrNoIndex) {
			t.Errorf("without an index: %v", err)
		}
	}
	stop()
	path := filepath.Join(t.TempDir(), "index.db")
	indexed(t, tasker.Config{Connect: connect, Name: "with", Index: path})
	r := buy(t, client, "ann", false)
	page, err := client.FindTasks(soon(t, 20*time.Second), tasker.TaskQuery{Fields: map[string]string{"customer.id": "ann"}}, r.Position)
	if err != nil || len(page.Tasks) != 1 || page.Tasks[0].ID != r.ID {
		t.Errorf("the client finds %v, %v", page.Tasks, err)
	}
	ahead := r.Position
	ahead.Sequence += 1000
	_, err = client.FindTasks(soon(t, 200*time.Millisecond), tasker.TaskQuery{}, ahead)
	var behind *tasker.IndexBehindError
	if !errors.Is(err, tasker.ErrBehind) || !errors.As(err, &behind) || behind.Position != ahead {
		t.Errorf("a client's read at %s ends with %v", ahead, err)
	}
	if _, err := client.FindTasks(t.Context(), tasker.TaskQuery{Sort: "size"}); !isQueryError(err, "sort") {
		t.Errorf("a client's bad query ends with %v", err)
	}
	status, err := client.IndexStatus(t.Context())
	if err != nil || status.Path != path || status.Engine != "with" || status.Problem != "" {
		t.Errorf("status %+v, %v", status, err)
	}
	if lag, err := client.IndexLag(t.Context()); err != nil || lag.Covered == "" {
		t.Errorf("lag %+v, %v", lag, err)
	}
	var last tasker.IndexRebuild
	if err := client.RebuildIndex(soon(t, 20*time.Second), func(r tasker.IndexRebuild) { last = r }); err != nil || !last.Done || last.Events == 0 {
		t.Errorf("the rebuild %+v ended with %v", last, err)
	}
	if page, err := client.FindTasks(t.Context(), tasker.TaskQuery{}); err != nil || len(page.Tasks) != 1 {
		t.Errorf("behind the rebuild: %d tasks, %v", len(page.Tasks), err)
	}
}

func connectorOf(s interface {
	Connect(...nats.Option) (*nats.Conn, error)
}) connector {
	return func(o ...nats.Option) (*nats.Conn, error) { return s.Connect(o...) }
}

// clientOf makes a client of a log that prepare has made.
func clientOf(t *testing.T, connect connector, prepare func()) *tasker.Client {
	t.Helper()
	prepare()
	client, err := tasker.NewClient(t.Context(), tasker.Config{Connect: connect, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// An engine with an index asks its own, one without asks the others.
func TestAnEngineWithoutAnIndexAsksOneThatHasIt(t *testing.T) {
	connect := connectorOf(natsservertest.Single(t))
	with, _ := indexed(t, tasker.Config{Connect: connect, Name: "with", Index: filepath.Join(t.TempDir(), "index.db")})
	without, err := tasker.New(t.Context(), tasker.Config{Connect: connect, Name: "without", Logger: slog.New(slog.DiscardHandler), NoIntake: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() {
		if err := without.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	r := buy(t, with, "ann", false)
	until(t, func() error {
		page, err := without.FindTasks(soon(t, 20*time.Second), tasker.TaskQuery{}, r.Position)
		if err == nil && len(page.Tasks) != 1 {
			return fmt.Errorf("%d tasks", len(page.Tasks))
		}
		return err
	})
	cancel()
	running.Wait()
}

// until tries again until there is no error.
func until(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if err = try(); err == nil {
			return
		}
		select {
		case <-t.Context().Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatal(err)
}

func TestTheEngineGoesOnWhateverBecomesOfTheFileOfItsIndex(t *testing.T) {
	for name, tt := range map[string]struct {
		before func(t *testing.T, path string) // of the engine
		during func(t *testing.T, path string)
		works  bool // the index does, in the end
	}{
		"a directory": {before: func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		"no database": {before: func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, works: true},
		"removed while it is used": {during: func(t *testing.T, path string) {
			for _, suffix := range []string{"", "-wal", "-shm"} {
				if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
		}, works: true},
		"overwritten while it is used": {during: func(t *testing.T, path string) {
			for _, suffix := range []string{"", "-wal"} {
				if info, err := os.Stat(path + suffix); err == nil {
					f, err := os.OpenFile(path+suffix, os.O_WRONLY, 0)
					if err != nil {
						t.Fatal(err)
					}
					_, err = f.WriteAt([]byte(strings.Repeat("\xa5", int(info.Size()))), 0)
					if err := errors.Join(err, f.Close()); err != nil {
						t.Fatal(err)
					}
				}
			}
		}, works: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "index.db")
			if tt.before != nil {
				tt.before(t, path)
			}
			engine, _ := indexed(t, tasker.Config{Store: memlog.New(memlog.Options{}), Index: path})
			for i := range 20 {
				if _, err := engine.Wait(soon(t, 20*time.Second), buy(t, engine, fmt.Sprint(i), false).ID); err != nil {
					t.Fatal(err)
				}
				if i == 10 && tt.during != nil {
					until(t, func() error { _, err := engine.FindTasks(t.Context(), tasker.TaskQuery{}); return err })
					tt.during(t, path)
				}
			}
			if !tt.works {
				var broken *tasker.IndexUnavailableError
				until(t, func() error {
					status, err := engine.IndexStatus(t.Context())
					if err == nil && status.Problem == "" {
						return errors.New("no problem is told")
					}
					return err
				})
				_, err := engine.FindTasks(t.Context(), tasker.TaskQuery{})
				if !errors.As(err, &broken) || !errors.Is(err, tasker.ErrNoIndex) || !strings.Contains(err.Error(), "it is a directory") {
					t.Errorf("a list through it ends with %v", err)
				}
				return
			}
			until(t, func() error {
				end, err := engine.LogEnd(t.Context())
				if err != nil {
					return err
				}
				page, err := engine.FindTasks(soon(t, time.Second), tasker.TaskQuery{}, end...)
				if err == nil && len(page.Tasks) != 20 {
					return fmt.Errorf("%d of 20 tasks are found", len(page.Tasks))
				}
				return err
			})
		})
	}
}
