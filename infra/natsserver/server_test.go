package natsserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

// childDir makes the test binary run a server on that directory instead of the tests.
const childDir = "TASKER_TEST_SERVER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(child(dir))
	}
	goleak.VerifyTestMain(m)
}

// child prints "ready" or the error, then holds the server until its standard input ends.
func child(dir string) int {
	s, err := Start(context.Background(), Options{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := s.Shutdown(context.Background()); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func TestStreamsSurviveARestart(t *testing.T) {
	for _, d := range []Durability{Strict, Interval} {
		t.Run(string(d), func(t *testing.T) {
			o := Options{Dir: filepath.Join(t.TempDir(), "new", "data"), Durability: d}
			s := mustStart(t, o)
			js := connect(t, s)
			if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "LOG", Subjects: []string{"log"}}); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := js.Publish(t.Context(), "log", []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			mustShutdown(t, s)

			s = mustStart(t, o)
			stream, err := connect(t, s).Stream(t.Context(), "LOG")
			if err != nil {
				t.Fatal(err)
			}
			if got := stream.CachedInfo().State.LastSeq; got != 3 {
				t.Errorf("last sequence after the restart is %d, want 3", got)
			}
		})
	}
}

func TestDurabilityIsWhatTheServerRunsWith(t *testing.T) {
	for _, c := range []struct {
		durability Durability
		always     bool
		interval   time.Duration
	}{{"", true, 2 * time.Minute}, {Strict, true, 2 * time.Minute}, {Interval, false, time.Second}} {
		s := mustStart(t, Options{Dir: t.TempDir(), Durability: c.durability})
		cfg := s.srv.JetStreamConfig()
		if cfg.SyncAlways != c.always || cfg.SyncInterval != c.interval {
			t.Errorf("durability %q: sync always %t, interval %s, want %t, %s", c.durability, cfg.SyncAlways, cfg.SyncInterval, c.always, c.interval)
		}
		if cfg.MaxMemory != maxMemory || cfg.MaxStore != s.MaxStore() {
			t.Errorf("limits are %d in memory and %d on disk, want %d and %d", cfg.MaxMemory, cfg.MaxStore, maxMemory, s.MaxStore())
		}
	}
}

func TestDirectoryOfAnotherProcessIsLockedAndLeftAlone(t *testing.T) {
	dir := t.TempDir()
	cmd, ready := startChild(t, dir)
	if line := ready(); line != "ready" {
		t.Fatal(line)
	}
	before := listing(t, dir)

	_, err := Start(t.Context(), Options{Dir: dir})
	var locked *LockedError
	if !errors.As(err, &locked) || !errors.Is(err, ErrLocked) {
		t.Fatalf("got %v, want a LockedError", err)
	}
	want := fmt.Sprintf("data directory %s is in use by process %d: stop it, or choose another with --data", dir, cmd.Process.Pid)
	if err.Error() != want {
		t.Errorf("message is\n%s\nwant\n%s", err, want)
	}
	if after := listing(t, dir); after != before {
		t.Errorf("the locked directory changed from\n%s\nto\n%s", before, after)
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()                  // killed: the exit status is no news
	mustStart(t, Options{Dir: dir}) // the operating system dropped the lock
}

func TestSecondServerOfTheSameProcessIsLockedOut(t *testing.T) {
	dir := t.TempDir()
	s := mustStart(t, Options{Dir: dir})
	_, err := Start(t.Context(), Options{Dir: dir})
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Fatalf("got %v, want a LockedError with this process", err)
	}
	mustShutdown(t, s)
	if buf, err := os.ReadFile(filepath.Join(dir, lockFile)); err != nil || len(buf) != 0 {
		t.Errorf("after the shutdown the lock file holds %q, %v, want nobody's pid", buf, err)
	}
	mustStart(t, Options{Dir: dir})
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	o := Options{Dir: dir, Listen: l.Addr().String()}
	if _, err := Start(t.Context(), o); !errors.Is(err, ErrAddressInUse) || !strings.Contains(err.Error(), o.Listen) {
		t.Fatalf("got %v, want ErrAddressInUse with the address", err)
	}
	mustStart(t, Options{Dir: dir}) // the failed start left no lock
}

func TestPortTakenWhileStartingIsTheServersOwnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := Options{Dir: t.TempDir(), Listen: l.Addr().String()}.withDefaults()
	lock, err := openDir(o.Dir, false)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{opts: o, maxStore: MinMaxStore, lock: lock, stopped: make(chan struct{})}
	if err := s.run(t.Context()); !errors.Is(err, ErrServer) || !strings.Contains(err.Error(), "address already in use") {
		t.Fatalf("got %v, want ErrServer with the server's reason", err)
	}
	mustStart(t, Options{Dir: o.Dir})
}

func TestListenerWithoutCredentials(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "engine.example:0"} {
		dir := filepath.Join(t.TempDir(), "data")
		_, err := Start(t.Context(), Options{Dir: dir, Listen: listen})
		if !errors.Is(err, ErrCredentials) || !strings.Contains(err.Error(), listen) {
			t.Errorf("listen %q: got %v, want ErrCredentials", listen, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("listen %q: the directory was touched (%v)", listen, err)
		}
	}
}

func TestListenerLetsInWhoHasTheCredentials(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		good []nats.Option
		bad  bool // refused without credentials
	}{
		"loopback":         {o: Options{Listen: "127.0.0.1:0"}},
		"token":            {o: Options{Listen: "0.0.0.0:0", Token: "s3cret"}, good: []nats.Option{nats.Token("s3cret")}, bad: true},
		"user":             {o: Options{Listen: "0.0.0.0:0", Username: "u", Password: "p"}, good: []nats.Option{nats.UserInfo("u", "p")}, bad: true},
		"loopback + token": {o: Options{Listen: "localhost:0", Token: "s3cret"}, good: []nats.Option{nats.Token("s3cret")}, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Dir = t.TempDir()
			s := mustStart(t, c.o)
			connect(t, s)
			nc, err := nats.Connect(s.URL(), c.good...)
			if err != nil {
				t.Fatalf("%s: %v", s.URL(), err)
			}
			nc.Close()
			nc, err = nats.Connect(s.URL())
			if c.bad != errors.Is(err, nats.ErrAuthorization) {
				t.Errorf("without credentials: %v", err)
			}
			if err == nil {
				nc.Close()
			}
		})
	}
}

