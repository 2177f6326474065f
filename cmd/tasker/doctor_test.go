package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

// patient is a log that something is wrong with.
type patient struct {
	t       *testing.T
	nc      *nats.Conn
	js      jetstream.JetStream
	store   *natslog.Store
	replies chan error
}

func (p *patient) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// append puts a message at the end of partition 00.
func (p *patient) append(commitID string, data []byte) {
	p.t.Helper()
	bounds, err := p.store.Log(0).Bounds(p.t.Context())
	p.must(err)
	p.store.Log(0).Append(bounds.Last, commitID, data, func(_ uint64, err error) { p.replies <- err })
	p.must(<-p.replies)
}

// opened is a commit of that time.
func opened(at time.Time) []byte {
	return domain.EncodeCommit(domain.Commit{ID: "c-1", At: domain.InstantOf(at), Records: []domain.Record{
		{Event: domain.PartitionOpened{Writer: "c", Engine: "test"}, At: domain.InstantOf(at)},
	}})
}

func TestTheDoctorFindsWhatIsWrongWithALog(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(p *patient)
		want string // "" = nothing is wrong
	}{
		"nothing": {func(*patient) {}, ""},
		"a stream that cannot be made again is missing": {
			func(p *patient) { p.must(p.js.DeleteStream(p.t.Context(), "TASKER_LOG_1_01")) },
			"failed streams stream TASKER_LOG_1_01 of data <id> is missing: restore it from a backup",
		},
		"a stream that can be made again is missing": {
			func(p *patient) { p.must(p.js.DeleteStream(p.t.Context(), "TASKER_DEAD")) },
			"warning streams stream TASKER_DEAD is missing; the next engine that starts makes it again, empty",
		},
		"somebody has edited a stream": {
			func(p *patient) {
				s, err := p.js.Stream(p.t.Context(), "TASKER_LOG_1_00")
				p.must(err)
				settings := s.CachedInfo().Config
				settings.MaxAge = time.Hour
				_, err = p.js.UpdateStream(p.t.Context(), settings)
				p.must(err)
			},
			"failed streams stream TASKER_LOG_1_00: its setting max_age is 1h0m0s, the engine needs 0s: change it back with `nats stream edit`",
		},
		"somebody else has published to the log": {
			func(p *patient) { p.append("", []byte("hello")) },
			"warning log message 2 of partition 00 is somebody else's; it is passed over",
		},
		"a commit is torn": {
			func(p *patient) { p.append("torn", []byte(`{"v":1,`)) },
			"failed log partition 00 is closed: message 2 cannot be read (",
		},
		"a torn commit that has been passed over": {
			func(p *patient) {
				p.append("torn", []byte(`{"v":1,`))
				at := domain.InstantOf(time.Now())
				p.append("c-2", domain.EncodeCommit(domain.Commit{ID: "c-2", At: at, Records: []domain.Record{
					{Event: domain.PartitionSkipped{Sequence: 2, Reason: "torn"}, At: at},
				}}))
			},
			"",
		},
		"a snapshot is no snapshot": {
			func(p *patient) {
				_, err := p.store.Snapshots().Put(p.t.Context(), domain.SnapshotInfo{Sequence: 1, CommitID: "c-1", Format: 1}, strings.NewReader("garbage"))
				p.must(err)
			},
			"warning snapshots partition 00 has none that can be used: at 1: ",
		},
		"a trimmed log without a snapshot": {
			func(p *patient) {
				p.append("c-2", opened(time.Now()))
				p.must(p.store.Log(0).Trim(p.t.Context(), 2))
			},
			"failed snapshots partition 00 is closed: its log begins at message 2, and there is no snapshot",
		},
		"a commit of tomorrow": {
			func(p *patient) { p.append("c-2", opened(time.Now().Add(24*time.Hour+time.Minute))) },
			"failed clock the newest commit is 1 d in the future: timers wait",
		},
		"a subscriber of another log": {
			func(p *patient) {
				_, err := p.store.Cursors().Put(p.t.Context(), "office.00", fmt.Appendf(nil, `{"data":%q,"generation":1,"sequence":900,"index":0}`, p.store.Data().ID), 0)
				p.must(err)
			},
			"failed subscribers office is at 00-900-0, behind the end of the log (1): it is of another log",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := natsservertest.Single(t)
			connect := func(o ...nats.Option) (*nats.Conn, error) { return server.Connect(o...) }
			store, err := natslog.Open(t.Context(), natslog.Options{Connect: connect})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			nc, err := connect()
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			p := &patient{t: t, nc: nc, store: store, replies: make(chan error, 1)}
			p.js, err = jetstream.New(nc)
			p.must(err)
			p.append("c-1", opened(time.Now()))
			c.harm(p)

			var before []finding
			for range 2 { // it changes nothing: what is wrong stays so
				var out bytes.Buffer
				d := &doctor{a: &app{out: &out, err: &out}, connect: connect, own: server, config: tasker.Config{Connect: connect}}
				if d.server(t.Context()) && d.streams() {
					d.log(t.Context())
					d.snapshots(t.Context())
					d.engines(t.Context())
					d.clock(t.Context())
				}
				d.nats.Close()
				p.found(d, c.want)
				if before != nil && len(before) != len(d.findings) {
					t.Errorf("it found %v, and then %v", before, d.findings)
				}
				before = d.findings
			}
		})
	}
}

// found: that alone is wrong, and it is said what to do.
func (p *patient) found(d *doctor, want string) {
	p.t.Helper()
	var wrong []string
	for _, f := range d.findings {
		if f.Status == healthy {
			continue
		}
		wrong = append(wrong, strings.ReplaceAll(fmt.Sprintf("%s %s %s", f.Status, f.Check, f.Text), p.store.Data().ID, "<id>"))
		if f.Do == "" && !strings.Contains(f.Text, ": ") {
			p.t.Errorf("of %q it is not said what to do", f.Text)
		}
	}
	if want == "" && len(wrong) > 0 || want != "" && (len(wrong) != 1 || !strings.HasPrefix(wrong[0], want)) {
		p.t.Errorf("it finds %q\nwant %q", wrong, want)
	}
	if err := d.report("text"); (err != nil) != strings.HasPrefix(want, "failed") {
		p.t.Errorf("the command ends with %v", err)
	}
}

func TestTheDiskIsMeasuredWithoutATrace(t *testing.T) {
	dir := t.TempDir()
	took, err := measureFsync(t.Context(), dir)
	if err != nil || len(took) == 0 || len(took) > fsyncs {
		t.Errorf("%d writes, %v", len(took), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	if _, err := measureFsync(t.Context(), filepath.Join(dir, "nowhere")); err == nil {
		t.Error("it writes to a directory that is not there")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if took, err := measureFsync(ctx, dir); err != nil || len(took) != 0 {
		t.Errorf("when the time is over: %d writes, %v", len(took), err)
	}
}

func TestVersionsOfNATSAreCompared(t *testing.T) {
	for version, want := range map[string]bool{"2.15.2": false, "2.11.0": false, "2.10.29": true, "1.4.1": true, "v2.9": true, "3.0.0": false, "2.11.0-RC.1": false, "": false, "dev": false} {
		if got := older(version, leastNATS); got != want {
			t.Errorf("%q is older than %v: %v", version, leastNATS, got)
		}
	}
}