func TestDirectoryThatCannotBeUsed(t *testing.T) {
	file := func(t *testing.T, path string) string {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	mark := func(t *testing.T, content string) string {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, markerFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	cluster := &Cluster{Name: "c", ServerName: "s1", Listen: "127.0.0.1:0", Routes: []string{"nats://127.0.0.1:1", "nats://127.0.0.1:2"}}
	for name, c := range map[string]struct {
		dir     func(*testing.T) string
		cluster *Cluster
		want    error
		say     []string
	}{
		"is a file":    {dir: func(t *testing.T) string { return file(t, filepath.Join(t.TempDir(), "f")) }, want: ErrNotDirectory, say: []string{"is a file"}},
		"below a file": {dir: func(t *testing.T) string { return filepath.Join(file(t, filepath.Join(t.TempDir(), "f")), "d") }, want: ErrNotDirectory, say: []string{"below one"}},
		"store is a file": {dir: func(t *testing.T) string {
			dir := mark(t, `{"format":1,"mode":"standalone"}`)
			file(t, filepath.Join(dir, jetstreamDir))
			return dir
		}, want: ErrNotDirectory, say: []string{jetstreamDir}},
		"newer format": {dir: func(t *testing.T) string { return mark(t, `{"format":2,"mode":"sharded","x":1}`) }, want: ErrNewer, say: []string{"format 2", "format 1"}},
		"standalone as cluster member": {dir: func(t *testing.T) string { return mark(t, `{"format":1,"mode":"standalone"}`) }, cluster: cluster,
			want: ErrWrongMode, say: []string{"cluster member", "nats backup account"}},
		"cluster member as standalone": {dir: func(t *testing.T) string { return mark(t, `{"format":1,"mode":"cluster"}`) }, want: ErrWrongMode, say: []string{"cluster"}},
		"damaged marker":               {dir: func(t *testing.T) string { return mark(t, `{"form`) }, want: ErrForeign, say: []string{markerFile}},
		"empty marker":                 {dir: func(t *testing.T) string { return mark(t, `{}`) }, want: ErrForeign, say: []string{markerFile}},
		"another server's": {dir: func(t *testing.T) string {
			dir := t.TempDir()
			file(t, filepath.Join(dir, jetstreamDir, "$G", "streams", "X", "meta.inf"))
			return dir
		}, want: ErrForeign, say: []string{"another NATS server"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := c.dir(t)
			_, err := Start(t.Context(), Options{Dir: dir, Cluster: c.cluster})
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			for _, say := range append(c.say, dir) {
				if !strings.Contains(err.Error(), say) {
					t.Errorf("%q does not say %q", err, say)
				}
			}
		})
	}
}

func TestMarkerSaysFormatAndMode(t *testing.T) {
	dir := t.TempDir()
	mustShutdown(t, mustStart(t, Options{Dir: dir}))
	buf, err := os.ReadFile(filepath.Join(dir, markerFile))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(buf, &got); err != nil || len(got) != 2 || got["format"] != 1.0 || got["mode"] != "standalone" {
		t.Errorf("marker is %s (%v)", buf, err)
	}
}

func TestStoreLimitFollowsTheDisk(t *testing.T) {
	free := func(n int64) func(string) (int64, error) { return func(string) (int64, error) { return n, nil } }
	const stored = 1 << 20
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, jetstreamDir, "$G"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, jetstreamDir, "$G", "1.blk"), make([]byte, stored), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		free, want, limit int64
		warn              bool
	}{
		"80 % of what is free and all that is stored": {free: 1000 << 20, limit: 800<<20 + stored},
		"not below the minimum":                       {free: MinFreeSpace, limit: MinMaxStore},
		"as asked":                                    {free: 1000 << 20, want: 100 << 20, limit: 100 << 20},
		"lowered to what the disk has":                {free: 1000 << 20, want: 900 << 20, limit: 800<<20 + stored, warn: true},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			got, err := storeLimit(dir, c.want, free(c.free), slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil || got != c.limit {
				t.Errorf("got %d, %v, want %d", got, err, c.limit)
			}
			if strings.Contains(log.String(), "lowered") != c.warn {
				t.Errorf("logged %q", &log)
			}
		})
	}
	_, err := start(t.Context(), Options{Dir: t.TempDir()}, free(MinFreeSpace-1))
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "63 MiB free") {
		t.Errorf("got %v, want ErrNoSpace", err)
	}
}

func TestFullStoreRefusesAppendsAndServesReads(t *testing.T) {
	s := mustStart(t, Options{Dir: t.TempDir(), MaxStore: MinMaxStore, Durability: Interval})
	js := connect(t, s)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "LOG", Subjects: []string{"log"}}); err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, DefaultMaxPayload)
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		_, err = js.Publish(t.Context(), "log", payload)
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) || api.ErrorCode != 10023 {
		t.Fatalf("after %d MiB: %v, want insufficient resources", n, err)
	}
	stream, err := js.Stream(t.Context(), "LOG")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.GetMsg(t.Context(), 1); err != nil {
		t.Errorf("reading: %v", err)
	}
}

func TestInvalidOptions(t *testing.T) {
	ok := &Cluster{Name: "c", ServerName: "s", Listen: "127.0.0.1:0", Routes: []string{"nats://127.0.0.1:1", "nats://127.0.0.1:2"}}
	with := func(change func(*Cluster)) *Cluster {
		c := *ok
		change(&c)
		return &c
	}
	if err := (Options{Dir: "d", Cluster: ok}).withDefaults().validate(); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"no directory":            {},
		"unknown durability":      {Dir: "d", Durability: "sometimes"},
		"store too small":         {Dir: "d", MaxStore: MinMaxStore - 1},
		"store negative":          {Dir: "d", MaxStore: -1},
		"payload too small":       {Dir: "d", MaxPayload: MinMaxPayload - 1},
		"payload too large":       {Dir: "d", MaxPayload: MaxMaxPayload + 1},
		"user without password":   {Dir: "d", Username: "u"},
		"password without user":   {Dir: "d", Password: "p"},
		"token and user":          {Dir: "d", Token: "t", Username: "u", Password: "p"},
		"listen without port":     {Dir: "d", Listen: "127.0.0.1"},
		"listen on a named port":  {Dir: "d", Listen: "127.0.0.1:nats"},
		"listen beyond the ports": {Dir: "d", Listen: "127.0.0.1:65536"},
		"cluster without name":    {Dir: "d", Cluster: with(func(c *Cluster) { c.Name = "" })},
		"cluster without server":  {Dir: "d", Cluster: with(func(c *Cluster) { c.ServerName = "" })},
		"cluster of one":          {Dir: "d", Cluster: with(func(c *Cluster) { c.Routes = c.Routes[:1] })},
		"cluster with bad route":  {Dir: "d", Cluster: with(func(c *Cluster) { c.Routes = []string{"a", "b"} })},
		"cluster without listen":  {Dir: "d", Cluster: with(func(c *Cluster) { c.Listen = "" })},
		"cluster user alone":      {Dir: "d", Cluster: with(func(c *Cluster) { c.Username = "u" })},
	} {
		if _, err := Start(t.Context(), o); !errors.Is(err, ErrInvalidOptions) {
			t.Errorf("%s: got %v, want ErrInvalidOptions", name, err)
		}
	}
	open := Options{Dir: "d", Cluster: with(func(c *Cluster) { c.Listen = "0.0.0.0:0" })}
	if _, err := Start(t.Context(), open); !errors.Is(err, ErrCredentials) {
		t.Errorf("open cluster: got %v, want ErrCredentials", err)
	}
}

func TestParseDurability(t *testing.T) {
	for in, want := range map[string]Durability{"strict": Strict, "interval": Interval, "": "", "Strict": ""} {
		if got, err := ParseDurability(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
	}
}

func TestPayloadLimit(t *testing.T) {
	s := mustStart(t, Options{Dir: t.TempDir(), MaxPayload: 64 << 10})
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if got := nc.MaxPayload(); got != 64<<10 {
		t.Errorf("limit is %d", got)
	}
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Options{Dir: dir}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	mustStart(t, Options{Dir: dir})
}

func TestShutdownIsIdempotentAndOutlivesItsContext(t *testing.T) {
	s := mustStart(t, Options{Dir: t.TempDir()})
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(done); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	mustShutdown(t, s)
	if err := s.Shutdown(done); err != nil {
		t.Errorf("when all is done the context does not matter: %v", err)
	}
	if _, err := s.Connect(); !errors.Is(err, ErrStopped) {
		t.Errorf("got %v, want ErrStopped", err)
	}
	if err := s.Ready(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("got %v, want ErrStopped", err)
	}
}

func TestServerTellsItsWarnings(t *testing.T) {
	var log bytes.Buffer
	l := &logger{to: slog.New(slog.NewTextHandler(&log, nil))}
	l.Noticef("quiet")
	l.Warnf("w%d", 1)
	l.Errorf("e%d", 2)
	l.Fatalf("f%d", 3)
	l.Fatalf("f%d", 4)
	for _, want := range []string{`level=WARN msg="nats: w1"`, `level=ERROR msg="nats: e2"`, `level=ERROR msg="nats: f3"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &log)
		}
	}
	if strings.Contains(log.String(), "quiet") || l.firstFatal() != "f3" {
		t.Errorf("first fatal is %q, log\n%s", l.firstFatal(), &log)
	}
}

func TestHealthyStartIsSilent(t *testing.T) {
	var log bytes.Buffer
	s := mustStart(t, Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	connect(t, s)
	mustShutdown(t, s)
	if log.Len() > 0 {
		t.Errorf("logged\n%s", &log)
	}
}

func mustStart(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustShutdown(t, s) })
	return s
}

func mustShutdown(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func connect(t *testing.T, s *Server) jetstream.JetStream {
	t.Helper()
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// startChild runs a server in a second process; ready returns the first line that it prints.
func startChild(t *testing.T, dir string) (cmd *exec.Cmd, ready func() string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(t.Context(), exe)
	return cmd, runChild(t, cmd, dir)
}

func runChild(t *testing.T, cmd *exec.Cmd, dir string) func() string {
	t.Helper()
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe() // open until the test ends
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close() })
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() string {
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if err != nil {
			t.Fatalf("the second process said %q, %v", line, err)
		}
		return strings.TrimSpace(line)
	}
}

// listing is every file with its size, time and, if small, content.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, name := range []string{".", lockFile, markerFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(name + " " + strconv.FormatInt(info.Size(), 10) + " " + info.ModTime().String() + "\n")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b.WriteString(e.Name() + "\n")
	}
	return b.String()
}
